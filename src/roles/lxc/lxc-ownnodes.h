/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Device nodes of one container's own. The host's are normally open to everybody and passed on as they are. Where the driver
 * was told otherwise (NVreg_DeviceFileUID, GID, Mode), the container's users could not open them; so the container gets
 * nodes of the same numbers, owned by its root and open to all inside, in a directory nobody else on the host may enter.
 *
 *   /run/nvdriver/nodes             a file system of its own, for /run allows no devices
 *   /run/nvdriver/nodes/<id>/…      0700; gone with the boot, made again before containers start */

#include "lxc-host.h"

#define LXC_OWNNODES_DIR "/run/nvdriver/nodes"

/* Could an ordinary user of a container not open one of the nodes it needs? Capability nodes are meant to be so. */
bool lxc_ownnodes_needed(const struct lxc_nodes *n);
/* From now on the container's own nodes are what its configuration names. -ENOMEM. */
int lxc_ownnodes_use(struct lxc_nodes *n, const char *id);
/* Makes those of nodes that exist; uid and gid are the host's ids of the container's root. Nothing happens without
 * lxc_ownnodes_use(), or when they are there. ERR_LXC_NODE. */
int lxc_ownnodes_make(const struct host *h, const struct lxc_nodes *n, uid_t uid, gid_t gid, struct err *e);
/* The container's directory goes; what is mounted into a running container stays until it stops. */
void lxc_ownnodes_remove(const struct host *h, const char *id);
