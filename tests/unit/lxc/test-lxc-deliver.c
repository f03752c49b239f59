/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-deliver.h"
#include "lxc-devices.h"
#include "lxc-installer.h"
#include "lxc-live.h"
#include "strbuf.h"

#include <stdlib.h>

static const char *entry_of(const json_t *entries, const char *path, const char *key)
{
	const json_t *o;
	size_t i;

	json_array_foreach (entries, i, o)
		if (strcmp(json_string_value(json_object_get(o, "path")), path) == 0)
			return json_string_value(json_object_get(o, key));
	return NULL;
}

static void test_view_entries(void **state)
{
	json_auto_t *files =
	    json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "path", "bin", "type",
		      "dir", "path", "bin/nvidia-smi", "type", "file", "path", "lib/libcuda.so.1", "type",
		      "link", "path", "share/OpenCL/vendors/nvidia.icd", "type", "file", "path",
		      "share/vulkan/icd.d/nvidia_icd.json", "type", "file");
	json_auto_t *plain = NULL, *graphics = NULL;

	(void)state;
	assert_int_equal(lxc_view_entries(files, false, false, "{}", &plain), 0);
	/* Two small files, one tool, the OpenCL file; libraries are found through the loader's configuration. */
	assert_int_equal(json_array_size(plain), 4);
	assert_string_equal(entry_of(plain, "usr/bin/nvidia-smi", "target"),
			    "/usr/lib/nvdriver/current/bin/nvidia-smi");
	assert_string_equal(entry_of(plain, "etc/OpenCL/vendors/nvidia.icd", "target"),
			    "/usr/lib/nvdriver/current/share/OpenCL/vendors/nvidia.icd");
	assert_int_equal(lxc_view_entries(files, true, true, "{}", &graphics), 0);
	assert_non_null(entry_of(graphics, "etc/vulkan/icd.d/nvidia_icd.json", "target"));
	/* No entry names a version: a template made this way never has an old one. */
	assert_null(strstr(entry_of(graphics, "usr/bin/nvidia-smi", "target"), "535"));
}

static void test_packaged(void **state)
{
	const char *text =
	    "Package: libcuda1\nStatus: install ok installed\n\nPackage: nvidia-smi\nStatus: deinstall ok "
	    "config-files\n\nPackage: libnvidia-compute-535\nStatus: install ok installed\n\n"
	    "Package: libnvidia-container1\nStatus: install ok installed\n";
	_cleanup_strv_ char **v = NULL, **none = NULL;

	(void)state;
	assert_int_equal(lxc_packaged_drivers(SPAN(text), &v), 0);
	assert_int_equal(strv_len(v), 2);
	assert_string_equal(v[0], "libcuda1");
	assert_string_equal(v[1], "libnvidia-compute-535");
	assert_int_equal(lxc_packaged_drivers(SPAN(""), &none), 0);
	assert_null(none);
}

static void test_installer_options(void **state)
{
	_cleanup_strv_ char **new = NULL, **old = NULL;

	(void)state;
	assert_int_equal(lxc_installer_options("535.261.03", SPAN_NULL, "/var/tmp/d", "/var/log/x.log", &new),
			 0);
	assert_true(strv_contains(new, "--no-kernel-module"));
	assert_true(strv_contains(new, "--no-rebuild-initramfs"));
	assert_true(strv_contains(new, "--log-file-name=/var/log/x.log"));
	/* The package's own script takes the directory as a word of its own. */
	assert_string_equal(new[strv_len(new) - 2], "--tmpdir");
	assert_string_equal(new[strv_len(new) - 1], "/var/tmp/d");
	assert_int_equal(lxc_installer_options("418.226.00", SPAN_NULL, "/tmp", "/l", &old), 0);
	assert_true(strv_contains(old, "--no-kernel-module"));
	assert_false(strv_contains(old, "--no-systemd"));
	assert_false(strv_contains(old, "--no-rebuild-initramfs"));
}

