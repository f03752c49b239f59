/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The CUDA repository's own package for apt, cuda-keyring: it brings the key, the source and a pin, and is kept up to date by
 * the repository when a key changes. It is fetched on the host, into the directory of run files, and looked into before any
 * container gets it. */

#include "lxc.h"
#include "lxc-osrepo.h"
#include "plan.h"

#define LXC_KEYRING_DEB "cuda-keyring_1.1-1_all.deb"

/* What an open package file is good for: 1 = it holds the expected key and the very source we would write, 0 = it is for another
 * address or brings other things too; ERR_CUDA_KEY when its key is another. */
int lxc_keyring_judge(int fd, const struct osrepo *o, struct err *e);
/* Fetches and judges it. *ret_path (absolute, caller frees) stays NULL when there is none to be used: then the same files are
 * written one by one. ERR_CUDA_KEY. */
int lxc_keyring_get(const struct lxc *x, const struct osrepo *o, char **ret_path, struct err *e);
/* Pushes, installs and removes it again; undo purges the package. */
int lxc_keyring_plan(struct lxc_ct *ct, const char *path, struct plan *p, struct err *e);
