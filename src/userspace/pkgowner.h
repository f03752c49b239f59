/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which files of a root belong to packages of its distribution, read from the package databases themselves: dpkg's
 * file lists (diversions respected) and rpm's SQLite database. No package manager is run. */

#include "err.h"

#include <jansson.h>

/* Looks up many paths at once. *ret_owners: object { path: package } of the owned ones, keys as given. *ret_notes
 * gets a sentence when a database is there that cannot be read (rpm's older formats): ownership is then unknown.
 * References to both are the caller's; notes is appended to. */
int pkgowner_find(int root_fd, char *const *paths, json_t **ret_owners, json_t *notes, struct err *e);
