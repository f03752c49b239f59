/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The kernel update hook: where the node runs such hooks at all, a new kernel gets its modules before the reboot. */

#include "container.h"

/* Writes the hook if its directory exists; otherwise does nothing, silently. A failure is a warning. */
void container_hook_write(struct container *c);
void container_hook_remove(struct container *c);

/* Pure: the script. `program` is the absolute path of our binary inside the container. It finds the running instance by its PID
 * file, enters its mount namespace and lets us do the rest there; it never fails a kernel installation. Caller frees. */
char *container_hook_script(const char *program);

/* Pure: the environment of another process (proc/<pid>/environ, NUL-separated) as a strv; entries without '=' are left out.
 * 0 or -ENOMEM. */
int container_hook_environment(const char *bytes, size_t len, char ***ret);
