/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "txn.h"

static void reason_grows_from_the_inside(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_int_equal(err_set(&e, ERR_OFFLINE, "no %s", "network"), -ERR_OFFLINE);
	assert_int_equal(err_wrap(&e, "fetching %d", 7), -ERR_OFFLINE);
	assert_int_equal(err_object(&e, "%s", "thing"), -ERR_OFFLINE);
	assert_int_equal(err_next(&e, "do this"), -ERR_OFFLINE);
	assert_string_equal(e.reason, "fetching 7: no network");
	assert_string_equal(e.object, "thing");
	assert_string_equal(e.next, "do this");
	/* The arguments may be the old content itself. */
	assert_int_equal(err_set(&e, -ENOENT, "again: %s", e.reason), -ENOENT);
	assert_string_equal(e.reason, "again: fetching 7: no network");
	assert_null(e.object);
}

static void null_object_keeps_the_code(void **state _unused_)
{
	assert_int_equal(err_set(NULL, ERR_CONFIG, "x"), -ERR_CONFIG);
	assert_int_equal(err_wrap(NULL, "y"), -ERR_CONFIG);
	assert_int_equal(err_errno(NULL, EACCES, "z"), -EACCES);
	assert_int_equal(err_object(NULL, "o"), -EACCES);
	assert_int_equal(err_oom(NULL), -ENOMEM);
	assert_int_equal(err_next(NULL, "n"), -ENOMEM);
	err_done(NULL);
}

static void move_and_oom(void **state _unused_)
{
	_cleanup_(err_done) struct err a = ERR_INIT, b = ERR_INIT;

	(void)err_errno(&a, -ENOSPC, "writing %s", "f");
	err_move(&b, &a);
	assert_int_equal(a.code, 0);
	assert_null(a.reason);
	assert_string_equal(b.reason, "writing f: No space left on device");
	assert_int_equal(err_oom(&b), -ENOMEM);
	assert_null(b.reason);
	assert_int_equal(err_wrap(&b, "doing"), -ENOMEM);
	assert_string_equal(b.reason, "doing: Cannot allocate memory");
	err_move(NULL, &b);
	assert_int_equal(b.code, 0);
}

static void table_is_sound(void **state _unused_)
{
	static const int statuses[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 75 };
	const struct err_row *row, *other;

	for (size_t i = 0; (row = err_row(i)); i++) {
		bool known = false;

		for (size_t k = 0; k < ARRAY_LEN(statuses); k++)
			known |= row->exit_status == statuses[k];
		if (!known)
			fail_msg("%s: exit status %d is not in the table", row->symbol, row->exit_status);
		assert_int_equal(strspn(row->slug, "abcdefghijklmnopqrstuvwxyz0123456789-"),
				 strlen(row->slug));
		assert_true(row->slug[0] && row->sentence[0] && row->next_step[0]);
		assert_ptr_equal(err_slug(row->code), row->slug);
		assert_ptr_equal(err_slug(-row->code), row->slug);
		for (size_t k = i + 1; (other = err_row(k)); k++)
			if (strcmp(row->slug, other->slug) == 0)
				fail_msg("slug %s appears twice", row->slug);
	}
}

static void errno_codes_have_rows(void **state _unused_)
{
	static const struct {
		int code;
		const char *slug;
	} rows[] = { { ENOSPC, "no-space" },	      { -EDQUOT, "no-space" },
		     { EACCES, "permission-denied" }, { EROFS, "read-only" },
		     { ENOENT, "not-found" },	      { EMFILE, "too-many-open-files" },
		     { EPROTO, "system-error" },      { 0, "system-error" },
		     { ERR_FIRST, "system-error" },   { ERR_END, "system-error" },
		     { 999999, "system-error" } };
	const char *last = NULL;
	const struct err_row *row;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(err_slug(rows[i].code), rows[i].slug);
		assert_int_equal(err_exit_status(rows[i].code), 1);
		assert_non_null(err_sentence(rows[i].code));
		assert_non_null(err_next_step(rows[i].code));
	}
	for (size_t i = 0; (row = err_system_row(i)); i++) {
		assert_string_equal(err_slug(row->code), row->slug);
		last = row->slug;
	}
	assert_string_equal(last, "system-error");
}

static char trail[8];

static void note(void *arg)
{
	strcat(trail, arg);
}

static void txn_runs_backwards_unless_committed(void **state _unused_)
{
	char a[] = "a", b[] = "b", c[] = "c";

	{
		_cleanup_txn_ struct txn t = TXN_INIT;

		assert_int_equal(txn_push(&t, note, a), 0);
		assert_int_equal(txn_push(&t, note, b), 0);
		txn_commit(&t);
		assert_int_equal(txn_push(&t, note, c), 0);
		assert_int_equal(txn_push(&t, note, a), 0);
	}
	assert_string_equal(trail, "ac");
}

TEST_MAIN(cmocka_unit_test(reason_grows_from_the_inside), cmocka_unit_test(null_object_keeps_the_code),
	  cmocka_unit_test(move_and_oom), cmocka_unit_test(table_is_sound),
	  cmocka_unit_test(errno_codes_have_rows), cmocka_unit_test(txn_runs_backwards_unless_committed))
