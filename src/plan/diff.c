/* SPDX-License-Identifier: Apache-2.0
 *
 * A unified diff for people to read before a change: common ends are cut off, what is between is compared by its
 * longest common subsequence. Two middles too large for that are shown as one replaced by the other. */
#include "plan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT	  3
#define CELLS_MAX ((size_t)16 << 20)

struct lines {
	struct span *v; /* owned; without line feeds */
	size_t n;
	bool ends_open; /* no line feed at the end */
};

static int lines_split(struct span text, struct lines *ret)
{
	struct lines l = { NULL, 0, text.len && text.p[text.len - 1] != '\n' };
	size_t n = 1;
	struct span line;

	for (size_t i = 0; i < text.len; i++)
		n += text.p[i] == '\n';
	l.v = calloc(n, sizeof(*l.v));
	if (!l.v)
		return -ENOMEM;
	while (l.n < n && span_line(&text, &line))
		l.v[l.n++] = line;
	*ret = l;
	return 0;
}

static void lines_done(struct lines *l)
{
	free(l->v);
}

static bool line_eq(const struct lines *a, size_t i, const struct lines *b, size_t k)
{
	bool a_open = a->ends_open && i + 1 == a->n, b_open = b->ends_open && k + 1 == b->n;

	return a->v[i].len == b->v[k].len && memcmp(a->v[i].p, b->v[k].p, a->v[i].len) == 0 &&
	       a_open == b_open;
}

struct mark {
	char sign; /* ' ', '-' or '+' */
	size_t old, new; /* index of the line in each */
};

struct script {
	struct mark *v; /* owned */
	size_t n;
};

static void script_done(struct script *s)
{
	free(s->v);
}

static void mark_add(struct script *s, char sign, size_t *i, size_t *k)
{
	s->v[s->n++] = (struct mark){ sign, *i, *k };
	*i += sign != '+';
	*k += sign != '-';
}

/* Marks for the lines between, a[from..a_end) and b[from..b_end). */
static int middle(const struct lines *a, const struct lines *b, size_t from, size_t a_end, size_t b_end,
		  struct script *s)
{
	size_t rows = a_end - from, cols = b_end - from, i = from, k = from;
	_cleanup_free_ uint32_t *lcs = NULL;

	if ((rows + 1) <= CELLS_MAX / (cols + 1)) {
		lcs = calloc((rows + 1) * (cols + 1), sizeof(*lcs));
		if (!lcs)
			return -ENOMEM;
	}
	/* lcs[x][y]: common lines of a from x and b from y on. */
	for (size_t x = rows; lcs && x-- > 0;)
		for (size_t y = cols; y-- > 0;) {
			uint32_t *cell = &lcs[x * (cols + 1) + y], down = cell[cols + 1], right = cell[1];

			*cell = line_eq(a, from + x, b, from + y) ? cell[cols + 2] + 1
				: down > right			  ? down
								  : right;
		}
	while (i < a_end || k < b_end) {
		const uint32_t *cell = lcs ? &lcs[(i - from) * (cols + 1) + (k - from)] : NULL;

		if (cell && i < a_end && k < b_end && line_eq(a, i, b, k))
			mark_add(s, ' ', &i, &k);
		else if (i < a_end && (k == b_end || !cell || cell[cols + 1] >= cell[1]))
			mark_add(s, '-', &i, &k);
		else
			mark_add(s, '+', &i, &k);
	}
	return 0;
}

static int compare(const struct lines *a, const struct lines *b, struct script *s)
{
	size_t head = 0, tail = 0, i = 0, k = 0;
	int r;

	while (head < a->n && head < b->n && line_eq(a, head, b, head))
		head++;
	while (tail < a->n - head && tail < b->n - head && line_eq(a, a->n - 1 - tail, b, b->n - 1 - tail))
		tail++;
	s->v = calloc(a->n + b->n + 1, sizeof(*s->v));
	if (!s->v)
		return -ENOMEM;
	while (i < head)
		mark_add(s, ' ', &i, &k);
	r = middle(a, b, head, a->n - tail, b->n - tail, s);
	i = a->n - tail;
	k = b->n - tail;
	while (r >= 0 && i < a->n)
		mark_add(s, ' ', &i, &k);
	return r;
}

static int put_line(const struct lines *l, size_t i, char sign, struct strbuf *out)
{
	(void)strbuf_putc(out, sign);
	(void)strbuf_append(out, l->v[i].p, l->v[i].len);
	if (l->ends_open && i + 1 == l->n)
		(void)strbuf_puts(out, "\n\\ No newline at end of file");
	return strbuf_putc(out, '\n');
}

/* The end of the hunk that begins at `from`: changes no more than twice the context apart share one. */
static size_t hunk_end(const struct script *s, size_t from)
{
	size_t last = from;

	for (size_t i = from; i < s->n && i <= last + 2 * CONTEXT; i++)
		if (s->v[i].sign != ' ')
			last = i;
	return last + 1 + CONTEXT < s->n ? last + 1 + CONTEXT : s->n;
}

static int put_range(struct strbuf *out, char sign, size_t first, size_t count)
{
	/* An empty range is named by the line before it. */
	(void)strbuf_printf(out, " %c%zu", sign, count ? first + 1 : first);
	return count == 1 ? 0 : strbuf_printf(out, ",%zu", count);
}

static int put_hunk(const struct lines *a, const struct lines *b, const struct script *s, size_t from,
		    size_t to, struct strbuf *out)
{
	size_t n_old = 0, n_new = 0;

	for (size_t i = from; i < to; i++) {
		n_old += s->v[i].sign != '+';
		n_new += s->v[i].sign != '-';
	}
	(void)strbuf_puts(out, "@@");
	(void)put_range(out, '-', s->v[from].old, n_old);
	(void)put_range(out, '+', s->v[from].new, n_new);
	(void)strbuf_puts(out, " @@\n");
	for (size_t i = from; i < to; i++)
		(void)put_line(s->v[i].sign == '+' ? b : a, s->v[i].sign == '+' ? s->v[i].new : s->v[i].old,
			       s->v[i].sign, out);
	return strbuf_error(out);
}

int diff_unified(const char *name, struct span old, struct span new, struct strbuf *out)
{
	_cleanup_(lines_done) struct lines a = { 0 }, b = { 0 };
	_cleanup_(script_done) struct script s = { 0 };
	bool headed = false;
	int r;

	r = lines_split(old, &a);
	if (r >= 0)
		r = lines_split(new, &b);
	if (r >= 0)
		r = compare(&a, &b, &s);
	for (size_t i = 0; r >= 0 && i < s.n; i++) {
		size_t from = i > CONTEXT ? i - CONTEXT : 0, to;

		if (s.v[i].sign == ' ')
			continue;
		if (!headed)
			(void)strbuf_printf(out, "--- %s\n+++ %s\n", name, name);
		headed = true;
		to = hunk_end(&s, i);
		r = put_hunk(&a, &b, &s, from, to, out);
		i = to - 1;
	}
	return r;
}
