/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What all containers of the shared directory use: looked at before anybody has it, switched for everybody at once
 * (lxc-live.h), and made known to the loaders of the containers that run. */

#include "lxc.h"

/* Mounted like lxc_live_mount(), and proven: the libraries every container is checked for are there, of this version and
 * machine. ERR_LXC_DRIVER, and nobody was switched. *ret_name: caller frees. */
int lxc_current_mount(const struct lxc *x, const char *version, const char *view_id, char **ret_name,
		      struct err *e);
/* `current` names it from now on. Where the libraries have other names than before, the loader's cache of every running
 * container is rebuilt; a failure of that is a warning. 1 = changed, 0 = it was so. */
int lxc_current_set(const struct lxc *x, const char *name, struct err *e);
/* The one before again; *ret_name (caller frees) is what is current then. ERR_UNDO_NOTHING without one. */
int lxc_current_back(const struct lxc *x, char **ret_name, struct err *e);
