/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "report.h"
#include "ui.h"

#include <string.h>

static void print_lines(const json_t *lines, const char *prefix)
{
	const json_t *line;
	size_t i;

	json_array_foreach (lines, i, line)
		out_text("           %s%s\n", prefix, json_string_value(line));
}

/* What is fine and says nothing is only counted, unless --verbose. */
static void verify_text(const json_t *objects, bool all)
{
	const json_t *o;
	size_t i, silent = 0;

	json_array_foreach (objects, i, o) {
		const json_t *problems = json_object_get(o, "problems"), *notes = json_object_get(o, "notes");

		if (!all && json_array_size(problems) + json_array_size(notes) == 0) {
			silent++;
			continue;
		}
		out_text("%-8s %s\n", ui_str(o, "result", "?"), ui_str(o, "object", "?"));
		print_lines(problems, "");
		print_lines(notes, "note: ");
	}
	if (silent)
		out_text("%-8s %zu %sobjects\n", "ok", silent,
			 silent == json_array_size(objects) ? "" : "other ");
}

static int verify_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	json_t *objects = NULL;
	unsigned findings;
	int r = report_verify(app->engine, &objects, &findings, e);

	if (r < 0)
		return r;
	if (app->json) {
		r = out_json("verify", json_pack("{s:i,s:o}", "findings", (int)findings, "objects", objects));
	} else {
		verify_text(objects, app->verbose > 0);
		out_text("%zu objects read, %u with findings\n", json_array_size(objects), findings);
		json_decref(objects);
	}
	return r < 0 ? r : findings ? err_exit_status(ERR_FINDING) : 0;
}

const struct cmd cmd_verify = {
	.name = "verify",
	.summary = "read everything again and compare it with its records",
	.max_args = 0,
	.description = "Reads every package, tree and module set of the store, and every file a deployment "
		       "put into the root, and "
		       "compares them with their records: sizes, modes, digests, links. Also checks that "
		       "every library the "
		       "installed files need can be found in that root. Changes nothing.\n\n"
		       "Exit status 10 when something differs; each difference is listed.",
	.examples =
	    "nvdriver verify --root /srv/image\n  the store, and the driver installed below /srv/image\n",
	.flags = CMD_STORE_READ,
	.run = verify_cmd,
};
