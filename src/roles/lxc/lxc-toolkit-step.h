/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The toolkit as a step of a container's plan: the repository's files, then one operation that installs. */

#include "lxc.h"
#include "plan.h"

/* Adds the operations; nothing when neither toolkit nor tools are wanted. The repository's key is fetched here, on the host,
 * unless the container has it (or in a dry run). ERR_CUDA_REPO, ERR_CUDA_KEY, ERR_LXC_OS, ERR_OFFLINE. */
int lxc_toolkit_plan(struct lxc_ct *ct, struct plan *p, struct err *e);

/* "lxc-toolkit": {"tool", "list_path", "cuda", "driver", …}. Its undo leaves the packages and says so. */
extern const struct op_type lxc_op_toolkit;
