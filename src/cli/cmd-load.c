/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "fd.h"
#include "log.h"
#include "modload.h"
#include "modset.h"
#include "parse.h"
#include "strbuf.h"
#include "ui.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct load_opts {
	const char *flavour, *dir, *firmware, *set;
	char **modules, **params, **without;
	bool installed;
};

#define O(field) offsetof(struct load_opts, field)
static const struct opt load_options[] = {
	{ "flavour", 'f', "KIND", "proprietary or open; default: whichever the store holds", OPT_STRING,
	  O(flavour), "proprietary open" },
	{ "set", 0, "KEY", "this module set of the store", OPT_STRING, O(set) },
	{ "module", 'm', "NAME", "only this module and what it needs (may be repeated)", OPT_LIST,
	  O(modules) },
	{ "without", 0, "NAME", "leave this module out (may be repeated)", OPT_LIST, O(without) },
	{ "param", 'p', "MODULE:NAME=VALUE",
	  "a module parameter, after those of modprobe.d (may be repeated)", OPT_LIST, O(params) },
	{ "firmware-path", 0, "DIR",
	  "where the kernel shall look for the driver's firmware; default: the store, when it is nowhere "
	  "else",
	  OPT_STRING, O(firmware), "dir" },
	{ "dir", 0, "DIR", "load the *.ko files of this directory instead of a set from the store",
	  OPT_STRING, O(dir), "dir" },
	{ "installed", 0, NULL, "load the modules installed below /lib/modules", OPT_FLAG, O(installed) },
	{ 0 },
};

/* Loaded unless --module or --without say otherwise; peermem needs the kernel's InfiniBand core, which few have. */
static const struct {
	const char *name;
	bool optional;
} standard[] = { { "nvidia", false },	  { "nvidia-uvm", false },    { "nvidia-modeset", false },
		 { "nvidia-drm", false }, { "nvidia-peermem", true }, { "nvidia-vgpu-vfio", false } };

struct load_run {
	int dir_fd;
	char key[65]; /* "" = not from the store */
	json_t *record;
	char *firmware_source; /* owned; directory of the driver's tree, NULL = it has none */
	struct modload_module modules[16];
	char *params[16]; /* owned texts behind modules[].params */
	size_t n;
};

static void load_run_done(struct load_run *l)
{
	close_fdp(&l->dir_fd);
	json_decref(l->record);
	free(l->firmware_source);
	for (size_t i = 0; i < l->n; i++)
		free(l->params[i]);
}

/* -- where the modules come from -- */

static int find_set(struct app *app, const struct load_opts *o, const char *version, struct load_run *l,
		    struct err *e)
{
	static const char *const flavours[] = { "proprietary", "open" };
	_cleanup_free_ char *release = NULL, *banner = NULL;
	struct modset_want want = { .driver = version };
	int r = host_kernel_release(app->engine->host, &release);

	if (r < 0)
		return err_errno(e, r, "kernel release of %s", app->engine->host->root);
	(void)host_proc_version(app->engine->host, &banner);
	want.release = release;
	want.banner = banner;
	for (size_t i = 0; i < ARRAY_LEN(flavours); i++) {
		if (o->flavour && strcmp(o->flavour, flavours[i]) != 0)
			continue;
		want.flavour = flavours[i];
		r = modset_find(app->engine->store, &want, l->key, &l->record, e);
		if (r != -ENOENT)
			return r;
	}
	err_set(e, ERR_MODSET_MISSING, "driver %s, kernel %s", version, release);
	(void)err_object(e, "%s", version);
	return err_next(e, "run: nvdriver prepare %s --kernel %s", version, release);
}

/* The driver version when none was named: the store's only one for this kernel. */
static int only_version(struct app *app, char **ret, struct err *e)
{
	_cleanup_free_ char *release = NULL;
	json_t *list, *set;
	size_t i;
	int r = host_kernel_release(app->engine->host, &release);

	if (r < 0)
		return err_errno(e, r, "kernel release of %s", app->engine->host->root);
	r = modset_list(app->engine->store, NULL, release, &list, e);
	if (r < 0)
		return r;
	json_array_foreach (list, i, set) {
		const char *v = ui_str(set, "driver", "");

		if (*ret && strcmp(*ret, v) != 0) {
			json_decref(list);
			return err_set(e, ERR_USAGE,
				       "the store holds several drivers for this kernel: name one");
		}
		if (!*ret)
			*ret = strdup(v);
	}
	json_decref(list);
	if (*ret)
		return 0;
	err_set(e, ERR_MODSET_MISSING, "kernel %s", release);
	return err_object(e, "%s", release);
}

