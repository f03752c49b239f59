/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside of op_files and op_edit. */

#include "plan.h"

#include <stdint.h>
#include <sys/stat.h>

enum entry_type { ENTRY_FILE, ENTRY_LINK, ENTRY_DIR, ENTRY_ABSENT };

/* One entry of the arguments, checked. Strings are borrowed from the JSON. */
struct entry {
	const char *path, *from, *sha256, *base64, *target;
	enum entry_type type;
	mode_t mode;
	uint64_t size;
	bool keep_owner;
	int64_t uid, gid; /* -1: whoever we are */
	char own_sha256[65]; /* computed for inline content */
	const json_t *was; /* the undo data's word on it; NULL before stage */
};

struct entries {
	struct entry *v; /* owned */
	size_t n;
	const char *base; /* borrowed; NULL = inline content only */
};

int entries_load(const json_t *args, const json_t *undo, struct entries *ret, struct err *e);
void entries_done(struct entries *l);
const char *entry_sha256(const struct entry *en);

/* What stands at a place: the part of it that tells old from new. */
struct place {
	int parent_fd; /* owned; -EBADF when the directory is not there */
	const char *name; /* last component, points into the path given */
	struct stat st; /* st_mode 0 = absent */
	char *target; /* owned; of a link */
};
#define PLACE_INIT                                                                                           \
	{                                                                                                    \
		-EBADF, NULL, { 0 }, NULL                                                                    \
	}
int place_open(int root_fd, const char *path, struct place *ret);
void place_done(struct place *p);

/* 1 when what stands there is what the entry wants (contents compared), 0 when not, or -errno. */
int place_is_wanted(int root_fd, const struct place *p, const struct entry *en);

/* "var/lib/nvdriver/undo-<txid>-<index>" */
char *files_backup_dir(const struct plan_ctx *c);
int files_backup_name(size_t i, char out[32]);
/* The copy of an old file that could not be linked, in the transaction's own directory. */
int files_copy_name(const struct plan_ctx *c, size_t i, char out[48]);
int files_tmp_name(const struct plan_ctx *c, size_t i, char out[64]);

const char *json_text(const json_t *o, const char *key); /* "" when absent */
bool was_same(const struct entry *en);

int files_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e);
int files_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e);
int files_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e);
int files_changed(const struct plan_ctx *c, const json_t *args, const json_t *undo, json_t *list,
		  struct err *e);

/* Owner, xattrs, mode and times of one file onto another. Owner and xattrs the file system or our rights refuse are
 * left out. */
int attributes_copy(int from_fd, int to_fd, const struct stat *st, bool times);

/* syncfs of every file system below which an entry changes something. */
int files_sync(const struct plan_ctx *c, const struct entries *l);
