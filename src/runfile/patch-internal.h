/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What patch.c reads and patch-apply.c places. */

#include "digest.h"
#include "patch.h"

struct patch_line {
	char kind; /* ' ', '-' or '+' */
	bool has_lf;
	struct span text; /* into patch.text, without the LF */
};

struct patch_hunk {
	uint64_t old_start, old_count, new_start, new_count;
	unsigned line; /* of its header in the patch */
	struct patch_line *lines; /* owned */
	size_t n_lines, n_allocated;
};

struct patch_file {
	char *old_name, *new_name; /* owned, as written; NULL for /dev/null */
	bool creates, deletes, may_create, has_mode;
	unsigned mode, line;
	struct patch_hunk *hunks; /* owned */
	size_t n_hunks;
};

struct patch {
	char *name, *text; /* owned */
	char sha256[SHA256_HEX_SIZE];
	struct patch_file *files; /* owned */
	size_t n_files;
};
