/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "capture.h"

static void blanks_secrets_and_nothing_else(void **state _unused_)
{
	static const char *const cases[][2] = {
		{ "deb https://u:p@example.org/x a b\n", "deb https://***@example.org/x a b\n" },
		{ "deb http://example.org/a@b c", "deb http://example.org/a@b c" },
		{ "deb [signed-by=/usr/share/keyrings/k.gpg] http://h s c\n",
		  "deb [signed-by=/usr/share/keyrings/k.gpg] http://h s c\n" },
		{ "root=x rd.luks.key=abc quiet\ttoken=1", "root=x rd.luks.key=*** quiet\ttoken=***" },
		{ "https://h/x?a=1&Token=abc&b#k=v&apiKey=z", "https://h/x?a=1&Token=***&b#k=v&apiKey=***" },
		{ "\"http://u:p@proxy:1/?pass=1\";", "\"http://***@proxy:1/?pass=***" },
		{ "# eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIx.c2ln .", "# *** ." },
		{ "eyJ.a.b 1.2.3", "eyJ.a.b 1.2.3" },
		{ "PASSWORD", "PASSWORD" },
		{ "", "" },
		{ "\n\r\n  \n", "\n\r\n  \n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *out = NULL;

		assert_int_equal(capture_blank(SPAN(cases[i][0]), &out), 0);
		assert_string_equal(out, cases[i][1]);
	}
}

TEST_MAIN(cmocka_unit_test(blanks_secrets_and_nothing_else))
