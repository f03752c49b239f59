/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The command line of the vendor's installer, read with its own spellings and turned into words for our verbs. Pure. */

#include "err.h"
#include "strbuf.h"

#include <stdbool.h>

enum installer_verb { INSTALLER_INSTALL, INSTALLER_PREPARE, INSTALLER_LOAD, INSTALLER_VERB_COUNT };

struct installer {
	/* what to do instead of installing */
	bool help, version, advanced, uninstall, driver_info, sanity, add_kernel;
	/* how */
	bool silent, modules_only, no_modules, skip_load, no_precompiled, no_compat32;
	bool no_x_check, no_nouveau_check, no_hooks, dkms;
	const char *build_dir, *module_type, *kernel_name, *precompiled_dir, *log_file;
	const char *root, *store; /* not the vendor's: the same meaning as everywhere */
	bool ignored; /* accepted without effect */
	const char *ignored_text;
	char **words[INSTALLER_VERB_COUNT]; /* owned; further words for each verb */
};

/* Exact spellings with one dash or two, values after "=" or as the next argument. ERR_USAGE for any other: callers are told
 * at once that this installer does not know what they rely on. */
int installer_parse(int argc, char **argv, struct installer *ret, struct err *e);
void installer_done(struct installer *q);

/* "open" or "proprietary" by -m and -M. */
const char *installer_flavour(const struct installer *q);

/* All options as --help (those people use) or --advanced-options (all) lists them. */
int installer_help(bool advanced, struct strbuf *out);
