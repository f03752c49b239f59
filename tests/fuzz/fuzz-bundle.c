/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bundle says about itself: the first byte chooses the text, the rest is it. */
#include "bundle-internal.h"

#include "jutil.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void description(struct span text)
{
	_cleanup_json_ json_t *j = NULL;
	_cleanup_free_ struct bundle_object *objects = NULL;
	const struct bundle_want want = { .driver = "1.2", .release = "a", .arch = "x86_64" };
	size_t n = 0;

	if (bundle_description_parse(text, &j, &objects, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *words = bundle_object_text(&objects[i]);

		if (!words || !bundle_kind_word(objects[i].kind))
			abort();
		(void)bundle_object_matches(&objects[i], &want);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(bundle_manifest_done) struct bundle_manifest m = { 0 };
	struct span text = { (const char *)data + 1, size - 1 };
	struct oci_descriptor d;

	if (size < 1)
		return 0;
	if (data[0] == 'i')
		(void)bundle_index_parse(text, &d, NULL);
	else if (data[0] == 'm')
		(void)bundle_manifest_parse(text, &m, NULL);
	else
		description(text);
	return 0;
}
