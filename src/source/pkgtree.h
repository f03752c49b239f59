/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A payload directory being filled from packages: files go to their vendor place, links become manifest entries
 * (the vendor's payload has none on disk), and what no table row knows is listed. */

#include "classify.h"
#include "err.h"
#include "pkg.h"

#include <jansson.h>

struct pkgtree;

int pkgtree_new(int dirfd, struct pkgtree **ret, struct err *e); /* dirfd borrowed */
void pkgtree_freep(struct pkgtree **p);

/* Take one open package. Its machine must be that of the others. */
int pkgtree_add(struct pkgtree *p, int fd, const char *label, struct pkg_budget *budget, struct err *e);

struct pkgtree_result {
	char *version, *arch, *driver_kind; /* owned */
	uint64_t files, bytes;
};
void pkgtree_result_done(struct pkgtree_result *r);

#define PKGTREE_NEEDS_KERNEL	 1u
#define PKGTREE_NEEDS_USER_SPACE 2u
/* Check that the parts belong together (one driver version everywhere) and are complete as `needs` says, then write
 * the .manifest. ERR_SOURCE_INCOMPLETE. */
int pkgtree_finish(struct pkgtree *p, unsigned needs, struct pkgtree_result *ret, struct err *e);
json_t *pkgtree_unplaced(struct pkgtree *p); /* borrowed; sorted array of "package: path" */
