/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The line a kernel prints in /proc/version: what packages of precompiled modules are matched by. */

#include "host.h"
#include "ktree.h"

/* Of the running kernel: its own word. Of another: from the headers of its build tree (NULL = none); at last from its image
 * below the container's or the node's root (NULL = not reachable). -ENOENT silently when none of them tells. *ret_from
 * (may be NULL) is a static text for messages; *ret: caller frees. */
int container_banner(const struct host *container, const struct host *node, const char *release,
		     const struct ktree *tree, char **ret, const char **ret_from, struct err *e);
