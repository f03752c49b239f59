/* SPDX-License-Identifier: Apache-2.0
 *
 * Step 1 as a person runs it: facts, questions, the plan, each group applied, the reboot. */
#include "cmd-vgpu.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "spawn.h"
#include "ui.h"
#include "vgpu-state.h"
#include "vgpu-step1.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VGPU_LOG    "var/log/nvdriver/vgpu.log"
#define ANSWERS_MAX ((size_t)1 << 20)
#define STATE_MAX   ((size_t)1 << 20)

static int prompt(const char *text, char **ret, void *arg _unused_)
{
	char *line = NULL;
	size_t size = 0;

	(void)fprintf(stderr, "%s", text);
	(void)fflush(stderr);
	if (getline(&line, &size, stdin) < 0) {
		free(line);
		line = strdup("");
	}
	*ret = line;
	return line ? 0 : -ENOMEM;
}

int vgpu_asker_open(struct app *app, const struct vgpu_common *o, struct asker *ret, struct err *e)
{
	struct asker a = { .yes = app->yes };
	json_t *answers = NULL;
	int r = 0;

	if (o->answers) {
		r = jload_at(AT_FDCWD, o->answers, ANSWERS_MAX, &answers, e);
		if (r >= 0)
			r = json_is_object(answers)
				? ask_check_answers(answers, e)
				: err_set(e, ERR_CONFIG, "the answers are not one JSON object");
	}
	if (r < 0) {
		json_decref(answers);
		(void)err_recode(e, ERR_CONFIG);
		return err_object(e, "%s", o->answers);
	}
	a.answers = answers;
	/* A dry run shows what --yes would do and asks nothing. */
	a.yes |= app->dry_run;
	a.prompt = isatty(STDIN_FILENO) ? prompt : NULL;
	*ret = a;
	return 0;
}

void vgpu_asker_done(struct asker *a)
{
	json_decref((json_t *)a->answers);
	a->answers = NULL;
}

/* Unless another was named. One that cannot be written stops nothing. */
static void role_log(struct app *app)
{
	int fd = app->log_fd >= 0 ? -1 : path_open_append(app->engine->host->root_fd, VGPU_LOG, 0640);

	if (fd < 0)
		return;
	app->log_fd = fd;
	log_role(fd, "vgpu");
}

int vgpu_may_change(struct app *app, struct err *e)
{
	if (!tools_may_change(app->engine->host)) {
		(void)err_set(e, ERR_VGPU_NOT_RUNNING, "%s is not the running machine", app->root);
		return err_object(e, "%s", app->root);
	}
	if (app->engine->host->is_running && geteuid() != 0)
		return err_set(e, ERR_VGPU_NOT_ROOT, "only root can change this host");
	role_log(app);
	return 0;
}

/* -- showing -- */

static void print_banner(const struct step1 *s)
{
	log_info("nvdriver %s, Proxmox VE %s, kernel %s", NVDRIVER_VERSION, s->machine.pve_version,
		 s->machine.kernel);
}

json_t *vgpu_card_json(const struct step1 *s)
{
	const struct card *c = s->has_card ? &s->cards.v[s->card] : NULL;

	if (!c)
		return json_null();
	return json_pack("{s:s, s:o, s:s?, s:s}", "address", c->pci.address, "device_id",
			 json_sprintf("%04x", c->pci.device), "name", c->info.name, "support",
			 card_support_word(s->support));
}

static json_t *report_new(const struct step1 *s, bool dry_run)
{
	json_t *notes = json_array();

	for (char **n = s->notes; notes && n && *n; n++)
		(void)json_array_append_new(notes, json_string(*n));
	return json_pack("{s:b, s:s, s:s, s:s?, s:s?, s:o, s:o, s:[]}", "dry_run", (int)dry_run,
			 "pve_version", s->machine.pve_version, "kernel", s->machine.kernel, "branch",
			 s->driver ? s->driver->branch : NULL, "kernel_to_pin", s->kernel.release, "card",
			 vgpu_card_json(s), "notes", notes, "groups");
}

/* Whose work is fetched, before it is. */
static void print_projects(const struct step1 *s)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);
	struct unlock_request q = step1_unlock(s);

	if (step1_needs_patch(s) && unlock_must_fetch(&q) && unlock_notice(&q, &b) >= 0)
		out_text("%s", strbuf_str(&b));
}

