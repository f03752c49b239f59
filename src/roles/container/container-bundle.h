/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An offline bundle brought to the container: named by NVDRIVER_BUNDLE, in /drivers, or on the node. */

#include "container.h"

/* Puts into the store what a bundle holds of this driver for this kernel: tree, module sets, kernel build tree. What is
 * there already is not read again. 1 = there was a bundle, 0 = none was found; a bundle that is damaged or not signed by
 * the demanded certificate is an error. */
int container_bundle_apply(struct container *c, struct err *e);
