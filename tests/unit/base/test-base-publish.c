/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "fd.h"
#include "lock.h"
#include "publish.h"
#include "strbuf.h"
#include "tree.h"

#include <sys/wait.h>

static void assert_content(const struct testdir *t, const char *name, const char *want)
{
	_cleanup_free_ char *text = testdir_read(t, name, NULL);

	assert_non_null(text);
	assert_string_equal(text, want);
}

static void bytes_replace_and_keep_the_mode(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	mode_t mask = umask(077);
	struct stat st;

	testdir_make(&t);
	assert_int_equal(publish_bytes(t.fd, "f", "one", 3, 0644), 0);
	assert_int_equal(publish_bytes(t.fd, "f", "two", 3, 0751), 0);
	umask(mask);
	assert_content(&t, "f", "two");
	assert_int_equal(fstatat(t.fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0751);
	/* A name that cannot be: nothing is left behind. */
	assert_int_equal(mkdirat(t.fd, "dir", 0755), 0);
	assert_int_equal(publish_bytes(t.fd, "dir", "x", 1, 0644), -EISDIR);
	assert_int_equal(publish_bytes(t.fd, "no/such", "x", 1, 0644), -ENOENT);
	{
		_cleanup_free_ char *snapshot = testdir_snapshot(&t);

		assert_null(strstr(snapshot, PUBLISH_TMP_PREFIX));
	}
}

static void temporary_names_go_unless_published(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	int fds;

	testdir_make(&t);
	fds = testdir_open_fds();
	{
		_cleanup_(tmpname_done) struct tmpname a = TMPNAME_INIT(t.fd), b = TMPNAME_INIT(t.fd);

		assert_int_equal(tmpname_open(&a, 0600), 0);
		assert_int_equal(tmpname_open(&b, 0600), 0);
		assert_string_not_equal(a.name, b.name);
		assert_int_equal(strlen(a.name), strlen(PUBLISH_TMP_PREFIX) + 16);
		assert_int_equal(write_all(a.fd, "a", 1), 0);
		assert_int_equal(publish_tmp(&a, "new", false), 0);
		assert_int_equal(publish_tmp(&b, "new", false), -EEXIST);
		assert_string_not_equal(b.name, "");
	}
	assert_content(&t, "new", "a");
	{
		_cleanup_free_ char *snapshot = testdir_snapshot(&t);

		assert_null(strstr(snapshot, PUBLISH_TMP_PREFIX));
	}
	assert_int_equal(testdir_open_fds(), fds);
}

static void links_renames_and_removals(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_close_ int sub = -EBADF;
	char target[16] = "";

	testdir_make(&t);
	testdir_puts(&t, "sub/a", "a");
	testdir_puts(&t, "tree/inner", "i");
	testdir_puts(&t, "other/x", "x");
	sub = dir_open_at(t.fd, "sub");
	assert_int_equal(publish_symlink(t.fd, "l", "one"), 0);
	assert_int_equal(publish_symlink(t.fd, "l", "two"), 0);
	assert_int_equal(readlinkat(t.fd, "l", target, sizeof(target)), 3);
	assert_string_equal(target, "two");
	assert_int_equal(publish_symlink(t.fd, "sub", "x"), -EISDIR);
	assert_int_equal(publish_rename(t.fd, "tree", sub, "tree", false), 0);
	assert_true(testdir_has(&t, "sub/tree/inner") && !testdir_has(&t, "tree"));
	assert_int_equal(publish_rename(t.fd, "other", sub, "tree", false), -EEXIST);
	assert_int_equal(publish_rename(t.fd, "l", sub, "a", false), -EEXIST);
	if (publish_exchange(t.fd, "other", sub, "tree") == 0) {
		assert_content(&t, "sub/tree/x", "x");
		assert_content(&t, "other/inner", "i");
	} else { /* an old kernel: nothing moved */
		assert_content(&t, "sub/tree/inner", "i");
		assert_content(&t, "other/x", "x");
	}
	assert_int_equal(publish_unlink(t.fd, "l"), 0);
	assert_int_equal(publish_unlink(t.fd, "l"), 0);
	assert_int_equal(publish_unlink(t.fd, "other"), -ENOTEMPTY);
	assert_int_equal(publish_unlink(sub, "a"), 0);
	assert_int_equal(tree_remove(t.fd, "other"), 0);
	assert_int_equal(mkdirat(t.fd, "empty", 0755), 0);
	assert_int_equal(publish_unlink(t.fd, "empty"), 0);
	assert_false(testdir_has(&t, "empty"));
}

static void trees_copy_count_and_go(void **state _unused_)
{
	static const unsigned flags[] = { 0, TREE_COPY_REFLINK, TREE_COPY_HARDLINK,
					  TREE_COPY_REFLINK | TREE_COPY_HARDLINK };
	_cleanup_(testdir_done) struct testdir t;
	uint64_t bytes, files;

	testdir_make(&t);
	testdir_puts(&t, "from/a", "aaaa");
	testdir_write(&t, "from/sub/tool", "x", 1, 0755);
	assert_int_equal(symlinkat("../../outside", t.fd, "from/sub/link"), 0);
	testdir_puts(&t, "outside/keep", "k");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		struct stat a, b;

		assert_int_equal(tree_copy(t.fd, "from", t.fd, "to", flags[i]), 0);
		assert_int_equal(tree_copy(t.fd, "from", t.fd, "to", flags[i]), -EEXIST);
		assert_content(&t, "to/a", "aaaa");
		assert_int_equal(fstatat(t.fd, "from/sub/tool", &a, 0), 0);
		assert_int_equal(fstatat(t.fd, "to/sub/tool", &b, 0), 0);
		assert_int_equal(b.st_mode & 07777, 0755);
		assert_int_equal(a.st_ino == b.st_ino, !!(flags[i] & TREE_COPY_HARDLINK));
		assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
		assert_int_equal(tree_sync(t.fd, "to"), 0);
		assert_int_equal(tree_usage(t.fd, "to", &bytes, &files), 0);
		assert_int_equal(bytes, 5);
		assert_int_equal(files, 2);
		assert_int_equal(tree_remove(t.fd, "to"), 0);
		assert_false(testdir_has(&t, "to"));
		assert_int_equal(tree_remove(t.fd, "to"), 0);
	}
	assert_true(testdir_has(&t, "outside/keep"));
	assert_int_equal(tree_remove(t.fd, ".."), -EINVAL);
	{
		_cleanup_free_ char *path = str_printf("%s/by/path", t.path),
				    *up = str_printf("%s/by/..", t.path);

		testdir_puts(&t, "by/path/deep/er", "x");
		assert_int_equal(tree_remove(t.fd, path), -EINVAL);
		assert_int_equal(tree_remove_path(path), 0);
		assert_true(testdir_has(&t, "by") && !testdir_has(&t, "by/path"));
		assert_int_equal(tree_remove_path(path), 0);
		assert_int_equal(tree_remove_path(up), -EINVAL);
	}
	assert_int_equal(tree_remove(t.fd, "from/a"), -EINVAL);
	/* What cannot be copied: no half copy stays. */
	assert_int_equal(mkfifoat(t.fd, "from/sub/zfifo", 0600), 0);
	assert_int_equal(tree_copy(t.fd, "from", t.fd, "to", 0), -EINVAL);
	assert_false(testdir_has(&t, "to"));
}

