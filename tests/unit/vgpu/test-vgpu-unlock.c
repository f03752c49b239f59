/* SPDX-License-Identifier: Apache-2.0
 *
 * What the unlock library presents, which toolchain builds it, the unit for virtual functions, and what nvidia-smi says. */
#include "testlib.h"

#include "host.h"
#include "vgpu-doctor.h"
#include "vgpu-services.h"
#include "vgpu-unlock.h"

#include <string.h>

static void presents_devices(void **state _unused_)
{
	static const struct {
		uint16_t device;
		const char *as;
	} rows[] = {
		{ 0x133f, NULL },
		{ 0x1340, "Tesla M10" },
		{ 0x13bd, "Tesla M10" },
		{ 0x13be, NULL },
		{ 0x13c0, "Tesla M60" },
		{ 0x17fd, "Tesla M60" },
		{ 0x1b80, "Tesla P40" },
		{ 0x1d81, "Tesla V100 32GB" },
		{ 0x1d82, NULL },
		{ 0x1dba, "Tesla V100 32GB" },
		{ 0x1e07, "Quadro RTX 6000" },
		{ 0x1ffa, NULL },
		{ 0x2182, "Quadro RTX 6000" },
		{ 0x2204, "RTX A6000" },
		{ 0x2601, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *as = unlock_presented(rows[i].device);

		if (rows[i].as)
			assert_string_equal(as, rows[i].as);
		else
			assert_null(as);
	}
}

static void chooses_toolchains(void **state _unused_)
{
	static const struct {
		const char *codename, *library, *first, *second;
	} rows[] = {
		{ "trixie", NULL, "cargo", "git" },
		{ "bookworm", NULL, "cargo-web", "git" },
		{ "bullseye", NULL, "curl", "git" },
		{ "trixie", "/tmp/own.so", "git", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct host h = { .root_fd = -EBADF, .proc_fd = -EBADF, .sys_fd = -EBADF, .dev_fd = -EBADF };
		struct unlock_request q = { .host = &h,
					    .codename = rows[i].codename,
					    .library = rows[i].library };
		const char *const *packages = unlock_packages(&q);

		assert_string_equal(packages[0], rows[i].first);
		if (rows[i].second)
			assert_string_equal(packages[1], rows[i].second);
		else
			assert_null(packages[1]);
	}
}

static void writes_units(void **state _unused_)
{
	static const char *const lines[] = {
		"\nAfter=network.target nvidia-vgpud.service nvidia-vgpu-mgr.service\n",
		"\nBefore=pve-guests.service\n",
		"\nType=oneshot\n",
		"\nExecStart=/usr/lib/nvidia/sriov-manage -e 0000:01:00.0\n",
		"\nWantedBy=multi-user.target\n",
	};
	_cleanup_free_ char *text = services_unit_text("0000:01:00.0");

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_non_null(strstr(text, lines[i]));
}

static void judges_nvidia_smi(void **state _unused_)
{
	static const struct {
		const char *text;
		bool unlock, bad;
	} rows[] = {
		{ "| NVIDIA-SMI 550.144.02 |", false, false },
		{ "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", false,
		  true },
		{ "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", true,
		  true },
		{ "No supported devices in vGPU mode", false, true },
		{ "No supported devices in vGPU mode", true, false },
		{ "", false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(vgpu_smi_reason(rows[i].text, rows[i].unlock) != NULL, rows[i].bad);
}

TEST_MAIN(cmocka_unit_test(presents_devices), cmocka_unit_test(chooses_toolchains),
	  cmocka_unit_test(writes_units), cmocka_unit_test(judges_nvidia_smi))
