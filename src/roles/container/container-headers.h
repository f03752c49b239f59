/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The kernel's build tree where containers beside this one look for it: they compile their own modules against
 * run/nvidia/driver/usr/src/nvidia-<ver> and the kernel tree of the same root, whether or not anything was compiled here. */

#include "container.h"

/* Before the export: shows the tree, wherever it lies (never asks the package manager), at usr/src/kernels/<k> of the container's
 * root, makes lib/modules/<k>/build lead there and writes the kernel's banner to lib/modules/<k>/proc/version. What lies
 * elsewhere is mounted read-only, not copied. A tree that is nowhere or cannot be shown is no failure of the driver: it is
 * said. Fails without memory and when interrupted. */
int container_headers_show(struct container *c, struct err *e);

/* Takes the mount away again, if this run made one. */
void container_headers_hide(struct container *c);
