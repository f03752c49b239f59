/* SPDX-License-Identifier: Apache-2.0
 *
 * Step 2 as a person runs it: what is decided, the driver's file, each group applied, and what came of it. */
#include "cmd-vgpu.h"

#include "log.h"
#include "strbuf.h"
#include "ui.h"
#include "vgpu-doctor.h"
#include "vgpu-plan.h"
#include "vgpu-step2.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <string.h>

/* One run: what is set up, and what is told of it. */
struct run {
	struct app *app;
	const struct vgpu_common *o;
	struct vgpu_state *state;
	struct step2 t;
	json_t *report; /* owned */
};

static void run_done(struct run *r)
{
	step2_done(&r->t);
	json_decref(r->report);
}

static int report_new(struct run *r, struct err *e)
{
	const struct step2 *t = &r->t;

	r->report = json_pack("{s:b, s:s, s:s, s:o, s:s?, s:s?, s:[]}", "dry_run", (int)r->app->dry_run,
			      "pve_version", t->s.machine.pve_version, "kernel", t->s.machine.kernel, "card",
			      vgpu_card_json(&t->s), "branch", step2_branch(t), "version",
			      t->s.driver ? t->s.driver->version : NULL, "groups");
	return r->report ? 0 : err_oom(e);
}

static int put(struct run *r, const char *key, json_t *value, struct err *e)
{
	return json_object_set_new(r->report, key, value) < 0 ? err_oom(e) : 0;
}

static void print_decisions(const struct run *r)
{
	const struct step2 *t = &r->t;
	const struct card *c = &t->s.cards.v[t->s.card];

	if (r->app->json)
		return;
	out_text("card %s: %s, %s\n", c->pci.address, c->info.name ? c->info.name : "unknown",
		 card_verdict(t->s.support));
	if (t->s.driver)
		out_text("vGPU branch %s, host driver %s\n", t->s.driver->branch, t->s.driver->version);
	if (t->path)
		out_text("file %s\n", t->path);
}

static int put_notes(struct run *r, struct err *e)
{
	json_t *notes = json_array();

	for (char **n = r->t.s.notes; notes && n && *n; n++) {
		(void)json_array_append_new(notes, json_string(*n));
		if (!r->app->json)
			out_text("note: %s\n", *n);
	}
	return put(r, "notes", notes, e);
}

static int out_report(struct run *r)
{
	return r->app->json ? out_json("vgpu-step", json_incref(r->report)) : 0;
}

/* -- the dry run -- */

static int show_groups(struct run *r, struct err *e)
{
	unsigned shown = 0;
	int rc = 0;

	for (const struct step2_group *g = step2_groups; rc >= 0 && g->name; g++) {
		_cleanup_(plan_freep) struct plan *p = NULL;

		rc = step2_plan(&r->t, g, &p, e);
		if (rc >= 0)
			rc = vgpu_show_plan(r->app, g->name, p, r->report, e);
		shown += rc > 0;
	}
	if (rc >= 0 && shown == 0 && !r->app->json)
		out_text("nothing to do: step 2 is complete\n");
	return rc;
}

static int dry_run(struct run *r, struct err *e)
{
	int rc = step2_obtain(&r->t, e);

	if (rc >= 0)
		rc = report_new(r, e);
	if (rc < 0)
		return rc;
	print_decisions(r);
	if (r->t.reboot && vgpu_note(&r->t.s.notes, "a reboot comes first: %s", r->t.reboot) < 0)
		return err_oom(e);
	rc = show_groups(r, e);
	if (rc >= 0)
		rc = put_notes(r, e);
	return rc < 0 ? rc : out_report(r);
}

/* -- doing -- */

static int apply_group(struct run *r, const struct step2_group *g, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int rc = step2_plan(&r->t, g, &p, e);

	return rc < 0 ? rc : vgpu_apply_plan(r->app, g->name, p, r->state, r->report, e);
}

static int apply_groups(struct run *r, const char *only, struct err *e)
{
	int rc = 0;

	for (const struct step2_group *g = step2_groups; rc >= 0 && g->name; g++)
		if (!only || strcmp(g->name, only) == 0)
			rc = apply_group(r, g, e);
	return rc;
}

