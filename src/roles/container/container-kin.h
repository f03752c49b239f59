/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver's daemons where no PID file says which process they are (it was not written yet, or went with the container that
 * had it): told by their name and the container they live in. Where the kernel does not show namespaces nothing is believed. */

#include "process.h"

/* Lives in this very container: our own mounts, and these are not the node's. */
bool container_kin_is_own(const struct host *h, const struct process *p);

/* What a dead container left running: holds a device node of the driver, its cgroup is a container's, and nothing else lives in
 * that container but driver daemons and what they started. Neither the node's own service nor one of a live container is that. */
bool container_kin_is_left(const struct host *h, const struct process *p);

/* The first process called `program` for which that is so; -ESRCH without one. */
int container_kin_find(const struct host *h, const char *program,
		       bool (*is)(const struct host *h, const struct process *p), struct process *ret);

/* The container a process belongs to, by its cgroup: the first 12 digits of its id. False where that cannot be seen. */
bool container_id_of(const struct host *h, int pid, char ret[13]);
