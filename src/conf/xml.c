/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include <errno.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip(struct span *s, size_t n)
{
	s->p += n;
	s->len -= n;
}

/* Past the end of something that begins here. */
static int skip_past(struct span *s, const char *end)
{
	const char *at = memmem(s->p, s->len, end, strlen(end));

	if (!at)
		return -EBADMSG;
	skip(s, (size_t)(at - s->p) + strlen(end));
	return 0;
}

/* The length of a tag up to its '>', which may stand in a quoted value too; 0 when it has no end. */
static size_t tag_length(struct span s)
{
	char quote = '\0';

	for (size_t i = 0; i < s.len; i++) {
		if (quote)
			quote = s.p[i] == quote ? '\0' : quote;
		else if (s.p[i] == '"' || s.p[i] == '\'')
			quote = s.p[i];
		else if (s.p[i] == '>')
			return i;
	}
	return 0;
}

static int take_tag(struct span inside, struct xml_tag *t)
{
	size_t n = 0;

	t->closes = inside.len && inside.p[0] == '/';
	if (t->closes)
		skip(&inside, 1);
	t->is_empty = !t->closes && inside.len && inside.p[inside.len - 1] == '/';
	inside.len -= t->is_empty;
	while (n < inside.len && !is_blank(inside.p[n]))
		n++;
	t->name = (struct span){ inside.p, n };
	skip(&inside, n);
	t->attributes = span_trim(inside);
	return n ? 0 : -EBADMSG;
}

int xml_next(struct span *rest, struct xml_tag *ret)
{
	struct xml_tag t = { 0 };

	for (;;) {
		const char *open = memchr(rest->p, '<', rest->len), *next;
		size_t n;

		if (!open)
			return 0;
		skip(rest, (size_t)(open - rest->p));
		if (span_starts(*rest, "<!--") || span_starts(*rest, "<?")) {
			if (skip_past(rest, rest->p[1] == '?' ? "?>" : "-->") < 0)
				return -EBADMSG;
			continue;
		}
		skip(rest, 1);
		n = tag_length(*rest);
		if (!n || rest->p[0] == '!' || take_tag((struct span){ rest->p, n }, &t) < 0)
			return -EBADMSG;
		skip(rest, n + 1);
		next = memchr(rest->p, '<', rest->len);
		t.text = span_trim((struct span){ rest->p, next ? (size_t)(next - rest->p) : rest->len });
		*ret = t;
		return 1;
	}
}

static int take_value(struct span *rest, struct span *ret)
{
	const char *end;

	if (!rest->len || (rest->p[0] != '"' && rest->p[0] != '\''))
		return -EBADMSG;
	end = memchr(rest->p + 1, rest->p[0], rest->len - 1);
	if (!end)
		return -EBADMSG;
	*ret = (struct span){ rest->p + 1, (size_t)(end - rest->p - 1) };
	skip(rest, ret->len + 2);
	return 0;
}

int xml_attribute(const struct xml_tag *t, const char *name, struct span *ret)
{
	struct span rest = t->attributes, value;

	while ((rest = span_trim(rest)).len) {
		const char *equals = memchr(rest.p, '=', rest.len);
		struct span key;

		if (!equals)
			return -EBADMSG;
		key = span_trim((struct span){ rest.p, (size_t)(equals - rest.p) });
		skip(&rest, (size_t)(equals - rest.p) + 1);
		rest = span_trim(rest);
		if (take_value(&rest, &value) < 0)
			return -EBADMSG;
		if (!span_eq(key, name))
			continue;
		if (memchr(value.p, '&', value.len) || memchr(value.p, '<', value.len))
			return -EBADMSG;
		*ret = value;
		return 0;
	}
	return -ENOENT;
}
