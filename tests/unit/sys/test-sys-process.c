/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "process.h"

#include <time.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>

static void reads_stat(void **state _unused_)
{
	static const struct {
		const char *text, *comm; /* NULL = not understood */
		char process_state;
		uint64_t start;
	} cases[] = {
		{ "7 (cat) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20", "cat", 'S', 4242 },
		{ "7 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1 20\n", "a) b (c", 'R', 1 },
		{ "7 () Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 1", "", 'Z', 1 },
		{ "7 (cat) S 1 2 3", NULL, 0, 0 },
		{ "7 cat S", NULL, 0, 0 },
		{ ")(", NULL, 0, 0 },
		{ "7 (cat) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -1 20", NULL, 0, 0 },
		{ "", NULL, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(process_done) struct process p = PROCESS_INIT;
		int r = process_parse_stat(cases[i].text, strlen(cases[i].text), &p);

		assert_int_equal(r, cases[i].comm ? 0 : -EBADMSG);
		if (!cases[i].comm)
			continue;
		assert_string_equal(p.comm, cases[i].comm);
		assert_int_equal(p.state, cases[i].process_state);
		assert_int_equal(p.start_ticks, cases[i].start);
	}
}

#define STAT(pid, comm, state, start)                                                                        \
	pid " (" comm ") " state " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 " start " 20\n"

/* A process, its PID file, and what makes the one not the other's. */
static void believes_only_the_process_that_wrote_the_file(void **state _unused_)
{
	static const struct {
		const char *file, *stat, *ns;
		int want;
	} cases[] = {
		{ "7\n", STAT("7", "nvidia-persiste", "S", "100"), "mnt:[1]", 0 },
		{ "7", STAT("7", "nvidia-persiste", "S", "100"), NULL, 0 }, /* no word on its mounts */
		{ NULL, STAT("7", "nvidia-persiste", "S", "100"), "mnt:[1]", -ENOENT },
		{ "7\n", STAT("7", "sshd", "S", "100"), "mnt:[1]", -ESRCH },
		{ "7\n", STAT("7", "nvidia-persiste", "Z", "100"), "mnt:[1]", -ESRCH },
		{ "7\n", STAT("7", "nvidia-persiste", "S", "100"), "mnt:[2]",
		  -ESRCH }, /* another container's */
		{ "7\n", STAT("7", "nvidia-persiste", "S", "99999999"), "mnt:[1]",
		  -ESRCH }, /* younger than the file */
		{ "7\n", NULL, NULL, -ESRCH },
		{ "0\n", NULL, NULL, -ESRCH },
		{ "-7\n", NULL, NULL, -ESRCH },
		{ "7 8\n", NULL, NULL, -ESRCH },
		{ "99999999999999999999", NULL, NULL, -ESRCH },
		{ "", NULL, NULL, -ESRCH },
		{ "1234567890123456789012345678901234567890", NULL, NULL, -ESRCH },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct timespec written[2] = { { 5000, 0 }, { 5000, 0 } };
		_cleanup_(process_done) struct process p = PROCESS_INIT;
		struct host *h = NULL;
		struct testdir t;

		testdir_make(&t);
		testdir_puts(&t, "proc/stat", "cpu 1\nbtime 1000\n");
		testdir_puts(&t, "proc/7/ns/x", "");
		testdir_puts(&t, "proc/self/ns/x", "");
		testdir_puts(&t, "run/x", "");
		assert_int_equal(symlinkat("mnt:[1]", t.fd, "proc/self/ns/mnt"), 0);
		if (cases[i].ns)
			assert_int_equal(symlinkat(cases[i].ns, t.fd, "proc/7/ns/mnt"), 0);
		if (cases[i].stat)
			testdir_puts(&t, "proc/7/stat", cases[i].stat);
		if (cases[i].file) {
			testdir_puts(&t, "run/d.pid", cases[i].file);
			assert_int_equal(utimensat(t.fd, "run/d.pid", written, 0), 0);
		}
		assert_int_equal(host_open(t.path, &h, NULL), 0);
		assert_int_equal(pidfile_process(h, "run/d.pid", "nvidia-persistenced", &p), cases[i].want);
		host_freep(&h);
		testdir_done(&t);
	}
}

static void a_pid_file_is_a_file(void **state _unused_)
{
	struct host *h = NULL;
	struct testdir t;
	int pid;

	testdir_make(&t);
	testdir_puts(&t, "proc/x", "");
	testdir_puts(&t, "other", "7\n");
	assert_int_equal(symlinkat("other", t.fd, "link"), 0);
	assert_int_equal(mkfifoat(t.fd, "fifo", 0600), 0);
	assert_int_equal(host_open(t.path, &h, NULL), 0);
	assert_true(pidfile_read(h, "link", &pid, NULL) < 0);
	assert_int_equal(pidfile_read(h, "fifo", &pid, NULL), -EBADMSG);
	assert_true(pidfile_read(h, "proc", &pid, NULL) < 0);
	host_freep(&h);
	testdir_done(&t);
}

static void reads_ourselves(void **state _unused_)
{
	_cleanup_(process_done) struct process p = PROCESS_INIT;
	struct host *h = NULL;

	assert_int_equal(host_open("/", &h, NULL), 0);
	assert_int_equal(process_read(h, getpid(), &p), 0);
	assert_true(p.start_ticks > 0 && strncmp(p.comm, "test-sys-process", 15) == 0);
	assert_int_equal(p.parent, getppid());
	host_freep(&h);
}

/* A child that must not hear the signal yet, then a killed one nobody has waited for. */
static void knows_who_is_ending(void **state _unused_)
{
	_cleanup_(processes_done) struct processes all = PROCESSES_INIT;
	struct host *h = NULL;
	sigset_t term;
	bool found = false;
	pid_t pid;

	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &term, NULL), 0);
	pid = fork();
	if (pid == 0)
		for (;;)
			(void)pause();
	assert_true(pid > 0);
	assert_int_equal(sigprocmask(SIG_UNBLOCK, &term, NULL), 0);
	assert_int_equal(host_open("/", &h, NULL), 0);
	assert_false(process_is_ending(h, pid));
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_true(process_is_ending(h, pid));
	assert_int_equal(processes_read(h, &all), 0);
	for (size_t i = 0; i < all.n; i++) {
		assert_true(i == 0 || all.v[i - 1].pid < all.v[i].pid);
		found |= all.v[i].pid == pid && all.v[i].parent == getpid();
	}
	assert_true(found);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, NULL, WEXITED | WNOWAIT), 0);
	assert_true(process_is_ending(h, pid));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	host_freep(&h);
}

TEST_MAIN(cmocka_unit_test(reads_stat), cmocka_unit_test(believes_only_the_process_that_wrote_the_file),
	  cmocka_unit_test(a_pid_file_is_a_file), cmocka_unit_test(reads_ourselves),
	  cmocka_unit_test(knows_who_is_ending))
