/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "modset.h"

/* The name a set is indexed by. Caller frees; NULL without memory. */
char *modset_ref(const json_t *record, const char *key);

/* A copy of one file (a clone where the file system can), parents made. Never a hard link: that would move the tree's
 * files in time, and every later run would have to read them again to know them. 0 or -errno. */
int modset_bring(int from, const char *name, int to_dirfd, const char *to);

/* kernel/ or kernel-open/ of a driver's payload. A tree without the flavour's sources (or no tree at all) leaves *ret_fd as
 * it is: a package made of it has unsigned interfaces. Sources that cannot be opened are a failure, or the package would
 * lack its signatures unnoticed. */
int modset_open_flavour(int tree_fd, const char *flavour, int *ret_fd, struct err *e);
