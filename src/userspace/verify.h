/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is the root what its record says, and can the loader load it? Reads every recorded file; changes nothing, starts
 * nothing. */

#include "host.h"

#include <jansson.h>

/* Compares the root with its record. Differences are appended to `differences` as {path, problem} with problem one
 * of "missing", "kind", "content", "mode", "link", "extra" (in a directory only we made). Returns how many, 0 for
 * none. ERR_INSTALL_NOT_FOUND when nothing is installed. ret_record (may be NULL): caller decrefs. */
int userspace_verify(const struct host *h, json_t *differences, json_t **ret_record, struct err *e);

/* For those who ask every minute: how many recorded files are gone or of another kind, size, mode or link, without reading
 * them. *ret_version (caller frees) is what the record says is installed. ERR_INSTALL_NOT_FOUND when nothing is. */
int userspace_drift(const struct host *h, char **ret_version, unsigned *ret_n, struct err *e);

/* Every DT_NEEDED of every installed object must be found in the loader's directories of its class. Appends
 * {path, needs, own} for each that is not; `own` says that the missing one is a part of a driver, not a library
 * of the distribution. Returns how many. */
int userspace_check_resolves(const struct host *h, json_t *missing, struct err *e);
