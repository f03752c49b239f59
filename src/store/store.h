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

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct store {
	int dir_fd;             /* owned */
	int format_fd;          /* owned; carries the locks */
	char *path;             /* for messages and for tools that need a path */
	bool read_only;         /* on a read-only file system or without permission */
};

enum store_kind { STORE_PACKAGE, STORE_TREE, STORE_IMAGE, STORE_KERNEL, STORE_PROBE, STORE_OBJECT, STORE_MODULE, STORE_TARGET, STORE_JOURNAL, STORE_KIND_COUNT };
const char *store_kind_dir(enum store_kind kind);       /* "packages", "trees", … */

/* Opens, creating the layout when `create`. ERR_STORE_FORMAT for another format. */
int store_open(const char *path, bool create, struct store **ret, struct err *e);
void store_freep(struct store **s);

/* Lock one object for writing. Waits up to timeout_s, ERR_LOCKED after that (object named). */
int store_lock(struct store *s, enum store_kind kind, const char *id, unsigned timeout_s, struct lock *ret, struct err *e);

bool store_has(struct store *s, enum store_kind kind, const char *id);
/* Directory (or file for images) descriptor of an object; -ENOENT silently when absent. */
int store_object_open(struct store *s, enum store_kind kind, const char *id);
char *store_object_path(struct store *s, enum store_kind kind, const char *id); /* absolute, caller frees */

/* Staging: a private directory below tmp/, removed on scope exit unless published. */
struct store_stage {
	struct store *store;
	int dir_fd;             /* owned; the staging directory */
	char name[64];
};
#define STORE_STAGE_INIT { NULL, -EBADF, "" }
int store_stage_begin(struct store *s, struct store_stage *ret, struct err *e);
void store_stage_done(struct store_stage *st);
char *store_stage_path(const struct store_stage *st);
/* Sync the stage (all files), set directories 0555-less permissions as they are, rename to <kind>/<id>. When the
 * object exists already the stage is dropped and 0 returned. 1 = published now. */
int store_publish(struct store_stage *st, enum store_kind kind, const char *id, struct err *e);

int store_remove(struct store *s, enum store_kind kind, const char *id, struct err *e);
typedef int (*store_list_fn)(const char *id, void *arg);
int store_list(struct store *s, enum store_kind kind, store_list_fn fn, void *arg); /* sorted by name */

/* refs: human names -> ids. `name` may hold slashes, each component name_is_safe ("driver/535.261.03-x86_64").
 * A ref is a small file: "<kind dir>/<id>\n". */
int store_ref_set(struct store *s, const char *name, enum store_kind kind, const char *id, struct err *e);
int store_ref_get(struct store *s, const char *name, enum store_kind *ret_kind, char **ret_id); /* -ENOENT */
int store_ref_remove(struct store *s, const char *name, struct err *e);
typedef int (*store_ref_fn)(const char *name, enum store_kind kind, const char *id, void *arg);
int store_ref_list(struct store *s, const char *prefix, store_ref_fn fn, void *arg);

/* Records: one JSON object per file, published atomically, keys sorted. */
int store_record_write(int dirfd, const char *name, json_t *record, mode_t mode, struct err *e);
int store_record_read(int dirfd, const char *name, json_t **ret, struct err *e); /* -ENOENT silently in e */

/* Trees: id = sha256 over sorted lines "<type> <mode octal> <size> <sha256|link text> <path>\n".
 * trees/<id>/root/ holds the payload, trees/<id>/record.json: version, arch, kind, source, list of files with
 * size, mode, sha256 and (for the quick check) inode, mtime_ns, ctime_ns. */
struct tree_id { char hex[65]; };
int store_tree_digest(int root_fd, char ret_id[65], json_t **ret_files, struct err *e);
/* Publish a staged payload directory (stage/root) with `meta` merged into the record. */
int store_tree_add(struct store_stage *st, json_t *meta, char ret_id[65], struct err *e);
int store_tree_open(struct store *s, const char *id, int *ret_root_fd, json_t **ret_record, struct err *e);
enum store_verify { STORE_VERIFY_QUICK, STORE_VERIFY_FULL };
/* Quick: record and unchanged size, inode, mtime, ctime. Full reads everything. ERR_STORE_DAMAGED names the first
 * difference; ret_problems (may be NULL) collects all as JSON strings. */
int store_tree_verify(struct store *s, const char *id, enum store_verify how, json_t *problems, struct err *e);

/* What nothing reaches. */
struct store_gc_result { uint64_t objects, bytes; };
int store_gc(struct store *s, bool dry_run, json_t *ret_list, struct store_gc_result *ret, struct err *e);

/* Give a tree to a target directory by the cheapest safe way. */
enum store_share { SHARE_AUTO, SHARE_REFLINK, SHARE_HARDLINK, SHARE_BIND, SHARE_OVERLAY, SHARE_EROFS, SHARE_COPY };
const char *store_share_name(enum store_share m);
int store_share_parse(const char *s, enum store_share *ret);
int store_tree_share(struct store *s, const char *id, int to_dirfd, const char *to, enum store_share how, enum store_share *ret_used, struct err *e);
