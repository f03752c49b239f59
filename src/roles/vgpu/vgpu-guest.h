/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Drivers for guests, fetched from where the vendor publishes them. */

#include "catalog.h"
#include "err.h"
#include "fetch.h"

/* "19.5_580.159.01": what is kept of a branch, beside the version of its host driver unless that is unknown or the same;
 * bytes outside 0-9A-Za-z._- become "_". Caller frees, NULL without memory. */
char *guest_dir_name(const char *branch, const char *host_version);

/* Version of the branch's host driver, by the register, else by the map of releases; "" when neither has it. Borrowed. */
const char *guest_host_version(const struct catalog *c, const char *branch);

/* Has the guest driver in the directory of how->dirfd, checked: a run file is of the table's version and kind and its own
 * sums hold; anything for Windows is a program. Both come without a published digest, so the first download's is held to.
 * -ERR_VGPU_PORTAL for a row without an address, -ERR_VGPU_DRIVER, errors of fetch_file(). */
int guest_fetch(const struct catalog_guest *g, const struct fetch_request *how, struct fetch_result *ret,
		struct err *e);
