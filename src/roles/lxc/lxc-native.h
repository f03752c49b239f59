/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* LXC itself, which lies below Proxmox VE too: through liblxc when it can be loaded (dlopen: the program does not depend
 * on it), else through its tools. A container is <lxcpath>/<name>. */

#include "lxc-backend.h"
#include "parse.h"

bool lxc_native_has_library(void);
void lxc_native_test_no_library(bool on); /* pretend it is not there */

/* ERR_LXC_UNKNOWN when there is no such container. ret_pid is 0 unless it runs. */
int lxc_native_state(const struct lxc_settings *set, const char *name, enum lxc_state *ret, pid_t *ret_pid,
		     struct err *e);
/* Value of a configuration item as LXC understands the whole configuration; NULL when unset. Caller frees. */
char *lxc_native_item(const struct lxc_settings *set, const char *name, const char *key);
int lxc_native_place(const struct lxc_settings *set, const char *name, struct lxc_place *ret, struct err *e);
/* Where a running container is, by its first process, whoever manages it. */
void lxc_native_place_of(pid_t init_pid, struct lxc_place *ret);
int lxc_native_start(const struct lxc_settings *set, const char *name, struct err *e);
int lxc_native_stop(const struct lxc_settings *set, const char *name, struct err *e);
int lxc_native_exec(const struct lxc_settings *set, const char *name, struct lxc_exec *x, struct err *e);
int lxc_native_allow_device(const struct lxc_settings *set, const char *name, const char *rule,
			    struct err *e);
int lxc_native_deny_device(const struct lxc_settings *set, const char *name, const char *rule, struct err *e);
/* "u 0 100000 65536" lines: the host id of inside id 0; -ENOENT. which is 'u' or 'g'. */
int lxc_idmap_root(struct span text, char which, uint64_t *ret);
