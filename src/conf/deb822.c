/* SPDX-License-Identifier: Apache-2.0 */
#include "deb822.h"

#include <strings.h>

void deb822_stanza_done(struct deb822_stanza *s)
{
	free(s->fields);
	*s = (struct deb822_stanza){ 0 };
}

static bool is_key(struct span k)
{
	if (k.len == 0 || k.p[0] == '-')
		return false;
	for (size_t i = 0; i < k.len; i++)
		if (k.p[i] < 33 || k.p[i] > 126)
			return false;
	return true;
}

static bool same_key(struct span a, struct span b)
{
	return a.len == b.len && strncasecmp(a.p, b.p, a.len) == 0;
}

static int add_field(struct deb822_stanza *s, struct deb822_field f, unsigned line, struct err *e)
{
	for (size_t i = 0; i < s->n; i++)
		if (same_key(s->fields[i].key, f.key))
			return err_set(e, -ERR_FORMAT, "line %u: " SPAN_FMT " appears twice", line,
				       SPAN_ARG(f.key));
	if (s->n == DEB822_FIELDS_MAX)
		return err_set(e, -ERR_FORMAT, "line %u: more than %d fields", line, DEB822_FIELDS_MAX);
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct deb822_field *grown = reallocarray(s->fields, cap, sizeof(*grown));

		if (!grown)
			return err_oom(e);
		s->fields = grown;
		s->cap = cap;
	}
	if (s->n == 0)
		s->line = line;
	s->fields[s->n++] = f;
	return 0;
}

static int take_line(struct deb822_stanza *s, struct span line, unsigned number, struct err *e)
{
	const char *colon;

	if (line.p[0] == ' ' || line.p[0] == '\t') {
		struct deb822_field *last = s->n ? &s->fields[s->n - 1] : NULL;

		if (!last)
			return err_set(e, -ERR_FORMAT, "line %u: a continuation of nothing", number);
		last->raw.len = (size_t)(line.p + line.len - last->raw.p);
		return 0;
	}
	colon = memchr(line.p, ':', line.len);
	if (!colon || !is_key((struct span){ line.p, (size_t)(colon - line.p) }))
		return err_set(e, -ERR_FORMAT, "line %u: no field: " SPAN_FMT, number, SPAN_ARG(line));
	return add_field(s,
			 (struct deb822_field){ { line.p, (size_t)(colon - line.p) },
						{ colon + 1, line.len - (size_t)(colon + 1 - line.p) } },
			 number, e);
}

int deb822_next(struct deb822_reader *r, struct deb822_stanza *s, struct err *e)
{
	struct span line;

	s->n = 0;
	while (span_line(&r->rest, &line)) {
		int rc;

		r->line++;
		if (line.len > 0 && line.p[0] == '#')
			continue;
		if (memchr(line.p, '\0', line.len))
			return err_set(e, -ERR_FORMAT, "line %u: a NUL byte", r->line);
		if (span_trim(line).len == 0) {
			if (s->n)
				return 1;
			continue;
		}
		rc = take_line(s, line, r->line, e);
		if (rc < 0)
			return rc;
	}
	return s->n ? 1 : 0;
}

const struct deb822_field *deb822_find(const struct deb822_stanza *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++)
		if (same_key(s->fields[i].key, SPAN(key)))
			return &s->fields[i];
	return NULL;
}

struct span deb822_value(const struct deb822_stanza *s, const char *key)
{
	const struct deb822_field *f = deb822_find(s, key);
	struct span rest, line;

	if (!f)
		return SPAN_NULL;
	rest = f->raw;
	return span_line(&rest, &line) ? span_trim(line) : (struct span){ f->raw.p, 0 };
}

static struct span trim_end(struct span s)
{
	while (s.len > 0 && memchr(" \t\r", s.p[s.len - 1], 3))
		s.len--;
	return s;
}

char *deb822_text(const struct deb822_field *f)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(f->raw.len + 1);
	struct span rest = f->raw, line;
	bool first = true;
	char *text = NULL;

	while (span_line(&rest, &line)) {
		/* Comments may stand between the lines of a value. */
		if (!first && line.len > 0 && line.p[0] == '#')
			continue;
		if (first) {
			line = span_trim(line);
		} else {
			line = trim_end((struct span){ line.p + 1, line.len - 1 });
			(void)strbuf_putc(&out, '\n');
		}
		(void)strbuf_append(&out, line.p, line.len);
		first = false;
	}
	return strbuf_steal(&out, &text) < 0 ? NULL : text;
}

int deb822_emit(const struct deb822_stanza *s, struct strbuf *out)
{
	for (size_t i = 0; i < s->n; i++) {
		_cleanup_free_ char *text = deb822_text(&s->fields[i]);
		struct span rest, line;
		bool first = true;

		if (!text)
			return -ENOMEM;
		(void)strbuf_append(out, s->fields[i].key.p, s->fields[i].key.len);
		(void)strbuf_putc(out, ':');
		rest = SPAN(text);
		while (span_line(&rest, &line)) {
			(void)strbuf_puts(out, first && line.len == 0 ? "" : " ");
			(void)strbuf_append(out, line.p, line.len);
			(void)strbuf_putc(out, '\n');
			first = false;
		}
		if (first)
			(void)strbuf_putc(out, '\n');
	}
	(void)strbuf_putc(out, '\n');
	return strbuf_error(out);
}
