/* SPDX-License-Identifier: Apache-2.0 */
#include "modbuild.h"

#include "coreobj.h"
#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "modinfo.h"
#include "modset.h"
#include "parse.h"
#include "patch.h"
#include "path.h"
#include "probes.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define JOB_MEMORY    ((uint64_t)300 << 20)
#define JOBS_MAX      256u
#define BUILD_TIMEOUT 3600u
#define LOG_READ_MAX  ((size_t)64 << 20)
#define SYMVERS_MAX   ((size_t)64 << 20)
#define CORE_SUFFIX   ".o_binary"

/* Everything one build works with. */
struct build {
	const struct modbuild *b;
	struct store *store;
	struct store_stage scratch; /* the copy that is compiled; dropped at the end */
	struct store_stage result; /* what is published */
	int source_fd; /* flavour directory of the tree */
	int build_fd; /* its copy */
	int log_fd;
	char source_digest[65];
	json_t *files; /* of the source directory, with digests */
	char key[65], probe_key[65];
	char symvers_sha256[65]; /* of extra_symvers; "" = none */
	char *build_path;
	/* A set that differs in the foreign symbols alone: only the module that uses them is compiled. */
	int donor_fd; /* -EBADF = none */
	char **exclude; /* owned; what the caller leaves out, or what the donor has */
	char *symvers; /* owned; KBUILD_EXTRA_SYMBOLS, NULL = none */
	struct modbuild_result out;
	struct spawn make;
};

static void build_done(struct build *w)
{
	spawn_done(&w->make);
	close_fdp(&w->source_fd);
	close_fdp(&w->build_fd);
	close_fdp(&w->log_fd);
	json_decref(w->files);
	free(w->build_path);
	close_fdp(&w->donor_fd);
	strv_freep(&w->exclude);
	free(w->symvers);
	store_stage_done(&w->scratch);
	store_stage_done(&w->result);
}

unsigned modbuild_jobs(unsigned cpus, uint64_t memory_available_bytes)
{
	uint64_t fit = memory_available_bytes / JOB_MEMORY;
	unsigned jobs = cpus ? cpus : 1;

	if (fit < jobs)
		jobs = fit ? (unsigned)fit : 1;
	return jobs < JOBS_MAX ? jobs : JOBS_MAX;
}

static unsigned choose_jobs(const struct modbuild *b)
{
	uint64_t memory;

	if (b->jobs)
		return b->jobs < JOBS_MAX ? b->jobs : JOBS_MAX;
	if (!b->host)
		return 1;
	if (host_memory_available(b->host, &memory) < 0)
		memory = UINT64_MAX;
	return modbuild_jobs(host_cpu_count(b->host), memory);
}

/* -- what is built: sources and key -- */

