/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "err.h"

/* Before the first archive: 0, or ERR_LIBRARY_MISSING. Without it archive_read_new() gives a reader on which every
 * call fails and whose error text says what is missing. */
int libarchive_require(struct err *e);
