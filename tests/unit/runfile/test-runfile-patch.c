/* SPDX-License-Identifier: Apache-2.0
 *
 * GNU patch, where installed, is the judge for what it understands too; what it refuses or garbles (NUL in a hunk
 * header's text) is judged by the expected bytes. */
#include "testlib.h"

#include "manifest.h"
#include "patch.h"
#include "strbuf.h"

#include <sys/wait.h>
#include <unistd.h>

struct bytes {
	const char *p;
	size_t len;
};
#define B(s)                                                                                                 \
	{                                                                                                    \
		s, sizeof(s) - 1                                                                             \
	}

static int apply(const struct testdir *t, struct bytes patch, const struct patch_options *o,
		 struct patch_report **ret, struct err *e)
{
	struct patch *p = NULL;
	int r = patch_parse((struct span){ patch.p, patch.len }, "dir/test.patch", &p, e);

	if (r == 0)
		r = patch_apply_tree(t->fd, &p, 1, o, ret, e);
	patch_freep(&p);
	return r;
}

static const struct patch_options standard = { .strip = PATCH_STRIP_AUTO };

static const char ten[] = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";

/* What `patch -p0 -F0` makes of the same file; NULL when it refuses. */
static char *judge(struct bytes patch, struct bytes file, size_t *ret_len)
{
	struct testdir t;
	char *got = NULL;
	int status;
	pid_t pid;

	testdir_make(&t);
	testdir_write(&t, "f", file.p, file.len, 0644);
	testdir_write(&t, "p", patch.p, patch.len, 0644);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (chdir(t.path) == 0 && dup2(null, 1) >= 0 && dup2(null, 2) >= 0)
			execlp("patch", "patch", "-p0", "-F0", "-s", "-f", "-i", "p", (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		got = testdir_read(&t, "f", ret_len);
	testdir_done(&t);
	return got;
}

static bool have_judge(void)
{
	return access("/usr/bin/patch", X_OK) == 0;
}

static const struct {
	const char *name;
	struct bytes file, patch, want;
	bool judged;
} good[] = {
	{ "exact", B("1\n2\n3\n4\n"), B("--- ./f\n+++ ./f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n"),
	  B("1\ntwo\n3\n4\n"), true },
	{ "offset", B("x\ny\n1\n2\n3\n4\n"), B("--- f\n+++ f\n@@ -1,3 +1,2 @@\n 1\n-2\n 3\n"),
	  B("x\ny\n1\n3\n4\n"), true },
	{ "two hunks", B("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"),
	  B("--- f\n+++ f\n@@ -1,3 +1,4 @@\n 1\n+1b\n 2\n 3\n@@ -8,3 +9,3 @@\n 8\n-9\n+nine\n 10\n"),
	  B("1\n1b\n2\n3\n4\n5\n6\n7\n8\nnine\n10\n"), true },
	{ "no line end before and after", B("1\n2"),
	  B("--- f\n+++ f\n@@ -1,2 +1,2 @@\n 1\n-2\n\\ No newline at end of file\n+zwei\n\\ No newline at "
	    "end of file\n"),
	  B("1\nzwei"), true },
	{ "line end added", B("1\n2"),
	  B("--- f\n+++ f\n@@ -1,2 +1,2 @@\n 1\n-2\n\\ No newline at end of file\n+2\n"), B("1\n2\n"), true },
	{ "append", B("1\n2\n3\n"), B("--- f\n+++ f\n@@ -3,0 +4,2 @@\n+4\n+5\n"), B("1\n2\n3\n4\n5\n"),
	  true },
	{ "text before, time stamps, CR", B("a\r\nb\r\n"),
	  B("Subject: x\n-- \n\n--- f\t2020-01-01 00:00:00\n+++ f\t2020-01-01 00:00:01\n@@ -1,2 +1,2 @@\n "
	    "a\r\n-b\r\n+c\r\n"),
	  B("a\r\nc\r\n"), false },
	{ "NUL in lines", B("ELF\0a\n\x1b\0b\nc\0\n"),
	  B("--- ./f\n+++ ./f\n@@ -1,3 +1,3 @@\n ELF\0a\n-\x1b\0b\n+\x1b\1b\n c\0\n"),
	  B("ELF\0a\n\x1b\1b\nc\0\n"), true },
	{ "NUL after the second @@", B("ELF\0a\n\x1b\0b\nc\0\n"),
	  B("--- ./f\n+++ ./f\n@@ -1,3 +1,3 @@ x\0y\xff\n ELF\0a\n-\x1b\0b\n+\x1b\1b\n c\0\n"),
	  B("ELF\0a\n\x1b\1b\nc\0\n"), false },
	{ "git names", B("1\n2\n3\n"),
	  B("diff --git a/f b/f\nindex 1..2 100644\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n 1\n-2\n+b\n 3\n"),
	  B("1\nb\n3\n"), false },
};

static void test_good(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_free_ char *got = NULL, *judged = NULL;
		struct err e = ERR_INIT;
		struct testdir t;
		size_t len, judged_len;

		testdir_make(&t);
		testdir_write(&t, "f", good[i].file.p, good[i].file.len, 0755);
		assert_ok(apply(&t, good[i].patch, &standard, NULL, &e), &e);
		got = testdir_read(&t, "f", &len);
		assert_int_equal(len, good[i].want.len);
		assert_memory_equal(got, good[i].want.p, len);
		if (good[i].judged && have_judge()) {
			judged = judge(good[i].patch, good[i].file, &judged_len);
			assert_non_null(judged);
			assert_int_equal(judged_len, len);
			assert_memory_equal(judged, got, len);
		}
		testdir_done(&t);
	}
}

static const struct {
	const char *name;
	struct bytes patch;
	const char *slug;
} refused[] = {
	{ "wrong context", B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n x\n"), "patch-hunk-failed" },
	{ "second of two fails",
	  B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n@@ -8,3 +8,3 @@\n 8\n-x\n+y\n 10\n"),
	  "patch-hunk-failed" },
	{ "second file fails",
	  B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n--- g\n+++ g\n@@ -1 +1 @@\n-x\n+y\n"),
	  "patch-hunk-failed" },
	{ "applied", B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n-zwei\n+2\n 3\n"), "patch-already-applied" },
	{ "escape", B("--- ../f\n+++ ../f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n"), "path-escapes-root" },
	{ "absolute", B("--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+two\n"), "path-escapes-root" },
	{ "exists", B("--- /dev/null\n+++ f\n@@ -0,0 +1 @@\n+two\n"), "patch-hunk-failed" },
	{ "leftover", B("--- f\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-1\n-2\n"), "patch-hunk-failed" },
	{ "set-id",
	  B("diff --git a/n b/n\nnew file mode 104755\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n"),
	  "patch-invalid" },
	{ "symlink",
	  B("diff --git a/n b/n\nnew file mode 120000\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n"),
	  "patch-invalid" },
	{ "through a link", B("--- d/f\n+++ d/f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n"), "path-escapes-root" },
	{ "rename", B("diff --git a/f b/f\nsimilarity index 100%\nrename from f\nrename to g\n"),
	  "patch-invalid" },
	{ "no diff", B("hello\n"), "patch-invalid" },
	{ "empty", B(""), "patch-invalid" },
	{ "cut hunk", B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n-2\n"), "patch-invalid" },
	{ "bad line", B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n*2\n"), "patch-invalid" },
	{ "too many", B("--- f\n+++ f\n@@ -1,1 +1,2 @@\n 1\n-2\n"), "patch-invalid" },
	{ "bad numbers", B("--- f\n+++ f\n@@ -1,99999999999 +1,2 @@\n 1\n-2\n"), "patch-invalid" },
	{ "hunk without a file", B("@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n"), "patch-invalid" },
	{ "quoted", B("--- \"f\"\n+++ \"f\"\n@@ -1 +1 @@\n-1\n+2\n"), "patch-invalid" },
};

static void test_refused(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		_cleanup_free_ char *before = NULL, *after = NULL;
		struct err e = ERR_INIT;
		struct testdir t;

		testdir_make(&t);
		testdir_puts(&t, "f", ten);
		testdir_puts(&t, "g", "other\n");
		testdir_puts(&t, "real/f", ten);
		assert_int_equal(symlinkat("real", t.fd, "d"), 0);
		before = testdir_snapshot(&t);
		if (apply(&t, refused[i].patch, &standard, NULL, &e) >= 0)
			fail_msg("%s: accepted", refused[i].name);
		if (strcmp(err_slug(e.code), refused[i].slug) != 0)
			fail_msg("%s: %s (%s)", refused[i].name, err_slug(e.code), e.reason);
		after = testdir_snapshot(&t);
		assert_string_equal(before, after);
		err_done(&e);
		testdir_done(&t);
	}
}

/* The failing line is named with both contents, escaped. */
static void test_message(void **state _unused_)
{
	static const struct bytes patch = B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n \x1b!\n");
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, "f", ten);
	assert_true(apply(&t, patch, &standard, NULL, &e) < 0);
	assert_non_null(strstr(e.reason, "line 3 should be \"\\x1b!\" but is \"3\""));
	assert_non_null(strstr(e.reason, "hunk 1 (dir/test.patch line 3)"));
	err_done(&e);
	testdir_done(&t);
}

static void test_binary_has_no_offset(void **state _unused_)
{
	static const struct bytes patch = B("--- f\n+++ f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n");
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	testdir_write(&t, "f", "\0\n1\n2\n3\n", 8, 0644);
	assert_true(apply(&t, patch, &standard, NULL, &e) < 0);
	assert_slug(&e, "patch-hunk-failed");
	err_done(&e);
	testdir_done(&t);
}

static void test_fuzz(void **state _unused_)
{
	static const struct bytes patch =
	    B("--- f\n+++ f\n@@ -1,5 +1,5 @@\n other\n 2\n-3\n+three\n 4\n other\n");
	struct patch_options o = { .strip = PATCH_STRIP_AUTO, .fuzz = 1 };
	_cleanup_(patch_report_freep) struct patch_report *report = NULL;
	_cleanup_free_ char *got = NULL;
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, "f", ten);
	assert_ok(apply(&t, patch, &o, &report, &e), &e);
	assert_int_equal(report->hunks[0].fuzz, 1);
	got = testdir_read(&t, "f", NULL);
	assert_string_equal(got, "1\n2\nthree\n4\n5\n6\n7\n8\n9\n10\n");
	testdir_done(&t);
}

static const char package_manifest[] =
    "d\n1.2.3\n \nnvidia \n \n \n./kernel/\n./kernel/precompiled/\n"
    "./kernel/old.c   0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n"
    "kernel/nv.c 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n";

static void test_package(void **state _unused_)
{
	static const struct bytes patch =
	    B("--- a/kernel/old.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n"
	      "--- /dev/null\n+++ b/kernel/sub/new.c\n@@ -0,0 +1,2 @@\n+new\n+file\n");
	struct patch_options o = { .strip = PATCH_STRIP_AUTO, .package = true };
	_cleanup_free_ char *text = NULL, *created = NULL;
	struct manifest *m = NULL;
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, ".manifest", package_manifest);
	testdir_puts(&t, "kernel/old.c", "old\n");
	testdir_puts(&t, "kernel/nv.c", ten);
	testdir_puts(&t, "kernel/precompiled/x", "stale");
	assert_ok(apply(&t, patch, &o, NULL, &e), &e);
	assert_false(testdir_has(&t, "kernel/old.c"));
	assert_false(testdir_has(&t, "kernel/precompiled"));
	created = testdir_read(&t, "kernel/sub/new.c", NULL);
	assert_string_equal(created, "new\nfile\n");
	text = testdir_read(&t, ".manifest", NULL);
	assert_ok(manifest_parse(SPAN(text), 0, &m, &e), &e);
	assert_int_equal(m->n_entries, 2);
	assert_null(manifest_find(m, "kernel/old.c"));
	assert_non_null(manifest_find(m, "kernel/sub/new.c"));
	manifest_freep(&m);
	testdir_done(&t);
}

/* A later patch sees what an earlier one made, and all fail together. */
static void test_several(void **state _unused_)
{
	static const char one[] = "--- f\n+++ f\n@@ -1 +1 @@\n-1\n+one\n",
			  two[] = "--- f\n+++ f\n@@ -1 +1 @@\n-one\n+uno\n";
	struct patch *v[2] = { NULL, NULL };
	_cleanup_free_ char *got = NULL;
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, "f", ten);
	assert_ok(patch_parse(SPAN(one), "one", &v[0], &e), &e);
	assert_ok(patch_parse(SPAN(two), "two", &v[1], &e), &e);
	assert_ok(patch_apply_tree(t.fd, v, 2, &standard, NULL, &e), &e);
	got = testdir_read(&t, "f", NULL);
	assert_memory_equal(got, "uno\n2\n", 6);
	patch_freep(&v[0]);
	patch_freep(&v[1]);
	testdir_done(&t);
}

TEST_MAIN(cmocka_unit_test(test_good), cmocka_unit_test(test_refused), cmocka_unit_test(test_message),
	  cmocka_unit_test(test_binary_has_no_offset), cmocka_unit_test(test_fuzz),
	  cmocka_unit_test(test_package), cmocka_unit_test(test_several))
