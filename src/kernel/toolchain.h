/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Compiler and binutils for module builds. */

#include "ktree.h"

struct toolchain {
	char *cc, *ld, *strip, *make; /* absolute paths, owned */
	char *cc_version, *ld_version; /* first lines of --version, without paths */
	bool cc_matches; /* compiler is the one named in CONFIG_CC_VERSION_TEXT, same major version */
	char *note; /* why this compiler although it does not match; NULL when it does */
};
#define TOOLCHAIN_INIT                                                                                       \
	{                                                                                                    \
		NULL                                                                                         \
	}

void toolchain_done(struct toolchain *t);

/* Chooses a compiler of the family and major version the kernel was built with when one is installed (also one of RHEL's
 * toolsets), else the plain one of the family, with a note.
 * cc_wanted (may be NULL): name or path to use instead. Version texts are asked from the tool once and kept in the
 * store (may be NULL) below objects/, keyed by the program's path, size, mtime and inode, so that a later call
 * starts no child. ERR_TOOL_MISSING names what to install. */
int toolchain_choose(const struct ktree *t, const char *cc_wanted, struct store *store, struct toolchain *ret,
		     struct err *e);