/* Every byte is compared with the record before the kernel sees it. */
static int open_set(struct app *app, const struct load_opts *o, const char *version, struct load_run *l,
		    struct err *e)
{
	_cleanup_free_ char *only = NULL;
	int r;

	if (!app->engine->store)
		return err_set(e, ERR_MODSET_MISSING, "there is no store");
	if (o->set) {
		if (strlen(o->set) != 64)
			return err_set(e, ERR_USAGE, "--set takes the 64 digits of a key");
		memcpy(l->key, o->set, 65);
		r = modset_record(app->engine->store, l->key, &l->record, e);
		if (r == -ENOENT)
			return err_set(e, ERR_MODSET_MISSING, "module set %s", o->set);
	} else {
		r = version ? 0 : only_version(app, &only, e);
		if (r == 0)
			r = find_set(app, o, version ? version : only, l, e);
	}
	if (r == 0)
		r = modset_verify(app->engine->store, l->key, NULL, e);
	if (r < 0)
		return r;
	l->dir_fd = store_object_open(app->engine->store, STORE_MODULE, l->key);
	return l->dir_fd < 0 ? err_errno(e, l->dir_fd, "module set %s", l->key) : 0;
}

static int open_modules(struct app *app, const struct load_opts *o, const char *version, struct load_run *l,
			struct err *e)
{
	if (o->installed)
		return 0;
	if (!o->dir)
		return open_set(app, o, version, l, e);
	l->dir_fd = dir_open_at(AT_FDCWD, o->dir);
	return l->dir_fd < 0 ? err_errno(e, l->dir_fd, "%s", o->dir) : 0;
}

/* The firmware of the tree the set was built from. One that is damaged is not used; the machine may have its own. */
static int find_firmware(struct app *app, struct load_run *l, struct err *e)
{
	const char *tree = ui_str(l->record, "tree", NULL);
	_cleanup_free_ char *path = NULL;

	if (!tree || !store_has(app->engine->store, STORE_TREE, tree))
		return 0;
	if (store_tree_verify_below(app->engine->store, tree, "firmware", NULL) < 0) {
		log_warn("tree %.12s is damaged: its firmware is not used", tree);
		return 0;
	}
	path = store_object_path(app->engine->store, STORE_TREE, tree);
	l->firmware_source = path ? str_printf("%s/root/firmware", path) : NULL;
	return l->firmware_source ? 0 : err_oom(e);
}

/* -- which modules, with what -- */