static void print_decisions(const struct step1 *s)
{
	const struct card *c = s->has_card ? &s->cards.v[s->card] : NULL;

	if (c)
		out_text("card %s: %s, %s\n", c->pci.address, c->info.name ? c->info.name : "unknown",
			 card_verdict(s->support));
	if (s->driver)
		out_text("vGPU branch %s, host driver %s\n", s->driver->branch, s->driver->version);
	print_projects(s);
}

static void print_notes(const struct step1 *s)
{
	for (char **n = s->notes; n && *n; n++)
		out_text("note: %s\n", *n);
}

/* -- the dry run -- */

static int show_group(struct app *app, const char *group, const struct plan *p, json_t *report)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	json_t *plan = NULL;
	int r;

	if (app->json) {
		r = plan_to_json(p, &plan);
		return r < 0 ? r
			     : json_array_append_new(json_object_get(report, "groups"),
						     json_pack("{s:s, s:o}", "name", group, "plan", plan));
	}
	r = plan_to_text(p, app->engine->host, &text);
	if (r >= 0)
		out_text("%s", strbuf_str(&text));
	return r;
}

int vgpu_show_plan(struct app *app, const char *group, struct plan *p, json_t *report, struct err *e)
{
	int r;

	if (p->n_ops == 0)
		return 0;
	r = plan_check(p, app->engine->host, e);
	if (r != 0)
		return r < 0 ? r : 0;
	return show_group(app, group, p, report) < 0 ? err_oom(e) : 1;
}

static int show_all(struct app *app, struct step1 *s, struct err *e)
{
	json_t *report = report_new(s, true);
	unsigned shown = 0;
	int r = report ? 0 : err_oom(e);

	if (!app->json)
		print_decisions(s);
	for (const struct step1_group *g = step1_groups; r >= 0 && g->name; g++) {
		_cleanup_(plan_freep) struct plan *p = NULL;

		r = step1_plan(s, g, &p, e);
		if (r >= 0)
			r = vgpu_show_plan(app, g->name, p, report, e);
		shown += r > 0;
	}
	if (r >= 0 && app->json)
		return out_json("vgpu-step", report);
	json_decref(report);
	if (r < 0)
		return r;
	if (!shown)
		out_text("nothing to do: step 1 is complete\n");
	print_notes(s);
	return 0;
}

/* -- doing -- */

/* Only what the next boot sees asks for one. */
static bool needs_reboot(const char *group)
{
	static const char *const later[] = { "upgrade", "kernel", "secureboot", "boot", "cards", "modules" };

	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		if (strcmp(group, later[i]) == 0)
			return true;
	return false;
}

int vgpu_apply_plan(struct app *app, const char *group, struct plan *p, struct vgpu_state *st, json_t *report,
		    struct err *e)
{
	_cleanup_free_ char *txid = NULL;
	int r;

	if (p->n_ops == 0)
		return 0;
	log_info("%s", p->title);
	r = plan_apply(p, &app->engine->state, app->engine->host, app->engine->lock_timeout_s, &txid, e);
	if (r <= 0)
		return r;
	if (!app->json)
		for (size_t i = 0; i < p->n_ops; i++)
			if (strncmp(p->ops[i].sentence, "(when", 5) != 0)
				out_text("%s\n", p->ops[i].sentence);
	if (json_array_append_new(json_object_get(report, "groups"),
				  json_pack("{s:s, s:s}", "name", group, "deployment", txid)) < 0 ||
	    vgpu_state_step(st, group, "done") < 0)
		return err_oom(e);
	r = vgpu_state_save(app->engine, st, e);
	return r < 0 ? r : 1;
}

static int apply_group(struct app *app, struct step1 *s, struct vgpu_state *st, const struct step1_group *g,
		       json_t *report, bool *reboot, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = step1_plan(s, g, &p, e);

	if (r >= 0)
		r = vgpu_apply_plan(app, g->name, p, st, report, e);
	*reboot |= r > 0 && needs_reboot(g->name);
	return r;
}

const char *vgpu_beside_program(const char *name, struct vgpu_beside *ret)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *slash;
	int len;

	if (n <= 0)
		return NULL;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	len = slash ? snprintf(ret->path, sizeof(ret->path), "%.*s/%s", (int)(slash - exe), exe, name) : -1;
	return len > 0 && (size_t)len < sizeof(ret->path) && access(ret->path, F_OK) == 0 ? ret->path : NULL;
}

