/* SPDX-License-Identifier: Apache-2.0
 *
 * The vendor installer's record: whatever is accepted is written so that it reads the same again. */
#include "vendor-record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(vendor_record_done) struct vendor_record first = { 0 }, second = { 0 };
	_cleanup_(strbuf_done) struct strbuf a = STRBUF_INIT((size_t)32 << 20),
					     b = STRBUF_INIT((size_t)32 << 20);
	const struct span text = { (const char *)data, size };

	(void)vendor_record_parse_dirs(text, &second, NULL);
	vendor_record_done(&second);
	if (vendor_record_parse(text, &first, NULL) < 0)
		return 0;
	if (vendor_record_emit(&first, &a) < 0)
		return 0;
	if (vendor_record_parse((struct span){ strbuf_str(&a), a.len }, &second, NULL) < 0 ||
	    second.n != first.n)
		abort();
	if (vendor_record_emit(&second, &b) < 0 || a.len != b.len ||
	    memcmp(strbuf_str(&a), strbuf_str(&b), a.len) != 0)
		abort();
	return 0;
}
