/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "report.h"
#include "ui.h"

static void status_text(const json_t *status)
{
	const json_t *host = json_object_get(status, "host"), *running = json_object_get(status, "running");
	const json_t *mods = json_object_get(running, "modules"), *m, *d;
	size_t i;

	out_text("machine      %s, kernel %s, %s (%s)\n", ui_str(host, "os", "unknown system"),
		 ui_str(host, "kernel", "unknown"), ui_str(host, "machine", "unknown"),
		 ui_str(host, "root", "/"));
	out_text("signatures   Secure Boot %s, enforced %s, lockdown %s\n",
		 ui_str(host, "secure_boot", "unknown"), ui_str(host, "sig_enforce", "unknown"),
		 *ui_str(host, "lockdown", "") ? ui_str(host, "lockdown", "") : "unknown");
	out_text("running      driver %s\n", ui_str(running, "driver_version", "none"));
	json_array_foreach (mods, i, m)
		out_text("             module %s, used by %d\n", ui_str(m, "name", "?"),
			 (int)json_integer_value(json_object_get(m, "refcount")));
	ui_store(json_object_get(status, "store"));
	json_array_foreach (json_object_get(status, "deployments"), i, d)
		out_text("%-12s %s  %s\n", i ? "" : "installed", ui_str(d, "time", ""),
			 ui_str(d, "title", "?"));
}

static int status_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	json_t *status = NULL;
	int r = report_status(app->engine, &status, e);

	if (r < 0)
		return r;
	if (app->json)
		return out_json("status", status);
	status_text(status);
	json_decref(status);
	return 0;
}

const struct cmd cmd_status = {
	.name = "status",
	.summary = "show the machine, its running driver, the store and what is installed",
	.max_args = 0,
	.description =
	    "Shows the machine (or the --root given), what it demands of kernel modules, the driver that "
	    "runs there, the "
	    "store's content and the deployments into this root. Starts no program and changes nothing.",
	.flags = CMD_STORE_READ,
	.run = status_cmd,
};
