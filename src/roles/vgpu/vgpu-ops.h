/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The operations that only a vGPU host's plans have. */

#include "plan.h"

/* Call before engine_open(): journals may name them. 0 or -ENOMEM. */
int vgpu_register_ops(void);

/* "vgpu-installer": the vendor's installer as one operation, op-installer.c. args {"argv": […], "version", "headers":
 * [package]}. Undo runs the uninstaller it left, or does what that would have done where it is missing or fails (the
 * kernel module build's entries, the recorded files), and names what is left of it. Nothing that stood there before is
 * touched. */
extern const struct op_type op_vgpu_installer;
/* Adds it; `words` as installer_words() gives them. 0 or -ENOMEM. */
int vgpu_add_installer(struct plan *p, const char *file, char *const *words, const char *version,
		       char *const *headers);

/* "vgpu-file": a file that was downloaded or made already, so that undo removes it. args {"path", "sha256"}; one that was
 * changed since stays. */
extern const struct op_type op_vgpu_file;
int vgpu_add_file(struct plan *p, const char *path, const char *sha256);

/* "vgpu-functions": switches a card's virtual functions on by starting a unit, again and again for a minute, because the
 * driver's daemons may not be ready. args {"unit", "cards": [address], "wait_s"}. That none came is a warning. */
extern const struct op_type op_vgpu_functions;
int vgpu_add_functions(struct plan *p, const char *unit, char *const *cards, unsigned wait_s);

/* Virtual functions a card has switched on. */
unsigned vgpu_functions_count(const struct host *h, const char *address);
/* Has every one of these cards virtual functions switched on? */
bool vgpu_functions_on(const struct host *h, const json_t *cards);
