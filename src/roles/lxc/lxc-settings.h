/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a site may set in section [lxc] of nvdriver.conf: programs, places, time-outs, retries. */

#include "err.h"
#include "host.h"

struct lxc_settings {
	char *pct; /* program; "pct" is looked for in the safe path */
	char *incus; /* client of Incus or LXD; "incus" where there is one, else "lxc" */
	char *lxcpath; /* absolute; default <root>/var/lib/lxc or what liblxc says */
	char *cache_dir; /* of run files; below the host's root */
	char *
	    repo_key; /* fingerprint of the CUDA repository's key, for a mirror that signs by itself; NULL = the vendor's */
	char *style; /* "include" or "inline" */
	char *container_tmp; /* where `run` puts the file; "/tmp" */
	unsigned start_timeout_s; /* 60 */
	unsigned exec_wait_s; /* until the first command works; 60 */
	unsigned node_wait_s, node_poll_ms; /* 30, 2000 */
	unsigned lock_wait_s; /* a manager's own lock; 60 */
	unsigned file_lock_wait_s; /* on a configuration file; 10 */
	unsigned exec_timeout_s; /* default of one command; 120 */
	unsigned install_timeout_s, toolkit_timeout_s; /* 900, 3600 */
	unsigned attempts, pause_s; /* push, package lists, nvidia-smi; 3, 5 */
	unsigned smi_timeout_s; /* 30 */
};

/* Fills what is 0 or NULL with its default. -ENOMEM. */
int lxc_settings_default(const struct host *h, struct lxc_settings *s);
/* A deep copy of what is set. -ENOMEM. */
int lxc_settings_copy(struct lxc_settings *to, const struct lxc_settings *from);
void lxc_settings_done(struct lxc_settings *s);
/* A path of the machine as programs of the running kernel see it: "<root>/run/nvdriver" for a root that is a directory
 * of this machine. Caller frees, NULL without memory. */
char *lxc_host_path(const struct host *h, const char *absolute);
