/* SPDX-License-Identifier: Apache-2.0 */
#include "pgpkey.h"
#include "strbuf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	_cleanup_free_ uint8_t *ring = NULL, *again = NULL;
	_cleanup_strv_ char **found = NULL;
	size_t len, again_len;

	if (pgpkey_binary(text, &ring, &len, NULL) < 0)
		return 0;
	/* What was accepted holds a key, and passes unchanged the second time. */
	text = (struct span){ (const char *)ring, len };
	if (pgpkey_fingerprints(text, &found, NULL) < 0 || !found || strlen(found[0]) != 40)
		abort();
	if (pgpkey_binary(text, &again, &again_len, NULL) < 0 || again_len != len ||
	    memcmp(ring, again, len) != 0)
		abort();
	return 0;
}
