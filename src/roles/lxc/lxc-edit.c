/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-edit.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define TEXT_MAX   ((size_t)4 << 20)
#define DEV_MAX	   256
#define MARK_BEGIN "# nvdriver: begin (rewritten by nvdriver lxc)"
#define MARK_END   "# nvdriver: end"

static bool is_key_char(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

/* Splits at the first ':' or '=' behind the key; a comment or a section is no assignment. */
static bool line_split(struct span line, struct span *ret_key, struct span *ret_value)
{
	struct span l = span_trim(line);
	size_t n = 0, at;

	while (n < l.len && is_key_char(l.p[n]))
		n++;
	at = n;
	while (at < l.len && (l.p[at] == ' ' || l.p[at] == '\t'))
		at++;
	if (n == 0 || at == l.len || (l.p[at] != ':' && l.p[at] != '='))
		return false;
	*ret_key = (struct span){ l.p, n };
	*ret_value = span_trim((struct span){ l.p + at + 1, l.len - at - 1 });
	return true;
}

/* dev0 … dev255 */
static bool key_is_dev(struct span key, unsigned *ret_n)
{
	uint64_t n;

	if (!span_starts(key, "dev") ||
	    parse_u64((struct span){ key.p + 3, key.len - 3 }, DEV_MAX - 1, &n) < 0)
		return false;
	if (ret_n)
		*ret_n = (unsigned)n;
	return true;
}

char *lxc_line_canonical(struct span line)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(TEXT_MAX);
	struct span key, value, word;
	char *text = NULL;

	if (!line_split(line, &key, &value))
		return NULL;
	if (key_is_dev(key, NULL))
		key.len = 3;
	(void)strbuf_append(&b, key.p, key.len);
	(void)strbuf_puts(&b, " =");
	while (span_word(&value, &word)) {
		(void)strbuf_putc(&b, ' ');
		(void)strbuf_append(&b, word.p, word.len);
	}
	return strbuf_steal(&b, &text) < 0 ? NULL : text;
}

bool lxc_line_equal(const char *a, const char *b)
{
	_cleanup_free_ char *x = lxc_line_canonical(SPAN(a)), *y = lxc_line_canonical(SPAN(b));

	return x && y && strcmp(x, y) == 0;
}

/* A devN value's path: all before its first option. */
static struct span before_options(struct span value)
{
	size_t n = 0;

	while (n < value.len && !strchr(", \t\r\n", value.p[n]))
		n++;
	return (struct span){ value.p, n };
}

struct span lxc_line_dev_path(const char *canonical)
{
	struct span key, value;

	if (!line_split(SPAN(canonical), &key, &value) || !(span_eq(key, "dev") || key_is_dev(key, NULL)))
		return SPAN_NULL;
	return before_options(value);
}

bool lxc_lines_contain(char *const *have, const char *line)
{
	for (; have && *have; have++)
		if (lxc_line_equal(*have, line))
			return true;
	return false;
}

static bool is_same_device(const char *a, const char *b)
{
	struct span x = lxc_line_dev_path(a), y = lxc_line_dev_path(b);

	return x.p && y.p && x.len == y.len && memcmp(x.p, y.p, x.len) == 0;
}

const char *lxc_lines_find(char *const *have, const char *line)
{
	for (; have && *have; have++)
		if (is_same_device(*have, line) || lxc_line_equal(*have, line))
			return *have;
	return NULL;
}

