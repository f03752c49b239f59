/* SPDX-License-Identifier: Apache-2.0 */
#include "toml.h"

#include "jutil.h"
#include "strbuf.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX  64
#define KEY_MAX	   64 /* parts of a dotted key */
#define NUMBER_MAX 64

struct toml {
	const char *p, *end;
	unsigned line, depth;
	json_t *root, *table; /* borrowed from root */
	json_t *closed; /* owned; names of tables that a header has defined, joined by 0x1f */
	struct err *e;
};

static int bad(struct toml *t, const char *what)
{
	return err_set(t->e, ERR_FORMAT, "line %u: %s", t->line, what);
}

static int no_memory(struct toml *t)
{
	return err_oom(t->e);
}

static bool at(const struct toml *t, char c)
{
	return t->p < t->end && *t->p == c;
}

static bool starts(const struct toml *t, const char *text)
{
	size_t n = strlen(text);

	return (size_t)(t->end - t->p) >= n && memcmp(t->p, text, n) == 0;
}

static bool take(struct toml *t, char c)
{
	bool there = at(t, c);

	t->p += there;
	return there;
}

static void blanks(struct toml *t)
{
	while (at(t, ' ') || at(t, '\t'))
		t->p++;
}

/* A line's end, with the comment before it. */
static int end_of_line(struct toml *t)
{
	blanks(t);
	if (at(t, '#'))
		while (t->p < t->end && *t->p != '\n') {
			if ((unsigned char)*t->p < 0x20 && *t->p != '\t' && !starts(t, "\r\n"))
				return bad(t, "a control character in a comment");
			t->p++;
		}
	if (starts(t, "\r\n"))
		t->p++;
	if (t->p == t->end)
		return 0;
	if (!take(t, '\n'))
		return bad(t, "something stands behind the value");
	t->line++;
	return 0;
}

/* Blanks, comments and line ends inside an array. */
static int wide_blanks(struct toml *t)
{
	int r = 0;

	for (blanks(t); r >= 0 && t->p < t->end && (at(t, '#') || at(t, '\n') || starts(t, "\r\n"));
	     blanks(t))
		r = end_of_line(t);
	return r;
}

/* -- texts -- */

