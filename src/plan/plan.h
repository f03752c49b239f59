/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Plans: ordered operations, pure data until applied.
 *
 * An operation is a type (a table of functions), JSON arguments and a sentence. Life of one operation:
 *   check    is it done already? (plan_check; second runs change nothing)
 *   stage    look at what is there and answer the undo data. Only reads: its answer is on disk in the journal
 *            before anything is touched
 *   apply    the change: prepare beside the destination what can be prepared unseen, sync, then make it visible
 *   undo     take it back from the undo data, whatever part of apply happened; run again it does nothing more
 *   changed  what somebody else changed since apply: undo leaves such things alone and says so
 * Operations are undone in reverse order, so a command that has to run after the files changed in both
 * directions appears twice: last with its argv, first with its undo_argv.
 *
 * The journal is one directory per transaction, held by its maker (livedir.h): plan.json, undo-<n>.json, and in
 * `log` one synced line per step: "target <name>", "begin <n>", "done <n>", "commit", "undo". plan.json is the first thing removed
 * and the last written: without it nothing has happened. A transaction that ended well is moved to
 * targets/<name>/history/<id>/, from where `undo` works. Whatever recover finds in journal/ without a living
 * maker is taken back in reverse order or, when the commit line is there, finished. */

#include "err.h"
#include "host.h"
#include "lock.h"
#include "parse.h"
#include "strbuf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct spawn;

struct plan_ctx {
	const struct host *host; /* the root that is changed */
	int undo_fd; /* directory of this transaction, for backups; -EBADF in check */
	const char *txid; /* 16 hex digits; NULL in check */
	unsigned index; /* of the operation in its plan: names that must differ between operations */
	int log_fd; /* output.log of the transaction, see plan_run(); -EBADF = none */
	bool offline;
	const int
	    *base_fd; /* of a "files" base that its path does not lead to from here; NULL = go by the path */
};

struct op_type {
	const char *name; /* stable, stored in journals: "files", "ldconfig", "command", … */
	/* 1 = already so, 0 = to do, negative error. NULL = always to do. */
	int (*check)(const struct plan_ctx *c, const json_t *args, struct err *e);
	int (*stage)(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e);
	int (*apply)(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e);
	int (*undo)(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e);
	/* Appends the names of things that are neither as apply left them nor as they were before. May be NULL. */
	int (*changed)(const struct plan_ctx *c, const json_t *args, const json_t *undo, json_t *list,
		       struct err *e);
	/* Text for --dry-run beyond the sentence (diffs, file lists), appended to out. May be NULL. */
	int (*show)(const struct plan_ctx *c, const json_t *args, struct strbuf *out);
};

struct op {
	const struct op_type *type;
	json_t *args; /* owned */
	char *sentence; /* owned: "install 214 files of driver 535.261.03 below /usr" */
	bool already; /* filled by plan_check */
};

struct plan {
	char *title; /* owned: "install driver 535.261.03 into /srv/root" */
	char *target; /* owned: name below targets/ */
	json_t *meta; /* owned: kept with the deployment (driver, tree id, …) */
	struct op *ops;
	size_t n_ops;
};

/* `target` must be a safe name (name_is_safe). */
int plan_new(const char *title, const char *target, struct plan **ret);
void plan_freep(struct plan **p);
int plan_add(struct plan *p, const struct op_type *type, json_t *args /* stolen */, const char *sentence_fmt,
	     ...) _printf_(4, 5);

/* Every type a journal may name must be registered before recover/undo (engine does it at start). */
int op_type_register(const struct op_type *type);
const struct op_type *op_type_find(const char *name);

int plan_check(struct plan *p, const struct host *host,
	       struct err *e); /* fills op.already; 1 = nothing to do */
int plan_to_json(const struct plan *p, json_t **ret);
int plan_to_text(const struct plan *p, const struct host *host, struct strbuf *out);

/* An operation's external program: what was called, when, its whole output (both streams) and how it ended go to the
 * transaction's output.log. A captured machine answers from its recording. As spawn_run(). */
int plan_run(const struct plan_ctx *c, struct spawn *s, struct err *e);

/* State directory for journals and deployments, filled in by the store. Both are directory descriptors. */
struct plan_state {
	int journal_fd;
	int targets_fd;
};

/* Apply all, or none: on error everything done is undone in reverse before returning. Waits up to lock_timeout_s
 * for another run on the same target (ERR_LOCKED). *ret_txid (may be NULL) receives the transaction id, caller
 * frees; NULL when every operation was done already and nothing was recorded. 1 = applied, 0 = nothing to do. */
int plan_apply(struct plan *p, const struct plan_state *st, const struct host *host, unsigned lock_timeout_s,
	       char **ret_txid, struct err *e);

