/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* <root>/etc/nvdriver/nvdriver.conf: defaults for options, by their long names; the command line wins. */

#include "container-env.h"
#include "err.h"
#include "lxc-settings.h"

#include <stdbool.h>

struct config {
	char *store, *log_file, *log_format, *color, *progress;
	bool offline;
	char *fetch_proxy; /* [fetch] proxy */
	unsigned fetch_attempts; /* [fetch] attempts; 0 = the default */
	unsigned lock_timeout_s; /* lock-timeout; 0 = the default */
	struct lxc_settings lxc; /* [lxc]; 0 and NULL = the default */
	struct container_defaults container; /* [container] */
};

void config_done(struct config *c);
/* An absent file is an empty one. ERR_CONFIG names file and line. */
int config_load(const char *root, struct config *ret, struct err *e);
