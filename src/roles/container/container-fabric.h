/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which fabric the GPUs sit on, and the settings the operator has for its manager. */

#include "host.h"
#include "parse.h"
#include "strbuf.h"

enum fabric_kind {
	FABRIC_NONE,
	FABRIC_NVSWITCH, /* nv-fabricmanager alone, as soon as the driver is loaded */
	FABRIC_NVLINK5, /* subnet manager too; needs fabric_modules */
};

/* NVLink 5 is told by the word SW_MNG in the vital product data of a Mellanox function, read from the PCI device as well as through
 * the InfiniBand class: the latter is empty until the InfiniBand modules are loaded, and such a machine must not be taken for an
 * older one. NVSwitches are known only once the driver is loaded (proc/driver/nvidia-nvswitch/devices). Unreadable data count
 * as not there. */
enum fabric_kind container_fabric_detect(const struct host *h);

/* Modules an NVLink 5 fabric manager waits for; ends with NULL. */
extern const char *const container_fabric_modules[];
/* The first of them that is not loaded, NULL when all are. */
const char *container_fabric_missing(const struct host *h);

/* Pure: sets each "KEY=value" of `settings` in a configuration text: the lines KEY=… of the text are replaced (the first; further ones
 * go), others survive byte for byte, a key without a line is appended. A setting without key, or with bytes that do not belong in
 * a line, is left out and becomes a sentence in *ret_warnings (strv, may stay NULL). Setting the same again changes nothing.
 * Returns 0, -ENOMEM or -E2BIG. */
int container_fabric_override(struct span text, char *const *settings, struct strbuf *out,
			      char ***ret_warnings);

/* FABRIC_MODE=1: the GPUs are reset once the manager runs. */
bool container_fabric_resets_gpus(char *const *settings);
