/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How the vendor's installer of a host driver is called: which kind of kernel modules, and how its version spells it. Pure. */

#include "err.h"

#include <stdbool.h>

struct installer_request {
	const char *version; /* "550.144.02" */
	bool has_proprietary, has_open; /* kinds of kernel modules in the file */
	bool is_unlock; /* patched: the patch touches the proprietary object alone */
	bool needs_open; /* the card works with the open modules only (Blackwell) */
};

/* Words behind the program's name; no kind word where the file has one kind only. *ret caller frees (strv).
 * -ERR_VGPU_FLAVOUR when the file lacks the kind that is needed, -ERR_USAGE for a version that is none. */
int installer_words(const struct installer_request *q, char ***ret, struct err *e);
