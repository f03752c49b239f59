/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-include.h"
#include "strbuf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *joined(const struct testdir *d, const char *line)
{
	char *const lines[] = { (char *)"first = 1", (char *)(uintptr_t)line, (char *)"last = 1", NULL };
	_cleanup_strv_ char **out = NULL;
	struct strbuf text = STRBUF_INIT(65536);
	char *ret = NULL;

	assert_int_equal(lxc_lines_follow(d->fd, lines, &out), 0);
	for (char **p = out; p && *p; p++)
		(void)strbuf_printf(&text, "%s;", *p);
	assert_int_equal(strbuf_steal(&text, &ret), 0);
	return ret;
}

static void test_follow(void **state)
{
	static const struct {
		const char *line, *want;
	} rows[] = {
		{ "lxc.include = /one", "first = 1;a = 1;b = 2;last = 1;" },
		{ "lxc.include = /two", "first = 1;before = 1;a = 1;b = 2;after = 1;last = 1;" },
		{ "lxc.include = /dir", "first = 1;x = 1;y = 1;last = 1;" },
		{ "lxc.include = /absolute", "first = 1;a = 1;b = 2;last = 1;" },
		{ "lxc.include = /nowhere", "first = 1;last = 1;" },
		{ "lxc.include = /fifo", "first = 1;last = 1;" },
		{ "lxc.include = ", "first = 1;last = 1;" },
		{ "lxc.included = /one", "first = 1;lxc.included = /one;last = 1;" },
	};
	struct testdir d;

	(void)state;
	testdir_make(&d);
	testdir_puts(&d, "one", "# c\na=1\nb =  2\n");
	testdir_puts(&d, "two", "before = 1\nlxc.include = /one\nafter = 1\n");
	testdir_puts(&d, "dir/20.conf", "y = 1\n");
	testdir_puts(&d, "dir/10.conf", "x = 1\n");
	testdir_puts(&d, "dir/readme", "z = 1\n");
	assert_int_equal(symlinkat("/one", d.fd, "absolute"), 0);
	assert_int_equal(mkfifoat(d.fd, "fifo", 0644), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = joined(&d, rows[i].line);

		assert_string_equal(got, rows[i].want);
	}
	testdir_done(&d);
}

/* A file that includes itself twice ends, and does not take the world with it. */
static void test_loop(void **state)
{
	struct testdir d;
	_cleanup_free_ char *got = NULL;

	(void)state;
	testdir_make(&d);
	testdir_puts(&d, "loop", "lxc.include = /loop\nlxc.include = /loop\nk = 1\n");
	got = joined(&d, "lxc.include = /loop");
	assert_true(strlen(got) < 65536);
	assert_non_null(strstr(got, "k = 1;"));
	testdir_done(&d);
}

TEST_MAIN(cmocka_unit_test(test_follow), cmocka_unit_test(test_loop))
