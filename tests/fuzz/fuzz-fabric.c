/* SPDX-License-Identifier: Apache-2.0
 *
 * Input: settings, one a line, an empty line, then the configuration text. Setting twice changes nothing more, and
 * lines that nothing sets survive. */
#include "container-fabric.h"

#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_kept(struct span out, struct span line)
{
	struct span l;

	while (span_line(&out, &l))
		if (l.len == line.len && memcmp(l.p, line.p, l.len) == 0)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(strbuf_done) struct strbuf once = STRBUF_INIT(1 << 20), twice = STRBUF_INIT(1 << 20);
	_cleanup_strv_ char **settings = NULL, **warnings = NULL;
	struct span text = { (const char *)data, size }, line;

	while (span_line(&text, &line) && line.len > 0) {
		_cleanup_free_ char *setting = span_dup(line);

		if (strv_len(settings) < 64 && setting && strv_push(&settings, setting) < 0)
			return 0;
	}
	if (container_fabric_override(text, settings, &once, &warnings) < 0)
		return 0;
	if (container_fabric_override((struct span){ strbuf_str(&once), once.len }, settings, &twice,
				      &warnings) < 0)
		return 0;
	if (once.len != twice.len || (once.len && memcmp(once.buf, twice.buf, once.len) != 0))
		abort();
	while (span_line(&text, &line))
		if (!memchr(line.p, '=', line.len) &&
		    !is_kept((struct span){ strbuf_str(&once), once.len }, line))
			abort();
	return 0;
}
