/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the vgpu verbs share. */

#include "cmd.h"
#include "vgpu-ask.h"
#include "vgpu-state.h"
#include "vgpu-step1.h"

#include <limits.h>

/* Options of every verb that plans or changes; the first members of each verb's own block. */
struct vgpu_common {
	const char *card, *branch, *gpu_db, *answers, *import, *url, *file, *step, *fixture;
	const char *patch, *unlock_patches, *unlock_source, *unlock_library, *vgpu_config;
	bool debug, accept_md5, hold_kernel, unsupported;
	unsigned rollback_s;
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
	{ "accept-md5", 0, NULL, "take a driver although its MD5 is not the register's", OPT_FLAG, \
	  offsetof(struct vgpu_common, accept_md5) }, \
	{ "hold-kernel", 0, NULL, "have a new kernel the driver does not go with not be booted", OPT_FLAG, \
	  offsetof(struct vgpu_common, hold_kernel) }, \
	{ "rollback-after", 0, "DURATION", "have the boot after step 1 take kernel and words back without a network by then", \
	  OPT_DURATION, offsetof(struct vgpu_common, rollback_s) }, \
	{ "patch", 0, "FILE", "unlock with this patch instead of the mapped one", OPT_STRING, \
	  offsetof(struct vgpu_common, patch), "file" }, \
	{ "unsupported", 0, NULL, "let Maxwell and Pascal cards have branch 17, patched; nobody supports that", OPT_FLAG, \
	  offsetof(struct vgpu_common, unsupported) }, \
	{ "vgpu-config", 0, "FILE", "vgpuConfig.xml of a 16.x package, for cards branch 17 dropped", OPT_STRING, \
	  offsetof(struct vgpu_common, vgpu_config), "file" }, \
	{ "unlock-patches", 0, "URL", "fetch the community's patches from this repository", OPT_STRING, \
	  offsetof(struct vgpu_common, unlock_patches) }, \
	{ "unlock-source", 0, "URL", "fetch the unlock library's source from this repository", OPT_STRING, \
	  offsetof(struct vgpu_common, unlock_source) }, \
	{ "unlock-library", 0, "FILE", "take this unlock library instead of building one", OPT_STRING, \
	  offsetof(struct vgpu_common, unlock_library), "file" }, \
	{ "step", 0, "N", "the step to run", OPT_STRING, offsetof(struct vgpu_common, step), "1 2" }, \
	{ "debug", 0, NULL, "same as -v", OPT_FLAG, offsetof(struct vgpu_common, debug), NULL, true }
/* clang-format on */

/* The answers file, --yes and the terminal as one asker. vgpu_asker_done() gives the file's object back. */
int vgpu_asker_open(struct app *app, const struct vgpu_common *o, struct asker *ret, struct err *e);
void vgpu_asker_done(struct asker *a);

/* -ERR_VGPU_NOT_RUNNING unless commands may change this host, -ERR_VGPU_NOT_ROOT unless we are root there. Then
 * what is said and every command goes to var/log/nvdriver/vgpu.log as well. */
int vgpu_may_change(struct app *app, struct err *e);

/* Step 1 or 2, or its plan with --dry-run. 0, an error, or (step 2) the exit status of a finding. */
int vgpu_step1_run(struct app *app, const struct vgpu_common *o, struct err *e);
int vgpu_step2_run(struct app *app, const struct vgpu_common *o, struct err *e);
int vgpu_step_run(struct app *app, const struct vgpu_common *o, const char *step, struct err *e);

/* The options both steps take their facts by. */
struct step1 vgpu_step1_of(struct app *app, const struct vgpu_common *o, const struct asker *ask);
/* A file that lies where the program does, as the script's own files did; NULL when there is none. Borrowed from *ret. */
struct vgpu_beside {
	char path[PATH_MAX];
};
const char *vgpu_beside_program(const char *name, struct vgpu_beside *ret);
/* Takes the script's state file over, once (--import, else config.txt beside the program), then what its environment says
 * of things nothing stronger has said. */
int vgpu_import_state(const struct vgpu_common *o, struct vgpu_state *st, struct err *e);

/* {address, device_id, name, support} of the chosen card; null without one, NULL without memory. */
json_t *vgpu_card_json(const struct step1 *s);

/* One group's plan: shown (1 when there was something to show), or applied and noted in the state and the report's "groups"
 * (1 when anything was done). Both are 0 for a plan without work. */
int vgpu_show_plan(struct app *app, const char *group, struct plan *p, json_t *report, struct err *e);
int vgpu_apply_plan(struct app *app, const char *group, struct plan *p, struct vgpu_state *st, json_t *report,
		    struct err *e);

/* Asked last, and only where this very machine would reboot. */
int vgpu_offer_reboot(struct app *app, const struct asker *a, const char *why, struct err *e);

/* A row of the guest catalog; NULL without memory. */
struct catalog_guest;
json_t *vgpu_guest_json(const struct catalog_guest *g);

/* Path of the host's own directory for downloads, made when it is not there; caller frees. */
int vgpu_downloads(struct app *app, char **ret, struct err *e);

/* What the menu's items do: the branch is asked for, files go below the host's own directory for them. */
int vgpu_guest_menu(struct app *app, const struct vgpu_common *o, struct err *e);
int vgpu_fetch_menu(struct app *app, const struct vgpu_common *o, struct err *e);

/* A guest's token and kind of licence, as vgpu license client has them (NULL = not given); with JSON the caller tells of it. */
int vgpu_license_guest(struct app *app, const char *token, const char *server, const char *ca_file,
		       const char *feature, struct err *e);

/* The menu's question about licences. */
int vgpu_license_menu(struct app *app, const struct vgpu_common *o, struct err *e);

/* Takes back every deployment of ours, the newest first. `ask`: one question a group. */
int vgpu_take_back(struct app *app, const struct vgpu_common *o, bool ask, bool force, struct err *e);
/* Those of these groups (NULL-terminated), as recorded and nothing else; files somebody changed stay. */
int vgpu_take_back_recorded(struct app *app, const struct vgpu_common *o, const char *const *groups,
			    struct err *e);
/* Those of these groups (NULL-terminated) and what nobody recorded of the same kind, without a question; files somebody
 * changed stay. */
int vgpu_take_back_groups(struct app *app, const struct vgpu_common *o, const char *const *groups,
			  struct err *e);
