/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"
#include "testlib.h"

static void labels_hold_any_bytes(void **state _unused_)
{
	static const char *const labels[][2] = { { "path", "a\\b \"c\"\nd" }, { "empty", "" } };
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(4096);

	metrics_sample(&out, "x", labels, ARRAY_LEN(labels), -1);
	metrics_sample(&out, "y", NULL, 0, 9007199254740993LL);
	assert_string_equal(strbuf_str(&out),
			    "nvdriver_x{path=\"a\\\\b \\\"c\\\"\\nd\",empty=\"\"} -1\nnvdriver_y "
			    "9007199254740993\n");
}

static void families_are_gauges(void **state _unused_)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(4096);

	metrics_family(&out, "x", "What it is.");
	assert_string_equal(strbuf_str(&out), "# HELP nvdriver_x What it is.\n# TYPE nvdriver_x gauge\n");
}

static void a_full_buffer_is_an_error(void **state _unused_)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(8);

	metrics_sample(&out, "long_name", NULL, 0, 1);
	assert_int_equal(strbuf_error(&out), -E2BIG);
}

TEST_MAIN(cmocka_unit_test(labels_hold_any_bytes), cmocka_unit_test(families_are_gauges),
	  cmocka_unit_test(a_full_buffer_is_an_error))
