/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "install.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "ui.h"

#include <string.h>

struct install_opts {
	const char *profile, *libdir, *libdir32;
	char **include, **exclude, **overrides;
	bool compat32, force, remove, replace_vendor, vendor_record;
	bool no_opengl, no_firmware, no_systemd, no_modprobe, modprobe, no_alternate_check;
	const char *opengl_prefix, *utility_prefix, *compat32_prefix, *documentation_prefix;
	const char *gbm_dir, *gbm_dir32, *x_module_path, *x_sysconfig_path, *glvnd_egl_config_path;
};

#define O(field) offsetof(struct install_opts, field)
#define HIDDEN_DIR(name, field)                                                                              \
	{                                                                                                    \
		name, 0, "DIR", "another directory", OPT_STRING, O(field), "dir", true                       \
	}
static const struct opt install_options[] = {
	{ "profile", 'p', "NAME", "which files: compute, full, host-vgpu or custom; default full", OPT_STRING,
	  O(profile), "compute full host-vgpu custom" },
	{ "include", 0, "PATTERN", "also take files by type:, module: or file: pattern (may be repeated)",
	  OPT_LIST, O(include) },
	{ "exclude", 0, "PATTERN", "leave files out by the same patterns (may be repeated)", OPT_LIST,
	  O(exclude) },
	{ "compat32", 0, NULL, "take the 32-bit libraries too", OPT_FLAG, O(compat32) },
	{ "remove", 0, NULL, "take away what was installed, instead of installing", OPT_FLAG, O(remove) },
	{ "force", 0, NULL,
	  "replace files that belong to packages of the distribution; undo brings them back", OPT_FLAG,
	  O(force) },
	{ "replace-vendor", 0, NULL, "take over what the vendor's own installer put there", OPT_FLAG,
	  O(replace_vendor) },
	{ "vendor-record", 0, NULL, "also leave a record the vendor's own uninstaller understands", OPT_FLAG,
	  O(vendor_record) },
	{ "libdir", 0, "DIR", "library directory below /usr, instead of finding it", OPT_STRING, O(libdir),
	  "dir" },
	{ "libdir32", 0, "DIR", "the same for 32-bit libraries", OPT_STRING, O(libdir32), "dir" },
	{ "override-file-type-destination", 0, "TYPE:DIR",
	  "put files of one type elsewhere (may be repeated)", OPT_LIST, O(overrides) },
	{ "no-opengl-files", 0, NULL, "leave the OpenGL files out", OPT_FLAG, O(no_opengl) },
	{ "no-firmware", 0, NULL, "leave the firmware out", OPT_FLAG, O(no_firmware) },
	{ "no-systemd", 0, NULL, "leave systemd units out", OPT_FLAG, O(no_systemd) },
	{ "nvidia-modprobe", 0, NULL, "take the set-uid nvidia-modprobe with the compute profile too",
	  OPT_FLAG, O(modprobe) },
	{ "no-nvidia-modprobe", 0, NULL, "leave nvidia-modprobe out", OPT_FLAG, O(no_modprobe) },
	/* Destinations the vendor's installer has options for. */
	HIDDEN_DIR("opengl-prefix", opengl_prefix),
	HIDDEN_DIR("utility-prefix", utility_prefix),
	HIDDEN_DIR("compat32-prefix", compat32_prefix),
	HIDDEN_DIR("documentation-prefix", documentation_prefix),
	HIDDEN_DIR("gbm-backend-dir", gbm_dir),
	HIDDEN_DIR("gbm-backend-dir32", gbm_dir32),
	HIDDEN_DIR("x-module-path", x_module_path),
	HIDDEN_DIR("x-sysconfig-path", x_sysconfig_path),
	HIDDEN_DIR("glvnd-egl-config-path", glvnd_egl_config_path),
	{ "no-check-for-alternate-installs", 0, NULL,
	  "install where the distribution brings the driver itself", OPT_FLAG, O(no_alternate_check), NULL,
	  true },
	{ 0 },
};

/* The newest tree with the wanted version, or of any version. */
struct pick {
	const char *version; /* NULL = any */
	char *name, *id; /* owned */
	char best[128];
	int error;
};

static int pick_ref(const char *name, enum store_kind kind, const char *id, void *arg)
{
	struct pick *p = arg;
	const char *dash, *base = strrchr(name, '/');
	char version[128];

	base = base ? base + 1 : name;
	dash = strrchr(base, '-');
	if (kind != STORE_TREE || !dash || (size_t)(dash - base) >= sizeof(version))
		return 0;
	memcpy(version, base, (size_t)(dash - base));
	version[dash - base] = '\0';
	if (!version_is_valid(version) || (p->version && strcmp(version, p->version) != 0))
		return 0;
	if (p->id && version_compare(version, p->best) <= 0)
		return 0;
	free(p->name);
	free(p->id);
	p->name = strdup(dash + 1);
	p->id = strdup(id);
	snprintf(p->best, sizeof(p->best), "%s", version);
	return p->name && p->id ? 0 : -ENOMEM;
}

