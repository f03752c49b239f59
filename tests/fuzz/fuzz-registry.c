/* SPDX-License-Identifier: Apache-2.0
 *
 * Words of registries: the first byte chooses the reader, the rest is its text. */
#include "registry-words.h"
#include "registry.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reference(struct span text)
{
	_cleanup_(registry_ref_done) struct registry_ref r = { 0 };
	_cleanup_free_ char *copy = span_dup(text);

	if (copy && registry_ref_parse(copy, &r, NULL) == 0 && (!r.host || !r.name))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(registry_challenge_done) struct registry_challenge c = { 0 };
	_cleanup_free_ char *found = NULL;
	struct span text = { (const char *)data + 1, size - 1 };
	uint64_t n;
	bool same;

	if (size < 1)
		return 0;
	switch (data[0]) {
	case 'c':
		if (registry_challenge_parse(text, &c) == 0 && c.is_bearer && !c.realm)
			abort();
		break;
	case 'a':
		(void)registry_auth_find(text, "r.e", "a/b", &found, NULL);
		break;
	case 'l':
		(void)registry_location("https://r.e", text, &found, &same);
		break;
	case 'n':
		(void)registry_range_end(text, &n);
		break;
	default:
		reference(text);
	}
	return 0;
}
