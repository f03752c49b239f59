/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "flavour.h"
#include "jutil.h"

static const char supported_text[] =
    "{\"chips\": ["
    "{\"devid\": \"0x0FFD\", \"name\": \"old\", \"legacybranch\": \"470.xx\", \"features\": []},"
    "{\"devid\": \"0x15F8\", \"name\": \"Tesla P100\", \"features\": [\"runtimepm\"]},"
    "{\"devid\": \"0x20B0\", \"name\": \"A100\", \"features\": [\"kernelopen\"]},"
    "{\"devid\": \"0x2684\", \"name\": \"RTX 4090\", \"features\": []},"
    "{\"devid\": \"0x2684\", \"subvendorid\": \"0x10DE\", \"subdevid\": \"0x1234\", \"features\": "
    "[\"kernelopen\"]},"
    "{\"devid\": \"0x2901\", \"name\": \"B200\", \"features\": [\"kernelopen\"]},"
    "{\"devid\": 12}]}";

#define OPEN	    1u
#define PROPRIETARY 2u

static void decides(void **state _unused_)
{
	static const struct {
		unsigned branch, tree;
		bool with_list;
		struct {
			uint16_t device, sub_vendor, sub_device;
			const char *chip, *architecture;
		} gpus[3];
		const char *want; /* NULL: refused */
	} rows[] = {
		/* the driver's list */
		{ 535, OPEN | PROPRIETARY, true, { { 0x20b0 } }, "proprietary" },
		{ 535, OPEN, true, { { 0x20b0 } }, "open" },
		{ 560, OPEN | PROPRIETARY, true, { { 0x20b0 } }, "open" },
		{ 560, OPEN | PROPRIETARY, true, { { 0x2684 } }, "proprietary" },
		{ 560, OPEN | PROPRIETARY, true, { { 0x2684, 0x10de, 0x1234 } }, "open" },
		{ 560, OPEN | PROPRIETARY, true, { { 0x2684, 0x10de, 0x9999 } }, "proprietary" },
		{ 535, OPEN | PROPRIETARY, true, { { 0x2901 }, { 0x20b0 } }, "open" },
		{ 535, OPEN | PROPRIETARY, true, { { 0x20b0 }, { 0x15f8 } }, "proprietary" },
		{ 570, OPEN | PROPRIETARY, true, { { 0x2901 }, { 0x20b0 } }, "open" },
		{ 570, OPEN | PROPRIETARY, true, { { 0x2901 }, { 0x15f8 } }, NULL },
		{ 535, OPEN | PROPRIETARY, true, { { 0x0ffd } }, NULL },
		/* the tree has but one kind */
		{ 535, PROPRIETARY, true, { { 0x20b0 } }, "proprietary" },
		{ 590, OPEN, true, { { 0x15f8 } }, NULL },
		{ 570, PROPRIETARY, true, { { 0x2901 } }, NULL },
		/* no list, or a device it does not have: the table, then the ranges */
		{ 570, OPEN | PROPRIETARY, false, { { 0x20b0 } }, "open" },
		{ 535, OPEN | PROPRIETARY, false, { { 0x20b0 } }, "proprietary" },
		{ 570, OPEN | PROPRIETARY, false, { { 0x1dff } }, "proprietary" },
		{ 570, OPEN | PROPRIETARY, false, { { 0x1e00 } }, "open" },
		{ 570, OPEN | PROPRIETARY, false, { { 0x1e00, 0, 0, "GV100", "Volta" } }, "proprietary" },
		{ 570,
		  OPEN | PROPRIETARY,
		  false,
		  { { 0x2800, 0, 0, "GB202", "Blackwell" }, { 0x1db4 } },
		  NULL },
		{ 570, OPEN | PROPRIETARY, false, { { 0x28ff }, { 0x1db4 } }, "proprietary" },
		{ 570, OPEN | PROPRIETARY, false, { { 0x2900 }, { 0x1db4 } }, NULL },
		{ 570, OPEN | PROPRIETARY, true, { { 0x2330, 0, 0, "GH100", "Hopper" } }, "open" },
		/* no device */
		{ 535, OPEN | PROPRIETARY, true, { { 0 } }, "proprietary" },
		{ 560, OPEN | PROPRIETARY, true, { { 0 } }, "open" },
		{ 590, OPEN, false, { { 0 } }, "open" },
		{ 535, OPEN, false, { { 0 } }, "open" },
		{ 470, PROPRIETARY, false, { { 0 } }, "proprietary" },
	};
	_cleanup_json_ json_t *supported = NULL;

	assert_int_equal(jparse(SPAN(supported_text), &supported, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(flavour_choice_done) struct flavour_choice c = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct gpu v[3] = { 0 };
		struct gpu_list list = { v, 0 };
		struct flavour_facts f = { .gpus = &list,
					   .supported = rows[i].with_list ? supported : NULL,
					   .branch = rows[i].branch,
					   .has_open = rows[i].tree & OPEN,
					   .has_proprietary = rows[i].tree & PROPRIETARY };
		int r;

		for (; list.n < 3 && rows[i].gpus[list.n].device; list.n++) {
			struct gpu *g = &v[list.n];

			g->pci.device = rows[i].gpus[list.n].device;
			g->pci.sub_vendor = rows[i].gpus[list.n].sub_vendor;
			g->pci.sub_device = rows[i].gpus[list.n].sub_device;
			g->info.chip = (char *)rows[i].gpus[list.n].chip;
			g->info.architecture = (char *)rows[i].gpus[list.n].architecture;
			(void)snprintf(g->pci.address, sizeof(g->pci.address), "0000:0%zu:00.0", list.n);
		}
		r = flavour_decide(&f, &c, &e);
		if (rows[i].want ? r < 0 || strcmp(c.flavour, rows[i].want) != 0 : r != -ERR_FLAVOUR_MIXED)
			fail_msg("row %zu: %d %s %s", i, r, c.flavour ? c.flavour : "-",
				 e.reason ? e.reason : "");
		if (r < 0) {
			char device[8];

			/* every device is named, with what it would need */
			for (size_t k = 0; k < list.n; k++) {
				(void)snprintf(device, sizeof(device), "%04x", v[k].pci.device);
				assert_non_null(strstr(e.reason, v[k].pci.address));
				assert_non_null(strstr(e.reason, device));
			}
		}
	}
}

/* From the machine's directories and the driver's own tree. */
static void reads_machine_and_tree(void **state _unused_)
{
	_cleanup_(flavour_choice_done) struct flavour_choice c = { 0 }, second = { 0 };
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	int tree;

	testdir_make(&t);
	testdir_puts(&t, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
	testdir_puts(&t, "sys/bus/pci/devices/0000:01:00.0/device", "0x20b0\n");
	testdir_puts(&t, "sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n");
	testdir_puts(&t, "sys/bus/pci/devices/0000:02:00.0/vendor", "0x15b3\n");
	testdir_puts(&t, "sys/bus/pci/devices/0000:02:00.0/device", "0x1017\n");
	testdir_puts(&t, "sys/bus/pci/devices/0000:02:00.0/class", "0x020000\n");
	testdir_puts(&t, "tree/kernel/Kbuild", "");
	testdir_puts(&t, "tree/kernel-open/Kbuild", "");
	assert_ok(host_open(t.path, &h, &e), &e);
	tree = openat(t.fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(flavour_choose(h, tree, "535.183.06", &c, &e), &e);
	assert_string_equal(c.flavour, "proprietary");
	testdir_puts(&t, "tree/supported-gpus/supported-gpus.json", supported_text);
	assert_ok(flavour_choose(h, tree, "570.86.15", &second, &e), &e);
	assert_string_equal(second.flavour, "open");
	close(tree);
}

TEST_MAIN(cmocka_unit_test(decides), cmocka_unit_test(reads_machine_and_tree))
