/* SPDX-License-Identifier: Apache-2.0
 *
 * Every disk a power cut may leave, for publish and for a whole transaction with its journal. */
#include "testlib.h"

#include "crashbed.h"
#include "faultio.h"
#include "powercut.h"

#include <stdlib.h>

struct run {
	struct bed *b;
	const struct scenario *s;
	const char *old, *new;
	bool has_journal;
	size_t convicted; /* disks that break the promise */
	size_t disks;
	bool report;
};

static bool look(size_t at, size_t total, void *arg)
{
	struct run *r = arg;
	_cleanup_free_ char *found = NULL;
	bool is_old, is_new, ok;

	if (r->has_journal)
		(void)bed_recover(r->b);
	found = bed_state(r->b);
	is_old = strcmp(found, r->old) == 0;
	is_new = strcmp(found, r->new) == 0;
	/* Once the call has answered, a cut may take nothing back. */
	ok = at == total ? is_new : is_old || is_new;
	r->disks++;
	if (ok)
		return true;
	r->convicted++;
	if (r->report)
		fail_msg("%s: after %zu of %zu changes:\n%s\n-- old:\n%s\n-- new:\n%s", r->s->name, at, total,
			 found, r->old, r->new);
	return true;
}

static void replay(const struct scenario *s, bool report, size_t stride, size_t *ret_convicted)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *old = NULL, *new = NULL;
	struct run run = { .s = s, .report = report, .has_journal = !s->leaves_temporaries };
	struct powercut *p;
	struct bed b;

	testdir_make(&b.t);
	bed_fill(&b);
	fault_off();
	fault_no_links(s->no_links);
	if (s->setup)
		s->setup(&b);
	old = bed_state(&b);
	p = powercut_begin(b.t.path);
	fault_record();
	assert_ok(scenario_run(s, &b, &e), &e);
	fault_off();
	new = bed_state(&b);
	run.b = &b;
	run.old = old;
	run.new = new;
	(void)powercut_replay(p, stride, look, &run);
	print_message("# %s: %zu disks, %zu convicted\n", s->name, run.disks, run.convicted);
	assert_true(run.disks > 5);
	*ret_convicted = run.convicted;
	powercut_done(p);
	fault_no_links(false);
	testdir_done(&b.t);
}

static const struct scenario *scenario_find(const char *name)
{
	for (size_t i = 0; i < n_scenarios; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	fail_msg("no scenario %s", name);
	return NULL;
}

static void publish_survives(void **state _unused_)
{
	size_t convicted;

	replay(scenario_find("publish"), true, 1, &convicted);
	assert_int_equal(convicted, 0);
}

/* The model must tell the good from the bad, or its acquittals mean nothing. */
static void publish_without_file_sync_is_convicted(void **state _unused_)
{
	size_t convicted;

	fault_skip_file_sync(true);
	replay(scenario_find("publish"), false, 1, &convicted);
	fault_skip_file_sync(false);
	assert_true(convicted > 0);
}

static void publish_without_dir_sync_is_convicted(void **state _unused_)
{
	size_t convicted;

	fault_skip_dir_sync(true);
	replay(scenario_find("publish"), false, 1, &convicted);
	fault_skip_dir_sync(false);
	assert_true(convicted > 0);
}

static void transactions_survive(void **state _unused_)
{
	static const char *const names[] = { "store", "files", "files-without-links", "edits", "undo" };
	const char *full = getenv("NVDRIVER_TEST_FULL");
	size_t convicted;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		replay(scenario_find(names[i]), true, full && *full ? 1 : 5, &convicted);
		assert_int_equal(convicted, 0);
	}
}

TEST_MAIN(cmocka_unit_test(publish_survives), cmocka_unit_test(publish_without_file_sync_is_convicted),
	  cmocka_unit_test(publish_without_dir_sync_is_convicted), cmocka_unit_test(transactions_survive))
