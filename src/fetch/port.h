/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "err.h"

/* Does something take connections at this port of a machine (a name or an address)? 1, or 0 when nothing does within the time.
 * -ERR_OFFLINE with `offline`; -ERR_FETCH_FAILED for a name nobody knows. */
int port_is_open(const char *machine, unsigned port, unsigned timeout_s, bool offline, struct err *e);
