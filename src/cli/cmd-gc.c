/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "ui.h"

static int gc_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		  struct err *e)
{
	struct store_gc_result res = { 0, 0 };
	json_t *list = NULL, *item;
	size_t i;
	int r;

	r = app->engine->store ? store_gc(app->engine->store, app->dry_run, &list, &res, e) : 0;
	if (r < 0)
		return r;
	if (app->json)
		return out_json("gc", json_pack("{s:o, s:I, s:I, s:b}", "removed", list ? list : json_array(),
						"objects", (json_int_t)res.objects, "size_bytes",
						(json_int_t)res.bytes, "dry_run", (int)app->dry_run));
	json_array_foreach(list, i, item)
	    out_text("%s %s (%s)\n", app->dry_run ? "would remove" : "removed", ui_str(item, "object", "?"),
		     ui_size((unsigned long long)json_integer_value(json_object_get(item, "size_bytes"))));
	out_text("%llu objects, %s\n", (unsigned long long)res.objects, ui_size(res.bytes));
	json_decref(list);
	return 0;
}

const struct cmd cmd_gc = {
	.name = "gc",
	.summary = "remove from the store what nothing uses",
	.max_args = 0,
	.description =
	    "Removes every object of the store that no reference, pin, target or running operation "
	    "reaches. Objects another run is working on stay. With --dry-run only tells.",
	.flags = CMD_STORE_READ,
	.run = gc_cmd,
};
