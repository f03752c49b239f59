/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "pgpkey.h"
#include "strbuf.h"
#include "testkey.h"

#include <stdlib.h>

static void test_armour(void **state)
{
	static const char *const good[] = {
		TESTKEY_HEAD "\n" TESTKEY_BODY TESTKEY_SUM TESTKEY_TAIL,
		TESTKEY_HEAD "Comment: anything\nVersion: 1\n\n" TESTKEY_BODY TESTKEY_SUM TESTKEY_TAIL,
		TESTKEY_HEAD "\n" TESTKEY_BODY TESTKEY_TAIL, /* the checksum may be left out */
		"words before\n" TESTKEY_HEAD "\n" TESTKEY_BODY TESTKEY_SUM TESTKEY_TAIL "words after\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_free_ uint8_t *ring = NULL, *again = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_strv_ char **found = NULL;
		size_t len, again_len;

		assert_ok(pgpkey_binary(SPAN(good[i]), &ring, &len, &e), &e);
		assert_ok(pgpkey_fingerprints((struct span){ (char *)ring, len }, &found, &e), &e);
		assert_int_equal(strv_len(found), 1);
		assert_string_equal(found[0], TESTKEY_FINGERPRINT);
		/* A binary ring passes as it is. */
		assert_ok(pgpkey_binary((struct span){ (char *)ring, len }, &again, &again_len, &e), &e);
		assert_int_equal(len, again_len);
		assert_memory_equal(ring, again, len);
	}
}

static void test_damaged(void **state)
{
	static const char *const bad[] = {
		"",
		"<html>please log in</html>\n",
		TESTKEY_HEAD TESTKEY_BODY TESTKEY_SUM TESTKEY_TAIL, /* no empty line */
		TESTKEY_HEAD "\n" TESTKEY_BODY TESTKEY_SUM, /* cut */
		TESTKEY_HEAD "\n" TESTKEY_BODY "=RPnY\n" TESTKEY_TAIL, /* another checksum */
		TESTKEY_HEAD "\n" TESTKEY_SUM TESTKEY_TAIL,
		TESTKEY_HEAD "\nbm90IGEga2V5\n" TESTKEY_TAIL, /* not packets */
		TESTKEY_HEAD "\n*" TESTKEY_BODY TESTKEY_TAIL,
		"\x99\xff\xff\x04", /* a packet longer than the file */
		"\xc6\xe1", /* partial length */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_free_ uint8_t *ring = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		size_t len;

		assert_true(pgpkey_binary(SPAN(bad[i]), &ring, &len, &e) < 0);
		assert_int_equal(e.code, ERR_FORMAT);
		assert_null(ring);
	}
}

static void test_matches(void **state)
{
	char *one[] = { (char *)(uintptr_t)TESTKEY_FINGERPRINT, NULL };

	(void)state;
	assert_true(pgpkey_matches(one, TESTKEY_FINGERPRINT));
	assert_true(pgpkey_matches(one, "cdd5c268"));
	assert_false(pgpkey_matches(one, "268")); /* too short to mean anything */
	assert_false(pgpkey_matches(one, "EB693B3035CD5710E231E123A4B469963BF863CC"));
	assert_false(pgpkey_matches(NULL, "cdd5c268"));
}

TEST_MAIN(cmocka_unit_test(test_armour), cmocka_unit_test(test_damaged), cmocka_unit_test(test_matches))
