/* SPDX-License-Identifier: Apache-2.0 */
#include "container-prepare.h"

#include "container-banner.h"
#include "container-bundle.h"
#include "container-catalog.h"
#include "container-export.h"
#include "container-ktree.h"
#include "container-precompiled.h"
#include "container-rdma.h"
#include "digest.h"
#include "fd.h"
#include "flavour.h"
#include "install.h"
#include "jutil.h"
#include "keyring.h"
#include "log.h"
#include "modset.h"
#include "path.h"
#include "payload.h"
#include "prepare.h"
#include "record.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"
#include "err-container.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define MANIFEST_MAX   ((size_t)16 << 20)
#define MANIFEST_HEAD  8
#define VIDEO_DIR      "kernel/drivers/video"
#define OLD_VIDEO_DIR  "video"
#define DEPMOD_LIMIT_S 120
#define MIB_PER_JOB    512

char *container_plain_version(const char *version)
{
	size_t n = strlen(version), suffix = strlen("-grid");

	return n > suffix && strcmp(version + n - suffix, "-grid") == 0 ? strndup(version, n - suffix)
									: strdup(version);
}

struct container_ktree_options container_ktree_wishes(const struct container *c)
{
	return (struct container_ktree_options){
		.source = c->o.kernel_source,
		.node = c->node,
		.store = c->en->store,
		.bundle = c->env->bundle,
		.bundle_cert = c->env->bundle_cert,
		.may_install = c->o.install_packages,
		.no_packages = c->en->offline || (c->o.tag && strcmp(c->o.tag, "builtin") == 0),
	};
}

/* -- which driver -- */

int container_choose_version(struct container *c, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	struct container_vgpu_places places;
	char *version = NULL;
	int r;

	if (!c->env->vgpu || !c->env->vgpu_version_check)
		return 0;
	container_vgpu_places(c->h, &places);
	r = container_vgpu_choose(c->h, &places, &version, &why);
	if (r == -ERR_VGPU_CONFIG_SPACE) {
		log_warn("taken for passthrough: %s", why.reason ? why.reason : err_sentence(r));
		return 0;
	}
	if (r < 0)
		err_move(e, &why);
	if (r <= 0)
		return r;
	log_info("guest driver %s chosen from the catalog", version);
	free(c->version);
	c->version = version;
	return 0;
}

/* -- the tree -- */

static char *runfile_name(const struct container *c)
{
	return str_printf(CONTAINER_DRIVERS_DIR "/NVIDIA-Linux-%s-%s.run", c->env->arch, c->version);
}

/* A name for exactly this run file in the store, from its header alone; NULL when it carries no sums. */
static int runfile_ref(const struct container *c, const char *name, char **ret, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	_cleanup_free_ char *path = container_path(c, name);
	char md5[33];
	int r = path ? runfile_open_at(AT_FDCWD, path, &rf, e) : err_oom(e);

	if (r < 0)
		return r;
	if (!rf->header->has_md5)
		return 0;
	hex_encode(rf->header->md5, sizeof(rf->header->md5), md5);
	*ret = str_printf("container/run-%s-%ju", md5, (uintmax_t)rf->layout.file_size);
	return *ret ? 0 : err_oom(e);
}

/* 1 when the ref leads to a whole tree. A damaged one counts as none: it is made anew. */
static int tree_behind(struct container *c, const char *ref)
{
	_cleanup_free_ char *id = NULL;
	enum store_kind kind;

	if (!ref || store_ref_get(c->en->store, ref, &kind, &id) < 0 || kind != STORE_TREE ||
	    !store_has(c->en->store, STORE_TREE, id) ||
	    store_tree_verify(c->en->store, id, STORE_VERIFY_QUICK, NULL, NULL) < 0)
		return 0;
	snprintf(c->tree_id, sizeof(c->tree_id), "%s", id);
	return 1;
}

static int take_stage_id(const json_t *stages, const char *stage, char ret[65])
{
	const json_t *row;
	size_t i;

	json_array_foreach (stages, i, row)
		if (strcmp(json_string_value(json_object_get(row, "stage")) ?: "", stage) == 0 &&
		    json_is_string(json_object_get(row, "id"))) {
			snprintf(ret, 65, "%s", json_string_value(json_object_get(row, "id")));
			return 0;
		}
	return -ENOENT;
}

