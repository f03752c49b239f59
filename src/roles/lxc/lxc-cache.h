/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The run-file cache the hypervisor set-up shares with its host: <name> beside <name>.meta, fetched once, verified
 * before every use (specified in full by the cache's own verbs). */

#include "lxc-cachedir.h"
#include "lxc.h"

/* A verified run file of this version: the cache's, else fetched into it. *ret_path: absolute, caller frees. ERR_OFFLINE
 * with the place to put the file, ERR_FETCH_… . */
int lxc_cache_ensure(const struct lxc *x, const struct lxc_ct_config *conf, const char *version,
		     char **ret_path, struct err *e);
/* The cache itself. x needs its engine and settings only. */
int lxc_cache_open(const struct lxc *x, bool create, struct cachedir *ret, struct err *e);
