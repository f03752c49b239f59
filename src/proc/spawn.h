/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The process runner: argument vector only, never a shell; clean environment; own process group; time limit that
 * kills the group; whole output kept in a log; the last lines shown in the error. Recordable for tests: with
 * spawn_record() every command line is appended to a list, and may be answered without running. */

#include "err.h"

#include <stdint.h>
#include <sys/types.h>

#define SAFE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct spawn {
	const char *what; /* borrowed; for messages: "kernel module build" */
	char **argv; /* owned */
	char **env; /* owned; nothing inherited except what spawn_env_inherit named */
	int cwd_fd; /* borrowed; -EBADF = unchanged */
	int root_fd; /* borrowed; chroot there first when not -EBADF */
	int stdin_fd; /* borrowed; -EBADF = /dev/null */
	int log_fd; /* borrowed; whole output appended when not -EBADF */
	bool capture; /* keep stdout in `out`; stderr goes to the log and the tail */
	bool merge; /* with capture: stderr too */
	bool
	    attached; /* talks to the person itself: our stdin, our stderr for its output, our process group; no log, capture or tail */
	size_t capture_max; /* default 16 MiB */
	unsigned timeout_s; /* 0 = none */
	uid_t uid;
	gid_t gid; /* (uid_t)-1 = unchanged */
	bool no_network; /* own empty network namespace when permitted */
	/* results */
	char *out;
	size_t out_len;
	char *tail; /* last lines of the output (at most 20 lines, 4 KiB) */
	int status; /* exit status, or 128 + signal */
	uint64_t wall_ns, cpu_ns; /* of the child and what it waited for */
	uint64_t max_rss_bytes;
	int error; /* sticky failure of the appending functions */
};

#define SPAWN_INIT(text)                                                                                     \
	{                                                                                                    \
		.what = (text), .cwd_fd = -EBADF, .root_fd = -EBADF, .stdin_fd = -EBADF, .log_fd = -EBADF,   \
		.capture_max = (size_t)16 << 20, .uid = (uid_t)-1, .gid = (gid_t)-1                          \
	}

void spawn_done(struct spawn *s);
int spawn_argv(struct spawn *s, const char *arg, ...) _sentinel_; /* appends */
int spawn_arg(struct spawn *s, const char *fmt, ...) _printf_(2, 3); /* appends one formatted argument */
int spawn_env(struct spawn *s, const char *name, const char *value);
/* Failures of the appending functions stick and are reported by spawn_run(). PATH=SAFE_PATH and LC_ALL=C are set unless given. */

/* argv[0] without a slash is looked for in SAFE_PATH, in root_fd when given. The child has umask 022, default signals,
 * and dies with us. When the time is over or we are interrupted its group gets SIGTERM, two seconds later SIGKILL.
 * Runs to the end. Returns 0 with s->status filled whatever the status; negative when it could not be started
 * (ERR_TOOL_MISSING), timed out (ERR_TIMEOUT), we were interrupted (ERR_INTERRUPTED, base/interrupt.h) or captured output
 * exceeds capture_max (ERR_TOO_LARGE). May be called from several threads, each with a struct of its own, and again with
 * the same one: results are replaced. */
int spawn_run(struct spawn *s, struct err *e);
/* Same, and a status other than 0 is ERR_SPAWN with the last lines in the reason. */
int spawn_check(struct spawn *s, struct err *e);
/* The second half of it: 0 when the results say status 0, else ERR_SPAWN. */
int spawn_judge(const struct spawn *s, struct err *e);

/* Find a program by name in SAFE_PATH; -ENOENT. *ret caller frees. */
int spawn_find(const char *name, char **ret);

/* Test seam: called instead of starting the child; fills results. NULL restores. */
typedef int (*spawn_hook)(struct spawn *s, void *arg);
void spawn_set_hook(spawn_hook hook, void *arg);
uint64_t spawn_count(void); /* children started so far by this process */
