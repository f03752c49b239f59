/* SPDX-License-Identifier: Apache-2.0
 *
 * vgpu step, plan, undo and remove. */
#include "cmd-vgpu.h"

#include "report.h"
#include "ui.h"
#include "vgpu-leftovers.h"
#include "vgpu-plan.h"
#include "vgpu-state.h"
#include "vgpu-use.h"

#include <string.h>

struct vgpu_opts {
	struct vgpu_common common;
	bool force;
};

static const struct opt step_options[] = { VGPU_COMMON_OPTIONS, { 0 } };

static const struct opt plan_options[] = {
	VGPU_COMMON_OPTIONS,
	{ "fixture", 0, "DIR", "same as --root", OPT_STRING, offsetof(struct vgpu_common, fixture), "dir",
	  false },
	{ 0 },
};

static const struct opt undo_options[] = {
	{ "answers", 0, "FILE", "answers to the questions, as one JSON object", OPT_STRING,
	  offsetof(struct vgpu_opts, common.answers), "file" },
	{ "force", 0, NULL, "leave files that were changed since, and take back the rest", OPT_FLAG,
	  offsetof(struct vgpu_opts, force) },
	{ 0 },
};

static int step_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	return vgpu_step_run(app, opts, argv[0], e);
}

static int plan_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	struct vgpu_common *o = opts;
	int r = 0;

	app->dry_run = true;
	if (o->fixture) {
		engine_freep(&app->engine);
		app->root = o->fixture;
		r = engine_open(app->root, app->store_path, ENGINE_STORE_OPTIONAL, &app->engine, e);
	}
	return r < 0 ? r : vgpu_step_run(app, o, o->step ? o->step : "1", e);
}

/* -- taking back -- */

struct back {
	struct app *app;
	const char *target;
	struct asker ask;
	bool per_group, force;
	bool recorded_only; /* leave what nobody recorded alone */
	const char *const *only; /* these groups; NULL = all */
	json_t *said; /* group → boolean, asked once each */
	json_t *report; /* names of groups taken back, in order */
	struct strbuf show;
	bool kept; /* a group was declined */
};

static const char *group_of(const json_t *item)
{
	const json_t *meta = json_object_get(item, "meta");

	if (strcmp(ui_str(meta, "role", ""), "vgpu") != 0 ||
	    strcmp(ui_str(item, "state", ""), "applied") != 0)
		return NULL;
	return json_string_value(json_object_get(meta, "group"));
}

/* Guests' tokens are signed with these: only a plain answer removes them. */
static bool is_keys(const char *group)
{
	return strcmp(group, "license_keys") == 0;
}

static int is_wanted(struct back *b, const char *group, struct err *e)
{
	const json_t *said = json_object_get(b->said, group);
	char key[64];
	int r;

	if (!b->per_group)
		return 1;
	if (said)
		return json_is_true(said);
	(void)snprintf(key, sizeof(key), "remove_%s", group);
	r = ask_yes(&b->ask, key, !is_keys(group), "Take back what was done for \"%s\"? ", group);
	if (r < 0 || json_object_set_new(b->said, group, json_boolean(r)) < 0)
		return err_oom(e);
	return r;
}

static bool is_among(const char *const *only, const char *group)
{
	for (; only && *only; only++)
		if (strcmp(*only, group) == 0)
			return true;
	return !only;
}

/* What a guest with a vGPU needs while it runs. */
static const char *const of_running_guests[] = { "functions", "services", "driver", "unlock", NULL };

static int take_back_one(struct back *b, const json_t *item, struct err *e)
{
	const char *group = group_of(item);
	bool mine = group && is_among(b->only, group);
	int r = mine ? is_wanted(b, group, e) : 0;

	if (r <= 0) {
		/* Keys that stay are no part of a set-up that goes on. */
		b->kept |= group && !is_keys(group);
		return r;
	}
	if (is_among(of_running_guests, group) && !b->force && !b->app->dry_run) {
		r = vgpu_check_idle(b->app->engine->host, e);
		if (r < 0)
			return r;
	}
	r = plan_undo(&b->app->engine->state, b->target, ui_str(item, "id", ""), b->force, b->app->dry_run,
		      &b->show, e);
	if (r < 0)
		return err_wrap(e, "taking back %s", group);
	return json_array_append_new(b->report, json_string(group)) < 0 ? err_oom(e) : 0;
}

static int take_back_all(struct back *b, struct err *e)
{
	json_auto_t *list = NULL;
	int r = plan_history(&b->app->engine->state, b->target, &list, e);

	for (size_t i = json_array_size(list); r >= 0 && i-- > 0;)
		r = take_back_one(b, json_array_get(list, i), e);
	return r;
}

/* Nothing of ours is left: neither is the memory of it. */
static int forget(struct app *app, struct err *e)
{
	_cleanup_(vgpu_state_done) struct vgpu_state st = { .lock = LOCK_INIT };
	int r = vgpu_state_open(app->engine, true, &st, e);

	return r < 0 ? r : vgpu_state_remove(app->engine, &st, e);
}