/* What the installer says about itself goes before what is known of its release. */
static void test_installer_help(void **state)
{
	const char *help =
	    "  -s, --silent\n      Run silently.\n  --no-kernel-modules\n      x\n  --no-x-check\n"
	    "  --dkms, --no-dkms\n  --no-backups-at-all\n";
	_cleanup_strv_ char **v = NULL, **none = NULL;

	(void)state;
	assert_int_equal(lxc_installer_options("418.226.00", SPAN(help), "/tmp", "/l", &v), 0);
	assert_string_equal(v[0], "--silent");
	assert_string_equal(v[1], "--no-kernel-modules");
	assert_string_equal(v[2], "--no-x-check");
	assert_string_equal(v[3], "--no-dkms");
	assert_int_equal(strv_len(v), 4 + 3);
	/* Never left out, listed or not. */
	assert_int_equal(lxc_installer_options("999.1", SPAN("--silent"), "/tmp", "/l", &none), 0);
	assert_string_equal(none[1], "--no-kernel-module");
}

static void test_live_names(void **state)
{
	_cleanup_free_ char *name = lxc_live_name("535.261.03", "0123456789abcdef"), *version = NULL,
			    *bad = NULL;

	(void)state;
	assert_string_equal(name, "535.261.03-0123456789ab");
	assert_int_equal(lxc_live_version(name, &version), 0);
	assert_string_equal(version, "535.261.03");
	assert_int_equal(lxc_live_version("current", &bad), -EINVAL);
	assert_int_equal(lxc_live_version("x-y", &bad), -EINVAL);
}

static char *as_it_is(const struct host *h, const char *absolute)
{
	(void)h;
	return strdup(absolute);
}

static void test_device_lines(void **state)
{
	struct lxc_node v[] = {
		{ LXC_NODE_GPU, "dev/nvidia1", 195, 1, true, true, 0666, "" },
		{ LXC_NODE_CTL, "dev/nvidiactl", 195, 255, true, true, 0666, "" },
		{ LXC_NODE_UVM, "dev/nvidia-uvm", 499, 0, true, true, 0666, "" },
		{ LXC_NODE_UVM_TOOLS, "dev/nvidia-uvm-tools", 499, 1, false, false, 0666, "" },
	};
	const struct lxc_nodes n = { v, ARRAY_LEN(v) };
	_cleanup_strv_ char **keys = NULL, **unified = NULL, **legacy = NULL, **stale = NULL;
	json_auto_t *record = json_pack("{s:[s, s]}", "lines", "lxc.cgroup2.devices.allow = c 243:* rw",
					"lxc.cgroup2.devices.allow = c 195:1 rw");
	char *have[] = { (char *)"lxc.cgroup2.devices.allow = c 243:* rw",
			 (char *)"lxc.cgroup2.devices.allow = c 195:1 rw",
			 (char *)"lxc.cgroup2.devices.allow = c 10:200 rw", NULL };

	(void)state;
	assert_int_equal(lxc_device_lines(&n, true, true, as_it_is, NULL, &keys), 0);
	assert_int_equal(strv_len(keys), 3); /* an optional node the host lacks is left out */
	assert_string_equal(keys[0], "dev = /dev/nvidia1,mode=0666");
	assert_int_equal(lxc_device_lines(&n, false, true, as_it_is, NULL, &unified), 0);
	assert_true(strv_contains(unified, "lxc.cgroup2.devices.allow = c 195:1 rw"));
	assert_true(strv_contains(unified, "lxc.cgroup2.devices.allow = c 499:* rw"));
	assert_true(strv_contains(
	    unified, "lxc.mount.entry = /dev/nvidia-uvm dev/nvidia-uvm none bind,optional,create=file 0 0"));
	assert_int_equal(lxc_device_lines(&n, false, false, as_it_is, NULL, &legacy), 0);
	assert_true(strv_contains(legacy, "lxc.cgroup.devices.allow = c 195:255 rw"));
	/* Only what we wrote ourselves, is there, and is no longer wanted. */
	assert_int_equal(lxc_device_stale(record, have, unified, &stale), 0);
	assert_int_equal(strv_len(stale), 1);
	assert_string_equal(stale[0], "lxc.cgroup2.devices.allow = c 243:* rw");
}

TEST_MAIN(cmocka_unit_test(test_view_entries), cmocka_unit_test(test_packaged),
	  cmocka_unit_test(test_installer_options), cmocka_unit_test(test_installer_help),
	  cmocka_unit_test(test_live_names), cmocka_unit_test(test_device_lines))