static int unpack_runfile(struct container *c, const char *name, const char *ref, struct err *e)
{
	_cleanup_free_ char *path = container_path(c, name);
	char *words[] = { path, NULL };
	struct prepare_request q = {
		.source = words, .n_source = 1, .passphrase_fd = -1, .no_modules = true
	};
	_cleanup_json_ json_t *stages = NULL;
	int r = path ? 0 : err_oom(e);

	log_info("unpacking /%s", name);
	if (r == 0)
		r = prepare_run(c->en, &q, &stages, e);
	if (r < 0)
		return err_wrap(e, "/%s", name);
	if (take_stage_id(stages, "driver", c->tree_id) < 0)
		return err_set(e, ERR_STORE_DAMAGED, "the tree of /%s is not there after all", name);
	return ref ? store_ref_set(c->en->store, ref, STORE_TREE, c->tree_id, e) : 0;
}

int container_prepare_tree(struct container *c, struct err *e)
{
	_cleanup_free_ char *name = runfile_name(c), *ref = NULL, *by_version = NULL;
	_cleanup_free_ char *plain = container_plain_version(c->version);
	int r;

	if (!name || !plain)
		return err_oom(e);
	if (path_exists(c->h->root_fd, name)) {
		r = runfile_ref(c, name, &ref, e);
		if (r < 0)
			return r;
		return tree_behind(c, ref) ? 0 : unpack_runfile(c, name, ref, e);
	}
	by_version = str_printf("driver/%s-%s", plain, c->env->arch);
	if (!by_version)
		return err_oom(e);
	if (tree_behind(c, by_version))
		return 0;
	r = container_bundle_apply(c, e);
	if (r < 0 || (r > 0 && tree_behind(c, by_version)))
		return r < 0 ? r : 0;
	err_set(e, ERR_DRIVER_NOT_PREPARED, "there is no /%s, and the store has no driver %s", name,
		c->version);
	return err_next(
	    e, "build the image with the run file in /drivers, or apply a bundle that holds the driver");
}

/* -- flavour -- */

static int choose_flavour(struct container *c, char **ret, struct err *e)
{
	_cleanup_(flavour_choice_done) struct flavour_choice choice = { 0 };
	_cleanup_free_ char *plain = container_plain_version(c->version);
	_cleanup_close_ int tree_fd = -EBADF;
	int r = plain ? store_tree_open(c->en->store, c->tree_id, &tree_fd, NULL, e) : err_oom(e);

	if (r == 0)
		r = flavour_choose(c->h, tree_fd, plain, &choice, e);
	if (r < 0)
		return r;
	log_info("kernel modules: %s (%s)", choice.flavour, choice.why ? choice.why : "");
	*ret = strdup(choice.flavour);
	return *ret ? 0 : err_oom(e);
}

int container_prepare_flavour(struct container *c, struct err *e)
{
	char *flavour = NULL;
	int r = 0;

	if (c->env->module_type == MODULE_TYPE_AUTO)
		r = choose_flavour(c, &flavour, e);
	else if (!(flavour = strdup(c->env->module_type == MODULE_TYPE_OPEN ? "open" : "proprietary")))
		r = err_oom(e);
	if (r < 0)
		return r;
	free(c->flavour);
	c->flavour = flavour;
	return 0;
}

/* -- user space -- */

static bool userspace_is_there(const struct container *c)
{
	_cleanup_json_ json_t *record = NULL;

	if (record_read(c->h->root_fd, &record, NULL) != 1)
		return false;
	return strcmp(json_string_value(json_object_get(record, "tree")) ?: "", c->tree_id) == 0 &&
	       container_entries_differ(c->h->root_fd, json_object_get(record, "files")) == 0;
}

static int install_userspace(struct container *c, const char *tree_path, int tree_fd, const json_t *tree,
			     struct err *e)
{
	struct userspace_request q = { .tree_fd = tree_fd,
				       .tree_path = tree_path,
				       .tree_id = c->tree_id,
				       .tree_record = tree,
				       .arch = c->env->arch,
				       .compat32 = strcmp(c->env->arch, "x86_64") == 0,
				       .force = true,
				       .replace_vendor = true,
				       .systemd_off = true,
				       .dest = { .profile = DEST_PROFILE_FULL,
						 .glvnd_present = true,
						 .no_modprobe = true,
						 .no_glx_indirect = true } };
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_json_ json_t *report = NULL;
	int r = userspace_plan_install(c->h, &q, &p, &report, e);

	if (r >= 0)
		r = container_apply(c, p, e);
	return r < 0 ? r : 0;
}

