/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "modload.h"
#include "strbuf.h"

struct unload_opts {
	char **modules;
	bool reset_firmware;
};

#define O(field) offsetof(struct unload_opts, field)
static const struct opt unload_options[] = {
	{ "module", 'm', "NAME", "only this module and the driver's modules that use it (may be repeated)",
	  OPT_LIST, O(modules) },
	{ "reset-firmware-path", 0, NULL, "let the kernel look for firmware where it did before", OPT_FLAG,
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
	if (r == 0 && o->reset_firmware)
		r = firmware_path_set(app->engine->host, NULL, e);
	return r < 0 ? r : print_list(app, "removed", report.removed);
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
	r = print_list(app, "steps", steps);
	json_decref(steps);
	return r;
}

const struct cmd cmd_unload = {
	.name = "unload",
	.summary = "remove the driver's kernel modules",
	.max_args = 0,
	.description = "Removes the driver's modules from the running kernel, whoever holds another one "
		       "first. When something uses "
		       "them, nothing is removed and the message names the module, process or daemon that "
		       "does. The kernel's list is "
		       "read again after every step.",
	.options = unload_options,
	.opts_size = sizeof(struct unload_opts),
	.flags = CMD_STORE_READ,
	.run = unload_cmd,
};
