/* SPDX-License-Identifier: Apache-2.0
 *
 * nvdriver vgpu without a further word: the menu, or the step the set-up has reached. */
#include "cmd-vgpu.h"

#include "parse.h"
#include "vgpu-state.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 3

/* Verbs that are files of their own run by their entry in the table of verbs, with the options the person gave: they share
 * the first members of their option blocks. */
static int run_verb(struct app *app, const char *sub, const struct vgpu_common *o, int argc, char **argv,
		    struct err *e)
{
	for (const struct cmd *const *c = cmd_table; *c; c++) {
		_cleanup_free_ void *opts = NULL;

		if (strcmp((*c)->name, "vgpu") != 0 || !(*c)->sub || strcmp((*c)->sub, sub) != 0)
			continue;
		opts = calloc(1, (*c)->opts_size > sizeof(*o) ? (*c)->opts_size : sizeof(*o));
		if (!opts)
			return err_oom(e);
		memcpy(opts, o, sizeof(*o));
		return (*c)->run(app, opts, argc, argv, e);
	}
	return err_set(e, ERR_UNSUPPORTED, "this nvdriver has no vgpu %s", sub);
}

static int item_step1(struct app *app, const struct vgpu_common *o, struct err *e)
{
	return vgpu_step1_run(app, o, e);
}

static int item_upgrade(struct app *app, const struct vgpu_common *o, struct err *e)
{
	return run_verb(app, "upgrade", o, 0, NULL, e);
}

static int item_remove(struct app *app, const struct vgpu_common *o, struct err *e)
{
	return vgpu_take_back(app, o, true, false, e);
}

static int item_exit(struct app *app _unused_, const struct vgpu_common *o _unused_, struct err *e _unused_)
{
	return 0;
}

static const struct item {
	const char *answer, *text;
	int (*run)(struct app *app, const struct vgpu_common *o, struct err *e);
} items[] = {
	{ "1", "New installation: prepare this host", item_step1 },
	{ "2", "Upgrade: another branch on a host that is set up", item_upgrade },
	{ "3", "Remove: take back what was changed", item_remove },
	{ "4", "Download a host driver", vgpu_fetch_menu },
	{ "5", "Download guest drivers", vgpu_guest_menu },
	{ "6", "License guests", vgpu_license_menu },
	{ "7", "Exit", item_exit },
};

static int menu_text(struct strbuf *b)
{
	(void)strbuf_puts(b, "NVIDIA vGPU on Proxmox VE\n");
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		(void)strbuf_printf(b, "  %s) %s\n", items[i].answer, items[i].text);
	return strbuf_puts(b, "Your choice: ");
}

static const struct item *item_find(const char *answer)
{
	struct span a = span_trim(SPAN(answer));

	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		if (span_eq(a, items[i].answer))
			return &items[i];
	return NULL;
}

static int ask_item(const struct asker *a, const struct item **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(4096);
	const char *valid = "1 to 7";

	if (menu_text(&text) < 0)
		return err_oom(e);
	for (int i = 0; i < TRIES && a->prompt; i++) {
		_cleanup_free_ char *answer = NULL, *again = NULL;

		again = i ? str_printf("That is none of %s.\nYour choice: ", valid) : NULL;
		if (a->prompt(again ? again : strbuf_str(&text), &answer, a->arg) < 0)
			return err_oom(e);
		*ret = item_find(answer);
		if (*ret)
			return 0;
	}
	(void)err_set(e, ERR_USAGE,
		      a->prompt ? "the menu has %s" : "the menu needs a terminal; its items are %s", valid);
	return err_next(
	    e, "nvdriver vgpu step 1, upgrade, remove, fetch, guest and license do the same without it");
}

static int menu_run(struct app *app, const struct vgpu_common *o, struct err *e)
{
	_cleanup_(vgpu_asker_done) struct asker a = { 0 };
	const struct item *item = NULL;
	int r = vgpu_asker_open(app, o, &a, e);

	if (r >= 0)
		r = ask_item(&a, &item, e);
	return r < 0 ? r : item->run(app, o, e);
}

/* Where the set-up is: the person's word, else what is kept, else the script's own state where nobody took it over yet, else
 * the environment as the script had it; NULL = nowhere. */
static int current_step(struct app *app, const struct vgpu_common *o, char **ret, struct err *e)
{
	_cleanup_(vgpu_state_done) struct vgpu_state st = { .lock = LOCK_INIT };
	const char *step = o->step;
	int r = step ? 0 : vgpu_state_open(app->engine, false, &st, e);

	if (r >= 0 && !step && !vgpu_state_get(&st, "STEP"))
		r = vgpu_import_state(o, &st, e);
	if (r < 0)
		return r;
	step = step ? step : vgpu_state_get(&st, "STEP");
	step = step ? step : getenv("STEP");
	*ret = step ? strdup(step) : NULL;
	return step && !*ret ? err_oom(e) : 0;
}

/* The script's way to start: the menu, unless the first step is done. */
static int vgpu_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct vgpu_common *o = opts;
	_cleanup_free_ char *step = NULL;
	int r;

	if (argc > 0)
		return err_set(e, ERR_USAGE, "unknown vgpu command '%s'", argv[0]);
	r = current_step(app, o, &step, e);
	if (r < 0)
		return r;
	if (!step || (!o->step && strcmp(step, "1") == 0))
		return menu_run(app, o, e);
	return vgpu_step_run(app, o, step, e);
}

static int menu_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	return menu_run(app, opts, e);
}

static const struct opt menu_options[] = { VGPU_COMMON_OPTIONS, { 0 } };

const struct cmd cmd_vgpu_menu = {
	.name = "vgpu",
	.sub = "menu",
	.summary = "ask what to do, on a terminal",
	.description = "The menu: prepare this host, upgrade it, take it back, download drivers, license "
		       "guests. nvdriver vgpu alone opens it too, or goes on with step 2 when the set-up has "
		       "come so far. A wrong answer is asked again, three times in all.",
	.options = menu_options,
	.opts_size = sizeof(struct vgpu_common),
	.run = menu_cmd,
};

const struct cmd cmd_vgpu = {
	.name = "vgpu",
	.summary = "set up NVIDIA vGPU on a Proxmox VE host",
	.args = "[COMMAND]",
	.max_args = 1,
	.description = "Without a command: step 2 when step 1 is done, else the menu.",
	.options = menu_options,
	.opts_size = sizeof(struct vgpu_common),
	.flags = CMD_HIDDEN,
	.run = vgpu_cmd,
};
