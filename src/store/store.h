/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The content-addressed driver store (design: "Store"). Objects appear by one rename of something complete and
 * synced; readers never see a partial object; writers lock one object, never the store. Locks are bytes of the
 * `format` file (see lock_byte), so they work through bind mounts and leave nothing behind.
 *
 *   format  packages/ trees/ images/ kernels/ probes/ objects/ modules/ refs/ refs/pins/ keys/ targets/ journal/ tmp/
 */

#include "err.h"
#include "lock.h"
#include "plan.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct store {
	int dir_fd; /* owned */
	int format_fd; /* owned; carries the locks */
	char *path; /* for messages and for tools that need a path */
	bool read_only; /* on a read-only file system or without permission */
};

enum store_kind {
	STORE_PACKAGE,
	STORE_TREE,
	STORE_IMAGE,
	STORE_KERNEL,
	STORE_PROBE,
	STORE_OBJECT,
	STORE_MODULE,
	STORE_TARGET,
	STORE_JOURNAL,
	STORE_KIND_COUNT
};
const char *store_kind_dir(enum store_kind kind); /* "packages", "trees", … */
int store_kind_parse(const char *dir, enum store_kind *ret); /* -EINVAL for any other word */

/* Opens, creating the layout when `create`. ERR_STORE_FORMAT for another format, or a directory that holds
 * something else. -ENOENT when there is none and `create` is false. */
int store_open(const char *path, bool create, struct store **ret, struct err *e);
void store_freep(struct store **s);

/* Removes what dead runs left below tmp/; live stages are left alone. Returns how many, 0 the second time.
 * Every command that opens the store for writing calls this, then plan_recover(). */
int store_recover(struct store *s, struct err *e);

/* The directories a plan keeps its state in. The descriptors belong to the caller: store_state_close(). */
int store_state_open(struct store *s, struct plan_state *ret, struct err *e);
void store_state_close(struct plan_state *st);

/* Lock one object for writing. Waits up to timeout_s, ERR_LOCKED after that (object named). Who publishes an object
 * holds its lock until a ref or record names it: gc leaves locked objects alone. */
int store_lock(struct store *s, enum store_kind kind, const char *id, unsigned timeout_s, struct lock *ret,
	       struct err *e);

bool store_has(struct store *s, enum store_kind kind, const char *id);
/* Directory (or file for images) descriptor of an object; -ENOENT silently when absent. */
int store_object_open(struct store *s, enum store_kind kind, const char *id);
char *store_object_path(struct store *s, enum store_kind kind, const char *id); /* absolute, caller frees */

/* Staging: a private directory below tmp/, removed on scope exit unless published. */
struct store_stage {
	struct store *store;
	int dir_fd; /* owned; the staging directory */
	char name[64];
};
#define STORE_STAGE_INIT                                                                                     \
	{                                                                                                    \
		NULL, -EBADF, ""                                                                             \
	}
int store_stage_begin(struct store *s, struct store_stage *ret, struct err *e);
/* The same with an empty directory root/ in it, as trees and kernel trees are kept; its descriptor is the caller's. */
int store_stage_begin_root(struct store *s, struct store_stage *ret, int *ret_root_fd, struct err *e);
void store_stage_done(struct store_stage *st);
char *store_stage_path(const struct store_stage *st);
/* Sync the stage, rename it to <kind>/<id> (mode 0755; modes below stay as they are). When the object exists
 * already the stage is dropped and 0 returned. 1 = published now. Either way the stage is done with. STORE_IMAGE
 * publishes the stage's one file image.erofs. On failure the stage stays and the store is unchanged. */
int store_publish(struct store_stage *st, enum store_kind kind, const char *id, struct err *e);

/* Takes an object away in one step; absent is success. */
int store_remove(struct store *s, enum store_kind kind, const char *id, struct err *e);
typedef int (*store_list_fn)(const char *id, void *arg);
int store_list(struct store *s, enum store_kind kind, store_list_fn fn, void *arg); /* sorted by name */

/* refs: human names -> ids. `name` may hold slashes, each component name_is_safe ("driver/535.261.03-x86_64").
 * A ref is a small file: "<kind dir>/<id>\n". */
int store_ref_set(struct store *s, const char *name, enum store_kind kind, const char *id, struct err *e);
int store_ref_get(struct store *s, const char *name, enum store_kind *ret_kind, char **ret_id); /* -ENOENT */
int store_ref_remove(struct store *s, const char *name, struct err *e);
typedef int (*store_ref_fn)(const char *name, enum store_kind kind, const char *id, void *arg);
int store_ref_list(struct store *s, const char *prefix, store_ref_fn fn,
		   void *arg); /* sorted within each directory */
bool store_ref_name_is_valid(const char *name);
/* The text of a ref file; -EINVAL for anything else. */
int store_ref_parse(const char *text, size_t len, enum store_kind *ret_kind, char **ret_id);

/* Records: one JSON object per file, published atomically, keys sorted. */
int store_record_write(int dirfd, const char *name, json_t *record, mode_t mode, struct err *e);
/* The same where a killed run's temporary would stay: in an object that is published already, in images/. */
int store_record_put(struct store *s, int dirfd, const char *name, json_t *record, mode_t mode,
		     struct err *e);
int store_record_read(int dirfd, const char *name, json_t **ret, struct err *e); /* -ENOENT silently in e */

