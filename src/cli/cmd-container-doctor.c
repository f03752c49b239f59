/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd-container.h"

#include "container-doctor.h"
#include "ui.h"

#include <unistd.h>

/* The node's root: named, else as process 1 of the shared PID namespace sees it. NULL where it cannot be seen. */
static struct host *open_node(const struct app *app, const struct container_opts *o)
{
	_cleanup_free_ char *own = o->host_root ? NULL : str_printf("%s/proc/1/root", app->root);
	struct host *node = NULL;

	return host_open(o->host_root ? o->host_root : own ? own : "/", &node, NULL) == 0 ? node : NULL;
}

static int doctor_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(host_freep) struct host *node = open_node(app, opts);
	struct container_doctor q = {
		.h = app->engine->host, .node = node, .env = &env, .may_connect = !app->engine->offline
	};
	struct doctor_count count;
	json_t *checks;
	int r = container_env_read(environ, &env, e);

	if (r == 0)
		r = container_doctor(app->engine, &q, &checks, &count, e);
	if (r < 0)
		return r;
	r = 0;
	if (app->json)
		r = out_json("container-doctor",
			     json_pack("{s:i,s:i,s:i,s:o}", "failures", (int)count.failures, "warnings",
				       (int)count.warnings, "unknown", (int)count.unknown, "checks", checks));
	else {
		ui_checks(checks);
		json_decref(checks);
	}
	if (r < 0)
		return r;
	if (app->entrypoint)
		return container_doctor_status(&count);
	return container_doctor_status(&count) ? err_exit_status(ERR_FINDING) : 0;
}

static const struct opt doctor_options[] = {
	{ "host-root", 0, "DIR", "the node's root; default: /proc/1/root", OPT_STRING,
	  offsetof(struct container_opts, host_root), "dir" },
	{ 0 },
};

const struct cmd cmd_container_doctor = {
	.name = "container",
	.sub = "doctor",
	.summary = "driver container: what keeps it from becoming ready, and the next step",
	.description = "Looks at the node and the container as somebody would who was asked why the driver "
		       "does not come up: GPUs "
		       "and who holds each, nouveau (loaded, kept out, still in the initramfs), a driver of "
		       "the node's own, what "
		       "an earlier container left, kernel and its variant, where the modules come from "
		       "(store, bundles, build trees, and when nothing nearer has one the package "
		       "manager's repositories, which are asked unless --offline), "
		       "compiler, module type, "
		       "signatures, SELinux, firmware path, space, memory. Changes nothing.\n\n"
		       "Exit status 10 when a check did not end well or could not be made; under the name "
		       "nvidia-driver 1 for "
		       "a problem and 2 when something could not be found out.",
	.examples = "nvdriver container doctor --host-root /host\n  with the node's root mounted there\n",
	.options = doctor_options,
	.opts_size = sizeof(struct container_opts),
	.flags = CMD_STORE_READ,
	.default_store = container_opts_store,
	.run = doctor_cmd,
};