int container_prepare_userspace(struct container *c, struct err *e)
{
	_cleanup_free_ char *object = store_object_path(c->en->store, STORE_TREE, c->tree_id), *path = NULL;
	_cleanup_close_ int tree_fd = -EBADF;
	_cleanup_json_ json_t *record = NULL;
	int r;

	if (userspace_is_there(c)) {
		log_info("user space of driver %s is in place", c->version);
		return 0;
	}
	path = object ? str_printf("%s/root", object) : NULL;
	r = path ? store_tree_open(c->en->store, c->tree_id, &tree_fd, &record, e) : err_oom(e);
	if (r == 0)
		r = install_userspace(c, path, tree_fd, record, e);
	return r < 0 ? err_wrap(e, "installing the user space") : 0;
}

/* -- sources -- */

int container_manifest_filter(struct span text, char **ret, size_t *ret_len)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(MANIFEST_MAX);
	struct span line;
	size_t n = 0;

	while (span_line(&text, &line)) {
		if (n++ >= MANIFEST_HEAD && !span_starts(line, "kernel") && !span_starts(line, "LICENSE"))
			continue;
		(void)strbuf_append(&out, line.p, line.len);
		(void)strbuf_putc(&out, '\n');
	}
	*ret_len = out.len;
	return out.buf ? strbuf_steal(&out, ret) : ((*ret = strdup("")) ? 0 : -ENOMEM);
}

static const char *sources_dir(const struct container *c)
{
	return strcmp(c->flavour, "open") == 0 ? "kernel-open" : "kernel";
}

static int add_entry(json_t *entries, json_t *entry)
{
	return entry && json_array_append_new(entries, entry) == 0 ? 0 : -ENOMEM;
}

/* One file or link of the tree, at its place below usr/src. */
static json_t *source_entry(const char *dir, const json_t *of)
{
	const char *path = json_string_value(json_object_get(of, "path"));
	const char *type = json_string_value(json_object_get(of, "type")) ?: "";
	json_int_t mode = json_integer_value(json_object_get(of, "mode"));

	if (strcmp(type, "link") == 0)
		return json_pack("{s:o,s:s,s:O}", "path", json_sprintf("%s/%s", dir, path), "type", "link",
				 "target", json_object_get(of, "target"));
	return json_pack("{s:o,s:s,s:i,s:O,s:O,s:s}", "path", json_sprintf("%s/%s", dir, path), "type",
			 "file", "mode", mode & 0111 ? 0755 : 0644, "size", json_object_get(of, "size"),
			 "sha256", json_object_get(of, "sha256"), "from", path);
}

static bool is_source(const char *path, const char *sources)
{
	size_t n = strlen(sources);

	return path && (strcmp(path, "LICENSE") == 0 || (strncmp(path, sources, n) == 0 && path[n] == '/'));
}

static int manifest_entry(const char *dir, int tree_fd, json_t *entries)
{
	_cleanup_free_ char *text = NULL, *filtered = NULL;
	size_t len, filtered_len;
	int r = read_file_at(tree_fd, ".manifest", MANIFEST_MAX, &text, &len);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = container_manifest_filter((struct span){ text, len }, &filtered, &filtered_len);
	if (r < 0)
		return r;
	return add_entry(entries,
			 json_pack("{s:o,s:s,s:i,s:I,s:o}", "path", json_sprintf("%s/.manifest", dir), "type",
				   "file", "mode", 0644, "size", (json_int_t)filtered_len, "bytes_base64",
				   jbytes((const uint8_t *)filtered, filtered_len)));
}

