/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A driver package opened for reading. The file is opened once; every verdict and every extracted byte comes from
 * that descriptor. The file's own code is never run. */

#include "header.h"
#include "manifest.h"
#include "stream.h"
#include "tar.h"

struct runfile {
	int fd; /* owned */
	char *name; /* owned; as given, for messages */
	struct runfile_header *header; /* owned */
	struct runfile_layout layout;
};

/* Open and read the header; the payload is not touched. Regular files only, no link in the last component.
 * Errors of header.h, the path as object. */
int runfile_open_at(int dirfd, const char *path, struct runfile **ret, struct err *e);
void runfile_freep(struct runfile **rf);

/* What a caller demands beyond the file's own sums. Only a matching SHA-256 makes a package authentic; its own
 * sums make it intact, no more. */
struct runfile_pin {
	const char *sha256; /* 64 hexadecimal digits or NULL */
	uint64_t size_bytes; /* 0 = any */
};

struct runfile_report {
	struct stream_sums sums; /* those that were computed */
	bool has_sha256, authentic, trailing, has_kind;
	enum package_kind kind; /* as the payload tells it; only runfile_verify() looks */
	uint64_t members, total_bytes; /* of the archive, when it was walked */
};

enum runfile_flag {
	RUNFILE_CHECK_SUMS = 1, /* compute and compare CRC and MD5 */
	RUNFILE_SHA256 = 2, /* compute SHA-256 (implied by a pin that has one) */
	RUNFILE_TOLERATE_TRAILING = 4,
	RUNFILE_SYNC = 8, /* runfile_extract(): on the disk before it is visible */
};

struct runfile_options {
	unsigned flags, jobs;
	struct runfile_pin pin;
	const struct tar_limits *limits; /* NULL = default */
	const struct bomb_guard *guard; /* NULL = default */
	void (*progress)(uint64_t done_bytes,
			 void *arg); /* bytes of the file; from another thread; NULL allowed */
	void *progress_arg;
};

/* Sums only: one read of the file, nothing decoded, so an unusable payload or data behind it go unnoticed.
 * ERR_RUNFILE_CHECKSUM and friends. ret may be NULL. */
int runfile_verify_sums(struct runfile *rf, const struct runfile_options *o, struct runfile_report *ret,
			struct err *e);

/* The whole verdict in one pass: sums, every member, what follows the end, and the manifest (one that is there must
 * parse; a payload without is left to whoever needs it, and has_kind is false). ret may be NULL. */
int runfile_verify(struct runfile *rf, const struct runfile_options *o, struct runfile_report *ret,
		   struct err *e);

/* Walk the members in one pass with the sums. What the visitor saw is to be believed only after 0 came back (and
 * RUNFILE_CHECK_SUMS was asked). A visitor that stops early ends the pass; then nothing is compared. */
int runfile_walk(struct runfile *rf, const struct runfile_options *o, const struct tar_visitor *visitor,
		 void *arg, struct runfile_report *ret, struct err *e);

/* Decode as far as the manifest and parse it. Unverified, for showing. ret_kind (may be NULL) is what the manifest
 * and the members before it tell; a marker file that comes later and is not listed is seen by runfile_verify() only.
 * ERR_MANIFEST_MISSING. */
int runfile_manifest(struct runfile *rf, unsigned manifest_flags, struct manifest **ret,
		     enum package_kind *ret_kind, struct err *e);

struct runfile_selection {
	char *const *only; /* NULL-terminated globs over member names ('*' matches '/' too); NULL = all */
	bool strip_kernel; /* leave out kernel/ and kernel-open/ */
};

/* Extract into an empty directory the caller owns privately and throws away on failure: its content is verified
 * only after 0. Files get mode & 0777 and their mtime; nothing is synced. */
int runfile_extract_into(struct runfile *rf, int dirfd, const struct runfile_selection *which,
			 const struct runfile_options *o, struct runfile_report *ret, struct err *e);

/* The same into parent_dirfd/name, which must not exist or be an empty directory: everything is unpacked beside
 * it under a private temporary name and renamed once the sums match; on failure nothing is left. A directory that
 * was there lends its permissions. Without RUNFILE_SYNC a power cut soon after may lose files, as after `tar -x`.
 * ERR_PACK_OUTPUT when the name is taken. */
int runfile_extract(struct runfile *rf, int parent_dirfd, const char *name,
		    const struct runfile_selection *which, const struct runfile_options *o,
		    struct runfile_report *ret, struct err *e);

/* Whether runfile_extract() could write there: 0, or ERR_PACK_OUTPUT for what is no empty directory or is a mount
 * point. ret_mode (may be NULL) receives the permissions of a directory that exists and is left alone otherwise. */
int runfile_destination(int parent_dirfd, const char *name, mode_t *ret_mode, struct err *e);
