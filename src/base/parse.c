/* SPDX-License-Identifier: Apache-2.0 */
#include "parse.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

bool span_eq(struct span a, const char *s)
{
	return a.len == strlen(s) && (a.len == 0 || memcmp(a.p, s, a.len) == 0);
}

bool span_starts(struct span a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.len >= n && (n == 0 || memcmp(a.p, prefix, n) == 0);
}

bool span_ends(struct span a, const char *suffix)
{
	size_t n = strlen(suffix);

	return a.len >= n && (n == 0 || memcmp(a.p + a.len - n, suffix, n) == 0);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span a)
{
	while (a.len > 0 && is_blank(a.p[0])) {
		a.p++;
		a.len--;
	}
	while (a.len > 0 && is_blank(a.p[a.len - 1]))
		a.len--;
	return a;
}

bool span_line(struct span *rest, struct span *ret_line)
{
	const char *lf;
	size_t n, skip;

	if (rest->len == 0)
		return false;
	lf = memchr(rest->p, '\n', rest->len);
	n = lf ? (size_t)(lf - rest->p) : rest->len;
	skip = lf ? n + 1 : n;
	*ret_line = (struct span){ rest->p, n };
	rest->p += skip;
	rest->len -= skip;
	return true;
}

bool span_word(struct span *rest, struct span *ret_word)
{
	size_t n = 0;

	while (rest->len > 0 && is_blank(rest->p[0])) {
		rest->p++;
		rest->len--;
	}
	if (rest->len == 0)
		return false;
	while (n < rest->len && !is_blank(rest->p[n]))
		n++;
	*ret_word = (struct span){ rest->p, n };
	rest->p += n;
	rest->len -= n;
	return true;
}

char *span_dup(struct span a)
{
	char *s = malloc(a.len + 1);

	if (!s)
		return NULL;
	if (a.len)
		memcpy(s, a.p, a.len);
	s[a.len] = '\0';
	return s;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return INT_MAX;
}

static int parse_digits(struct span s, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++)
		if (digit_value(s.p[i]) >= (int)base)
			return -EINVAL;
	for (size_t i = 0; i < s.len; i++)
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit_value(s.p[i]), &v))
			return -ERANGE;
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_u64(struct span s, uint64_t max, uint64_t *ret)
{
	return parse_digits(s, 10, max, ret);
}

int parse_hex64(struct span s, uint64_t max, uint64_t *ret)
{
	if (span_starts(s, "0x") || span_starts(s, "0X")) {
		s.p += 2;
		s.len -= 2;
	}
	return parse_digits(s, 16, max, ret);
}

int parse_octal(struct span s, uint32_t max, uint32_t *ret)
{
	uint64_t v;
	int r = parse_digits(s, 8, max, &v);

	if (r == 0)
		*ret = (uint32_t)v;
	return r;
}

int parse_bool(struct span s, bool *ret)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = {
		{ "yes", true }, { "no", false },  { "true", true }, { "false", false },
		{ "on", true },	 { "off", false }, { "1", true },    { "0", false },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_eq(s, words[i].text)) {
			*ret = words[i].value;
			return 0;
		}
	return -EINVAL;
}

/* A number with one optional letter of `units`, each worth its factor. */
static int parse_scaled(struct span s, const char *units, const uint64_t *factors, uint64_t *ret)
{
	const char *unit = s.len > 1 ? strchr(units, s.p[s.len - 1]) : NULL;
	uint64_t v, factor = 1;
	int r;

	if (unit && *unit) {
		factor = factors[unit - units];
		s.len--;
	}
	r = parse_u64(s, UINT64_MAX, &v);
	if (r < 0)
		return r;
	if (__builtin_mul_overflow(v, factor, &v))
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_size(struct span s, uint64_t *ret_bytes)
{
	static const uint64_t factors[] = { 1ull << 10, 1ull << 20, 1ull << 30, 1ull << 40 };

	return parse_scaled(s, "KMGT", factors, ret_bytes);
}

int parse_duration(struct span s, unsigned *ret_s)
{
	static const uint64_t factors[] = { 1, 60, 3600 };
	uint64_t v;
	int r = parse_scaled(s, "smh", factors, &v);

	if (r < 0)
		return r;
	if (v > UINT_MAX)
		return -ERANGE;
	*ret_s = (unsigned)v;
	return 0;
}

int parse_hexbytes(struct span s, uint8_t *out, size_t n)
{
	if (n > SIZE_MAX / 2 || s.len != 2 * n)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++)
		if (digit_value(s.p[i]) > 15)
			return -EINVAL;
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(digit_value(s.p[2 * i]) << 4 | digit_value(s.p[2 * i + 1]));
	return 0;
}

void hex_encode(const uint8_t *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * n] = '\0';
}

/* Length of the leading run of digits. */
static size_t digits_len(const char *s)
{
	return strspn(s, "0123456789");
}

bool version_is_valid(const char *s)
{
	unsigned groups = 0;

	for (;;) {
		size_t n = digits_len(s);

		if (n == 0 || n > 9)
			return false;
		groups++;
		s += n;
		if (*s == '\0')
			return groups >= 2 && groups <= 4;
		if (*s != '.')
			return false;
		s++;
	}
}

static int compare_group(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c;

	while (a_len > 0 && *a == '0') {
		a++;
		a_len--;
	}
	while (b_len > 0 && *b == '0') {
		b++;
		b_len--;
	}
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	c = memcmp(a, b, a_len);
	return c < 0 ? -1 : c > 0;
}

int version_compare(const char *a, const char *b)
{
	for (;;) {
		size_t a_len = digits_len(a), b_len = digits_len(b);
		int c = compare_group(a, a_len, b, b_len);

		if (c)
			return c;
		a += a_len;
		b += b_len;
		if (*a != '.' || *b != '.')
			return (*a == '.') - (*b == '.');
		a++;
		b++;
	}
}

bool name_is_safe(const char *s)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+:~-";
	size_t n = strspn(s, allowed);

	return n >= 1 && n <= 255 && s[n] == '\0' && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}
