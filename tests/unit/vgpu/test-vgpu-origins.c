/* SPDX-License-Identifier: Apache-2.0
 *
 * The notice of other people's work, and that the documentation holds the same list. */
#include "testlib.h"
#include "vgpu-origins.h"

#include "fd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void test_notice(void **state _unused_)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);

	assert_int_equal(origins_notice(0, &b), 0);
	assert_string_equal(strbuf_str(&b), "");
	assert_int_equal(origins_notice(ORIGIN_PATCHES | ORIGIN_UNLOCK, &b), 0);
	assert_non_null(
	    strstr(strbuf_str(&b), "https://gitlab.com/polloloco/vgpu-proxmox.git (AGPL-3.0-or-later)"));
	assert_non_null(strstr(strbuf_str(&b), "vgpu_unlock-rs"));
	assert_null(strstr(strbuf_str(&b), "FastAPI-DLS"));
}

static void test_json(void **state _unused_)
{
	json_auto_t *one = origins_json(ORIGIN_LICENSE_SERVER), *all = origins_json(~0u);

	assert_int_equal(json_array_size(one), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(one, 0), "name")),
			    "FastAPI-DLS");
	assert_int_equal(json_array_size(all), 8);
}

static void test_documented(void **state _unused_)
{
	_cleanup_free_ char *path = str_printf("%s/docs/vgpu.md", getenv("SRCDIR")), *text = NULL;

	assert_non_null(path);
	assert_true(read_file_at(AT_FDCWD, path, STRBUF_TEXT_MAX, &text, NULL) >= 0);
	for (const struct origin *o = origins; o->bit; o++) {
		_cleanup_free_ char *row =
		    str_printf("| %s | %s | %s | %s |", o->name, o->purpose, o->address, o->license);

		assert_non_null(strstr(text, row));
	}
}

TEST_MAIN(cmocka_unit_test(test_notice), cmocka_unit_test(test_json), cmocka_unit_test(test_documented))
