/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which kernel an update is for. */

#include "container-ktree.h"

/* wanted NULL: the running kernel. A whole release is taken as it is and nobody is asked. "latest", or the beginning of a
 * release: the newest kernel of the running one's variant that fits, among those the package manager offers (unless
 * o->no_packages) and those the container, the node and the store have something of. ERR_KERNEL_UNKNOWN names what there is.
 * *ret: caller frees. */
int container_update_release(const struct host *host, const struct container_env *env, const char *wanted,
			     const struct container_ktree_options *o, char **ret, struct err *e);

/* Pure: the newest of `releases` that begins with `wanted` ("latest": any) and is of the variant and machine of `like`
 * (when that is a release of an rpm distribution); NULL when none is. Borrowed. */
const char *container_update_choose(char *const *releases, const char *wanted, const char *like);
