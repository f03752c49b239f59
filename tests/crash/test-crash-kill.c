/* SPDX-License-Identifier: Apache-2.0
 *
 * Killed at every change of a file system: afterwards recover twice, old or new, and the run repeated ends like
 * one that was never disturbed. */
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

static char *undisturbed(struct bed *b, const struct scenario *s)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	fresh(b, s);
	assert_ok(scenario_run(s, b, &e), &e);
	bed_assert_clean(b);
	return bed_state(b);
}

static void after_kill(struct bed *b, const struct scenario *s, unsigned n, const char *old, const char *new)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *first = NULL, *second = NULL, *end = NULL;

	(void)bed_recover(b);
	first = bed_state(b);
	if (!s->leaves_temporaries)
		bed_assert_clean(b);
	if (strcmp(first, old) != 0 && strcmp(first, new) != 0)
		fail_msg("%s killed at change %u is neither old nor new:\n%s\n-- old:\n%s\n-- new:\n%s",
			 s->name, n, first, old, new);
	assert_int_equal(bed_recover(b), 0);
	second = bed_state(b);
	assert_string_equal(first, second);
	assert_ok(scenario_run(s, b, &e), &e);
	end = bed_state(b);
	if (strcmp(end, new) != 0)
		fail_msg("%s repeated after change %u does not converge:\n%s\n-- new:\n%s", s->name, n, end,
			 new);
}

static void kill_everywhere(const struct scenario *s)
{
	_cleanup_free_ char *old = NULL, *new = NULL;
	struct bed b;
	unsigned n;

	testdir_make(&b.t);
	fault_off();
	new = undisturbed(&b, s);
	fresh(&b, s);
	old = bed_state(&b);
	/* An interrupted run has one right end: the old state, for what it was about to do is not committed. */
	if (strcmp(s->name, "recover") == 0) {
		free(old);
		old = strdup(new);
	}
	for (n = 1;; n++) {
		int status;

		fresh(&b, s);
		status = crash_child(s, &b, n);
		if (status == 0)
			break;
		assert_int_equal(status, FAULT_KILLED);
		after_kill(&b, s, n, old, new);
	}
	print_message("# %s: killed at each of %u changes\n", s->name, n - 1);
	assert_true(n > 3);
	fault_no_links(false);
	testdir_done(&b.t);
}

static void killed_at_every_change(void **state _unused_)
{
	for (size_t i = 0; i < n_scenarios; i++)
		kill_everywhere(&scenarios[i]);
}

TEST_MAIN(cmocka_unit_test(killed_at_every_change))
