/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "path.h"
#include "strbuf.h"

static void clean(void **state _unused_)
{
	static const struct {
		const char *name, *want; /* NULL: refused */
	} rows[] = {
		{ "a", "a" },	  { "./a", "a" },    { "././a//b/", "a/b" }, { "", "" },
		{ "./", "" },	  { ".", "" },	     { "/a", NULL },	     { "..", NULL },
		{ "a/..", NULL }, { "../a", NULL },  { "a/./b", NULL },	     { "a/../b", NULL },
		{ "a\nb", NULL }, { "a\x7f", NULL }, { "a\x1b[m", NULL },    { "..a/b..", "..a/b.." },
		{ "a/.", NULL },  { "...", "..." },
	};
	char deep[512] = "", component[258];
	_cleanup_free_ char *out = NULL;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *ret = NULL;
		int r = path_clean(rows[i].name, &ret);

		if (r != (rows[i].want ? 0 : -EINVAL) || (ret && strcmp(ret, rows[i].want) != 0))
			fail_msg("\"%s\" -> %d \"%s\"", rows[i].name, r, ret ? ret : "");
	}
	for (int i = 0; i < 200; i++)
		strcat(deep, "d/");
	assert_int_equal(path_clean(deep, &out), 0);
	strcat(deep, "d");
	freep(&out);
	assert_int_equal(path_clean(deep, &out), -EINVAL);
	memset(component, 'x', 256);
	component[256] = '\0';
	assert_int_equal(path_clean(component, &out), -EINVAL);
	assert_true(path_name_is_clean("a/b") && !path_name_is_clean("a//b") && !path_name_is_clean("") &&
		    !path_name_is_clean("./a"));
}

static void make_tree(struct testdir *t)
{
	static const char *const links[][2] = {
		{ "abs", "/in/dir" },		{ "in/up", "../other" },    { "out", "/../../etc" },
		{ "escape", "../../../../.." }, { "loop1", "loop2" },	    { "loop2", "loop1" },
		{ "dangling", "in/missing" },	{ "chain", "abs/../up/x" }, { "in/dir/self", "." },
	};

	testdir_make(t);
	testdir_puts(t, "in/dir/file", "file");
	testdir_puts(t, "other/x", "x");
	testdir_puts(t, "etc/passwd", "inside");
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		assert_int_equal(symlinkat(links[i][1], t->fd, links[i][0]), 0);
}

static int content(int top, const char *path, int flags, enum path_follow follow, char *buf, size_t size)
{
	int fd = path_open_at(top, path, flags, 0644, follow);
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return fd;
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	n = flags & O_DIRECTORY ? 0 : read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return 0;
}

