/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Unified diffs, applied all or nothing. 8-bit clean: lines are runs of any bytes between LF, and whatever follows
 * a hunk header's second "@@" is ignored, NUL included, so patches against binary objects apply as they were
 * published. Every hunk of every patch is placed in memory before the first file is touched. */

#include "err.h"
#include "parse.h"
#include "payload.h"

#include <stdbool.h>
#include <stdint.h>

#define PATCH_MAX_BYTES	 ((size_t)64 << 20)
#define PATCH_STRIP_AUTO (-1)
#define PATCH_FUZZ_MAX	 2u

struct patch; /* one parsed file of diffs */

/* `name` is for messages (a file name). The text is copied. ERR_PATCH_FORMAT (line named), ERR_PATH_ESCAPE. */
int patch_parse(struct span text, const char *name, struct patch **ret, struct err *e);
int patch_read_at(int dirfd, const char *path, struct patch **ret, struct err *e);
void patch_freep(struct patch **p);
const char *patch_name(const struct patch *p); /* last component of the name given */
const char *patch_sha256_hex(const struct patch *p); /* of its bytes */
size_t patch_file_count(const struct patch *p);

struct patch_options {
	int strip; /* leading components to drop; PATCH_STRIP_AUTO: "./" only, else the fewest that fit */
	unsigned fuzz; /* context lines that may differ at each end; 0 to PATCH_FUZZ_MAX */
	bool dry_run; /* place everything, write nothing */
	bool
	    package; /* the tree is a driver payload: keep .manifest right, drop the precompiled directories */
};

enum patch_action { PATCH_MODIFIED, PATCH_CREATED, PATCH_DELETED };

struct patch_hunk_result {
	size_t file; /* index into files */
	unsigned hunk; /* 1-based within its file's diff */
	uint64_t line; /* where it went, 1-based */
	int64_t offset; /* lines away from where it said */
	unsigned fuzz;
};

struct patch_report {
	struct patch_file_result {
		char *path; /* owned */
		enum patch_action action;
	} * files;
	size_t n_files;
	struct patch_hunk_result *hunks;
	size_t n_hunks;
	char **notes; /* sentences, e.g. that .manifest itself was changed */
};
void patch_report_freep(struct patch_report **r);

/* Apply the patches in order beneath dirfd. On failure (ERR_PATCH_HUNK with file, hunk and first differing line;
 * ERR_PATCH_APPLIED; ERR_PATH_ESCAPE) nothing was written. Each changed file is replaced by rename, so hard links
 * and shared contents elsewhere stay as they are. *ret may be NULL; caller frees. */
int patch_apply_tree(int dirfd, struct patch *const *patches, size_t n_patches, const struct patch_options *o,
		     struct patch_report **ret, struct err *e);

/* ---- whole packages (patch-package.c) ---- */

struct patch_package_result {
	char name[256]; /* of the new file */
	struct patch_report *report; /* owned by the caller */
};

/* "<target directory without -custom>-custom". */
int patch_custom_name(const struct runfile_header *h, char *out, size_t out_size);

/* Verify, unpack into a private directory, patch, record in pkg-history.txt, pack in the same format into
 * out_dirfd/out_name (NULL: the -custom name with ".run"). Nothing is left on failure. */
int patch_package(struct runfile *rf, struct patch *const *patches, size_t n_patches,
		  const struct patch_options *o, const struct runfile_options *read, int out_dirfd,
		  const char *out_name, bool replace, struct patch_package_result *ret, struct err *e);
