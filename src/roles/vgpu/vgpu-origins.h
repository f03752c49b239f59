/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Other people's work a vGPU set-up may use. It is fetched from its authors for the person who asks for it and is no part of
 * this program, so it is named with its licence before anything of it is fetched. docs/vgpu.md holds the same list. */

#include "strbuf.h"

#include <jansson.h>

enum origin_bits {
	ORIGIN_PATCHES = 1u << 0, /* the patches that unlock consumer cards */
	ORIGIN_UNLOCK = 1u << 1, /* the library that does it at run time */
	ORIGIN_CRATES = 1u << 2, /* what that library is built from */
	ORIGIN_MIRROR = 1u << 3, /* host drivers that need no portal account */
	ORIGIN_LICENSE_SERVER = 1u << 4,
	ORIGIN_LICENSE_PATCHER = 1u << 5, /* guests of 18.0 and newer with that server */
	ORIGIN_DOCKER = 1u << 6,
	ORIGIN_RUST = 1u << 7, /* the compiler for the library, where the distribution's is too old */
};
/* What an unlocked card takes. */
#define ORIGIN_UNLOCK_ALL (ORIGIN_PATCHES | ORIGIN_UNLOCK | ORIGIN_CRATES | ORIGIN_RUST)

struct origin {
	unsigned bit;
	const char *name, *purpose, *address, *license;
};
extern const struct origin origins[]; /* ends with bit 0 */

const struct origin *origin_find(unsigned bit); /* never NULL for one of origin_bits */

/* Appends the notice for those in `bits`; nothing for none. To be shown before the first of them is fetched. */
int origins_notice(unsigned bits, struct strbuf *out);

/* [{"name", "purpose", "address", "license"}]; NULL without memory. */
json_t *origins_json(unsigned bits);
