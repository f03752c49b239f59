/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The container's root, shown to the node at run/nvidia/driver. */

#include "container.h"
#include "parse.h"

/* Shows it. The tree of mounts is cloned onto a private staging mount and moved from there: a plain recursive bind would join
 * the peer groups of the container's own mounts, and taking it away again would take those with it. On failure nothing
 * is left mounted. */
int container_export(struct container *c, struct err *e);

/* Takes away whatever is mounted there or below, as often as it was stacked; nothing mounted is success. 1 = something was. */
int container_unexport(struct container *c, struct err *e);

/* Pure: the mount points of a mountinfo text at `path` or below it (whole components), those above before those below. */
int container_mounts_below(struct span mountinfo, const char *path, char ***ret);

enum container_selinux { SELINUX_ABSENT, SELINUX_PERMISSIVE, SELINUX_ENFORCING };
/* Judged from the node: inside a container the file system is not there. */
enum container_selinux container_selinux(const struct container *c);
/* Sets the type of one file or of a whole tree below the container's root; refusals are warnings. */
void container_label(struct container *c, const char *path, const char *type);
