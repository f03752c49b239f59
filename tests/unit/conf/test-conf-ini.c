/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "ini.h"
#include "strbuf.h"

struct settings {
	char *store;
	char **mirrors;
	bool offline;
	uint64_t retries, cache_bytes;
	unsigned timeout_s;
};

static const struct ini_key keys[] = {
	{ "", "store", ini_take_string, offsetof(struct settings, store), "a directory" },
	{ "", "offline", ini_take_bool, offsetof(struct settings, offline), "yes or no" },
	{ "fetch", "mirrors", ini_take_strv, offsetof(struct settings, mirrors), "addresses" },
	{ "fetch", "retries", ini_take_u64, offsetof(struct settings, retries), "a number" },
	{ "fetch", "timeout", ini_take_duration, offsetof(struct settings, timeout_s), "a time such as 90s" },
	{ "gc", "keep", ini_take_size, offsetof(struct settings, cache_bytes), "a size such as 10G" },
};

static void settings_done(struct settings *s)
{
	free(s->store);
	strv_freep(&s->mirrors);
}

static void takes_what_the_table_names(void **state _unused_)
{
	static const char text[] =
	    "# comment\nstore = /srv/x y\noffline=yes\n[fetch]\r\n mirrors = a b\n; c\nretries=3\n"
	    "timeout = 2m\n[ gc ]\nkeep=2K";
	_cleanup_(settings_done) struct settings s = { .offline = false };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(ini_parse(SPAN(text), "x.conf", keys, ARRAY_LEN(keys), &s, &e), &e);
	assert_string_equal(s.store, "/srv/x y");
	assert_true(s.offline);
	assert_int_equal(strv_len(s.mirrors), 2);
	assert_int_equal(s.retries, 3);
	assert_int_equal(s.timeout_s, 120);
	assert_int_equal(s.cache_bytes, 2048);
}

static void refuses_with_the_line(void **state _unused_)
{
	static const struct {
		const char *text, *reason;
	} rows[] = {
		{ "\nstroe = x\n", "x.conf:2: unknown key stroe" },
		{ "retries = 3\n", "x.conf:1: unknown key retries" },
		{ "[fetch]\nstore = x\n", "x.conf:2: unknown key store" },
		{ "[fecth]\n", "x.conf:1: unknown section [fecth]" },
		{ "[fetch\n", "x.conf:1: \"[\" without \"]\"" },
		{ "[\n", "x.conf:1: \"[\" without \"]\"" },
		{ "offline\n", "x.conf:1: neither \"key = value\" nor \"[section]\"" },
		{ "offline = maybe\n", "x.conf:1: offline = maybe: expected yes or no" },
		{ "store = a\n\nstore = b\n", "x.conf:3: store is already set in line 1" },
		{ "[gc]\nkeep = 99999999999T\n",
		  "x.conf:2: keep = 99999999999T: expected a size such as 10G" },
		{ "store = \033[2J\n", "x.conf:1: control character" },
		{ "= x\n", "x.conf:1: unknown key " },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(settings_done) struct settings s = { .offline = false };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_int_equal(ini_parse(SPAN(rows[i].text), "x.conf", keys, ARRAY_LEN(keys), &s, &e),
				 -ERR_CONFIG);
		assert_slug(&e, "config-invalid");
		assert_string_equal(e.reason, rows[i].reason);
		assert_string_equal(e.object, "x.conf");
	}
}

static void files_may_be_optional(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(settings_done) struct settings s = { .offline = false };
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	assert_ok(ini_load_at(t.fd, "none", true, keys, ARRAY_LEN(keys), &s, &e), &e);
	assert_int_equal(ini_load_at(t.fd, "none", false, keys, ARRAY_LEN(keys), &s, &e), -ENOENT);
	assert_string_equal(e.object, "none");
	testdir_puts(&t, "c", "offline = on\n");
	assert_ok(ini_load_at(t.fd, "c", false, keys, ARRAY_LEN(keys), &s, &e), &e);
	assert_true(s.offline);
}

TEST_MAIN(cmocka_unit_test(takes_what_the_table_names), cmocka_unit_test(refuses_with_the_line),
	  cmocka_unit_test(files_may_be_optional))
