/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The directory of run files a hypervisor and its containers share: what lies in it, and whether it may be used.
 *
 *   <name>       "NVIDIA-Linux-<arch>-<version>….run", checked before every use
 *   <name>.meta  its record; .part, .part.meta, .lock while it is fetched (fetch.h)
 *   <name>.bad   an entry that was wrong, kept to be looked at
 *
 * An entry is used when it is at least 1 MiB, begins as a run file, its header names the version of its name, and its
 * digest is the pinned one, or else the recorded one. The digest is computed again only when size, mtime or inode are
 * not those of the record. */

#include "err.h"
#include "fetch.h"
#include "host.h"

#include <jansson.h>

#define CACHEDIR_SIZE_MIN ((uint64_t)1 << 20)

struct cachedir {
	int fd; /* owned; -EBADF = the directory is not there */
	char *path; /* owned; for messages */
};
void cachedir_done(struct cachedir *c);
/* path below the host's root. With create it is made (0755); without, a missing one is an empty cache. display (may be
 * NULL): its path for messages. */
int cachedir_open(const struct host *h, const char *path, const char *display, bool create,
		  struct cachedir *ret, struct err *e);

/* A verified entry. q: name, url, mirrors, sha256, offline and limits are used as fetch_file() does; name must be a run
 * file's. A right entry is used without network; a wrong one is moved to <name>.bad, reported, and fetched again.
 * *ret_path (caller frees) is c->path/<name>. ret (may be NULL) as of fetch_file(). ERR_OFFLINE with the place to put
 * the file, ERR_FETCH_…, ERR_RUNFILE_CACHE for a download of another version; after a failure only .part stays. */
int cachedir_get(const struct cachedir *c, const struct fetch_request *q, char **ret_path,
		 struct fetch_result *ret, struct err *e);
/* Import a file brought by hand, with the same checks; sha256 may be NULL. The file's name must be a run file's. 1 = taken,
 * 0 = the same bytes were there. */
int cachedir_add(const struct cachedir *c, const char *file, const char *sha256, struct err *e);
/* [{name, version, arch, size_bytes, sha256?, trust?, url?, state: "ok"|"wrong", reason?}], sorted by name. full: every
 * byte is read and compared with the record. *ret_wrong: how many are wrong. */
int cachedir_list(const struct cachedir *c, bool full, json_t **ret, unsigned *ret_wrong, struct err *e);
/* Removes entries of versions not in `keep`, and what was moved aside. *ret: [{name, size_bytes}] of what goes. */
int cachedir_prune(const struct cachedir *c, char *const *keep, bool dry_run, json_t **ret, struct err *e);
