/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The network driver nvidia-peermem is built against: on the node or in a container of its own. */

#include "container-env.h"
#include "host.h"
#include "plan.h"

/* Its Module.symvers for that kernel. Modules built with it get a key of their own, so a newer network driver is never met with
 * modules for the older one. -ENOENT silently when there is none. *ret: a path as the compiler is given it, caller frees. */
int container_rdma_symvers(const struct host *container, const struct host *node,
			   const struct container_env *env, const char *release, char **ret);

/* Adds to the plan what the driver's sources look for: usr/src/ofa_kernel, a link to the network driver's headers, and where
 * those are kept by machine and kernel, a link to this kernel's. What is there stays. 1 = something was added. */
int container_rdma_links(const struct host *container, const struct container_env *env, const char *release,
			 struct plan *p, struct err *e);
