/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands in plans, two plans at once, and journals that cannot be taken back: they hold up their own target and
 * nobody else's. */
#include "testlib.h"

#include "fd.h"
#include "plan.h"
#include "tree.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define STUCK_ID "00112233445566ff"

struct bed {
	struct testdir t;
	struct host *host;
	struct plan_state st;
	int fds;
};

static void bed_make(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *root = NULL;

	testdir_make(&b->t);
	assert_ok(op_type_register(&op_files), &e);
	assert_ok(op_type_register(&op_edit), &e);
	assert_ok(op_type_register(&op_command), &e);
	testdir_puts(&b->t, "root/etc/conf", "a\n");
	assert_int_equal(mkdirat(b->t.fd, "journal", 0700), 0);
	assert_int_equal(mkdirat(b->t.fd, "targets", 0755), 0);
	b->fds = testdir_open_fds();
	b->st.journal_fd = dir_open_at(b->t.fd, "journal");
	b->st.targets_fd = dir_open_at(b->t.fd, "targets");
	assert_true(asprintf(&root, "%s/root", b->t.path) > 0);
	assert_ok(host_open(root, &b->host, &e), &e);
}

static void bed_done(struct bed *b)
{
	host_freep(&b->host);
	close_fdp(&b->st.journal_fd);
	close_fdp(&b->st.targets_fd);
	assert_int_equal(testdir_open_fds(), b->fds);
	testdir_done(&b->t);
}

static struct plan *plan_make(const char *target)
{
	struct plan *p = NULL;

	assert_int_equal(plan_new("a plan", target, &p), 0);
	return p;
}

static void add_edit(struct plan *p, const char *path, const char *old, const char *new)
{
	assert_int_equal(
	    plan_add_edit(p, path, old, old ? strlen(old) : 0, new, strlen(new), 0644, "change a file"), 0);
}

/* touch NAME forwards, rm NAME backwards, below the test's directory. */
static void add_command(struct bed *b, struct plan *p, const char *program, bool tolerate)
{
	_cleanup_free_ char *file = NULL;
	json_t *args;

	assert_true(asprintf(&file, "%s/made", b->t.path) > 0);
	args = json_pack("{s:[s,s], s:[s,s], s:b, s:s}", "argv", program, file, "undo_argv", "rm", file,
			 "tolerate", (int)tolerate, "what", "the command");
	assert_non_null(args);
	assert_int_equal(plan_add(p, &op_command, args, "run the command"), 0);
}

static int apply(struct bed *b, struct plan *p, struct err *e)
{
	return plan_apply(p, &b->st, b->host, 0, NULL, e);
}

static bool journal_is_empty(struct bed *b)
{
	struct stat st;

	assert_int_equal(fstatat(b->t.fd, "journal", &st, 0), 0);
	return st.st_nlink == 2;
}

static void command_runs_and_is_taken_back(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("host");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_make(&b);
	add_edit(p, "etc/conf", "a\n", "b\n");
	add_command(&b, p, "touch", false);
	assert_int_equal(apply(&b, p, &e), 1);
	assert_true(testdir_has(&b.t, "made"));
	assert_ok(plan_undo(&b.st, "host", NULL, false, false, NULL, &e), &e);
	assert_false(testdir_has(&b.t, "made"));
	bed_done(&b);
}

/* With everything else done already there is no reason for the command either. */
static void command_serves_the_rest(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("host");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_make(&b);
	add_edit(p, "etc/conf", "a\n", "a\n");
	add_command(&b, p, "touch", false);
	assert_int_equal(apply(&b, p, &e), 0);
	assert_false(testdir_has(&b.t, "made"));
	bed_done(&b);
}

static void failing_command_takes_all_back(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("host");
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	struct bed b;

	bed_make(&b);
	add_edit(p, "etc/conf", "a\n", "b\n");
	add_command(&b, p, "false", false);
	assert_true(apply(&b, p, &e) < 0);
	assert_slug(&e, "tool-failed");
	text = testdir_read(&b.t, "root/etc/conf", NULL);
	assert_string_equal(text, "a\n");
	assert_true(journal_is_empty(&b));
	bed_done(&b);
}

static void tolerated_command_may_fail(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("host");
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	struct bed b;

	bed_make(&b);
	add_edit(p, "etc/conf", "a\n", "b\n");
	add_command(&b, p, "false", true);
	assert_int_equal(apply(&b, p, &e), 1);
	text = testdir_read(&b.t, "root/etc/conf", NULL);
	assert_string_equal(text, "b\n");
	/* Its undo command fails as well, and the rest comes back all the same. */
	assert_ok(plan_undo(&b.st, "host", NULL, false, false, NULL, &e), &e);
	free(text);
	text = testdir_read(&b.t, "root/etc/conf", NULL);
	assert_string_equal(text, "a\n");
	bed_done(&b);
}

