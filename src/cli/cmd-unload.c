/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "kmods.h"
#include "modload.h"
#include "strbuf.h"

#include <string.h>

struct unload_opts {
	char **modules;
	bool reset_firmware;
};

#define O(field) offsetof(struct unload_opts, field)
static const struct opt unload_options[] = {
	{ "module", 'm', "NAME", "only this module and the driver's modules that use it (may be repeated)",
	  OPT_LIST, O(modules) },
	{ "reset-firmware-path", 0, NULL, "empty the kernel's firmware search path, whoever set it", OPT_FLAG,
	  O(reset_firmware) },
	{ 0 },
};

static int print_list(struct app *app, const char *what, json_t *list)
{
	json_t *v;
	size_t i;

	if (app->json)
		return out_json("unload", json_pack("{s:b, s:O}", "dry_run", app->dry_run, what, list));
	json_array_foreach (list, i, v)
		out_text("%s%s\n", app->dry_run ? "" : "removed   ", json_string_value(v));
	if (!json_array_size(list))
		out_text("no module of the driver is loaded\n");
	return 0;
}

/* While the module lives it may ask for its firmware again. */
static bool is_loaded(const struct host *h)
{
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;

	return kmods_read(h, &k) == 0 && kmods_find(&k, "nvidia");
}

static int unload_now(struct app *app, const struct unload_opts *o, struct err *e)
{
	_cleanup_(modload_report_done) struct modload_report report = MODLOAD_REPORT_INIT;
	_cleanup_(modload_ops_done) struct modload_ops ops = { 0 };
	_cleanup_free_ char *release = NULL;
	int r = host_kernel_release(app->engine->host, &release);

	if (r < 0)
		return err_errno(e, r, "kernel release of %s", app->engine->host->root);
	r = modload_ops_real(app->engine->host, release, &ops, e);
	if (r == 0)
		r = modload_unload(app->engine->host, &ops, (const char *const *)o->modules, &report, e);
	if (r == 0 && !is_loaded(app->engine->host))
		r = firmware_restore(app->engine->host, e);
	if (r >= 0 && o->reset_firmware)
		r = firmware_path_set(app->engine->host, NULL, e);
	return r < 0 ? r : print_list(app, "removed", report.removed);
}

static bool plans_to_unload_nvidia(const json_t *steps)
{
	const json_t *s;
	size_t i;

	json_array_foreach (steps, i, s)
		if (strcmp(json_string_value(s), "unload nvidia") == 0)
			return true;
	return false;
}

static int plan_firmware(const struct host *h, json_t *steps, struct err *e)
{
	_cleanup_free_ char *before = NULL;
	int r = 0;

	if (!is_loaded(h) || plans_to_unload_nvidia(steps))
		r = firmware_remembered(h, &before, e);
	if (r <= 0)
		return r;
	r = json_array_append_new(steps, *before
					     ? json_sprintf("set the firmware search path back to %s", before)
					     : json_string("empty the firmware search path again"));
	return r < 0 ? err_oom(e) : 0;
}

static int unload_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct unload_opts *o = opts;
	json_t *steps;
	int r;

	if (!app->dry_run)
		return unload_now(app, o, e);
	r = modunload_plan(app->engine->host, (const char *const *)o->modules, &steps, e);
	if (r < 0)
		return r;
	r = plan_firmware(app->engine->host, steps, e);
	if (r == 0)
		r = print_list(app, "steps", steps);
	json_decref(steps);
	return r;
}

const struct cmd cmd_unload = {
	.name = "unload",
	.summary = "remove the driver's kernel modules",
	.max_args = 0,
	.description =
	    "Removes the driver's modules from the running kernel, whoever holds another one "
	    "first. When something uses "
	    "them, nothing is removed and the message names the module, process or daemon that "
	    "does. The kernel's list is "
	    "read again after every step.\n\n"
	    "A firmware search path that nvdriver load set is put back as it was found, unless somebody "
	    "changed it since.",
	.options = unload_options,
	.opts_size = sizeof(struct unload_opts),
	.flags = CMD_STORE_READ,
	.run = unload_cmd,
};