/* What the script took from its environment when nothing stronger said it. */
static int import_environment(struct vgpu_state *st, struct err *e)
{
	static const char *const keys[] = {
		"URL", "FILE", "DRIVER_VERSION", "VGPU_SUPPORT", "VGPU_HELPER_STATUS", "FASTAPI_WARNING"
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		_cleanup_free_ char *line = NULL;
		const char *value = getenv(keys[i]);
		int r;

		if (!value || !*value || vgpu_state_get(st, keys[i]))
			continue;
		line = str_printf("%s=%s\n", keys[i], value);
		r = line ? vgpu_state_import(st, SPAN(line), e) : err_oom(e);
		if (r < 0)
			return err_wrap(e, "environment");
	}
	return 0;
}

int vgpu_import_state(const struct vgpu_common *o, struct vgpu_state *st, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct vgpu_beside beside;
	const char *from = o->import ? o->import : vgpu_beside_program("config.txt", &beside);
	int r;

	if (!from || vgpu_state_get(st, VGPU_IMPORTED))
		return import_environment(st, e);
	r = read_file_at(AT_FDCWD, from, STATE_MAX, &text, NULL);
	if (r < 0)
		r = err_errno(e, r, "cannot read %s", from);
	else
		r = vgpu_state_import(st, SPAN(text), e);
	if (r < 0)
		return err_object(e, "%s", from);
	log_info("the script's state in %s is taken over", from);
	if (vgpu_state_set(st, VGPU_IMPORTED, from) < 0)
		return err_oom(e);
	return import_environment(st, e);
}

static int remember(struct app *app, const struct vgpu_common *o, const struct step1 *s,
		    struct vgpu_state *st, const char *step, struct err *e)
{
	_cleanup_free_ char *majors = step1_majors(s), *device = NULL;
	const struct card *c = s->has_card ? &s->cards.v[s->card] : NULL;
	const struct {
		const char *key, *value;
	} values[] = {
		{ "STEP", step },
		{ "VGPU_SUPPORT", c ? card_support_word(s->support) : "Unknown" },
		{ "DRIVER_VERSION", majors && *majors ? majors : NULL },
		{ "CARD", c ? c->pci.address : NULL },
		{ "BRANCH", s->driver ? s->driver->branch : NULL },
		{ "KERNEL_DOWNGRADED", s->kernel.release ? "1" : vgpu_state_get(st, "KERNEL_DOWNGRADED") },
		/* Guests of these branches take more to be licensed by a server of one's own. */
		{ "FASTAPI_WARNING", s->driver && catalog_major(s->driver->branch) >= 18
					 ? "1"
					 : vgpu_state_get(st, "FASTAPI_WARNING") },
		{ "URL", o->url ? o->url : vgpu_state_get(st, "URL") },
		{ "FILE", o->file ? o->file : vgpu_state_get(st, "FILE") },
	};

	if (c)
		device = str_printf("%04x", c->pci.device);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		_cleanup_free_ char *copy = values[i].value ? strdup(values[i].value) : NULL;

		if ((values[i].value && !copy) || vgpu_state_set(st, values[i].key, copy) < 0)
			return err_oom(e);
	}
	if (!majors || (c && !device) || vgpu_state_set(st, "CARD_DEVICE", device) < 0)
		return err_oom(e);
	return vgpu_state_save(app->engine, st, e);
}

int vgpu_offer_reboot(struct app *app, const struct asker *a, const char *why, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("reboot");
	int r = ask_yes(a, "reboot", false, "%s Reboot now? ", why);

	if (r <= 0)
		return r < 0 ? err_oom(e) : 0;
	if (!app->engine->host->is_running) {
		log_info("a captured machine does not reboot");
		return 0;
	}
	spawn_argv(&s, "systemctl", "reboot", NULL);
	return spawn_check(&s, e);
}

static int finish(struct app *app, const struct step1 *s, json_t *report, bool reboot, struct err *e)
{
	if (app->json) {
		if (json_object_set_new(report, "reboot_required", json_boolean(reboot)) < 0)
			return err_oom(e);
		return out_json("vgpu-step", json_incref(report));
	}
	print_notes(s);
	if (json_array_size(json_object_get(report, "groups")) == 0)
		out_text("nothing to do: step 1 is complete\n");
	out_text("%s: nvdriver vgpu step 2\n", reboot ? "a reboot is needed; then run" : "next");
	return 0;
}

