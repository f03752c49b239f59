/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels and branches that go together. */
#include "testlib.h"

#include "vgpu-choice.h"
#include "vgpu-machine.h"

static void compares_kernels(void **state _unused_)
{
	static const struct {
		const char *a, *b;
		int want;
	} cases[] = {
		{ "6.8.12-10-pve", "6.8.12-9-pve", 1 },		{ "6.14.11-4-pve", "6.8.12-9-pve", 1 },
		{ "6.5.13-6-pve", "6.5.13-6-pve", 0 },		{ "6.17.2-1-pve", "7.0.0-1-pve", -1 },
		{ "6.14.11-4-pve", "6.14.11-4-bpo12-pve", -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(kernel_compare(cases[i].a, cases[i].b), cases[i].want);
}

static void reads_pveversion(void **state _unused_)
{
	static const struct {
		const char *text, *version, *kernel;
	} cases[] = {
		{ "pve-manager/8.2.4/faa83925c9641325 (running kernel: 6.8.12-1-pve)\n", "8.2.4",
		  "6.8.12-1-pve" },
		{ "pve-manager/7.4-17/513c62be (running kernel: 5.15.116-1-pve)", "7.4", "5.15.116-1-pve" },
		{ "proxmox-ve: 9.1.0 (running kernel: 6.17.2-1-pve)\npve-manager/9.1.1/42db4a6cf33dac83",
		  "9.1.1", NULL },
		{ "pve-manager/", NULL, NULL },
		{ "", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *version = NULL, *kernel = NULL;
		int r = pveversion_parse(SPAN(cases[i].text), &version, &kernel);

		assert_int_equal(r, cases[i].version ? 0 : -EINVAL);
		if (cases[i].version)
			assert_string_equal(version, cases[i].version);
		assert_string_equal(kernel ? kernel : "", cases[i].kernel ? cases[i].kernel : "");
	}
}

static void chooses_kernels(void **state _unused_)
{
	static char *const installed[] = { (char *)"6.8.12-9-pve", (char *)"6.8.12-10-pve",
					   (char *)"6.5.13-1-pve", NULL };
	static char *const archive[] = { (char *)"6.5.13-6-pve", (char *)"6.14.11-4-pve",
					 (char *)"6.14.11-5-pve", NULL };
	static const struct {
		const char *next, *min, *max, *pick;
		enum kernel_verdict verdict;
		bool install;
	} cases[] = {
		{ "6.8.12-10-pve", "5.15", "6.8", NULL, KERNEL_KEEP, false },
		{ "6.17.2-1-pve", "5.15", "6.8", "6.8.12-10-pve", KERNEL_PIN, false },
		{ "6.17.2-1-pve", "6.2", "6.14", "6.8.12-10-pve", KERNEL_PIN, false },
		{ "6.17.2-1-pve", "6.11", "6.14", "6.14.11-5-pve", KERNEL_PIN, true },
		{ "6.8.12-10-pve", "5.15", "6.5", "6.5.13-1-pve", KERNEL_PIN, false },
		{ "6.8.12-10-pve", "6.15", "6.17", NULL, KERNEL_NONE, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(kernel_choice_done) struct kernel_choice k = { 0 };

		assert_int_equal(
		    kernel_choose(cases[i].next, installed, archive, cases[i].min, cases[i].max, &k), 0);
		assert_int_equal(k.verdict, cases[i].verdict);
		assert_string_equal(k.release ? k.release : "", cases[i].pick ? cases[i].pick : "");
		if (k.verdict == KERNEL_PIN)
			assert_int_equal(k.install, cases[i].install);
	}
}

static void proposes_a_branch(void **state _unused_)
{
	static const struct {
		const char *what;
		struct gpu_info info;
		enum card_support support;
		unsigned pve;
		const char *kernel, *want;
		enum choice_verdict verdict;
	} cases[] = {
		{ "L40 on PVE 9.1",
		  { 0x26b5, .architecture = (char *)"Ada", .branches = (char *)"20;19;18;17;16" },
		  CARD_NATIVE,
		  9,
		  "6.17.2-1-pve",
		  "20.1",
		  CHOICE_FITS },
		{ "T4 whose branches end with 18",
		  { 0x1eb8, .architecture = (char *)"Turing", .branches = (char *)"18;17;16" },
		  CARD_NATIVE,
		  8,
		  "6.8.12-4-pve",
		  "18.4",
		  CHOICE_FITS },
		{ "Turing unlock",
		  { 0x1e07, .architecture = (char *)"Turing", .branches = (char *)"18;17;16" },
		  CARD_UNLOCK,
		  8,
		  "6.8.12-4-pve",
		  "17.6",
		  CHOICE_FITS },
		{ "Turing unlock on a kernel that is too new",
		  { 0x1e07, .architecture = (char *)"Turing", .branches = (char *)"18;17;16" },
		  CARD_UNLOCK,
		  9,
		  "6.17.2-1-pve",
		  "17.6",
		  CHOICE_KERNEL },
		{ "Pascal unlock on PVE 7",
		  { 0x1b80, .architecture = (char *)"Pascal", .branches = (char *)"17;16" },
		  CARD_UNLOCK,
		  7,
		  "5.15.116-1-pve",
		  "16.9",
		  CHOICE_FITS },
		{ "no vGPU at all",
		  { 0x2684, .architecture = (char *)"Ada" },
		  CARD_NONE,
		  8,
		  "6.8.12-4-pve",
		  NULL,
		  0 },
	};
	_cleanup_(catalog_freep) struct catalog *c = NULL;

	assert_int_equal(catalog_load(NULL, &c, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(choices_done) struct choices l = { 0 };
		struct choice_request q = { &cases[i].info, cases[i].support, cases[i].pve, cases[i].kernel };
		const struct choice *best;

		assert_int_equal(choices_make(c, &q, &l), 0);
		assert_int_equal(l.n, c->n_drivers);
		best = choices_best(&l);
		if (!cases[i].want ? best != NULL
				   : !best || strcmp(best->driver->branch, cases[i].want) != 0 ||
					 best->verdict != cases[i].verdict)
			fail_msg("%s: %s (%s)", cases[i].what, best ? best->driver->branch : "none",
				 best ? best->reason : "");
	}
}

/* A host serves guests of its own branch and older ones. */
static void guests_bound_the_branch(void **state _unused_)
{
	static const struct {
		const char *guest, *branch;
		bool fits;
	} rows[] = { { "17.5", "17.6", true },	    { "18.0", "17.6", false },
		     { "18", "18.4", true },	    { "580.65.06", "18.4", false },
		     { "580.65.06", "19.0", true }, { "550.54.14", "19.0", true },
		     { "1.0", "17.6", true } };
	_cleanup_(catalog_freep) struct catalog *c = NULL;

	assert_int_equal(catalog_load(NULL, &c, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(choices_done) struct choices l = { 0 };
		struct choice_request q = { .guest = rows[i].guest };

		assert_int_equal(choices_make(c, &q, &l), 0);
		assert_int_equal(choices_find(&l, rows[i].branch)->verdict == CHOICE_FITS, rows[i].fits);
	}
}

TEST_MAIN(cmocka_unit_test(guests_bound_the_branch), cmocka_unit_test(compares_kernels),
	  cmocka_unit_test(reads_pveversion), cmocka_unit_test(chooses_kernels),
	  cmocka_unit_test(proposes_a_branch))
