/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "digest.h"
#include "httpd.h"
#include "jutil.h"
#include "lxc-cachedir.h"
#include "mkrunfile.h"
#include "strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILLING ((size_t)2 << 20)
static char *run_bytes; /* a run file of the version its name says */
static size_t run_len;
static char run_name[128], run_path[160], run_version[64], run_sha256[65];

/* A driver package large enough to be believed. */
static int make_run(void **state)
{
	struct strbuf tar = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_(runfile_header_freep) struct runfile_header *h = NULL;
	char *filling = calloc(1, FILLING);
	uint8_t sum[32];

	(void)state;
	mktar_minimal(&tar);
	run_bytes =
	    mkrun_make(&tar, &(struct mkrun){ .trailing = filling, .trailing_len = FILLING }, &run_len);
	/* The maker's version is too short for a driver's; the sums are not looked at here. */
	for (char *at = run_bytes; (at = memmem(at, (size_t)(run_bytes + 65536 - at), "1.2.3", 5));)
		memcpy(at, "123.4", 5);
	assert_int_equal(runfile_header_parse((struct span){ run_bytes, 4096 }, &h, NULL), 0);
	(void)snprintf(run_version, sizeof(run_version), "%s", h->version);
	(void)snprintf(run_name, sizeof(run_name), "NVIDIA-Linux-x86_64-%s.run", h->version);
	(void)snprintf(run_path, sizeof(run_path), "/%s", run_name);
	sha256_bytes(run_bytes, run_len, sum);
	hex_encode(sum, 32, run_sha256);
	free(filling);
	strbuf_done(&tar);
	return 0;
}

static int drop_run(void **state)
{
	(void)state;
	free(run_bytes);
	return 0;
}

struct bed {
	struct testdir dir;
	struct cachedir cache;
	struct httpd httpd;
	bool has_httpd;
	char url[512];
	struct fetch_request q;
};

static void bed_up(struct bed *b, struct httpd_path *paths, size_t n)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(host_freep) struct host *h = NULL;

	memset(b, 0, sizeof(*b));
	testdir_make(&b->dir);
	assert_ok(host_open(b->dir.path, &h, &e), &e);
	assert_ok(cachedir_open(h, "/srv/cache", NULL, true, &b->cache, &e), &e);
	b->q = (struct fetch_request)FETCH_REQUEST_INIT;
	b->q.name = run_name;
	b->q.url = "http://127.0.0.1:9/none";
	b->q.attempts = 3;
	b->q.backoff_ms = 1;
	b->q.stall_timeout_s = 1;
	b->q.connect_timeout_s = 2;
	if (n == 0)
		return;
	httpd_start(&b->httpd, paths, n);
	b->has_httpd = true;
	b->q.url = httpd_url(&b->httpd, paths[0].path, b->url, sizeof(b->url));
}

static void bed_down(struct bed *b)
{
	if (b->has_httpd)
		httpd_stop(&b->httpd);
	cachedir_done(&b->cache);
	testdir_done(&b->dir);
}

static int get(struct bed *b, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = cachedir_get(&b->cache, &b->q, &path, NULL, e);

	assert_int_equal(r < 0, path == NULL);
	return r;
}

static bool has(struct bed *b, const char *suffix)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "srv/cache/%s%s", run_name, suffix);
	return testdir_has(&b->dir, path);
}

static void put(struct bed *b, const void *bytes, size_t len)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "srv/cache/%s", run_name);
	testdir_write(&b->dir, path, bytes, len, 0644);
}

static void test_miss_then_hit(void **state)
{
	struct httpd_path paths[] = { { .path = run_path, .body = run_bytes, .len = run_len } };
	_cleanup_(err_done) struct err e = ERR_INIT;
	unsigned requests;
	struct bed b;

	(void)state;
	bed_up(&b, paths, 1);
	assert_ok(get(&b, &e), &e);
	assert_true(has(&b, "") && has(&b, ".meta"));
	assert_false(has(&b, ".part") || has(&b, ".lock"));
	requests = paths[0].requests;
	b.q.offline = true;
	assert_ok(get(&b, &e), &e);
	assert_int_equal(paths[0].requests, requests);
	bed_down(&b);
}

static void test_offline_miss(void **state)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	(void)state;
	bed_up(&b, NULL, 0);
	b.q.offline = true;
	assert_true(get(&b, &e) < 0);
	assert_int_equal(e.code, ERR_OFFLINE);
	assert_int_equal(err_exit_status(e.code), 6);
	assert_non_null(strstr(e.next, "lxc cache add"));
	bed_down(&b);
}

