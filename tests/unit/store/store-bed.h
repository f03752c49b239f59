/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A store in a test's own directory. */

#include "testlib.h"

#include "store.h"

#include <stdlib.h>
#include <unistd.h>

static inline struct store *bed(struct testdir *t)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *path = NULL;
	struct store *s = NULL;

	assert_true(asprintf(&path, "%s/a/store", t->path) > 0);
	assert_ok(store_open(path, true, &s, &e), &e);
	return s;
}

/* A tree of two files and a link; `text` makes it differ. */
static inline void tree_put(struct store *s, const char *text, char id[65], int want)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	int fd;

	assert_ok(store_stage_begin(s, &st, &e), &e);
	assert_int_equal(mkdirat(st.dir_fd, "root", 0700), 0);
	assert_int_equal(mkdirat(st.dir_fd, "root/sub", 0700), 0);
	fd = openat(st.dir_fd, "root/sub/tool", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	fd = openat(st.dir_fd, "root/lib.so.1", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(symlinkat("lib.so.1", st.dir_fd, "root/lib.so"), 0);
	assert_int_equal(store_tree_add(&st, NULL, id, &e), want);
}
