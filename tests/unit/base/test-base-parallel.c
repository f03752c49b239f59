/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "parallel.h"

#include <stdatomic.h>

#define N 1000

static atomic_int calls[N];
static int answer_at; /* -1 = nobody answers */

static int count(size_t i, void *arg)
{
	assert_ptr_equal(arg, calls);
	atomic_fetch_add(&calls[i], 1);
	return (int)i == answer_at ? -EIO : 0;
}

static void everything_once(void **state _unused_)
{
	memset(calls, 0, sizeof(calls));
	answer_at = -1;
	assert_int_equal(parallel_for(N, count, calls), 0);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(calls[i], 1);
	assert_int_equal(parallel_for(0, count, calls), 0);
}

static void an_answer_stops(void **state _unused_)
{
	int done = 0;

	memset(calls, 0, sizeof(calls));
	answer_at = 0;
	assert_int_equal(parallel_for(N, count, calls), -EIO);
	for (size_t i = 0; i < N; i++) {
		assert_in_range(calls[i], 0, 1);
		done += calls[i];
	}
	assert_in_range(done, 1, N);
}

TEST_MAIN(cmocka_unit_test(everything_once), cmocka_unit_test(an_answer_stops))
