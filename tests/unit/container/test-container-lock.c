/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-lock.h"

#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIDFILE "run/nvidia/nvidia-driver.pid"

static struct host *make(struct testdir *t)
{
	struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(t);
	testdir_puts(t, "run/keep", "");
	assert_ok(host_open(t->path, &h, &e), &e);
	return h;
}

static void locks_writes_and_removes(void **state _unused_)
{
	struct testdir t;
	struct host *h = make(&t);
	struct container_lock a = CONTAINER_LOCK_INIT, b = CONTAINER_LOCK_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	int pid = 0;

	assert_int_equal(container_lock_holder(h, &pid), -ESRCH);
	testdir_puts(&t, PIDFILE, "a longer text that somebody left here\n");
	assert_ok(container_lock_take(h, 4711, &a, &e), &e);
	text = testdir_read(&t, PIDFILE, NULL);
	assert_string_equal(text, "4711\n");
	assert_int_equal(container_lock_holder(h, &pid), 0);
	assert_int_equal(pid, 4711);
	assert_int_equal(container_lock_take(h, 1, &b, &e), -ERR_LOCKED);
	assert_int_equal(container_lock_holder(h, &pid), 0); /* still the first one's number */
	assert_int_equal(pid, 4711);
	container_lock_remove(h, &a);
	assert_false(testdir_has(&t, PIDFILE));
	host_freep(&h);
	testdir_done(&t);
}

/* The init container removes the file: two of them would both be locked. */
static void a_removed_file_is_not_ours_any_more(void **state _unused_)
{
	struct testdir t;
	struct host *h = make(&t);
	struct container_lock a = CONTAINER_LOCK_INIT, b = CONTAINER_LOCK_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(container_lock_take(h, 1, &a, &e), &e);
	assert_int_equal(unlinkat(t.fd, PIDFILE, 0), 0);
	assert_ok(container_lock_take(h, 2, &b, &e), &e);
	container_lock_remove(h, &a); /* must leave the other's file alone */
	assert_true(testdir_has(&t, PIDFILE));
	container_lock_remove(h, &b);
	host_freep(&h);
	testdir_done(&t);
}

static void hostile_files_are_refused(void **state _unused_)
{
	struct testdir t;
	struct host *h = make(&t);
	struct container_lock l = CONTAINER_LOCK_INIT;
	_cleanup_free_ char *victim = NULL;
	int pid;

	testdir_puts(&t, "victim", "keep me");
	testdir_puts(&t, "run/nvidia/x", "");
	assert_int_equal(symlinkat("../../victim", t.fd, PIDFILE), 0);
	assert_true(container_lock_take(h, 1, &l, NULL) < 0);
	assert_int_equal(container_lock_holder(h, &pid), -ESRCH);
	assert_int_equal(unlinkat(t.fd, PIDFILE, 0), 0);
	assert_int_equal(mkfifoat(t.fd, PIDFILE, 0600), 0);
	assert_true(container_lock_take(h, 1, &l, NULL) < 0);
	assert_int_equal(unlinkat(t.fd, PIDFILE, 0), 0);
	assert_int_equal(mkdirat(t.fd, PIDFILE, 0700), 0);
	assert_true(container_lock_take(h, 1, &l, NULL) < 0);
	victim = testdir_read(&t, "victim", NULL);
	assert_string_equal(victim, "keep me");
	host_freep(&h);
	testdir_done(&t);
}

/* Twenty at once: exactly one has it. */
static void only_one_of_many_gets_it(void **state _unused_)
{
	struct testdir t;
	struct host *h = make(&t);
	int won = 0, gate[2];
	pid_t pids[20];

	assert_int_equal(pipe(gate), 0);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct container_lock l = CONTAINER_LOCK_INIT;
			char c;
			int r;

			close(gate[1]);
			r = container_lock_take(h, (int)getpid(), &l, NULL);
			(void)!read(gate[0], &c, 1); /* until all have tried */
			_exit(r == 0 ? 1 : r == -ERR_LOCKED ? 0 : 2);
		}
	}
	usleep(300000);
	close(gate[1]);
	close(gate[0]);
	for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		won += WEXITSTATUS(status);
	}
	assert_int_equal(won, 1);
	host_freep(&h);
	testdir_done(&t);
}

TEST_MAIN(cmocka_unit_test(locks_writes_and_removes), cmocka_unit_test(a_removed_file_is_not_ours_any_more),
	  cmocka_unit_test(hostile_files_are_refused), cmocka_unit_test(only_one_of_many_gets_it))
