/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "fd.h"
#include "interrupt.h"
#include "spawn.h"
#include "strbuf.h"

#include <signal.h>
#include <time.h>

static void reads_output_and_status(void **state _unused_)
{
	static const struct {
		const char *script;
		int status;
		const char *out, *tail;
		bool capture, merge;
	} rows[] = {
		{ "echo a; echo b >&2", 0, "a\n", "b", true, false },
		{ "echo a; echo b >&2", 0, "a\nb\n", "a\nb", true, true },
		{ "echo a; echo b >&2; exit 3", 3, NULL, "a\nb", false, false },
		{ "kill -TERM $$", 143, NULL, "", false, false },
		{ "cat", 0, "", "", true, false },
		{ "exec 1>&- 2>&-; sleep 0.1; exit 4", 4, NULL, "", false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
		_cleanup_(err_done) struct err e = ERR_INIT;
		int fds = testdir_open_fds();

		spawn_argv(&s, "/bin/sh", "-c", rows[i].script, NULL);
		s.capture = rows[i].capture;
		s.merge = rows[i].merge;
		assert_ok(spawn_run(&s, &e), &e);
		assert_int_equal(s.status, rows[i].status);
		assert_string_equal(s.tail, rows[i].tail);
		if (rows[i].out)
			assert_string_equal(s.out, rows[i].out);
		else
			assert_null(s.out);
		assert_int_equal(testdir_open_fds(), fds);
		assert_true(s.wall_ns > 0);
		assert_true(s.max_rss_bytes > 0);
	}
}

static void environment_is_clean(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_int_equal(setenv("NVD_TEST_LEAK", "1", 1), 0);
	spawn_argv(&s, "env", NULL);
	spawn_env(&s, "B", "1");
	spawn_env(&s, "B", "2");
	s.capture = true;
	assert_ok(spawn_check(&s, &e), &e);
	assert_string_equal(s.out, "B=2\nPATH=" SAFE_PATH "\nLC_ALL=C\n");
}

static void descriptors_do_not_leak(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
	_cleanup_(err_done) struct err e = ERR_INIT;
	int open_on_exec = open("/", O_RDONLY | O_DIRECTORY);

	assert_true(open_on_exec >= 0);
	spawn_argv(&s, "/bin/sh", "-c", "[ ! -e /proc/$$/fd/$0 ] && umask", NULL);
	spawn_arg(&s, "%d", open_on_exec);
	s.capture = true;
	assert_ok(spawn_check(&s, &e), &e);
	close(open_on_exec);
	assert_string_equal(s.out, "0022\n");
}

static void failure_shows_last_lines(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("counting");
	_cleanup_(err_done) struct err e = ERR_INIT;

	spawn_argv(&s, "/bin/sh", "-c",
		   "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line$i; done; exit 2", NULL);
	assert_int_equal(spawn_check(&s, &e), -ERR_SPAWN);
	assert_slug(&e, "tool-failed");
	assert_string_equal(e.object, "/bin/sh");
	assert_non_null(strstr(e.reason, "counting: /bin/sh ended with status 2\nline1981\n"));
	assert_non_null(strstr(e.reason, "\nline2000"));
}

static void tail_of_long_lines_is_bounded(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
	_cleanup_(err_done) struct err e = ERR_INIT;

	spawn_argv(&s, "/bin/sh", "-c",
		   "i=0; while [ $i -lt 40 ]; do i=$((i+1)); printf '%0500d\\n' $i; done", NULL);
	assert_ok(spawn_check(&s, &e), &e);
	assert_true(strlen(s.tail) <= 4096);
	assert_int_equal(strlen(s.tail) % 501, 500);
}

static void missing_program(void **state _unused_)
{
	static const char *const names[] = { "nvd-no-such-program", "/nonexistent/program" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
		_cleanup_(err_done) struct err e = ERR_INIT;

		spawn_argv(&s, names[i], NULL);
		assert_int_equal(spawn_run(&s, &e), -ERR_TOOL_MISSING);
		assert_slug(&e, "tool-missing");
		assert_string_equal(e.object, names[i]);
	}
}

static void time_limit_kills_the_group(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("sleeping");
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_close_ int end = -EBADF;
	int fds[2];
	char c;

	/* The grandchild holds the pipe's end: reading its end of file proves that it is gone too. */
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	end = fds[0];
	s.stdin_fd = fds[1];
	spawn_argv(&s, "/bin/sh", "-c", "sleep 60 <&0 & sleep 60", NULL);
	s.timeout_s = 1;
	assert_int_equal(spawn_run(&s, &e), -ERR_TIMEOUT);
	assert_slug(&e, "timed-out");
	assert_int_equal(s.status, 128 + SIGTERM);
	close(fds[1]);
	assert_int_equal(read(end, &c, 1), 0);
}

static void interruption_stops_the_child(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("sleeping");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct itimerspec soon = { .it_value.tv_nsec = 100000000 };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM };
	timer_t timer;

	interrupt_install();
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &soon, NULL), 0);
	spawn_argv(&s, "sleep", "60", NULL);
	assert_int_equal(spawn_run(&s, &e), -ERR_INTERRUPTED);
	assert_slug(&e, "interrupted");
	assert_true(s.wall_ns < 5000000000u);
	assert_int_equal(spawn_run(&s, &e), -ERR_INTERRUPTED); /* nothing is started any more */
	assert_int_equal(s.wall_ns, 0);
	interrupt_set(0);
	timer_delete(timer);
}

