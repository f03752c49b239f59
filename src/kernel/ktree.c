/* SPDX-License-Identifier: Apache-2.0 */
#include "ktree.h"

#include "digest.h"
#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define HEADER_MAX ((size_t)8 << 20)
#define CONFIG_MAX ((size_t)8 << 20)

static void ktree_free(struct ktree *t)
{
	if (!t)
		return;
	free(t->release);
	free(t->arch);
	free(t->vermagic);
	free(t->banner);
	free(t->source);
	free(t->output);
	free(t->config);
	free(t);
}

void ktree_freep(struct ktree **t)
{
	ktree_free(*t);
	*t = NULL;
}

/* -- pieces of text -- */

/* Value after "#define NAME " on a line of its own; quotes stripped. */
static int header_define(const char *text, const char *name, char **ret)
{
	struct span rest = SPAN(text), line, word;

	while (span_line(&rest, &line)) {
		if (!span_word(&line, &word) || !span_eq(word, "#define") || !span_word(&line, &word) ||
		    !span_eq(word, name))
			continue;
		line = span_trim(line);
		if (line.len >= 2 && line.p[0] == '"' && line.p[line.len - 1] == '"')
			line = (struct span){ line.p + 1, line.len - 2 };
		*ret = span_dup(line);
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static bool autoconf_has(const char *autoconf, const char *name)
{
	_cleanup_free_ char *value = NULL;

	return header_define(autoconf, name, &value) == 0 && strcmp(value, "1") == 0;
}

/* How the running of preemption is spelled changed with 5.15 (PREEMPT_BUILD, because of dynamic preemption); the
 * kernel's own header says which symbol it looks at. */
static const char *vermagic_preempt(const char *autoconf, const char *vermagic_h)
{
	bool build = vermagic_h && strstr(vermagic_h, "CONFIG_PREEMPT_BUILD");

	if (autoconf_has(autoconf, build ? "CONFIG_PREEMPT_BUILD" : "CONFIG_PREEMPT"))
		return "preempt ";
	return autoconf_has(autoconf, "CONFIG_PREEMPT_RT") ? "preempt_rt " : "";
}

int vermagic_compose(const char *release, const char *arch, const char *autoconf, const char *vermagic_h,
		     const char *randstruct_hash, char **ret)
{
	bool randstruct = autoconf_has(autoconf, "CONFIG_RANDSTRUCT") ||
			  autoconf_has(autoconf, "CONFIG_GCC_PLUGIN_RANDSTRUCT");

	*ret = str_printf("%s %s%s%s%s%s%s%s", release, autoconf_has(autoconf, "CONFIG_SMP") ? "SMP " : "",
			  vermagic_preempt(autoconf, vermagic_h),
			  autoconf_has(autoconf, "CONFIG_MODULE_UNLOAD") ? "mod_unload " : "",
			  autoconf_has(autoconf, "CONFIG_MODVERSIONS") ? "modversions " : "",
			  strcmp(arch, "aarch64") == 0 ? "aarch64" : "", randstruct ? "RANDSTRUCT_" : "",
			  randstruct && randstruct_hash ? randstruct_hash : "");
	return *ret ? 0 : -ENOMEM;
}

int banner_compose(const char *release, const char *compile_h, const char *utsversion_h, char **ret)
{
	_cleanup_free_ char *by = NULL, *host = NULL, *compiler = NULL, *version = NULL;

	/* The version line moved from compile.h into a file of its own with 6.1. */
	if (header_define(compile_h, "LINUX_COMPILE_BY", &by) < 0 ||
	    header_define(compile_h, "LINUX_COMPILE_HOST", &host) < 0 ||
	    header_define(compile_h, "LINUX_COMPILER", &compiler) < 0 ||
	    (header_define(compile_h, "UTS_VERSION", &version) < 0 &&
	     (!utsversion_h || header_define(utsversion_h, "UTS_VERSION", &version) < 0)))
		return -ENOENT;
	*ret = str_printf("Linux version %s (%s@%s) (%s) %s", release, by, host, compiler, version);
	return *ret ? 0 : -ENOMEM;
}

/* -- files of a tree -- */

static int tree_file_open(int tree_fd, const char *path)
{
	return path_open_at(tree_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
}

static int tree_file_read(int tree_fd, const char *path, size_t max, char **ret)
{
	_cleanup_close_ int fd = tree_file_open(tree_fd, path);

	return fd < 0 ? fd : read_fd(fd, max, ret, NULL);
}

static int need_file(int tree_fd, const char *tree, const char *path, char **ret, struct err *e)
{
	int r = tree_file_read(tree_fd, path, HEADER_MAX, ret);

	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP) {
		err_set(e, ERR_KTREE_INVALID, "%s has no %s", tree, path);
		return err_object(e, "%s", tree);
	}
	return r < 0 ? err_errno(e, r, "reading %s/%s", tree, path) : 0;
}

static int need_digest(int tree_fd, const char *tree, const char *path, char out[65], struct err *e)
{
	_cleanup_close_ int fd = tree_file_open(tree_fd, path);
	int r = fd < 0 ? fd : sha256_fd_hex(fd, out);

	if (r == -ENOENT) {
		err_set(e, ERR_KTREE_INVALID, "%s has no %s: modules built without it would load nowhere",
			tree, path);
		return err_object(e, "%s", tree);
	}
	return r < 0 ? err_errno(e, r, "reading %s/%s", tree, path) : 0;
}

static int dir_at(int root_fd, const char *path, int *ret_fd, char **ret_real)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	int r;

	if (fd < 0)
		return fd;
	r = fd_real_path(fd, ret_real);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static const char *config_arch(const struct ktree *t)
{
	if (ktree_config_enabled(t, "X86_64"))
		return "x86_64";
	return ktree_config_enabled(t, "ARM64") ? "aarch64" : NULL;
}

static int read_config(int output_fd, struct ktree *t, struct err *e)
{
	const char *arch;
	int r = tree_file_read(output_fd, ".config", CONFIG_MAX, &t->config);

	if (r == -ENOENT)
		r = tree_file_read(output_fd, "include/config/auto.conf", CONFIG_MAX, &t->config);
	if (r == -ENOENT) {
		err_set(e, ERR_KTREE_INVALID, "%s has neither .config nor include/config/auto.conf",
			t->output);
		return err_object(e, "%s", t->output);
	}
	if (r < 0)
		return err_errno(e, r, "reading the kernel configuration in %s", t->output);
	arch = config_arch(t);
	if (!arch) {
		err_set(e, ERR_KTREE_INVALID, "%s is configured for a machine this program does not know",
			t->output);
		return err_object(e, "%s", t->output);
	}
	t->arch = strdup(arch);
	return t->arch ? 0 : err_oom(e);
}

static int read_release(int output_fd, struct ktree *t, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r = need_file(output_fd, t->output, "include/generated/utsrelease.h", &text, e);

	if (r < 0)
		return r;
	r = header_define(text, "UTS_RELEASE", &t->release);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0 || !name_is_safe(t->release)) {
		err_set(e, ERR_KTREE_INVALID, "%s/include/generated/utsrelease.h names no release",
			t->output);
		return err_object(e, "%s", t->output);
	}
	return 0;
}

static int read_vermagic(int source_fd, int output_fd, struct ktree *t, struct err *e)
{
	_cleanup_free_ char *autoconf = NULL, *vermagic_h = NULL, *randstruct = NULL, *hash = NULL;
	int r = need_file(output_fd, t->output, "include/generated/autoconf.h", &autoconf, e);

	if (r < 0)
		return r;
	(void)tree_file_read(source_fd, "include/linux/vermagic.h", HEADER_MAX, &vermagic_h);
	if (tree_file_read(output_fd, "include/generated/randstruct_hash.h", HEADER_MAX, &randstruct) == 0)
		(void)header_define(randstruct, "RANDSTRUCT_HASHED_SEED", &hash);
	r = vermagic_compose(t->release, t->arch, autoconf, vermagic_h, hash, &t->vermagic);
	return r < 0 ? err_oom(e) : 0;
}

/* Many header packages leave these files out: the banner is then unknown, which is no fault. */
static int read_banner(int output_fd, struct ktree *t, struct err *e)
{
	_cleanup_free_ char *compile_h = NULL, *utsversion_h = NULL;
	int r;

	if (tree_file_read(output_fd, "include/generated/compile.h", HEADER_MAX, &compile_h) < 0)
		return 0;
	(void)tree_file_read(output_fd, "include/generated/utsversion.h", HEADER_MAX, &utsversion_h);
	r = banner_compose(t->release, compile_h, utsversion_h, &t->banner);
	return r == -ENOMEM ? err_oom(e) : 0;
}

static int compute_identity(struct ktree *t, struct err *e)
{
	_cleanup_free_ char *text =
	    str_printf("kernel identity 1\nrelease %s\narch %s\nvermagic %s\nsymvers %s\nautoconf %s\n",
		       t->release, t->arch, t->vermagic, t->symvers_sha256, t->autoconf_sha256);
	uint8_t digest[SHA256_SIZE];

	if (!text)
		return err_oom(e);
	if (sha256_bytes(text, strlen(text), digest) < 0)
		return err_oom(e);
	hex_encode(digest, sizeof(digest), t->identity);
	return 0;
}

static int check_wanted(const struct ktree *t, const char *release, const char *arch, struct err *e)
{
	if (release && strcmp(release, t->release) != 0)
		err_set(e, ERR_KTREE_MISMATCH, "%s is for kernel %s, wanted %s", t->output, t->release,
			release);
	else if (arch && strcmp(arch, t->arch) != 0)
		err_set(e, ERR_KTREE_MISMATCH, "%s is for %s, wanted %s", t->output, t->arch, arch);
	else
		return 0;
	(void)err_object(e, "%s", t->output);
	return -ERR_KTREE_MISMATCH;
}

static int fill_tree(int source_fd, int output_fd, struct ktree *t, struct err *e)
{
	_cleanup_free_ char *probe = NULL;
	int r = need_file(source_fd, t->source, "include/linux/kernel.h", &probe, e);

	if (r < 0)
		return r;
	r = read_release(output_fd, t, e);
	if (r < 0)
		return r;
	r = read_config(output_fd, t, e);
	if (r < 0)
		return r;
	r = read_vermagic(source_fd, output_fd, t, e);
	if (r < 0)
		return r;
	r = read_banner(output_fd, t, e);
	if (r < 0)
		return r;
	r = need_digest(output_fd, t->output, "include/generated/autoconf.h", t->autoconf_sha256, e);
	if (r < 0)
		return r;
	r = need_digest(output_fd, t->output, "Module.symvers", t->symvers_sha256, e);
	return r < 0 ? r : compute_identity(t, e);
}

int ktree_open_at(int root_fd, const char *source, const char *output, const char *release, const char *arch,
		  struct ktree **ret, struct err *e)
{
	_cleanup_(ktree_freep) struct ktree *t = calloc(1, sizeof(*t));
	_cleanup_close_ int source_fd = -EBADF, output_fd = -EBADF;
	int r;

	if (!t)
		return err_oom(e);
	r = dir_at(root_fd, source, &source_fd, &t->source);
	if (r < 0) {
		err_set(e, ERR_KTREE_INVALID, "%s: %s", source, strerror(-r));
		return err_object(e, "%s", source);
	}
	r = dir_at(root_fd, output ? output : source, &output_fd, &t->output);
	if (r < 0) {
		err_set(e, ERR_KTREE_INVALID, "%s: %s", output ? output : source, strerror(-r));
		return err_object(e, "%s", output ? output : source);
	}
	r = fill_tree(source_fd, output_fd, t, e);
	if (r < 0)
		return r;
	r = check_wanted(t, release, arch, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

/* -- finding -- */

/* A per-configuration tree of a split package begins "include <common tree>/Makefile"; the path is absolute as
 * shipped, or relative to the makefile once it was made relocatable. -ENOENT: not split. */
static int makefile_source(int root_fd, const char *output, char **ret)
{
	static const char here[] = "$(dir $(lastword $(MAKEFILE_LIST)))";
	_cleanup_free_ char *path = str_printf("%s/Makefile", output), *text = NULL;
	struct span rest, line, word;
	int r;

	if (!path)
		return -ENOMEM;
	r = tree_file_read(root_fd, path, HEADER_MAX, &text);
	if (r < 0)
		return r;
	rest = SPAN(text);
	while (span_line(&rest, &line)) {
		if (!span_word(&line, &word) || !span_eq(word, "include"))
			continue;
		line = span_trim(line);
		if (!span_ends(line, "/Makefile"))
			continue;
		line.len -= strlen("/Makefile");
		if (span_starts(line, here))
			*ret = str_printf("%s/" SPAN_FMT, output, (int)(line.len - strlen(here)),
					  line.p + strlen(here));
		else if (line.len && line.p[0] == '/')
			*ret = span_dup(line);
		else
			return -ENOENT;
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

/* An output tree by itself; its common tree is found through its makefile. */
static int open_output(int root_fd, const char *output, const struct ktree_search *w, struct ktree **ret,
		       struct err *e)
{
	_cleanup_free_ char *source = NULL;
	int r = makefile_source(root_fd, output, &source);

	if (r == -ENOMEM)
		return err_oom(e);
	return ktree_open_at(root_fd, source ? source : output, output, w->release, w->arch, ret, e);
}

static int open_named(const struct ktree_search *w, struct ktree **ret, struct err *e)
{
	_cleanup_close_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* As the user wrote them: seen from the working directory. One that is not there is reported by its own name. */
	_cleanup_free_ char *source = w->source ? realpath(w->source, NULL) : NULL;
	_cleanup_free_ char *output = w->output ? realpath(w->output, NULL) : NULL;
	const char *s = source ? source : w->source, *o = output ? output : w->output;

	if (root_fd < 0)
		return err_errno(e, -errno, "/");
	if (s && o)
		return ktree_open_at(root_fd, s, o, w->release, w->arch, ret, e);
	return open_output(root_fd, s ? s : o, w, ret, e);
}

/* lib/modules/R/{build,source} below a root; both are used when both exist (a split tree). */
static int open_modlib(int root_fd, const char *lib, const struct ktree_search *w, struct ktree **ret,
		       struct err *e)
{
	_cleanup_free_ char *build = str_printf("%s/%s/build", lib, w->release);
	_cleanup_free_ char *source = str_printf("%s/%s/source", lib, w->release);
	_cleanup_close_ int fd = -EBADF;

	if (!build || !source)
		return err_oom(e);
	fd = path_open_at(root_fd, source, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (fd < 0)
		return open_output(root_fd, build, w, ret, e);
	return ktree_open_at(root_fd, source, build, w->release, w->arch, ret, e);
}

static bool dir_exists(int root_fd, const char *path)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);

	return fd >= 0;
}

/* 1 = opened, 0 = not there, negative = there and unusable. */
static int try_root(int root_fd, const struct ktree_search *w, struct strbuf *tried, struct ktree **ret,
		    struct err *e)
{
	static const char *const libs[] = { "lib/modules", "usr/lib/modules" };
	static const char *const plain[] = { "usr/src/kernels/", "usr/src/linux-headers-" };
	int r;

	for (size_t i = 0; i < ARRAY_LEN(libs); i++) {
		_cleanup_free_ char *build = str_printf("%s/%s/build", libs[i], w->release);

		if (!build)
			return err_oom(e);
		(void)strbuf_printf(tried, "%s/%s", tried->len ? ", " : "", build);
		if (!dir_exists(root_fd, build))
			continue;
		r = open_modlib(root_fd, libs[i], w, ret, e);
		return r < 0 ? r : 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		_cleanup_free_ char *path = str_printf("%s%s", plain[i], w->release);

		if (!path)
			return err_oom(e);
		(void)strbuf_printf(tried, ", /%s", path);
		if (!dir_exists(root_fd, path))
			continue;
		r = open_output(root_fd, path, w, ret, e);
		return r < 0 ? r : 1;
	}
	return 0;
}

static int open_stored(struct store *s, const char *id, const struct ktree_search *w, struct ktree **ret,
		       struct err *e)
{
	_cleanup_close_ int dir = store_object_open(s, STORE_KERNEL, id), root = -EBADF;
	json_t *record = NULL;
	const char *source, *build;
	int r;

	if (dir < 0)
		return err_errno(e, dir, "kernel tree %s", id);
	r = store_record_read(dir, "record.json", &record, e);
	if (r < 0)
		return err_wrap(e, "kernel tree %s", id);
	source = json_string_value(json_object_get(record, "source_rel"));
	build = json_string_value(json_object_get(record, "build_rel"));
	root = dir_open_at(dir, "root");
	if (root < 0 || !source || !build) {
		json_decref(record);
		err_set(e, ERR_STORE_DAMAGED, "kernel tree %s: incomplete record", id);
		return err_object(e, "kernels/%s", id);
	}
	r = ktree_open_at(root, source, build, w->release, w->arch, ret, e);
	json_decref(record);
	if (r < 0)
		return r;
	if (strcmp((*ret)->identity, id) != 0) {
		ktree_freep(ret);
		err_set(e, ERR_STORE_DAMAGED, "kernel tree %s does not have the identity it is stored under",
			id);
		return err_object(e, "kernels/%s", id);
	}
	return 0;
}

static int try_store(const struct ktree_search *w, struct strbuf *tried, struct ktree **ret, struct err *e)
{
	static const char *const arches[] = { "x86_64", "aarch64" };

	for (size_t i = 0; i < ARRAY_LEN(arches); i++) {
		_cleanup_free_ char *ref = str_printf("kernels/%s/%s", arches[i], w->release), *id = NULL;
		enum store_kind kind;
		int r;

		if (!ref)
			return err_oom(e);
		if (w->arch && strcmp(w->arch, arches[i]) != 0)
			continue;
		r = store_ref_get(w->store, ref, &kind, &id);
		if (r < 0 || kind != STORE_KERNEL)
			continue;
		r = open_stored(w->store, id, w, ret, e);
		return r < 0 ? r : 1;
	}
	(void)strbuf_printf(tried, "%s%s/kernels", tried->len ? ", " : "", w->store->path);
	return 0;
}

int ktree_find(const struct ktree_search *w, struct ktree **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf tried = STRBUF_INIT(STRBUF_TEXT_MAX);
	int r = 0;

	if (w->source || w->output)
		return open_named(w, ret, e);
	if (!w->release || !name_is_safe(w->release))
		return err_set(e, ERR_USAGE, "no kernel release was named");
	if (w->host)
		r = try_root(w->host->root_fd, w, &tried, ret, e);
	if (r == 0 && w->store)
		r = try_store(w, &tried, ret, e);
	if (r != 0)
		return r < 0 ? r : 0;
	err_set(e, ERR_KTREE_NOT_FOUND, "kernel %s: looked in %s", w->release, strbuf_str(&tried));
	return err_object(e, "%s", w->release);
}

/* -- store -- */

int ktree_to_json(const struct ktree *t, json_t **ret)
{
	*ret =
	    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "release", t->release, "arch", t->arch,
		      "vermagic", t->vermagic, "identity", t->identity, "symvers_sha256", t->symvers_sha256,
		      "autoconf_sha256", t->autoconf_sha256, "source", t->source, "output", t->output);
	return *ret ? 0 : -ENOMEM;
}

static json_t *import_record(const struct ktree *t, const char *source_rel, const char *build_rel,
			     const json_t *meta)
{
	json_t *rec =
	    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "schema", "nvdriver.kernel/1",
		      "release", t->release, "arch", t->arch, "vermagic", t->vermagic, "identity",
		      t->identity, "symvers_sha256", t->symvers_sha256, "autoconf_sha256", t->autoconf_sha256,
		      "source_rel", source_rel, "build_rel", build_rel);

	if (rec && meta && json_object_update_missing(rec, (json_t *)meta) < 0) {
		json_decref(rec);
		return NULL;
	}
	return rec;
}

int ktree_import(struct store_stage *st, const char *release, const char *source_rel, const char *build_rel,
		 const json_t *meta, char ret_identity[65], struct err *e)
{
	_cleanup_free_ char *source = NULL, *build = NULL, *ref = NULL;
	_cleanup_(ktree_freep) struct ktree *t = NULL;
	_cleanup_close_ int root = dir_open_at(st->dir_fd, "root");
	struct store *s = st->store; /* publishing empties the stage */
	json_t *record;
	int r;

	if (root < 0)
		return err_errno(e, root, "staged kernel headers");
	source = source_rel ? strdup(source_rel) : str_printf("lib/modules/%s/source", release);
	build = build_rel ? strdup(build_rel) : str_printf("lib/modules/%s/build", release);
	if (!source || !build)
		return err_oom(e);
	r = ktree_open_at(root, source, build, release, NULL, &t, e);
	if (r < 0)
		return r;
	ref = str_printf("kernels/%s/%s", t->arch, t->release);
	record = import_record(t, source, build, meta);
	if (!record || !ref) {
		json_decref(record);
		return err_oom(e);
	}
	r = store_record_write(st->dir_fd, "record.json", record, 0644, e);
	json_decref(record);
	if (r < 0)
		return r;
	r = store_publish(st, STORE_KERNEL, t->identity, e);
	if (r < 0)
		return r;
	r = store_ref_set(s, ref, STORE_KERNEL, t->identity, e);
	if (r < 0)
		return r;
	memcpy(ret_identity, t->identity, sizeof(t->identity));
	return 0;
}

/* -- configuration -- */

static bool config_line_value(struct span line, const char *name, struct span *ret)
{
	size_t n = strlen(name);

	if (!span_starts(line, "CONFIG_"))
		return false;
	line = (struct span){ line.p + 7, line.len - 7 };
	if (line.len <= n || memcmp(line.p, name, n) != 0 || line.p[n] != '=')
		return false;
	*ret = span_trim((struct span){ line.p + n + 1, line.len - n - 1 });
	return true;
}

int ktree_config(const struct ktree *t, const char *name, char **ret)
{
	struct span rest = SPAN(t->config), line, value;

	while (span_line(&rest, &line)) {
		if (!config_line_value(line, name, &value))
			continue;
		if (value.len >= 2 && value.p[0] == '"' && value.p[value.len - 1] == '"')
			value = (struct span){ value.p + 1, value.len - 2 };
		*ret = span_dup(value);
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

bool ktree_config_enabled(const struct ktree *t, const char *name)
{
	_cleanup_free_ char *value = NULL;

	return ktree_config(t, name, &value) == 0 && (strcmp(value, "y") == 0 || strcmp(value, "m") == 0);
}

int ktree_sign_hash(const struct ktree *t, char **ret, bool *ret_guessed)
{
	static const struct {
		const char *option, *hash;
	} known[] = { { "MODULE_SIG_SHA512", "sha512" },
		      { "MODULE_SIG_SHA384", "sha384" },
		      { "MODULE_SIG_SHA256", "sha256" },
		      { "MODULE_SIG_SHA224", "sha224" },
		      { "MODULE_SIG_SHA1", "sha1" } };
	char *hash = NULL;

	if (ktree_config(t, "MODULE_SIG_HASH", &hash) == 0 && *hash) {
		*ret = hash;
		*ret_guessed = false;
		return 0;
	}
	free(hash);
	hash = NULL;
	for (size_t i = 0; i < ARRAY_LEN(known) && !hash; i++)
		if (ktree_config_enabled(t, known[i].option))
			hash = strdup(known[i].hash);
	*ret_guessed = !hash;
	if (!hash)
		hash = strdup("sha256");
	if (!hash)
		return -ENOMEM;
	*ret = hash;
	return 0;
}