static int put_utf8(struct strbuf *b, uint32_t c)
{
	char out[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = n; i-- > 1; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(first[n] | c);
	return strbuf_append(b, out, n);
}

static bool is_hex(const struct toml *t, size_t digits)
{
	if ((size_t)(t->end - t->p) < digits)
		return false;
	for (size_t i = 0; i < digits; i++)
		if (!isxdigit((unsigned char)t->p[i]))
			return false;
	return true;
}

static int take_unicode(struct toml *t, size_t digits, struct strbuf *b)
{
	uint64_t c;

	if (!is_hex(t, digits) || parse_hex64((struct span){ t->p, digits }, 0x10ffff, &c) < 0 ||
	    (c >= 0xd800 && c < 0xe000))
		return bad(t, "not a character's number");
	t->p += digits;
	return put_utf8(b, (uint32_t)c) < 0 ? no_memory(t) : 0;
}

/* Behind the backslash; in texts of several lines one at the end of a line joins it to the next word. */
static int take_escape(struct toml *t, bool many, struct strbuf *b)
{
	static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";
	const char *found = t->p < t->end && *t->p ? strchr(names, *t->p) : NULL;

	if (found) {
		t->p++;
		return strbuf_putc(b, values[found - names]) < 0 ? no_memory(t) : 0;
	}
	if (take(t, 'u'))
		return take_unicode(t, 4, b);
	if (take(t, 'U'))
		return take_unicode(t, 8, b);
	if (!many)
		return bad(t, "an escape that is none");
	blanks(t);
	if (!at(t, '\n') && !starts(t, "\r\n"))
		return bad(t, "an escape that is none");
	while (t->p < t->end && strchr(" \t\r\n", *t->p) && *t->p)
		t->line += *t->p++ == '\n';
	return 0;
}

/* Quotes at the end of a text of several lines belong to it when there are more than three. */
static bool closes(struct toml *t, const char *quote, bool many)
{
	if (!starts(t, quote))
		return false;
	return !many || !(t->end - t->p > 3 && t->p[3] == *quote);
}

static int take_char(struct toml *t, bool many, bool basic, struct strbuf *b)
{
	unsigned char c = (unsigned char)*t->p;

	if (c == '\\' && basic) {
		t->p++;
		return take_escape(t, many, b);
	}
	if (many && (c == '\n' || starts(t, "\r\n")))
		t->line += c == '\n';
	else if ((c < 0x20 && c != '\t') || c == 0x7f)
		return bad(t, c == '\n' || c == '\r' ? "the text does not end" : "a control character");
	t->p++;
	return strbuf_putc(b, (char)c) < 0 ? no_memory(t) : 0;
}

/* The opening quote is at t->p. */
static int take_text(struct toml *t, bool may_be_many, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(TOML_MAX_BYTES);
	char quote[4] = { *t->p, *t->p, *t->p, '\0' };
	bool many = may_be_many && starts(t, quote);
	int r = 0;

	if (!many)
		quote[1] = '\0';
	t->p += strlen(quote);
	if (many && starts(t, "\r\n"))
		t->p++;
	if (many && take(t, '\n'))
		t->line++;
	while (r >= 0 && !closes(t, quote, many)) {
		if (t->p == t->end)
			return bad(t, "the text does not end");
		r = take_char(t, many, *quote == '"', &b);
	}
	if (r < 0)
		return r;
	t->p += strlen(quote);
	return strbuf_steal(&b, ret) < 0 ? no_memory(t) : 0;
}

/* -- keys -- */

static bool is_bare(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '-';
}

static int take_part(struct toml *t, char **ret)
{
	const char *from = t->p;

	if (at(t, '"') || at(t, '\''))
		return take_text(t, false, ret);
	while (t->p < t->end && is_bare(*t->p))
		t->p++;
	if (t->p == from)
		return bad(t, "a key is missing");
	*ret = strndup(from, (size_t)(t->p - from));
	return *ret ? 0 : no_memory(t);
}

static int take_key(struct toml *t, char ***ret)
{
	int r;

	do {
		_cleanup_free_ char *part = NULL;

		blanks(t);
		r = take_part(t, &part);
		if (r < 0)
			return r;
		if (strv_len(*ret) >= KEY_MAX)
			return bad(t, "the key has too many parts");
		if (strv_push(ret, part) < 0)
			return no_memory(t);
		blanks(t);
	} while (take(t, '.'));
	return 0;
}

/* The table below `from` by that name, made when missing; of an array of tables its last one. */
static int step_into(struct toml *t, json_t *from, const char *name, json_t **ret)
{
	json_t *next = json_object_get(from, name);

	if (!next) {
		next = json_object();
		if (!next || json_object_set_new(from, name, next) < 0)
			return json_object_get(from, name) ? no_memory(t) : bad(t, "a key is no text");
	}
	if (json_is_array(next) && json_array_size(next) > 0)
		next = json_array_get(next, json_array_size(next) - 1);
	if (!json_is_object(next))
		return bad(t, "a key is both a value and a table");
	*ret = next;
	return 0;
}

static int put(struct toml *t, json_t *table, const char *name, json_t *value)
{
	if (json_object_get(table, name)) {
		json_decref(value);
		return bad(t, "a key stands twice");
	}
	return json_object_set_new(table, name, value) < 0 ? bad(t, "a key is no text") : 0;
}

static int take_value(struct toml *t, json_t **ret);

static int take_pair(struct toml *t, json_t *table)
{
	_cleanup_strv_ char **key = NULL;
	json_t *value = NULL;
	size_t n;
	int r = take_key(t, &key);

	n = strv_len(key);
	for (size_t i = 0; r >= 0 && i + 1 < n; i++)
		r = step_into(t, table, key[i], &table);
	if (r >= 0 && !take(t, '='))
		r = bad(t, "a key without \"=\"");
	if (r < 0)
		return r;
	blanks(t);
	r = take_value(t, &value);
	return r < 0 ? r : put(t, table, key[n - 1], value);
}

/* -- values -- */

static json_t *whole_number(const char *text)
{
	static const struct {
		const char *prefix;
		int base;
	} prefixes[] = { { "0x", 16 }, { "0o", 8 }, { "0b", 2 } };
	int base = 10;
	char *end;
	long long n;

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (strncmp(text, prefixes[i].prefix, 2) == 0) {
			base = prefixes[i].base;
			text += 2;
		}
	if (base != 10 && strchr("+-", *text))
		return NULL;
	/* No leading zeros: they would be octal elsewhere. */
	if (base == 10 && text[strspn(text, "+-")] == '0' && text[strspn(text, "+-") + 1])
		return NULL;
	errno = 0;
	n = strtoll(text, &end, base);
	return *end || end == text || errno ? NULL : json_integer(n);
}

static json_t *real_number(const char *text)
{
	char *end;
	double d;

	if (strspn(text, "+-0123456789.eE") != strlen(text) || !strpbrk(text, ".eE"))
		return NULL;
	d = strtod(text, &end);
	return *end || end == text || !isfinite(d) ? NULL : json_real(d);
}

/* "1979-05-27", "07:32:00", both with "T" or a blank between and a zone behind: kept as they stand. */
static bool is_date(const char *text)
{
	return strlen(text) >= 8 && (text[4] == '-' || text[2] == ':') &&
	       strspn(text, "0123456789-:.TtZz+ ") == strlen(text);
}

/* Underscores stand between digits only. */
static int without_underscores(const char *from, size_t n, char out[NUMBER_MAX])
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (from[i] == '_' && (i == 0 || i + 1 == n || !is_bare(from[i - 1]) ||
				       !is_bare(from[i + 1]) || from[i - 1] == '_'))
			return -EINVAL;
		if (from[i] != '_')
			out[k++] = from[i];
	}
	out[k] = '\0';
	return 0;
}

