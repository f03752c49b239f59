/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an update prints also goes to the running instance's output, so that the container's log shows it. */

#include "host.h"

struct container_handover;

/* From here on everything this process and its children write to descriptors 1 and 2 reaches, besides where it went before,
 * descriptors 1 and 2 of process `pid`. A log that takes nothing just now loses lines rather than holding us up. *ret stays
 * NULL when that process's output cannot be opened: nothing is changed then. 0 or -errno. */
int container_handover_begin(const struct host *h, int pid, struct container_handover **ret);
/* Gives the descriptors back once all that was written has arrived. Flush buffered output before. NULL allowed. */
void container_handover_endp(struct container_handover **h);
