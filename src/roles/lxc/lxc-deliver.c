/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-deliver.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "lxc-devices.h"
#include "lxc-edit.h"
#include "lxc-enter.h"
#include "lxc-installer.h"
#include "lxc-compat.h"
#include "lxc-current.h"
#include "lxc-live.h"
#include "lxc-ops.h"
#include "lxc-state.h"
#include "lxc-verify.h"
#include "path.h"
#include "strbuf.h"
#include "tree.h"
#include "view.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_MAX ((size_t)64 << 20)
#define CONF_FILE  "etc/ld.so.conf.d/00-nvdriver.conf"

/* -- choice -- */

int lxc_delivery_choose(const struct lxc_ct *ct, enum lxc_delivery *ret, struct err *e)
{
	const struct lxc *x = ct->x;
	enum lxc_delivery d = x->opt->delivery;
	bool other_version =
	    ct->want.pending_host && x->host.version && strcmp(ct->want.version, x->host.version) != 0;

	if (d == LXC_DELIVERY_SHARED && other_version)
		return err_set(e, ERR_USAGE,
			       "the shared directory serves one version, that of the host (%s); for %s use "
			       "--delivery tree",
			       x->host.version, ct->want.version);
	if (d == LXC_DELIVERY_AUTO)
		d = other_version || ct->unshareable ? LXC_DELIVERY_TREE : LXC_DELIVERY_SHARED;
	*ret = d;
	return 0;
}

int lxc_deliver_prepare(const struct lxc_ct *ct, enum lxc_delivery d, char *ret_view_id, bool *ret_switched,
			struct err *e)
{
	const struct lxc *x = ct->x;
	_cleanup_free_ char *name = NULL;
	unsigned extras = ct->extras;
	int r;

	*ret_switched = false;
	ret_view_id[0] = '\0';
	if (d == LXC_DELIVERY_RUN)
		return 0;
	if (d == LXC_DELIVERY_SHARED)
		extras |= lxc_record_extras(x, ct->id);
	r = lxc_live_prepare(x, &ct->conf, ct->want.version, extras, ret_view_id, e);
	if (r < 0 || d == LXC_DELIVERY_TREE)
		return r;
	r = lxc_current_mount(x, ct->want.version, ret_view_id, &name, e);
	if (r >= 0)
		r = lxc_current_set(x, name, e);
	*ret_switched = r > 0;
	if (r >= 0 && !ct->facts.unprivileged)
		r = lxc_live_lock(x, e);
	return r < 0 ? r : 0;
}

/* -- what is in the way -- */

