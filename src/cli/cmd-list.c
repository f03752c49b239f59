/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "report.h"
#include "ui.h"

static int list_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		    struct err *e)
{
	json_t *list = NULL;
	int r = report_list(app->engine, &list, e);

	if (r < 0)
		return r;
	if (app->json)
		return out_json("list", list);
	ui_store(list);
	json_decref(list);
	return 0;
}

const struct cmd cmd_list = {
	.name = "list",
	.summary = "show what the store holds",
	.max_args = 0,
	.description =
	    "Lists drivers, module sets, kernel build trees, images and packages of the store, with their "
	    "names, ids and paths.",
	.flags = CMD_STORE_READ,
	.run = list_cmd,
};