/* One part of it, when the person wants that. */
static int take_away(struct back *b, const struct leftover *l, struct plan *p, struct err *e)
{
	char key[64];
	int r = 1;

	(void)snprintf(key, sizeof(key), "remove_%s", l->name);
	if (b->per_group)
		r = ask_yes(&b->ask, key, true, "%s", l->question);
	/* undo takes back what is recorded, and nothing else. */
	else if (!b->only)
		r = 0;
	if (r <= 0)
		return r < 0 ? err_oom(e) : 0;
	if (b->app->dry_run)
		return plan_to_text(p, b->app->engine->host, &b->show) < 0 ? err_oom(e) : 0;
	r = plan_apply(p, &b->app->engine->state, b->app->engine->host, b->app->engine->lock_timeout_s, NULL,
		       e);
	if (r < 0)
		return r;
	return json_array_append_new(b->report, json_string(l->name)) < 0 ? err_oom(e) : 0;
}

static int print_back(struct back *b, struct err *e)
{
	size_t n = json_array_size(b->report);

	/* The other half of an upgrade has the word. */
	if (b->only && !b->recorded_only && b->app->json)
		return 0;

	if (b->app->json)
		return out_json("vgpu-remove", json_pack("{s:b, s:O, s:s}", "dry_run", (int)b->app->dry_run,
							 "groups", b->report, "steps", strbuf_str(&b->show)));
	out_text("%s", strbuf_str(&b->show));
	if (n == 0)
		out_text("nothing to take back\n");
	else if (!b->app->dry_run)
		out_text("taken back; a reboot makes it complete\n");
	return strbuf_error(&b->show) < 0 ? err_oom(e) : 0;
}

static void back_done(struct back *b)
{
	json_decref(b->said);
	json_decref(b->report);
	strbuf_done(&b->show);
	vgpu_asker_done(&b->ask);
}

/* What nobody recorded and is there all the same, one question each. */
static int take_away_leftovers(struct back *b, struct err *e)
{
	int r = 0;

	for (const struct leftover *l = leftovers; r >= 0 && !b->recorded_only && l->name; l++) {
		_cleanup_(plan_freep) struct plan *p = NULL;

		if (b->only && !l->part_of_upgrade)
			continue;
		r = leftover_plan(b->app->engine, l, &p, e);
		if (r >= 0 && p->n_ops > 0)
			r = take_away(b, l, p, e);
	}
	return r;
}

static int take_back_run(struct back *b, struct err *e)
{
	struct app *app = b->app;
	int r = b->target && b->said && b->report ? 0 : err_oom(e);

	if (r >= 0 && !app->dry_run)
		r = vgpu_may_change(app, e);
	if (r >= 0 && app->engine->store)
		r = take_back_all(b, e);
	if (r >= 0 && app->engine->store)
		r = take_away_leftovers(b, e);
	if (r >= 0 && app->engine->store && !b->only && !b->kept && !app->dry_run &&
	    json_array_size(b->report) > 0)
		r = forget(app, e);
	if (r >= 0 && !app->dry_run)
		vgpu_dir_drop(app->engine->host);
	return r < 0 ? r : print_back(b, e);
}

static int take_back(struct app *app, const struct vgpu_common *o, const char *const *only, bool ask,
		     bool force, bool recorded_only, struct err *e)
{
	_cleanup_free_ char *target = report_target_name(app->engine->host);
	_cleanup_(back_done) struct back b = { .app = app,
					       .target = target,
					       .only = only,
					       .per_group = ask,
					       .force = force,
					       .recorded_only = recorded_only,
					       .said = json_object(),
					       .report = json_array(),
					       .show = STRBUF_INIT(STRBUF_TEXT_MAX) };
	int r = vgpu_asker_open(app, o, &b.ask, e);

	return r < 0 ? r : take_back_run(&b, e);
}

int vgpu_take_back(struct app *app, const struct vgpu_common *o, bool ask, bool force, struct err *e)
{
	return take_back(app, o, NULL, ask, force, false, e);
}

int vgpu_take_back_groups(struct app *app, const struct vgpu_common *o, const char *const *groups,
			  struct err *e)
{
	return take_back(app, o, groups, false, true, false, e);
}

int vgpu_take_back_recorded(struct app *app, const struct vgpu_common *o, const char *const *groups,
			    struct err *e)
{
	return take_back(app, o, groups, false, true, true, e);
}

static int undo_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct vgpu_opts *o = opts;

	return vgpu_take_back(app, &o->common, false, o->force, e);
}

static int remove_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct vgpu_opts *o = opts;

	return vgpu_take_back(app, &o->common, true, o->force, e);
}

