/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the role does to a running machine besides files and child processes: mounts, module calls, signals, labels,
 * waiting. A narrow table, so that a test drives a whole start and stop and sees every effect in its order. */

#include "modload.h"

#include <sys/types.h>

struct container_ops {
	/* mount(2) and umount2(2) with absolute paths; 0 or -errno. */
	int (*mount)(void *arg, const char *source, const char *target, const char *type, unsigned long flags,
		     const char *data);
	/* A directory of the node, as the node names it, mounted read-only at target; 0 or -errno. */
	int (*mount_from_node)(void *arg, const char *node_directory, const char *target);
	int (*umount)(void *arg, const char *target, int flags);
	/* Signals the process only while it is the one that was started at start_ticks (proc/<pid>/stat); -ESRCH otherwise. */
	int (*kill)(void *arg, int pid, uint64_t start_ticks, int signal);
	/* Waits up to that long: the signal that arrived meanwhile, 0 when the time is over. */
	int (*wait)(void *arg, unsigned ms);
	uint64_t (*now_ms)(void *arg);
	/* SELinux context of what the descriptor (O_PATH will do) is open on; 0 or -errno. name is for records. */
	int (*label)(void *arg, int fd, const char *name, const char *context);
	/* Makes a character device with exactly this mode; 0 or -errno. */
	int (*mknod)(void *arg, int dir_fd, const char *name, mode_t mode, dev_t number);
	struct modload_ops kernel;
	void *arg;
};

/* The real ones; for a root that is not the running machine without the kernel's. The kernel's own modules are those of modules_dir. The five signals of an entrypoint (HUP, INT, QUIT,
 * PIPE, TERM) are caught from here on, as often as they come: before the first wait() they set base/interrupt.h's flag. */
int container_ops_real(const struct host *h, const char *modules_dir, struct container_ops *ret,
		       struct err *e);
void container_ops_done(struct container_ops *ops);