/* The vendor's helper, where the person wants it, once its package is there. */
static int run_helper(struct app *app, struct step1 *s, struct vgpu_state *st, struct err *e)
{
	int r = s->helper ? step1_run_helper(s, e) : 0;

	s->helper = false;
	if (r <= 0)
		return r;
	if (vgpu_state_set(st, "VGPU_HELPER_STATUS", "done") < 0)
		return err_oom(e);
	return vgpu_state_save(app->engine, st, e);
}

static int apply_all(struct app *app, const struct vgpu_common *o, struct step1 *s, struct vgpu_state *st,
		     struct err *e)
{
	json_t *report = report_new(s, false);
	bool reboot = false;
	int r = report ? remember(app, o, s, st, "1", e) : err_oom(e);

	if (!app->json)
		print_decisions(s);
	for (const struct step1_group *g = step1_groups; r >= 0 && g->name; g++) {
		r = apply_group(app, s, st, g, report, &reboot, e);
		if (r >= 0 && strcmp(g->name, "packages") == 0)
			r = run_helper(app, s, st, e);
	}
	if (r >= 0)
		r = remember(app, o, s, st, "2", e);
	if (r >= 0)
		r = finish(app, s, report, reboot, e);
	json_decref(report);
	if (r >= 0 && reboot)
		r = vgpu_offer_reboot(app, s->ask, "Step 1 is complete.", e);
	return r;
}

static int run_for_real(struct app *app, const struct vgpu_common *o, struct step1 *s, struct err *e)
{
	_cleanup_(vgpu_state_done) struct vgpu_state st = { .lock = LOCK_INIT };
	int r = vgpu_may_change(app, e);

	if (r >= 0)
		r = vgpu_state_open(app->engine, true, &st, e);
	if (r >= 0)
		r = vgpu_import_state(o, &st, e);
	s->helper_done = r >= 0 && vgpu_state_get(&st, "VGPU_HELPER_STATUS") != NULL;
	if (r >= 0)
		r = step1_decide(s, e);
	if (r >= 0)
		r = step1_check(s, e);
	if (r < 0)
		return r;
	r = ask_yes(s->ask, "proceed", true, "Prepare this host now (nvdriver vgpu plan shows every step)? ");
	if (r <= 0)
		return r < 0 ? err_oom(e) : err_set(e, ERR_DECLINED, "nothing was changed");
	return apply_all(app, o, s, &st, e);
}

struct step1 vgpu_step1_of(struct app *app, const struct vgpu_common *o, const struct asker *ask)
{
	static struct vgpu_beside beside; /* borrowed by the struct */

	return (struct step1){ .en = app->engine,
			       .gpu_db_beside = vgpu_beside_program("gpu_info.db", &beside),
			       .ask = ask,
			       .card_wanted = o->card,
			       .branch_wanted = o->branch,
			       .gpu_db = o->gpu_db,
			       .patches_url = o->unlock_patches,
			       .source_url = o->unlock_source,
			       .library = o->unlock_library,
			       .unsupported = o->unsupported,
			       .rollback_s = o->rollback_s,
			       .own_file = o->url || o->file,
			       .dry_run = app->dry_run };
}

int vgpu_step_run(struct app *app, const struct vgpu_common *o, const char *step, struct err *e)
{
	if (strcmp(step, "1") == 0)
		return vgpu_step1_run(app, o, e);
	if (strcmp(step, "2") == 0)
		return vgpu_step2_run(app, o, e);
	return err_set(e, ERR_USAGE, "there is no step '%s'", step);
}

int vgpu_step1_run(struct app *app, const struct vgpu_common *o, struct err *e)
{
	_cleanup_(vgpu_asker_done) struct asker asker = { 0 };
	_cleanup_(step1_done) struct step1 s = vgpu_step1_of(app, o, &asker);
	int r = vgpu_asker_open(app, o, &asker, e);

	if (r >= 0)
		r = step1_open(&s, e);
	if (r < 0)
		return r;
	print_banner(&s);
	if (!app->dry_run)
		return run_for_real(app, o, &s, e);
	r = step1_decide(&s, e);
	if (r >= 0)
		r = step1_check(&s, e);
	return r < 0 ? r : show_all(app, &s, e);
}
