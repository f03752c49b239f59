/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Room for one more kernel where this host boots from: proxmox-boot-tool copies every kernel to small boot partitions, and a
 * full one is noticed when it does not boot. */

#include "vgpu-machine.h"

#include <stdint.h>

/* 0, or -ERR_VGPU_ESP when one more kernel of the size of those installed has no room. A host that cannot be asked, and one
 * whose kernels have no size (captured), passes. */
int space_check_kernel(const struct vgpu_machine *m, struct err *e);

/* Does a partition of that size hold so many kernels, with room to write the newest beside its predecessor? Pure. */
bool space_fits(uint64_t partition_bytes, size_t kernels, uint64_t kernel_bytes);