static int open_source(const struct modbuild *b, int *ret_fd, struct err *e)
{
	const char *dir = strcmp(b->flavour, "open") == 0 ? "kernel-open" : "kernel";
	_cleanup_close_ int fd = path_open_at(b->tree_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_NO_SYMLINKS);
	static const char *const needed[] = { "Makefile", "Kbuild", "conftest.sh" };

	if (fd < 0 && fd != -ENOENT)
		return err_errno(e, fd, "opening %s", dir);
	for (size_t i = 0; fd >= 0 && i < ARRAY_LEN(needed); i++)
		if (!path_exists(fd, needed[i])) {
			err_set(e, ERR_MODULE_SOURCE, "driver %s: %s/%s is missing", b->driver, dir,
				needed[i]);
			return err_object(e, "%s", dir);
		}
	if (fd < 0) {
		err_set(e, ERR_MODULE_SOURCE, "driver %s has no directory %s (flavour %s)", b->driver, dir,
			b->flavour);
		return err_object(e, "%s", dir);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Options that change code or the choice of modules, in a fixed spelling. */
static void key_options(const struct modbuild *b, struct strbuf *out)
{
	(void)strbuf_printf(out, "debug %d\n", b->debug_info);
	for (const char *const *x = b->exclude; x && *x; x++)
		(void)strbuf_printf(out, "exclude %s\n", *x);
	if (b->make_variables)
		(void)strbuf_printf(out, "variables %s\n", b->make_variables);
}

/* "" without one. */
static int symvers_digest(const struct modbuild *b, char ret[65], struct err *e)
{
	_cleanup_free_ char *bytes = NULL;
	uint8_t digest[SHA256_SIZE];
	size_t len;
	int r;

	ret[0] = '\0';
	if (!b->extra_symvers)
		return 0;
	r = read_file_at(AT_FDCWD, b->extra_symvers, SYMVERS_MAX, &bytes, &len);
	if (r < 0)
		return err_errno(e, r, "%s", b->extra_symvers);
	if (sha256_bytes(bytes, len, digest) < 0)
		return err_oom(e);
	hex_encode(digest, sizeof(digest), ret);
	return 0;
}

/* symvers: digest of the foreign symbols, "" = none. */
static int compute_key(const struct modbuild *b, const char *source_digest, const char *symvers, char ret[65],
		       struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(STRBUF_TEXT_MAX);
	uint8_t digest[SHA256_SIZE];

	(void)strbuf_printf(
	    &t, "module set 1\ndriver %s\nflavour %s\nsource %s\nkernel %s\ncompiler %s\nlinker %s\n",
	    b->driver, b->flavour, source_digest, b->ktree->identity, b->tools->cc_version,
	    b->tools->ld_version);
	for (size_t i = 0; i < b->patches->n_patches; i++)
		(void)strbuf_printf(&t, "patch %s\n", b->patches->patches[i].sha256);
	key_options(b, &t);
	if (*symvers)
		(void)strbuf_printf(&t, "symvers %s\n", symvers);
	if (strbuf_error(&t) < 0)
		return err_oom(e);
	if (sha256_bytes(t.buf, t.len, digest) < 0)
		return err_oom(e);
	hex_encode(digest, sizeof(digest), ret);
	return 0;
}

int modbuild_key(const struct modbuild *b, char ret_key[65], struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	char digest[65], symvers[65];
	int r = open_source(b, &fd, e);

	if (r == 0)
		r = symvers_digest(b, symvers, e);
	if (r < 0)
		return r;
	r = store_tree_digest(fd, digest, NULL, e);
	return r < 0 ? r : compute_key(b, digest, symvers, ret_key, e);
}

/* -- the scratch copy -- */

static int copy_entry(const struct tree_entry *entry, void *arg)
{
	struct build *w = arg;
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	struct timespec times[2] = { entry->st.st_mtim, entry->st.st_mtim };
	int r;

	if (S_ISDIR(entry->st.st_mode))
		return mkdirat(w->build_fd, entry->path, 0755) < 0 ? -errno : 0;
	if (!S_ISREG(entry->st.st_mode) || (span_ends(SPAN(entry->name), CORE_SUFFIX) && !w->b->debug_info))
		return 0;
	in = openat(entry->dirfd, entry->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0)
		return -errno;
	out = path_open_at(w->build_fd, entry->path, O_WRONLY | O_CREAT | O_EXCL, entry->st.st_mode & 0755,
			   PATH_NO_SYMLINKS);
	if (out < 0)
		return out;
	r = copy_fd(in, out, NULL);
	if (r < 0)
		return r;
	return futimens(out, times) < 0 ? -errno : 0;
}

/* What an earlier build by hand may have left in a tree would be taken for results. */
static int drop_leftovers(int build_fd)
{
	static const char *const names[] = { "conftest", "Module.symvers", "modules.order" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int r = tree_remove(build_fd, names[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int place_core_objects(struct build *w, struct err *e)
{
	json_t *f;
	size_t i;

	if (w->b->debug_info)
		return 0;
	json_array_foreach (w->files, i, f) {
		const char *path = json_string_value(json_object_get(f, "path"));
		const char *sha256 = json_string_value(json_object_get(f, "sha256"));
		bool made;
		int r;

		if (!path || !sha256 || !span_ends(SPAN(path), CORE_SUFFIX))
			continue;
		r = coreobj_place(w->store, w->b->tools, w->source_fd, path, sha256, w->build_fd, path, &made,
				  e);
		if (r < 0)
			return r;
		w->out.objects_made += made;
		w->out.objects_reused += !made;
	}
	return 0;
}

static void patches_done(struct patch **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		patch_freep(&list[i]);
	free(list);
}

/* All or nothing: every hunk of every patch is placed before the first file changes. */
static int apply_patches(struct build *w, struct err *e)
{
	const struct patchset *p = w->b->patches;
	const struct patch_options o = { .strip = PATCH_STRIP_AUTO };
	struct patch **list;
	int r = 0;

	if (!p->n_patches)
		return 0;
	list = calloc(p->n_patches, sizeof(*list));
	if (!list)
		return err_oom(e);
	for (size_t i = 0; r == 0 && i < p->n_patches; i++) {
		log_info("patch %s: %s", p->patches[i].name, p->patches[i].why);
		r = patch_parse((struct span){ p->patches[i].bytes, p->patches[i].len }, p->patches[i].name,
				&list[i], e);
	}
	if (r == 0)
		r = patch_apply_tree(w->build_fd, list, p->n_patches, &o, NULL, e);
	patches_done(list, p->n_patches);
	return r;
}

static int prepare_scratch(struct build *w, struct err *e)
{
	_cleanup_free_ char *stage = NULL;
	int r = store_stage_begin(w->store, &w->scratch, e);

	if (r < 0)
		return r;
	if (mkdirat(w->scratch.dir_fd, MODBUILD_DIR, 0755) < 0)
		return err_errno(e, -errno, "making the build directory");
	w->build_fd = dir_open_at(w->scratch.dir_fd, MODBUILD_DIR);
	if (w->build_fd < 0)
		return err_errno(e, w->build_fd, "opening the build directory");
	stage = store_stage_path(&w->scratch);
	w->build_path = stage ? str_printf("%s/" MODBUILD_DIR, stage) : NULL;
	if (!w->build_path)
		return err_oom(e);
	r = tree_walk(w->source_fd, TREE_AS_READ, copy_entry, w);
	if (r == 0)
		r = drop_leftovers(w->build_fd);
	if (r < 0)
		return err_errno(e, r, "copying the module sources");
	r = place_core_objects(w, e);
	return r < 0 ? r : apply_patches(w, e);
}

/* -- make -- */

/* make and the vendor's recipes cannot carry names with blanks or characters a shell treats specially. */
static int check_make_path(const char *path, struct err *e)
{
	for (const char *p = path; *p; p++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._+,@-", *p)) {
			err_set(
			    e, ERR_MODULE_BUILD,
			    "\"%s\": a kernel build cannot work in a path with the character 0x%02x in it",
			    path, (unsigned char)*p);
			(void)err_object(e, "%s", path);
			return err_next(e,
					"name a store whose path is plain letters and digits with --store");
		}
	return 0;
}

static bool is_built(const struct build *w, const char *module)
{
	return !(w->exclude && strv_contains(w->exclude, module)) && path_exists(w->build_fd, module);
}

static int make_exclude(struct build *w)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(8192);

	if (!w->exclude)
		return 0;
	for (char **x = w->exclude; *x; x++)
		(void)strbuf_printf(&t, "%s%s", t.len ? " " : "", *x);
	/* The older name of the variable is still read by trees before 515. */
	(void)spawn_arg(&w->make, "NV_EXCLUDE_BUILD_MODULES=%s", strbuf_str(&t));
	return spawn_arg(&w->make, "NV_EXCLUDE_KERNEL_MODULES=%s", strbuf_str(&t));
}

static void make_variables(struct build *w)
{
	struct span rest = SPAN(w->b->make_variables ? w->b->make_variables : ""), word;

	while (span_word(&rest, &word))
		(void)spawn_arg(&w->make, SPAN_FMT, SPAN_ARG(word));
}

static void make_command(struct build *w)
{
	const struct ktree *k = w->b->ktree;
	const struct toolchain *t = w->b->tools;

	w->make = (struct spawn)SPAWN_INIT("kernel module build");
	spawn_argv(&w->make, t->make, NULL);
	spawn_arg(&w->make, "-j%u", w->out.jobs);
	spawn_argv(&w->make, "modules", NULL);
	if (is_built(w, "nvidia"))
		spawn_argv(&w->make, "nv-linux.o", NULL);
	if (is_built(w, "nvidia-modeset"))
		spawn_argv(&w->make, "nv-modeset-linux.o", NULL);
	spawn_arg(&w->make, "SYSSRC=%s", k->source);
	spawn_arg(&w->make, "SYSOUT=%s", k->output);
	spawn_arg(&w->make, "KERNEL_UNAME=%s", k->release);
	spawn_arg(&w->make, "ARCH=%s", strcmp(k->arch, "aarch64") == 0 ? "arm64" : k->arch);
	spawn_arg(&w->make, "CC=%s", t->cc);
	spawn_arg(&w->make, "LD=%s", t->ld);
	/* The choice was made, and its reason recorded, by toolchain_choose(). */
	spawn_argv(&w->make, "IGNORE_CC_MISMATCH=1", NULL);
	/* Paths of this directory must not get into the modules: they differ from run to run. */
	spawn_arg(&w->make, "KCFLAGS=%s-fmacro-prefix-map=%s/=", w->b->debug_info ? "" : "-g0 ",
		  w->build_path);
	/* The BTF step needs pahole and the kernel's own vmlinux, and describes types nobody looks up. */
	spawn_argv(&w->make, "CONFIG_DEBUG_INFO_BTF_MODULES=", NULL);
	if (w->symvers)
		spawn_arg(&w->make, "KBUILD_EXTRA_SYMBOLS=%s", w->symvers);
	(void)make_exclude(w);
	make_variables(w);
	w->make.cwd_fd = w->build_fd;
	w->make.log_fd = w->log_fd;
	w->make.timeout_s = w->b->timeout_s ? w->b->timeout_s : BUILD_TIMEOUT;
}

/* Keep the log where the user finds it after the scratch directory is gone. */
static void keep_log(struct build *w, const char *text, size_t len, char **ret_log)
{
	_cleanup_free_ char *name = NULL, *path = NULL;
	_cleanup_close_ int top = -EBADF, dir = -EBADF;

	if (!w->b->log_dir)
		return;
	top = dir_open_at(AT_FDCWD, *w->b->log_dir == '/' ? "/" : ".");
	if (top < 0 || path_mkdirs(top, w->b->log_dir, 0755, PATH_IN_ROOT) < 0)
		return;
	dir = dir_open_at(AT_FDCWD, w->b->log_dir);
	name = str_printf("modules-%s-%s-%s.log", w->b->driver, w->b->flavour, w->b->ktree->release);
	if (dir < 0 || !name || publish_bytes(dir, name, text, len, 0644) < 0)
		return;
	path = str_printf("%s/%s", w->b->log_dir, name);
	if (path && ret_log)
		*ret_log = TAKE_PTR(path);
}

static int explain_failure(struct build *w, char **ret_log, struct err *e)
{
	_cleanup_free_ char *text = NULL, *summary = NULL, *probe = NULL, *log = NULL;
	size_t len = 0;
	int kind = 0;

	if (lseek(w->log_fd, 0, SEEK_SET) < 0 || read_fd(w->log_fd, LOG_READ_MAX, &text, &len) < 0)
		return err_set(e, ERR_MODULE_BUILD, "make ended with status %d and its log cannot be read",
			       w->make.status);
	keep_log(w, text, len, &log);
	if (buildlog_summary(text, len, &kind, &summary) < 0)
		return err_oom(e);
	/* A probe that could not run makes every later message misleading: it is the cause. */
	if (probes_failed(w->build_fd, &probe) == 0)
		err_set(e, ERR_MODULE_PROBE, "%s", probe);
	else
		err_set(e, kind ? kind : ERR_MODULE_BUILD, "%s", summary);
	(void)err_object(e, "%s modules of %s for %s", w->b->flavour, w->b->driver, w->b->ktree->release);
	if (log)
		(void)err_next(e, "%s (log: %s)", err_next_step(e ? e->code : ERR_MODULE_BUILD), log);
	if (ret_log)
		*ret_log = TAKE_PTR(log);
	return e ? -e->code : -ERR_MODULE_BUILD;
}

static int run_make(struct build *w, char **ret_log, struct err *e)
{
	unsigned total = 0;
	int r, kept = 0;

	w->log_fd =
	    openat(w->result.dir_fd, "build.log", O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
	if (w->log_fd < 0)
		return err_errno(e, -errno, "build.log");
	make_command(w);
	r = spawn_run(&w->make, e);
	if (r < 0)
		return r;
	w->out.wall_ns = w->make.wall_ns;
	w->out.cpu_ns = w->make.cpu_ns;
	w->out.max_rss_bytes = w->make.max_rss_bytes;
	if (!w->b->no_cache)
		kept = probes_keep(w->store, w->probe_key, w->build_fd, &total, NULL);
	if (kept < 0)
		log_warn("the configure answers could not be kept: %s", err_sentence(kept));
	w->out.probes_run = total > w->out.probes_reused ? total - w->out.probes_reused : 0;
	return w->make.status == 0 ? 0 : explain_failure(w, ret_log, e);
}

static int restore_probes(struct build *w, struct err *e)
{
	_cleanup_free_ char *flags = NULL;
	char sha256[SHA256_HEX_SIZE];
	int r;

	/* Of the patched file: a patch may change a probe. */
	r = sha256_file_at(w->build_fd, "conftest.sh", sha256);
	if (r < 0)
		return err_errno(e, r, "conftest.sh");
	/* One of the probes looks into the network driver's symbols. */
	flags = str_printf("%s%s%s", w->b->make_variables ? w->b->make_variables : "",
			   *w->symvers_sha256 ? " symvers " : "", w->symvers_sha256);
	if (!flags)
		return err_oom(e);
	r = probes_key(sha256, w->b->ktree->identity, w->b->tools->cc_version, flags, w->probe_key);
	if (r < 0)
		return err_errno(e, r, "key of the configure answers");
	if (w->b->no_cache)
		return 0;
	r = probes_restore(w->store, w->probe_key, w->build_fd, e);
	if (r > 0)
		w->out.probes_reused = (unsigned)r;
	return r < 0 ? r : 0;
}

/* -- the result -- */

struct harvest {
	struct build *w;
	json_t *modules;
	struct err *e;
};

static int harvest_module(struct harvest *h, const char *name)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	json_t *entry;
	int r;

	if (linkat(h->w->build_fd, name, h->w->result.dir_fd, name, 0) < 0)
		return err_errno(h->e, -errno, "keeping %s", name);
	r = modinfo_read_at(h->w->result.dir_fd, name, &m, h->e);
	if (r < 0)
		return err_wrap(h->e, "%s as built", name);
	entry = modset_module_entry(name, &m);
	if (!entry || json_array_append_new(h->modules, entry) < 0)
		return err_oom(h->e);
	return 0;
}

static int harvest_entry(const struct tree_entry *entry, void *arg)
{
	struct harvest *h = arg;

	if (strchr(entry->path, '/') || !S_ISREG(entry->st.st_mode) || !span_ends(SPAN(entry->name), ".ko"))
		return 0;
	return harvest_module(h, entry->name);
}

static int harvest(struct build *w, json_t *modules, struct err *e)
{
	static const char *const others[] = { "nv-linux.o", "nv-modeset-linux.o", "Module.symvers" };
	struct harvest h = { w, modules, e };
	int r = tree_walk(w->build_fd, TREE_SORTED, harvest_entry, &h);

	if (r < 0)
		return e && e->code ? r : err_errno(e, r, "collecting the modules");
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (linkat(w->build_fd, others[i], w->result.dir_fd, others[i], 0) < 0 && errno != ENOENT)
			return err_errno(e, -errno, "keeping %s", others[i]);
	w->out.modules = (unsigned)json_array_size(modules);
	if (!w->out.modules)
		return err_set(e, ERR_MODULE_BUILD, "make succeeded but left no module");
	return 0;
}

static json_t *patch_list(const struct patchset *p)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < p->n_patches; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", p->patches[i].name, "sha256",
						      p->patches[i].sha256, "why", p->patches[i].why));
	return list;
}

static json_t *build_facts(const struct build *w)
{
	const struct modbuild_result *o = &w->out;

	return json_pack("{s:I, s:I, s:I, s:i, s:i, s:i, s:b, s:s, s:s, s:s*}", "wall_ms",
			 (json_int_t)(o->wall_ns / 1000000), "cpu_ms", (json_int_t)(o->cpu_ns / 1000000),
			 "max_rss_bytes", (json_int_t)o->max_rss_bytes, "jobs", (int)o->jobs, "probes_reused",
			 (int)o->probes_reused, "probes_run", (int)o->probes_run, "debug_info",
			 w->b->debug_info, "compiler", w->b->tools->cc_version, "linker",
			 w->b->tools->ld_version, "compiler_note", w->b->tools->note);
}

static json_t *make_record(const struct build *w, json_t *modules)
{
	const struct modbuild *b = w->b;
	const struct ktree *k = b->ktree;
	const char *vermagic = json_string_value(json_object_get(json_array_get(modules, 0), "vermagic"));
	json_t *r =
	    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:O}", "schema",
		      "nvdriver.modules/1", "driver", b->driver, "flavour", b->flavour, "release", k->release,
		      "arch", k->arch, "kernel_identity", k->identity, "vermagic", vermagic, "build_key",
		      w->key, "signed", 0, "certificate", MODSET_UNSIGNED, "patch_digest", b->patches->digest,
		      "patches", patch_list(b->patches), "build", build_facts(w), "modules", modules);

	if (r && b->tree_id)
		json_object_set_new(r, "tree", json_string(b->tree_id));
	if (r && (b->proc_version || k->banner))
		json_object_set_new(r, "banner", json_string(b->proc_version ? b->proc_version : k->banner));
	if (r)
		json_object_set_new(r, "source_digest", json_string(w->source_digest));
	if (r && w->probe_key[0]) /* who carries the set elsewhere takes the answers along */
		json_object_set_new(r, "probes", json_string(w->probe_key));
	if (r)
		json_object_set_new(r, "foreign_symvers_sha256", json_string(w->symvers_sha256));
	if (r)
		json_object_set_new(r, "created_unix_s", json_integer((json_int_t)time(NULL)));
	return r;
}

