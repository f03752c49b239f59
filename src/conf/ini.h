/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Our own configuration file: "[section]", "key = value", "#" or ";" comments on lines of their own. Strict: what the
 * caller's table does not name is an error, and every error names file and line. */

#include "err.h"
#include "parse.h"

/* Stores `value` (blanks trimmed) in *target; -EINVAL or -ERANGE when it is not usable. */
typedef int (*ini_take)(struct span value, void *target);

struct ini_key {
	const char *section; /* "" before the first section */
	const char *key;
	ini_take take;
	size_t offset; /* of the field in the caller's struct */
	const char *expects; /* for the message: "yes or no", "a size such as 10G" */
};

#define INI_MAX_BYTES ((size_t)1 << 20)

/* Fills fields of `target` by the table; fields not named in the text stay. A key given twice in a section is an error.
 * `name` is for messages. -ERR_CONFIG with "<name>:<line>: …"; fields of earlier lines are set by then. */
int ini_parse(struct span text, const char *name, const struct ini_key *keys, size_t n_keys, void *target,
	      struct err *e);

/* Same for a file; absent is success when `optional`. */
int ini_load_at(int dirfd, const char *path, bool optional, const struct ini_key *keys, size_t n_keys,
		void *target, struct err *e);

int ini_take_string(struct span value, void *target); /* char *, owned, replaced */
int ini_take_strv(struct span value, void *target); /* char **, owned: words, appended */
int ini_take_bool(struct span value, void *target); /* bool */
int ini_take_u64(struct span value, void *target); /* uint64_t */
int ini_take_unsigned(struct span value, void *target); /* unsigned */
int ini_take_size(struct span value, void *target); /* uint64_t, bytes */
int ini_take_duration(struct span value, void *target); /* unsigned, seconds */
