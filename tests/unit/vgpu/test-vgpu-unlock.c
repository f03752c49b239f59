/* SPDX-License-Identifier: Apache-2.0
 *
 * What the unlock library presents, which toolchain builds it, the unit for virtual functions, and what nvidia-smi says. */
#include "vgpu-attach.h"
#include "vgpu-doctor.h"
#include "vgpu-types.h"
#include "testlib.h"

#include "host.h"
#include "strbuf.h"
#include "vgpu-doctor.h"
#include "vgpu-profile.h"
#include "vgpu-services.h"
#include "vgpu-space.h"
#include "vgpu-unlock.h"
#include "vgpu-use.h"

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

static void parses_sizes(void **state _unused_)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* 0 = refused */
	} rows[] = {
		{ "1024", 1024 },
		{ " 2GiB ", (uint64_t)2 << 30 },
		{ "1.5 GiB", (uint64_t)3 << 29 },
		{ "512 MB", 512000000 },
		{ "7kB", 7000 },
		{ "", 0 },
		{ "GiB", 0 },
		{ "1 gib", 0 },
		{ "-1", 0 },
		{ "99999999TiB", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t bytes = 0;

		assert_int_equal(unlock_size_parse(SPAN(rows[i].text), &bytes), rows[i].bytes ? 0 : -EINVAL);
		if (rows[i].bytes)
			assert_true(bytes == rows[i].bytes);
	}
}