/* We are mkprecompiled too, under that name. */
static int mkprecompiled_entry(const char *dir, json_t *entries)
{
	char program[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (n <= 0)
		return 0;
	program[n] = '\0';
	return add_entry(entries, json_pack("{s:o,s:s,s:s}", "path", json_sprintf("%s/mkprecompiled", dir),
					    "type", "link", "target", program));
}

static int source_entries(const struct container *c, const char *dir, int tree_fd, const json_t *tree,
			  json_t *entries)
{
	const json_t *of;
	size_t i;
	int r = manifest_entry(dir, tree_fd, entries);

	json_array_foreach (json_object_get(tree, "files"), i, of) {
		const char *type = json_string_value(json_object_get(of, "type")) ?: "";

		if (r == 0 && strcmp(type, "dir") != 0 &&
		    is_source(json_string_value(json_object_get(of, "path")), sources_dir(c)))
			r = add_entry(entries, source_entry(dir, of));
	}
	return r < 0 ? r : mkprecompiled_entry(dir, entries);
}

/* Files of a store object at their places, unless they are there by type and size. 1 = something was put there. */
static int put_files(struct container *c, const char *title, const char *base, json_t *entries, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r;

	if (!container_entries_differ(c->h->root_fd, entries))
		return 0;
	r = container_plan_new(title, &p, e);
	if (r < 0)
		return r;
	if (plan_add(p, &op_files, json_pack("{s:s,s:O}", "base", base, "entries", entries), "%s", title) < 0)
		return err_oom(e);
	return container_apply(c, p, e);
}

int container_prepare_sources(struct container *c, struct err *e)
{
	_cleanup_free_ char *plain = container_plain_version(c->version), *dir = NULL, *title = NULL,
			    *base = NULL;
	_cleanup_free_ char *object = store_object_path(c->en->store, STORE_TREE, c->tree_id);
	_cleanup_json_ json_t *record = NULL, *entries = json_array();
	_cleanup_close_ int tree_fd = -EBADF;
	int r;

	dir = plain ? str_printf("usr/src/nvidia-%s", plain) : NULL;
	title = dir ? str_printf("module sources in /%s", dir) : NULL;
	base = object ? str_printf("%s/root", object) : NULL;
	if (!title || !base || !entries)
		return err_oom(e);
	r = store_tree_open(c->en->store, c->tree_id, &tree_fd, &record, e);
	if (r < 0)
		return r;
	if (source_entries(c, dir, tree_fd, record, entries) < 0)
		return err_oom(e);
	r = put_files(c, title, base, entries, e);
	return r < 0 ? err_wrap(e, "module sources") : 0;
}

/* -- modules -- */

/* Where the network driver's symbols are told; NULL where RDMA is not active. */
static int network_symvers(const struct container *c, char **ret, struct err *e)
{
	int r;

	*ret = NULL;
	if (!container_rdma_active(c))
		return 0;
	r = container_rdma_symvers(c->h, c->node, c->env, c->release, ret);
	if (r == -ENOENT)
		log_warn("no network driver to build nvidia-peermem against was found");
	return r == -ENOMEM ? err_oom(e) : 0;
}

static int take_set(struct container *c, struct err *e)
{
	char symvers_sha256[SHA256_HEX_SIZE];
	_cleanup_free_ char *symvers = NULL;
	_cleanup_free_ char *plain = container_plain_version(c->version), *banner = NULL, *running = NULL;
	char fingerprint[65];
	struct modset_want want = {
		.driver = plain, .flavour = c->flavour, .release = c->release, .arch = c->env->arch
	};
	_cleanup_json_ json_t *record = NULL;
	int r = plain ? 0 : err_oom(e);

	if (r == 0 && c->o.cert) {
		r = modset_cert_fingerprint(c->o.cert, fingerprint, e);
		want.certificate = fingerprint;
	}
	if (r < 0)
		return r;
	r = network_symvers(c, &symvers, e);
	if (r < 0)
		return r;
	if (symvers && sha256_file_at(AT_FDCWD, symvers, symvers_sha256) == 0)
		want.foreign_symvers_sha256 = symvers_sha256;
	/* Another build of the same release is another kernel; only of the running one do we know the banner. */
	if (host_kernel_release(c->h, &running) == 0 && strcmp(running, c->release) == 0 &&
	    host_proc_version(c->h, &banner) == 0)
		want.banner = banner;
	return modset_find(c->en->store, &want, c->set_key, &record, e);
}

int container_find_modules(struct container *c, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r = take_set(c, &why);

	if (r == 0)
		r = modset_verify(c->en->store, c->set_key, NULL, &why);
	if (r == 0)
		return 1;
	c->set_key[0] = '\0';
	if (r == -ENOENT)
		return 0;
	if (r == -ERR_STORE_DAMAGED) {
		log_warn("a module set in the store is damaged and made anew: %s",
			 why.reason ? why.reason : "?");
		return 0;
	}
	err_move(e, &why);
	return r;
}

/* Before minutes of compiling: would the kernel take the result at all? */
static int check_signing(const struct container *c, const struct ktree *t, struct err *e)
{
	_cleanup_(signing_preflight_done) struct signing_preflight p = { 0 };
	int r = signing_preflight(c->node ? c->node : c->h, t, c->o.cert, &p, e);

	if (r == 0)
		log_info("%s", p.text);
	return r;
}

/* As many as there are processors to use and memory for. */
static unsigned job_count(const struct container *c)
{
	unsigned jobs = host_cpu_count(c->h);
	uint64_t bytes, fit;

	if (host_memory_available(c->h, &bytes) == 0) {
		fit = bytes / ((uint64_t)MIB_PER_JOB << 20);
		jobs = fit < jobs ? (unsigned)fit : jobs;
	}
	if (c->o.max_threads && c->o.max_threads < jobs)
		jobs = c->o.max_threads;
	return jobs ? jobs : 1;
}

static int link_network_driver(struct container *c, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = container_rdma_active(c)
		    ? container_plan_new("network driver headers linked below /usr/src", &p, e)
		    : 0;

	if (r == 0 && p)
		r = container_rdma_links(c->h, c->env, c->release, p, e);
	if (r > 0)
		r = container_apply(c, p, e);
	return r < 0 ? r : 0;
}

static int find_ktree(struct container *c, struct container_ktree *ret, struct err *e)
{
	struct container_ktree_options o = container_ktree_wishes(c);

	return container_ktree_find(c->h, c->env, c->release, &o, ret, e);
}

static int build_set(struct container *c, const struct ktree *t, struct err *e)
{
	_cleanup_free_ char *symvers = NULL, *banner = NULL;
	struct prepare_request q = { .tree_id = c->tree_id,
				     .kernel = c->release,
				     .kernel_source = t->source,
				     .kernel_output = t->output,
				     .flavour = c->flavour,
				     .key = c->o.key,
				     .cert = c->o.cert,
				     .passphrase_fd = -1,
				     .jobs = job_count(c) };
	_cleanup_json_ json_t *stages = NULL;
	int r;

	r = network_symvers(c, &symvers, e);
	if (r == 0)
		r = link_network_driver(c, e);
	if (r < 0)
		return r;
	q.extra_symvers = symvers;
	if (c->env->ignore_preempt_rt)
		q.make_variables = "IGNORE_PREEMPT_RT_PRESENCE=1";
	r = container_banner(c->h, c->node, c->release, t, &banner, NULL, e);
	if (r < 0 && r != -ENOENT)
		return r;
	q.banner = banner;
	log_info("building %s modules for kernel %s with %u jobs", c->flavour, c->release, q.jobs);
	r = prepare_run(c->en, &q, &stages, e);
	if (r < 0)
		return r;
	/* The signed set, when there is one, is what gets loaded. */
	if (take_stage_id(stages, "signatures", c->set_key) < 0 &&
	    take_stage_id(stages, "modules", c->set_key) < 0)
		return err_set(e, ERR_MODSET_MISSING, "the module set just built is not there");
	return 0;
}

int container_take_modules(struct container *c, struct err *e)
{
	static int (*const places[])(struct container *, struct err *) = { container_bundle_apply,
									   container_precompiled_import };
	int r = container_find_modules(c, e);

	for (size_t i = 0; i < ARRAY_LEN(places) && r == 0; i++) {
		r = places[i](c, e);
		if (r > 0)
			r = container_find_modules(c, e);
	}
	return r;
}

int container_build_modules(struct container *c, struct err *e)
{
	_cleanup_(container_ktree_done) struct container_ktree t = { 0 };
	int r = container_take_modules(c, e);

	if (r < 0)
		return r;
	if (r > 0) {
		log_info("modules for kernel %s are in the store: nothing to build", c->release);
		return 0;
	}
	r = check_signing(c, NULL, e);
	if (r == 0)
		r = find_ktree(c, &t, e);
	/* A kernel that is not running yet says in its configuration alone what it will demand. */
	if (r == 0 && !c->o.cert)
		r = check_signing(c, t.tree, e);
	return r < 0 ? r : build_set(c, t.tree, e);
}

int container_modules_for_network(struct container *c, struct err *e)
{
	_cleanup_free_ char *symvers = NULL;
	char before[sizeof(c->set_key)];
	int r = network_symvers(c, &symvers, e);

	if (r < 0 || !symvers)
		return r;
	memcpy(before, c->set_key, sizeof(before));
	r = container_build_modules(c, e);
	return r < 0 ? r : strcmp(before, c->set_key) != 0;
}

/* Two builds may give files of the same sizes: whose these are is said by a link beside the sources. */
static int mark_entry(const struct container *c, const char *plain, json_t *modules)
{
	return add_entry(modules, json_pack("{s:o,s:s,s:s}", "path",
					    json_sprintf("usr/src/nvidia-%s/.modules-%s", plain, c->release),
					    "type", "link", "target", c->set_key));
}

static int module_entries(const struct container *c, const char *plain, const json_t *record, json_t *modules)
{
	const json_t *file;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(record, "files"), i, file) {
		const char *name = json_string_value(json_object_get(file, "name"));
		bool is_module = name && span_ends(SPAN(name), ".ko");
		json_t *path;

		if (r < 0 || !name || (!is_module && strcmp(name, "Module.symvers") != 0))
			continue;
		path = is_module ? json_sprintf("lib/modules/%s/" VIDEO_DIR "/%s", c->release, name)
				 : json_sprintf("usr/src/nvidia-%s/%s/%s", plain, sources_dir(c), name);
		r = add_entry(modules, json_pack("{s:o,s:s,s:i,s:O,s:O,s:s}", "path", path, "type", "file",
						 "mode", 0644, "size", json_object_get(file, "size_bytes"),
						 "sha256", json_object_get(file, "sha256"), "from", name));
	}
	return r < 0 ? r : mark_entry(c, plain, modules);
}

