/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the set-up remembers between its two steps: targets/<target>/vgpu.json in the store, mode 0600, replaced whole.
 * Data, never executed. The keys are those of the script's state file. */

#include "engine.h"
#include "parse.h"

#include <jansson.h>

#define VGPU_IMPORTED "IMPORTED" /* key: the script's state file that was taken over */

struct vgpu_state {
	json_t *values; /* owned; object of text: "STEP", "VGPU_SUPPORT", … */
	json_t *steps; /* owned; [{"step", "time", "result"}]: what was completed, in order */
	char *target; /* owned; name below targets/ */
	struct lock lock; /* held while open for writing */
};

/* Reads it (nothing there = empty). `write`: also takes the lock that keeps a second run out (-ERR_LOCKED). -ERR_VGPU_STATE. */
int vgpu_state_open(struct engine *en, bool write, struct vgpu_state *ret, struct err *e);
void vgpu_state_done(struct vgpu_state *s);

const char *vgpu_state_get(const struct vgpu_state *s, const char *key); /* NULL when not set; borrowed */
int vgpu_state_set(struct vgpu_state *s, const char *key, const char *value); /* NULL removes */
int vgpu_state_step(struct vgpu_state *s, const char *step, const char *result);

int vgpu_state_save(struct engine *en, const struct vgpu_state *s, struct err *e);
/* The very last act of a finished set-up: all goes but the word that the script's state was taken over, for that happens once.
 * Absent is success. */
int vgpu_state_remove(struct engine *en, struct vgpu_state *s, struct err *e);

/* The script's own file: KEY=VALUE lines, the last of equal keys winning. Unknown keys are kept; -ERR_VGPU_STATE names a
 * line that is neither, or a value its key cannot have. Pure. */
int vgpu_state_import(struct vgpu_state *s, struct span text, struct err *e);
