/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the groups of both steps are made of: commands, edits with the command that follows them, and the question which
 * groups of ours are on the host already. A group is one plan, recorded as one deployment with its name in the meta data. */

#include "engine.h"
#include "vgpu-text.h"

#define VGPU_DIR "var/lib/nvdriver/vgpu" /* below the root: downloads, patched copies, community sources */

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

#define VGPU_APT_TIMEOUT_S  3600
#define VGPU_TOOL_TIMEOUT_S 600

/* A command and its opposite; either vector may be NULL. Tolerated failures are warned about. 0 or -ENOMEM. */
int vgpu_add_command(struct plan *p, const char *const *run, const char *const *undo, int timeout_s,
		     bool tolerate, const char *what);

/* Edits between the command (may be NULL) that has to follow them in both directions. */
int vgpu_add_edits(struct plan *p, const struct text_edits *edits, const char *const *after,
		   const char *what);

/* An empty plan of the group on the engine's host. */
int vgpu_plan_new(struct engine *en, const char *group, const char *title, struct plan **ret, struct err *e);

/* Meta data of the newest deployment of that group which is still applied; NULL when there is none. *ret: new reference. */
int vgpu_deployed(struct engine *en, const char *group, json_t **ret, struct err *e);

/* The directory VGPU_DIR; made when `create`. -ENOENT, silently, when it is not there. */
int vgpu_dir_open(const struct host *h, bool create, struct err *e);

/* Removes it, and what lies above it below var/lib, where empty. */
void vgpu_dir_drop(const struct host *h);

/* Appends formatted text that is not there yet. 0 or -ENOMEM. */
int vgpu_note(char ***notes, const char *fmt, ...) _printf_(2, 3);
