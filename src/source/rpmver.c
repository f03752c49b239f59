/* SPDX-License-Identifier: Apache-2.0 */
#include "rpmver.h"

#include "parse.h"

#include <ctype.h>

static bool at(struct span s, char c)
{
	return s.len && *s.p == c;
}

static struct span skip(struct span s, size_t n)
{
	return (struct span){ s.p + n, s.len - n };
}

/* Separators count only as such. */
static struct span skip_separators(struct span s)
{
	while (s.len && !isalnum((unsigned char)*s.p) && *s.p != '~' && *s.p != '^')
		s = skip(s, 1);
	return s;
}

static struct span segment(struct span *s, int (*is_part)(int))
{
	size_t n = 0;
	struct span out;

	while (n < s->len && is_part((unsigned char)s->p[n]))
		n++;
	out = (struct span){ s->p, n };
	*s = skip(*s, n);
	return out;
}

static int compare_bytes(struct span a, struct span b)
{
	int r = memcmp(a.p, b.p, a.len < b.len ? a.len : b.len);

	return r ? r : (a.len > b.len) - (a.len < b.len);
}

static int compare_numbers(struct span a, struct span b)
{
	while (at(a, '0'))
		a = skip(a, 1);
	while (at(b, '0'))
		b = skip(b, 1);
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	return compare_bytes(a, b);
}

/* "~" sorts before the end, "^" after it but before anything else. 0 = both take one, go on; 2 = neither. */
static int compare_marks(struct span a, struct span b)
{
	if (at(a, '~') || at(b, '~'))
		return at(a, '~') && at(b, '~') ? 0 : at(a, '~') ? -1 : 1;
	if (at(a, '^') && at(b, '^'))
		return 0;
	if (at(a, '^'))
		return b.len ? -1 : 1;
	if (at(b, '^'))
		return a.len ? 1 : -1;
	return 2;
}

static int compare_part(struct span a, struct span b)
{
	for (;;) {
		struct span x, y;
		int r;

		a = skip_separators(a);
		b = skip_separators(b);
		r = compare_marks(a, b);
		if (r == 0) {
			a = skip(a, 1);
			b = skip(b, 1);
			continue;
		}
		if (r != 2)
			return r;
		if (!a.len || !b.len)
			return (a.len > 0) - (b.len > 0);
		if (isdigit((unsigned char)*a.p)) {
			x = segment(&a, isdigit);
			y = segment(&b, isdigit);
			r = y.len ? compare_numbers(x, y) : 1;
		} else {
			x = segment(&a, isalpha);
			y = segment(&b, isalpha);
			r = y.len ? compare_bytes(x, y) : -1;
		}
		if (r)
			return r;
	}
}

static struct span version_of(const char *s, struct span *ret_release)
{
	const char *dash = strrchr(s, '-');

	*ret_release = dash ? SPAN(dash + 1) : SPAN_NULL;
	return dash ? (struct span){ s, (size_t)(dash - s) } : SPAN(s);
}

int rpm_version_compare(const char *a, const char *b)
{
	struct span ra, rb, va = version_of(a, &ra), vb = version_of(b, &rb);
	int r = compare_part(va, vb);

	return r || !ra.len || !rb.len ? r : compare_part(ra, rb);
}