static int run_depmod(const struct container *c, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("module index");
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r;

	(void)spawn_argv(&s, "depmod", NULL);
	if (!c->h->is_running)
		(void)spawn_argv(&s, "-b", c->h->root, NULL);
	(void)spawn_arg(&s, "%s", c->release);
	s.timeout_s = DEPMOD_LIMIT_S;
	r = spawn_check(&s, &why);
	if (r == -ERR_TOOL_MISSING) {
		log_warn("depmod is not installed: modprobe will not find the modules by name");
		return 0;
	}
	if (r < 0)
		err_move(e, &why);
	return r;
}

static int list_absent(const struct tree_entry *of, void *arg)
{
	void **to = arg;

	/* What a directory holds goes before it. */
	return json_array_insert_new(to[0], 0,
				     json_pack("{s:o,s:s}", "path",
					       json_sprintf("%s/%s", (const char *)to[1], of->path), "type",
					       "absent")) < 0
		   ? -ENOMEM
		   : 0;
}

/* Where earlier drivers had their modules: modprobe would find them beside the new ones. 1 = something was there. */
static int remove_old_modules(struct container *c, struct err *e)
{
	_cleanup_free_ char *dir = str_printf("lib/modules/%s/" OLD_VIDEO_DIR, c->release);
	_cleanup_free_ char *title = dir ? str_printf("modules in their old place /%s removed", dir) : NULL;
	_cleanup_json_ json_t *entries = json_array();
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_close_ int fd = -EBADF;
	void *to[] = { entries, dir };
	int r;

	if (!title || !entries)
		return err_oom(e);
	fd = path_open_at(c->h->root_fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, PATH_IN_ROOT);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	r = fd < 0 ? fd : tree_walk(fd, TREE_SORTED, list_absent, to);
	if (r == 0)
		r = add_entry(entries, json_pack("{s:s,s:s}", "path", dir, "type", "absent"));
	if (r < 0)
		return err_errno(e, r, "/%s", dir);
	r = container_plan_new(title, &p, e);
	if (r == 0 && plan_add(p, &op_files, json_pack("{s:O}", "entries", entries), "%s", title) < 0)
		r = err_oom(e);
	return r < 0 ? r : container_apply(c, p, e);
}