static int publish_result(struct build *w, struct err *e)
{
	json_t *modules = json_array(), *record = NULL;
	int r = modules ? harvest(w, modules, e) : err_oom(e);

	if (r == 0) {
		record = make_record(w, modules);
		r = record ? modset_publish(&w->result, record, w->key, e) : err_oom(e);
	}
	json_decref(record);
	json_decref(modules);
	return r < 0 ? r : 0;
}

/* -- only what is missing -- */

/* The one module that uses another driver's symbols. */
#define FOREIGN_USER "nvidia-peermem"

static bool is_same_but_symbols(const struct build *w, const json_t *row)
{
	const char *flavour = json_string_value(json_object_get(row, "flavour"));
	const char *key = json_string_value(json_object_get(row, "key"));
	/* Sets made before that was kept have none; their key says whether that is true. */
	const char *symvers = json_string_value(json_object_get(row, "foreign_symvers_sha256")) ?: "";
	char same[65];

	return flavour && key && strcmp(flavour, w->b->flavour) == 0 &&
	       compute_key(w->b, w->source_digest, symvers, same, NULL) == 0 && strcmp(same, key) == 0 &&
	       modset_verify(w->store, key, NULL, NULL) == 0;
}

/* Everything the donor has but for that module is left out; its symbols are known beside the foreign ones. */
static int use_donor(struct build *w, const json_t *row, struct err *e)
{
	const char *key = json_string_value(json_object_get(row, "key"));
	_cleanup_free_ char *object = store_object_path(w->store, STORE_MODULE, key);
	const json_t *module;
	size_t i;

	json_array_foreach (json_object_get(row, "modules"), i, module) {
		const char *file = json_string_value(json_object_get(module, "file"));
		_cleanup_free_ char *name =
		    file && span_ends(SPAN(file), ".ko") ? strndup(file, strlen(file) - 3) : NULL;

		if (name && strcmp(name, FOREIGN_USER) != 0 && strv_push(&w->exclude, name) < 0)
			return err_oom(e);
	}
	free(w->symvers);
	w->symvers = object ? str_printf("%s/Module.symvers %s", object, w->b->extra_symvers) : NULL;
	w->donor_fd = store_object_open(w->store, STORE_MODULE, key);
	if (!w->symvers || w->donor_fd < 0)
		return w->symvers ? err_errno(e, w->donor_fd, "module set %.12s", key) : err_oom(e);
	log_info("only " FOREIGN_USER " is compiled; the others are those of set %.12s", key);
	return check_make_path(object, e);
}

