/* SPDX-License-Identifier: Apache-2.0
 *
 * TOML as its 1.0 text has it: what is read, and what is refused at which line. */
#include "testlib.h"

#include "toml.h"

#include <string.h>

static void reads(void **state _unused_)
{
	static const struct {
		const char *toml, *json;
	} rows[] = {
		{ "", "{}" },
		{ "# nothing\r\n\r\n", "{}" },
		{ "a = 1 # one\nb=-2\nc = +3", "{\"a\":1,\"b\":-2,\"c\":3}" },
		{ "a = 0xB2D200000\nb = 0o17\nc = 0b101\nd = 1_000",
		  "{\"a\":48001712128,\"b\":15,\"c\":5,\"d\":1000}" },
		{ "a = 1.5\nb = -2e3\nc = true\nd = false",
		  "{\"a\":1.5,\"b\":-2000.0,\"c\":true,\"d\":false}" },
		{ "a = \"x\\ty\\u00e4\\U0001F600\"", "{\"a\":\"x\\ty\\u00e4\\ud83d\\ude00\"}" },
		{ "a = 'c:\\x'\nb = ''", "{\"a\":\"c:\\\\x\",\"b\":\"\"}" },
		{ "a = \"\"\"\none\ntwo \\\n   three\"\"\"\nb = 2", "{\"a\":\"one\\ntwo three\",\"b\":2}" },
		{ "a = \"\"\"say \"\"\"\"\n", "{\"a\":\"say \\\"\"}" },
		{ "a = '''\nx\\y'''", "{\"a\":\"x\\\\y\"}" },
		{ "a = [1, [2, 3],\n # why\n 4,\n]\nb = []", "{\"a\":[1,[2,3],4],\"b\":[]}" },
		{ "a = { b = 1, c.d = 'x' }\ne = {}", "{\"a\":{\"b\":1,\"c\":{\"d\":\"x\"}},\"e\":{}}" },
		{ "[profile.nvidia-256]\nnum_displays = 1\n[vm.100]\nx=1",
		  "{\"profile\":{\"nvidia-256\":{\"num_displays\":1}},\"vm\":{\"100\":{\"x\":1}}}" },
		{ "[mdev.\"00000000-0000-0000-0000-000000000100\"]\nframe = 1",
		  "{\"mdev\":{\"00000000-0000-0000-0000-000000000100\":{\"frame\":1}}}" },
		{ "a.b.c = 1\na.b.d = 2", "{\"a\":{\"b\":{\"c\":1,\"d\":2}}}" },
		{ "[a.b]\nx=1\n[a]\ny=2", "{\"a\":{\"b\":{\"x\":1},\"y\":2}}" },
		{ "[[p]]\nx=1\n[[p]]\nx=2\n[p.q]\ny=3", "{\"p\":[{\"x\":1},{\"x\":2,\"q\":{\"y\":3}}]}" },
		{ "a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00\nc = 07:32:00",
		  "{\"a\":\"1979-05-27T07:32:00Z\",\"b\":\"1979-05-27 07:32:00\",\"c\":\"07:32:00\"}" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		json_auto_t *want = json_loads(rows[i].json, 0, NULL);
		json_t *got = NULL;

		if (toml_parse(SPAN(rows[i].toml), &got, &e) < 0)
			fail_msg("row %zu: %s", i, e.reason);
		assert_non_null(want);
		if (!json_equal(want, got)) {
			char *text = json_dumps(got, JSON_COMPACT);

			fail_msg("row %zu: %s", i, text);
		}
		json_decref(got);
	}
}

static void refuses(void **state _unused_)
{
	static const struct {
		const char *toml, *line;
	} rows[] = {
		{ "a", "line 1:" },
		{ "a =", "line 1:" },
		{ "= 1", "line 1:" },
		{ "ok = 1\na = x", "line 2:" },
		{ "a = 01", "line 1:" },
		{ "a = 1__0", "line 1:" },
		{ "a = _1", "line 1:" },
		{ "a = 0x", "line 1:" },
		{ "a = +0x1", "line 1:" },
		{ "a = 99999999999999999999", "line 1:" },
		{ "a = \"x", "line 1:" },
		{ "a = \"x\ny\"", "line 1:" },
		{ "a = \"\\x\"", "line 1:" },
		{ "a = \"\\ud800\"", "line 1:" },
		{ "a = \"\xff\"", "line 1:" },
		{ "a = '\x01'", "line 1:" },
		{ "a = 1\na = 2", "line 2:" },
		{ "a = 1 b = 2", "line 1:" },
		{ "a = [1 2]", "line 1:" },
		{ "a = [1", "line 1:" },
		{ "a = { b = 1", "line 1:" },
		{ "[a]\n[a]", "line 2:" },
		{ "[a\nb=1", "line 1:" },
		{ "a = 1\n[a]", "line 2:" },
		{ "a = 1\n[[a]]", "line 2:" },
		{ "[a]]", "line 1:" },
		{ "a = inf", "line 1:" },
		{ "a = \"\"\"x", "line 1:" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		json_t *got = NULL;

		if (toml_parse(SPAN(rows[i].toml), &got, &e) != -ERR_FORMAT)
			fail_msg("row %zu is read", i);
		if (strncmp(e.reason, rows[i].line, strlen(rows[i].line)) != 0)
			fail_msg("row %zu: %s", i, e.reason);
	}
}

static void bounds_depth(void **state _unused_)
{
	char text[400] = "a = ";
	json_t *got = NULL;

	memset(text + 4, '[', 200);
	assert_int_equal(toml_parse(SPAN(text), &got, NULL), -ERR_FORMAT);
}

TEST_MAIN(cmocka_unit_test(reads), cmocka_unit_test(refuses), cmocka_unit_test(bounds_depth))
