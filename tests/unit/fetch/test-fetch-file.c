/* SPDX-License-Identifier: Apache-2.0 */
#include "fetchbed.h"

#include <sys/wait.h>
#include <unistd.h>

static const char page[] = "<!DOCTYPE html><html><body>please log in to download</body></html>";
static const char json_error[] = "{\"error\": \"not today, come back later\"}";

/* -- good -- */

static void test_fetch_and_present(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .body = package, .len = SIZE, .tag = "v1" } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	ok(&b);
	assert_int_equal(b.got.action, FETCH_DOWNLOADED);
	assert_int_equal(b.got.trust, FETCH_RECORDED);
	assert_int_equal(b.got.size_bytes, SIZE);
	assert_string_equal(b.got.sha256, package_sha256);
	assert_package(&b, "a.run");
	/* Again, and with the digest now known: no request. */
	b.q.sha256 = package_sha256;
	ok(&b);
	assert_int_equal(b.got.action, FETCH_PRESENT);
	assert_int_equal(b.got.trust, FETCH_PINNED);
	b.q.offline = true;
	ok(&b);
	assert_int_equal(p[0].requests, 1);
	bed_down(&b);
}

static void test_resume_after_cut(void **state)
{
	static const unsigned faults[] = { HTTPD_CUT, HTTPD_RESET, HTTPD_STALL };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct httpd_path p[] = { { .path = "/a.run",
					    .body = package,
					    .len = SIZE,
					    .faults = faults[i],
					    .cut_bytes = 90000,
					    .fail_first = 1,
					    .stall_ms = 2500,
					    .tag = "v1" } };
		struct bed b;

		bed_up(&b, p, 1);
		ok(&b);
		assert_package(&b, "a.run");
		assert_int_equal(b.got.action, FETCH_RESUMED);
		assert_int_equal(p[0].requests, 2);
		assert_int_equal(p[0].ranged, 1);
		assert_int_equal(p[0].last_offset, 90000);
		bed_down(&b);
	}
}

/* The part outlives the run that began it. */
static void test_resume_in_next_run(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run",
				    .body = package,
				    .len = SIZE,
				    .faults = HTTPD_CUT,
				    .cut_bytes = 50000,
				    .fail_first = 1,
				    .tag = "v1" } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	b.q.attempts = 1;
	fails(&b, "fetch-failed");
	assert_true(testdir_has(&b.dir, "a.run.part"));
	assert_true(testdir_has(&b.dir, "a.run.part.meta"));
	assert_false(testdir_has(&b.dir, "a.run"));
	ok(&b);
	assert_int_equal(b.got.action, FETCH_RESUMED);
	assert_int_equal(p[0].last_offset, 50000);
	assert_package(&b, "a.run");
	bed_down(&b);
}

/* Another file under the same address: what had arrived must not be mixed into it. */
static void test_changed_validator_starts_over(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run",
				    .body = package,
				    .len = SIZE,
				    .tag = "v",
				    .faults = HTTPD_CUT | HTTPD_NEW_TAG,
				    .cut_bytes = 90000,
				    .fail_first = 1 } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	ok(&b);
	assert_package(&b, "a.run");
	assert_int_equal(b.got.action, FETCH_DOWNLOADED);
	bed_down(&b);
}

static void test_server_ignores_range(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run",
				    .body = package,
				    .len = SIZE,
				    .tag = "v",
				    .faults = HTTPD_CUT | HTTPD_IGNORE_RANGE,
				    .cut_bytes = 90000,
				    .fail_first = 1 } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	ok(&b);
	assert_package(&b, "a.run");
	bed_down(&b);
}

/* No validator and no digest: there is no way to know, so nothing is continued. */
static void test_no_validator_no_resume(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run",
				    .body = package,
				    .len = SIZE,
				    .faults = HTTPD_CUT,
				    .cut_bytes = 90000,
				    .fail_first = 1 } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	ok(&b);
	assert_int_equal(p[0].ranged, 0);
	assert_package(&b, "a.run");
	bed_down(&b);
}