static void pick_done(struct pick *p)
{
	free(p->name);
	free(p->id);
}

static int find_tree(struct app *app, const char *version, struct pick *p, struct err *e)
{
	p->version = version;
	if (store_ref_list(app->engine->store, "driver/", pick_ref, p) == -ENOMEM)
		return err_oom(e);
	if (p->id)
		return 0;
	(void)err_set(e, ERR_DRIVER_NOT_PREPARED, "%s", version ?: "no driver in the store");
	return version ? err_next(e, "run: nvdriver prepare %s --no-modules", version)
		       : -ERR_DRIVER_NOT_PREPARED;
}

/* Directories are relative to the root everywhere below. */
static const char *below_root(const char *dir)
{
	return dir ? dir + strspn(dir, "/") : NULL;
}

static void fill_directories(const struct install_opts *o, struct dest_options *d)
{
	d->opengl_prefix = below_root(o->opengl_prefix);
	d->utility_prefix = below_root(o->utility_prefix);
	d->compat32_prefix = below_root(o->compat32_prefix);
	d->documentation_prefix = below_root(o->documentation_prefix);
	d->gbm_dir = below_root(o->gbm_dir);
	d->gbm_dir32 = below_root(o->gbm_dir32);
	d->x_module_path = below_root(o->x_module_path);
	d->x_sysconfig_path = below_root(o->x_sysconfig_path);
	d->glvnd_egl_config_path = below_root(o->glvnd_egl_config_path);
}

static int fill_request(const struct install_opts *o, struct userspace_request *q, struct err *e)
{
	q->dest.profile = DEST_PROFILE_FULL;
	if (o->profile && dest_profile_parse(o->profile, &q->dest.profile) < 0)
		return err_set(e, ERR_USAGE, "--profile %s: compute, full, host-vgpu or custom", o->profile);
	q->compat32 = o->compat32;
	q->force = o->force;
	q->replace_vendor = o->replace_vendor;
	q->write_vendor_record = o->vendor_record;
	q->systemd_off = o->no_systemd;
	q->libdir = o->libdir;
	q->libdir32 = o->libdir32;
	q->dest.include = o->include;
	q->dest.exclude = o->exclude;
	q->dest.overrides = o->overrides;
	q->dest.no_opengl = o->no_opengl;
	q->dest.no_firmware = o->no_firmware;
	q->dest.no_modprobe = o->no_modprobe;
	q->dest.with_modprobe = o->modprobe;
	q->ignore_alternate = o->no_alternate_check;
	fill_directories(o, &q->dest);
	return 0;
}

static void print_strings(const char *label, const json_t *list)
{
	const json_t *text;
	size_t i;

	json_array_foreach (list, i, text)
		out_text("%-10s %s\n", label, json_string_value(text));
}

static int show_plan(struct app *app, const struct plan *p, json_t *report, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	json_t *plan = NULL;
	int r;

	if (app->json) {
		r = plan_to_json(p, &plan);
		if (r < 0 || json_object_set_new(report, "plan", plan) < 0 ||
		    json_object_set_new(report, "dry_run", json_true()) < 0)
			return err_oom(e);
		return out_json("install", json_incref(report));
	}
	r = plan_to_text(p, app->engine->host, &text);
	if (r < 0)
		return err_errno(e, r, "showing the plan");
	out_text("%s", strbuf_str(&text));
	if (!p->n_ops)
		out_text("nothing to do\n");
	print_strings("note", json_object_get(report, "notes"));
	return 0;
}

static int report_installed(struct app *app, const struct plan *p, const char *txid, json_t *report,
			    struct err *e)
{
	if (app->json) {
		if (json_object_set_new(report, "changed", json_boolean(p->n_ops > 0)) < 0 ||
		    (txid && json_object_set_new(report, "deployment", json_string(txid)) < 0))
			return err_oom(e);
		return out_json("install", json_incref(report));
	}
	print_strings("note", json_object_get(report, "notes"));
	if (!p->n_ops) {
		out_text("driver %s is installed in %s already\n", ui_str(report, "version", "?"), app->root);
		return 0;
	}
	out_text("driver %s installed in %s: %lld files and %lld links, %s, libraries in /usr/%s\n",
		 ui_str(report, "version", "?"), app->root,
		 (long long)json_integer_value(json_object_get(report, "files")),
		 (long long)json_integer_value(json_object_get(report, "links")),
		 ui_size((unsigned long long)json_integer_value(json_object_get(report, "size_bytes"))),
		 ui_str(report, "libdir", "?"));
	return 0;
}