static void capture_has_a_ceiling(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("flood");
	_cleanup_(err_done) struct err e = ERR_INIT;

	spawn_argv(&s, "/bin/sh", "-c", "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done",
		   NULL);
	s.capture = true;
	s.capture_max = 65536;
	assert_int_equal(spawn_run(&s, &e), -ERR_TOO_LARGE);
	assert_slug(&e, "limit-exceeded");
	assert_null(s.out);
}

static void log_gets_everything_and_cwd_counts(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_close_ int log = -EBADF;
	_cleanup_free_ char *text = NULL;

	testdir_make(&t);
	testdir_puts(&t, "sub/here", "found\n");
	log = openat(t.fd, "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	s.log_fd = log;
	s.cwd_fd = t.fd;
	spawn_argv(&s, "cat", "sub/here", NULL);
	assert_ok(spawn_check(&s, &e), &e);
	assert_ok(spawn_check(&s, &e), &e);
	text = testdir_read(&t, "log", NULL);
	assert_string_equal(text, "found\nfound\n");
	s.log_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_int_equal(spawn_check(&s, &e), -ENOSPC);
	assert_slug(&e, "no-space");
	close(s.log_fd);
}

static void finds_programs_inside_a_root(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	testdir_write(&t, "usr/bin/tool", "#!/nowhere\n", 11, 0755);
	s.root_fd = t.fd;
	spawn_argv(&s, "env", NULL); /* of the machine, not of the root */
	assert_int_equal(spawn_run(&s, &e), -ERR_TOOL_MISSING);
	assert_non_null(strstr(e.reason, "not installed"));
	strv_freep(&s.argv);
	spawn_argv(&s, "tool", NULL);
	assert_true(spawn_run(&s, &e) < 0); /* found; needs privilege, and its interpreter is absent */
	assert_non_null(strstr(e.reason, "cannot start tool"));
}

static int answer(struct spawn *s, void *arg)
{
	(*(int *)arg)++;
	s->status = strcmp(s->argv[0], "good") == 0 ? 0 : 7;
	return 0;
}

static void hook_answers_instead(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn good = SPAWN_INIT("test"), bad = SPAWN_INIT("test");
	_cleanup_(err_done) struct err e = ERR_INIT;
	uint64_t before = spawn_count();
	int calls = 0;

	spawn_set_hook(answer, &calls);
	spawn_argv(&good, "good", NULL);
	spawn_arg(&bad, "%s-%d", "bad", 1);
	assert_ok(spawn_check(&good, &e), &e);
	assert_int_equal(spawn_check(&bad, &e), -ERR_SPAWN);
	assert_string_equal(e.object, "bad-1");
	spawn_set_hook(NULL, NULL);
	assert_int_equal(calls, 2);
	assert_int_equal(spawn_count(), before);
	strv_freep(&good.argv);
	spawn_argv(&good, "true", NULL);
	assert_ok(spawn_check(&good, &e), &e);
	assert_int_equal(spawn_count(), before + 1);
}

static void works_with_standard_descriptors_closed(void **state _unused_)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("test");
	_cleanup_(err_done) struct err e = ERR_INIT;
	int saved[3], r;

	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		close(i);
	}
	spawn_argv(&s, "/bin/sh", "-c", "cat; echo out; echo err >&2", NULL);
	s.capture = true;
	r = spawn_check(&s, &e);
	for (int i = 0; i < 3; i++) {
		dup2(saved[i], i);
		close(saved[i]);
	}
	assert_ok(r, &e);
	assert_string_equal(s.out, "out\n");
	assert_string_equal(s.tail, "err");
}

/* What talks to a person has the person's streams, and stays in the foreground. */
static void attached_has_our_streams(void **state _unused_)
{
	int in[2], out[2], saved_in = dup(0), saved_err = dup(2);
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("talking");
	_cleanup_(err_done) struct err e = ERR_INIT;
	char buf[256] = "", group[64];
	ssize_t n;
	int r;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(write(in[1], "yes\n", 4), 4);
	(void)close(in[1]);
	(void)dup2(in[0], 0);
	(void)dup2(out[1], 2);
	spawn_argv(&s, "sh", "-c", "read a; echo said $a; cut -d' ' -f5 /proc/$$/stat >&2", NULL);
	s.attached = true;
	r = spawn_run(&s, &e);
	(void)dup2(saved_in, 0);
	(void)dup2(saved_err, 2);
	(void)close(out[1]);
	n = read(out[0], buf, sizeof(buf) - 1);
	if (n > 0 && n < (ssize_t)sizeof(buf) - 1)
		(void)!read(out[0], buf + n, sizeof(buf) - 1 - (size_t)n);
	assert_int_equal(r, 0);
	assert_int_equal(s.status, 0);
	assert_non_null(strstr(buf, "said yes"));
	(void)snprintf(group, sizeof(group), "%d", (int)getpgrp());
	assert_non_null(strstr(buf, group));
	(void)close(in[0]);
	(void)close(out[0]);
	(void)close(saved_in);
	(void)close(saved_err);
}

TEST_MAIN(cmocka_unit_test(reads_output_and_status), cmocka_unit_test(environment_is_clean),
	  cmocka_unit_test(descriptors_do_not_leak), cmocka_unit_test(failure_shows_last_lines),
	  cmocka_unit_test(tail_of_long_lines_is_bounded), cmocka_unit_test(missing_program),
	  cmocka_unit_test(time_limit_kills_the_group), cmocka_unit_test(interruption_stops_the_child),
	  cmocka_unit_test(capture_has_a_ceiling), cmocka_unit_test(log_gets_everything_and_cwd_counts),
	  cmocka_unit_test(finds_programs_inside_a_root), cmocka_unit_test(hook_answers_instead),
	  cmocka_unit_test(works_with_standard_descriptors_closed),
	  cmocka_unit_test(attached_has_our_streams))
