/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vGPU types the running driver offers: mediated devices, or (kernel 6.8 and newer with Ampere and newer) the vendor's own
 * files on each virtual function, where mdevctl shows nothing and that is normal. */

#include "err.h"
#include "host.h"
#include "parse.h"

#include <stddef.h>

struct vgpu_type {
	char address[20]; /* of the function that offers it */
	bool vendor; /* by nvidia/creatable_vgpu_types instead of mdev */
	unsigned id; /* 256 of "nvidia-256" */
	char *name; /* owned; "GRID T4-1Q", "" when not told */
	int available; /* free instances; -1 = not told */
	unsigned framebuffer_mib; /* by its description, else by its name; 0 = neither tells */
	unsigned displays; /* 0 = not told */
};
struct vgpu_types {
	struct vgpu_type *v; /* owned */
	size_t n;
};
void vgpu_types_done(struct vgpu_types *t);
/* A machine without such functions has none. */
int vgpu_types_read(const struct host *h, struct vgpu_types *ret, struct err *e);

/* Pure. A type's description as mdev has it ("num_heads=4, …, framebuffer=1024M, …"), and the size in MiB its name ends with
 * ("NVIDIA A40-2Q": 2048; 0 = it tells none). */
void vgpu_type_describe(struct vgpu_type *t, struct span description);
unsigned vgpu_type_size_mib(const char *name);

/* Pure: lines "256 : NVIDIA A40-1Q", with or without a heading; appended. 0 or -ENOMEM. */
int vgpu_types_parse(struct span text, const char *address, struct vgpu_types *t);