static bool has_module(const struct load_run *l, const char *name)
{
	_cleanup_free_ char *file = str_printf("%s.ko", name);

	return l->dir_fd < 0 || (file && faccessat(l->dir_fd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
}

/* "MODULE:NAME=VALUE" of all --param for one module, blank-separated. */
static int collect_params(const struct load_opts *o, const char *module, char **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(65536);

	for (char **p = o->params; p && *p; p++) {
		const char *colon = strchr(*p, ':');

		if (!colon || colon == *p || !strchr(colon, '='))
			return err_set(e, ERR_USAGE, "--param %s: write MODULE:NAME=VALUE", *p);
		if (strlen(module) == (size_t)(colon - *p) && strncmp(module, *p, (size_t)(colon - *p)) == 0)
			(void)strbuf_printf(&t, "%s%s", t.len ? " " : "", colon + 1);
	}
	return strbuf_steal(&t, ret) < 0 ? err_oom(e) : 0;
}

static int add_module(const struct load_opts *o, const char *name, bool optional, struct load_run *l,
		      struct err *e)
{
	int r;

	if (o->without && strv_contains(o->without, name))
		return 0;
	if (l->n == ARRAY_LEN(l->modules))
		return err_set(e, ERR_USAGE, "at most %zu modules", ARRAY_LEN(l->modules));
	r = collect_params(o, name, &l->params[l->n], e);
	if (r < 0)
		return r;
	l->modules[l->n] =
	    (struct modload_module){ .name = name, .params = l->params[l->n], .optional = optional };
	l->n++;
	return 0;
}

static int choose_modules(const struct load_opts *o, struct load_run *l, struct err *e)
{
	int r = 0;

	if (o->modules) {
		for (char **m = o->modules; r == 0 && *m; m++)
			r = name_is_safe(*m) ? add_module(o, *m, false, l, e)
					     : err_set(e, ERR_USAGE, "--module %s", *m);
		return r;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(standard); i++)
		if (has_module(l, standard[i].name))
			r = add_module(o, standard[i].name, standard[i].optional || (o->installed && i > 0),
				       l, e);
	if (r == 0 && !l->n)
		return err_set(e, ERR_MODULE_MISSING, "no module of the driver is there");
	return r;
}

/* -- doing it -- */

static void print_names(const char *what, const json_t *names)
{
	const json_t *v;
	size_t i;

	json_array_foreach (names, i, v)
		out_text("%-9s %s\n", what, json_string_value(v));
}

static int show_report(struct app *app, const struct load_run *l, struct modload_report *report)
{
	const json_t *f;
	size_t i;

	if (app->json)
		return out_json("load", json_pack("{s:O, s:O, s:O, s:s*}", "loaded", report->loaded,
						  "present", report->present, "failed", report->failed,
						  "module_set", *l->key ? l->key : NULL));
	print_names("loaded", report->loaded);
	print_names("present", report->present);
	json_array_foreach (report->failed, i, f)
		out_text("left out  %s: %s\n", ui_str(f, "module", "?"), ui_str(f, "reason", "?"));
	return 0;
}

static int show_steps(struct app *app, json_t *steps)
{
	json_t *s;
	size_t i;

	if (app->json)
		return out_json("load", json_pack("{s:b, s:o}", "dry_run", 1, "steps", steps));
	json_array_foreach (steps, i, s)
		out_text("%s\n", json_string_value(s));
	json_decref(steps);
	return 0;
}

static int load_now(struct app *app, const struct load_run *l, const struct modload_request *q, struct err *e)
{
	_cleanup_(modload_report_done) struct modload_report report = MODLOAD_REPORT_INIT;
	_cleanup_(modload_ops_done) struct modload_ops ops = { 0 };
	_cleanup_free_ char *release = NULL;
	int r = host_kernel_release(app->engine->host, &release);

	if (r < 0)
		return err_errno(e, r, "kernel release of %s", app->engine->host->root);
	r = modload_ops_real(app->engine->host, release, &ops, e);
	if (r == 0)
		r = modload_load(app->engine->host, &ops, q, &report, e);
	return r < 0 ? r : show_report(app, l, &report);
}

static int load_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_(load_run_done) struct load_run l = { .dir_fd = -EBADF };
	const struct load_opts *o = opts;
	struct firmware_want firmware = { .dir = o->firmware, .chosen = o->firmware != NULL };
	struct modload_request q = { .firmware = &firmware };
	json_t *steps;
	int r;

	if ((o->dir != NULL) + o->installed + (o->set != NULL) + (argc > 0) > 1)
		return err_set(
		    e, ERR_USAGE,
		    "VERSION, --set, --dir and --installed each say where the modules come from: give one");
	if (o->installed && o->params)
		return err_set(
		    e, ERR_USAGE,
		    "--param goes with modules from the store or --dir; for installed ones write modprobe.d");
	r = open_modules(app, o, argc > 0 ? argv[0] : NULL, &l, e);
	if (r == 0)
		r = choose_modules(o, &l, e);
	if (r == 0 && !o->firmware)
		r = find_firmware(app, &l, e);
	if (r < 0)
		return r;
	firmware.source = l.firmware_source;
	q.dir_fd = l.dir_fd;
	q.modules = l.modules;
	q.n_modules = l.n;
	if (!app->dry_run)
		return load_now(app, &l, &q, e);
	r = modload_plan(app->engine->host, &q, &steps, e);
	return r < 0 ? r : show_steps(app, steps);
}

const struct cmd cmd_load = {
	.name = "load",
	.summary = "load the driver's kernel modules",
	.args = "[VERSION]",
	.min_args = 0,
	.max_args = 1,
	.description =
	    "Loads the modules of a driver prepared in the store for the running kernel, straight "
	    "from the store: every byte is "
	    "compared with the record first. Modules they depend on are loaded before them, those "
	    "of the kernel from /lib/modules. "
	    "Parameters come from modprobe.d, the kernel's command line and --param.\n\n"
	    "When the driver's firmware is neither below /lib/firmware nor where the kernel's search path "
	    "leads, the search path is set to links into the store; nvdriver unload puts it back as it was. "
	    "With NVreg_EnableGpuFirmware=0 it is left alone.\n\n"
	    "When a module is refused, the reason is told apart by errno and kernel log "
	    "(unsigned, unknown key, changed after "
	    "signing, locked down, another kernel, missing symbol, bad parameter, no GPU, GPU "
	    "held by another driver), and what this "
	    "run loaded is removed again.",
	.examples = "nvdriver load 535.261.03 --param nvidia:NVreg_EnableGpuFirmware=0\n  with a parameter\n",
	.options = load_options,
	.opts_size = sizeof(struct load_opts),
	.flags = CMD_STORE_READ,
	.run = load_cmd,
};
