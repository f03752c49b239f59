/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "base64.h"
#include "jutil.h"
#include "strbuf.h"

static void base64_rows(void **state _unused_)
{
	static const char *const good[][2] = {
		{ "", "" },	   { "f", "Zg==" },	   { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xff\xfe\xfd", "//79" }
	};
	static const char *const bad[] = { "Z",	   "Zg",   "Zg=",      "Zg=a", "Z===",	 "====",
					   "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm9_" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_free_ char *text = NULL;
		_cleanup_free_ uint8_t *bytes = NULL;
		size_t len;

		assert_int_equal(base64_encode((const uint8_t *)good[i][0], strlen(good[i][0]), &text), 0);
		assert_string_equal(text, good[i][1]);
		assert_int_equal(base64_decode(SPAN(text), &bytes, &len), 0);
		assert_int_equal(len, strlen(good[i][0]));
		assert_memory_equal(bytes, good[i][0], len + 1);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t *bytes = NULL;
		size_t len;

		if (base64_decode(SPAN(bad[i]), &bytes, &len) != -EINVAL)
			fail_msg("\"%s\" was accepted", bad[i]);
		assert_null(bytes);
	}
}

static void getters(void **state _unused_)
{
	static const char text[] =
	    "{\"s\":\"x\",\"n\":7,\"b\":true,\"o\":{},\"a\":[\"p\",\"q\"],\"raw\":\"Zm8=\",\"z\":null,"
	    "\"neg\":-1,\"nul\":\"a\\u0001\",\"mixed\":[\"p\",1]}";
	_cleanup_json_ json_t *j = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ uint8_t *raw = NULL;
	_cleanup_strv_ char **v = NULL;
	const char *s = NULL;
	json_t *sub;
	uint64_t n = 0;
	size_t len;
	bool b = false;

	assert_ok(jparse(SPAN(text), &j, &e), &e);
	assert_ok(jget_str(j, "s", &s, &e), &e);
	assert_string_equal(s, "x");
	assert_ok(jget_u64(j, "n", &n, &e), &e);
	assert_int_equal(n, 7);
	assert_ok(jget_bool(j, "b", &b, &e), &e);
	assert_true(b);
	assert_ok(jget_object(j, "o", &sub, &e), &e);
	assert_ok(jget_array(j, "a", &sub, &e), &e);
	assert_ok(jget_bytes(j, "raw", &raw, &len, &e), &e);
	assert_memory_equal(raw, "fo", 3);
	assert_ok(jopt_strv(j, "a", &v, &e), &e);
	assert_int_equal(strv_len(v), 2);
	assert_ok(jopt_u64(j, "z", &n, &e), &e);
	assert_ok(jopt_u64(j, "absent", &n, &e), &e);
	assert_int_equal(n, 7);
	assert_int_equal(jget_str(j, "absent", &s, &e), -ERR_FORMAT);
	assert_string_equal(e.reason, "\"absent\" is missing");
	assert_int_equal(jget_str(j, "n", &s, &e), -ERR_FORMAT);
	assert_string_equal(e.reason, "\"n\" is not a string");
	assert_int_equal(jget_u64(j, "neg", &n, &e), -ERR_FORMAT);
	assert_int_equal(jopt_bool(j, "s", &b, &e), -ERR_FORMAT);
	assert_int_equal(jget_bytes(j, "s", &raw, &len, &e), -ERR_FORMAT);
	assert_int_equal(jget_str(NULL, "s", &s, &e), -ERR_FORMAT);
	strv_freep(&v);
	assert_int_equal(jopt_strv(j, "mixed", &v, &e), -ERR_FORMAT);
	assert_null(v);
	assert_int_equal(jknown(j, (const char *const[]){ "s", "n", NULL }, &e), -ERR_FORMAT);
}

static void documents(void **state _unused_)
{
	static const char *const bad[] = {
		"", "{", "{\"a\":1,\"a\":2}", "{\"a\":99999999999999999999}", "{} x", "{\"a\":\"\xff\"}"
	};
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_json_ json_t *j = NULL, *array = NULL;
	_cleanup_free_ char *text = NULL;
	char *const words[] = { (char *)(uintptr_t) "b", (char *)(uintptr_t) "a", NULL };

	testdir_make(&t);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		testdir_puts(&t, "x.json", bad[i]);
		assert_int_equal(jload_at(t.fd, "x.json", 100, &j, &e), -ERR_FORMAT);
		assert_non_null(strstr(e.reason, "x.json: line "));
		assert_null(j);
	}
	assert_int_equal(jload_at(t.fd, "none", 100, &j, &e), -ENOENT);
	testdir_puts(&t, "x.json", "{\"b\":1,\"a\":[]}");
	assert_int_equal(jload_at(t.fd, "x.json", 3, &j, &e), -ERR_TOO_LARGE);
	assert_ok(jload_at(t.fd, "x.json", 100, &j, &e), &e);
	assert_int_equal(jdump(j, &text), 0);
	assert_string_equal(text, "{\n  \"a\": [],\n  \"b\": 1\n}\n");
	array = jstrv(words);
	assert_int_equal(json_array_size(array), 2);
}

TEST_MAIN(cmocka_unit_test(base64_rows), cmocka_unit_test(getters), cmocka_unit_test(documents))