static int take_plain(struct toml *t, json_t **ret)
{
	const char *from = t->p;
	char text[NUMBER_MAX];
	size_t n;

	while (t->p < t->end && (is_bare(*t->p) || strchr(".:+", *t->p)) && *t->p)
		t->p++;
	/* A date's time may follow a blank. */
	if (t->p - from == 10 && from[4] == '-' && t->end - t->p > 1 && *t->p == ' ' && t->p[1] >= '0' &&
	    t->p[1] <= '9')
		for (t->p++; t->p < t->end && (is_bare(*t->p) || strchr(".:+", *t->p)) && *t->p;)
			t->p++;
	n = (size_t)(t->p - from);
	if (n == 0 || n >= sizeof(text) || without_underscores(from, n, text) < 0)
		return bad(t, "a value is missing or is none");
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		*ret = json_boolean(*text == 't');
	else
		*ret = whole_number(text);
	if (!*ret)
		*ret = real_number(text);
	if (!*ret && is_date(text))
		*ret = json_string(text);
	return *ret ? 0 : bad(t, "a value is none");
}

static int take_array(struct toml *t, json_t **ret)
{
	json_auto_t *list = json_array();
	int r = list ? wide_blanks(t) : no_memory(t);

	while (r >= 0 && !at(t, ']')) {
		json_t *value = NULL;

		r = take_value(t, &value);
		if (r >= 0 && json_array_append_new(list, value) < 0)
			r = no_memory(t);
		if (r >= 0)
			r = wide_blanks(t);
		if (r >= 0 && !take(t, ',') && !at(t, ']'))
			r = bad(t, "an array does not end");
		if (r >= 0)
			r = wide_blanks(t);
	}
	if (r < 0)
		return r;
	t->p++;
	*ret = json_incref(list);
	return 0;
}

