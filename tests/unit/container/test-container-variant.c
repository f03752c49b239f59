/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-variant.h"

static void names_the_packages(void **state _unused_)
{
	static const struct {
		const char *kernel, *nevra, *core; /* nevra NULL: no rpm kernel */
	} rows[] = {
		{ "5.14.0-284.11.1.el9_2.x86_64", "kernel-devel-5.14.0-284.11.1.el9_2.x86_64",
		  "kernel-core" },
		{ "5.14.0-570.19.1.el9_6.aarch64+64k", "kernel-64k-devel-5.14.0-570.19.1.el9_6.aarch64",
		  "kernel-64k-core" },
		{ "5.14.0-427.13.1.el9_4.x86_64+rt", "kernel-rt-devel-5.14.0-427.13.1.el9_4.x86_64",
		  "kernel-rt-core" },
		{ "5.14.0-427.13.1.el9_4.x86_64+debug", "kernel-debug-devel-5.14.0-427.13.1.el9_4.x86_64",
		  "kernel-debug-core" },
		{ "5.14.0-427.13.1.el9_4.x86_64+rt-debug",
		  "kernel-rt-debug-devel-5.14.0-427.13.1.el9_4.x86_64", "kernel-rt-debug-core" },
		{ "5.14.0-427.13.1.el9_4.aarch64+64k-debug",
		  "kernel-64k-debug-devel-5.14.0-427.13.1.el9_4.aarch64", "kernel-64k-debug-core" },
		{ "5.14.0-503.1.el9_5.aarch64+rt-64k", "kernel-rt-64k-devel-5.14.0-503.1.el9_5.aarch64",
		  "kernel-rt-64k-core" },
		/* before the variant had a suffix */
		{ "4.18.0-553.rt7.342.el8_10.x86_64", "kernel-rt-devel-4.18.0-553.rt7.342.el8_10.x86_64",
		  "kernel-rt-core" },
		{ "5.14.0-284.11.1.rt14.296.el9_2.x86_64+debug",
		  "kernel-rt-debug-devel-5.14.0-284.11.1.rt14.296.el9_2.x86_64", "kernel-rt-debug-core" },
		{ "4.18.0-513.9.1.el8_9.x86_64+debug", "kernel-debug-devel-4.18.0-513.9.1.el8_9.x86_64",
		  "kernel-debug-core" },
		{ "5.15.0-200.131.27.el9uek.x86_64", "kernel-uek-devel-5.15.0-200.131.27.el9uek.x86_64",
		  "kernel-uek-core" },
		{ "5.15.0-200.131.27.el9uek.x86_64.debug",
		  "kernel-uek-debug-devel-5.15.0-200.131.27.el9uek.x86_64", "kernel-uek-debug-core" },
		{ "4.18.0-513.el8.centos.plus.x86_64", "kernel-plus-devel-4.18.0-513.el8.centos.plus.x86_64",
		  "kernel-plus-core" },
		{ "6.1.0-77-amd64", NULL, NULL },
		{ "5.14.0.x86_64", NULL, NULL },
		{ "-1.x86_64", NULL, NULL },
		{ "5.14.0-.x86_64", NULL, NULL },
		{ "5.14.0-1.el9.x86_64+strange", NULL, NULL },
		{ "", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *nevra = NULL, *back = NULL;
		struct kernel_package p;
		int r = kernel_package_parse(rows[i].kernel, &p);

		if (!rows[i].nevra) {
			if (r != -EINVAL)
				fail_msg("%s is accepted", rows[i].kernel);
			continue;
		}
		assert_int_equal(r, 0);
		nevra = kernel_package_devel_nevra(&p);
		assert_string_equal(nevra, rows[i].nevra);
		assert_string_equal(p.core, rows[i].core);
		assert_int_equal(kernel_release_of_package(p.devel, p.version, p.release, p.arch, &back), 0);
		assert_string_equal(back, rows[i].kernel);
	}
}

static void refuses_a_preemptible_kernel(void **state _unused_)
{
	static const struct {
		const char *release, *banner, *config;
		bool refused;
	} rows[] = {
		{ "5.14.0-427.13.1.el9_4.x86_64",
		  "Linux version 5.14.0 (a@b) (gcc) #1 SMP PREEMPT_DYNAMIC Tue", "", false },
		{ "5.14.0-427.13.1.el9_4.x86_64+rt", NULL, NULL, true },
		{ "4.18.0-553.rt7.342.el8_10.x86_64", NULL, NULL, true },
		{ "6.1.0-18-rt-amd64", NULL, NULL, true },
		{ "5.14.0-1.start.el9.x86_64", NULL, NULL, false },
		{ "6.6.1-custom", "Linux version 6.6.1-custom (a@b) (gcc) #1 SMP PREEMPT_RT Tue", NULL,
		  true },
		{ "6.6.1-custom", NULL, "CONFIG_SMP=y\nCONFIG_PREEMPT_RT=y\n", true },
		{ "6.6.1-custom", NULL, "# CONFIG_PREEMPT_RT is not set\nCONFIG_PREEMPT_RT_X=y\n", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		int r = kernel_check_preemption(rows[i].release, rows[i].banner, rows[i].config, false, &e);

		if ((r < 0) != rows[i].refused)
			fail_msg("row %zu (%s): %d", i, rows[i].release, r);
		if (r < 0)
			assert_slug(&e, "kernel-preempt-rt");
		assert_int_equal(
		    kernel_check_preemption(rows[i].release, rows[i].banner, rows[i].config, true, &e), 0);
	}
}

TEST_MAIN(cmocka_unit_test(names_the_packages), cmocka_unit_test(refuses_a_preemptible_kernel))
