/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One file out of a zip archive: vendors put a driver together with its guests' drivers and papers. */

#include "err.h"

/* Writes the first regular member whose last path component matches the glob `pattern` to out_dirfd under that
 * component, mode 0644, synced; a file of that name is -EEXIST. fd is read from its start. *ret_name caller frees.
 * -ERR_SOURCE_PACKAGE: not a zip archive, damaged, or without such a member; -ERR_LIBRARY_MISSING; then nothing is left. */
int zip_take(int fd, const char *label, const char *pattern, int out_dirfd, char **ret_name, struct err *e);
