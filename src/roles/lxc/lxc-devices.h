/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a container's configuration must say for its GPUs to be usable, and the operations that make it so. */

#include "lxc.h"
#include "plan.h"

/* The lines for these nodes (canonical, see lxc-edit.h): dev keys where the manager has them, else a mount and a rule of
 * the device cgroup per node. Never a rule for all devices, nor for all of major 195 unless every GPU is assigned.
 * host_path gives a node's path on the machine. Pure. Caller frees (strv_freep). */
int lxc_device_lines(const struct lxc_nodes *nodes, bool dev_keys, bool unified,
		     char *(*host_path)(const struct host *h, const char *absolute), const struct host *h,
		     char ***ret);
/* All lines this container's configuration should have: for its devices and, where asked for, the sockets of the host's
 * daemons. A file system for run/ comes before those, unless there is one, for what the container's init mounts there would
 * hide them. Caller frees. */
int lxc_ct_lines(const struct lxc_ct *ct, char ***ret);
/* Lines this program added earlier that are no longer wanted (a stale major, an unassigned GPU). Caller frees. */
int lxc_device_stale(const json_t *record, char *const *have, char *const *wanted, char ***ret);

/* Lines "lxc.include = <state_dir>/lxc-<other>/devices.conf" that a copied configuration has: what they bring is another
 * container's and changes with it. Caller frees. Pure. */
int lxc_device_foreign(const char *state_dir, const char *target, char *const *have, char ***ret);

/* Adds: the configuration, then (running) the nodes now or a restart, (stopped) the start, then the wait until all is
 * usable. */
int lxc_devices_plan(struct lxc_ct *ct, struct plan *p, struct err *e);
/* start: also start a stopped container and wait for it */
int lxc_power_plan(struct lxc_ct *ct, struct plan *p, struct err *e);