/* Every row by openat2 and by the walk: the same answer is the contract. */
static void open_resolves_alike(void **state _unused_)
{
	static const struct {
		const char *path;
		int flags;
		enum path_follow follow;
		int r;
		const char *want;
	} rows[] = {
		{ "in/dir/file", O_RDONLY, PATH_NO_SYMLINKS, 0, "file" },
		{ "/in//dir/./file", O_RDONLY, PATH_NO_SYMLINKS, 0, "file" },
		{ "in/../in/dir/file", O_RDONLY, PATH_NO_SYMLINKS, -EXDEV, "" },
		{ "../x", O_RDONLY, PATH_NO_SYMLINKS, -EXDEV, "" },
		{ "abs/file", O_RDONLY, PATH_NO_SYMLINKS, -ELOOP, "" },
		{ "in/up", O_RDONLY, PATH_NO_SYMLINKS, -ELOOP, "" },
		{ "in/up", O_RDONLY | O_DIRECTORY, PATH_NO_SYMLINKS, -ELOOP, "" },
		{ "in/missing", O_RDONLY, PATH_NO_SYMLINKS, -ENOENT, "" },
		{ "in/dir/file/x", O_RDONLY, PATH_NO_SYMLINKS, -ENOTDIR, "" },
		{ "in/dir/file/", O_RDONLY, PATH_NO_SYMLINKS, -ENOTDIR, "" },
		{ "in/dir/", O_RDONLY | O_DIRECTORY, PATH_NO_SYMLINKS, 0, "" },
		{ "", O_RDONLY | O_DIRECTORY, PATH_NO_SYMLINKS, 0, "" },
		{ "/", O_RDONLY | O_DIRECTORY, PATH_IN_ROOT, 0, "" },
		{ "abs/file", O_RDONLY, PATH_IN_ROOT, 0, "file" },
		{ "abs/self/self/file", O_RDONLY, PATH_IN_ROOT, 0, "file" },
		{ "abs", O_RDONLY | O_NOFOLLOW, PATH_IN_ROOT, -ELOOP, "" },
		{ "abs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, PATH_IN_ROOT, -ENOTDIR, "" },
		{ "in/up/x", O_RDONLY, PATH_IN_ROOT, 0, "x" },
		{ "chain", O_RDONLY, PATH_IN_ROOT, 0, "x" },
		{ "out/passwd", O_RDONLY, PATH_IN_ROOT, 0, "inside" },
		{ "escape/etc/passwd", O_RDONLY, PATH_IN_ROOT, 0, "inside" },
		{ "../../etc/passwd", O_RDONLY, PATH_IN_ROOT, 0, "inside" },
		{ "in/dir/../../other/x", O_RDONLY, PATH_IN_ROOT, 0, "x" },
		{ "in/up/..", O_RDONLY | O_DIRECTORY, PATH_IN_ROOT, 0, "" },
		{ "missing/../other/x", O_RDONLY, PATH_IN_ROOT, -ENOENT, "" },
		{ "loop1", O_RDONLY, PATH_IN_ROOT, -ELOOP, "" },
		{ "loop1/x", O_RDONLY, PATH_IN_ROOT, -ELOOP, "" },
		{ "dangling", O_RDONLY, PATH_IN_ROOT, -ENOENT, "" },
		{ "abs", O_RDWR | O_CREAT | O_EXCL, PATH_IN_ROOT, -EEXIST, "" },
	};
	_cleanup_(testdir_done) struct testdir t;
	char buf[64];

	make_tree(&t);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int fallback = 0; fallback < 2; fallback++) {
			int fds = testdir_open_fds(), r;

			path_test_no_openat2(fallback);
			r = content(t.fd, rows[i].path, rows[i].flags, rows[i].follow, buf, sizeof(buf));
			path_test_no_openat2(false);
			if (r != rows[i].r || strcmp(buf, rows[i].want) != 0)
				fail_msg("row %zu \"%s\" %s: %d \"%s\"", i, rows[i].path,
					 fallback ? "walk" : "openat2", r, buf);
			assert_int_equal(testdir_open_fds(), fds);
		}
}

static void creates_through_a_link_inside(void **state _unused_)
{
	for (int fallback = 0; fallback < 2; fallback++) {
		_cleanup_(testdir_done) struct testdir t;
		char buf[8];

		make_tree(&t);
		path_test_no_openat2(fallback);
		assert_int_equal(content(t.fd, "dangling", O_RDWR | O_CREAT, PATH_IN_ROOT, buf, sizeof(buf)),
				 0);
		assert_true(testdir_has(&t, "in/missing"));
		assert_int_equal(
		    content(t.fd, "in/dir/new/", O_RDWR | O_CREAT, PATH_IN_ROOT, buf, sizeof(buf)), -EISDIR);
		path_test_no_openat2(false);
	}
}

static void refuses_magic_links(void **state _unused_)
{
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[64];

	for (int fallback = 0; fallback < 2; fallback++) {
		path_test_no_openat2(fallback);
		assert_int_equal(content(proc, "self/exe", O_RDONLY, PATH_IN_ROOT, buf, sizeof(buf)), -ELOOP);
		assert_int_equal(
		    content(proc, "self/root/etc/passwd", O_RDONLY, PATH_IN_ROOT, buf, sizeof(buf)), -ELOOP);
		assert_int_equal(content(proc, "self/comm", O_RDONLY, PATH_IN_ROOT, buf, sizeof(buf)), 0);
		path_test_no_openat2(false);
	}
	close(proc);
}

