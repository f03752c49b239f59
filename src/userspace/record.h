/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Our own install record, kept twice: with the deployment in the store, and in the root it describes at
 * USERSPACE_RECORD, put there and taken away by the same atomic step as the files. One JSON object:
 *
 *   schema, version, arch, kind, tree, profile, libdir, compat32_libdir (or null),
 *   files: [ {path, type "file", mode, size_bytes, sha256} | {path, type "link", target} ], sorted by path
 *   dirs:  [ directories of the root this installation made ] */

#include "err.h"

#include <jansson.h>

#define USERSPACE_RECORD	"var/lib/nvdriver/record.json"
#define USERSPACE_RECORD_SCHEMA "nvdriver.record/1"

/* Strict: every path clean and relative, every digest 64 hex digits. ERR_INSTALL_RECORD. */
int record_parse(const char *text, size_t len, json_t **ret, struct err *e);
/* 1 and *ret (caller decrefs) when the root has one, 0 when not. */
int record_read(int root_fd, json_t **ret, struct err *e);
/* The bytes as they are stored: same record, same bytes. Caller frees. */
int record_emit(const json_t *record, char **ret, size_t *ret_len);

/* Entry of a path, borrowed; NULL when the record does not have it. */
const json_t *record_find(const json_t *record, const char *path);

/* How the root differs from one entry. */
enum record_state {
	RECORD_SAME,
	RECORD_MISSING,
	RECORD_KIND, /* something of another kind stands there */
	RECORD_CONTENT,
	RECORD_MODE,
	RECORD_TARGET, /* a link that leads elsewhere */
};
const char *record_state_name(enum record_state s); /* "same", "missing", "kind", "content", "mode", "link" */

/* enum record_state, or -errno. Reads the whole file. */
int record_compare(int root_fd, const json_t *entry);
/* The same by kind, size, mode and link alone: nothing is read, so a change of the same length goes unseen. */
int record_compare_quick(int root_fd, const json_t *entry);
