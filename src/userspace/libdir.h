/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which directories of a root its dynamic loader reads, and which of them the driver's libraries go into.
 * Everything is read natively through the root's descriptor; no loader cache and no program of the root decides. */

#include "err.h"

#include <stdbool.h>

/* Directories relative to the root's usr/: "lib/x86_64-linux-gnu", "lib64", "lib". */
struct libdirs {
	char *native; /* owned */
	char *compat32; /* owned; NULL = the root has no place for 32-bit libraries */
	char *native_warning; /* owned; NULL = the C library decided, or the caller did */
	char *compat32_warning; /* owned; likewise */
};

struct libdir_wants {
	const char *machine; /* "x86_64" or "aarch64" */
	const char *native; /* borrowed; explicit choice, NULL = find it */
	const char *compat32; /* borrowed; likewise */
	bool want_compat32;
};

/* Find the library directories of the root behind root_fd. Order: explicit; the candidate that holds the C
 * library of the wanted ELF class and machine; the first existing candidate; "lib" with a warning.
 * ERR_ROOT_MUSL when the only C library is musl, ERR_ROOT_MACHINE when it is for another machine. */
int libdir_find(int root_fd, const struct libdir_wants *wants, struct libdirs *ret, struct err *e);
void libdirs_done(struct libdirs *l);

/* The same directory under the two names of a merged /usr: "lib/x" becomes "usr/lib/x" when <root>/lib is the
 * directory <root>/usr/lib (compared by inode). A leading slash is dropped. *ret: caller frees. */
int libdir_canonical(int root_fd, const char *path, char **ret);

/* Directories the loader of this machine and class (64 or 32) searches, relative to the root, without duplicates: those of
 * etc/ld.so.conf with its includes, then the built-in ones. *ret: caller frees with strv_freep(). */
int libdir_loader_dirs(int root_fd, const char *machine, unsigned class_bits, char ***ret);