/* Old bytes in front of new ones: the digest tells, and one fresh start repairs it. */
static void test_stale_part_is_dropped(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .body = package, .len = SIZE } };
	char old[1000] = "#! /bin/sh\n";
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	testdir_write(&b.dir, "a.run.part", old, sizeof(old), 0644);
	b.q.sha256 = package_sha256;
	ok(&b);
	assert_int_equal(p[0].requests, 2);
	assert_package(&b, "a.run");
	bed_down(&b);
}

static void test_complete_part_needs_no_bytes(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .body = package, .len = SIZE } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	testdir_write(&b.dir, "a.run.part", package, SIZE, 0644);
	b.q.sha256 = package_sha256;
	ok(&b);
	assert_int_equal(b.got.received_bytes, 0);
	assert_package(&b, "a.run");
	bed_down(&b);
}

static void test_retry_and_mirror(void **state)
{
	struct httpd_path p[] = {
		{ .path = "/a.run",
		  .body = package,
		  .len = SIZE,
		  .faults = HTTPD_STATUS,
		  .status = 503,
		  .fail_first = 2 },
		{ .path = "/gone/a.run", .faults = HTTPD_STATUS, .status = 404, .body = "", .len = 0 },
		{ .path = "/page/a.run", .body = page, .len = sizeof(page) - 1 },
		{ .path = "/good/a.run", .body = package, .len = SIZE },
	};
	char url[3][256];
	char *mirrors[] = { httpd_url(&(struct httpd){ 0 }, "", url[0], 256) ? url[0] : NULL, url[1], NULL };
	struct bed b;

	(void)state;
	bed_up(&b, p, 4);
	ok(&b);
	assert_int_equal(p[0].requests, 3);
	bed_down(&b);

	bed_up(&b, p, 4);
	httpd_url(&b.httpd, "/gone/a.run", b.url, sizeof(b.url));
	httpd_url(&b.httpd, "/page/", url[0], sizeof(url[0]));
	httpd_url(&b.httpd, "/good/", url[1], sizeof(url[1]));
	b.q.mirrors = mirrors;
	ok(&b);
	assert_package(&b, "a.run");
	assert_non_null(strstr(b.got.url, "/good/a.run"));
	assert_int_equal(p[1].requests, 1);
	bed_down(&b);
}

static void test_side_car(void **state)
{
	char sums[128], wrong[128];
	struct httpd_path p[] = { { .path = "/a.run", .body = package, .len = SIZE },
				  { .path = "/a.run.sha256sum", .body = sums } };
	struct bed b;

	(void)state;
	p[1].len = (size_t)snprintf(sums, sizeof(sums), "%s  a.run\n", package_sha256);
	bed_up(&b, p, 2);
	b.q.use_side_car = true;
	ok(&b);
	assert_int_equal(b.got.trust, FETCH_PUBLISHED);
	bed_down(&b);

	snprintf(wrong, sizeof(wrong), "%064d  a.run\n", 7);
	p[1].body = wrong;
	bed_up(&b, p, 2);
	b.q.use_side_car = true;
	fails(&b, "fetch-digest-mismatch");
	assert_nothing(&b);
	bed_down(&b);
}

static void test_present_and_wrong_is_kept(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .body = package, .len = SIZE } };
	struct bed b;
	char *old;

	(void)state;
	bed_up(&b, p, 1);
	testdir_puts(&b.dir, "a.run", "#! /bin/sh\nold\n");
	testdir_puts(&b.dir, "a.run.bak.1", "older");
	b.q.sha256 = package_sha256;
	b.q.dry_run = true;
	ok(&b);
	assert_int_equal(b.got.action, FETCH_REPLACED);
	assert_int_equal(p[0].requests, 0);
	b.q.dry_run = false;
	ok(&b);
	assert_int_equal(b.got.action, FETCH_REPLACED);
	assert_string_equal(b.got.backup, "a.run.bak.2");
	old = testdir_read(&b.dir, "a.run.bak.2", NULL);
	assert_string_equal(old, "#! /bin/sh\nold\n");
	free(old);
	assert_package(&b, "a.run");
	bed_down(&b);
}

