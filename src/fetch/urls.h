/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the vendor publishes a driver: a table of address patterns. */

#include "err.h"

/* Addresses of one driver, most likely first: kind "passthrough" (desktop and data centre) or "grid" (guest;
 * `branch` is then the vGPU branch, "16.5"); arch "x86_64" or "aarch64". *ret_urls caller frees (strv).
 * ERR_USAGE for a version that is none, ERR_UNSUPPORTED for a kind or machine the vendor publishes nothing for. */
int fetch_driver_urls(const char *version, const char *arch, const char *kind, const char *branch,
		      char ***ret_urls, struct err *e);
