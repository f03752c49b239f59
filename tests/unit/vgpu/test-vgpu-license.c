/* SPDX-License-Identifier: Apache-2.0
 *
 * gridd.conf edits, tokens, ports, the compose file, and the key of a repository. */
#include "testlib.h"

#include "strbuf.h"
#include "testkey.h"
#include "vgpu-license-keys.h"
#include "vgpu-license.h"
#include "err-vgpu.h"

#include <stdlib.h>
#include <string.h>

static void edits_gridd_conf(void **state _unused_)
{
	static const struct {
		const char *text;
		unsigned feature;
		const char *dir, *want;
	} cases[] = {
		{ "", 1, NULL, "FeatureType=1\n" },
		{ "#FeatureType=0\nEnableUI=TRUE", 2, NULL, "#FeatureType=0\nFeatureType=2\nEnableUI=TRUE" },
		{ "#FeatureType=0", 2, NULL, "#FeatureType=0\nFeatureType=2" },
		{ "FeatureType=1\n", 1, NULL, "FeatureType=1\n" },
		{ " FeatureType = 1\r\nx=y\r\n", 4, NULL, "FeatureType=4\r\nx=y\r\n" },
		{ "# FeatureType=0\r\nx=y", 4, NULL, "# FeatureType=0\r\nFeatureType=4\r\nx=y" },
		{ "FeatureType=1\nFeatureType=2\n", 4, NULL, "FeatureType=4\nFeatureType=4\n" },
		{ "FeatureTypes=1", 0, NULL, "FeatureTypes=1\nFeatureType=0\n" },
		{ "a=b\n", 1, "/etc/tokens", "a=b\nFeatureType=1\nClientConfigTokenPath=/etc/tokens\n" },
		{ "ClientConfigTokenPath=\n", 1, "/t", "ClientConfigTokenPath=/t\nFeatureType=1\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *once = NULL, *twice = NULL;

		assert_int_equal(gridd_conf_edit(SPAN(cases[i].text), cases[i].feature, cases[i].dir, &once),
				 0);
		assert_string_equal(once, cases[i].want);
		assert_int_equal(gridd_conf_edit(SPAN(once), cases[i].feature, cases[i].dir, &twice), 0);
		assert_string_equal(twice, once);
		assert_int_equal(gridd_conf_feature(SPAN(once)), cases[i].feature);
	}
	assert_true(gridd_conf_is_legacy(SPAN("x\nServerAddress=10.0.0.1\n")));
	assert_false(gridd_conf_is_legacy(SPAN("ServerAddress=\n#ServerAddress=1\n")));
	assert_int_equal(gridd_conf_feature(SPAN("#FeatureType=1\n")), -1);
}

static void judges_words(void **state _unused_)
{
	assert_true(license_token_name("client_configuration_token_x.tok"));
	assert_false(license_token_name("client_configuration_token_/x.tok"));
	assert_false(license_token_name("token.tok"));
	assert_int_equal(license_token_check(SPAN("a.b_-=.c\n"), NULL), 0);
	assert_int_equal(license_token_check(SPAN("a..c"), NULL), -ERR_VGPU_LICENSE_TOKEN);
	assert_int_equal(license_token_check(SPAN("a.b.c.d"), NULL), -ERR_VGPU_LICENSE_TOKEN);
	assert_true(license_address_is_valid("pve-1.example.org"));
	assert_false(license_address_is_valid("-x"));
	assert_false(license_address_is_valid("a\"b"));
	assert_false(license_address_is_valid("fe80::1"));
	assert_false(license_timezone_is_valid("UTC\n"));
	assert_true(license_timezone_is_valid("America/Argentina/Buenos_Aires"));
	assert_false(license_image_is_valid("x\" y"));
	assert_non_null(license_port_objection(443));
	assert_non_null(license_port_objection(0));
	assert_null(license_port_objection(8443));
	assert_int_equal(license_feature_find("vws")->value, 2);
	assert_string_equal(license_feature_find("4")->name, "compute");
	assert_null(license_feature_find("3"));
}

static void finds_listeners(void **state _unused_)
{
	static const char table[] = "  sl  local_address rem_address   st tx_queue\n"
				    "   0: 00000000000000000000000000000000:20FB 0000:0000 0A 0\n"
				    "   1: 0100007F:20FC 0100007F:9999 01 0\n";

	assert_true(license_port_is_taken(SPAN(table), 8443));
	assert_false(license_port_is_taken(SPAN(table), 8444));
	assert_false(license_port_is_taken(SPAN("0: : 0A 0A 0A\n"), 0));
}

static void reads_own_compose(void **state _unused_)
{
	const struct license_server s = { "pve.example.org", 9443, "Europe/Vienna", "a/b:1@sha256:00" };
	_cleanup_(license_compose_facts_done) struct license_compose_facts f = { 0 };
	_cleanup_free_ char *text = NULL;

	assert_int_equal(license_compose(&s, &text), 0);
	assert_int_equal(license_compose_read(SPAN(text), &f), 0);
	assert_string_equal(f.address, s.address);
	assert_string_equal(f.image, s.image);
	assert_string_equal(f.timezone, s.timezone);
	assert_int_equal(f.port, s.port);
	assert_int_equal(license_compose_read(SPAN("services:\n"), &f), -ENOENT);
	text[strlen(text) / 6] = '\0';
	license_compose_facts_done(&f);
	assert_int_equal(license_compose_read(SPAN(text), &f), -ENOENT);
}

/* -- a repository's key -- */

static void takes_that_key_alone(void **state _unused_)
{
	static const char *const prints[] = { "0000000000000000000000000000000000000000",
					      TESTKEY_FINGERPRINT };
	_cleanup_free_ char *url = NULL;
	struct host *host = NULL;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, "key.asc", TESTKEY);
	assert_int_equal(host_open(t.path, &host, NULL), 0);
	url = str_printf("file://%s/key.asc", t.path);
	for (int right = 0; right <= 1; right++) {
		json_auto_t *args = json_pack("{s:s, s:s, s:s}", "url", url, "path",
					      "etc/apt/keyrings/own.asc", "fingerprint", prints[right]);
		struct plan_ctx c = { .host = host, .undo_fd = -EBADF, .log_fd = -EBADF };
		json_t *undo = NULL;

		assert_int_equal(license_op_apt_key.check(&c, args, NULL), 0);
		assert_int_equal(license_op_apt_key.stage(&c, args, &undo, NULL), 0);
		assert_int_equal(license_op_apt_key.apply(&c, args, undo, NULL),
				 right ? 0 : -ERR_FETCH_DIGEST);
		assert_int_equal(testdir_has(&t, "etc/apt/keyrings/own.asc"), right);
		assert_int_equal(license_op_apt_key.check(&c, args, NULL), right);
		assert_int_equal(license_op_apt_key.undo(&c, args, undo, NULL), 0);
		assert_false(testdir_has(&t, "etc"));
		json_decref(undo);
	}
	host_freep(&host);
	testdir_done(&t);
}

TEST_MAIN(cmocka_unit_test(edits_gridd_conf), cmocka_unit_test(judges_words),
	  cmocka_unit_test(finds_listeners), cmocka_unit_test(reads_own_compose),
	  cmocka_unit_test(takes_that_key_alone))