static void test_wrong_file_stays_when_fetching_fails(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .faults = HTTPD_STATUS, .status = 404, .body = "" } };
	struct bed b;
	char *old;

	(void)state;
	bed_up(&b, p, 1);
	testdir_puts(&b.dir, "a.run", "#! /bin/sh\nold\n");
	b.q.sha256 = package_sha256;
	fails(&b, "fetch-failed");
	old = testdir_read(&b.dir, "a.run", NULL);
	assert_string_equal(old, "#! /bin/sh\nold\n");
	free(old);
	assert_false(testdir_has(&b.dir, "a.run.bak.1"));
	bed_down(&b);
}

static void test_file_url(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run" } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	testdir_write(&b.dir, "from/a.run", package, SIZE, 0644);
	snprintf(b.url, sizeof(b.url), "file://%s/from/a.run", b.dir.path);
	b.q.offline = true;
	ok(&b);
	assert_package(&b, "a.run");
	bed_down(&b);
}

/* -- bad -- */

static void test_refused(void **state)
{
	static const char zeros[65] = "0000000000000000000000000000000000000000000000000000000000000000";
	const struct {
		struct httpd_path p;
		const char *sha256, *md5, *slug;
		uint64_t size;
		bool offline;
	} cases[] = {
		{ { .body = page, .len = sizeof(page) - 1 }, NULL, NULL, "fetch-content-wrong", 0, false },
		{ { .body = json_error, .len = sizeof(json_error) - 1 },
		  NULL,
		  NULL,
		  "fetch-content-wrong",
		  0,
		  false },
		{ { .body = "#! /bi", .len = 6 }, NULL, NULL, "fetch-content-wrong", 0, false },
		{ { .body = "", .len = 0 }, NULL, NULL, "fetch-content-wrong", 0, false },
		{ { .body = package, .len = SIZE }, zeros, NULL, "fetch-digest-mismatch", 0, false },
		{ { .body = package, .len = SIZE },
		  NULL,
		  "00000000000000000000000000000000",
		  "fetch-digest-mismatch",
		  0,
		  false },
		{ { .body = package, .len = SIZE }, NULL, NULL, "fetch-size-mismatch", SIZE + 1, false },
		{ { .body = package, .len = SIZE, .faults = HTTPD_LIE_SHORT, .cut_bytes = 100 },
		  NULL,
		  NULL,
		  "fetch-size-mismatch",
		  SIZE,
		  false },
		{ { .body = package, .len = SIZE, .faults = HTTPD_STATUS, .status = 404 },
		  NULL,
		  NULL,
		  "fetch-failed",
		  0,
		  false },
		{ { .body = package, .len = SIZE, .faults = HTTPD_STATUS, .status = 503 },
		  NULL,
		  NULL,
		  "fetch-failed",
		  0,
		  false },
		{ { .body = package, .len = SIZE, .faults = HTTPD_REDIRECT_FILE },
		  NULL,
		  NULL,
		  "fetch-failed",
		  0,
		  false },
		{ { .body = package, .len = SIZE }, NULL, NULL, "network-refused-offline", 0, true },
		{ { .body = package, .len = SIZE }, "12", NULL, "usage", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct httpd_path p[] = { cases[i].p };
		struct bed b;

		p[0].path = "/a.run";
		bed_up(&b, p, 1);
		b.q.sha256 = cases[i].sha256;
		b.q.md5 = cases[i].md5;
		b.q.size_bytes = cases[i].size;
		b.q.offline = cases[i].offline;
		fails(&b, cases[i].slug);
		if (cases[i].offline) {
			assert_int_equal(p[0].requests, 0);
			assert_non_null(strstr(b.e.reason, b.url));
		}
		assert_nothing(&b);
		bed_down(&b);
	}
}

/* A length the bytes never reach is an interruption, not an end. */
static void test_announced_but_never_sent(void **state)
{
	struct httpd_path p[] = {
		{ .path = "/a.run", .body = package, .len = SIZE, .faults = HTTPD_LIE_LONG }
	};
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	fails(&b, "fetch-failed");
	assert_false(testdir_has(&b.dir, "a.run"));
	bed_down(&b);
}

static void test_wrong_range_is_not_believed(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run",
				    .body = package,
				    .len = SIZE,
				    .tag = "v",
				    .faults = HTTPD_CUT | HTTPD_WRONG_RANGE,
				    .cut_bytes = 90000,
				    .fail_first = 1 } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	fails(&b, "fetch-failed");
	assert_false(testdir_has(&b.dir, "a.run"));
	bed_down(&b);
}