int lxc_lines_merge(char *const *have, char *const *add, char *const *remove, char ***ret)
{
	_cleanup_strv_ char **v = NULL;
	int r = 0;

	for (char *const *p = have; r >= 0 && p && *p; p++)
		if (!lxc_lines_contain(remove, *p))
			r = strv_push(&v, *p);
	for (char *const *p = add; r >= 0 && p && *p; p++)
		if (!lxc_lines_contain(v, *p))
			r = strv_push(&v, *p);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

/* -- Proxmox VE -- */

static bool is_section(struct span line)
{
	return line.len > 2 && line.p[0] == '[' && memchr(line.p, ']', line.len);
}

/* What is above the first section. */
static struct span pve_current(struct span text)
{
	struct span rest = text, line;

	while (span_line(&rest, &line))
		if (is_section(line))
			return (struct span){ text.p, (size_t)(line.p - text.p) };
	return text;
}

static bool is_ours_to_read(struct span key)
{
	return span_starts(key, "lxc.") || key_is_dev(key, NULL);
}

static int lines_collect(struct span text, bool (*wanted)(struct span key), char ***ret)
{
	_cleanup_strv_ char **v = NULL;
	struct span line, key, value;
	int r = 0;

	while (r >= 0 && span_line(&text, &line)) {
		_cleanup_free_ char *canonical = NULL;

		if (!line_split(line, &key, &value) || (wanted && !wanted(key)))
			continue;
		canonical = lxc_line_canonical(line);
		r = canonical ? strv_push(&v, canonical) : -ENOMEM;
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

int lxc_pve_lines(struct span text, char ***ret)
{
	return lines_collect(pve_current(text), is_ours_to_read, ret);
}

bool lxc_pve_value(struct span text, const char *key, struct span *ret)
{
	struct span rest = pve_current(text), line, k, value;

	while (span_line(&rest, &line))
		if (line_split(line, &k, &value) && span_eq(k, key)) {
			*ret = value;
			return true;
		}
	return false;
}

static bool has_dev(char *const *lines)
{
	for (; lines && *lines; lines++)
		if (lxc_line_dev_path(*lines).p)
			return true;
	return false;
}

static bool line_is_in(struct span line, char *const *list)
{
	_cleanup_free_ char *canonical = lxc_line_canonical(line);

	return canonical && lxc_lines_contain(list, canonical);
}

/* Where new lines go: behind the last line of the section that is not blank. */
static size_t end_of_content(struct span text)
{
	struct span rest = text, line;
	size_t end = 0;

	while (span_line(&rest, &line))
		if (span_trim(line).len)
			end = (size_t)(rest.p ? rest.p - text.p : (ptrdiff_t)text.len);
	return end;
}

static void copy_without(struct span text, char *const *remove, struct strbuf *out)
{
	struct span rest = text, line;

	while (span_line(&rest, &line)) {
		size_t end = rest.len ? (size_t)(rest.p - text.p) : text.len;
		size_t start = (size_t)(line.p - text.p);

		if (!line_is_in(line, remove))
			(void)strbuf_append(out, text.p + start, end - start);
	}
}

static void put_pve_line(struct strbuf *out, const char *canonical)
{
	const char *eq = strstr(canonical, " = ");

	if (eq)
		(void)strbuf_printf(out, "%.*s: %s\n", (int)(eq - canonical), canonical, eq + 3);
}

int lxc_pve_edit(struct span text, char *const *add, char *const *remove, struct strbuf *out)
{
	struct span current = pve_current(text), head;
	_cleanup_strv_ char **have = NULL;
	int r;

	if (has_dev(add) || has_dev(remove))
		return -EINVAL;
	head = (struct span){ current.p, end_of_content(current) };
	copy_without(head, remove, out);
	r = lxc_pve_lines((struct span){ strbuf_str(out), out->len }, &have);
	if (r < 0)
		return r;
	for (char *const *p = add; p && *p; p++) {
		_cleanup_free_ char *canonical = lxc_line_canonical(SPAN(*p));

		if (!canonical)
			return -EINVAL;
		if (lxc_lines_contain(have, canonical))
			continue;
		if (out->len && out->buf[out->len - 1] != '\n')
			(void)strbuf_putc(out, '\n');
		put_pve_line(out, canonical);
	}
	return strbuf_append(out, text.p + head.len, text.len - head.len);
}

int lxc_pve_dev_number(struct span text, const char *path, unsigned *ret_n, bool *ret_present)
{
	struct span rest = pve_current(text), line, key, value;
	bool used[DEV_MAX] = { false };
	unsigned n;

	while (span_line(&rest, &line)) {
		if (!line_split(line, &key, &value) || !key_is_dev(key, &n))
			continue;
		used[n] = true;
		if (span_eq(before_options(value), path)) {
			*ret_n = n;
			*ret_present = true;
			return 0;
		}
	}
	for (n = 0; n < DEV_MAX; n++)
		if (!used[n]) {
			*ret_n = n;
			*ret_present = false;
			return 0;
		}
	return -ENOSPC;
}

/* -- LXC -- */

int lxc_conf_lines(struct span text, char ***ret)
{
	return lines_collect(text, NULL, ret);
}

int lxc_conf_include(struct span text, const char *path, bool present, struct strbuf *out)
{
	_cleanup_free_ char *line = str_printf("lxc.include = %s", path);
	_cleanup_strv_ char **have = NULL, **remove = NULL;
	bool there;
	int r;

	if (!line || strv_push(&remove, line) < 0)
		return -ENOMEM;
	r = lxc_conf_lines(text, &have);
	if (r < 0)
		return r;
	there = lxc_lines_contain(have, line);
	copy_without(text, present ? NULL : remove, out);
	if (present && !there) {
		if (out->len && out->buf[out->len - 1] != '\n')
			(void)strbuf_putc(out, '\n');
		(void)strbuf_printf(out, "%s\n", line);
	}
	return strbuf_error(out);
}

/* The text before, inside and behind our block; false when there is none. */
static bool block_find(struct span text, struct span part[3])
{
	struct span rest = text, line;
	const char *begin = NULL, *inside = NULL;

	while (span_line(&rest, &line)) {
		const char *next = rest.len ? rest.p : text.p + text.len;

		if (!begin && span_eq(span_trim(line), MARK_BEGIN)) {
			begin = line.p;
			inside = next;
		} else if (begin && span_eq(span_trim(line), MARK_END)) {
			part[0] = (struct span){ text.p, (size_t)(begin - text.p) };
			part[1] = (struct span){ inside, (size_t)(line.p - inside) };
			part[2] = (struct span){ next, (size_t)(text.p + text.len - next) };
			return true;
		}
	}
	return false;
}

int lxc_conf_inline(struct span text, char *const *lines, struct strbuf *out)
{
	struct span part[3] = { text, SPAN_NULL, { "", 0 } };

	(void)block_find(text, part);
	(void)strbuf_append(out, part[0].p, part[0].len);
	(void)strbuf_append(out, part[2].p, part[2].len);
	if (!lines || !*lines)
		return strbuf_error(out);
	if (out->len && out->buf[out->len - 1] != '\n')
		(void)strbuf_putc(out, '\n');
	(void)strbuf_printf(out, "%s\n", MARK_BEGIN);
	for (; *lines; lines++)
		(void)strbuf_printf(out, "%s\n", *lines);
	return strbuf_printf(out, "%s\n", MARK_END);
}

int lxc_conf_inline_lines(struct span text, char ***ret)
{
	struct span part[3];

	if (!block_find(text, part)) {
		*ret = NULL;
		return 0;
	}
	return lxc_conf_lines(part[1], ret);
}

int lxc_conf_included(char *const *lines, struct strbuf *out)
{
	(void)strbuf_puts(out, "# Rewritten by nvdriver lxc; changes made here are lost.\n");
	for (; lines && *lines; lines++)
		(void)strbuf_printf(out, "%s\n", *lines);
	return strbuf_error(out);
}
