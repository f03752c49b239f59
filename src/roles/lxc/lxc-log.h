/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where containers' work is written down, beside what is said: the role's log (the hypervisor set-up's own where that is,
 * else var/log/nvdriver/lxc.log), and per container var/log/nvdriver/lxc-<id>.log with every command and its whole output. A
 * log that cannot be written stops nothing. */

#include "lxc-backend.h"
#include "strbuf.h"

#include <stdint.h>

/* Descriptor of the role's log, made when missing (0640); negative errno. */
int lxc_log_open(const struct host *h);
/* One command that ran (result r of exec, x as it is then) in this container. */
void lxc_log_command(const struct host *h, const char *id, const struct lxc_exec *x, int r, uint64_t ms);
/* "2026-01-02 03:04:05 [INFO] lxc-101: argv, status, duration" and its output, a line each: of what failed the
 * last 50 are ERROR, what is before them and all output of what went well is DEBUG. Pure. */
int lxc_log_text(const char *id, const struct lxc_exec *x, int r, uint64_t ms, int64_t time_s,
		 struct strbuf *out);
