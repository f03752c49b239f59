/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "modset.h"
#include "strbuf.h"

#include <stdio.h>
#include <string.h>

#define DRIVER "535.1.2"

struct bed {
	struct testdir t;
	struct store *s;
};

static void bed_make(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *path = NULL;

	testdir_make(&b->t);
	path = str_printf("%s/store", b->t.path);
	assert_ok(store_open(path, true, &b->s, &e), &e);
}

static void bed_done(struct bed *b)
{
	store_freep(&b->s);
	testdir_done(&b->t);
}

/* Number n: its key, the kernel it is for, when it was made. */
static const char *key_of(unsigned n)
{
	static char key[8][65];

	snprintf(key[n % 8], sizeof(key[0]), "%064x", n);
	return key[n % 8];
}

static void add_set(struct bed *b, unsigned n, const char *release, const char *unsigned_key)
{
	_cleanup_(store_stage_done) struct store_stage st = { NULL, -EBADF, "" };
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_t *record = json_pack("{s:s,s:s,s:s,s:s,s:i,s:s*}", "driver", DRIVER, "flavour", "proprietary",
				   "arch", "x86_64", "release", release, "created_unix_s", (int)(1000 + n),
				   "unsigned_key", unsigned_key);

	assert_ok(store_stage_begin(b->s, &st, &e), &e);
	assert_ok(modset_publish(&st, record, key_of(n), &e), &e);
	json_decref(record);
}

/* A build tree of that kernel, under a name made of n. */
static void add_kernel(struct bed *b, unsigned n, const char *release)
{
	_cleanup_(store_stage_done) struct store_stage st = { NULL, -EBADF, "" };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *ref = str_printf("kernels/x86_64/%s", release);

	assert_ok(store_stage_begin(b->s, &st, &e), &e);
	assert_ok(store_publish(&st, STORE_KERNEL, key_of(n), &e), &e);
	assert_ok(store_ref_set(b->s, ref, STORE_KERNEL, key_of(n), &e), &e);
}

static int limit(struct bed *b, unsigned keep, const char *key, const char *release)
{
	const struct modset_limit l = { keep, key, DRIVER, release };
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r = modset_limit(b->s, &l, &e);

	if (r < 0)
		assert_ok(r, &e);
	return r;
}

/* Both or neither: the set and its name. */
static bool has(struct bed *b, unsigned n, const char *release)
{
	_cleanup_free_ char *ref =
				str_printf("modules/" DRIVER "/proprietary/x86_64/%s/%s", release, key_of(n)),
			    *id = NULL;
	enum store_kind kind;
	bool named = store_ref_get(b->s, ref, &kind, &id) == 0;

	assert_int_equal(named, store_has(b->s, STORE_MODULE, key_of(n)));
	return named;
}

static void the_oldest_go(void **state _unused_)
{
	struct bed b;

	bed_make(&b);
	assert_int_equal(limit(&b, 1, NULL, NULL), 0);
	for (unsigned n = 1; n <= 4; n++)
		add_set(&b, n, n <= 2 ? "k1" : "k2", NULL);
	add_kernel(&b, 101, "k1");
	add_kernel(&b, 102, "k2");
	assert_int_equal(limit(&b, 4, NULL, NULL), 0);
	assert_int_equal(limit(&b, 3, NULL, NULL), 1);
	assert_false(has(&b, 1, "k1"));
	assert_true(has(&b, 2, "k1") && store_has(b.s, STORE_KERNEL, key_of(101)));
	/* With the last set of a kernel its build tree goes. */
	assert_int_equal(limit(&b, 2, NULL, NULL), 1);
	assert_false(has(&b, 2, "k1") || store_has(b.s, STORE_KERNEL, key_of(101)));
	assert_true(has(&b, 3, "k2") && has(&b, 4, "k2") && store_has(b.s, STORE_KERNEL, key_of(102)));
	bed_done(&b);
}

static void what_is_needed_stays(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct bed b;

	bed_make(&b);
	for (unsigned n = 1; n <= 6; n++)
		add_set(&b, n, n == 2 ? "running" : "other", n == 6 ? key_of(3) : NULL);
	/* 1 is asked for, 2 is the running kernel's, 6 is the newest and was signed from 3, 5 is pinned. */
	assert_ok(store_ref_set(b.s, "pins/mine", STORE_MODULE, key_of(5), &e), &e);
	assert_int_equal(limit(&b, 3, key_of(1), "running"), 1);
	assert_false(has(&b, 4, "other"));
	for (unsigned n = 1; n <= 6; n++)
		assert_int_equal(has(&b, n, n == 2 ? "running" : "other"), n != 4);
	/* More than the number, all for a reason: nothing changes any more. */
	assert_int_equal(limit(&b, 3, key_of(1), "running"), 0);
	assert_true(has(&b, 3, "other") && has(&b, 5, "other"));
	bed_done(&b);
}

TEST_MAIN(cmocka_unit_test(the_oldest_go), cmocka_unit_test(what_is_needed_stays))
