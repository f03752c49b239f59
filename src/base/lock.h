/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Advisory locks with a time limit. Two kinds:
 * - a lock file of its own (flock), which may hold the owner's pid;
 * - a byte of an existing file (open file description lock), so any number of named locks need no further file:
 *   the byte's offset is derived from the name, a collision only serialises two strangers. */

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

struct lock {
	int fd; /* owned for files, borrowed for bytes */
	int64_t byte; /* -1 for a whole file */
};
#define LOCK_INIT                                                                                            \
	{                                                                                                    \
		-EBADF, -1                                                                                   \
	}

/* 0, -EAGAIN when held by another until timeout_ms passed (0 = try once, -1 = wait), -EINTR when a signal came while
 * waiting. lock_file_at() makes the file (0644) and never removes it. lock_byte() needs a writable descriptor of an open of
 * its own: two threads that share one do not exclude each other. */
int lock_file_at(int dirfd, const char *name, int timeout_ms, struct lock *ret);
int lock_byte(int fd, const char *name, int timeout_ms, struct lock *ret);
void lock_release(struct lock *l);
