/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Step 1: everything before the reboot. Facts are read and questions asked first; then each group (repositories,
 * packages, kernel, …) is a plan of its own, recorded as one deployment, so that it can be shown, resumed and taken back
 * group by group. A group's plan is a pure function of the facts: the dry run shows the very plans. */

#include "catalog.h"
#include "engine.h"
#include "vgpu-ask.h"
#include "vgpu-cards.h"
#include "vgpu-choice.h"
#include "vgpu-machine.h"
#include "vgpu-secureboot.h"
#include "vgpu-unlock.h"

struct step1 {
	struct engine *en; /* borrowed */
	const struct asker *ask; /* borrowed */
	const char *card_wanted, *branch_wanted, *gpu_db; /* borrowed; options, NULL = not given */
	const char *patches_url, *source_url,
	    *library; /* borrowed; of the unlock components, as unlock_request has them */
	const char *
	    gpu_db_beside; /* borrowed; a table that merely lies there: only for cards ours lacks; NULL = none */
	bool dry_run;
	bool unsupported; /* the person wants an older card on branch 17 */
	bool own_file; /* the driver's file or address is named: nothing comes from where the register says */
	unsigned rollback_s; /* the next boot takes kernel and words back without a network by then; 0 = no */
	bool helper_done; /* the vendor's own helper was run here before */

	struct vgpu_machine machine;
	struct cards cards;
	struct catalog *catalog; /* owned */

	/* what was decided */
	bool has_card;
	size_t card; /* index into cards */
	enum card_support support; /* of the card, or what the person says an unknown one is */
	const struct catalog_driver *driver; /* the branch prepared for; NULL without a card */
	struct kernel_choice kernel;
	bool dist_upgrade, passthrough, iommu_pt;
	bool helper; /* run the vendor's own helper once its package is there */
	enum mok_state mok;
	char *mok_password, *mok_hash; /* owned; NULL unless a key is queued */
	char **notes; /* owned strv: what the person should know */
};

/* Facts. The engine's host is the machine. -ERR_VGPU_NOT_PROXMOX and what reading gives. */
int step1_open(struct step1 *s, struct err *e);
void step1_done(struct step1 *s);

/* Questions, in the order a person would expect them. -ERR_DECLINED, -ERR_VGPU_CARD, -ERR_VGPU_CARD_CHOICE,
 * -ERR_VGPU_KERNEL, -ERR_VGPU_BRANCH, -ERR_VGPU_ZFS_KERNEL. Changes nothing. */
int step1_decide(struct step1 *s, struct err *e);

/* The parts of step1_decide() step 2 needs as well. step1_decide_branch() fills `l`, which owns *ret. */
int step1_decide_card(struct step1 *s, struct err *e);
int step1_decide_branch(struct step1 *s, struct choices *l, const struct choice **ret, struct err *e);
int step1_decide_key(struct step1 *s, struct err *e);
/* What is asked of the tables of branches about the chosen card. */
struct choice_request step1_choice_request(const struct step1 *s, const char *kernel);
struct unlock_request step1_unlock(const struct step1 *s);
/* Is the driver patched: for an unlock card, and for one that branch 17 dropped? */
bool step1_needs_patch(const struct step1 *s);

/* Runs Proxmox VE's own helper for NVIDIA vGPU; it talks to the person. 1 = done; 0 = it failed or is not there, which a note
 * tells. */
int step1_run_helper(struct step1 *s, struct err *e);

struct step1_group {
	const char *name; /* "boot": in the deployment's meta data, and in "remove_boot" */
	const char *title; /* of the plan */
	int (*build)(struct step1 *s, struct plan *p, struct err *e);
};
extern const struct step1_group step1_groups[]; /* in order of execution; ends with name NULL */

/* The plan of one group from what stands on the host now; no operations = nothing to do. */
int step1_plan(struct step1 *s, const struct step1_group *g, struct plan **ret, struct err *e);

/* Makes every plan once: what any group refuses is refused before the first one changes anything. */
int step1_check(struct step1 *s, struct err *e);

/* Majors of the card's branches as the state keeps them ("17,16"); caller frees. */
char *step1_majors(const struct step1 *s);
