/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The only code that renames something into place. Order for all: contents written and synced under a random
 * temporary name, rename, directory synced; so a kill leaves old or new and a power cut after success leaves
 * new. Temporary names are ".nvdriver-<16 random hex digits>"; recover may remove leftovers by that pattern. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PUBLISH_TMP_PREFIX ".nvdriver-"

struct tmpname {
	int dirfd; /* borrowed */
	int fd; /* owned */
	char name[64]; /* "" once disarmed */
};
#define TMPNAME_INIT(dirfd)                                                                                  \
	{                                                                                                    \
		(dirfd), -EBADF, ""                                                                          \
	}

int tmpname_open(struct tmpname *t, mode_t mode); /* O_RDWR|O_EXCL|O_NOFOLLOW|O_CLOEXEC, fchmod to mode */
int tmpname_random(char *out, size_t size); /* just the name */
void tmpname_done(struct tmpname *t); /* closes and unlinks unless disarmed */

int publish_bytes(int dirfd, const char *name, const void *buf, size_t len, mode_t mode);
int publish_tmp(struct tmpname *t, const char *name, bool replace); /* sync, rename, sync dir; disarms */
int publish_symlink(int dirfd, const char *name,
		    const char *target); /* creates or replaces a file or link atomically */

/* Rename from_dirfd/from (a complete file or tree the caller has synced with tree_sync()) to to_dirfd/to.
 * replace false: -EEXIST when it exists (renameat2 NOREPLACE with a fallback). Syncs both directories. */
int publish_rename(int from_dirfd, const char *from, int to_dirfd, const char *to, bool replace);

/* One of many renames (of a thousand files): the caller has synced all contents before the first with syncfs(), and
 * calls syncfs() again after the last before it counts on any. Replaces what is there. */
int publish_rename_batch(int from_dirfd, const char *from, int to_dirfd, const char *to);

/* Swap two existing names atomically (renameat2 EXCHANGE); -ENOSYS/-EINVAL where not possible. */
int publish_exchange(int a_dirfd, const char *a, int b_dirfd, const char *b);

/* Give a file that is there but wrong the first free name of <name>.bak.1, .bak.2, … *ret_name caller frees. -EEXIST when
 * ten thousand are taken. */
int publish_keep(int dirfd, const char *name, char **ret_name);

/* unlinkat/rmdir followed by a sync of the directory; absent is success. */
int publish_unlink(int dirfd, const char *name);

/* Removes the temporaries, files and whole directories, that runs killed inside publish left in one directory. The caller holds the lock under
 * which everybody publishes there. Returns how many. */
int publish_sweep(int dirfd);
