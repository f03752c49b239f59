/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Taking the driver out, and knowing beforehand whether that can work. */

#include "container.h"

/* Whether an unload would succeed once our own daemons have ended: 0, or ERR_MODULE_IN_USE naming who else has the driver (holding
 * modules, processes with their container where it can be seen). Nothing is changed; a daemon that is ours does not count, a process
 * that is ending is waited for some seconds. */
int container_unload_check(struct container *c, struct err *e);

/* Stops the daemons, removes every module of the driver in the order of their holders, puts the firmware search path back as it was
 * found. Nothing loaded is success. When it is refused the daemons that were stopped run again. */
int container_unload(struct container *c, struct err *e);

/* Unload; if that succeeded, remove export and hook (the PID file goes with the lock, by who holds it). If it failed nothing
 * else is removed. */
int container_shutdown(struct container *c, struct err *e);