/* What lies there and is wrong goes aside, and the right one is fetched. */
static void test_wrong_entry(void **state)
{
	char *other = malloc(run_len), *at;
	struct {
		const void *bytes;
		size_t len;
		const char *sha256;
	} rows[] = {
		{ "<html>no such file</html>", 25, NULL },
		{ run_bytes, 4096, NULL }, /* cut: less than 1 MiB */
		{ other, run_len, NULL }, /* of another version */
		{ run_bytes, run_len - 1, run_sha256 }, /* another digest than the pinned one */
	};

	(void)state;
	memcpy(other, run_bytes, run_len);
	/* Same length, another version. */
	for (at = other; (at = memmem(at, (size_t)(other + 65536 - at), run_version, strlen(run_version)));
	     at++)
		*at = '9';
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct httpd_path paths[] = { { .path = run_path, .body = run_bytes, .len = run_len } };
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *bytes = NULL;
		char path[256];
		struct bed b;
		size_t len;

		bed_up(&b, paths, 1);
		put(&b, rows[i].bytes, rows[i].len);
		b.q.sha256 = rows[i].sha256;
		assert_ok(get(&b, &e), &e);
		assert_true(has(&b, ".bad"));
		(void)snprintf(path, sizeof(path), "srv/cache/%s", run_name);
		bytes = testdir_read(&b.dir, path, &len);
		assert_int_equal(len, run_len);
		assert_memory_equal(bytes, run_bytes, run_len);
		bed_down(&b);
	}
	free(other);
}

/* D2, D3: nothing broken ever gets the final name. */
static void test_broken_downloads(void **state)
{
	static const char page[] = "<!DOCTYPE html><html>please log in</html>";
	char side[200], side_path[200];
	struct httpd_path rows[][2] = {
		{ { .path = run_path, .body = page, .len = sizeof(page) - 1 } },
		{ { .path = run_path, .status = 404, .faults = HTTPD_STATUS, .body = "", .len = 0 } },
		{ { .path = run_path,
		    .body = run_bytes,
		    .len = run_len,
		    .faults = HTTPD_CUT,
		    .cut_bytes = 5000,
		    .fail_first = 100 } },
		{ { .path = run_path,
		    .body = run_bytes,
		    .len = run_len,
		    .faults = HTTPD_LIE_SHORT,
		    .cut_bytes = 5000 } },
		{ { .path = run_path, .body = run_bytes, .len = run_len },
		  { .path = side_path, .body = side, .len = 0 } },
	};

	(void)state;
	(void)snprintf(side_path, sizeof(side_path), "%s.sha256sum", run_path);
	(void)snprintf(side, sizeof(side), "%064d  %s\n", 0, run_name);
	rows[4][1].len = strlen(side);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct bed b;

		bed_up(&b, rows[i], rows[i][1].path ? 2 : 1);
		b.q.use_side_car = true;
		assert_true(get(&b, &e) < 0);
		assert_int_equal(err_exit_status(e.code), 6);
		assert_false(has(&b, "") || has(&b, ".meta") || has(&b, ".lock"));
		bed_down(&b);
	}
}

static void test_another_version_served(void **state)
{
	static const char name[] = "NVIDIA-Linux-x86_64-999.99.run";
	struct httpd_path paths[] = { { .path = run_path, .body = run_bytes, .len = run_len } };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	(void)state;
	bed_up(&b, paths, 1);
	b.q.name = name;
	assert_true(get(&b, &e) < 0);
	assert_slug(&e, "runfile-cache-entry-wrong");
	assert_false(testdir_has(&b.dir, "srv/cache/NVIDIA-Linux-x86_64-999.99.run"));
	assert_false(testdir_has(&b.dir, "srv/cache/NVIDIA-Linux-x86_64-999.99.run.meta"));
	b.q.name = "../escape.run";
	assert_true(get(&b, &e) < 0);
	assert_int_equal(err_exit_status(e.code), 2);
	bed_down(&b);
}

static void test_file_url(void **state)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	char url[600];
	struct bed b;

	(void)state;
	bed_up(&b, NULL, 0);
	testdir_write(&b.dir, "elsewhere.run", run_bytes, run_len, 0644);
	(void)snprintf(url, sizeof(url), "file://%s/elsewhere.run", b.dir.path);
	b.q.url = url;
	b.q.offline = true; /* a file of this machine is no network */
	assert_ok(get(&b, &e), &e);
	assert_true(has(&b, ""));
	bed_down(&b);
}

