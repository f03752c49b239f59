/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "ui.h"

struct gc_opts {
	const char *forget;
};

static const struct opt gc_options[] = {
	{ "forget", 0, "TARGET", "first forget this target, whose root no longer exists", OPT_STRING,
	  offsetof(struct gc_opts, forget) },
	{ 0 },
};

static int collect(struct app *app, const char *forget, json_t **ret_list, json_t **ret_gone,
		   struct store_gc_result *ret, struct err *e)
{
	struct store *s = app->engine->store;
	int r = 0;

	if (!s && forget)
		return err_set(e, ERR_UNDO_NOTHING, "there is no store in %s", app->store_path);
	if (!s)
		return 0;
	if (forget)
		r = store_target_forget(s, forget, app->dry_run, e);
	if (r >= 0)
		r = store_gc(s, app->dry_run, ret_list, ret, e);
	return r < 0 ? r : plan_targets_gone(&app->engine->state, ret_gone, e);
}

static void gc_show(const struct app *app, const char *forget, const json_t *list, const json_t *gone,
		    const struct store_gc_result *res)
{
	const json_t *item;
	size_t i;

	if (forget)
		out_text("%s the target %s\n", app->dry_run ? "would forget" : "forgot", forget);
	json_array_foreach (list, i, item)
		out_text(
		    "%s %s (%s)\n", app->dry_run ? "would remove" : "removed", ui_str(item, "object", "?"),
		    ui_size((unsigned long long)json_integer_value(json_object_get(item, "size_bytes"))));
	out_text("%llu objects, %s\n", (unsigned long long)res->objects, ui_size(res->bytes));
	json_array_foreach (gone, i, item)
		out_text("the root of target %s is gone: nvdriver gc --forget %s drops its history\n",
			 json_string_value(item), json_string_value(item));
}

static int gc_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct gc_opts *o = opts;
	struct store_gc_result res = { 0, 0 };
	json_t *list = NULL, *gone = NULL;
	int r = collect(app, o->forget, &list, &gone, &res, e);

	if (r >= 0 && app->json)
		return out_json("gc", json_pack("{s:o, s:o, s:s*, s:I, s:I, s:b}", "removed",
						list ? list : json_array(), "targets_gone",
						gone ? gone : json_array(), "forgotten", o->forget, "objects",
						(json_int_t)res.objects, "size_bytes", (json_int_t)res.bytes,
						"dry_run", (int)app->dry_run));
	if (r >= 0)
		gc_show(app, o->forget, list, gone, &res);
	json_decref(list);
	json_decref(gone);
	return r < 0 ? r : 0;
}

const struct cmd cmd_gc = {
	.name = "gc",
	.summary = "remove from the store what nothing uses",
	.max_args = 0,
	.description =
	    "Removes every object of the store that no reference, pin, target or running operation "
	    "reaches. Objects another run is working on stay. With --dry-run only tells.\n\n"
	    "Packages brought by fetch are kept by a reference of their name; packages prepare obtained from "
	    "the distribution are kept by the record of the driver tree made from them, and go with it.\n\n"
	    "Deployments are kept for as long as they can be undone: they hold the only copy of what "
	    "stood there before. Where the root itself is gone (a container that was deleted) nothing can be "
	    "undone any more; gc names such targets, and forgets one when told to with --forget. A root on a "
	    "disk that is not mounted now looks gone too, so nothing is forgotten unasked. With --dry-run "
	    "what "
	    "only that target kept is not among the objects listed.",
	.options = gc_options,
	.opts_size = sizeof(struct gc_opts),
	.flags = CMD_STORE_READ,
	.run = gc_cmd,
};