/* For all journals nobody holds: take back what was begun, finish what was committed. Roots are reopened from the
 * path recorded in the plan. Returns how many, 0 the second time. A journal whose root cannot be opened now is
 * left, with a warning; the next plan on that target fails with ERR_JOURNAL_STUCK. */
int plan_recover(const struct plan_state *st, struct err *e);

/* Take back a finished deployment of a target (NULL txid = newest). ERR_UNDO_CHANGED names what somebody changed
 * since, and nothing is touched, unless force: those are left and the rest is taken back. dry_run only fills
 * `show` (may be NULL otherwise). */
int plan_undo(const struct plan_state *st, const char *target, const char *txid, bool force, bool dry_run,
	      struct strbuf *show, struct err *e);

/* Held from looking at a target until the plan made of what was seen is applied or taken back: nobody else plans for it
 * meanwhile. plan_apply() and plan_undo() take the target's own lock besides. Waits up to timeout_s, then ERR_LOCKED. A target
 * that is not there yet is made, or with create false ERR_UNDO_NOTHING. */
int plan_target_claim(const struct plan_state *st, const char *target, bool create, unsigned timeout_s,
		      struct lock *ret, struct err *e);

/* Gives up a target whose root is gone (ERR_TARGET_EXISTS while it is there): drops its interrupted runs, which can be taken
 * back nowhere. Its directory below targets/ is the store's to remove, under the lock returned here. dry_run only asks. */
int plan_target_abandon(const struct plan_state *st, const char *target, bool dry_run, struct lock *ret_lock,
			struct err *e);
/* Names of the targets with deployments, all of them into roots that are gone. */
int plan_targets_gone(const struct plan_state *st, json_t **ret_names, struct err *e);

/* Deployments, oldest first: {"target", "id", "sequence", "time", "title", "state": "applied"|"undone", "root" (of applied
 * ones), "operations": [sentence], "meta"}. */
int plan_history(const struct plan_state *st, const char *target /* NULL = all */, json_t **ret_list,
		 struct err *e);

/* The text of a journal's log and of plan.json (written by us, read after a crash): strict, a torn last line
 * is as if it were not there. */
struct journal_log {
	size_t begun, done;
	bool committed, undoing;
	char target[256]; /* whose it is, also when plan.json cannot be read; "" = not said */
};
int journal_log_parse(const char *text, size_t len, struct journal_log *ret);
int plan_parse(const char *text, size_t len, struct plan **ret, struct err *e);

/* -- the operations every role uses (op-files.c, op-command.c) -- */

/* "files": put, replace or remove any number of files, links and directories beneath the root in one atomic step.
 * args: { "base": absolute path of a directory the "from" names are relative to (a store tree), optional,
 *   "entries": [ {"path": "usr/lib/x.so.1", "type": "file", "mode": 493, "size": n, "sha256": hex, "from": "x.so.1"}
 *                                                                                    content from base;
 *                optional "uid" and "gid" (both) for content that was somebody's before
 *              | {"path", "type": "file", "mode", "bytes_base64", "keep_owner": bool}  content inline
 *              | {"path", "type": "link", "target"} | {"path", "type": "dir", "mode"} | {"path", "type": "absent"} ] }
 * No path may appear twice. Parents are created (0755) and removed again by undo when empty. A directory that
 * exists is left as it is; "absent" removes a directory only when it is empty. ERR_PLAN_CONFLICT when a directory
 * or device stands where a file or link has to go. What stood there before is kept beneath the root in
 * var/lib/nvdriver/undo-<txid>-<index>/ as a hard link, or where that is not possible as a copy with mode, owner,
 * times and xattrs in the journal, and comes back by undo. Content is verified against sha256 once it is copied
 * (ERR_CONTENT_MISMATCH). Everything is staged and synced under temporary names beside its destination before the
 * first rename. Directories are resolved with PATH_IN_ROOT semantics, never leaving the root. */
extern const struct op_type op_files;

/* "edit": replace the content of one user's file by the result of a pure transformation, keeping owner and xattrs.
 * args {"path", "old_sha256"|null, "bytes_base64", "mode"}; a file that no longer has old_sha256 when applied is
 * ERR_EDIT_STALE. show prints a unified diff. Symbolic links are refused. */
extern const struct op_type op_edit;
/* Adds an edit: old NULL = the file must not exist. Mode is used for a new file, an old one keeps its own. */
int plan_add_edit(struct plan *p, const char *path, const void *old, size_t old_len, const void *bytes,
		  size_t len, mode_t mode, const char *sentence);

/* Unified diff of two texts with three lines of context, as `diff -u` prints it; nothing when they are equal. Pure. */
int diff_unified(const char *name, struct span old, struct span new, struct strbuf *out);

/* "command": args {"argv": [...]|null, "undo_argv": [...]|null, "chroot": bool, "timeout_s": n, "what": text,
 * "tolerate": bool}. Tolerated failures are warned about. A failing undo command never stops the undo. */
extern const struct op_type op_command;
