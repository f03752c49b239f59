/* SPDX-License-Identifier: Apache-2.0
 *
 * "command": an external program as part of a plan. */
#include "files.h"

#include "log.h"
#include "spawn.h"

#include <fcntl.h>

#define TIMEOUT_DEFAULT_S 300

static int argv_fill(struct spawn *s, const json_t *argv)
{
	const json_t *arg;
	size_t i;

	json_array_foreach (argv, i, arg) {
		const char *text = json_string_value(arg);

		if (!text)
			return -EINVAL;
		(void)spawn_arg(s, "%s", text);
	}
	return i ? 0 : -EINVAL;
}

static int command_run(const struct plan_ctx *c, const json_t *args, const char *key, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(json_text(args, "what"));
	const json_t *argv = json_object_get(args, key);
	json_int_t timeout_s = json_integer_value(json_object_get(args, "timeout_s"));
	int r;

	if (!argv || json_is_null(argv))
		return 0;
	if (argv_fill(&s, argv) < 0)
		return err_set(e, -EINVAL, "the arguments of a command operation are not valid");
	s.timeout_s = timeout_s > 0 && timeout_s < UINT16_MAX ? (unsigned)timeout_s : TIMEOUT_DEFAULT_S;
	if (json_is_true(json_object_get(args, "chroot")))
		s.root_fd = c->host->root_fd;
	r = plan_run(c, &s, e);
	return r < 0 ? r : spawn_judge(&s, e);
}

static int command_stage(const struct plan_ctx *c _unused_, const json_t *args _unused_, json_t **ret_undo,
			 struct err *e)
{
	*ret_undo = json_object();
	return *ret_undo ? 0 : err_oom(e);
}

static int command_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			 struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r;

	r = command_run(c, args, "argv", &own);
	if (r < 0 && !json_is_true(json_object_get(args, "tolerate"))) {
		if (e)
			err_move(e, &own);
		return r;
	}
	if (r < 0)
		log_warn("%s: %s", json_text(args, "what"), own.reason ? own.reason : "failed");
	return 0;
}

/* What a command did cannot be looked at, so its undo is run whenever it may have run, and its failure must not
 * keep the rest from being taken back. */
static int command_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			struct err *e _unused_)
{
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (command_run(c, args, "undo_argv", &own) < 0)
		log_warn("%s: %s", json_text(args, "what"), own.reason ? own.reason : "failed");
	return 0;
}

static int command_show(const struct plan_ctx *c _unused_, const json_t *args, struct strbuf *out)
{
	const json_t *argv = json_object_get(args, "argv"), *arg;
	size_t i;

	if (!json_is_array(argv))
		return 0;
	(void)strbuf_puts(out, "  run    ");
	json_array_foreach (argv, i, arg)
		(void)strbuf_printf(out, " %s", json_string_value(arg) ? json_string_value(arg) : "?");
	return strbuf_putc(out, '\n');
}

const struct op_type op_command = {
	.name = "command",
	.stage = command_stage,
	.apply = command_apply,
	.undo = command_undo,
	.show = command_show,
};
