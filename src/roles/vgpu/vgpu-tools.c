/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-tools.h"

#include "recorded.h"
#include "err-vgpu.h"

#include <string.h>

#define ASK_TIMEOUT_S 60

bool tools_may_change(const struct host *h)
{
	return h->is_running || recorded_is(h);
}

int tools_run(const struct host *h, struct spawn *s, struct err *e)
{
	int r;

	if (h->is_running)
		return spawn_check(s, e);
	if (!recorded_is(h))
		return err_set(e, ERR_VGPU_NOT_RUNNING, "%s is not the running machine", h->root);
	r = recorded_run(h, s, e);
	return r < 0 ? r : spawn_judge(s, e);
}

int tools_run_logged(const struct plan_ctx *c, struct spawn *s, struct err *e)
{
	int r = tools_may_change(c->host) ? plan_run(c, s, e) : tools_run(c->host, s, e);

	return r < 0 ? r : spawn_judge(s, e);
}

void answer_done(struct answer *a)
{
	free(a->out);
	*a = (struct answer){ 0 };
}

int tools_ask(const struct host *h, const char *const *argv, struct answer *ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(argv[0]);
	int r;

	if (!tools_may_change(h))
		return -ENOENT;
	for (; *argv; argv++)
		(void)spawn_arg(&s, "%s", *argv);
	s.capture = true;
	s.timeout_s = ASK_TIMEOUT_S;
	r = h->is_running ? spawn_run(&s, e) : recorded_run(h, &s, e);
	if (r == -ERR_TOOL_MISSING || (r >= 0 && !h->is_running && s.status == RECORDED_ABSENT)) {
		err_done(e);
		return -ENOENT;
	}
	if (r < 0)
		return r;
	ret->status = s.status;
	ret->out = s.out ? TAKE_PTR(s.out) : strdup("");
	return ret->out ? 0 : err_oom(e);
}
