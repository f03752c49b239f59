/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What already stands in the root where a driver is to go: exactly the destinations, and objects the loader would
 * take for ours because they carry the same SONAME. Nothing is matched by a name's beginning. */

#include "destination.h"
#include "vendor-record.h"

#include <jansson.h>

/* What the loader and the caller know about the root already. */
struct conflict_known {
	int root_fd;
	const char *machine;
	const json_t *record; /* of an installation of ours, or NULL: its files are no conflict */
	const struct vendor_record *vendor; /* one that is being taken over, or NULL: likewise */
};

/* Appends to `conflicts` objects {path, kind, owner (or null), text}: "kind" (a directory, device or FIFO where a
 * file has to go; cannot be forced), "owned" (a package's file at a destination), "soname" (another object with the
 * SONAME of one of ours in the loader's directories). Destinations nobody owns are named in `notes`: they are
 * replaced and come back by undo. */
int conflict_find(const struct conflict_known *k, const struct dest_list *l, json_t *conflicts, json_t *notes,
		  struct err *e);
