/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is known of a Proxmox VE host before anything is decided. */

#include "host.h"
#include "kmods.h"
#include "secureboot.h"
#include "vgpu-boot.h"

enum cpu_vendor { CPU_UNKNOWN, CPU_INTEL, CPU_AMD };

struct vgpu_machine {
	const struct host *host; /* borrowed */
	char *pve_version; /* "8.2.4" */
	unsigned pve_major;
	char *kernel; /* running release */
	char *codename; /* "bookworm" */
	char *cmdline; /* of the running kernel; "" when not told */
	enum cpu_vendor cpu;
	enum tristate subscription; /* unknown where nothing can be asked: treated as none, and said */
	struct boot_facts boot;
	struct secureboot secureboot;
	bool iommu_on; /* groups exist */
	struct kmods modules;
	char **kernels; /* installed releases, newest first */
	char *pinned; /* by proxmox-boot-tool; NULL = none */
	char *root_pool; /* of a ZFS root; NULL = another file system */
	char **packages; /* names of installed packages */
};

/* -ERR_VGPU_NOT_PROXMOX when it is none. */
int vgpu_machine_read(const struct host *h, struct vgpu_machine *ret, struct err *e);
void vgpu_machine_done(struct vgpu_machine *m);

bool vgpu_machine_has_package(const struct vgpu_machine *m, const char *name);
/* Does a kernel have the module, loadable or built in? False where its tree is not there. */
bool vgpu_machine_has_module(const struct vgpu_machine *m, const char *kernel, const char *module);
/* Did DKMS build the module for a kernel? It puts them below updates/dkms. */
bool vgpu_machine_has_dkms(const struct vgpu_machine *m, const char *kernel, const char *module);
/* What is pinned, else the newest installed, else the running one. Borrowed. */
const char *vgpu_machine_next_kernel(const struct vgpu_machine *m);

/* Pure: the version and running kernel of pveversion's line; -EINVAL. Callers free. */
int pveversion_parse(struct span text, char **ret_version, char **ret_kernel);

/* Order of kernel releases by all their numbers ("6.8.12-10-pve" after "6.8.12-9-pve"). -1, 0, 1. */
int kernel_compare(const char *a, const char *b);
