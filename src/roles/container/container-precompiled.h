/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Packages of ready modules beside the module sources, in the vendor's format: an image, or an update of the script-based entrypoint,
 * may have left one for this very kernel. */

#include "container.h"

/* The first package in usr/src/nvidia-<version>/<type>/precompiled/ for this driver and the kernel's banner that holds every module a
 * start loads becomes a set of the store. 1 = one did; 0 = none fits. What is damaged or not whole is passed over with a warning. */
int container_precompiled_import(struct container *c, struct err *e);

/* The name of the first package for this driver and kernel, whose content is not looked at; NULL = none fits. Changes nothing. Caller
 * frees. flavour NULL = either. */
char *container_precompiled_find(const struct host *h, const struct host *node, const char *release,
				 const char *version, const char *flavour);
