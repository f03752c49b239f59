/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The directory all containers share: /run/nvdriver/live, a small tmpfs whose mount is shared, so that what is mounted
 * below it appears in every container that has it as a slave.
 *
 *   <version>-<id>/  the image of that driver's user-space view, mounted read-only
 *   current          link to the one in use; changed by one rename, which all containers see at once
 *   previous         link to the one before, for rollback
 *   locked/          the same for containers that could make this file system writable (lxc-locked.h)
 *
 * The tmpfs is read-only except during a change. Mounts end with the boot; nothing of it is state. */

#include "lxc.h"

#define LXC_LIVE_DIR	 "/run/nvdriver/live"
#define LXC_LIVE_DEST	 "usr/lib/nvdriver" /* in a container */
#define LXC_LIVE_CURRENT "/usr/lib/nvdriver/current"

/* "535.261.03-0123456789ab" */
char *lxc_live_name(const char *version, const char *view_id);
/* The version in such a name; -EINVAL. Caller frees. */
int lxc_live_version(const char *name, char **ret);

/* The tree of a version in the store, its view and the view's image, all made when missing: from the store's tree, else
 * from a run file of the cache (lxc-cache.h), else fetched. extras: enum lxc_extra. view_id: 65 bytes.
 * ERR_DRIVER_NOT_PREPARED offline. */
int lxc_live_prepare(const struct lxc *x, const struct lxc_ct_config *conf, const char *version,
		     unsigned extras, char *ret_view_id, struct err *e);
/* Mount that view (nothing happens when it is). *ret_name: caller frees. ERR_LXC_LIVE. */
int lxc_live_mount(const struct lxc *x, const char *version, const char *view_id, char **ret_name,
		   struct err *e);
/* `current` names this one from now on, `previous` what it named before. 1 = changed, 0 = it did already. */
int lxc_live_switch(const struct lxc *x, const char *name, struct err *e);
/* Notes that a switch is begun but not yet followed by all that has to follow, so that the run after a killed one does the rest;
 * begun false: it is finished. lxc_live_link(x, LXC_SWITCHING) is not NULL in between. */
#define LXC_SWITCHING ".switching"
int lxc_live_switching(const struct lxc *x, bool begun, struct err *e);
/* Back to `previous`; *ret_name (caller frees) is what is current then. ERR_UNDO_NOTHING without one. */
int lxc_live_rollback(const struct lxc *x, char **ret_name, struct err *e);
/* Unmounts what is neither current nor previous nor still used by a container. How many. */
int lxc_live_prune(const struct lxc *x, struct err *e);
/* What `current` (or `previous`) names; NULL when there is none. Caller frees. */
char *lxc_live_link(const struct lxc *x, const char *link);
/* The directory's descriptor, -EBADF when it is not there. For checks of stopped containers. */
int lxc_live_open(const struct lxc *x);
/* Is the mount there at all? */
bool lxc_live_is_mounted(const struct lxc *x);
/* What of it a container gets: all, or, when its root has the host's rights over mounts, the part that nobody can make
 * writable (lxc-locked.h). Absolute; caller frees. */
char *lxc_live_source(const struct lxc *x, bool unprivileged);
/* Makes that part, with what `current` names; nothing happens when it is so or nothing is current. ERR_LXC_LIVE. */
int lxc_live_lock(const struct lxc *x, struct err *e);
/* "lxc.mount.entry = …" for a container's configuration. Caller frees. */
char *lxc_live_line(const struct lxc *x, bool unprivileged);
/* Is something mounted on this name? */
bool lxc_mount_is_point(int dirfd, const char *name);
/* A detached copy of what is mounted at a path (everything below a directory: read-only, no devices), to be attached
 * elsewhere. A descriptor. */
int lxc_mount_clone(const char *path, bool is_dir);

/* A copy of the mount placed into the mount name-space of a running container, as its configuration will at the next
 * start. Nothing happens when it is there with what is mounted in it. */
int lxc_live_place(const char *live_dir, const struct lxc_place *place, const char *dest, struct err *e);
int lxc_live_unplace(const struct lxc_place *place, const char *dest, struct err *e);
/* Is something of the shared directory mounted there? Looked at through proc/<pid>/mountinfo. */
bool lxc_live_is_placed(const struct lxc_place *place, const char *dest);
/* With the images mounted in it? A manager that adds a directory to a running container leaves them out (LXD does). */
bool lxc_live_is_whole(const struct lxc_place *place, const char *dest);
/* One host device node bound over `path` of a running container. */
int lxc_node_place(const char *host_node, const struct lxc_place *place, const char *path, struct err *e);