/* Trees: id = sha256 over lines "<type> <mode octal> <size> <sha256|link text> <path>\n" sorted by path; type is f, d
 * or l. Modes are those a tree has in the store, whoever unpacked it: 555 for what anybody may execute, else 444;
 * directories 755, links 777 with the size of their text. Any other kind of file is refused (ERR_FORMAT).
 * trees/<id>/root/ holds the payload, trees/<id>/record.json: what the caller gave (version, arch, kind, source)
 * and id, size_bytes and files: path, type, mode, and for files size, sha256, inode, mtime_ns, ctime_ns, for links
 * target. Hashing runs on several threads. */
int store_tree_digest(int root_fd, char ret_id[65], json_t **ret_files, struct err *e);
/* Publish a staged payload directory (stage/root) with `meta` merged into the record. Files become read-only.
 * Same answers as store_publish(). */
int store_tree_add(struct store_stage *st, json_t *meta, char ret_id[65], struct err *e);
/* -ENOENT with an explanation when it is not there. Either ret may be NULL. */
int store_tree_open(struct store *s, const char *id, int *ret_root_fd, json_t **ret_record, struct err *e);
enum store_verify { STORE_VERIFY_QUICK, STORE_VERIFY_FULL };
/* Quick: the record, and for each file unchanged size, inode, mtime and ctime; only a file that differs there is
 * read (a store copied elsewhere is not damaged; where it can be written, its record then says where the files are
 * now and the next look is quick again). Full reads everything. ERR_STORE_DAMAGED names the first
 * difference; problems (an array, may be NULL) collects all as strings. */
int store_tree_verify(struct store *s, const char *id, enum store_verify how, json_t *problems,
		      struct err *e);
/* Quick, and only what is below one directory of the payload ("firmware"); what is wrong elsewhere is not seen. */
int store_tree_verify_below(struct store *s, const char *id, const char *dir, struct err *e);

/* An immutable EROFS image of the tree's payload as images/<id>.erofs, the same bytes from the same tree wherever it
 * is built with one version of mkfs.erofs, and images/<id>.json: {"tree", "sha256", "size_bytes", "verity"}. Where the
 * file system has fs-verity nobody can change the image from then on, and "verity" is the digest it is held to. 1 = built
 * now, 0 = there already. Runs mkfs.erofs (ERR_TOOL_MISSING). A view made from a driver's tree has an image by being a
 * tree itself. */
int store_image_build(struct store *s, const char *id, struct err *e);
/* A descriptor of the image once all its bytes match its record, else ERR_STORE_DAMAGED; ERR_STORE_MISSING when there is
 * none. ret_fd may be NULL. */
int store_image_open(struct store *s, const char *id, int *ret_fd, struct err *e);

/* What neither a ref nor a target nor a running transaction reaches. A record reaches every object whose id it
 * mentions anywhere, alone or as part of a path, and so on from there. Objects that are locked stay. ret_list: an array of
 * {"object": "<kind dir>/<id>", "size_bytes"}. */
struct store_gc_result {
	uint64_t objects, bytes;
};
int store_gc(struct store *s, bool dry_run, json_t **ret_list, struct store_gc_result *ret, struct err *e);

/* Forgets a target whose root no longer exists (ERR_TARGET_EXISTS otherwise): its history and interrupted runs, in one step as
 * far as readers see. What only it kept is collected by the next gc. Never done
 * unasked: a root on a disk that is not mounted looks gone too. */
int store_target_forget(struct store *s, const char *target, bool dry_run, struct err *e);

/* Give a tree to a target directory. What the receiver is decides what is safe; `auto` takes the first that works, in
 * the order of this table:
 *   erofs     the tree's image, mounted read-only; only if it was built          READER PRIVILEGED
 *   bind      the tree mounted read-only                                         READER
 *   overlay   the tree below, changes in the receiver's own .<to>.overlay/       WRITER
 *   reflink   clones that share blocks, where the file systems can               all
 *   hardlink  the same files by a second name                                    TRUSTED
 *   copy                                                                         all
 * A hard link is the store's own file and a bind mount can be remounted by who has the right to mount, so neither is
 * ever given to a privileged receiver; an image has nothing behind it that could be written. */
enum store_share {
	SHARE_AUTO,
	SHARE_EROFS,
	SHARE_BIND,
	SHARE_OVERLAY,
	SHARE_REFLINK,
	SHARE_HARDLINK,
	SHARE_COPY
};
enum store_receiver {
	STORE_RECEIVER_OWN, /* stands on its own: a root that is copied or that outlives mounts */
	STORE_RECEIVER_READER, /* reads, without the right to mount: an unprivileged container */
	STORE_RECEIVER_WRITER, /* has to write into what it gets; mounts are fine */
	STORE_RECEIVER_PRIVILEGED, /* reads, and could remount what it gets */
	STORE_RECEIVER_TRUSTED, /* stands on its own, and nobody but us writes there */
};
const char *store_share_name(enum store_share how);
int store_share_parse(const char *s, enum store_share *ret);
/* `to` is one component that does not exist. ret_used says which method it was. ERR_UNSUPPORTED for a method that is not
 * safe for the receiver or not possible there, ERR_MOUNT_DENIED without the right to mount; a damaged image is never
 * passed over for another method. On failure nothing is left. Nothing is synced; mounts last until the next boot. */
int store_tree_share(struct store *s, const char *id, int to_dirfd, const char *to,
		     enum store_receiver receiver, enum store_share how, enum store_share *ret_used,
		     struct err *e);
/* Takes it away again, however it was shared, with all the receiver wrote into it. -EBUSY while somebody uses the mount:
 * then nothing has changed. Absent is success. */
int store_tree_unshare(int to_dirfd, const char *to, struct err *e);