static bool is_driver_package(struct span name)
{
	static const char *const exact[] = { "libcuda1", "nvidia-smi", "libnvidia-ml1" };
	static const char *const heads[] = { "libnvidia-compute-", "nvidia-utils-", "nvidia-driver-" };

	for (size_t i = 0; i < ARRAY_LEN(exact); i++)
		if (span_eq(name, exact[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (span_starts(name, heads[i]))
			return true;
	return false;
}

int lxc_packaged_drivers(struct span text, char ***ret)
{
	_cleanup_strv_ char **v = NULL;
	struct span line, name = SPAN_NULL;
	int r = 0;

	while (r >= 0 && span_line(&text, &line)) {
		_cleanup_free_ char *copy = NULL;

		if (span_starts(line, "Package: "))
			name = span_trim((struct span){ line.p + 9, line.len - 9 });
		if (!span_starts(line, "Status: ") || !span_ends(span_trim(line), " installed") || !name.p ||
		    !is_driver_package(name))
			continue;
		copy = span_dup(name);
		r = copy ? strv_push(&v, copy) : -ENOMEM;
	}
	if (r < 0)
		return r;
	if (v)
		strv_sort(v);
	*ret = TAKE_PTR(v);
	return 0;
}

static json_t *argv_of(const char *first, ...)
{
	json_t *list = json_array();
	const char *word = first;
	va_list ap;

	va_start(ap, first);
	for (; list && word; word = va_arg(ap, const char *))
		(void)json_array_append_new(list, json_string(word));
	va_end(ap);
	return list;
}

static int add_exec(struct lxc_ct *ct, struct plan *p, json_t *argv, json_t *undo_argv, unsigned timeout_s,
		    int code, const char *sentence, struct err *e)
{
	json_t *args = lxc_op_args(ct);

	if (!args || json_object_set_new(args, "argv", argv ? argv : json_null()) < 0 ||
	    json_object_set_new(args, "undo_argv", undo_argv ? undo_argv : json_null()) < 0 ||
	    json_object_set_new(args, "what", json_string(sentence)) < 0 ||
	    json_object_set_new(args, "timeout_s", json_integer(timeout_s)) < 0 ||
	    (code && json_object_set_new(args, "code", json_integer(code)) < 0))
		return err_oom(e);
	return plan_add(p, &lxc_op_exec, args, "%s in container %s", sentence, ct->id) < 0 ? err_oom(e) : 0;
}

static int purge_plan(struct lxc_ct *ct, char *const *packages, struct plan *p, struct err *e)
{
	json_t *argv = argv_of("apt-get", "purge", "-y", "-o", "DPkg::Lock::Timeout=120", NULL);

	for (; argv && *packages; packages++)
		(void)json_array_append_new(argv, json_string(*packages));
	return add_exec(ct, p, argv, NULL, ct->x->set->install_timeout_s, ERR_LXC_PACKAGED,
			"purge the packaged driver", e);
}

static int packaged_error(struct lxc_ct *ct, char *const *packages, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf names = STRBUF_INIT((size_t)64 << 10);

	for (; *packages; packages++)
		(void)strbuf_printf(&names, " %s", *packages);
	(void)err_set(e, ERR_LXC_PACKAGED, "container %s has packages that bring a driver:%s", ct->id,
		      strbuf_str(&names));
	return err_object(e, "%s", ct->id);
}

static int obstacles_plan(struct lxc_ct *ct, int root, struct plan *p, struct err *e)
{
	_cleanup_strv_ char **packages = NULL;
	_cleanup_free_ char *status = NULL;
	size_t len;
	int r;

	r = lxc_read_beneath(root, "var/lib/dpkg/status", STATUS_MAX, &status, &len);
	if (r >= 0 && lxc_packaged_drivers((struct span){ status, len }, &packages) < 0)
		return err_oom(e);
	if (packages) {
		r = ct->x->opt->replace_packages ? purge_plan(ct, packages, p, e)
						 : packaged_error(ct, packages, e);
		if (r < 0)
			return r;
	}
	if (!path_exists(root, "usr/bin/nvidia-uninstall"))
		return 0;
	return add_exec(ct, p, argv_of("nvidia-uninstall", "--silent", NULL), NULL,
			ct->x->set->install_timeout_s, ERR_LXC_INSTALLER,
			"remove the driver of the vendor's installer", e);
}

/* -- files a view needs -- */

/* Directories of the view's share/ and where a container looks for them; the second group only with graphics. */
static const struct {
	const char *in_view, *in_root;
	bool graphics;
} share_map[] = {
	{ "share/OpenCL/vendors/", "etc/OpenCL/vendors/", false },
	{ "share/vulkan/icd.d/", "etc/vulkan/icd.d/", true },
	{ "share/vulkan/implicit_layer.d/", "etc/vulkan/implicit_layer.d/", true },
	{ "share/glvnd/egl_vendor.d/", "usr/share/glvnd/egl_vendor.d/", true },
	{ "share/egl/egl_external_platform.d/", "usr/share/egl/egl_external_platform.d/", true },
};

static int link_for(json_t *entries, const char *path, bool graphics)
{
	_cleanup_free_ char *target = str_printf(LXC_LIVE_CURRENT "/%s", path), *at = NULL;

	if (!target)
		return -ENOMEM;
	if (strncmp(path, "bin/", 4) == 0 && !strchr(path + 4, '/')) {
		at = str_printf("usr/%s", path);
		return at ? lxc_entry_link(entries, at, target) : -ENOMEM;
	}
	for (size_t i = 0; i < ARRAY_LEN(share_map); i++) {
		size_t n = strlen(share_map[i].in_view);

		if (strncmp(path, share_map[i].in_view, n) != 0 || (share_map[i].graphics && !graphics))
			continue;
		at = str_printf("%s%s", share_map[i].in_root, path + n);
		return at ? lxc_entry_link(entries, at, target) : -ENOMEM;
	}
	return 0;
}

int lxc_view_entries(const json_t *files, bool lib32, bool graphics, const char *record_text, json_t **ret)
{
	_cleanup_json_ json_t *entries = json_array();
	const json_t *f;
	size_t i;
	int r;

	if (!entries)
		return -ENOMEM;
	r = lxc_entry_text(
	    entries, CONF_FILE,
	    lib32 ? LXC_LIVE_CURRENT "/lib\n" LXC_LIVE_CURRENT "/lib32\n" : LXC_LIVE_CURRENT "/lib\n", 0644);
	if (r >= 0)
		r = lxc_entry_text(entries, LXC_RECORD_INSIDE, record_text, 0644);
	json_array_foreach (files, i, f) {
		const char *path = json_string_value(json_object_get(f, "path"));
		const char *type = json_string_value(json_object_get(f, "type"));

		if (r >= 0 && path && type && strcmp(type, "dir") != 0 && path_name_is_clean(path))
			r = link_for(entries, path, graphics);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(entries);
	return 0;
}

/* Tells clones and restored backups from the container this was written for. `shared` names no version: a template
 * made that way never has an old one. */
static char *record_inside(const struct lxc_ct *ct, enum lxc_delivery d)
{
	json_auto_t *o = json_pack("{s:s, s:s, s:s, s:s}", "schema", LXC_RECORD_SCHEMA, "id", ct->id,
				   "delivery", lxc_delivery_name(d), "machine", ct->x->host.machine);
	char *text = NULL;

	if (!o || (d != LXC_DELIVERY_SHARED &&
		   json_object_set_new(o, "version", json_string(ct->want.version)) < 0))
		return NULL;
	return jdump(o, &text) < 0 ? NULL : text;
}

static int view_files(const struct lxc_ct *ct, const char *view_id, json_t **ret_record, struct err *e)
{
	return store_tree_open(ct->x->en->store, view_id, NULL, ret_record, e);
}

static bool has_lib32(const json_t *files)
{
	const json_t *f;
	size_t i;

	json_array_foreach (files, i, f) {
		const char *path = json_string_value(json_object_get(f, "path"));

		if (path && strncmp(path, "lib32/", 6) == 0)
			return true;
	}
	return false;
}

static int add_files(struct lxc_ct *ct, struct plan *p, json_t *entries, const char *base,
		     const char *sentence, struct err *e)
{
	json_t *args = lxc_op_args(ct);

	if (!args || json_object_set_new(args, "entries", entries) < 0 ||
	    (base && (json_object_set_new(args, "base", json_string(base)) < 0 ||
		      json_object_set_new(args, "quick", json_true()) < 0)))
		return err_oom(e);
	return plan_add(p, &lxc_op_files, args, "%s in container %s", sentence, ct->id) < 0 ? err_oom(e) : 0;
}

static int small_files_plan(struct lxc_ct *ct, enum lxc_delivery d, const json_t *record, struct plan *p,
			    struct err *e)
{
	const json_t *files = json_object_get(record, "files");
	_cleanup_free_ char *inside = record_inside(ct, d);
	json_t *entries = NULL;

	if (!inside ||
	    lxc_view_entries(files, has_lib32(files), ct->extras & LXC_EXTRA_GRAPHICS, inside, &entries) < 0)
		return err_oom(e);
	if (d == LXC_DELIVERY_SHARED && lxc_entry_dir(entries, LXC_LIVE_DEST, 0755) < 0)
		return err_oom(e);
	if (d == LXC_DELIVERY_TREE && lxc_entry_link(entries, LXC_LIVE_DEST "/current", ct->want.version) < 0)
		return err_oom(e);
	return add_files(ct, p, entries, NULL, "write links and loader configuration", e);
}

static int ldconfig_plan(struct lxc_ct *ct, struct plan *p, bool first, struct err *e)
{
	json_t *argv = argv_of("ldconfig", NULL);

	return add_exec(ct, p, first ? NULL : argv, first ? argv : NULL, 0, 0,
			first ? "rebuild the loader's cache after an undo" : "rebuild the loader's cache", e);
}

static int check_plan(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	const struct lxc *x = ct->x;
	json_t *args = lxc_op_args(ct), *nodes = lxc_nodes_json(&ct->nodes);
	enum lxc_level level = ct->want.pending_host ? LXC_LEVEL_STATIC : x->opt->level;

	if (!args || !nodes || json_object_set_new(args, "nodes", nodes) < 0 ||
	    json_object_set_new(args, "want", json_string(ct->want.version)) < 0 ||
	    json_object_set_new(args, "host",
				x->host.version && !ct->want.pending_host ? json_string(x->host.version)
									  : json_null()) < 0 ||
	    json_object_set_new(args, "machine", json_string(x->host.machine)) < 0 ||
	    json_object_set_new(args, "gpus", json_integer((json_int_t)ct->gpus.n)) < 0 ||
	    json_object_set_new(args, "level", json_integer(level)) < 0 ||
	    json_object_set_new(args, "ignore_devices", json_boolean(x->opt->allow_missing_devices)) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_check, args, "check the driver in container %s", ct->id) < 0 ? err_oom(e)
												: 0;
}

/* -- what an earlier delivery left -- */

struct before {
	bool line; /* the configuration has the shared directory */
	bool placed; /* it is mounted in the running container */
	json_t *gone; /* owned; entries that take its files out */
};

static void before_done(struct before *b)
{
	json_decref(b->gone);
}

/* Links of the other two deliveries, all into one directory. */
static int links_of(int root, const char *dir, json_t *gone)
{
	_cleanup_close_ int fd = path_open_at(root, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	_cleanup_strv_ char **names = NULL;
	int r = fd < 0 ? 0 : path_names(fd, ".", &names);

	for (char **p = names; r >= 0 && p && *p; p++) {
		char target[sizeof(LXC_LIVE_CURRENT)] = "";
		_cleanup_free_ char *path = NULL;

		if (readlinkat(fd, *p, target, sizeof(target)) < (ssize_t)sizeof(target) ||
		    memcmp(target, LXC_LIVE_CURRENT "/", sizeof(target)) != 0)
			continue;
		path = str_printf("%s/%s", dir, *p);
		r = path ? lxc_entry_absent(gone, path) : -ENOMEM;
	}
	return r;
}

static int small_files_gone(int root, json_t *gone)
{
	int r = path_exists(root, CONF_FILE) ? lxc_entry_absent(gone, CONF_FILE) : 0;

	if (r >= 0)
		r = links_of(root, "usr/bin", gone);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(share_map); i++) {
		_cleanup_free_ char *dir = strndup(share_map[i].in_root, strlen(share_map[i].in_root) - 1);

		r = dir ? links_of(root, dir, gone) : -ENOMEM;
	}
	return r;
}

static int tree_file_gone(const struct tree_entry *entry, void *arg)
{
	json_t *gone = arg;
	_cleanup_free_ char *path = str_printf(LXC_LIVE_DEST "/%s", entry->path);

	/* Before what is there already: a directory goes after its files. */
	return path && json_array_insert_new(gone, 0,
					     json_pack("{s:s, s:s}", "path", path, "type", "absent")) >= 0
		   ? 0
		   : -ENOMEM;
}

static int tree_gone(int root, json_t *gone)
{
	_cleanup_close_ int fd = path_open_at(root, LXC_LIVE_DEST, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);

	return fd < 0 ? 0 : tree_walk(fd, TREE_SORTED, tree_file_gone, gone);
}

static int before_look(const struct lxc_ct *ct, int root, enum lxc_delivery d, struct before *ret,
		       struct err *e)
{
	_cleanup_free_ char *line = lxc_live_line(ct->x, false), *other = lxc_live_line(ct->x, true);
	_cleanup_(before_done) struct before b = { .gone = json_array() };
	int r = 0;

	if (!line || !other || !b.gone)
		return err_oom(e);
	b.line = d != LXC_DELIVERY_SHARED &&
		 (lxc_lines_contain(ct->facts.lines, line) || lxc_lines_contain(ct->facts.lines, other));
	b.placed = lxc_live_is_placed(&ct->place, LXC_LIVE_DEST);
	/* A copy that the mount hides is not to be seen, nor in anybody's way. */
	if (root >= 0 && d != LXC_DELIVERY_TREE && !b.placed)
		r = tree_gone(root, b.gone);
	if (r >= 0 && root >= 0 && d == LXC_DELIVERY_RUN)
		r = small_files_gone(root, b.gone);
	if (r >= 0 && d == LXC_DELIVERY_RUN && path_exists(root, LXC_LIVE_DEST))
		r = lxc_entry_absent(b.gone, LXC_LIVE_DEST);
	if (r < 0)
		return err_errno(e, r, "cannot look at the driver in container %s", ct->id);
	b.placed &= d != LXC_DELIVERY_SHARED;
	*ret = b;
	b = (struct before){ 0 };
	return 0;
}

/* A container that became privileged must not keep the other line. */
static int line_plan(struct lxc_ct *ct, bool wanted, struct plan *p, struct err *e)
{
	bool unprivileged = ct->facts.unprivileged;
	_cleanup_free_ char *line = lxc_live_line(ct->x, unprivileged),
			    *other = lxc_live_line(ct->x, !unprivileged);
	json_t *args = lxc_op_args(ct);

	if (!line || !other || !args ||
	    (wanted && json_object_set_new(args, "add", json_pack("[s]", line)) < 0) ||
	    json_object_set_new(args, "remove",
				wanted ? json_pack("[s]", other) : json_pack("[s, s]", line, other)) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_config, args, "%s container %s",
			wanted ? "give the shared driver directory to"
			       : "take the shared driver directory from",
			ct->id) < 0
		   ? err_oom(e)
		   : 0;
}

static int mount_plan(struct lxc_ct *ct, const struct op_type *type, const char *sentence, struct plan *p,
		      struct err *e)
{
	_cleanup_free_ char *source = lxc_live_source(ct->x, ct->facts.unprivileged);
	json_t *args = lxc_op_args(ct);

	if (!source || !args || json_object_set_new(args, "dest", json_string(LXC_LIVE_DEST)) < 0 ||
	    json_object_set_new(args, "live_dir", json_string(source)) < 0)
		return err_oom(e);
	return plan_add(p, type, args, "%s container %s", sentence, ct->id) < 0 ? err_oom(e) : 0;
}

static int compat_plan(struct lxc_ct *ct, int root, struct plan *p, struct err *e)
{
	json_t *entries = json_array();

	if (!entries || lxc_compat_entries(root, entries) < 0) {
		json_decref(entries);
		return err_oom(e);
	}
	if (json_array_size(entries))
		return add_files(ct, p, entries, NULL, "keep CUDA's compatibility libraries from the loader",
				 e);
	json_decref(entries);
	return 0;
}

/* What every delivery begins with: the container runs, and what others left is out of the way. */
static int begin_plan(struct lxc_ct *ct, int root, const struct before *b, struct plan *p, struct err *e)
{
	int r = b->line ? line_plan(ct, false, p, e) : 0;

	if (r >= 0)
		r = lxc_power_plan(ct, p, e);
	if (r >= 0)
		r = ldconfig_plan(ct, p, true, e);
	if (r >= 0 && root >= 0)
		r = obstacles_plan(ct, root, p, e);
	if (r >= 0 && root >= 0 && !ct->x->opt->compat)
		r = compat_plan(ct, root, p, e);
	if (r >= 0 && b->placed)
		r = mount_plan(ct, &lxc_op_unlive, "unmount the shared driver directory in", p, e);
	if (r >= 0 && json_array_size(b->gone))
		r = add_files(ct, p, json_incref(b->gone), NULL, "take out the files of the earlier delivery",
			      e);
	return r;
}

/* -- shared -- */

static int shared_plan(struct lxc_ct *ct, int root, const char *view_id, struct plan *p, struct err *e)
{
	_cleanup_(before_done) struct before b = { 0 };
	_cleanup_json_ json_t *record = NULL;
	int r = before_look(ct, root, LXC_DELIVERY_SHARED, &b, e);

	if (r >= 0)
		r = line_plan(ct, true, p, e);
	if (r >= 0)
		r = begin_plan(ct, root, &b, p, e);
	if (r >= 0 && *view_id)
		r = view_files(ct, view_id, &record, e);
	if (r >= 0 && record)
		r = small_files_plan(ct, LXC_DELIVERY_SHARED, record, p, e);
	if (r >= 0)
		r = mount_plan(ct, &lxc_op_live, "mount the shared driver directory in", p, e);
	if (r >= 0)
		r = ldconfig_plan(ct, p, false, e);
	return r < 0 ? r : check_plan(ct, p, e);
}

/* -- tree -- */

static int tree_entries(const struct lxc_ct *ct, const json_t *files, json_t **ret)
{
	_cleanup_json_ json_t *entries = json_array();
	const json_t *f;
	size_t i;
	int r = entries ? 0 : -ENOMEM;

	json_array_foreach (files, i, f) {
		const char *path = json_string_value(json_object_get(f, "path"));
		const char *type = json_string_value(json_object_get(f, "type"));
		_cleanup_free_ char *to =
		    path ? str_printf(LXC_LIVE_DEST "/%s/%s", ct->want.version, path) : NULL;

		if (r < 0 || !to || !type)
			return r < 0 ? r : -ENOMEM;
		if (strcmp(type, "dir") == 0)
			r = lxc_entry_dir(entries, to, 0755);
		else if (strcmp(type, "link") == 0)
			r = lxc_entry_link(entries, to, json_string_value(json_object_get(f, "target")));
		else
			r = json_array_append_new(
				entries, json_pack("{s:s, s:s, s:O, s:O, s:O, s:s}", "path", to, "type",
						   "file", "mode", json_object_get(f, "mode"), "size",
						   json_object_get(f, "size"), "sha256",
						   json_object_get(f, "sha256"), "from", path)) < 0
				? -ENOMEM
				: 0;
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(entries);
	return 0;
}

static int tree_plan(struct lxc_ct *ct, int root, const char *view_id, struct plan *p, struct err *e)
{
	_cleanup_free_ char *object = NULL, *base = NULL;
	_cleanup_(before_done) struct before b = { 0 };
	_cleanup_json_ json_t *record = NULL;
	json_t *entries = NULL;
	int r = before_look(ct, root, LXC_DELIVERY_TREE, &b, e);

	if (r >= 0)
		r = begin_plan(ct, root, &b, p, e);
	if (r >= 0 && *view_id)
		r = view_files(ct, view_id, &record, e);
	if (r < 0)
		return r;
	if (record) {
		object = store_object_path(ct->x->en->store, STORE_TREE, view_id);
		base = object ? str_printf("%s/root", object) : NULL;
		if (!base || tree_entries(ct, json_object_get(record, "files"), &entries) < 0)
			return err_oom(e);
		r = add_files(ct, p, entries, base, "copy the driver's files", e);
		if (r >= 0)
			r = small_files_plan(ct, LXC_DELIVERY_TREE, record, p, e);
	}
	if (r >= 0)
		r = ldconfig_plan(ct, p, false, e);
	return r < 0 ? r : check_plan(ct, p, e);
}

/* -- run -- */

static bool is_installed(const struct lxc_ct *ct, int root)
{
	_cleanup_(lxc_static_done) struct lxc_static now = { 0 };

	return root >= 0 && path_exists(root, "usr/bin/nvidia-uninstall") &&
	       lxc_static_check(root, -EBADF, ct->x->host.machine, &now, NULL) >= 0 && !now.problem &&
	       now.version && strcmp(now.version, ct->want.version) == 0;
}

static int record_plan(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	_cleanup_free_ char *inside = record_inside(ct, LXC_DELIVERY_RUN);
	json_t *entries = json_array();

	if (!inside || !entries || lxc_entry_text(entries, LXC_RECORD_INSIDE, inside, 0644) < 0)
		return err_oom(e);
	return add_files(ct, p, entries, NULL, "write the record", e);
}

static int run_plan(struct lxc_ct *ct, int root, struct plan *p, struct err *e)
{
	_cleanup_(before_done) struct before b = { 0 };
	int r = before_look(ct, root, LXC_DELIVERY_RUN, &b, e);

	if (r < 0)
		return r;
	/* Nothing is fetched for a container that has it. */
	if (!b.line && !b.placed && !json_array_size(b.gone) && is_installed(ct, root))
		return check_plan(ct, p, e);
	r = begin_plan(ct, root, &b, p, e);
	if (r >= 0)
		r = lxc_installer_plan(ct, p, e);
	if (r >= 0)
		r = record_plan(ct, p, e);
	return r < 0 ? r : check_plan(ct, p, e);
}

int lxc_deliver_plan(struct lxc_ct *ct, enum lxc_delivery d, const char *view_id, struct plan *p,
		     struct err *e)
{
	_cleanup_close_ int root = lxc_place_open(&ct->place);
	struct os_release os = { 0 };
	int r = 0;

	/* Only a dry run plans for a root that cannot be seen: an installation starts the container first. */
	if (root >= 0) {
		r = lxc_ct_os(ct, &os, e);
		os_release_done(&os);
	}
	if (r < 0)
		return r;
	switch (d) {
	case LXC_DELIVERY_TREE:
		return tree_plan(ct, root, view_id, p, e);
	case LXC_DELIVERY_RUN:
		return run_plan(ct, root, p, e);
	default:
		return shared_plan(ct, root, view_id, p, e);
	}
}
