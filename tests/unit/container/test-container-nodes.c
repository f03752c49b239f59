/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-nodes.h"

static void finds_majors_of_character_devices_only(void **state _unused_)
{
	static const char text[] =
	    "Character devices:\n  1 mem\n195 nvidia-frontend\n234 nvidia-caps\n"
	    "  x nvidia-odd\n99999 nvidia-big\n\nBlock devices:\n259 blkext\n  7 nvidia-uvm\n";
	static const struct {
		const char *name;
		int major; /* -1 = none */
	} cases[] = {
		{ "nvidia-frontend", 195 }, { "nvidia-caps", 234 }, { "nvidia", -1 }, { "nvidia-uvm", -1 },
		{ "nvidia-odd", -1 },	    { "nvidia-big", -1 },   { "mem", 1 }
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned major = 0;
		int r = device_major(SPAN(text), cases[i].name, &major);

		if (cases[i].major < 0)
			assert_int_equal(r, -ENOENT);
		else
			assert_int_equal(r == 0 ? (int)major : r, cases[i].major);
	}
}

static void reads_fields_and_refuses_rubbish(void **state _unused_)
{
	static const char text[] =
	    "DeviceFileMinor: 12\nDeviceFileMode: 0x100\nDevice Minor: \t 0\r\nLast: 7";
	uint64_t v = 99;

	assert_int_equal(device_field(SPAN(text), "DeviceFileMinor", 255, &v), 0);
	assert_int_equal(v, 12);
	assert_int_equal(device_field(SPAN(text), "Device Minor", 255, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(device_field(SPAN(text), "Last", 7, &v), 0);
	assert_int_equal(v, 7);
	assert_true(device_field(SPAN(text), "DeviceFileMinor", 11, &v) < 0);
	assert_true(device_field(SPAN(text), "DeviceFileMode", 0777, &v) < 0);
	assert_int_equal(device_field(SPAN(text), "DeviceFile", 255, &v), -ENOENT);
	assert_int_equal(v, 7);
}

/* A driver loaded without uvm, capabilities of several GPUs, and entries that make no sense. */
static void lists_what_the_kernel_names(void **state _unused_)
{
	static const char *const want[] = { "nvidiactl", "nvidia-modeset", "nvidia0",
					    "nvidia-caps/nvidia-cap2", "nvidia-caps/nvidia-cap3" };
	_cleanup_(device_nodes_done) struct device_nodes l = { 0 }, none = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(host_freep) struct host *h = NULL;
	struct testdir t;

	testdir_make(&t);
	testdir_puts(&t, "proc/devices", "Character devices:\n195 nvidia\n240 nvidia-caps\n");
	testdir_puts(&t, "proc/driver/nvidia/gpus/0000:01:00.0/information", "Device Minor: 0\n");
	testdir_puts(&t, "proc/driver/nvidia/gpus/0000:01:00.0/registry", "Device Minor: 9\n");
	testdir_puts(&t, "proc/driver/nvidia/gpus/0000:02:00.0/information", "Device Minor: 255\n");
	testdir_puts(&t, "proc/driver/nvidia/gpus/0000:03:00.0/information", "Model: x\n");
	testdir_puts(&t, "proc/driver/nvidia/capabilities/gpu0/mig/gi1/access",
		     "DeviceFileMinor: 3\nDeviceFileMode: 292\n");
	testdir_puts(&t, "proc/driver/nvidia/capabilities/fabric-imex-mgmt",
		     "DeviceFileMinor: 2\nDeviceFileMode: 256\n");
	testdir_puts(&t, "proc/driver/nvidia/capabilities/mig/monitor",
		     "DeviceFileMinor: 4\nDeviceFileMode: 33188\n");
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_int_equal(container_nodes_list(h, &l), 0);
	assert_int_equal(l.n, ARRAY_LEN(want));
	for (size_t i = 0; i < l.n; i++)
		assert_string_equal(l.v[i].name, want[i]);
	assert_int_equal(l.v[4].major, 240);
	assert_int_equal(l.v[4].minor, 3);
	assert_int_equal(l.v[4].mode, 0444);

	testdir_puts(&t, "proc/devices", "Character devices:\n  1 mem\n");
	assert_int_equal(container_nodes_list(h, &none), 0);
	assert_int_equal(none.n, 0);
	testdir_done(&t);
}

TEST_MAIN(cmocka_unit_test(finds_majors_of_character_devices_only),
	  cmocka_unit_test(reads_fields_and_refuses_rubbish), cmocka_unit_test(lists_what_the_kernel_names))