static void setid_is_not_copied(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	struct stat st;

	testdir_make(&t);
	testdir_write(&t, "from/s", "x", 1, 06755);
	assert_int_equal(tree_copy(t.fd, "from", t.fd, "to", 0), 0);
	assert_int_equal(fstatat(t.fd, "to/s", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
}

static int collect(const struct tree_entry *entry, void *arg)
{
	strcat(arg, entry->path);
	strcat(arg, " ");
	return strcmp(entry->name, "stop") == 0 ? -ECANCELED : 0;
}

static void walk_is_ordered_and_stops(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	char seen[128] = "";

	testdir_make(&t);
	testdir_puts(&t, "b/2", "");
	testdir_puts(&t, "b/1", "");
	testdir_puts(&t, "a", "");
	assert_int_equal(tree_walk(t.fd, TREE_SORTED, collect, seen), 0);
	assert_string_equal(seen, "a b b/1 b/2 ");
	testdir_puts(&t, "b/stop", "");
	testdir_puts(&t, "c", "");
	seen[0] = '\0';
	assert_int_equal(tree_walk(t.fd, TREE_SORTED, collect, seen), -ECANCELED);
	assert_string_equal(seen, "a b b/1 b/2 b/stop ");
}

static void locks_exclude(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(lock_release) struct lock file = LOCK_INIT, other = LOCK_INIT, byte = LOCK_INIT;
	_cleanup_close_ int a = -EBADF, b = -EBADF;
	int fds;

	testdir_make(&t);
	fds = testdir_open_fds();
	assert_int_equal(lock_file_at(t.fd, "lock", 0, &file), 0);
	assert_int_equal(lock_file_at(t.fd, "lock", 0, &other), -EAGAIN);
	assert_int_equal(lock_file_at(t.fd, "lock", 30, &other), -EAGAIN);
	lock_release(&file);
	assert_int_equal(lock_file_at(t.fd, "lock", 0, &other), 0);
	lock_release(&other);
	lock_release(&other);
	assert_int_equal(testdir_open_fds(), fds);
	a = openat(t.fd, "lock", O_RDWR | O_CLOEXEC);
	b = openat(t.fd, "lock", O_RDWR | O_CLOEXEC);
	assert_int_equal(lock_byte(a, "set-1", 0, &byte), 0);
	assert_int_equal(lock_byte(b, "set-1", 10, &other), -EAGAIN);
	assert_int_equal(lock_byte(b, "set-2", 0, &other), 0);
	lock_release(&other);
	lock_release(&byte);
	assert_int_equal(lock_byte(b, "set-1", 0, &other), 0);
}

static void waiting_gets_the_lock(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(lock_release) struct lock l = LOCK_INIT;
	int ready[2], status;
	char c;
	pid_t pid;

	testdir_make(&t);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct lock mine = LOCK_INIT;

		if (lock_file_at(t.fd, "lock", 0, &mine) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		usleep(50000);
		_exit(0); /* a dead owner's lock is free */
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(lock_file_at(t.fd, "lock", 5000, &l), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(ready[0]);
	close(ready[1]);
}

TEST_MAIN(cmocka_unit_test(bytes_replace_and_keep_the_mode),
	  cmocka_unit_test(temporary_names_go_unless_published), cmocka_unit_test(links_renames_and_removals),
	  cmocka_unit_test(trees_copy_count_and_go), cmocka_unit_test(setid_is_not_copied),
	  cmocka_unit_test(walk_is_ordered_and_stops), cmocka_unit_test(locks_exclude),
	  cmocka_unit_test(waiting_gets_the_lock))
