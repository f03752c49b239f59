/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtual functions switched on by a unit. Right after the driver was installed, and right after boot, its daemons may not
 * be ready and the unit ends without an effect: it is started again until the kernel says the functions are there. */
#include "vgpu-ops.h"

#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "log.h"
#include "parse.h"
#include "vgpu-tools.h"

#include <limits.h>

#define AGAIN_S	  5
#define TIMEOUT_S 300

static const char *unit_of(const json_t *args)
{
	const char *s = json_string_value(json_object_get(args, "unit"));

	return s ? s : "";
}

int vgpu_add_functions(struct plan *p, const char *unit, char *const *cards, unsigned wait_s)
{
	return plan_add(p, &op_vgpu_functions,
			json_pack("{s:s, s:o, s:i}", "unit", unit, "cards",
				  cards ? jstrv(cards) : json_array(), "wait_s", (int)wait_s),
			"switch on virtual functions, at every boot too, by %s", unit);
}

unsigned vgpu_functions_count(const struct host *h, const char *address)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	uint64_t n;

	(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/sriov_numvfs", address);
	return h->sys_fd >= 0 && read_line_at(h->sys_fd, path, &text) >= 0 &&
		       parse_u64(span_trim(SPAN(text)), UINT16_MAX, &n) == 0
		   ? (unsigned)n
		   : 0;
}

bool vgpu_functions_on(const struct host *h, const json_t *cards)
{
	const json_t *card;
	size_t i;

	json_array_foreach (cards, i, card)
		if (!json_string_value(card) || vgpu_functions_count(h, json_string_value(card)) == 0)
			return false;
	return true;
}

static int systemctl(const struct plan_ctx *c, const char *verb, bool now, const char *unit, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("systemctl");

	spawn_argv(&s, "systemctl", verb, NULL);
	if (now)
		spawn_argv(&s, "--now", NULL);
	spawn_argv(&s, unit, NULL);
	s.timeout_s = TIMEOUT_S;
	return tools_run_logged(c, &s, e);
}

static int functions_stage(const struct plan_ctx *c _unused_, const json_t *args _unused_, json_t **ret_undo,
			   struct err *e)
{
	*ret_undo = json_object();
	return *ret_undo ? 0 : err_oom(e);
}

/* A captured machine does not change by waiting. */
static void wait_for(const struct plan_ctx *c, const json_t *args)
{
	json_int_t left = json_integer_value(json_object_get(args, "wait_s"));
	const json_t *cards = json_object_get(args, "cards");

	while (left > 0 && c->host->is_running && !vgpu_functions_on(c->host, cards)) {
		_cleanup_(err_done) struct err own = ERR_INIT;

		if (interrupt_sleep((unsigned)(left < AGAIN_S ? left : AGAIN_S) * 1000))
			return;
		left -= AGAIN_S;
		if (!vgpu_functions_on(c->host, cards))
			(void)systemctl(c, "restart", false, unit_of(args), &own);
	}
}

static int functions_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			   struct err *e _unused_)
{
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (systemctl(c, "enable", true, unit_of(args), &own) < 0)
		log_warn("%s: %s", unit_of(args), own.reason ? own.reason : "failed");
	wait_for(c, args);
	if (!vgpu_functions_on(c->host, json_object_get(args, "cards")))
		log_warn("%s was started and no virtual functions came", unit_of(args));
	return 0;
}

static int functions_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			  struct err *e _unused_)
{
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (systemctl(c, "disable", true, unit_of(args), &own) < 0)
		log_warn("%s: %s", unit_of(args), own.reason ? own.reason : "failed");
	return 0;
}

static int functions_show(const struct plan_ctx *c _unused_, const json_t *args, struct strbuf *out)
{
	return strbuf_printf(out, "  run     systemctl enable --now %s\n", unit_of(args));
}

const struct op_type op_vgpu_functions = {
	.name = "vgpu-functions",
	.stage = functions_stage,
	.apply = functions_apply,
	.undo = functions_undo,
	.show = functions_show,
};
