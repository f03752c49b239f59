/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The commands of the driver container, each a list of steps in its order. */

#include "container.h"

enum container_command {
	CONTAINER_INIT, /* install, build if needed, load, show, stay until a signal */
	CONTAINER_BUILD, /* install user space, build and install modules, return */
	CONTAINER_LOAD, /* install user space, load the modules that are there, show, stay */
	CONTAINER_UPDATE, /* prepare modules for another kernel, return */
	CONTAINER_UNLOAD, /* daemons stopped, modules out, export gone, return */
};

/* Runs it. init, load, build and unload hold the PID file's lock from before the first change; update works beside a running
 * instance. init and load return when a signal ended them in order, with everything taken back: 0; or when their grace period was over
 * and the driver was still in use: ERR_MODULE_IN_USE, the driver and its export in place, the lock given up. A start that fails or is
 * interrupted takes back what it did; the status file says why. */
int container_run(struct container *c, enum container_command command, struct err *e);

/* The steps as sentences, with what each would find now; nothing is changed (--dry-run). */
int container_run_plan(struct container *c, enum container_command command, json_t **ret_steps,
		       struct err *e);