#define DESCRIPTION                                                                                          \
	"Step 1 prepares a Proxmox VE 7, 8 or 9 host for NVIDIA vGPU: package repositories, packages and "   \
	"headers, what unlocks a consumer card, a kernel the driver builds for, the key for Secure Boot, "   \
	"the IOMMU, passthrough of the other cards, and the modules loaded at boot. Step 2, after the "      \
	"reboot, has the host driver: it is fetched and checked (and patched for an unlocked card), the "    \
	"vendor's installer runs, the daemons and the virtual functions are switched on, and what came of "  \
	"it is looked at. Where something of the next boot is missing (the key's confirmation, the pinned "  \
	"kernel), step 2 says so and changes nothing else.\n\n"                                              \
	"Everything is decided first; then each group is applied as one recorded deployment, so that an "    \
	"interrupted run is taken back and continued, a second run changes nothing, and undo and remove "    \
	"give the former bytes back; the driver is taken back by its own uninstaller.\n\n"                   \
	"Consumer and workstation cards are unlocked by two projects of other people, which are no part of " \
	"this program: vgpu-proxmox (patches, AGPL-3.0-or-later, "                                           \
	"https://gitlab.com/polloloco/vgpu-proxmox) "                                                        \
	"and vgpu_unlock-rs (a library, MIT, https://github.com/mbilker/vgpu_unlock-rs). They are named, "   \
	"asked about and fetched from there.\n\n"                                                            \
	"Without a terminal no question waits: the answers file is asked, then --yes, and what neither "     \
	"answers is no. --dry-run shows every file change as a diff and every command.\n\n"                  \
	"The answers file is one JSON object. Its keys: proceed, dist_upgrade, no_card, card, unknown_card " \
	"(native, unlock or stop), branch, unlock, passthrough, kernel_pin, iommu_pt, mok_password, "        \
	"vendor_helper, "                                                                                    \
	"no_iommu, kernel_unfit, reboot, license, license_kind (vendor or server), license_server, "         \
	"license_address, "                                                                                  \
	"license_port, and remove_GROUP for vgpu remove. --yes answers proceed, unlock, kernel_pin, "        \
	"iommu_pt, license_server and remove_GROUP with yes, the others with no; remove_license_keys is "    \
	"one of the others, for guests' tokens are signed with those keys.\n\n"                              \
	"Exit status 10 when step 2 installed the driver and something about it is not well."

const struct cmd cmd_vgpu_step = {
	.name = "vgpu",
	.sub = "step",
	.summary = "prepare this Proxmox VE host (step 1), install the driver (step 2)",
	.args = "1|2",
	.min_args = 1,
	.max_args = 1,
	.description = DESCRIPTION,
	.examples =
	    "nvdriver vgpu step 1 --yes --card 0000:41:00.0\n  without a question\n"
	    "nvdriver vgpu step 2 --file NVIDIA-Linux-x86_64-580.105.06-vgpu-kvm.run\n  with the driver "
	    "from NVIDIA's licensing portal\n",
	.options = step_options,
	.opts_size = sizeof(struct vgpu_common),
	.run = step_cmd,
};

const struct cmd cmd_vgpu_plan = {
	.name = "vgpu",
	.sub = "plan",
	.summary = "show what step 1, or with --step 2 the other one, would do",
	.description = "The same as vgpu step 1 --dry-run: every file change as a diff and every command in "
		       "order, for this host "
		       "or "
		       "for a captured directory (nvdriver doctor --capture). Changes nothing and asks "
		       "nothing: questions "
		       "count as "
		       "answered with --yes unless the answers file says otherwise.",
	.examples = "nvdriver vgpu plan --fixture /tmp/captured\n  what a support question is about\n",
	.options = plan_options,
	.opts_size = sizeof(struct vgpu_common),
	.flags = CMD_STORE_READ,
	.run = plan_cmd,
};

const struct cmd cmd_vgpu_undo = {
	.name = "vgpu",
	.sub = "undo",
	.summary = "take back every change made for vGPU",
	.description =
	    "Takes back all deployments of vgpu step, the newest first: files get their former bytes, "
	    "commands run "
	    "their "
	    "opposite. Files somebody changed since are named and nothing is touched, unless --force.",
	.options = undo_options,
	.opts_size = sizeof(struct vgpu_opts),
	.flags = CMD_STORE_READ,
	.run = undo_cmd,
};

const struct cmd cmd_vgpu_remove = {
	.name = "vgpu",
	.sub = "remove",
	.summary = "take back the vGPU set-up, one question a group",
	.description =
	    "Like vgpu undo, and asks for each group whether it shall go: hold, hook, functions, services, "
	    "driver, "
	    "download; modules, cards, boot, secureboot, kernel, unlock_config, unlock, unlock_sources, "
	    "packages, repositories. With --yes all go.",
	.options = undo_options,
	.opts_size = sizeof(struct vgpu_opts),
	.flags = CMD_STORE_READ,
	.run = remove_cmd,
};
