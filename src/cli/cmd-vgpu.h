/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the vgpu verbs share. */

#include "cmd.h"
#include "vgpu-ask.h"

/* Options of every verb that plans or changes; the first members of each verb's own block. */
struct vgpu_common {
	const char *card, *branch, *gpu_db, *answers, *import, *url, *file, *step, *fixture;
	bool debug;
};
/* clang-format off */
#define VGPU_COMMON_OPTIONS \
	{ "card", 0, "ADDRESS", "the card for vGPU: its address, or its number in the list", OPT_STRING, \
	  offsetof(struct vgpu_common, card) }, \
	{ "branch", 0, "BRANCH", "the vGPU branch to prepare for, instead of the newest that fits", OPT_STRING, \
	  offsetof(struct vgpu_common, branch) }, \
	{ "gpu-db", 0, "FILE", "a table of cards whose rows win over ours", OPT_STRING, \
	  offsetof(struct vgpu_common, gpu_db), "file" }, \
	{ "answers", 0, "FILE", "answers to the questions, as one JSON object", OPT_STRING, \
	  offsetof(struct vgpu_common, answers), "file" }, \
	{ "import", 0, "FILE", "state file of the script installer to take over, once", OPT_STRING, \
	  offsetof(struct vgpu_common, import), "file" }, \
	{ "url", 0, "URL", "address of the host driver for step 2", OPT_STRING, offsetof(struct vgpu_common, url) }, \
	{ "file", 0, "FILE", "host driver file for step 2", OPT_STRING, offsetof(struct vgpu_common, file), "file" }, \
	{ "step", 0, "N", "the step to run", OPT_STRING, offsetof(struct vgpu_common, step), NULL, true }, \
	{ "debug", 0, NULL, "same as -v", OPT_FLAG, offsetof(struct vgpu_common, debug), NULL, true }
/* clang-format on */

/* The answers file, --yes and the terminal as one asker. vgpu_asker_done() gives the file's object back. */
int vgpu_asker_open(struct app *app, const struct vgpu_common *o, struct asker *ret, struct err *e);
void vgpu_asker_done(struct asker *a);

/* -ERR_VGPU_NOT_RUNNING unless commands may change this host, -ERR_VGPU_NOT_ROOT unless we are root there. */
int vgpu_may_change(struct app *app, struct err *e);

/* Step 1, or its plan with --dry-run. */
int vgpu_step1_run(struct app *app, const struct vgpu_common *o, struct err *e);

/* The menu's question about licences. */
int vgpu_license_menu(struct app *app, const struct vgpu_common *o, struct err *e);

/* Takes back every deployment of ours, the newest first. `ask`: one question a group. */
int vgpu_take_back(struct app *app, const struct vgpu_common *o, bool ask, bool force, struct err *e);
