/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whole directory trees through descriptors; symbolic links are never followed, mounts never crossed on removal. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct tree_entry {
	int dirfd; /* directory that holds it */
	const char *name; /* last component */
	const char *path; /* relative to the top */
	struct stat st;
};

enum tree_order { TREE_SORTED, TREE_AS_READ };

/* Calls fn for every entry, parents before children, names in byte order with TREE_SORTED. A negative answer
 * stops and is returned. */
typedef int (*tree_fn)(const struct tree_entry *entry, void *arg);
int tree_walk(int dirfd, enum tree_order order, tree_fn fn, void *arg);

/* All return 0 or -errno; -ELOOP below 256 levels. `name` of tree_remove is one component; a mount below it stops the
 * removal with -EXDEV. */
int tree_remove(int dirfd, const char *name);
/* The same for a path with directories in front. */
int tree_remove_path(const char *path); /* rm -rf beneath; absent is success; not synced */
int tree_sync(int dirfd, const char *name); /* fsync of every file and directory below and itself */
/* Lengths of regular files added up and their number; directories and links count nothing. */
int tree_usage(int dirfd, const char *name, uint64_t *ret_bytes, uint64_t *ret_files);

enum tree_copy_flags { TREE_COPY_REFLINK = 1, TREE_COPY_HARDLINK = 2 };
/* Copies from_dirfd/from to to_dirfd/to (must not exist); file contents by hard link, reflink or copy as allowed by flags.
 * Modes (less set-id) and mtimes kept, owner is the caller; device nodes, sockets and FIFOs are -EINVAL. A failed copy
 * is removed. Not synced. */
int tree_copy(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags);