int container_install_modules(struct container *c, struct err *e)
{
	_cleanup_free_ char *plain = container_plain_version(c->version);
	_cleanup_free_ char *object = store_object_path(c->en->store, STORE_MODULE, c->set_key);
	_cleanup_free_ char *title = str_printf("modules in /lib/modules/%s/" VIDEO_DIR, c->release);
	_cleanup_free_ char *index = str_printf("lib/modules/%s/modules.dep.bin", c->release);
	_cleanup_free_ char *dir = str_printf("lib/modules/%s/" VIDEO_DIR, c->release);
	_cleanup_json_ json_t *record = NULL, *entries = json_array();
	int r, removed;

	if (!plain || !object || !title || !index || !dir || !entries)
		return err_oom(e);
	removed = remove_old_modules(c, e);
	if (removed < 0)
		return removed;
	r = modset_record(c->en->store, c->set_key, &record, e);
	if (r < 0)
		return r;
	if (module_entries(c, plain, record, entries) < 0)
		return err_oom(e);
	r = put_files(c, title, object, entries, e);
	if (r < 0)
		return err_wrap(e, "installing the modules");
	if (r > 0 && container_selinux(c) == SELINUX_ENFORCING)
		container_label(c, dir, "modules_object_t");
	return r > 0 || removed || !path_exists(c->h->root_fd, index) ? run_depmod(c, e) : 0;
}
