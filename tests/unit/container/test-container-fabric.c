/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-fabric.h"

static const char *const fabric_text = "# fabric manager\n"
				       "LOG_LEVEL=4\n"
				       "  FABRIC_MODE=0 \n"
				       "FABRIC_MODE=0\n"
				       "#FABRIC_MODE=2\n"
				       "FABRIC_MODE_RESTART=0\n";

static void overrides(void **state _unused_)
{
	static const struct {
		const char *text, *settings[5], *want;
		unsigned warnings;
	} cases[] = {
		{ "A=1\nB=2\n", { NULL }, "A=1\nB=2\n", 0 },
		{ "A=1\nB=2\n", { "A=3" }, "A=3\nB=2\n", 0 },
		{ "A=1\nB=2", { "B=" }, "A=1\nB=\n", 0 },
		{ "A=1\nA=2\nB=2\n", { "A=3" }, "A=3\nB=2\n", 0 },
		{ "A=1", { "C=x y" }, "A=1\nC=x y\n", 0 },
		{ "A=1", { NULL }, "A=1", 0 },
		{ "", { "C=x", "C=y" }, "C=y\n", 0 },
		{ "AB=1\nA = 1\n#A=1\n", { "A=2" }, "AB=1\nA = 1\n#A=1\nA=2\n", 0 },
		{ "A=1\r\n", { "A=2" }, "A=2\n", 0 },
		{ "A=1\n", { "=2", "A=2" }, "A=2\n", 1 },
		{ "A=1\n", { "A=2\nB=3", "A B=1", "A", "B=" }, "A=1\nB=\n", 3 },
		{ "P=a=b\n", { "P=c=d" }, "P=c=d\n", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(strbuf_done) struct strbuf once = STRBUF_INIT(4096), twice = STRBUF_INIT(4096);
		_cleanup_strv_ char **warnings = NULL, **again = NULL;
		char *const *settings = (char *const *)cases[i].settings;

		assert_int_equal(container_fabric_override(SPAN(cases[i].text), settings, &once, &warnings),
				 0);
		assert_string_equal(strbuf_str(&once), cases[i].want);
		assert_int_equal(strv_len(warnings), cases[i].warnings);
		assert_int_equal(container_fabric_override(SPAN(strbuf_str(&once)), settings, &twice, &again),
				 0);
		assert_string_equal(strbuf_str(&twice), strbuf_str(&once));
	}
}

static void leaves_the_rest_alone(void **state _unused_)
{
	static const char *const settings[] = { "FABRIC_MODE=1", "LOG_FILE_NAME=/var/log/fm.log", NULL };
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(4096), small = STRBUF_INIT(8);
	_cleanup_strv_ char **warnings = NULL;

	assert_int_equal(
	    container_fabric_override(SPAN(fabric_text), (char *const *)settings, &out, &warnings), 0);
	assert_null(warnings);
	assert_string_equal(strbuf_str(&out), "# fabric manager\nLOG_LEVEL=4\n  FABRIC_MODE=0 \n"
					      "FABRIC_MODE=1\n#FABRIC_MODE=2\nFABRIC_MODE_RESTART=0\n"
					      "LOG_FILE_NAME=/var/log/fm.log\n");
	assert_int_equal(
	    container_fabric_override(SPAN(fabric_text), (char *const *)settings, &small, &warnings), -E2BIG);
}

static void knows_when_to_reset(void **state _unused_)
{
	static const char *const yes[] = { "FABRIC_MODE=0", "FABRIC_MODE=1", NULL };
	static const char *const no[] = { "FABRIC_MODE=1", "FABRIC_MODE=0", "FABRIC_MODE_RESTART=1", NULL };
	static const char *const other[] = { "FABRIC_MODE=11", NULL };

	assert_true(container_fabric_resets_gpus((char *const *)yes));
	assert_false(container_fabric_resets_gpus((char *const *)no));
	assert_false(container_fabric_resets_gpus((char *const *)other));
	assert_false(container_fabric_resets_gpus(NULL));
}

static void detects(void **state _unused_)
{
	static const char vpd[] = "\x82\x10\0NVIDIA\0\0SW_MNG\0rest";
	static const struct {
		bool infiniband, pci, nvswitch;
		const char *vendor; /* of the PCI function with such data */
		enum fabric_kind want;
	} cases[] = {
		{ false, false, false, "0x15b3", FABRIC_NONE },
		{ false, false, true, "0x15b3", FABRIC_NVSWITCH },
		{ true, false, true, "0x15b3", FABRIC_NVLINK5 },
		/* the InfiniBand modules are missing: still known to be NVLink 5 */
		{ false, true, true, "0x15b3", FABRIC_NVLINK5 },
		{ false, true, true, "0x10de", FABRIC_NVSWITCH },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(host_freep) struct host *h = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;

		testdir_make(&t);
		testdir_puts(&t, "sys/bus/pci/devices/0000:05:00.0/vendor", cases[i].vendor);
		testdir_puts(&t, "sys/bus/pci/devices/0000:05:00.0/device", "0x1021\n");
		testdir_puts(&t, "sys/bus/pci/devices/0000:05:00.0/class", "0x020700\n");
		testdir_puts(&t, "sys/class/infiniband/mlx5_0/device/vpd", "plain adapter");
		testdir_puts(&t, "proc/driver/nvidia/version", "x");
		if (cases[i].pci)
			testdir_write(&t, "sys/bus/pci/devices/0000:05:00.0/vpd", vpd, sizeof(vpd), 0644);
		if (cases[i].infiniband)
			testdir_write(&t, "sys/class/infiniband/mlx5_1/device/vpd", vpd, sizeof(vpd), 0644);
		if (cases[i].nvswitch)
			testdir_puts(&t, "proc/driver/nvidia-nvswitch/devices/0000:06:00.0", "");
		assert_ok(host_open(t.path, &h, &e), &e);
		assert_int_equal(container_fabric_detect(h), cases[i].want);
	}
}

static void names_the_missing_module(void **state _unused_)
{
	static const struct {
		const char *modules, *want;
	} cases[] = {
		{ "", "mlx5_core" },
		{ "mlx5_core 1 0 - Live 0x0\n", "ib_umad" },
		{ "ib_umad 1 0 - Live 0x0\nmlx5_core 1 0 - Live 0x0\n", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(host_freep) struct host *h = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		const char *missing;

		testdir_make(&t);
		testdir_puts(&t, "proc/modules", cases[i].modules);
		assert_ok(host_open(t.path, &h, &e), &e);
		missing = container_fabric_missing(h);
		if (cases[i].want)
			assert_string_equal(missing, cases[i].want);
		else
			assert_null(missing);
	}
}

TEST_MAIN(cmocka_unit_test(overrides), cmocka_unit_test(leaves_the_rest_alone),
	  cmocka_unit_test(knows_when_to_reset), cmocka_unit_test(detects),
	  cmocka_unit_test(names_the_missing_module))