/* Two processes, one download. */
static void test_two_processes(void **state)
{
	struct httpd_path paths[] = {
		{ .path = run_path, .body = run_bytes, .len = run_len, .delay_ms = 200 }
	};
	_cleanup_(err_done) struct err e = ERR_INIT;
	pid_t children[2];
	struct bed b;

	(void)state;
	bed_up(&b, paths, 1);
	for (size_t i = 0; i < 2; i++) {
		children[i] = fork();
		assert_true(children[i] >= 0);
		if (children[i] == 0) {
			_cleanup_free_ char *path = NULL;

			_exit(cachedir_get(&b.cache, &b.q, &path, NULL, &e) < 0);
		}
	}
	for (size_t i = 0; i < 2; i++) {
		int status;

		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(paths[0].requests, 1);
	assert_true(has(&b, ""));
	assert_false(has(&b, ".lock") || has(&b, ".part") || has(&b, ".bad"));
	bed_down(&b);
}

static void test_add(void **state)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_json_ json_t *list = NULL;
	char file[600], relative[200];
	unsigned wrong;
	struct bed b;

	(void)state;
	bed_up(&b, NULL, 0);
	(void)snprintf(relative, sizeof(relative), "by hand/%s", run_name); /* a blank in its path */
	testdir_write(&b.dir, relative, run_bytes, run_len, 0600);
	(void)snprintf(file, sizeof(file), "%s/%s", b.dir.path, relative);
	assert_true(cachedir_add(&b.cache, file, "00", &e) < 0);
	assert_int_equal(err_exit_status(e.code), 6);
	assert_false(has(&b, ""));
	assert_int_equal(cachedir_add(&b.cache, file, run_sha256, &e), 1);
	assert_int_equal(cachedir_add(&b.cache, file, NULL, &e), 0);
	assert_ok(cachedir_list(&b.cache, true, &list, &wrong, &e), &e);
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(wrong, 0);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "sha256")),
			    run_sha256);
	/* What is no run file is not taken. */
	testdir_write(&b.dir, "NVIDIA-Linux-x86_64-1.2.run", "#!/bin/sh\n", 10, 0644);
	(void)snprintf(file, sizeof(file), "%s/NVIDIA-Linux-x86_64-111.22.run", b.dir.path);
	testdir_write(&b.dir, "NVIDIA-Linux-x86_64-111.22.run", "#!/bin/sh\n", 10, 0644);
	assert_true(cachedir_add(&b.cache, file, NULL, &e) < 0);
	assert_slug(&e, "runfile-cache-entry-wrong");
	bed_down(&b);
}

static void test_verify_and_prune(void **state)
{
	struct httpd_path paths[] = { { .path = run_path, .body = run_bytes, .len = run_len } };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_json_ json_t *list = NULL, *gone = NULL, *none = NULL;
	char *keep[] = { run_version, NULL }, *other[] = { (char *)(uintptr_t) "1.1", NULL };
	_cleanup_free_ char *changed = malloc(run_len);
	unsigned wrong = 0;
	struct bed b;

	(void)state;
	bed_up(&b, paths, 1);
	assert_ok(get(&b, &e), &e);
	memcpy(changed, run_bytes, run_len);
	changed[run_len - 1] ^= 1;
	put(&b, changed, run_len);
	assert_ok(cachedir_list(&b.cache, true, &list, &wrong, &e), &e);
	assert_int_equal(wrong, 1);
	testdir_puts(&b.dir, "srv/cache/something-else", "not ours");
	assert_ok(cachedir_prune(&b.cache, keep, false, &none, &e), &e);
	assert_int_equal(json_array_size(none), 0);
	assert_ok(cachedir_prune(&b.cache, other, true, &gone, &e), &e);
	assert_true(has(&b, "")); /* a dry run only tells */
	json_decref(gone);
	assert_ok(cachedir_prune(&b.cache, other, false, &gone, &e), &e);
	assert_int_equal(json_array_size(gone), 2); /* the file and its record */
	assert_false(has(&b, "") || has(&b, ".meta"));
	assert_true(testdir_has(&b.dir, "srv/cache/something-else"));
	bed_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_miss_then_hit),
		cmocka_unit_test(test_offline_miss),
		cmocka_unit_test(test_wrong_entry),
		cmocka_unit_test(test_broken_downloads),
		cmocka_unit_test(test_another_version_served),
		cmocka_unit_test(test_file_url),
		cmocka_unit_test(test_two_processes),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_verify_and_prune),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_run, drop_run);
}
