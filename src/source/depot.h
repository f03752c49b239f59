/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where package files lie while they are used: packages/<sha256>/<name> of the store with a .meta beside it that keeps
 * where it came from and how it was trusted, or without a store a
 * temporary directory that goes away. Downloads grow in packages/.incoming, which is not an object of the store, so
 * an interrupted one is continued by the next run. */

#include "err.h"
#include "fetch.h"
#include "store.h"

#include <jansson.h>

struct depot {
	struct store *store; /* borrowed; NULL = temporary */
	int dir_fd; /* owned; where files arrive */
	char *dir_path; /* owned */
	bool is_temporary;
};
#define DEPOT_INIT                                                                                           \
	{                                                                                                    \
		NULL, -EBADF, NULL, false                                                                    \
	}

struct depot_file {
	char *name, *url; /* owned; url may be NULL */
	char sha256[65];
	uint64_t size_bytes;
	enum fetch_trust trust;
	enum fetch_action action;
};
struct depot_files {
	struct depot_file *v; /* owned */
	size_t n;
};
void depot_files_done(struct depot_files *f);

int depot_open(struct store *store, struct depot *ret, struct err *e);
/* A directory of the user's, made with its parents when absent: files arrive there and stay. What lies there under
 * the name of an arriving file but has another content becomes <name>.bak.<n>. */
int depot_open_dir(const char *path, struct depot *ret, struct err *e);
void depot_done(struct depot *d);
/* Path of a private directory beside the arriving files (made when absent): "<dir>/<name>"; caller frees. */
int depot_subdir(struct depot *d, const char *name, char **ret, struct err *e);

/* Take the arrived file `name` in: from then on it is read-only under its digest. Adds a row to *files. */
int depot_take(struct depot *d, const char *name, const char *sha256, const char *url, enum fetch_trust trust,
	       enum fetch_action action, struct depot_files *files, struct err *e);
/* Move the complete file from_fd/from to where files arrive, as `name`. */
int depot_receive(struct depot *d, int from_fd, const char *from, const char *name, struct err *e);
/* A package of that digest lies there already: 1 and a row in *files; 0 when not. A directory of the user's is asked by
 * name. FETCH_RECORDED says that nobody vouches for the digest now: the row then has the trust the package came with. */
int depot_find(struct depot *d, const char *name, const char *sha256, enum fetch_trust trust,
	       struct depot_files *files, struct err *e);
/* Bring a local file in by reflink, else copy; its digest is computed on the copy. */
int depot_import(struct depot *d, const char *path, struct depot_files *files, struct err *e);
int depot_file_open(struct depot *d, const struct depot_file *f, struct err *e);

/* { name, sha256, size_bytes, url, trust, action } */
int depot_file_json(const struct depot_file *f, json_t *array, struct err *e);
