/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A vGPU for a virtual machine: which function and type, which place in its configuration, and the one command that puts it there.
 * Proxmox VE makes the device when the machine starts; nothing is made here. */

#include "engine.h"
#include "plan.h"
#include "vgpu-types.h"

struct attach_request {
	struct engine *en; /* borrowed */
	const char *guest; /* "100" */
	const char *type; /* "nvidia-558", "558" or the type's name */
	const char *function; /* a function's address, or its card's; NULL = any that has the type free */
	const char *mapping; /* a resource mapping of the cluster instead of an address; NULL = none */
	bool is_unlock; /* the card is unlocked */
};

struct attach_result {
	char function[20]; /* "" with a mapping */
	unsigned type, slot; /* of nvidia-<type>, hostpci<slot> */
	char *name; /* owned; the type's */
	char **notes; /* owned strv; what a person should know of it */
};
void attach_result_done(struct attach_result *r);

/* Decides, and adds the command with its opposite to *ret_plan (owned by the caller). -ERR_VGPU_TYPE (no such type, or none free),
 * -ERR_NOT_FOUND for a machine that is not there. */
int attach_plan(const struct attach_request *q, struct attach_result *ret, struct plan **ret_plan,
		struct err *e);

/* Pure: the first hostpci<n> the configuration has not, 0 to 15; -ENOSPC. */
int attach_free_slot(struct span config);
