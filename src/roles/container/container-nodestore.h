/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The node's directories, above all its store, as part of the container's own mounts. Through /proc/1/root files can be
 * read and written, but nothing can be compiled there: the kernel tells a process no path of a directory that its mount
 * namespace does not have, and make goes by that path. */

#define CONTAINER_STORE_MOUNT "/run/nvdriver/store"
#define CONTAINER_NODE_STORE  "/var/lib/nvdriver" /* on the node */

/* Mounts the node's directory (absolute, made if absent) at CONTAINER_STORE_MOUNT, unless it is there already; the mount is this
 * namespace's alone and no part of what the container shows. 0, or -errno: -EALREADY when we are in the node's own
 * namespace and nothing is needed, -EPERM or -EACCES without the privilege. */
int container_nodestore_attach(const char *node_directory);

/* Mounts a directory of the node (absolute) read-only at `target` here, apart from what is mounted there later. 0 or -errno. */
int container_nodestore_show(const char *node_directory, const char *target);
