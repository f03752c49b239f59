/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "jutil.h"
#include "lxc-compat.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_text(void **state)
{
#define NOTE "# nvdriver: hides the driver's libraries: "
	static const struct {
		const char *in, *out; /* out NULL = unchanged */
	} rows[] = {
		{ "/usr/local/cuda-12.8/compat\n", NOTE "/usr/local/cuda-12.8/compat\n" },
		{ "/a\n /usr/local/cuda/compat/ \n/b", "/a\n" NOTE " /usr/local/cuda/compat/ \n/b" },
		{ "/usr/local/cuda-12/compat", NOTE "/usr/local/cuda-12/compat" },
		{ "/usr/local/cuda-12.8/targets/x86_64-linux/lib\n", NULL },
		{ "# /usr/local/cuda-12.8/compat\n", NULL },
		{ "/opt/compat\n", NULL },
		{ "include /etc/ld.so.conf.d/*.conf\n", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(4096), again = STRBUF_INIT(4096);
		bool changed;

		assert_int_equal(lxc_compat_text(SPAN(rows[i].in), &out, &changed), 0);
		assert_int_equal(changed, rows[i].out != NULL);
		assert_string_equal(strbuf_str(&out), rows[i].out ? rows[i].out : rows[i].in);
		assert_int_equal(
		    lxc_compat_text((struct span){ strbuf_str(&out), out.len }, &again, &changed), 0);
		assert_false(changed);
	}
}

static void test_entries(void **state)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_json_ json_t *list = json_array();
	const json_t *o;

	(void)state;
	testdir_make(&t);
	assert_int_equal(lxc_compat_entries(t.fd, list), 0);
	testdir_puts(&t, "etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
	testdir_puts(&t, "etc/ld.so.conf.d/988_cuda-12.conf",
		     "/usr/local/cuda-12/targets/x86_64-linux/lib\n");
	testdir_puts(&t, "etc/ld.so.conf.d/README", "/usr/local/cuda-12.8/compat\n");
	testdir_puts(&t, "outside", "/usr/local/cuda-12.8/compat\n");
	assert_int_equal(symlinkat("/outside", t.fd, "etc/ld.so.conf.d/link.conf"), 0);
	assert_int_equal(mkfifoat(t.fd, "etc/ld.so.conf.d/fifo.conf", 0644), 0);
	assert_int_equal(lxc_compat_entries(t.fd, list), 0);
	assert_int_equal(json_array_size(list), 0);
	testdir_write(&t, "etc/ld.so.conf.d/00-compat.conf", "/usr/local/cuda-12.8/compat\n", 28, 0640);
	assert_int_equal(lxc_compat_entries(t.fd, list), 0);
	assert_int_equal(json_array_size(list), 1);
	o = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(o, "path")), "etc/ld.so.conf.d/00-compat.conf");
	assert_int_equal(json_integer_value(json_object_get(o, "mode")), 0640);
}

TEST_MAIN(cmocka_unit_test(test_text), cmocka_unit_test(test_entries))
