/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From a module set to a loaded driver. */

#include "container.h"

/* Parameters written, firmware path set, the kernel's own modules, then the driver's in order. What is loaded already (of this
 * version) stays. On failure what this call loaded is removed again and the firmware path is as it was. When nvidia-peermem refuses
 * to start, modules for the present network driver are found or built, once, and loaded instead; ERR_PEERMEM_ABI when that does not
 * help. */
int container_load(struct container *c, struct err *e);

/* The driver's modules a start loads, in order (strv): nvidia, nvidia-uvm, nvidia-modeset, and those that were asked for. */
int container_load_modules(const struct container *c, char ***ret);

/* The kernel's search path for firmware: D21's rules. Remembered on the node, so that it survives a kill. */
int container_firmware_set(struct container *c, struct err *e);
