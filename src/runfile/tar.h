/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A strict reader of tar archives: every rule a driver payload must keep is checked here, before a visitor sees
 * the member, so listing, verifying and extracting agree. libarchive reads far more than a payload may hold
 * (sparse files, volumes, several archives in one stream) and cannot be told to refuse it; hence our own. */

#include "err.h"
#include "parse.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum tar_kind { TAR_FILE, TAR_DIR, TAR_SYMLINK, TAR_HARDLINK };

struct tar_member {
	const char *name; /* clean relative name; borrowed, valid until the member's end */
	const char *target; /* link text (symlink) or clean name of an earlier file (hard link); else NULL */
	enum tar_kind kind;
	mode_t mode; /* & 0777: set-id bits never leave the archive */
	uint64_t size_bytes; /* of a file, else 0 */
	int64_t mtime_s;
	unsigned index; /* 0-based position among the members shown */
};

struct tar_limits {
	uint64_t total_bytes, member_bytes, members;
};
#define TAR_LIMITS_DEFAULT                                                                                   \
	{                                                                                                    \
		(uint64_t)16 << 30, (uint64_t)8 << 30, 200000                                                \
	}

enum tar_answer { TAR_SKIP, TAR_WANT_DATA, TAR_STOP };

struct tar_visitor {
	/* enum tar_answer or a negative code. NULL: everything is skipped. */
	int (*member)(const struct tar_member *m, void *arg, struct err *e);
	/* The content in order, in pieces of any size; only after TAR_WANT_DATA. */
	int (*data)(const void *buf, size_t len, void *arg, struct err *e);
	/* After the last piece of a wanted member; may be NULL. */
	int (*end)(const struct tar_member *m, void *arg, struct err *e);
};

/* Gives the next piece of the archive, an empty span at its end; the piece before is no longer used then. */
typedef int (*tar_source)(void *arg, struct span *ret, struct err *e);

struct tar_result {
	uint64_t members, total_bytes;
	bool trailing; /* bytes after the end of the archive (only when tolerated) */
	bool stopped; /* by TAR_STOP */
};

/* Walk the whole archive. ERR_ARCHIVE_* and ERR_RUNFILE_TRUNCATED, ERR_RUNFILE_TRAILING, or what a callback said. */
int tar_walk(tar_source source, void *source_arg, const struct tar_limits *limits, bool tolerate_trailing,
	     const struct tar_visitor *visitor, void *arg, struct tar_result *ret, struct err *e);

/* Write all members beneath an empty directory the caller owns privately and throws away on failure (extract.c). Files
 * get mode & 0777 and their mtime; nothing is synced. */
int tar_extract(tar_source source, void *source_arg, const struct tar_limits *limits, int dirfd,
		struct tar_result *ret, struct err *e);

/* Pure: would a link of this member be accepted? It may climb only as far as the top, only at its front (so that another
 * link in the middle cannot make ".." mean something else), and never be absolute. */
bool tar_link_stays_inside(const char *member, const char *target);
