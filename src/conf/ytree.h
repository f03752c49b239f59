/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading YAML strictly over libyaml (whose own names begin with yaml_). Every error is -ERR_FORMAT and names the line; the
 * caller wraps the file's name around it. Texts are borrowed from the tree. */

#include "err.h"
#include "parse.h"

#include <stdbool.h>
#include <stddef.h>

struct ytree;
/* A place in a tree. `index` 0 = not there; a null value counts as not there. */
struct ynode {
	struct ytree *tree; /* borrowed */
	int index;
};

/* One document, no second one, no tags but those of plain data, at most YTREE_TEXT_MAX bytes (-ERR_TOO_LARGE). An alias may stand
 * anywhere its anchor may, but looking at nodes is bounded, so aliases of aliases end in -ERR_TOO_LARGE rather than in a long run. */
#define YTREE_TEXT_MAX ((size_t)8 << 20)
int ytree_parse(struct span text, struct ytree **ret, struct err *e);
void ytree_freep(struct ytree **t);

struct ynode ytree_root(struct ytree *t);
unsigned ynode_line(struct ynode n); /* from 1 */

/* That n is a map of keys from `known` (NULL-terminated), none twice. A node that is not there passes. */
int ynode_check_map(struct ynode n, const char *const *known, struct err *e);
/* The value of a key of a checked map. */
struct ynode ynode_get(struct ynode map, const char *key);
/* Number of items of a list; 0 for one that is not there. */
int ynode_check_list(struct ynode n, size_t *ret_n, struct err *e);
struct ynode ynode_item(struct ynode list, size_t i);
/* A scalar's text; *ret stays NULL for one that is not there. */
int ynode_text(struct ynode n, const char **ret, struct err *e);

/* -ERR_FORMAT "line N: …" for what a caller finds wrong itself. */
int ynode_error(struct ynode n, struct err *e, const char *fmt, ...) _printf_(3, 4);
