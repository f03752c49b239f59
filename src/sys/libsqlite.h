/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "err.h"

/* Before the first database: 0, or ERR_LIBRARY_MISSING. Without it every call of sqlite fails. */
int libsqlite_require(struct err *e);
