/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The way back when the boot after step 1 leaves nobody able to reach the host: a unit waits for the network, and without one takes
 * the kernel and its words back. */

#include "plan.h"

#define ROLLBACK_UNIT "nvdriver-rollback.service"

/* The unit's text. Pure; caller frees, NULL without memory. */
char *rollback_unit_text(unsigned seconds);
/* Writes and enables it, where it is not there yet. Taken back by the opposite. */
int rollback_add(const struct host *h, unsigned seconds, struct plan *p, struct err *e);
