/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "gpu.h"
#include "strbuf.h"

#include <sqlite3.h>

static void put(const struct testdir *t, const char *address, const char *file, const char *text)
{
	_cleanup_free_ char *path = str_printf("sys/bus/pci/devices/%s/%s", address, file);

	testdir_puts(t, path, text);
}

static void put_device(const struct testdir *t, const char *address, const char *vendor, const char *device,
		       const char *class_code)
{
	put(t, address, "vendor", vendor);
	put(t, address, "device", device);
	put(t, address, "class", class_code);
}

static void finds_and_misses(void **state _unused_)
{
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(gpu_info_done) struct gpu_info i = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(gpu_db_open(NULL, &db, &e), &e);
	assert_ok(gpu_db_find(db, 0x2684, &i, &e), &e);
	assert_int_equal(i.device, 0x2684);
	assert_non_null(strstr(i.name, "4090"));
	assert_string_equal(i.chip, "AD102");
	assert_non_null(i.architecture);
	gpu_info_done(&i);
	assert_ok(gpu_db_find(db, 0x26b5, &i, &e), &e);
	assert_string_equal(i.vgpu, "Native");
	assert_true(strlen(i.branches) > 0);
	gpu_info_done(&i);
	assert_int_equal(gpu_db_find(db, 0xfffe, &i, &e), -ENOENT);
	assert_int_equal(e.code, 0);
	assert_null(i.name);
}

static int count(const struct gpu_info *info, void *arg, struct err *e _unused_)
{
	unsigned *n = arg;

	assert_true(info->name && info->vgpu);
	return ++*n == 5000 ? -ECANCELED : 0;
}

/* The database has every line of the CSV file. */
static void holds_every_row(void **state _unused_)
{
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *path = test_source_path("data/gpus.csv");
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	unsigned rows = 0, lines = 0;
	char line[1024];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		lines += strncmp(line, "10de,", 5) == 0;
	assert_ok(gpu_db_open(NULL, &db, &e), &e);
	assert_ok(gpu_db_each(db, count, &rows, &e), &e);
	assert_true(rows > 1000);
	assert_int_equal(rows, lines);
}

static void lists_a_machine(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(gpu_list_done) struct gpu_list l = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	put_device(&t, "0000:41:00.0", "0x10de\n", "0xfffe\n", "0x030200\n");
	put_device(&t, "0000:01:00.0", "0x10de\n", "0x2684\n", "0x030000\n");
	put(&t, "0000:01:00.0", "subsystem_vendor", "0x1043\n");
	put(&t, "0000:01:00.0", "subsystem_device", "0x88e2\n");
	put(&t, "0000:01:00.0", "revision", "0xa1\n");
	put_device(&t, "0000:01:00.1", "0x10de\n", "0x22ba\n", "0x040300\n"); /* its sound function */
	put_device(&t, "0000:00:02.0", "0x8086\n", "0x4680\n", "0x030000\n");
	put_device(&t, "not-an-address", "0x10de\n", "0x2684\n", "0x030000\n");
	put_device(&t, "0000:02:00.0", "junk\n", "0x2684\n", "0x030000\n");
	put_device(&t, "0000:03:00.0", "0x10de\n", "0x12684\n", "0x030000\n");
	put(&t, "0000:04:00.0", "vendor", "0x10de\n"); /* vanishing */
	assert_int_equal(
	    symlinkat("../../../../bus/pci/drivers/nvidia", t.fd, "sys/bus/pci/devices/0000:01:00.0/driver"),
	    0);
	assert_int_equal(symlinkat("../../\033[2J", t.fd, "sys/bus/pci/devices/0000:41:00.0/driver"), 0);
	/* As in the real thing, an entry may be a link below sys/. */
	put_device(&t, "../../../devices/pci0000:80/0000:81:00.0", "0x10de\n", "0x2235\n", "0x030200\n");
	assert_int_equal(
	    symlinkat("../../../devices/pci0000:80/0000:81:00.0", t.fd, "sys/bus/pci/devices/0000:81:00.0"),
	    0);
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_ok(gpu_db_open(NULL, &db, &e), &e);
	assert_ok(gpu_list_read(h, db, &l, &e), &e);
	assert_int_equal(l.n, 3);
	assert_string_equal(l.v[0].pci.address, "0000:01:00.0");
	assert_string_equal(l.v[0].pci.driver, "nvidia");
	assert_int_equal(l.v[0].pci.sub_vendor, 0x1043);
	assert_int_equal(l.v[0].pci.sub_device, 0x88e2);
	assert_int_equal(l.v[0].pci.revision, 0xa1);
	assert_string_equal(l.v[0].info.chip, "AD102");
	assert_string_equal(l.v[1].pci.address, "0000:41:00.0");
	assert_null(l.v[1].info.name);
	assert_null(l.v[1].pci.driver);
	assert_string_equal(l.v[2].pci.address, "0000:81:00.0");
	assert_non_null(l.v[2].info.name);
}

static void machine_without_pci(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(pci_list_done) struct pci_list l = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_ok(pci_list_read(h, &l, &e), &e);
	assert_int_equal(l.n, 0);
}

static void foreign_and_broken_tables(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(gpu_db_freep) struct gpu_db *db = NULL;
	_cleanup_(gpu_info_done) struct gpu_info i = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *path = NULL;
	unsigned rows = 0;
	sqlite3 *raw;

	testdir_make(&t);
	path = str_printf("%s/x.db", t.path);
	assert_int_equal(gpu_db_open(path, &db, &e), -ERR_GPU_TABLE);
	assert_slug(&e, "gpu-table-unusable");
	assert_string_equal(e.object, path);
	assert_false(testdir_has(&t, "x.db"));
	testdir_puts(&t, "x.db", "this is no database, but long enough to be looked at as one of them");
	assert_int_equal(gpu_db_open(path, &db, &e), -ERR_GPU_TABLE);
	assert_null(db);
	assert_int_equal(unlinkat(t.fd, "x.db", 0), 0);
	assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
	assert_int_equal(
	    sqlite3_exec(
		raw,
		"CREATE TABLE gpu_info (vendorid, deviceid PRIMARY KEY, description, vgpu, driver, chip);"
		"INSERT INTO gpu_info VALUES ('10de','1B06','GTX'||char(27)||'x','Yes','16','GP102');"
		"INSERT INTO gpu_info VALUES ('10de','zzzz','bad','No','','');",
		NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_close(raw), SQLITE_OK);
	assert_ok(gpu_db_open(path, &db, &e), &e);
	assert_ok(gpu_db_find(db, 0x1b06, &i, &e), &e);
	assert_string_equal(i.name, "GTX?x");
	assert_string_equal(i.vgpu, "Yes");
	assert_null(i.architecture);
	assert_int_equal(gpu_db_each(db, count, &rows, &e), -ERR_GPU_TABLE);
	assert_slug(&e, "gpu-table-unusable");
}

static void device_ids(void **state _unused_)
{
	static const char *const good[] = { "2684", "0x2684", "10de:2684" }, *const bad[] = {
		"", "10de:", "12684", "1002:2684", "2684 "
	};
	uint16_t id = 0;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(gpu_parse_device(good[i], &id), 0);
		assert_int_equal(id, 0x2684);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(gpu_parse_device(bad[i], &id), -EINVAL);
}

TEST_MAIN(cmocka_unit_test(finds_and_misses), cmocka_unit_test(holds_every_row),
	  cmocka_unit_test(lists_a_machine), cmocka_unit_test(machine_without_pci),
	  cmocka_unit_test(foreign_and_broken_tables), cmocka_unit_test(device_ids))
