/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The host's own programs: asked on the running machine, answered from a recording for a captured one.
 *
 * A captured directory holds CAPTURE_COMMANDS, a JSON object: "commands" maps a command line (arguments joined by blanks;
 * a trailing " *" stands for any further ones, the longest match wins) to {"status": n, "output": text}; "log": true
 * makes every command asked or run a line of CAPTURE_LOG. With it nothing at all is started. */

#include "err.h"
#include "host.h"

#include <stdbool.h>

#define CAPTURE_COMMANDS "nvdriver-commands.json"
#define CAPTURE_LOG	 "nvdriver-commands.log"

/* Takes effect for the whole process when the root is a captured one: every child process is answered from the recording.
 * 1 = recorded, 0 = not, -ERR_VGPU_RECORDED. tools_close() undoes it. */
int tools_open(const struct host *h, struct err *e);
void tools_close(void);

/* May commands change this host: it is the running machine, or a recording answers for it? */
bool tools_may_change(const struct host *h);

struct answer {
	char *out; /* owned; standard output, never NULL after success */
	int status;
};
void answer_done(struct answer *a);

/* Asks a program that changes nothing. -ENOENT, silently, when this host cannot be asked: no such program, not the running
 * machine, not recorded. The vector ends with NULL. Errors are those of spawn_run(). */
int tools_ask(const struct host *h, const char *const *argv, struct answer *ret, struct err *e);
#define TOOLS_ASK(h, ret, e, ...) tools_ask(h, (const char *const[]){ __VA_ARGS__, NULL }, ret, e)
