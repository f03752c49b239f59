/* SPDX-License-Identifier: Apache-2.0
 *
 * Words for the vendor's installer by version, card and file; rows of the register as files of that name. */
#include "testlib.h"

#include "catalog.h"
#include "strbuf.h"
#include "vgpu-driver.h"
#include "vgpu-installer.h"
#include "err-vgpu.h"

#include <string.h>

static char *joined(const struct installer_request *q, struct err *e)
{
	_cleanup_strv_ char **words = NULL;
	char line[256] = "";

	if (installer_words(q, &words, e) < 0)
		return NULL;
	for (char **w = words; *w; w++) {
		strcat(line, *w);
		strcat(line, w[1] ? " " : "");
	}
	return strdup(line);
}

static void spells_words(void **state _unused_)
{
	static const struct {
		struct installer_request q;
		const char *want; /* NULL = ERR_VGPU_FLAVOUR */
	} cases[] = {
		{ { "470.256.02", true, true, false, false }, "--dkms -s" },
		{ { "514.99", true, true, true, false }, "--dkms -s" },
		{ { "515.48.07", true, true, true, false }, "--dkms -m=kernel -s" },
		{ { "535.230.02", true, true, true, false }, "--dkms -m=kernel -s" },
		{ { "535.230.02", true, true, false, true }, "--dkms -m=kernel-open -s" },
		{ { "550.163.02", true, true, true, false }, "--dkms -m=kernel -s" },
		{ { "554.0", true, true, false, false }, "--dkms -m=kernel -s" },
		{ { "555.42.02", true, true, false, false }, "--dkms -M proprietary -s" },
		{ { "570.124.03", true, true, true, false }, "--dkms -M proprietary -s" },
		{ { "580.105.06", true, true, false, true }, "--dkms -M open -s" },
		{ { "580.105.06", true, false, false, false }, "--dkms -s" },
		{ { "580.105.06", true, false, true, false }, "--dkms -s" },
		{ { "580.105.06", false, true, false, true }, "--dkms -s" },
		{ { "580.105.06", false, true, false, false }, "--dkms -s" },
		{ { "580.105.06", true, false, false, true }, NULL },
		{ { "580.105.06", false, true, true, false }, NULL },
		{ { "580.105.06", true, true, true, true }, NULL },
		{ { "580.105.06", false, false, false, false }, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *got = joined(&cases[i].q, &e);

		if (cases[i].want)
			assert_string_equal(got, cases[i].want);
		else
			assert_int_equal(e.code, ERR_VGPU_FLAVOUR);
	}
}

static void refuses_no_version(void **state _unused_)
{
	struct installer_request q = { "newest", true, true, false, false };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_null(joined(&q, &e));
	assert_int_equal(e.code, ERR_USAGE);
}

/* Every row: the name tells the version, the words can be made, a digest is one, an address to fetch ends in the file. */
static void reads_every_row(void **state _unused_)
{
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_int_equal(catalog_load(NULL, &c, &e), 0);
	assert_true(c->n_drivers > 30);
	for (size_t i = 0; i < c->n_drivers; i++) {
		const struct catalog_driver *d = &c->drivers[i];
		struct installer_request q = { d->version, true, true, false, false };
		_cleanup_free_ char *by_name = NULL, *by_row = NULL, *words = joined(&q, &e);
		const struct catalog_patch *p = catalog_patch(c, d->branch);

		assert_int_equal(driver_expected_version(NULL, d->file, &by_name), 0);
		assert_int_equal(driver_expected_version(d, d->file, &by_row), 0);
		assert_string_equal(by_name, d->version);
		assert_string_equal(by_row, d->version);
		assert_non_null(words);
		assert_true(!*d->md5 || strlen(d->md5) == 32);
		if (strcmp(d->url_kind, "alist") == 0)
			assert_string_equal(strrchr(d->url, '/') + 1, d->file);
		if (p && strcmp(p->status, "mapped") == 0)
			assert_string_equal(p->version, d->version);
	}
}

TEST_MAIN(cmocka_unit_test(spells_words), cmocka_unit_test(refuses_no_version),
	  cmocka_unit_test(reads_every_row))
