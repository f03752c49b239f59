/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read can be written, what was written reads the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL, *again = NULL;
	_cleanup_(strbuf_done) struct strbuf one = STRBUF_INIT(MANIFEST_MAX_BYTES),
					     two = STRBUF_INIT(MANIFEST_MAX_BYTES);

	if (manifest_parse((struct span){ (const char *)data, size }, 0, &m, NULL) < 0)
		return 0;
	if (manifest_emit(m, &one) < 0)
		return 0;
	if (manifest_parse((struct span){ strbuf_str(&one), one.len }, 0, &again, NULL) < 0 ||
	    manifest_emit(again, &two) < 0)
		abort();
	if (m->n_entries != again->n_entries || strcmp(strbuf_str(&one), strbuf_str(&two)) != 0)
		abort();
	return 0;
}
