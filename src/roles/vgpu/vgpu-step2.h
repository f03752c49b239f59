/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Step 2: the driver. Everything is decided and looked at first; then the file is fetched (and patched for an unlock
 * card), and each group is a plan of its own as in step 1: what was fetched, the vendor's installer, the daemons, the
 * virtual functions. Last, what came of it is looked at. */

#include "vgpu-driver.h"
#include "vgpu-state.h"
#include "vgpu-step1.h"

struct step2 {
	struct step1 s; /* facts, the chosen card, what it can do, notes */
	const struct vgpu_state *state; /* borrowed; what step 1 left */
	/* borrowed; named on the command line, NULL = not */
	const char *url, *file, *branch, *sha256, *proxy, *ca_file, *driver_patch, *vgpu_config;
	const char
	    *overrides_beside; /* borrowed; a driver_patches.json where VGPU_DIR has none; NULL = none */
	bool accept_md5;
	bool hold_kernel; /* the hook for new kernels holds the old one when they do not fit */

	/* what was found and decided */
	char **recalled; /* owned strv; texts of the state that the borrowed members above point to */
	bool card_recalled; /* the card is step 1's, by its address */
	json_t *overrides; /* owned; VGPU_DIR's driver_patches.json, NULL = none */
	json_t *deployed; /* owned; meta data of the driver we installed before, NULL = none */
	char *reboot; /* owned; why nothing can be done before one, NULL = go on */
	bool have; /* the wanted driver is installed already */
	struct driver_result got;
	struct driver_patch_result patched;
	char *path; /* owned; of the file to run, as the host itself names it */
	char sha256_run[65]; /* of that file; "" in a dry run before it is there */
	char *version; /* owned */
	char **kept; /* owned strv; files below VGPU_DIR that are ours */
	char **words; /* owned strv; for the installer */
};

/* The struct's borrowed members are set; facts. As step1_open(). */
int step2_open(struct step2 *t, struct err *e);
void step2_done(struct step2 *t);

/* Card, driver, Secure Boot, IOMMU, kernel: all that can keep the driver from being installed, before anything is
 * fetched. Asks. -ERR_VGPU_IOMMU, -ERR_VGPU_KERNEL, -ERR_VGPU_BRANCH, -ERR_VGPU_NO_PATCH, -ERR_VGPU_OTHER and those of
 * step1_decide(). Changes nothing. */
int step2_decide(struct step2 *t, struct err *e);

/* Has the driver's file, checked and patched where the card wants it, below VGPU_DIR or where the person has it; with
 * s.dry_run only says what would be. Errors of driver_get() and driver_patch(). */
int step2_obtain(struct step2 *t, struct err *e);

struct step2_group {
	const char *name, *title;
	int (*build)(struct step2 *t, struct plan *p, struct err *e);
};
extern const struct step2_group step2_groups[]; /* in order of execution; ends with name NULL */

int step2_plan(struct step2 *t, const struct step2_group *g, struct plan **ret, struct err *e);

/* What a person needs to know next: guests of the branch, licences. Appended to the notes. 0 or -ENOMEM. */
int step2_guidance(struct step2 *t);

/* Branch of the driver; NULL when the register does not have it. */
const char *step2_branch(const struct step2 *t);
