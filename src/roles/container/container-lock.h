/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One instance at a time: run/nvidia/nvidia-driver.pid, locked, holding the decimal process id and a newline. */

#include "host.h"

#define CONTAINER_PIDFILE "run/nvidia/nvidia-driver.pid"

struct container_lock {
	int fd; /* owned; -EBADF = not held */
};
#define CONTAINER_LOCK_INIT                                                                                  \
	{                                                                                                    \
		-EBADF                                                                                       \
	}

/* Opens without truncating, locks without waiting, makes sure that the name still leads to what was locked (somebody else
 * may have removed the file meanwhile), and only then writes. ERR_LOCKED names the process that has it; its file is
 * untouched. Temporaries that killed instances left in run/nvidia are removed. */
int container_lock_take(const struct host *h, int pid, struct container_lock *ret, struct err *e);

/* Removes the file, if the name still leads to ours, and gives the lock up. */
void container_lock_remove(const struct host *h, struct container_lock *l);
/* Gives the lock up and leaves the file. */
void container_lock_drop(struct container_lock *l);

/* The process that holds the lock now; -ESRCH when nobody does. */
int container_lock_holder(const struct host *h, int *ret_pid);
