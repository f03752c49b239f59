/* SPDX-License-Identifier: Apache-2.0
 *
 * Parse, emit, parse, emit: the second text equals the first. */
#include "deb822.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Only what was read without an error counts. */
static int pass(struct span text, struct strbuf *out)
{
	_cleanup_(deb822_stanza_done) struct deb822_stanza s = { 0 };
	struct deb822_reader r = DEB822_READER(text);
	int rc;

	while ((rc = deb822_next(&r, &s, NULL)) > 0)
		if (deb822_emit(&s, out) < 0)
			return -1;
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(strbuf_done) struct strbuf first = STRBUF_INIT(STRBUF_TEXT_MAX),
					     second = STRBUF_INIT(STRBUF_TEXT_MAX);

	if (pass((struct span){ (const char *)data, size }, &first) < 0)
		return 0;
	if (pass((struct span){ strbuf_str(&first), first.len }, &second) < 0 || first.len != second.len ||
	    memcmp(strbuf_str(&first), strbuf_str(&second), first.len) != 0)
		abort();
	return 0;
}
