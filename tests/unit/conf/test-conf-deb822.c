/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "deb822.h"

static void reads_stanzas(void **state _unused_)
{
	static const char text[] =
	    "\n# comment\nPackage: one\nDescription: short\n long line \n .\n  indented\n# between\n\ttab\n"
	    "Empty:\n\n \n\nPACKAGE:two\nFiles:\n a b\n c d";
	_cleanup_(deb822_stanza_done) struct deb822_stanza s = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct deb822_reader r = DEB822_READER(SPAN(text));
	_cleanup_free_ char *description = NULL, *files = NULL;

	assert_int_equal(deb822_next(&r, &s, &e), 1);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.line, 3);
	assert_true(span_eq(deb822_value(&s, "package"), "one"));
	assert_true(span_eq(deb822_value(&s, "Description"), "short"));
	description = deb822_text(deb822_find(&s, "description"));
	assert_string_equal(description, "short\nlong line\n.\n indented\ntab");
	assert_int_equal(deb822_value(&s, "Empty").len, 0);
	assert_non_null(deb822_value(&s, "Empty").p);
	assert_null(deb822_value(&s, "Absent").p);
	assert_int_equal(deb822_next(&r, &s, &e), 1);
	assert_true(span_eq(deb822_value(&s, "Package"), "two"));
	files = deb822_text(deb822_find(&s, "Files"));
	assert_string_equal(files, "\na b\nc d");
	assert_int_equal(deb822_next(&r, &s, &e), 0);
	assert_int_equal(deb822_next(&r, &s, &e), 0);
}

static void refuses_with_the_line(void **state _unused_)
{
	static const struct {
		const char *text, *reason;
		size_t len;
	} rows[] = {
		{ " x\n", "line 1: a continuation of nothing", 0 },
		{ "A: 1\na: 2\n", "line 2: a appears twice", 0 },
		{ "A: 1\nnothing\n", "line 2: no field: nothing", 0 },
		{ ": 1\n", "line 1: no field: : 1", 0 },
		{ "A B: 1\n", "line 1: no field: A B: 1", 0 },
		{ "-A: 1\n", "line 1: no field: -A: 1", 0 },
		{ "A: 1\0x\n", "line 1: a NUL byte", 8 },
	};
	_cleanup_(strbuf_done) struct strbuf many = STRBUF_INIT(65536);
	_cleanup_(deb822_stanza_done) struct deb822_stanza s = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct deb822_reader r;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		r = (struct deb822_reader)DEB822_READER(
		    ((struct span){ rows[i].text, rows[i].len ? rows[i].len : strlen(rows[i].text) }));
		assert_int_equal(deb822_next(&r, &s, &e), -ERR_FORMAT);
		assert_slug(&e, "format-invalid");
		assert_string_equal(e.reason, rows[i].reason);
	}
	for (int i = 0; i <= DEB822_FIELDS_MAX; i++)
		strbuf_printf(&many, "K%d: v\n", i);
	r = (struct deb822_reader)DEB822_READER(SPAN(strbuf_str(&many)));
	assert_int_equal(deb822_next(&r, &s, &e), -ERR_FORMAT);
	assert_string_equal(e.reason, "line 257: more than 256 fields");
}

static void emits_what_it_reads(void **state _unused_)
{
	static const char text[] = "A: 1\nB: x\n y\n .\nC:\n z\nD:\n\n";
	_cleanup_(deb822_stanza_done) struct deb822_stanza s = { 0 };
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(4096);
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct deb822_reader r = DEB822_READER(SPAN(text));

	assert_int_equal(deb822_next(&r, &s, &e), 1);
	assert_int_equal(deb822_emit(&s, &out), 0);
	assert_string_equal(strbuf_str(&out), text);
}

TEST_MAIN(cmocka_unit_test(reads_stanzas), cmocka_unit_test(refuses_with_the_line),
	  cmocka_unit_test(emits_what_it_reads))
