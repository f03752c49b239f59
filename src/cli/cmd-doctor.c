/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"
#include "cmd.h"
#include "report.h"
#include "ui.h"

struct doctor_opts {
	const char *capture;
};

static const struct opt doctor_options[] = {
	{ "capture", 0, "DIR", "copy what the reports read, without secrets, into a new directory",
	  OPT_STRING, offsetof(struct doctor_opts, capture), "dir" },
	{ 0 },
};

static int capture(struct app *app, const char *dir, struct err *e)
{
	unsigned files = 0;
	int r = capture_machine(app->engine, dir, &files, e);

	if (r < 0)
		return r;
	if (app->json)
		return out_json("doctor", json_pack("{s:s, s:i}", "captured", dir, "files", (int)files));
	out_text("%u files in %s: look through them before you give them away; nvdriver --root %s vgpu "
		 "doctor reads them\n",
		 files, dir, dir);
	return 0;
}

static int doctor_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	json_t *checks = NULL;
	unsigned findings;
	int r;

	if (((const struct doctor_opts *)opts)->capture)
		return capture(app, ((const struct doctor_opts *)opts)->capture, e);
	r = report_doctor(app->engine, &checks, &findings, e);

	if (r < 0)
		return r;
	if (app->json) {
		r = out_json("doctor", json_pack("{s:i,s:o}", "findings", (int)findings, "checks", checks));
		return r < 0 ? r : findings ? err_exit_status(ERR_FINDING) : 0;
	}
	ui_checks(checks);
	json_decref(checks);
	return findings ? err_exit_status(ERR_FINDING) : 0;
}

const struct cmd cmd_doctor = {
	.name = "doctor",
	.summary = "say what keeps a driver from working here, and the next step",
	.max_args = 0,
	.description =
	    "Looks at the machine (or the --root given) the way a person would who was asked why "
	    "the driver does not "
	    "work: store, cards, kernel and its build tree, nouveau, signatures and Secure Boot, "
	    "matching versions. Each check "
	    "ends in ok, warn, fail or unknown, with the next step. Changes nothing and starts no "
	    "program.\n\n"
	    "--capture DIR copies the facts the reports read into a new directory instead, without keys, "
	    "passwords or "
	    "guests' data, so that status, doctor and vgpu plan can be run on it elsewhere with --root.\n\n"
	    "Exit status 10 when a check did not end well.",
	.options = doctor_options,
	.opts_size = sizeof(struct doctor_opts),
	.flags = CMD_STORE_READ,
	.run = doctor_cmd,
};
