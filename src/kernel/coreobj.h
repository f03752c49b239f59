/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver's core objects (nv-kernel.o_binary, nv-modeset-kernel.o_binary) do not depend on the kernel. Their debug
 * information (nine tenths of the open ones) is dropped once and the result kept in objects/<key>/, whose key
 * holds the original's digest and the version text of the binutils. */

#include "store.h"
#include "toolchain.h"

/* Puts a stripped copy of from_dirfd/path (sha256 known) at to_dirfd/to, which must not exist: hard link to the kept object where
 * the file system allows it, else a copy. *ret_made (may be NULL): true when strip had to run. */
int coreobj_place(struct store *s, const struct toolchain *t, int from_dirfd, const char *path,
		  const char *sha256, int to_dirfd, const char *to, bool *ret_made, struct err *e);