/* What is compiled, and with which symbols. */
static int choose_parts(struct build *w, struct err *e)
{
	const struct modbuild *b = w->b;
	_cleanup_json_ json_t *rows = NULL;
	const json_t *row;
	size_t i;

	for (const char *const *x = b->exclude; x && *x; x++)
		if (strv_push(&w->exclude, *x) < 0)
			return err_oom(e);
	if (!b->extra_symvers)
		return 0;
	w->symvers = strdup(b->extra_symvers);
	if (!w->symvers)
		return err_oom(e);
	if (w->exclude || b->no_cache || !path_exists(w->build_fd, FOREIGN_USER) ||
	    modset_list(w->store, b->driver, b->ktree->release, &rows, NULL) < 0)
		return 0;
	json_array_foreach (rows, i, row)
		if (is_same_but_symbols(w, row))
			return use_donor(w, row, e);
	return 0;
}

static int copy_result(int from_fd, const char *name, int to_fd)
{
	_cleanup_close_ int in = openat(from_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), out = -EBADF;

	if (in < 0)
		return errno == ENOENT ? 0 : -errno;
	if (unlinkat(to_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	out = openat(to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	return out < 0 ? -errno : copy_fd(in, out, NULL);
}

/* Beside what was compiled, as if it had been too. That module exports nothing, so the donor's symbols are all there are. */
static int take_from_donor(struct build *w, struct err *e)
{
	static const char *const others[] = { "nv-linux.o", "nv-modeset-linux.o", "Module.symvers" };
	int r = 0;

	for (char **x = w->exclude; x && *x && r == 0; x++) {
		_cleanup_free_ char *file = str_printf("%s.ko", *x);

		r = file ? copy_result(w->donor_fd, file, w->build_fd) : -ENOMEM;
	}
	for (size_t i = 0; i < ARRAY_LEN(others) && r == 0; i++)
		r = copy_result(w->donor_fd, others[i], w->build_fd);
	return r < 0 ? err_errno(e, r, "modules of an earlier set") : 0;
}

static int compile(struct build *w, char **ret_log, struct err *e)
{
	const struct modbuild *b = w->b;
	int r = store_stage_begin(w->store, &w->result, e);

	if (r < 0)
		return r;
	r = prepare_scratch(w, e);
	if (r < 0)
		return r;
	r = check_make_path(w->build_path, e);
	if (r == 0)
		r = check_make_path(b->ktree->source, e);
	if (r == 0)
		r = check_make_path(b->ktree->output, e);
	if (r == 0 && b->extra_symvers)
		r = check_make_path(b->extra_symvers, e);
	if (r < 0)
		return r;
	r = choose_parts(w, e);
	if (r == 0)
		r = restore_probes(w, e);
	if (r < 0)
		return r;
	w->out.jobs = choose_jobs(b);
	log_info("building the %s modules of %s for %s with %u jobs, %u configure answers known", b->flavour,
		 b->driver, b->ktree->release, w->out.jobs, w->out.probes_reused);
	r = run_make(w, ret_log, e);
	if (r == 0 && w->donor_fd >= 0)
		r = take_from_donor(w, e);
	return r < 0 ? r : publish_result(w, e);
}

/* How many modules a set that was there already holds. */
static unsigned count_modules(struct store *store, const char *key)
{
	json_t *record = NULL;
	unsigned n;

	if (modset_record(store, key, &record, NULL) < 0)
		return 0;
	n = (unsigned)json_array_size(json_object_get(record, "modules"));
	json_decref(record);
	return n;
}

int modbuild_run(const struct modbuild *b, struct store *store, struct modbuild_result *ret, char **ret_log,
		 struct err *e)
{
	_cleanup_(build_done) struct build w = { .b = b,
						 .store = store,
						 .scratch = STORE_STAGE_INIT,
						 .result = STORE_STAGE_INIT,
						 .source_fd = -EBADF,
						 .build_fd = -EBADF,
						 .log_fd = -EBADF,
						 .donor_fd = -EBADF,
						 .make = SPAWN_INIT("kernel module build") };
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	int r = open_source(b, &w.source_fd, e);

	if (r < 0)
		return r;
	r = store_tree_digest(w.source_fd, w.source_digest, &w.files, e);
	if (r == 0)
		r = symvers_digest(b, w.symvers_sha256, e);
	if (r == 0)
		r = compute_key(b, w.source_digest, w.symvers_sha256, w.key, e);
	if (r == 0)
		r = store_lock(store, STORE_MODULE, w.key, b->timeout_s ? b->timeout_s : BUILD_TIMEOUT, &lock,
			       e);
	if (r < 0)
		return r;
	memcpy(w.out.key, w.key, sizeof(w.key));
	r = modset_reuse(store, w.key, e);
	w.out.hit = r > 0;
	if (r == 0)
		r = compile(&w, ret_log, e);
	if (r < 0)
		return r;
	if (w.out.hit)
		w.out.modules = count_modules(store, w.key);
	*ret = w.out;
	return 0;
}