static void test_total_time_limit(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .body = package, .len = SIZE, .delay_ms = 1600 } };
	struct bed b;

	(void)state;
	bed_up(&b, p, 1);
	b.q.attempts = 1;
	b.q.total_timeout_s = 1;
	fails(&b, "fetch-failed");
	usleep(800000); /* the server's thread ends before its table does */
	bed_down(&b);
}

static void test_bad_urls(void **state)
{
	static const char *const urls[] = { "ftp://x/a.run",   "http:///a.run",	 "http://u:p@h/a.run",
					    "http://h/a b",    "http://h/",	 "http://h/..",
					    "http://h/%2e%2e", "http://h/a%2fb", "http://h/%00",
					    "/a.run",	       "http://h/a\x01" };
	struct testdir d;

	(void)state;
	testdir_make(&d);
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		struct fetch_request q = { .url = urls[i], .dirfd = d.fd };
		struct err e = ERR_INIT;

		assert_true(fetch_file(&q, NULL, &e) < 0);
		assert_slug(&e, "fetch-url-invalid");
		err_done(&e);
	}
	testdir_done(&d);
}

/* -- two at once -- */

static void test_two_processes_fetch_once(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .body = package, .len = SIZE, .delay_ms = 300 } };
	struct bed b;
	int status;
	pid_t pid;

	(void)state;
	bed_up(&b, p, 1);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fetch_file(&b.q, NULL, NULL) < 0 ? 1 : 0);
	ok(&b);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(p[0].requests, 1);
	assert_package(&b, "a.run");
	bed_down(&b);
}

static void test_no_descriptor_is_left(void **state)
{
	struct httpd_path p[] = { { .path = "/a.run", .body = page, .len = sizeof(page) - 1 } };
	struct bed b;
	int before;

	(void)state;
	bed_up(&b, p, 1);
	fails(&b, "fetch-content-wrong");
	usleep(50000);
	before = testdir_open_fds();
	for (int i = 0; i < 5; i++)
		fails(&b, "fetch-content-wrong");
	usleep(50000);
	assert_int_equal(testdir_open_fds(), before);
	bed_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetch_and_present),
		cmocka_unit_test(test_resume_after_cut),
		cmocka_unit_test(test_resume_in_next_run),
		cmocka_unit_test(test_changed_validator_starts_over),
		cmocka_unit_test(test_server_ignores_range),
		cmocka_unit_test(test_no_validator_no_resume),
		cmocka_unit_test(test_stale_part_is_dropped),
		cmocka_unit_test(test_complete_part_needs_no_bytes),
		cmocka_unit_test(test_retry_and_mirror),
		cmocka_unit_test(test_side_car),
		cmocka_unit_test(test_present_and_wrong_is_kept),
		cmocka_unit_test(test_wrong_file_stays_when_fetching_fails),
		cmocka_unit_test(test_file_url),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_announced_but_never_sent),
		cmocka_unit_test(test_wrong_range_is_not_believed),
		cmocka_unit_test(test_total_time_limit),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_two_processes_fetch_once),
		cmocka_unit_test(test_no_descriptor_is_left),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_package, NULL);
}
