/* SPDX-License-Identifier: Apache-2.0
 *
 * Every call fails once: the nth allocation or system call of a run fails; the run then either failed and left
 * the old state (or recover finds it), or tolerated it and made the new one. No descriptor and no memory is lost. */
#include "testlib.h"

#include "crashbed.h"
#include "faultio.h"

#include <stdlib.h>

static void fresh(struct bed *b, const struct scenario *s)
{
	bed_empty(b);
	bed_fill(b);
	fault_no_links(s->no_links);
	if (s->setup)
		s->setup(b);
}

static void check(struct bed *b, const struct scenario *s, unsigned n, int r, const char *old,
		  const char *new)
{
	_cleanup_free_ char *found = NULL;

	if (!s->leaves_temporaries)
		(void)bed_recover(b);
	found = bed_state(b);
	if (r >= 0 && strcmp(found, new) != 0)
		fail_msg("%s, call %u (%s) failed: success without the new state:\n%s\n-- new:\n%s", s->name,
			 n, fault_where(), found, new);
	if (strcmp(found, old) != 0 && strcmp(found, new) != 0)
		fail_msg("%s, call %u (%s) failed: neither old nor new:\n%s\n-- old:\n%s", s->name, n,
			 fault_where(), found, old);
	if (!s->leaves_temporaries)
		bed_assert_clean(b);
}

static void fail_everywhere(const struct scenario *s, unsigned stride)
{
	_cleanup_free_ char *old = NULL, *new = NULL;
	struct bed b;
	unsigned n;

	testdir_make(&b.t);
	fresh(&b, s);
	old = bed_state(&b);
	{
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_ok(scenario_run(s, &b, &e), &e);
	}
	new = bed_state(&b);
	for (n = 1;; n += stride) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		int fds, r;

		fresh(&b, s);
		fds = testdir_open_fds();
		fault_fail(n);
		r = scenario_run(s, &b, &e);
		fault_off();
		if (!fault_fired())
			break;
		if (testdir_open_fds() != fds)
			fail_msg("%s, call %u (%s) failed: a descriptor is lost", s->name, n, fault_where());
		check(&b, s, n, r, old, new);
	}
	print_message("# %s: each %u. of %u calls failed once\n", s->name, stride, n);
	assert_true(n > 10);
	fault_no_links(false);
	testdir_done(&b.t);
}

static void every_call_fails_once(void **state _unused_)
{
	const char *full = getenv("NVDRIVER_TEST_FULL");

	for (size_t i = 0; i < n_scenarios; i++)
		if (strcmp(scenarios[i].name, "recover") != 0)
			fail_everywhere(&scenarios[i], full && *full ? 1 : 3);
}

TEST_MAIN(cmocka_unit_test(every_call_fails_once))