/* Something of the next boot is needed first: queue the key where that is it, and say so. */
static int stop_for_reboot(struct run *r, struct err *e)
{
	enum mok_state mok = r->t.s.mok;
	int rc = mok == MOK_NO_KEY || mok == MOK_ABSENT ? apply_groups(r, "secureboot", e) : 0;

	if (rc >= 0)
		rc = put(r, "reboot_required", json_true(), e);
	if (rc >= 0)
		rc = put(r, "reason", json_string(r->t.reboot), e);
	if (rc >= 0)
		rc = put_notes(r, e);
	if (rc >= 0)
		rc = out_report(r);
	if (rc < 0)
		return rc;
	if (!r->app->json)
		out_text("a reboot is needed: %s\nthen run: nvdriver vgpu step 2\n", r->t.reboot);
	return vgpu_offer_reboot(r->app, r->t.s.ask, "The driver comes after a reboot.", e);
}

static int remember(struct run *r, struct err *e)
{
	const struct step2 *t = &r->t;
	const struct {
		const char *key, *value;
	} values[] = {
		{ "STEP", "2" },
		{ "VGPU_SUPPORT", card_support_word(t->s.support) },
		{ "CARD", t->s.cards.v[t->s.card].pci.address },
		{ "BRANCH", step2_branch(t) },
		{ "URL", t->url },
		{ "FILE", t->file },
		{ "FASTAPI_WARNING", step2_branch(t) && catalog_major(step2_branch(t)) >= 18 ? "1" : NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		_cleanup_free_ char *copy = values[i].value ? strdup(values[i].value) : NULL;

		if ((values[i].value && !copy) || vgpu_state_set(r->state, values[i].key, copy) < 0)
			return err_oom(e);
	}
	return vgpu_state_save(r->app->engine, r->state, e);
}

/* -- afterwards -- */

/* Output of a program that exists to show something. */
static void show_output(struct run *r, const char *title, const char *const *argv)
{
	_cleanup_(answer_done) struct answer a = { 0 };
	int rc = tools_ask(r->app->engine->host, argv, &a, NULL);

	if (rc < 0 || a.status != 0)
		out_text("%s gave no answer\n", title);
	else if (*a.out)
		out_text("-- %s\n%s", title, a.out);
}

static void print_summary(struct run *r)
{
	const struct step2 *t = &r->t;
	bool functions = t->s.cards.v[t->s.card].total_vfs > 0 && t->s.support != CARD_UNLOCK;

	if (r->app->json)
		return;
	if (functions)
		show_output(r, "lspci -d 10de:", WORDS("lspci", "-d", "10de:"));
	show_output(r, "nvidia-smi", WORDS("nvidia-smi"));
	out_text(
	    "\nThe host is set up: driver %s%s%s.\n"
	    "  look    nvdriver vgpu status; nvidia-smi; %s\n"
	    "  attach  VM > Hardware > Add > PCI Device > %s > MDev Type (a Q profile for most desktops)\n"
	    "  guest   install the guest driver of this branch, then nvidia-smi there\n",
	    t->version	  ? t->version
	    : t->s.driver ? t->s.driver->version
			  : "",
	    step2_branch(t) ? ", branch " : "", step2_branch(t) ? step2_branch(t) : "",
	    functions ? "nvidia/creatable_vgpu_types of each virtual function" : "mdevctl types",
	    functions ? "a virtual function" : "the GPU");
}

static bool has_failed(const json_t *checks, const char *check)
{
	const json_t *row;
	size_t i;

	json_array_foreach (checks, i, row)
		if (strcmp(ui_str(row, "check", ""), check) == 0 &&
		    strcmp(ui_str(row, "result", ""), "fail") == 0)
			return true;
	return false;
}

/* What came of it. A finding is a result: the set-up is remembered, so that the next run goes on. */
static int verify(struct run *r, unsigned *ret_findings, struct err *e)
{
	json_t *checks = NULL;
	int rc = vgpu_verify(r->app->engine, r->t.s.gpu_db_beside, &checks, ret_findings, e);

	if (rc < 0)
		return rc;
	if (!r->app->json)
		ui_checks(checks);
	rc = put(r, "checks", checks, e);
	if (rc >= 0 && has_failed(json_object_get(r->report, "checks"), "signature"))
		return err_set(e, ERR_VGPU_UNSIGNED, "the kernel refuses the nvidia module");
	return rc;
}

/* The last question. A server of one's own belongs into a guest rather than on this host, so --yes does not make one. */
static int offer_licenses(struct run *r, struct err *e)
{
	int rc =
	    r->app->json ? 0 : ask_yes(r->t.s.ask, "license", false, "See to licences for the guests now? ");

	if (rc <= 0)
		return rc < 0 ? err_oom(e) : 0;
	rc = vgpu_license_menu(r->app, r->o, e);
	return rc < 0 ? rc : 0;
}

static int finish(struct run *r, struct err *e)
{
	unsigned findings = 0;
	int rc = verify(r, &findings, e);

	if (rc >= 0 && step2_guidance(&r->t) < 0)
		rc = err_oom(e);
	if (rc >= 0)
		rc = put_notes(r, e);
	if (rc >= 0)
		rc = put(r, "findings", json_integer(findings), e);
	if (rc < 0)
		return rc;
	if (findings == 0) {
		if (!r->app->json && json_array_size(json_object_get(r->report, "groups")) == 0)
			out_text("nothing to do: step 2 is complete\n");
		print_summary(r);
	}
	rc = out_report(r);
	if (rc >= 0 && findings == 0)
		rc = offer_licenses(r, e);
	if (rc >= 0 && findings == 0)
		rc = vgpu_state_remove(r->app->engine, r->state, e);
	return rc < 0 ? rc : findings ? err_exit_status(ERR_FINDING) : 0;
}

static int run_for_real(struct run *r, struct err *e)
{
	int rc = report_new(r, e);

	if (rc < 0)
		return rc;
	if (r->t.reboot) {
		print_decisions(r);
		return stop_for_reboot(r, e);
	}
	rc = ask_yes(r->t.s.ask, "proceed", true,
		     "Install driver %s now (nvdriver vgpu step 2 --dry-run shows every step)? ",
		     r->t.s.driver ? r->t.s.driver->version
		     : r->t.url	   ? r->t.url
				   : r->t.file);
	if (rc <= 0)
		return rc < 0 ? err_oom(e) : err_set(e, ERR_DECLINED, "nothing was changed");
	if (!r->t.have)
		rc = remember(r, e);
	if (rc >= 0)
		rc = step2_obtain(&r->t, e);
	if (rc < 0)
		return rc;
	print_decisions(r);
	rc = apply_groups(r, NULL, e);
	return rc < 0 ? rc : finish(r, e);
}

int vgpu_step2_run(struct app *app, const struct vgpu_common *o, struct err *e)
{
	_cleanup_(vgpu_asker_done) struct asker asker = { 0 };
	_cleanup_(vgpu_state_done) struct vgpu_state state = { .lock = LOCK_INIT };
	_cleanup_(run_done) struct run run = { .app = app, .o = o, .state = &state };
	struct vgpu_beside beside;
	int rc = vgpu_asker_open(app, o, &asker, e);

	run.t = (struct step2){ .state = &state,
				.overrides_beside = vgpu_beside_program("driver_patches.json", &beside),
				.url = o->url,
				.file = o->file,
				.branch = o->branch,
				.driver_patch = o->patch,
				.vgpu_config = o->vgpu_config,
				.accept_md5 = o->accept_md5,
				.hold_kernel = o->hold_kernel,
				.s = vgpu_step1_of(app, o, &asker) };
	if (rc >= 0 && !app->dry_run)
		rc = vgpu_may_change(app, e);
	if (rc >= 0)
		rc = vgpu_state_open(app->engine, !app->dry_run, &state, e);
	if (rc >= 0)
		rc = vgpu_import_state(o, &state, e);
	if (rc >= 0)
		rc = step2_open(&run.t, e);
	if (rc < 0)
		return rc;
	log_info("nvdriver %s, Proxmox VE %s, kernel %s", NVDRIVER_VERSION, run.t.s.machine.pve_version,
		 run.t.s.machine.kernel);
	rc = step2_decide(&run.t, e);
	if (rc < 0)
		return rc;
	return app->dry_run ? dry_run(&run, e) : run_for_real(&run, e);
}
