/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Open or proprietary modules, when the user leaves the choice to us. For each display device of the machine the driver's own
 * list (supported-gpus/supported-gpus.json in its tree) is asked first, then our table of GPUs, then the ranges of device
 * ids. Of the flavours the tree has and every device works with, the one the vendor recommends for the branch is taken: open
 * from 560 on, before that proprietary. */

#include "err.h"
#include "gpu.h"
#include "host.h"

#include <jansson.h>
#include <stdbool.h>

struct flavour_choice {
	const char *flavour; /* "open" or "proprietary"; static */
	char *why; /* owned; one sentence */
};
void flavour_choice_done(struct flavour_choice *c);

/* tree_fd: the driver's payload root. version: of the driver. A machine without a GPU gets what its branch prefers (open
 * from 560 on). Nothing is written, no child is started. -ERR_FLAVOUR_MIXED names the devices no single flavour serves. */
int flavour_choose(const struct host *h, int tree_fd, const char *version, struct flavour_choice *ret,
		   struct err *e);

/* -- pure -- */

struct flavour_facts {
	const struct gpu_list *gpus;
	const json_t *supported; /* supported-gpus.json; NULL = the tree has none */
	unsigned branch; /* 535 */
	bool has_open, has_proprietary; /* the tree has sources of */
};
int flavour_decide(const struct flavour_facts *f, struct flavour_choice *ret, struct err *e);
