/* SPDX-License-Identifier: Apache-2.0
 *
 * undo, history and recover: three looks at the same journal. */
#include "cmd.h"
#include "ui.h"

#include <stdlib.h>
#include <string.h>

struct undo_opts {
	const char *target;
	bool force;
};

static const struct opt undo_options[] = {
	{ "target", 't', "NAME", "the target to undo, as history names it", OPT_STRING,
	  offsetof(struct undo_opts, target) },
	{ "force", 0, NULL, "leave files that were changed since, and take back the rest", OPT_FLAG,
	  offsetof(struct undo_opts, force) },
	{ 0 },
};

/* With --root only what was put into that root counts. */
static bool is_below_root(const struct app *app, const json_t *item)
{
	_cleanup_free_ char *asked = realpath(app->root, NULL),
			    *of_item = realpath(ui_str(item, "root", ""), NULL);

	return strcmp(app->root, "/") == 0 || (asked && of_item && strcmp(asked, of_item) == 0);
}

/* The target of a deployment, or the only one there is. */
static int target_find(const struct app *app, const json_t *list, const char *id, char **ret, struct err *e)
{
	const char *found = NULL;
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		const char *target = ui_str(item, "target", "");

		if (strcmp(ui_str(item, "state", ""), "applied") != 0 ||
		    (id ? strcmp(ui_str(item, "id", ""), id) != 0 : !is_below_root(app, item)))
			continue;
		if (found && strcmp(found, target) != 0)
			return err_set(e, ERR_USAGE,
				       "there are deployments into %s and %s: choose with --target", found,
				       target);
		found = target;
	}
	if (!found)
		return err_set(e, ERR_UNDO_NOTHING, "there is nothing to undo%s%s", id ? " named " : "",
			       id ? id : "");
	*ret = strdup(found);
	return *ret ? 0 : err_oom(e);
}

static int undo_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct undo_opts *o = opts;
	const char *id = argc > 0 ? argv[0] : NULL;
	_cleanup_(strbuf_done) struct strbuf show = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *target = o->target ? strdup(o->target) : NULL;
	_cleanup_(lock_release) struct lock claim = LOCK_INIT;
	json_t *list = NULL;
	int r = 0;

	if (!app->engine->store)
		return err_set(e, ERR_UNDO_NOTHING, "there is no store in %s", app->store_path);
	if (!target) {
		r = plan_history(&app->engine->state, NULL, &list, e);
		if (r >= 0)
			r = target_find(app, list, id, &target, e);
		json_decref(list);
	}
	if (r >= 0 && !app->dry_run)
		r = plan_target_claim(&app->engine->state, target, false, app->engine->lock_timeout_s, &claim,
				      e);
	if (r >= 0)
		r = plan_undo(&app->engine->state, target, id, o->force, app->dry_run, &show, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("undo", json_pack("{s:s, s:b, s:s}", "target", target, "dry_run",
						  (int)app->dry_run, "steps", strbuf_str(&show)));
	out_text("%s", strbuf_str(&show));
	return 0;
}

static int history_cmd(struct app *app, void *opts _unused_, int argc, char **argv, struct err *e)
{
	json_t *list = NULL;
	const json_t *item;
	size_t i;
	int r;

	if (!app->engine->store)
		list = json_array();
	else if ((r = plan_history(&app->engine->state, argc > 0 ? argv[0] : NULL, &list, e)) < 0)
		return r;
	if (app->json)
		return out_json("history", json_pack("{s:o}", "deployments", list));
	json_array_foreach (list, i, item)
		out_text("%s  %-8s %s  %s: %s\n", ui_str(item, "time", "?"), ui_str(item, "state", "?"),
			 ui_str(item, "id", "?"), ui_str(item, "target", "?"), ui_str(item, "title", "?"));
	json_decref(list);
	return 0;
}

/* Opening the store has recovered already: every command does that first. */
static int recover_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		       struct err *e)
{
	int r = 0;

	if (app->engine->store && !app->engine->store->read_only) {
		r = store_recover(app->engine->store, e);
		if (r >= 0)
			r = plan_recover(&app->engine->state, e);
	}
	if (r < 0)
		return r;
	if (app->json)
		return out_json("recover", json_pack("{s:b}", "clean", 1));
	out_text("nothing is left half done\n");
	return 0;
}

const struct cmd cmd_undo = {
	.name = "undo",
	.summary = "take back what was done to a target",
	.args = "[ID]",
	.max_args = 1,
	.description =
	    "Takes back a deployment: the one named, or the newest of the target. Files that somebody "
	    "changed since are named and nothing is touched, unless --force: then those stay as they "
	    "are and the rest is taken back.",
	.options = undo_options,
	.opts_size = sizeof(struct undo_opts),
	.flags = CMD_STORE_READ,
	.run = undo_cmd,
};

const struct cmd cmd_history = {
	.name = "history",
	.summary = "list what was done to targets",
	.args = "[TARGET]",
	.max_args = 1,
	.description = "Lists deployments, oldest first, with the ids undo takes.",
	.flags = CMD_STORE_READ,
	.run = history_cmd,
};

const struct cmd cmd_recover = {
	.name = "recover",
	.summary = "take back or finish what an interrupted run left",
	.max_args = 0,
	.description = "Every command does this first; recover does nothing else.",
	.flags = CMD_STORE_READ,
	.run = recover_cmd,
};
