/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The user-space view of a driver: one directory that containers see by a mount or a copy, instead of an installation
 * in each of them.
 *
 *   bin/     programs
 *   lib/     native libraries with all their SONAME links, and what lies in directories of its own below them
 *            (gbm, vdpau, nvidia/wine, xorg/modules; with `firmware` also firmware/nvidia/<version>)
 *   lib32/   the same of the 32-bit parts, only with `compat32`
 *   share/   the rest: OpenCL/vendors, vulkan/icd.d and its layers, glvnd/egl_vendor.d, egl/egl_external_platform.d,
 *            X11/xorg.conf.d, nvidia, applications, man, doc
 *
 * A view is a tree of the store like any other: named by its content, verified, shared and made an image of by the
 * same functions. Its record says which tree it was made from. */

#include "destination.h"
#include "err.h"
#include "store.h"

#include <jansson.h>
#include <stdbool.h>

#define VIEW_MOUNT_DEFAULT "/usr/lib/nvdriver/current"

/* All borrowed. */
struct view_options {
	enum dest_profile
	    profile; /* compute, full, …; systemd units and the set-id helper never are in a view */
	const char *
	    mount; /* where it will be seen; NULL = VIEW_MOUNT_DEFAULT. Texts that name a directory name this one */
	bool compat32; /* with the 32-bit parts, if the driver has any */
	bool firmware; /* with the GPU firmware (for a role that loads modules) */
	char *const *include, *const *exclude; /* as in destination.h */
	unsigned lock_timeout_s; /* waiting for another run that makes the same view */
};

/* What goes where: paths are relative to the view, links relative to themselves, so only templates know the mount
 * point. Sentences about what has no place in a view are added to notes. Nothing on disk changes. */
int view_list_make(const struct manifest *m, int payload_fd, const struct view_options *o,
		   struct dest_list *ret, struct err *e);

/* The view of a driver's tree, made when the store has none for these options: 1 = made now, 0 = it was there (found by
 * a ref, its files looked at quickly, nothing read). Files are the tree's own by a second name where that is possible,
 * so a view takes hardly any room. notes (array, may be NULL) receives sentences when it is made.
 * The ref VIEW_REF keeps the view, and its record the driver's tree, until view_forget().
 * ERR_STORE_MISSING, ERR_STORE_DAMAGED, ERR_INSTALL_NOTHING, ERR_LOCKED. On failure the store is as it was. */
#define VIEW_REF "view/"
int view_build(struct store *s, const char *tree_id, const struct view_options *o, char ret_id[65],
	       json_t *notes, struct err *e);

/* The same without making anything: -ENOENT silently when there is none. */
int view_find(struct store *s, const char *tree_id, const struct view_options *o, char ret_id[65],
	      struct err *e);

/* The view's image, built when there is none, all its bytes compared with its record. 1 = built now, 0 = it was there.
 * ret_fd (may be NULL) receives a descriptor of it. ERR_TOOL_MISSING without mkfs.erofs. */
int view_image(struct store *s, const char *view_id, int *ret_fd, struct err *e);

/* Drops the refs to a view: the next gc takes it and its image unless a target mentions it. Absent is success. */
int view_forget(struct store *s, const char *view_id, struct err *e);
