/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "firmware.h"
#include "strbuf.h"

#define PARAMETER "sys/module/firmware_class/parameters/path"
#define STATE	  "run/nvdriver/firmware-path.json"

static char *const files[] = { (char *)"nvidia/535.1.2/gsp_ga10x.bin", (char *)"nvidia/535.1.2/gsp_tu10x.bin",
			       NULL };

struct bed {
	struct testdir root, tree;
	struct host *h;
	char source[300];
};

static void bed_start(struct bed *b, const char *path_now)
{
	testdir_make(&b->root);
	testdir_make(&b->tree);
	testdir_puts(&b->root, "proc/sys/kernel/osrelease", "6.1.0-77-amd64\n");
	testdir_puts(&b->root, PARAMETER, path_now);
	testdir_puts(&b->tree, "firmware/gsp_ga10x.bin", "ga");
	testdir_puts(&b->tree, "firmware/gsp_tu10x.bin", "tu");
	snprintf(b->source, sizeof(b->source), "%s/firmware", b->tree.path);
	assert_ok(host_open(b->root.path, &b->h, NULL), &(struct err)ERR_INIT);
}

static void bed_end(struct bed *b)
{
	host_freep(&b->h);
	testdir_done(&b->root);
	testdir_done(&b->tree);
}

static void put_files(struct bed *b, const char *dir, const char *ending)
{
	for (char *const *f = files; *f; f++) {
		_cleanup_free_ char *path = str_printf("%s/%s%s", dir, *f, ending);

		testdir_puts(&b->root, path, "x");
	}
}

static void assert_path(struct bed *b, const char *want)
{
	_cleanup_free_ char *now = NULL;

	assert_ok(firmware_path_get(b->h, &now, NULL), &(struct err)ERR_INIT);
	assert_string_equal(now, want);
}

static enum firmware_verdict decide(struct bed *b, const struct firmware_want *w)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	enum firmware_verdict v = 99;

	assert_ok(firmware_decide(b->h, w, &v, NULL, &e), &e);
	return v;
}

static enum firmware_verdict take(struct bed *b, const struct firmware_want *w, char **ret_before)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *before = NULL;
	enum firmware_verdict v = 99;

	assert_ok(firmware_take(b->h, w, &v, &before, &e), &e);
	if (ret_before)
		*ret_before = TAKE_PTR(before);
	return v;
}

/* -- the rules, one row each -- */

static void rules(void **state _unused_)
{
	static const struct {
		const char *now, *have, *ending, *params;
		bool source;
		enum firmware_verdict want;
	} rows[] = {
		{ "", NULL, "", NULL, true, FIRMWARE_SET },
		{ "\n", NULL, "", NULL, true, FIRMWARE_SET },
		{ "", NULL, "", NULL, false, FIRMWARE_ABSENT },
		{ "", NULL, "", "NVreg_A=1 NVreg_EnableGpuFirmware=0", true, FIRMWARE_UNNEEDED },
		{ "", NULL, "", "NVreg_EnableGpuFirmware=0 NVreg_EnableGpuFirmware=18", true, FIRMWARE_SET },
		{ "", NULL, "", "NVreg_EnableGpuFirmware=01", true, FIRMWARE_SET },
		{ "", "lib/firmware", "", NULL, true, FIRMWARE_FOUND },
		{ "", "lib/firmware", ".zst", NULL, true, FIRMWARE_FOUND },
		{ "", "lib/firmware/updates", ".xz", NULL, true, FIRMWARE_FOUND },
		{ "", "lib/firmware/6.1.0-77-amd64", "", NULL, true, FIRMWARE_FOUND },
		{ "", "lib/firmware/6.1.0-78-amd64", "", NULL, true, FIRMWARE_SET },
		{ "/opt/fw", "opt/fw", "", NULL, true, FIRMWARE_KEEP },
		{ "/opt/fw", NULL, "", NULL, true, FIRMWARE_SET },
		{ "/opt/fw", NULL, "", NULL, false, FIRMWARE_ABSENT },
		{ "/opt/fw", "lib/firmware", "", NULL, true, FIRMWARE_FOUND },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct firmware_want w = { .files = files, .params = rows[i].params };
		struct bed b;

		bed_start(&b, rows[i].now);
		w.source = rows[i].source ? b.source : NULL;
		if (rows[i].have)
			put_files(&b, rows[i].have, rows[i].ending);
		if (decide(&b, &w) != rows[i].want)
			fail_msg("row %zu: %d, not %d", i, decide(&b, &w), rows[i].want);
		assert_false(testdir_has(&b.root, "run"));
		bed_end(&b);
	}
}

/* Half of the files are as good as none. */
static void all_files_count(void **state _unused_)
{
	struct firmware_want w = { .files = files };
	struct bed b;

	bed_start(&b, "");
	testdir_puts(&b.root, "lib/firmware/nvidia/535.1.2/gsp_ga10x.bin", "x");
	assert_int_equal(decide(&b, &w), FIRMWARE_ABSENT);
	w.source = b.source;
	assert_int_equal(decide(&b, &w), FIRMWARE_SET);
	assert_int_equal(unlinkat(b.tree.fd, "firmware/gsp_tu10x.bin", 0), 0);
	assert_int_equal(decide(&b, &w), FIRMWARE_ABSENT);
	assert_int_equal(decide(&b, &(struct firmware_want){ 0 }), FIRMWARE_UNNEEDED);
	bed_end(&b);
}

