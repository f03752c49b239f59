/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A captured machine: a root with the answers its programs gave. Nothing is ever started for such a root.
 *
 * RECORDED_COMMANDS is a JSON object: "commands" maps a command line (arguments joined by blanks; a trailing " *" stands
 * for any further ones, the longest match wins) to {"status": n, "output": text}, and optionally "files": {path: text, or
 * null for none}, what the command leaves below the root. With "log": true every command line that is asked for becomes a
 * line of RECORDED_LOG. */

#include "host.h"
#include "spawn.h"

#define RECORDED_COMMANDS "nvdriver-commands.json"
#define RECORDED_LOG	  "nvdriver-commands.log"
#define RECORDED_ABSENT	  127 /* status of a command that was not recorded */

bool recorded_is(const struct host *h); /* never true of the running machine */

/* Answers the command from the recording: fills the results of `s` as spawn_run() does. -ERR_RECORDED when the file is not
 * usable. */
int recorded_run(const struct host *h, struct spawn *s, struct err *e);
