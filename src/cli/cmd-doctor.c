/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "report.h"
#include "ui.h"

static int doctor_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	json_t *checks = NULL;
	const json_t *c;
	unsigned findings;
	size_t i;
	int r = report_doctor(app->engine, &checks, &findings, e);

	if (r < 0)
		return r;
	if (app->json) {
		r = out_json("doctor", json_pack("{s:i,s:o}", "findings", (int)findings, "checks", checks));
		return r < 0 ? r : findings ? err_exit_status(ERR_FINDING) : 0;
	}
	json_array_foreach (checks, i, c) {
		out_text("%-8s %-11s %s\n", ui_str(c, "result", "?"), ui_str(c, "check", "?"),
			 ui_str(c, "text", ""));
		if (*ui_str(c, "next_step", ""))
			out_text("%-20s next: %s\n", "", ui_str(c, "next_step", ""));
	}
	json_decref(checks);
	return findings ? err_exit_status(ERR_FINDING) : 0;
}

const struct cmd cmd_doctor = {
	.name = "doctor",
	.summary = "say what keeps a driver from working here, and the next step",
	.max_args = 0,
	.description = "Looks at the machine (or the --root given) the way a person would who was asked why "
		       "the driver does not "
		       "work: store, cards, kernel and its build tree, nouveau, signatures and Secure Boot, "
		       "matching versions. Each check "
		       "ends in ok, warn, fail or unknown, with the next step. Changes nothing and starts no "
		       "program.\n\n"
		       "Exit status 10 when a check did not end well.",
	.flags = CMD_STORE_READ,
	.run = doctor_cmd,
};