static void put_back_as_found(void **state _unused_)
{
	/* The last: somebody wrote a newline with it, which the kernel keeps. */
	static const char *const found[] = { "", "/opt/other", "/opt/other\n" };

	for (size_t i = 0; i < ARRAY_LEN(found); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *shown = str_printf("%s\n", found[i]), *written = NULL;
		struct firmware_want w = { .files = files };
		char target[400] = "";
		struct bed b;

		bed_start(&b, shown);
		w.source = b.source;
		assert_int_equal(take(&b, &w, NULL), FIRMWARE_SET);
		assert_path(&b, FIRMWARE_LINKS);
		assert_true(readlinkat(b.root.fd, "run/nvdriver/firmware/nvidia/535.1.2/gsp_tu10x.bin",
				       target, sizeof(target)) > 0);
		target[strlen(b.source)] = '\0';
		assert_string_equal(target, b.source);
		/* Seen from the root alone the links lead nowhere, so it is set again: with the same to come back. */
		assert_int_equal(take(&b, &w, NULL), FIRMWARE_SET);
		assert_int_equal(firmware_restore(b.h, &e), 1);
		written = testdir_read(&b.root, PARAMETER, NULL);
		assert_string_equal(written, found[i]);
		assert_false(testdir_has(&b.root, STATE));
		assert_false(testdir_has(&b.root, "run/nvdriver/firmware"));
		assert_int_equal(firmware_restore(b.h, &e), 0);
		bed_end(&b);
	}
}

static void changed_since_stays(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *before = NULL;
	struct firmware_want w = { .files = files };
	struct bed b;

	bed_start(&b, "");
	w.source = b.source;
	assert_int_equal(take(&b, &w, NULL), FIRMWARE_SET);
	testdir_puts(&b.root, PARAMETER, "/somebody/else\n");
	assert_int_equal(firmware_remembered(b.h, &before, &e), 0);
	assert_int_equal(firmware_restore(b.h, &e), 0);
	assert_path(&b, "/somebody/else");
	assert_false(testdir_has(&b.root, STATE));
	bed_end(&b);
}

/* A second change of ours does not hide what was there before the first. */
static void first_value_is_remembered(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *before = NULL;
	struct firmware_want w = { .files = files }, chosen = { .dir = "/mine", .chosen = true };
	struct bed b;

	bed_start(&b, "/opt/first\n");
	w.source = b.source;
	assert_int_equal(take(&b, &w, NULL), FIRMWARE_SET);
	assert_int_equal(take(&b, &chosen, &before), FIRMWARE_SET);
	assert_string_equal(before, FIRMWARE_LINKS);
	assert_path(&b, "/mine");
	assert_int_equal(take(&b, &chosen, NULL), FIRMWARE_KEEP);
	/* the second is taken back by itself … */
	assert_ok(firmware_take_back(b.h, before, &e), &e);
	assert_path(&b, FIRMWARE_LINKS);
	/* … and the first still knows its way home */
	assert_int_equal(firmware_restore(b.h, &e), 1);
	assert_path(&b, "/opt/first");
	bed_end(&b);
}

static void taking_back_the_only_one_forgets(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *before = NULL;
	struct firmware_want w = { .files = files };
	struct bed b;

	bed_start(&b, "");
	w.source = b.source;
	assert_int_equal(take(&b, &w, &before), FIRMWARE_SET);
	assert_ok(firmware_take_back(b.h, before, &e), &e);
	assert_path(&b, "");
	assert_false(testdir_has(&b.root, STATE));
	bed_end(&b);
}

/* A container's own directory, seen through the root the kernel opens names in. */
static void another_view(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct firmware_want w = { .files = files, .dir = "/run/nvidia/driver/lib/firmware" };
	struct bed b, machine;

	bed_start(&b, "/opt/fw\n");
	bed_start(&machine, "");
	w.kernel_view = machine.h;
	put_files(&b, "opt/fw", ""); /* there in the container, but not for the kernel */
	assert_int_equal(decide(&b, &w), FIRMWARE_ABSENT);
	put_files(&machine, "run/nvidia/driver/lib/firmware", "");
	assert_int_equal(take(&b, &w, NULL), FIRMWARE_SET);
	assert_path(&b, "/run/nvidia/driver/lib/firmware");
	assert_int_equal(take(&b, &w, NULL), FIRMWARE_KEEP); /* its own value of an earlier run is fine */
	assert_int_equal(firmware_restore(b.h, &e), 1);
	assert_path(&b, "/opt/fw");
	put_files(&machine, "opt/fw", "");
	assert_int_equal(take(&b, &w, NULL), FIRMWARE_KEEP);
	bed_end(&b);
	bed_end(&machine);
}

TEST_MAIN(cmocka_unit_test(rules), cmocka_unit_test(all_files_count), cmocka_unit_test(put_back_as_found),
	  cmocka_unit_test(changed_since_stays), cmocka_unit_test(first_value_is_remembered),
	  cmocka_unit_test(taking_back_the_only_one_forgets), cmocka_unit_test(another_view))
