/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Open or proprietary modules, when nobody decided: by the cards and by what the driver says of them. */

#include "err.h"
#include "pci.h"

#include <jansson.h>

/* Pure. `supported`: the driver's list of chips with their features; NULL = it brings none. Cards older than Turing, or listed without
 * the feature, need the proprietary modules; before branch 560 these are also what the vendor's installer takes. *ret: static.
 * ERR_UNSUPPORTED names the cards when no one kind serves all. */
int container_flavour_choose(const struct pci_list *cards, const json_t *supported, unsigned branch,
			     bool ships_open, const char **ret, struct err *e);
