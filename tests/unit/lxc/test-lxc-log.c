/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void test_text(void **state)
{
	char *const argv[] = { (char *)"ld\033[31mconfig", (char *)"-p", NULL };
	char out_text[] = "one\ntwo\033]0;x\007\n";
	struct lxc_exec x = {
		.what = "rebuilding", .argv = argv, .out = out_text, .out_len = sizeof(out_text) - 1
	};
	_cleanup_(strbuf_done) struct strbuf good = STRBUF_INIT(65536), bad = STRBUF_INIT(65536),
					     none = STRBUF_INIT(65536);

	(void)state;
	(void)setenv("TZ", "UTC", 1);
	tzset();
	assert_int_equal(lxc_log_text("101", &x, 0, 12, 1700000000, &good), 0);
	assert_string_equal(
	    strbuf_str(&good),
	    "2023-11-14 22:13:20 [INFO] lxc-101: rebuilding: ld?[31mconfig -p - status 0, 12 ms\n"
	    "2023-11-14 22:13:20 [DEBUG] lxc-101: one\n"
	    "2023-11-14 22:13:20 [DEBUG] lxc-101: two?]0;x?\n");
	x.status = 3;
	assert_int_equal(lxc_log_text("101", &x, 0, 12, 1700000000, &bad), 0);
	assert_non_null(strstr(strbuf_str(&bad), "[ERROR] lxc-101: rebuilding"));
	assert_non_null(strstr(strbuf_str(&bad), "[ERROR] lxc-101: one\n"));
	x.out = NULL;
	assert_int_equal(lxc_log_text("101", &x, -ERR_TIMEOUT, 30000, 1700000000, &none), 0);
	assert_non_null(strstr(strbuf_str(&none), "not run to its end, 30000 ms\n"));
}

static size_t count(const char *text, const char *part)
{
	size_t n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

/* A failed installation says its reason at the end of thousands of lines: all are kept, the last ones are errors. */
static void test_long_failure(void **state)
{
	char *const argv[] = { (char *)"apt-get", NULL };
	_cleanup_(strbuf_done) struct strbuf lines = STRBUF_INIT(65536), out = STRBUF_INIT(65536);
	struct lxc_exec x = { .what = "installing", .argv = argv, .status = 100 };

	(void)state;
	for (int i = 1; i <= 120; i++)
		assert_int_equal(strbuf_printf(&lines, "line %d.\n", i), 0);
	assert_int_equal(strbuf_steal(&lines, &x.out), 0);
	x.out_len = strlen(x.out);
	assert_int_equal(lxc_log_text("101", &x, 0, 12, 1700000000, &out), 0);
	assert_int_equal(count(strbuf_str(&out), "[DEBUG] lxc-101: line "), 70);
	assert_int_equal(count(strbuf_str(&out), "[ERROR] lxc-101: line "), 50);
	assert_non_null(strstr(strbuf_str(&out), "[DEBUG] lxc-101: line 70.\n"));
	assert_non_null(strstr(strbuf_str(&out), "[ERROR] lxc-101: line 71.\n"));
	free(x.out);
}

TEST_MAIN(cmocka_unit_test(test_text), cmocka_unit_test(test_long_failure))