static int take_inline(struct toml *t, json_t **ret)
{
	json_auto_t *table = json_object();
	int r = table ? 0 : no_memory(t);

	blanks(t);
	if (r >= 0 && take(t, '}')) {
		*ret = json_incref(table);
		return 0;
	}
	do {
		blanks(t);
		if (r >= 0)
			r = take_pair(t, table);
		blanks(t);
	} while (r >= 0 && take(t, ','));
	if (r >= 0 && !take(t, '}'))
		r = bad(t, "a table in braces does not end");
	if (r < 0)
		return r;
	*ret = json_incref(table);
	return 0;
}

static int take_string(struct toml *t, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	int r = take_text(t, true, &text);

	if (r < 0)
		return r;
	*ret = json_string(text);
	return *ret ? 0 : bad(t, "a text is not UTF-8");
}

static int take_value(struct toml *t, json_t **ret)
{
	int r;

	if (at(t, '"') || at(t, '\''))
		return take_string(t, ret);
	if (++t->depth > DEPTH_MAX)
		return bad(t, "values are nested too deep");
	r = take(t, '[') ? take_array(t, ret) : take(t, '{') ? take_inline(t, ret) : take_plain(t, ret);
	t->depth--;
	return r;
}

/* -- tables -- */

/* A table has one header; those of an array of tables may repeat, with what lies below them. */
static int define_once(struct toml *t, char *const *key)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(TOML_MAX_BYTES);

	for (; *key; key++)
		(void)strbuf_printf(&b, "\x1f%s", *key);
	if (strbuf_error(&b) < 0)
		return no_memory(t);
	if (json_object_get(t->closed, strbuf_str(&b)))
		return bad(t, "a table is defined twice");
	return json_object_set_new(t->closed, strbuf_str(&b), json_true()) < 0 ? bad(t, "a key is no text")
									       : 0;
}

static int add_element(struct toml *t, json_t *table, const char *name)
{
	json_t *list = json_object_get(table, name), *element = json_object();

	if (!list) {
		list = json_array();
		if (json_object_set_new(table, name, list) < 0) {
			json_decref(element);
			return bad(t, "a key is no text");
		}
	}
	if (!json_is_array(list)) {
		json_decref(element);
		return bad(t, "a key is both a value and a table");
	}
	if (json_array_append_new(list, element) < 0)
		return no_memory(t);
	(void)json_object_clear(t->closed);
	t->table = element;
	return 0;
}

static int take_header(struct toml *t)
{
	_cleanup_strv_ char **key = NULL;
	bool many = take(t, '[');
	int r = take_key(t, &key);
	size_t n = strv_len(key);

	t->table = t->root;
	for (size_t i = 0; r >= 0 && i + many < n; i++)
		r = step_into(t, t->table, key[i], &t->table);
	if (r >= 0)
		r = many ? add_element(t, t->table, key[n - 1]) : define_once(t, key);
	if (r >= 0 && (!take(t, ']') || (many && !take(t, ']'))))
		r = bad(t, "a table's name does not end");
	return r;
}

static int take_lines(struct toml *t)
{
	int r = 0;

	while (r >= 0 && t->p < t->end) {
		blanks(t);
		if (take(t, '['))
			r = take_header(t);
		else if (t->p < t->end && !at(t, '#') && !at(t, '\n') && !at(t, '\r'))
			r = take_pair(t, t->table);
		if (r >= 0)
			r = end_of_line(t);
	}
	return r;
}

int toml_parse(struct span text, json_t **ret, struct err *e)
{
	json_auto_t *root = json_object(), *closed = json_object();
	struct toml t = { text.p, text.p + text.len, 1, 0, root, root, closed, e };
	int r;

	if (!root || !closed)
		return err_oom(e);
	if (text.len > TOML_MAX_BYTES)
		return err_set(e, ERR_FORMAT, "line 1: the text is too long");
	r = take_lines(&t);
	if (r < 0)
		return r;
	*ret = json_incref(root);
	return 0;
}
