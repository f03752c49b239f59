/* SPDX-License-Identifier: Apache-2.0
 *
 * nvdriver vgpu without a further word: the menu, or the step the set-up has reached. */
#include "cmd-vgpu.h"

#include "parse.h"
#include "vgpu-state.h"

#include <string.h>

#define TRIES 3

/* Verbs the menu runs as they are, with the options the person gave. */
extern const struct cmd cmd_vgpu_drivers, cmd_vgpu_guest;

static int run_plain(struct app *app, const struct cmd *cmd, struct err *e)
{
	_cleanup_free_ void *opts = calloc(1, cmd->opts_size ? cmd->opts_size : 1);

	return opts ? cmd->run(app, opts, 0, NULL, e) : err_oom(e);
}

static int item_step1(struct app *app, const struct vgpu_common *o, struct err *e)
{
	return vgpu_step1_run(app, o, e);
}

static int item_remove(struct app *app, const struct vgpu_common *o, struct err *e)
{
	return vgpu_take_back(app, o, true, false, e);
}

static int item_drivers(struct app *app, const struct vgpu_common *o _unused_, struct err *e)
{
	return run_plain(app, &cmd_vgpu_drivers, e);
}

static int item_guest(struct app *app, const struct vgpu_common *o _unused_, struct err *e)
{
	return run_plain(app, &cmd_vgpu_guest, e);
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
	{ "3", "Remove: take back what was changed", item_remove },
	{ "4", "Host drivers", item_drivers },
	{ "5", "Guest drivers", item_guest },
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
	const char *valid = "1, 3, 4, 5 or 7";

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
	return err_next(e, "nvdriver vgpu step 1, remove, drivers and guest do the same without it");
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

/* The script's way to start: --step N, else where the state says the set-up is. */
static int vgpu_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct vgpu_common *o = opts;

	if (argc > 0 && strcmp(argv[0], "menu") != 0)
		return err_set(e, ERR_USAGE, "unknown vgpu command '%s'", argv[0]);
	if (!o->step)
		return menu_run(app, o, e);
	return vgpu_step_run(app, o, o->step, e);
}

static const struct opt menu_options[] = { VGPU_COMMON_OPTIONS, { 0 } };

const struct cmd cmd_vgpu_menu = {
	.name = "vgpu",
	.sub = "menu",
	.summary = "ask what to do, on a terminal",
	.description = "The menu: prepare this host, take it back, or look at drivers. nvdriver vgpu alone "
		       "opens it too. A wrong "
		       "answer is asked again, three times in all.",
	.options = menu_options,
	.opts_size = sizeof(struct vgpu_common),
	.run = vgpu_cmd,
};

const struct cmd cmd_vgpu = {
	.name = "vgpu",
	.summary = "set up NVIDIA vGPU on a Proxmox VE host",
	.args = "[COMMAND]",
	.max_args = 1,
	.description = "Without a command: the menu.",
	.options = menu_options,
	.opts_size = sizeof(struct vgpu_common),
	.flags = CMD_HIDDEN,
	.run = vgpu_cmd,
};
