/* SPDX-License-Identifier: Apache-2.0 */
#include "modbuild.h"

#include "parse.h"
#include "strbuf.h"

#include <string.h>

#define SUMMARY_LINES 3

/* What a line of make's output means, most telling kind first. */
static const struct {
	const char *text;
	int kind;
} marks[] = {
	{ "conftest failed!", ERR_MODULE_PROBE },
	{ ": error: ", ERR_MODULE_COMPILE },
	{ ": fatal error: ", ERR_MODULE_COMPILE },
	{ "internal compiler error", ERR_MODULE_COMPILE },
	/* objtool, fixdep and modpost come ready with the headers and want the machine's libraries; pahole is a program. */
	{ "error while loading shared libraries", ERR_MODULE_BUILD_TOOL },
	{ ": not found", ERR_MODULE_BUILD_TOOL },
	{ "ERROR: modpost:", ERR_MODULE_BUILD },
	{ "*** ", ERR_MODULE_BUILD },
	{ "No space left on device", ERR_MODULE_BUILD },
	{ "Killed", ERR_MODULE_BUILD },
};

static bool line_has(struct span line, const char *text)
{
	return line.len >= strlen(text) && memmem(line.p, line.len, text, strlen(text));
}

/* Index of the first mark the line carries; ARRAY_LEN(marks) for none. */
static size_t line_mark(struct span line)
{
	size_t i = 0;

	while (i < ARRAY_LEN(marks) && !line_has(line, marks[i].text))
		i++;
	return i;
}

static int best_kind(const char *text, size_t len)
{
	size_t best = ARRAY_LEN(marks);
	struct span rest = { text, len }, line;

	while (span_line(&rest, &line)) {
		size_t mark = line_mark(line);

		/* The directive itself, quoted in the probe's answer, is the same finding. */
		if (mark < best)
			best = mark;
	}
	return best < ARRAY_LEN(marks) ? marks[best].kind : 0;
}

/* File names are given relative to the build directory: what comes before is a temporary name. */
static struct span shorten(struct span line)
{
	static const char mark[] = "/" MODBUILD_DIR "/";
	const char *at = line.len ? memmem(line.p, line.len, mark, strlen(mark)) : NULL;

	if (!at || line.p[0] != '/' || memchr(line.p, ' ', (size_t)(at - line.p)))
		return line;
	at += strlen(mark);
	return (struct span){ at, line.len - (size_t)(at - line.p) };
}

int buildlog_summary(const char *text, size_t len, int *ret_kind, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(8192);
	struct span rest = { text, len }, line;
	int kind = best_kind(text, len), shown = 0;

	while (kind && shown < SUMMARY_LINES && span_line(&rest, &line)) {
		size_t mark = line_mark(line);

		if (mark == ARRAY_LEN(marks) || marks[mark].kind != kind)
			continue;
		line = shorten(span_trim(line));
		(void)strbuf_printf(&out, "%s" SPAN_FMT, shown ? "; " : "", SPAN_ARG(line));
		shown++;
	}
	if (!shown)
		(void)strbuf_puts(&out, "make reported no error text");
	*ret_kind = kind;
	return strbuf_steal(&out, ret);
}
