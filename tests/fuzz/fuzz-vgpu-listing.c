/* SPDX-License-Identifier: Apache-2.0
 *
 * A mirror's answer about one of its directories. Only names that can stand in a path of ours come through. */
#include "vgpu-listing.h"

#include "strbuf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void all_safe(char *const *names)
{
	for (; names && *names; names++)
		if (!name_is_safe(*names))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct listing l = { 0 };

	if (listing_parse((struct span){ (const char *)data, size }, &l, NULL) == 0) {
		all_safe(l.files);
		all_safe(l.dirs);
	}
	listing_done(&l);
	return 0;
}
