/* SPDX-License-Identifier: Apache-2.0
 *
 * The small pure parts of the role: mounts, file lists, hook, reasons. */
#include "testlib.h"

#include "container-export.h"
#include "container-hook.h"
#include "container-prepare.h"
#include "container-status.h"
#include "strbuf.h"
#include "err-container.h"

/* D20: whole path components, every layer, those above first. */
static void finds_the_mounts_of_an_export(void **state _unused_)
{
	static const char text[] = "1 0 8:1 / / rw - ext4 a b\n"
				   "2 1 8:1 / /run/nvidia/driver/dev rw - devtmpfs a b\n"
				   "3 1 8:1 / /run/nvidia/driver rw shared:1 master:2 - ext4 a b\n"
				   "4 1 8:1 / /run/nvidia/driver rw - ext4 a b\n"
				   "5 1 8:1 / /run/nvidia/driver2 rw - ext4 a b\n"
				   "6 1 8:1 / /run/nvidia rw - ext4 a b\n"
				   "7 1 8:1 / /run/nvidia/driver/with\\040blank\\134 rw - ext4 a b\n"
				   "torn line\n"
				   "8 1 8:1 / /run/nvidia/driver/x\\9 rw";
	static const char *const want[] = { "/run/nvidia/driver", "/run/nvidia/driver",
					    "/run/nvidia/driver/dev", "/run/nvidia/driver/with blank\\",
					    "/run/nvidia/driver/x\\9" };
	_cleanup_strv_ char **got = NULL;

	assert_int_equal(container_mounts_below(SPAN(text), "/run/nvidia/driver", &got), 0);
	assert_int_equal(strv_len(got), ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_string_equal(got[i], want[i]);
}

static void keeps_the_kernel_part_of_a_manifest(void **state _unused_)
{
	static const char text[] =
	    "1\n2\n3\nnvidia\n5\n6\n7\n8\nlibcuda.so 0755\nkernel/a.c 0644\nLICENSE 0644\n"
	    "./kernel/b\nkernel-open/c.c 0644";
	_cleanup_free_ char *got = NULL, *empty = NULL;
	size_t len;

	assert_int_equal(container_manifest_filter(SPAN(text), &got, &len), 0);
	assert_string_equal(
	    got, "1\n2\n3\nnvidia\n5\n6\n7\n8\nkernel/a.c 0644\nLICENSE 0644\nkernel-open/c.c 0644\n");
	assert_int_equal(len, strlen(got));
	assert_int_equal(container_manifest_filter(SPAN(""), &empty, &len), 0);
	assert_string_equal(empty, "");
}

static void knows_a_guest_driver_by_its_name(void **state _unused_)
{
	static const char *const cases[][2] = { { "535.161.08-grid", "535.161.08" },
						{ "535.161.08", "535.161.08" },
						{ "-grid", "-grid" } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *got = container_plain_version(cases[i][0]);

		assert_string_equal(got, cases[i][1]);
	}
}

/* D12: exact names, NUL-separated, and a last entry that was cut. */
static void reads_an_environment(void **state _unused_)
{
	static const char bytes[] = "DRIVER_VERSION=1\0novalue\0X=a b\nc\0TARGETARCH=amd";
	_cleanup_strv_ char **got = NULL;

	assert_int_equal(container_hook_environment(bytes, sizeof(bytes) - 1, &got), 0);
	assert_int_equal(strv_len(got), 3);
	assert_string_equal(got[1], "X=a b\nc");
	assert_string_equal(got[2], "TARGETARCH=amd");
}

static void the_hook_never_fails(void **state _unused_)
{
	_cleanup_free_ char *text = container_hook_script("/usr/local/bin/nvidia-driver");

	assert_non_null(strstr(text, "#!/bin/sh\n"));
	assert_non_null(strstr(
	    text, "nsenter --target \"$pid\" --mount -- /usr/local/bin/nvidia-driver hook kernel \"$1\""));
	assert_non_null(strstr(text, ">&2\nexit 0\n"));
}

static void gives_each_failure_its_reason(void **state _unused_)
{
	static const struct {
		int code;
		const char *reason;
	} cases[] = { { -ERR_LOCKED, "lock-held" },
		      { -ERR_MODULE_IN_USE, "in-use" },
		      { ERR_KTREE_NOT_FOUND, "no-kernel-tree" },
		      { -ERR_MODULE_COMPILE, "build-failed" },
		      { -ERR_MODULE_KEY_UNSIGNED, "signature" },
		      { -ERR_SIGNING_REQUIRED, "signature" },
		      { -ERR_MODULE_SYMBOL, "module-load" },
		      { -ERR_DAEMON, "daemon" },
		      { -ERR_USAGE, "usage" },
		      { -ENOMEM, "other" } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(container_reason(cases[i].code), cases[i].reason);
}

TEST_MAIN(cmocka_unit_test(finds_the_mounts_of_an_export),
	  cmocka_unit_test(keeps_the_kernel_part_of_a_manifest),
	  cmocka_unit_test(knows_a_guest_driver_by_its_name), cmocka_unit_test(reads_an_environment),
	  cmocka_unit_test(the_hook_never_fails), cmocka_unit_test(gives_each_failure_its_reason))
