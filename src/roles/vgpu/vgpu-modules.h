/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Modules loaded at boot for passthrough and vGPU, and those kept away from the cards. Pure. */

#include "vgpu-text.h"

#define MODULES_LOAD "etc/modules-load.d/nvdriver-vgpu.conf"
#define MODULES_DENY "etc/modprobe.d/nvdriver-vgpu.conf"

struct modules_request {
	const char *kernel; /* of the next boot; decides about vfio_virqfd, part of vfio since 6.2 */
	bool passthrough; /* vfio_pci too: vGPU itself needs none */
	bool (*has_module)(const char *name, void *arg); /* does that kernel have it (loadable or built in) */
	void *arg;
};

/* `files`: etc/modules, those of etc/modules-load.d and etc/modprobe.d. */
int modules_edits(const struct text_files *files, const struct modules_request *q, struct text_edits *ret);

/* Does an active line of the files keep the module away ("blacklist NAME")? */
bool modules_is_denied(const struct text_files *files, const char *name);