static int apply_plan(struct app *app, struct plan *p, json_t *report, struct err *e)
{
	_cleanup_free_ char *txid = NULL;
	struct engine *en = app->engine;
	int r = 0;

	if (app->dry_run)
		return show_plan(app, p, report, e);
	if (p->n_ops)
		r = plan_apply(p, &en->state, en->host, en->lock_timeout_s, &txid, e);
	return r < 0 ? r : report_installed(app, p, txid, report, e);
}

/* The plan is made of what is seen now, so nobody may change that before it is applied. */
static int claim_target(struct app *app, struct lock *ret, struct err *e)
{
	_cleanup_free_ char *target = NULL;
	struct engine *en = app->engine;
	int r = app->dry_run ? 0 : userspace_target_name(en->host, &target, e);

	return r < 0 || app->dry_run
		   ? r
		   : plan_target_claim(&en->state, target, true, en->lock_timeout_s, ret, e);
}

static int install_tree(struct app *app, const struct install_opts *o, const char *version, struct err *e)
{
	_cleanup_(lock_release) struct lock claim = LOCK_INIT;
	_cleanup_(pick_done) struct pick pick = { 0 };
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_close_ int tree_fd = -EBADF;
	_cleanup_free_ char *object = NULL, *path = NULL;
	json_t *record = NULL, *report = NULL;
	struct userspace_request q = { 0 };
	int r;

	r = find_tree(app, version, &pick, e);
	if (r >= 0)
		r = fill_request(o, &q, e);
	if (r >= 0)
		r = store_tree_open(app->engine->store, pick.id, &tree_fd, &record, e);
	if (r < 0)
		return r;
	object = store_object_path(app->engine->store, STORE_TREE, pick.id);
	path = object ? str_printf("%s/root", object) : NULL;
	q.tree_fd = tree_fd;
	q.tree_path = path;
	q.tree_id = pick.id;
	q.tree_record = record;
	q.arch = pick.name;
	r = path ? claim_target(app, &claim, e) : err_oom(e);
	if (r >= 0)
		r = userspace_plan_install(app->engine->host, &q, &p, &report, e);
	if (r >= 0)
		r = apply_plan(app, p, report, e);
	json_decref(record);
	json_decref(report);
	return r;
}

static int remove_text(const json_t *report, bool dry_run, int removed)
{
	if (!removed) {
		out_text("no driver is installed there\n");
		return 0;
	}
	out_text("driver %s %s\n", ui_str(report, "version", "?"), dry_run ? "would be removed" : "removed");
	print_strings("kept, somebody changed it:", json_object_get(report, "kept"));
	return 0;
}

static int install_remove(struct app *app, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf show = STRBUF_INIT(STRBUF_TEXT_MAX);
	json_t *report = json_object();
	int r;

	if (!report)
		return err_oom(e);
	r = userspace_remove(app->engine->host, &app->engine->state, app->dry_run, report,
			     app->dry_run ? &show : NULL, e);
	if (r < 0) {
		json_decref(report);
		return r;
	}
	if (app->json) {
		(void)json_object_set_new(report, "removed", json_boolean(r > 0 && !app->dry_run));
		return out_json("install", report);
	}
	out_text("%s", strbuf_str(&show));
	r = remove_text(report, app->dry_run, r);
	json_decref(report);
	return r;
}

static int install_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct install_opts *o = opts;

	if (!o->remove)
		return install_tree(app, o, argc ? argv[0] : NULL, e);
	if (argc)
		return err_set(e, ERR_USAGE,
			       "--remove takes away whatever version is installed; do not name one");
	return install_remove(app, e);
}

const struct cmd cmd_install = {
	.name = "install",
	.summary = "put a prepared driver's user space into a root, or take it out",
	.args = "[VERSION]",
	.max_args = 1,
	.description =
	    "Installs libraries, programs, firmware and their configuration of a driver that was prepared in "
	    "the store into "
	    "the machine or the --root given: one atomic step, recorded, checked file by file and undone by "
	    "--remove or undo. "
	    "Without VERSION the newest in the store is taken. An older version that was installed this way "
	    "is replaced in the "
	    "same step; a second run finds nothing to do. Kernel modules are not touched, see load.\n\n"
	    "The library directory is the one that holds the root's own C library. Files of the "
	    "distribution's packages are "
	    "never replaced unless --force is given, and nothing of a foreign root is executed.\n\n"
	    "--remove leaves the root as it was before the first installation. Files somebody changed since "
	    "stay and are "
	    "listed.",
	.examples = "nvdriver install 535.261.03 --root /srv/image --profile compute\n  what CUDA programs "
		    "in a container image need\n"
		    "nvdriver install --root /srv/image --remove\n  as it was before\n",
	.options = install_options,
	.opts_size = sizeof(struct install_opts),
	.run = install_cmd,
};
