/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The operations of plans that change a container. A plan's host is the hypervisor; these operations reach the container
 * named in their arguments through its manager. Each is journalled with its undo data before it begins, so an
 * interrupted run is taken back by recover, and a failed one before the command ends.
 *
 * All arguments hold "id", "backend", "lxcpath" and "pct", so that a journal can be taken back by a later run with
 * other options. lxc_op_args() makes such an object. */

#include "lxc.h"
#include "plan.h"

/* "lxc-config": {"add": ["key = value"], "remove": [...]} */
extern const struct op_type lxc_op_config;
/* "lxc-power": {"want": "running"|"restarted"}; undo stops a container that was stopped before. */
extern const struct op_type lxc_op_power;
/* "lxc-files": {"entries": [...]} as of "files", beneath the container's root, applied by its own root user; "base" is a
 * directory of the host. */
extern const struct op_type lxc_op_files;
/* "lxc-exec": {"argv": [...], "undo_argv": [...]|null, "what": text, "timeout_s": n, "tolerate": bool} inside. */
extern const struct op_type lxc_op_exec;
/* "lxc-live": {"dest": "usr/lib/nvdriver"}: the shared directory mounted into a running container now. */
extern const struct op_type lxc_op_live;
/* "lxc-unlive": {"dest", "live_dir"}: the opposite, before another delivery; undo mounts it again. */
extern const struct op_type lxc_op_unlive;
/* "lxc-nodes": {"nodes": [{path, major, minor}]}: device nodes bound into a running container now. */
extern const struct op_type lxc_op_nodes;
/* "lxc-ready": {"nodes": [...], "ignore_devices": bool}: waits until a command runs inside and every required node is
 * usable. ERR_LXC_DEVICE with a listing of /dev in the log. */
extern const struct op_type lxc_op_ready;
/* "lxc-push": {"from": host path, "to": path inside, "mode": n}: a large file through the manager, its digest compared
 * inside; undo removes it. */
extern const struct op_type lxc_op_push;
/* "lxc-check": {"want", "host", "machine", "nodes", "gpus", "level"}: fails unless the driver is right; nothing to undo. */
extern const struct op_type lxc_op_check;

/* Call before engine_open(): journals may name them. */
int lxc_register_ops(void);

/* {"id", "backend", "lxcpath", "pct", …} for plan_add(); NULL without memory. */
json_t *lxc_op_args(const struct lxc_ct *ct);

/* A small text file inside the container as an entry for lxc-files. */
int lxc_entry_text(json_t *entries, const char *path, const char *text, mode_t mode);
int lxc_entry_link(json_t *entries, const char *path, const char *target);
int lxc_entry_dir(json_t *entries, const char *path, mode_t mode);
int lxc_entry_absent(json_t *entries, const char *path);

/* For operations whose arguments say all that taking back needs, and for those that leave nothing to take back. */
int lxc_stage_nothing(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e);
int lxc_undo_nothing(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e);

/* What --dry-run shows of an operation that runs "argv" inside. An op_type's `show`. */
int lxc_show_inside(const struct plan_ctx *c, const json_t *args, struct strbuf *out);

/* The container an operation's arguments name, opened for it: for operations kept elsewhere. */
struct lxc_subject {
	struct lxc_settings set;
	struct lxc_backend *b; /* owned */
	const char *id; /* borrowed from the arguments */
};
int lxc_subject_open(const struct plan_ctx *c, const json_t *args, struct lxc_subject *s, struct err *e);
void lxc_subject_done(struct lxc_subject *s);
