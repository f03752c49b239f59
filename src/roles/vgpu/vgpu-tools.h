/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The host's own programs: asked on the running machine, answered from the recording of a captured one. */

#include "err.h"
#include "host.h"
#include "plan.h"
#include "spawn.h"

#include <stdbool.h>

/* May commands change this host: it is the running machine, or a recording answers for it? */
bool tools_may_change(const struct host *h);

/* spawn_check() for the running machine, the recording's answer for a captured one, -ERR_VGPU_NOT_RUNNING for any other. */
int tools_run(const struct host *h, struct spawn *s, struct err *e);

/* The same as part of an operation, with its output in the deployment's log. */
int tools_run_logged(const struct plan_ctx *c, struct spawn *s, struct err *e);

struct answer {
	char *out; /* owned; standard output, never NULL after success */
	int status;
};
void answer_done(struct answer *a);

/* Asks a program that changes nothing. -ENOENT, silently, when this host cannot be asked: no such program, not the running
 * machine, not recorded. The vector ends with NULL. Other errors are those of spawn_run(). */
int tools_ask(const struct host *h, const char *const *argv, struct answer *ret, struct err *e);
#define TOOLS_ASK(h, ret, e, ...) tools_ask(h, (const char *const[]){ __VA_ARGS__, NULL }, ret, e)
