/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Delivery `run`: the vendor's installer inside a container, which takes nothing along but files, and its uninstaller. */

#include "lxc-cachedir.h"
#include "lxc.h"
#include "plan.h"

/* What the installer of one run file says about its options: kept beside the entry as <name>.options, learnt by running that
 * one program in an empty directory of the host, as nobody and without a network. NULL in *ret (caller frees) when it
 * cannot be asked. -ENOMEM. */
int lxc_installer_learn(const struct cachedir *c, const char *name, char **ret);
/* Options for user space alone; an option a release does not know aborts it. help: text of lxc_installer_learn(), where it is
 * empty the version decides. Caller frees. Pure. */
int lxc_installer_options(const char *version, struct span help, const char *tmpdir, const char *log_file,
			  char ***ret);

/* Adds: enough space, the file pushed, the installer run, the file taken away. `name` is the entry's; without `c` (a dry
 * run) nothing is fetched or learnt. */
int lxc_installer_plan(struct lxc_ct *ct, struct plan *p, struct err *e);

/* "lxc-space": {"needs": [{"dir": absolute, "bytes": n}]}: ERR_LXC_NO_SPACE unless each file system has room for all that goes
 * onto it. Nothing to undo. */
extern const struct op_type lxc_op_space;
/* "lxc-installer": {"argv": [...], "log": path inside, "scratch": absolute directory, "timeout_s": n}. A failure carries the
 * end of the installer's log; whatever happens the scratch directory goes. Undo kills what still runs there and runs the
 * uninstaller the installer left. */
extern const struct op_type lxc_op_installer;
