/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The distributions' own tools, run by the tests to make what we read. Included by one file of each test program. */

#include "testlib.h"

#include "source.h"
#include "spawn.h"

#include <stdlib.h>
#include <unistd.h>

/* Says what is missing, so that a skipped test is seen. */
static inline bool tools_present(const char *const *names)
{
	for (; *names; names++) {
		_cleanup_free_ char *path = NULL;

		if (spawn_find(*names, &path) < 0) {
			print_message("# %s is not installed here: not tested\n", *names);
			return false;
		}
	}
	return true;
}

/* Runs a tool in a directory; what it prints (with `out`) becomes that file. */
static inline void tool(struct testdir *d, const char *dir, const char *out, const char *const *argv)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("a tool of the test");
	_cleanup_(err_done) struct err e = ERR_INIT;

	s.cwd_fd = openat(d->fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s.cwd_fd >= 0);
	for (; *argv; argv++)
		(void)spawn_arg(&s, "%s", *argv);
	(void)spawn_env(&s, "HOME", d->path);
	s.capture = out != NULL;
	s.timeout_s = 60;
	assert_ok(spawn_run(&s, &e), &e);
	close(s.cwd_fd);
	if (s.status != 0)
		fail_msg("%s: %s", s.argv[0], s.tail ? s.tail : "");
	if (out)
		testdir_puts(d, out, s.out ? s.out : "");
}
#define TOOL(d, dir, out, ...) tool(d, dir, out, (const char *const[]){ __VA_ARGS__, NULL })

/* A file with one byte changed. */
static inline void flip(struct testdir *d, const char *path, long at)
{
	size_t len;
	char *text = testdir_read(d, path, &len);

	assert_non_null(text);
	text[at < 0 ? (long)len + at : at] ^= 1;
	testdir_write(d, path, text, len, 0644);
	free(text);
}