static void many_links_end(void **state _unused_)
{
	for (int fallback = 0; fallback < 2; fallback++) {
		_cleanup_(testdir_done) struct testdir t;
		char buf[8];

		testdir_make(&t);
		testdir_puts(&t, "l0", "ok");
		for (int i = 1; i <= 41; i++) {
			_cleanup_free_ char *name = str_printf("l%d", i), *target = str_printf("l%d", i - 1);

			assert_int_equal(symlinkat(target, t.fd, name), 0);
		}
		path_test_no_openat2(fallback);
		assert_int_equal(content(t.fd, "l40", O_RDONLY, PATH_IN_ROOT, buf, sizeof(buf)), 0);
		assert_int_equal(content(t.fd, "l41", O_RDONLY, PATH_IN_ROOT, buf, sizeof(buf)), -ELOOP);
		path_test_no_openat2(false);
	}
}

static void directories_are_made_inside(void **state _unused_)
{
	for (int fallback = 0; fallback < 2; fallback++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_close_ int fd = -EBADF;
		const char *name = NULL;
		struct stat st;

		make_tree(&t);
		path_test_no_openat2(fallback);
		assert_int_equal(path_mkdirs(t.fd, "abs/n1/n2", 0700, PATH_IN_ROOT), 0);
		assert_true(testdir_has(&t, "in/dir/n1/n2"));
		assert_int_equal(path_mkdirs(t.fd, "abs/n1/n2", 0700, PATH_IN_ROOT), 0);
		assert_int_equal(path_mkdirs(t.fd, "abs/n3", 0700, PATH_NO_SYMLINKS), -ELOOP);
		assert_int_equal(path_mkdirs(t.fd, "escape/n4", 0700, PATH_IN_ROOT), 0);
		assert_true(testdir_has(&t, "n4"));
		assert_int_equal(path_mkdirs(t.fd, "in/dir/file/x", 0700, PATH_IN_ROOT), -ENOTDIR);
		fd = path_open_parent(t.fd, "p/q/name", true, PATH_NO_SYMLINKS, &name);
		assert_true(fd >= 0);
		assert_string_equal(name, "name");
		assert_true(testdir_has(&t, "p/q") && !testdir_has(&t, "p/q/name"));
		assert_int_equal(path_open_parent(t.fd, "p/..", true, PATH_NO_SYMLINKS, &name), -EINVAL);
		assert_int_equal(path_open_parent(t.fd, "p/", true, PATH_NO_SYMLINKS, &name), -EINVAL);
		assert_int_equal(path_open_parent(t.fd, "no/x", false, PATH_NO_SYMLINKS, &name), -ENOENT);
		assert_int_equal(path_stat(t.fd, "abs", &st, PATH_NO_SYMLINKS), 0);
		assert_true(S_ISLNK(st.st_mode));
		assert_int_equal(path_stat(t.fd, "abs/file", &st, PATH_IN_ROOT), 0);
		assert_int_equal(st.st_size, 4);
		assert_true(path_exists(t.fd, "dangling") && !path_exists(t.fd, "in/missing"));
		path_test_no_openat2(false);
	}
}

static void names_are_sorted(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t = { .fd = -EBADF };
	_cleanup_strv_ char **names = NULL, **own = NULL, **none = NULL, **bad = NULL;

	testdir_make(&t);
	testdir_puts(&t, "dir/b", "");
	testdir_puts(&t, "dir/.hidden", "");
	testdir_puts(&t, "dir/a/x", "");
	assert_int_equal(symlinkat("/dir", t.fd, "link"), 0);
	assert_int_equal(mkdirat(t.fd, "empty", 0755), 0);
	assert_int_equal(path_names(t.fd, "link", &names), 0);
	assert_int_equal(strv_len(names), 3);
	assert_string_equal(names[0], ".hidden");
	assert_string_equal(names[1], "a");
	assert_string_equal(names[2], "b");
	assert_int_equal(path_names(t.fd, ".", &own), 0);
	assert_int_equal(strv_len(own), 3);
	assert_int_equal(path_names(t.fd, "empty", &none), 0);
	assert_null(none);
	assert_int_equal(path_names(t.fd, "missing", &bad), -ENOENT);
	assert_int_equal(path_names(t.fd, "dir/b", &bad), -ENOTDIR);
	assert_null(bad);
}

TEST_MAIN(cmocka_unit_test(clean), cmocka_unit_test(open_resolves_alike),
	  cmocka_unit_test(creates_through_a_link_inside), cmocka_unit_test(refuses_magic_links),
	  cmocka_unit_test(many_links_end), cmocka_unit_test(directories_are_made_inside),
	  cmocka_unit_test(names_are_sorted))
