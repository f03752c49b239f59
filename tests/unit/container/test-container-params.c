/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-params.h"
#include "strbuf.h"

static char *joined(char *const *v)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(65536);
	char *text = NULL;

	strbuf_puts(&b, "");
	for (; v && *v; v++)
		strbuf_printf(&b, "%s|", *v);
	assert_int_equal(strbuf_steal(&b, &text), 0);
	return text ? text : strdup("");
}

/* D11: what the script passed on as parameters. */
static void reads_parameter_files(void **state _unused_)
{
	static const struct {
		const char *text, *words;
		unsigned warnings;
	} cases[] = {
		{ "", "", 0 },
		{ "\n \r\n# a=b\n  # c=d\n", "", 0 },
		{ "a=1", "a=1|", 0 },
		{ "a=1 b=2\nc=3\r\n", "a=1|b=2|c=3|", 0 },
		{ "\ta=1\t b=\n", "a=1|b=|", 0 },
		{ "r=\"x=1; y=2\" s=3\n", "r=\"x=1; y=2\"|s=3|", 0 },
		{ "r=\"open until the end of the line\n b=2\n", "r=\"open until the end of the line|b=2|",
		  0 },
		{ "nonsense a=1 =2\n", "a=1|", 2 },
		{ "a=\x01\n", "", 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strv_ char **words = NULL, **warnings = NULL;
		_cleanup_free_ char *got = NULL;

		assert_int_equal(container_params_parse(SPAN(cases[i].text), &words, &warnings), 0);
		got = joined(words);
		assert_string_equal(got, cases[i].words);
		assert_int_equal(strv_len(warnings), cases[i].warnings);
	}
}

static void refuses_a_huge_file(void **state _unused_)
{
	_cleanup_strv_ char **words = NULL, **warnings = NULL;
	_cleanup_free_ char *text = malloc(1 << 17);

	memset(text, 'a', 1 << 17);
	assert_int_equal(container_params_parse((struct span){ text, 1 << 17 }, &words, &warnings), -E2BIG);
	assert_null(words);
}

static void writes_one_line_for_modprobe(void **state _unused_)
{
	const char *words[] = { "a=1", "r=\"x y\"", NULL };
	_cleanup_free_ char *text = NULL, *empty = NULL;

	assert_int_equal(container_params_render("nvidia-uvm", (char *const *)words, &text), 0);
	assert_string_equal(text, "# written by nvdriver from /drivers\noptions nvidia-uvm a=1 r=\"x y\"\n");
	assert_int_equal(container_params_render("nvidia", NULL, &empty), 0);
	assert_string_equal(empty, "");
}

static void warns_of_what_the_module_lacks(void **state _unused_)
{
	const char *words[] = { "a=1", "b=2", NULL }, *declared[] = { "b", NULL };
	_cleanup_strv_ char **warnings = NULL, **none = NULL;

	assert_int_equal(
	    container_params_check("nvidia", (char *const *)words, (char *const *)declared, &warnings), 0);
	assert_int_equal(strv_len(warnings), 1);
	assert_non_null(strstr(warnings[0], "nvidia has no parameter a"));
	assert_int_equal(container_params_check("nvidia", (char *const *)words, NULL, &none), 0);
	assert_null(none);
}

static void knows_firmware_is_off(void **state _unused_)
{
	const char *on[] = { "NVreg_EnableGpuFirmware=01", NULL },
		   *off[] = { "x=1", "NVreg_EnableGpuFirmware=0", NULL };

	assert_false(container_params_no_firmware(NULL));
	assert_false(container_params_no_firmware((char *const *)on));
	assert_true(container_params_no_firmware((char *const *)off));
}

TEST_MAIN(cmocka_unit_test(reads_parameter_files), cmocka_unit_test(refuses_a_huge_file),
	  cmocka_unit_test(writes_one_line_for_modprobe), cmocka_unit_test(warns_of_what_the_module_lacks),
	  cmocka_unit_test(knows_firmware_is_off))