static void command_without_words_is_refused(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("host");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_make(&b);
	assert_int_equal(
	    plan_add(p, &op_command, json_pack("{s:[], s:s}", "argv", "what", "nothing"), "nothing"), 0);
	assert_true(apply(&b, p, &e) < 0);
	assert_true(journal_is_empty(&b));
	bed_done(&b);
}

/* A second run on the target while the first is in its command: refused, and neither disturbs the other. */
static void second_plan_is_locked_out(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("host"), *other = plan_make("elsewhere");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;
	pid_t pid;
	int status;

	bed_make(&b);
	add_edit(p, "etc/second", NULL, "x\n");
	add_edit(other, "etc/third", NULL, "x\n");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct plan *slow = plan_make("host");
		json_t *args = json_pack("{s:[s,s], s:s}", "argv", "sleep", "1", "what", "the slow command");

		add_edit(slow, "etc/first", NULL, "x\n");
		if (!args || plan_add(slow, &op_command, args, "wait") < 0)
			_exit(2);
		_exit(apply(&b, slow, &e) == 1 ? 0 : 1);
	}
	while (!testdir_has(&b.t, "root/etc/first"))
		usleep(10000);
	assert_true(apply(&b, p, &e) < 0);
	assert_slug(&e, "lock-held");
	assert_false(testdir_has(&b.t, "root/etc/second"));
	/* Recover leaves the living alone; another target is free. */
	assert_int_equal(plan_recover(&b.st, &e), 0);
	assert_int_equal(apply(&b, other, &e), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(testdir_has(&b.t, "root/etc/first"));
	assert_int_equal(plan_apply(p, &b.st, b.host, 5, NULL, &e), 1);
	bed_done(&b);
}

/* What a run killed at once leaves: a plan and a log, nobody alive. */
static void leave_journal(struct bed *b, const char *plan_text)
{
	testdir_puts(&b->t, "journal/" STUCK_ID "/plan.json", plan_text);
	testdir_puts(&b->t, "journal/" STUCK_ID "/log", "begin 0\n");
}

static void assert_others_go_on(struct bed *b)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("elsewhere");
	_cleanup_(err_done) struct err e = ERR_INIT;

	add_edit(p, "etc/conf", "a\n", "b\n");
	assert_int_equal(apply(b, p, &e), 1);
	assert_ok(plan_undo(&b->st, "elsewhere", NULL, false, false, NULL, &e), &e);
	assert_int_equal(plan_recover(&b->st, &e), 0);
	assert_true(testdir_has(&b->t, "journal/" STUCK_ID "/plan.json"));
}

static void gone_root_holds_up_its_own_target(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("gone");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_make(&b);
	leave_journal(
	    &b, "{\"title\":\"into a root that is gone\",\"target\":\"gone\",\"meta\":{},\"operations\":[],"
		"\"root\":\"/nonexistent/root\",\"sequence\":1}\n");
	testdir_puts(&b.t, "journal/" STUCK_ID "/log", "target gone\n");
	assert_others_go_on(&b);
	add_edit(p, "etc/conf", "a\n", "b\n");
	assert_true(apply(&b, p, &e) < 0);
	assert_slug(&e, "journal-stuck");
	/* Which journal, what is missing, and what to do. */
	assert_non_null(strstr(e.reason, STUCK_ID));
	assert_non_null(strstr(e.reason, "/nonexistent/root"));
	assert_non_null(e.next);
	assert_non_null(strstr(e.next, STUCK_ID));
	bed_done(&b);
}

/* Its log still says whose it is. */
static void damaged_plan_holds_up_its_own_target(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = plan_make("host");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_make(&b);
	leave_journal(&b, "{");
	testdir_puts(&b.t, "journal/" STUCK_ID "/log", "target host\nbegin 0\n");
	assert_others_go_on(&b);
	add_edit(p, "etc/conf", "a\n", "b\n");
	assert_true(apply(&b, p, &e) < 0);
	assert_slug(&e, "journal-stuck");
	bed_done(&b);
}

static void damaged_plan_holds_up_nobody(void **state _unused_)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"title\":\"x\",\"target\":\"../up\",\"meta\":{},\"operations\":[]}",
		"{\"title\":\"x\",\"target\":\"host\",\"meta\":{},\"operations\":[{\"type\":\"no-such\"}]}",
	};
	struct bed b;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		bed_make(&b);
		leave_journal(&b, texts[i]);
		assert_others_go_on(&b);
		bed_done(&b);
	}
}

TEST_MAIN(cmocka_unit_test(command_runs_and_is_taken_back), cmocka_unit_test(command_serves_the_rest),
	  cmocka_unit_test(failing_command_takes_all_back), cmocka_unit_test(tolerated_command_may_fail),
	  cmocka_unit_test(command_without_words_is_refused), cmocka_unit_test(second_plan_is_locked_out),
	  cmocka_unit_test(gone_root_holds_up_its_own_target),
	  cmocka_unit_test(damaged_plan_holds_up_its_own_target),
	  cmocka_unit_test(damaged_plan_holds_up_nobody))
