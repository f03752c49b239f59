/* SPDX-License-Identifier: Apache-2.0
 *
 * A vGPU for a virtual machine. */
#include "cmd-vgpu.h"

#include "log.h"
#include "vgpu-attach.h"
#include "vgpu-plan.h"

struct attach_opts {
	const char *card, *mapping;
};

static const struct opt attach_options[] = {
	{ "card", 0, "ADDRESS", "of this card or function, instead of any that has the type free", OPT_STRING,
	  offsetof(struct attach_opts, card) },
	{ "mapping", 0, "NAME", "by this resource mapping of the cluster, instead of an address", OPT_STRING,
	  offsetof(struct attach_opts, mapping) },
	{ 0 },
};

/* The card is told by what is on the host; on one that cannot be looked at there are no hints for it. */
static bool is_unlock(struct app *app, const struct attach_opts *o)
{
	static const struct vgpu_common nothing;
	_cleanup_(err_done) struct err ignored = ERR_INIT;
	_cleanup_(step1_done) struct step1 s = vgpu_step1_of(app, &nothing, NULL);
	size_t at;

	return step1_open(&s, &ignored) >= 0 && cards_choose(&s.cards, o->card, &at, &ignored) >= 0 &&
	       s.cards.v[at].support == CARD_UNLOCK;
}

static int tell(struct app *app, const struct attach_request *q, const struct attach_result *r,
		json_t *report)
{
	json_t *notes = json_array();

	for (char **n = r->notes; notes && n && *n; n++) {
		(void)json_array_append_new(notes, json_string(*n));
		if (!app->json)
			out_text("note: %s\n", *n);
	}
	if (json_object_set_new(report, "notes", notes) < 0)
		return -ENOMEM;
	if (app->json)
		return out_json("vgpu-attach", json_incref(report));
	if (!app->dry_run)
		out_text("take it back with: qm set %s -delete hostpci%u, or nvdriver vgpu remove\n",
			 q->guest, r->slot);
	return 0;
}

static int attach_cmd(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	const struct attach_opts *o = opts;
	struct attach_request q = { .en = app->engine,
				    .guest = argv[0],
				    .type = argv[1],
				    .function = o->card,
				    .mapping = o->mapping,
				    .is_unlock = is_unlock(app, o) };
	_cleanup_(attach_result_done) struct attach_result result = { 0 };
	_cleanup_(plan_freep) struct plan *p = NULL;
	json_auto_t *report = NULL;
	int r = app->dry_run ? 0 : vgpu_may_change(app, e);

	if (r >= 0)
		r = attach_plan(&q, &result, &p, e);
	if (r < 0)
		return r;
	report = json_pack("{s:b, s:s, s:s, s:s?, s:s?, s:[]}", "dry_run", (int)app->dry_run, "guest",
			   q.guest, "name", result.name, "function", q.mapping ? NULL : result.function,
			   "mapping", q.mapping, "groups");
	if (!report || json_object_set_new(report, "slot", json_integer(result.slot)) < 0 ||
	    json_object_set_new(report, "type", json_sprintf("nvidia-%u", result.type)) < 0)
		return err_oom(e);
	if (app->dry_run)
		r = vgpu_show_plan(app, "attach", p, report, e);
	else
		r = plan_apply(p, &app->engine->state, app->engine->host, app->engine->lock_timeout_s, NULL,
			       e);
	if (r >= 0 && !app->dry_run && !app->json)
		out_text("%s\n", p->ops[0].sentence);
	if (r < 0)
		return r;
	return tell(app, &q, &result, report) < 0 ? err_oom(e) : 0;
}

const struct cmd cmd_vgpu_attach = {
	.name = "vgpu",
	.sub = "attach",
	.summary = "give a virtual machine a vGPU",
	.args = "VMID TYPE",
	.min_args = 2,
	.max_args = 2,
	.description = "Adds a vGPU of this type (nvidia-558, 558 or its name, as vgpu status lists them) to "
		       "a virtual machine of "
		       "Proxmox VE, at its first free hostpci place: on the first function that has the type "
		       "free, or one of --card, or "
		       "through a --mapping. It is one recorded command (qm set), which vgpu remove or undo "
		       "takes back. The device itself "
		       "is made by Proxmox VE whenever the machine starts.",
	.examples = "nvdriver vgpu attach 100 nvidia-558\n  whichever function has that type free\n",
	.options = attach_options,
	.opts_size = sizeof(struct attach_opts),
	.run = attach_cmd,
};
