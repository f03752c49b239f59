/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-config.h"
#include "strbuf.h"

#define URL(v) "https://example.com/x/NVIDIA-Linux-x86_64-" v ".run"

static int read_ct(const char *lxc, const char *hyp, const char *id, bool pve, struct lxc_ct_config *ret,
		   struct err *e)
{
	_cleanup_(lxc_config_freep) struct lxc_config *c = NULL;
	int r = lxc_config_parse(SPAN(lxc ? lxc : ""), "lxc.json", SPAN(hyp ? hyp : ""), "hyp.json", &c, e);

	return r < 0 ? r : lxc_config_container(c, id, "x86_64", pve, ret, e);
}

#define GPU(rest) "{\"lxc_configs\":{\"101\":{\"features\":[\"nvidia\"],\"gpu_assignment\":\"0\"" rest "}}"

static void test_look_up(void **state)
{
	static const struct {
		const char *lxc, *hyp, *version, *url, *cuda;
	} rows[] = {
		{ GPU(",\"nvidia_driver_version\":\"535.261.03\"") "}", NULL, "535.261.03", NULL, NULL },
		{ GPU("") ",\"nvidia_driver_version\":\"535.261.03\"}", NULL, "535.261.03", NULL, NULL },
		{ GPU(",\"nvidia_driver_version\":\"null\"") "}",
		  "{\"nvidia_driver\":{\"version\":\"550.54.14\"}}", "550.54.14", NULL, NULL },
		{ GPU(",\"nvidia_driver_version\":null") ",\"nvidia_driver_version\":\"\"}",
		  "{\"nvidia\":{\"driver_version\":\"550.54.14\"}}", "550.54.14", NULL, NULL },
		{ GPU(",\"nvidia_runfile_url\":\"" URL("570.1") "\"") "}",
		  "{\"nvidia_driver\":{\"cuda_version\":\"12.8\"}}", "570.1", URL("570.1"), "12.8" },
		{ GPU("") "}",
		  "{\"nvidia_driver\":{\"runfile_url\":\"" URL("570.1.2") "?a=b\",\"install\":false}}",
		  "570.1.2", URL("570.1.2") "?a=b", NULL },
		{ GPU("") "}", NULL, NULL, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(lxc_ct_config_done) struct lxc_ct_config ct = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_ok(read_ct(rows[i].lxc, rows[i].hyp, "101", true, &ct, &e), &e);
		assert_true(ct.enabled);
		if (rows[i].version)
			assert_string_equal(ct.version, rows[i].version);
		else
			assert_null(ct.version);
		if (rows[i].url)
			assert_string_equal(ct.url, rows[i].url);
		else
			assert_null(ct.url);
		if (rows[i].cuda)
			assert_string_equal(ct.cuda_version, rows[i].cuda);
		else
			assert_null(ct.cuda_version);
	}
}

static void test_errors(void **state)
{
	static const struct {
		const char *lxc, *hyp, *id, *slug, *text;
	} rows[] = {
		{ "[1]", NULL, "101", "container-config-invalid", "lxc.json" },
		{ "{\"lxc_configs\":{},\"lxc_configs\":{}}", NULL, "101", "container-config-invalid",
		  "duplicate" },
		{ "{}", NULL, "101", "container-config-invalid", "lxc_configs" },
		{ GPU("") "}", NULL, "102", "container-config-invalid", "102" },
		{ GPU("") "}", NULL, "99", "container-config-invalid", "at least 100" },
		{ GPU(",\"nvidia_driver_version\":\"53.1\"") "}", NULL, "101", "container-config-invalid",
		  "lxc_configs.101.nvidia_driver_version" },
		{ GPU(",\"nvidia_driver_version\":12") "}", NULL, "101", "container-config-invalid",
		  "not a string" },
		{ GPU(",\"nvidia_driver_version\":\"535.261.03\"") "}",
		  "{\"nvidia_driver\":{\"version\":\"550.54.14\"}}", "101", "container-versions-disagree",
		  "550.54.14" },
		{ GPU(",\"nvidia_driver_version\":\"535.261.03\",\"nvidia_runfile_url\":\"" URL(
		      "550.54.14") "\"") "}",
		  NULL, "101", "container-versions-disagree", "names 550.54.14" },
		{ GPU(",\"nvidia_runfile_url\":\"https://example.com/driver.run\"") "}", NULL, "101",
		  "container-config-invalid", "nvidia_runfile_url" },
		{ GPU(",\"nvidia_runfile_url\":\"ftp://example.com/NVIDIA-Linux-x86_64-570.1.run\"") "}",
		  NULL, "101", "container-config-invalid", "URL" },
		{ GPU(",\"nvidia_runfile_url\":\"https://e.com/NVIDIA-Linux-aarch64-570.1.run\"") "}", NULL,
		  "101", "container-config-invalid", "this machine" },
		{ GPU(",\"nvidia_runfile_sha256\":\"abc\"") "}", NULL, "101", "container-config-invalid",
		  "SHA-256" },
		{ GPU("") "}", "{\"nvidia_driver\":{\"cuda_version\":\"cuda-12\"}}", "101",
		  "container-config-invalid", "CUDA" },
		{ "{\"lxc_configs\":{\"101\":{\"features\":[\"nvidia\"],\"gpu_assignment\":\"zero\"}}}", NULL,
		  "101", "container-config-invalid", "gpu_assignment" },
		{ "{\"lxc_configs\":{\"101\":{\"clone_from_ctid\":\"102\"},\"102\":{\"clone_from_ctid\":"
		  "\"101\"}}}",
		  NULL, "101", "container-config-invalid", "loop" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(lxc_ct_config_done) struct lxc_ct_config ct = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_true(read_ct(rows[i].lxc, rows[i].hyp, rows[i].id, true, &ct, &e) < 0);
		assert_slug(&e, rows[i].slug);
		assert_int_equal(err_exit_status(e.code), 3);
		if (!strstr(e.reason, rows[i].text))
			fail_msg("\"%s\" does not say \"%s\"", e.reason, rows[i].text);
	}
}

static void test_gate(void **state)
{
	static const struct {
		const char *entry;
		bool enabled;
	} rows[] = {
		{ "\"features\":[\"nvidia\",\"docker\"],\"gpu_assignment\":\"0, 1\"", true },
		{ "\"features\":[\"nvidia\"],\"gpu_assignment\":\"none\"", false },
		{ "\"features\":[\"nvidia\"]", false },
		{ "\"features\":[\"docker\"],\"gpu_assignment\":\"0\"", false },
		{ "\"features\":\"nesting=1,keyctl=1\",\"gpu_assignment\":\"0\"", true },
		{ "\"gpu_assignment\":\"0\"", false },
		{ "\"features\":[\"nvidia\"],\"gpu_assignment\":\"GPU-01234567-89ab-cdef-0123-456789abcdef\"",
		  true },
		{ "\"features\":[\"nvidia\"],\"gpu_assignment\":\"0000:01:00.0\"", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(lxc_ct_config_done) struct lxc_ct_config ct = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *text = str_printf("{\"lxc_configs\":{\"101\":{%s}}}", rows[i].entry);

		assert_ok(read_ct(text, NULL, "101", true, &ct, &e), &e);
		assert_int_equal(ct.enabled, rows[i].enabled);
	}
}

static void test_template_inherited(void **state)
{
	const char *text =
	    "{\"lxc_configs\":{\"101\":{\"clone_from_ctid\":\"900\",\"features\":[]},"
	    "\"900\":{\"template\":\"local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst\","
	    "\"features\":[\"nvidia\"],\"gpu_assignment\":\"0\"}}}";
	_cleanup_(lxc_ct_config_done) struct lxc_ct_config ct = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)state;
	assert_ok(read_ct(text, NULL, "101", true, &ct, &e), &e);
	assert_string_equal(ct.os_id, "ubuntu");
	assert_string_equal(ct.os_version, "24.04");
	assert_false(ct.enabled); /* features and assignment are not inherited */
}

static void test_no_configuration(void **state)
{
	_cleanup_(lxc_ct_config_done) struct lxc_ct_config ct = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)state;
	assert_ok(read_ct(NULL, NULL, "web1", false, &ct, &e), &e);
	assert_true(ct.enabled);
	assert_false(ct.configured);
	assert_null(ct.version);
	assert_null(ct.assignment);
	assert_true(read_ct(NULL, NULL, "../x", false, &ct, &e) < 0);
}

static void test_runfile_names(void **state)
{
	static const struct {
		const char *name, *version;
	} rows[] = {
		{ "NVIDIA-Linux-x86_64-535.261.03.run", "535.261.03" },
		{ "NVIDIA-Linux-aarch64-580.65.06.run", "580.65.06" },
		{ "NVIDIA-Linux-x86_64-535.261.03-no-compat32.run", "535.261.03" },
		{ "NVIDIA-Linux-x86_64-535.261.03-grid.run", "535.261.03" },
		{ "NVIDIA-Linux-x86_64-535.261.03-vgpu-kvm.run", "535.261.03" },
		{ "NVIDIA-Linux-x86_64-535.261.03-foo.run", NULL },
		{ "NVIDIA-Linux-x86-535.261.03.run", NULL },
		{ "NVIDIA-Linux-x86_64-535.run", NULL },
		{ "NVIDIA-Linux-x86_64-535.261.03.run.exe", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *version = NULL, *arch = NULL;
		int r = lxc_runfile_version(rows[i].name, &arch, &version);

		assert_int_equal(r, rows[i].version ? 0 : -EINVAL);
		if (rows[i].version)
			assert_string_equal(version, rows[i].version);
	}
}

static void test_ids(void **state)
{
	const char *text =
	    "{\"lxc_configs\":{\"102\":{\"features\":[\"nvidia\"],\"gpu_assignment\":\"0\"},\"101\":{}}}";
	_cleanup_(lxc_config_freep) struct lxc_config *c = NULL;
	_cleanup_strv_ char **all = NULL, **enabled = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)state;
	assert_ok(
	    lxc_config_parse(SPAN(text), "l", SPAN("{\"behavior\":{\"debug_mode\":true}}"), "h", &c, &e), &e);
	assert_int_equal(lxc_config_ids(c, false, &all), 0);
	assert_int_equal(lxc_config_ids(c, true, &enabled), 0);
	assert_int_equal(strv_len(all), 2);
	assert_string_equal(all[0], "101");
	assert_int_equal(strv_len(enabled), 1);
	assert_true(lxc_config_flag(c, "debug_mode", false));
	assert_true(lxc_config_flag(c, "rollback_on_failure", true));
}

TEST_MAIN(cmocka_unit_test(test_look_up), cmocka_unit_test(test_errors), cmocka_unit_test(test_gate),
	  cmocka_unit_test(test_template_inherited), cmocka_unit_test(test_no_configuration),
	  cmocka_unit_test(test_runfile_names), cmocka_unit_test(test_ids))
