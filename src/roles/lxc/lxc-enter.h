/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A function of ours run inside a container, as its root, by a child process. The child enters the user and mount
 * name-spaces of a running container, or changes its root into a stopped one and takes the owner's ids; from then on
 * the kernel holds it to what the container itself may do, so no link, mount or race inside can make it touch the
 * host. */

#include "lxc-backend.h"

#include <sys/stat.h>

/* root_fd: the container's root directory. The function's JSON answer is sent back; errors too. It must not use
 * descriptors of the host by name, only ones it was given. */
typedef int (*lxc_inside_fn)(int root_fd, void *arg, json_t **ret, struct err *e);

#define LXC_INSIDE_CGROUP 2u /* and its device cgroup, so that opening a device is decided as it is inside */
#define LXC_INSIDE_HOST_ROOT                                                                                 \
	1u /* mount name-space only, with the host's rights: for placing mounts and nothing else */

/* Runs fn in the child, kills it after timeout_s. ret may be NULL. ERR_LXC_STOPPED when there is no root to enter. */
int lxc_inside(const struct lxc_place *p, unsigned flags, unsigned timeout_s, lxc_inside_fn fn, void *arg,
	       json_t **ret, struct err *e);

/* A regular file beneath a root somebody else controls: links resolved inside, devices and FIFOs never opened.
 * -ENOENT, -EINVAL for another kind, -E2BIG. NUL-terminated, caller frees. */
int lxc_read_beneath(int root_fd, const char *path, size_t max_bytes, char **ret, size_t *ret_len);
/* Last name a path ends at once all links are followed ("libcuda.so.535.261.03") and what is there. -ENOENT. */
int lxc_resolve_beneath(int root_fd, const char *path, char **ret_name, struct stat *ret);
