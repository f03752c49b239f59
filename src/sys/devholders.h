/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who keeps the driver busy: processes with an open /dev/nvidia* node or mapping. */

#include "host.h"

struct devholder {
	int pid;
	char *comm; /* process name */
	char **nodes; /* "/dev/nvidia0", …, each once */
	bool daemon; /* one of the driver's own daemons, stopped by its service */
};
struct devholders {
	struct devholder *v;
	size_t n;
};
#define DEVHOLDERS_INIT                                                                                      \
	{                                                                                                    \
		NULL, 0                                                                                      \
	}

void devholders_done(struct devholders *d);
/* Walks <proc>/<pid>/fd. Processes that vanish or deny access are left out. prefix e.g. "/dev/nvidia". Sorted by pid. */
int devholders_find(const struct host *h, const char *prefix, struct devholders *ret);
