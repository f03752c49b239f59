/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* data/package-files.csv: what a file of a distribution package is in the vendor's terms. */

#include "err.h"
#include "manifest.h"
#include "parse.h"

enum class_verdict {
	CLASS_UNKNOWN, /* no row */
	CLASS_IGNORED, /* not part of the driver, says a row */
	CLASS_PLACED,
	CLASS_ARCHIVE, /* look inside */
};

struct class_answer {
	enum class_verdict verdict;
	const struct manifest_type *type; /* of a file */
	const struct manifest_type *link_type; /* of a link in its place; NULL = this kind has no links */
	char place[512]; /* name in the payload, clean */
	char path[128], module[64]; /* "" = none */
	bool gunzip; /* the content is unpacked on the way */
};

struct class_table;
/* Parses and checks a table: every type exists, has a path exactly when its type wants one, and a place. */
int class_table_parse(struct span csv, struct class_table **ret, struct err *e);
void class_table_freep(struct class_table **t);
int class_table_builtin(struct class_table **ret, struct err *e); /* data/package-files.csv */

/* Look up a clean package path; is_compat32: the package is a 32-bit one beside a 64-bit driver, whose files count
 * only when their type knows architectures. */
int classify(const struct class_table *t, const char *path, bool is_compat32, struct class_answer *ret,
	     struct err *e);

/* * ? [set] within a component, ** across; ret_rest (may be NULL) is what the last ** stood for. */
bool class_glob(const char *pattern, const char *path, struct span *ret_rest);
/* The type links to files of `type` have; NULL = none. */
const struct manifest_type *class_link_type(const struct manifest_type *type);
