/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver's daemons: started in their order, watched, stopped by their PID files once these are believed. */

#include "container.h"

enum container_daemon {
	DAEMON_PERSISTENCE,
	DAEMON_LICENCE,
	DAEMON_TOPOLOGY,
	DAEMON_FABRIC,
	DAEMON_SUBNET,
	DAEMON_IMEX,
};

const char *container_daemon_name(enum container_daemon d);

/* The process of a daemon: its PID file's, verified, else one of that name in this container. -ESRCH when it does not run. A stale
 * PID file is removed when `tidy`. */
int container_daemon_pid(struct container *c, enum container_daemon d, bool tidy, int *ret_pid);

/* Whether container_daemons_stop() would end that process: a daemon of this container or one a dead container left. */
bool container_daemon_is_ours(struct container *c, int pid);

/* Whether a process is called like a daemon, whoever it belongs to. */
bool container_daemon_is_named(const char *comm);

/* Starts what this machine needs and is not running, in order. A failure is fatal and names the daemon (ERR_DAEMON). */
int container_daemons_start(struct container *c, struct err *e);

/* SIGTERM to each that runs, here or left by a dead container, in the order of the enum, each waited for. stopped[d] says which ended. ERR_DAEMON when one
 * does not end in time; those before it have. */
int container_daemons_stop(struct container *c, bool stopped[CONTAINER_DAEMON_COUNT], struct err *e);

/* Starts those again. What fails is reported in a warning. */
void container_daemons_restart(struct container *c, const bool which[CONTAINER_DAEMON_COUNT]);

/* Called while waiting: daemons of this run that died are started again, after a pause. A signal within it (kept for the caller)
 * means that nothing is: whoever stops a container may have signalled all its processes. */
void container_daemons_supervise(struct container *c);

/* { name: {"pid": n} or {"running": false} } of all that are wanted here. */
json_t *container_daemons_to_json(struct container *c);
