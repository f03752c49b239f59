/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Plans: ordered operations, pure data until applied.
 *
 * An operation is a type (a table of functions), JSON arguments and a sentence. Life of one operation:
 *   check    is it done already? (plan_check; second runs change nothing)
 *   stage    everything that can be done without being seen (copies beside their destination, backups); answers
 *            the undo data, which is on disk in the journal before apply starts
 *   apply    the visible change; must be idempotent
 *   undo     takes it back from the undo data, whatever part of apply happened; idempotent; state-derived
 *   clean    drops what only undo needed (called when a deployment is forgotten)
 * The journal is one directory per transaction: plan.json, then one synced line per step in `log`.
 * A transaction that ended well is moved to its deployment record (targets/<name>/history/<id>/), from which
 * `undo` works. Whatever is found in journal/ by recover is taken back in reverse order (or, when the commit line
 * is there, finished). */

#include "err.h"
#include "host.h"
#include "strbuf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct plan_ctx {
	const struct host *host;        /* the root that is changed */
	int undo_fd;                    /* directory of this transaction: backups live here */
	const char *txid;               /* 16 hex digits */
	int log_fd;                     /* output of child processes, -EBADF = none */
	bool offline;
};

struct op_type {
	const char *name;               /* stable, stored in journals: "files", "ldconfig", "command", … */
	/* 1 = already so, 0 = to do, negative error. NULL = always to do. */
	int (*check)(const struct plan_ctx *c, const json_t *args, struct err *e);
	int (*stage)(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e);
	int (*apply)(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e);
	int (*undo)(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e);
	/* Text for --dry-run beyond the sentence (diffs, file lists), appended to out. May be NULL. */
	int (*show)(const struct plan_ctx *c, const json_t *args, struct strbuf *out);
};

struct op {
	const struct op_type *type;
	json_t *args;                   /* owned */
	char *sentence;                 /* owned: "install 214 files of driver 535.261.03 below /usr" */
	bool already;                   /* filled by plan_check */
};

struct plan {
	char *title;                    /* owned: "install driver 535.261.03 into /srv/root" */
	char *target;                   /* owned: name below targets/ */
	json_t *meta;                   /* owned: kept with the deployment (driver, tree id, …) */
	struct op *ops; size_t n_ops;
};

int plan_new(const char *title, const char *target, struct plan **ret);
void plan_freep(struct plan **p);
int plan_add(struct plan *p, const struct op_type *type, json_t *args /* stolen */, const char *sentence_fmt, ...) _printf_(4, 5);

/* Every type a journal may name must be registered before recover/undo (engine does it at start). */
int op_type_register(const struct op_type *type);
const struct op_type *op_type_find(const char *name);

int plan_check(struct plan *p, const struct host *host, struct err *e);         /* fills op.already; 1 = nothing to do */
int plan_to_json(const struct plan *p, json_t **ret);
int plan_to_text(const struct plan *p, const struct host *host, struct strbuf *out);

/* State directory for journals and deployments, filled in by the store. Both are directory descriptors. */
struct plan_state { int journal_fd; int targets_fd; };

/* Apply all, or none: on error or interruption everything done is undone in reverse before returning. The first
 * plan on a target while another runs waits up to lock_timeout_s (ERR_LOCKED). `deployment` receives the
 * transaction id. */
int plan_apply(struct plan *p, const struct plan_state *st, const struct host *host, unsigned lock_timeout_s, char **ret_txid, struct err *e);

/* recover: for all journals not held by a live run. Returns how many were taken back or finished, or an error. Roots
 * are reopened from the path recorded in the plan. */
int plan_recover(const struct plan_state *st, struct err *e);
/* Take back a finished deployment of a target (NULL txid = newest). ERR_UNDO_CHANGED names what a person changed since, nothing is touched then
 * unless force. */
int plan_undo(const struct plan_state *st, const char *target, const char *txid, bool force, bool dry_run, struct strbuf *show, struct err *e);
int plan_history(const struct plan_state *st, const char *target /* NULL = all */, json_t **ret_list, struct err *e);

/* -- the operations every role uses (op-files.c, op-command.c) -- */

/* "files": put, replace or remove any number of files, links and directories beneath the root in one atomic step.
 * args: { "base": absolute path of a directory the "from" names are relative to (a store tree), optional,
 *   "entries": [ {"path": "usr/lib/x.so.1", "type": "file", "mode": 493, "size": n, "sha256": hex, "from": "x.so.1"}   content from base
 *              | {"path", "type":"file", "mode", "bytes_base64"}                                       content inline
 *              | {"path", "type":"link", "target"} | {"path", "type":"dir", "mode"} | {"path", "type":"absent"} ] }
 * Parents are created (0755) and removed again by undo. What stood there before is kept (hard link where possible, else copy with mode, owner, times,
 * xattrs) and comes back by undo byte for byte. Content is verified against sha256 while it is copied. Entries are published in the
 * given order. Directories of the root are resolved with PATH_IN_ROOT semantics, never leaving it. */
extern const struct op_type op_files;

/* "edit": replace the content of one user's file by a pure transformation's result; args {"path","old_sha256"|null,"bytes_base64","mode"}; show prints a
 * unified diff; undo restores the original bytes, mode, owner; if the file was changed by somebody since, undo says so and leaves it. */
extern const struct op_type op_edit;

/* "command": args {"argv":[...], "undo_argv":[...]|null, "chroot":bool, "timeout_s":n, "what":text, "tolerate": bool} */
extern const struct op_type op_command;
