/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The node's store as part of the container's own mounts. Through /proc/1/root files can be read and written, but nothing can
 * be compiled there: the kernel tells a process no path of a directory that its mount namespace does not have, and make
 * goes by that path. */

#define CONTAINER_STORE_MOUNT "/run/nvdriver/store"

/* Mounts the node's directory (absolute, made if absent) at CONTAINER_STORE_MOUNT, unless it is there already; the mount is this
 * namespace's alone and no part of what the container shows. 0, or -errno: -EALREADY when we are in the node's own
 * namespace and nothing is needed, -EPERM or -EACCES without the privilege. */
int container_nodestore_attach(const char *node_directory);
