/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A node's disk does not fill with the module sets of every kernel and driver it ever ran. */

#include "container.h"

/* Takes the oldest sets out of the store until as many are left as options.module_sets says. The run's own set stays, and those of
 * the loaded driver for the running kernel. What cannot be removed is said and no failure. */
int container_limit_sets(struct container *c, struct err *e);
