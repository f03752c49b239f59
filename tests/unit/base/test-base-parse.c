/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "parse.h"

static void numbers(void **state _unused_)
{
	static const struct {
		const char *text;
		char kind; /* d, x, o, s(ize), t(ime), b(ool) */
		uint64_t max;
		int r;
		uint64_t want;
	} rows[] = {
		{ "0", 'd', 10, 0, 0 },
		{ "10", 'd', 10, 0, 10 },
		{ "11", 'd', 10, -ERANGE, 0 },
		{ "007", 'd', 10, 0, 7 },
		{ "18446744073709551615", 'd', UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", 'd', UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999999", 'd', UINT64_MAX, -ERANGE, 0 },
		{ "", 'd', 10, -EINVAL, 0 },
		{ " 1", 'd', 10, -EINVAL, 0 },
		{ "1 ", 'd', 10, -EINVAL, 0 },
		{ "+1", 'd', 10, -EINVAL, 0 },
		{ "-1", 'd', 10, -EINVAL, 0 },
		{ "1a", 'd', 10, -EINVAL, 0 },
		{ "0x10", 'd', 100, -EINVAL, 0 },
		{ "0x10De", 'x', UINT16_MAX, 0, 0x10de },
		{ "ffff", 'x', UINT16_MAX, 0, 0xffff },
		{ "10000", 'x', UINT16_MAX, -ERANGE, 0 },
		{ "0x", 'x', 10, -EINVAL, 0 },
		{ "g", 'x', 10, -EINVAL, 0 },
		{ "0755", 'o', 07777, 0, 0755 },
		{ "8", 'o', 07777, -EINVAL, 0 },
		{ "10000", 'o', 07777, -ERANGE, 0 },
		{ "10", 's', 0, 0, 10 },
		{ "2K", 's', 0, 0, 2048 },
		{ "3G", 's', 0, 0, 3ull << 30 },
		{ "K", 's', 0, -EINVAL, 0 },
		{ "1KK", 's', 0, -EINVAL, 0 },
		{ "99999999999T", 's', 0, -ERANGE, 0 },
		{ "90", 't', 0, 0, 90 },
		{ "5m", 't', 0, 0, 300 },
		{ "2h", 't', 0, 0, 7200 },
		{ "m", 't', 0, -EINVAL, 0 },
		{ "9999999h", 't', 0, -ERANGE, 0 },
		{ "yes", 'b', 0, 0, 1 },
		{ "off", 'b', 0, 0, 0 },
		{ "Yes", 'b', 0, -EINVAL, 0 },
		{ "", 'b', 0, -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span s = SPAN(rows[i].text);
		uint64_t v = 42;
		uint32_t v32 = 42;
		unsigned seconds = 42;
		bool b = false;
		int r = 0;

		switch (rows[i].kind) {
		case 'd':
			r = parse_u64(s, rows[i].max, &v);
			break;
		case 'x':
			r = parse_hex64(s, rows[i].max, &v);
			break;
		case 'o':
			r = parse_octal(s, (uint32_t)rows[i].max, &v32);
			v = v32;
			break;
		case 's':
			r = parse_size(s, &v);
			break;
		case 't':
			r = parse_duration(s, &seconds);
			v = seconds;
			break;
		default:
			r = parse_bool(s, &b);
			v = r < 0 ? 42 : b;
			break;
		}
		if (r != rows[i].r || v != (r < 0 ? 42 : rows[i].want))
			fail_msg("\"%s\" as %c: %d, %llu", rows[i].text, rows[i].kind, r,
				 (unsigned long long)v);
	}
}

static void hex_bytes(void **state _unused_)
{
	uint8_t out[3] = { 1, 2, 3 };
	char text[7];

	assert_int_equal(parse_hexbytes(SPAN("00fFa"), out, 3), -EINVAL);
	assert_int_equal(parse_hexbytes(SPAN("00fFag"), out, 3), -EINVAL);
	assert_int_equal(out[0], 1);
	assert_int_equal(parse_hexbytes(SPAN("00fFa1"), out, 3), 0);
	hex_encode(out, 3, text);
	assert_string_equal(text, "00ffa1");
}

static void spans(void **state _unused_)
{
	struct span rest = SPAN("a b\n\nlast"), line, word;
	_cleanup_free_ char *copy = NULL;

	assert_true(span_line(&rest, &line) && span_eq(line, "a b"));
	assert_true(span_word(&line, &word) && span_eq(word, "a"));
	assert_true(span_word(&line, &word) && span_eq(word, "b"));
	assert_false(span_word(&line, &word));
	assert_true(span_line(&rest, &line) && line.len == 0);
	assert_true(span_line(&rest, &line) && span_eq(line, "last"));
	assert_false(span_line(&rest, &line));
	assert_true(span_eq(span_trim(SPAN(" \t x y\r\n")), "x y"));
	assert_int_equal(span_trim(SPAN("  ")).len, 0);
	assert_true(span_starts(SPAN("abc"), "ab") && !span_starts(SPAN("a"), "ab"));
	assert_true(span_ends(SPAN("abc"), "bc") && !span_ends(SPAN("c"), "bc"));
	assert_true(span_eq(SPAN_NULL, "") && !span_eq(SPAN_NULL, "a"));
	copy = span_dup((struct span){ "hello", 2 });
	assert_string_equal(copy, "he");
}

static void versions(void **state _unused_)
{
	static const struct {
		const char *a, *b;
		int want;
	} order[] = {
		{ "535.261.03", "535.261.03", 0 }, { "535.261.3", "535.261.03", 0 },
		{ "535.54.03", "535.261.03", -1 }, { "550.1", "535.261.03", 1 },
		{ "470.57", "470.57.02", -1 },	   { "1.99999999999999999999", "1.2", 1 },
	};
	static const struct {
		const char *s;
		bool valid;
	} valid[] = { { "535.261.03", true }, { "96.43", true },      { "1.2.3.4", true },
		      { "535", false },	      { "1.2.3.4.5", false }, { "", false },
		      { "1..2", false },      { ".1", false },	      { "1.", false },
		      { "1.2a", false },      { "1.2/..", false },    { "1.1234567890", false } };

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		assert_int_equal(version_compare(order[i].a, order[i].b), order[i].want);
		assert_int_equal(version_compare(order[i].b, order[i].a), -order[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(valid); i++)
		if (version_is_valid(valid[i].s) != valid[i].valid)
			fail_msg("\"%s\"", valid[i].s);
}

static void names(void **state _unused_)
{
	static const char *const good[] = { "a", "6.1.0-38-amd64", "x+~:y_z", "...", "-x" };
	static const char *const bad[] = { "", ".", "..", "a/b", "a b", "a\n", "\xc3\xa4", "$x" };
	char longest[257];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(name_is_safe(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(name_is_safe(bad[i]));
	memset(longest, 'x', 256);
	longest[256] = '\0';
	assert_false(name_is_safe(longest));
	assert_true(name_is_safe(longest + 1));
}

TEST_MAIN(cmocka_unit_test(numbers), cmocka_unit_test(hex_bytes), cmocka_unit_test(spans),
	  cmocka_unit_test(versions), cmocka_unit_test(names))
