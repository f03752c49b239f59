/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every unit test shares. Include this first; it brings cmocka in the right order. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>

#include "cleanup.h"
#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A fresh directory below the build's temporary directory; removed by testdir_done(). */
struct testdir {
	char path[256];
	int fd;
};
void testdir_make(struct testdir *t);
void testdir_done(struct testdir *t);
void testdir_write(const struct testdir *t, const char *path, const void *bytes, size_t len,
		   mode_t mode); /* parents made */
void testdir_puts(const struct testdir *t, const char *path, const char *text);
char *testdir_read(const struct testdir *t, const char *path,
		   size_t *ret_len); /* NULL when absent; caller frees */
bool testdir_has(const struct testdir *t, const char *path);
char *testdir_snapshot(
    const struct testdir
	*t); /* every name, type, mode, size, content digest, link text; for before/after comparisons */
int testdir_open_fds(void); /* open descriptors of this process */
char *test_source_path(const char *relative); /* $SRCDIR/relative */

/* Runs cmocka with TAP output. */
#define TEST_MAIN(...)                                                                                       \
	int main(void)                                                                                       \
	{                                                                                                    \
		const struct CMUnitTest tests[] = { __VA_ARGS__ };                                           \
		cmocka_set_message_output(CM_OUTPUT_TAP);                                                    \
		return cmocka_run_group_tests(tests, NULL, NULL);                                            \
	}
#define assert_ok(r, e)                                                                                      \
	do {                                                                                                 \
		int r_ = (r);                                                                                \
		if (r_ < 0)                                                                                  \
			fail_msg("%s -> %d: %s", #r, r_, (e)->reason ? (e)->reason : "?");                   \
	} while (0)
#define assert_slug(e, want) assert_string_equal(err_slug((e)->code), want)
