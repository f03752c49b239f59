/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What stands on a host without being recorded: a driver installed by hand, and what the script installer leaves. Taking it
 * away cannot be undone, so each part is a question of its own. */

#include "vgpu-plan.h"

struct leftover {
	const char *name; /* "old_driver": in "remove_old_driver" */
	const char *question;
	const char *const *paths; /* any of them there = it is there; ends with NULL */
	const char *const *records; /* groups of ours that own it; ends with NULL */
	int (*add)(struct engine *en, struct plan *p);
	bool part_of_upgrade;
};
/* Ends with name NULL. */
extern const struct leftover leftovers[];

/* The plan that takes it away; no operations when it is not there, or recorded as ours. */
int leftover_plan(struct engine *en, const struct leftover *l, struct plan **ret, struct err *e);
