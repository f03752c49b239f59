/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One process as proc tells it, and whether the process a PID file names is really the one meant: with process ids and run
 * directories shared between containers a stale file may name a stranger. */

#include "host.h"

#include <sys/types.h>

struct process {
	int pid, parent;
	char *comm; /* owned; at most 15 bytes, as the kernel keeps it */
	char state; /* 'R', 'S', 'Z', … */
	bool exiting; /* the kernel is taking it apart */
	uint64_t start_ticks; /* since boot */
	char *mount_ns; /* owned; "mnt:[4026531841]", NULL when not told */
};
#define PROCESS_INIT                                                                                         \
	{                                                                                                    \
		0                                                                                            \
	}
void process_done(struct process *p);

/* Whether a process of that name runs the program, as far as the kernel keeps names. */
bool process_is_called(const char *comm, const char *program);

/* -ESRCH when there is none (a zombie is none), -EBADMSG when proc's text is not understood. */
int process_read(const struct host *h, int pid, struct process *ret);

/* All that run, by number. What ends while it is looked at is left out. -ENOENT without proc. */
struct processes {
	struct process *v;
	size_t n;
};
#define PROCESSES_INIT                                                                                       \
	{                                                                                                    \
		NULL, 0                                                                                      \
	}
void processes_done(struct processes *l);
int processes_read(const struct host *h, struct processes *ret);

/* True for one that is gone, is being taken apart, or has a SIGKILL or SIGTERM it has not seen yet. */
bool process_is_ending(const struct host *h, int pid);

/* The namespace a process has its mounts in; NULL when that is not told. who: a number or "self". Caller frees. */
char *process_mount_ns(const struct host *h, const char *who);

/* Pure: comm, parent, state and start time from proc/<pid>/stat. */
int process_parse_stat(const char *text, size_t len, struct process *ret);

/* The number in a PID file; -EBADMSG for anything but one. The file is opened beneath the root; links in its last component are
 * refused. ret_mtime_s (may be NULL): when it was written. */
int pidfile_read(const struct host *h, const char *path, int *ret_pid, int64_t *ret_mtime_s);

/* The process a PID file names, if it is one called `comm`, no younger than the file, and, where the kernel tells, in our own
 * mount namespace. -ENOENT without a file, -ESRCH when it is stale: no such process, or another one. */
int pidfile_process(const struct host *h, const char *path, const char *comm, struct process *ret);
