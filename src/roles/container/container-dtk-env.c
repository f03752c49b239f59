/* SPDX-License-Identifier: Apache-2.0 */
#include "container-dtk.h"
#include "strbuf.h"
#include "err-container.h"

#include <string.h>

#define ENV_MAX ((size_t)4 << 20)

static bool is_name_byte(char c, bool first)
{
	char small = (char)(c | 0x20);

	return c == '_' || (small >= 'a' && small <= 'z') || (!first && c >= '0' && c <= '9');
}

static size_t name_length(struct span s)
{
	size_t n = 0;

	while (n < s.len && is_name_byte(s.p[n], n == 0))
		n++;
	return n;
}

int dtk_env_write(char *const *environment, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(ENV_MAX);

	for (; environment && *environment; environment++) {
		struct span s = SPAN(*environment);
		size_t n = name_length(s);

		if (n == 0 || n == s.len || s.p[n] != '=')
			continue;
		(void)strbuf_append(&out, s.p, n);
		(void)strbuf_puts(&out, "='");
		for (const char *p = s.p + n + 1; *p; p++)
			(void)(*p == '\'' ? strbuf_puts(&out, "'\\''") : strbuf_putc(&out, *p));
		(void)strbuf_puts(&out, "'\n");
	}
	return strbuf_steal(&out, ret);
}

/* One value from behind its opening quote; *rest is left behind the closing one. */
static bool take_value(struct span *rest, struct strbuf *out)
{
	while (rest->len > 0) {
		if (rest->p[0] == '\0')
			return false;
		if (rest->p[0] != '\'') {
			(void)strbuf_putc(out, rest->p[0]);
			rest->p++, rest->len--;
		} else if (span_starts(*rest, "'\\''")) {
			(void)strbuf_putc(out, '\'');
			rest->p += 4, rest->len -= 4;
		} else {
			rest->p++, rest->len--;
			return true;
		}
	}
	return false;
}

static unsigned line_of(struct span text, const char *at)
{
	unsigned line = 1;

	for (const char *p = text.p; p < at; p++)
		line += *p == '\n';
	return line;
}

int dtk_env_parse(struct span text, char ***ret, struct err *e)
{
	_cleanup_strv_ char **out = NULL;
	struct span rest = text;

	while (rest.len > 0) {
		_cleanup_(strbuf_done) struct strbuf entry = STRBUF_INIT(ENV_MAX);
		const char *start = rest.p;
		size_t n = name_length(rest);
		bool good = n > 0 && rest.len - n >= 2 && memcmp(rest.p + n, "='", 2) == 0;

		(void)strbuf_append(&entry, rest.p, n);
		(void)strbuf_putc(&entry, '=');
		if (good) {
			rest.p += n + 2;
			rest.len -= n + 2;
			good = take_value(&rest, &entry) && rest.len > 0 && rest.p[0] == '\n';
		}
		if (!good)
			return err_set(e, ERR_DTK_ENV, "line %u is no NAME='value'", line_of(text, start));
		rest.p++, rest.len--;
		if (strbuf_error(&entry) < 0 || strv_push(&out, entry.buf) < 0)
			return err_oom(e);
	}
	if (!out && !(out = calloc(1, sizeof(*out))))
		return err_oom(e);
	*ret = TAKE_PTR(out);
	return 0;
}
