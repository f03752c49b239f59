/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A driver's user space into any root, and out of it again. Everything here only plans: bytes move when plan.h
 * applies the plan, in one atomic step with its undo data.
 *
 * Removal is the undo of every deployment that put user space there, newest first, so the root is as it was before the
 * first one. Whatever somebody changed since stays and is reported. */

#include "destination.h"
#include "host.h"
#include "plan.h"

#include <jansson.h>

extern const struct op_type op_ldconfig; /* args {"when": "first"|"last"} */

struct userspace_request {
	int tree_fd; /* borrowed; payload root of a store tree */
	const char *tree_path; /* borrowed; the same, absolute, for the plan */
	const char *tree_id; /* borrowed */
	const json_t *tree_record; /* borrowed; of the store, with digests; NULL = files are read for them */
	const char *arch; /* "x86_64", "aarch64" */
	const char *libdir, *libdir32; /* below usr/; NULL = found */
	bool compat32;
	bool force; /* replace what belongs to others */
	bool ignore_alternate; /* install although the distribution says that it brings the driver itself */
	bool replace_vendor; /* take an installation of the vendor's own installer over */
	bool write_vendor_record; /* leave a record the vendor's uninstaller understands */
	bool systemd_off; /* no units, even where systemd is */
	struct dest_options dest; /* dirs and facts of the root are filled in by the call */
};

/* "host" for the machine itself, else "root-" and 16 hex digits of the digest of the root's real path. Caller
 * frees. */
int userspace_target_name(const struct host *h, char **ret, struct err *e);

/* What has to happen so that the root holds exactly this driver: files, links, loader cache, systemd. An older
 * installation of ours is replaced in the same step. *ret_plan: caller frees; it has no operations when there is
 * nothing to do. *ret_report (caller decrefs, set on failure too when anything is known): {version, arch, tree,
 * profile, libdir, compat32_libdir, files, links, bytes, notes: [text], conflicts: [..]}.
 * ERR_INSTALL_CONFLICT, ERR_INSTALL_ALTERNATE, ERR_INSTALL_VENDOR, ERR_INSTALL_NOTHING, ERR_ROOT_MUSL,
 * ERR_ROOT_MACHINE. Nothing on disk changes. */
int userspace_plan_install(const struct host *h, const struct userspace_request *q, struct plan **ret_plan,
			   json_t **ret_report, struct err *e);

/* Take away what we installed. Returns 1 when something was (or with dry_run would be) taken away, 0 when nothing is
 * installed. report (object, filled): {version, kept: [paths somebody changed], deployments: n}; show receives what
 * --dry-run prints. */
int userspace_remove(const struct host *h, const struct plan_state *st, bool dry_run, json_t *report,
		     struct strbuf *show, struct err *e);

/* Operation types of this area, for journals: call once at start. */
int userspace_register_ops(void);