/* What a card of 24 GiB cannot hold. */
static void overrides_fit_the_card(void **state _unused_)
{
	static const struct {
		const char *text, *said; /* NULL = nothing */
	} rows[] = {
		{ "", NULL },
		{ "[profile.nvidia-256]\nframebuffer = \"20GiB\"\nframebuffer_reservation = \"4GiB\"\n",
		  NULL },
		{ "[profile.nvidia-256]\nframebuffer = \"32GiB\"\n", "profile.nvidia-256 takes 32768 MiB" },
		{ "[profile.nvidia-256]\nframebuffer = \"8GiB\"\nmax_instances = 3\n", NULL },
		{ "[profile.nvidia-256]\nframebuffer = \"8GiB\"\nmax_instances = 4\n",
		  "4 instances of 8192 MiB" },
		{ "[vm.100]\nframebuffer = \"16GiB\"\n[vm.101]\nframebuffer = \"16GiB\"\n",
		  "32768 MiB together, and the card has 24576" },
		{ "[vm.100]\ndisplay_width = 1920\ndisplay_height = 1080\nmax_pixels = 2073600\n", NULL },
		{ "[vm.100]\ndisplay_width = 1920\ndisplay_height = 1080\nmax_pixels = 9\n",
		  "max_pixels is 9, and display_width times display_height 2073600" },
		{ "[broken", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(unlock_problems_done) struct unlock_problems p = { 0 };

		assert_int_equal(unlock_profile_fits(SPAN(rows[i].text), (uint64_t)24 << 30, &p), 0);
		assert_int_equal(strv_len(p.list), rows[i].said ? 1 : 0);
		assert_true(!rows[i].said || strstr(p.list[0], rows[i].said));
		assert_false(p.fatal);
	}
}

static void types_tell_their_size(void **state _unused_)
{
	static const struct {
		const char *name;
		unsigned mib;
	} rows[] = { { "GRID T4-1Q", 1024 },
		     { "NVIDIA A40-48C", 49152 },
		     { "GRID M60-0B", 512 },
		     { "NVIDIA A100-1-5C", 5120 },
		     { "NVIDIA A40", 0 },
		     { "", 0 },
		     { "x-1", 0 },
		     { "x-1QQ", 0 },
		     { "x-Q", 0 } };
	struct vgpu_type t = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(vgpu_type_size_mib(rows[i].name), rows[i].mib);
	vgpu_type_describe(&t, SPAN("num_heads=4, frl_config=60, framebuffer=2048M, max_instance=12"));
	assert_int_equal(t.displays, 4);
	assert_int_equal(t.framebuffer_mib, 2048);
}

static void finds_a_free_place(void **state _unused_)
{
	char full[1024] = "";

	assert_int_equal(attach_free_slot(SPAN("")), 0);
	assert_int_equal(attach_free_slot(SPAN("hostpci0: a\nhostpci2: b\n")), 1);
	assert_int_equal(attach_free_slot(SPAN("cores: 2\n[snap]\nhostpci0: a\n")), 0);
	assert_int_equal(attach_free_slot(SPAN("hostpci: a\nhostpci99: b\nhostpcix: c\nhostpci0\n")), 0);
	for (int i = 0; i < 16; i++)
		(void)snprintf(full + strlen(full), sizeof(full) - strlen(full), "hostpci%d: x\n", i);
	assert_int_equal(attach_free_slot(SPAN(full)), -ENOSPC);
}

static void nvidia_smi_answers(void **state _unused_)
{
	static const char memory[] = "00000000:01:00.0, 24576\n00000000:41:00.0, 49140\n";
	static const char guests[] =
	    "GPU 00000000:41:00.0\n    vGPU ID : 1\n        Guest Driver Version : N/A\n"
	    "        Guest Driver Version              : 550.54.14\n"
	    "        Guest Driver Version              : 580.65.06\n";
	char newer[32];

	assert_true(vgpu_smi_memory(memory, "0000:41:00.0") == (uint64_t)49140 << 20);
	assert_true(vgpu_smi_memory(memory, "0000:42:00.0") == 0);
	assert_true(vgpu_smi_memory("", "0000:42:00.0") == 0);
	vgpu_smi_newer_guest(guests, "570.124.03", newer);
	assert_string_equal(newer, "580.65.06");
	vgpu_smi_newer_guest(guests, "580.65.05", newer);
	assert_string_equal(newer, "");
}

static void splits_framebuffers(void **state _unused_)
{
	uint64_t framebuffer, reservation;

	assert_int_equal(unlock_framebuffer((uint64_t)1 << 30, &framebuffer, &reservation), 0);
	assert_true(framebuffer == 0x38000000 && reservation == 0x8000000);
	assert_int_equal(unlock_framebuffer((uint64_t)2 << 30, &framebuffer, &reservation), 0);
	assert_true(framebuffer == 0x74000000 && reservation == 0xC000000);
	assert_int_equal(unlock_framebuffer((uint64_t)1 << 29, &framebuffer, &reservation), 0);
	assert_true(framebuffer + reservation == (uint64_t)1 << 29);
	assert_int_equal(unlock_framebuffer((uint64_t)48 << 30, &framebuffer, &reservation), -ERANGE);
}

static void checks_files(void **state _unused_)
{
	static const struct {
		int (*check)(struct span, struct unlock_problems *);
		bool fatal;
		const char *text, *problem; /* NULL = none */
	} rows[] = {
		{ unlock_profile_check, true, "", NULL },
		{ unlock_profile_check, true,
		  "[profile.nvidia-256]\nnum_displays = 1\nframebuffer = \"1GiB\"\n", NULL },
		{ unlock_profile_check, true,
		  "[vm.100]\nframebuffer = 0x74000000\nframebuffer_reservation = 0xC000000\n", NULL },
		{ unlock_profile_check, false,
		  "[vm.100]\nframebuffer = 0x74000000\nframebuffer_reservation = 1\n",
		  "no multiple of half a GiB" },
		{ unlock_profile_check, true, "[profile.nvidia-256]\nnum_displays = \"1\"\n",
		  "num_displays has to be a number" },
		{ unlock_profile_check, true, "[profile.nvidia-256]\nframebuffer = \"1 lot\"\n",
		  "framebuffer has to be a size" },
		{ unlock_profile_check, false, "[profile.nvidia-256]\ntypo = 1\n",
		  "the library knows no typo" },
		{ unlock_profile_check, false, "[profil.x]\na=1\n", "no table profil" },
		{ unlock_profile_check, true, "profile = 1\n", "profile is no table" },
		{ unlock_profile_check, true, "[profile.x\n", "line 1:" },
		{ unlock_config_check, true, "unlock = false\n[pci_info_map.0x1e07]\ndevice_id = 1\n", NULL },
		{ unlock_config_check, true, "unlock = 0\n", "unlock has to be true or false" },
		{ unlock_config_check, true, "pci_info_map = 1\n", "pci_info_map has to be a table" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(unlock_problems_done) struct unlock_problems p = { 0 };

		assert_int_equal(rows[i].check(SPAN(rows[i].text), &p), 0);
		if (!rows[i].problem && p.list)
			fail_msg("row %zu: %s", i, p.list[0]);
		if (rows[i].problem)
			assert_true(p.list && p.fatal == rows[i].fatal && strstr(p.list[0], rows[i].problem));
	}
}

static void names_guests(void **state _unused_)
{
	assert_int_equal(vgpu_uuid_guest("00000000-0000-0000-0000-000000000101"), 101);
	assert_int_equal(vgpu_uuid_guest("00000003-0000-0000-0000-000000001000"), 1000);
	assert_int_equal(vgpu_uuid_guest("2d3e1a2c-0000-4000-8000-000000000001"), 0);
	assert_int_equal(vgpu_uuid_guest("00000000-0000-0000-0000-00000000010x"), 0);
	assert_int_equal(vgpu_uuid_guest("x"), 0);
}

static void measures_partitions(void **state _unused_)
{
	const uint64_t mib = (uint64_t)1 << 20;

	assert_true(space_fits(512 * mib, 4, 100 * mib));
	assert_false(space_fits(512 * mib, 5, 100 * mib));
	assert_true(space_fits(116 * mib, 1, 100 * mib));
	assert_false(space_fits(115 * mib, 1, 100 * mib));
	assert_false(space_fits(UINT64_MAX, 3, UINT64_MAX / 2));
}

TEST_MAIN(cmocka_unit_test(measures_partitions), cmocka_unit_test(parses_sizes),
	  cmocka_unit_test(splits_framebuffers), cmocka_unit_test(overrides_fit_the_card),
	  cmocka_unit_test(types_tell_their_size), cmocka_unit_test(nvidia_smi_answers),
	  cmocka_unit_test(finds_a_free_place), cmocka_unit_test(checks_files),
	  cmocka_unit_test(names_guests), cmocka_unit_test(presents_devices),
	  cmocka_unit_test(chooses_toolchains), cmocka_unit_test(writes_units),
	  cmocka_unit_test(judges_nvidia_smi))
