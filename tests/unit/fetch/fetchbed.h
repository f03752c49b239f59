/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One server, one directory, one request that is quick to give up. Included by one file of each test program. */

#include "testlib.h"

#include "digest.h"
#include "fetch.h"
#include "httpd.h"
#include "parse.h"

#define SIZE 200000u

static char package[SIZE]; /* looks like a .run file */
static char package_sha256[65];
static inline int make_package(void **state)
{
	uint8_t bytes[32];
	uint32_t x = 7;

	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		package[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
	memcpy(package, "#! /bin/sh\n", 11);
	sha256_bytes(package, SIZE, bytes);
	hex_encode(bytes, 32, package_sha256);
	return 0;
}

struct bed {
	struct testdir dir;
	struct httpd httpd;
	char url[512];
	struct fetch_request q;
	struct fetch_result got;
	struct err e;
	int fds;
};

static inline void bed_up(struct bed *b, struct httpd_path *paths, size_t n)
{
	memset(b, 0, sizeof(*b));
	testdir_make(&b->dir);
	httpd_start(&b->httpd, paths, n);
	httpd_url(&b->httpd, paths[0].path, b->url, sizeof(b->url));
	b->q = (struct fetch_request){ .url = b->url,
				       .dirfd = b->dir.fd,
				       .dir_path = b->dir.path,
				       .kind = FETCH_RUNFILE,
				       .attempts = 3,
				       .backoff_ms = 1,
				       .stall_timeout_s = 1,
				       .connect_timeout_s = 2 };
}

static inline void bed_down(struct bed *b)
{
	httpd_stop(&b->httpd);
	fetch_result_done(&b->got);
	err_done(&b->e);
	testdir_done(&b->dir);
}

static inline void assert_package(struct bed *b, const char *name)
{
	size_t len = 0;
	char *text = testdir_read(&b->dir, name, &len), *meta;
	char meta_name[300];

	assert_non_null(text);
	assert_int_equal(len, SIZE);
	assert_memory_equal(text, package, SIZE);
	free(text);
	snprintf(meta_name, sizeof(meta_name), "%s.meta", name);
	meta = testdir_read(&b->dir, meta_name, NULL);
	assert_non_null(meta);
	assert_non_null(strstr(meta, package_sha256));
	free(meta);
	assert_false(testdir_has(&b->dir, "a.run.part"));
	assert_false(testdir_has(&b->dir, "a.run.part.meta"));
	assert_false(testdir_has(&b->dir, "a.run.lock"));
}

static inline void assert_nothing(struct bed *b)
{
	static const char *const names[] = { "a.run", "a.run.part", "a.run.part.meta", "a.run.meta",
					     "a.run.lock" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (testdir_has(&b->dir, names[i]))
			fail_msg("%s was left behind", names[i]);
}

static inline void ok(struct bed *b)
{
	fetch_result_done(&b->got);
	b->got = (struct fetch_result){ 0 };
	assert_ok(fetch_file(&b->q, &b->got, &b->e), &b->e);
}

static inline void fails(struct bed *b, const char *slug)
{
	int r = fetch_file(&b->q, &b->got, &b->e);

	assert_true(r < 0);
	assert_int_equal(r, -b->e.code);
	assert_slug(&b->e, slug);
	assert_non_null(b->e.reason);
}
