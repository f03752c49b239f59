/* SPDX-License-Identifier: Apache-2.0
 *
 * The vendor installer's record: read, refused, written again. */
#include "testlib.h"

#include "vendor-record.h"

#define HEAD "1.0-53526103 (535.261.03)\nNVIDIA Accelerated Graphics Driver for Linux-x86_64\n"

static void a_record_reads_and_writes_the_same(void **state)
{
	static const char text[] =
	    HEAD "1: /usr/bin/nvidia-smi\n58124007\n0: /usr/lib/libcuda.so.1\nlibcuda.so.535.261.03\n"
		 "2: /usr/lib/libGL.so.1\nlibGL.so.1.7.0\n0777 0 0\n"
		 "100: /usr/bin/with blank\n0 100644 1000 100\n";
	_cleanup_(vendor_record_done) struct vendor_record rec = { 0 };
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(4096);
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(vendor_record_parse(SPAN(text), &rec, &e), &e);
	assert_string_equal(rec.version, "535.261.03");
	assert_int_equal(rec.n, 4);
	assert_int_equal(rec.entries[0].crc, 58124007);
	assert_int_equal(rec.entries[1].kind, VENDOR_LINK);
	assert_int_equal(rec.entries[2].kind, VENDOR_BACKUP_LINK);
	assert_int_equal(rec.entries[3].number, 100);
	assert_string_equal(rec.entries[3].path, "usr/bin/with blank");
	assert_int_equal(rec.entries[3].mode, 0100644);
	assert_int_equal(rec.entries[3].uid, 1000);
	assert_int_equal(vendor_record_emit(&rec, &out), 0);
	assert_string_equal(strbuf_str(&out), text);
	assert_ok(vendor_record_parse_dirs(SPAN("/usr/lib/nvidia\n\n/usr/share/nvidia/\n"), &rec, &e), &e);
	assert_int_equal(strv_len(rec.dirs), 2);
}

static void damaged_records_are_refused(void **state)
{
	static const struct {
		const char *text, *slug;
	} rows[] = {
		{ "", "vendor-record" },
		{ "1.0-1\nd\n", "vendor-record" },
		{ "1.0-1 (x)\nd\n", "vendor-record" },
		{ "2.0-1 (1.0)\nd\n", "vendor-record" },
		{ "1.0-1 (1.0)\n", "vendor-record" },
		{ HEAD "rubbish\n", "vendor-record" },
		{ HEAD "1: /usr/bin/x\n", "vendor-record" },
		{ HEAD "1: /usr/bin/x\nabc\n", "vendor-record" },
		{ HEAD "1: /usr/bin/x\n4294967296\n", "vendor-record" },
		{ HEAD "1: /usr/bin/x\n1 100644 0 0\n", "vendor-record" },
		{ HEAD "0: /usr/bin/x\n\n", "vendor-record" },
		{ HEAD "2: /usr/bin/x\ntext\n", "vendor-record" },
		{ HEAD "50: /usr/bin/x\n1 100644 0 0\n", "vendor-record" },
		{ HEAD "100: /usr/bin/x\n1 100644 0\n", "vendor-record" },
		{ HEAD "100: /usr/bin/x\n1 899 0 0\n", "vendor-record" },
		{ HEAD "-1: /usr/bin/x\n1\n", "vendor-record" },
		{ HEAD "1: usr/bin/x\n1\n", "vendor-record" },
		{ HEAD "1: /\n1\n", "vendor-record" },
		{ HEAD "1: /usr/../etc/shadow\n1\n", "path-escapes-root" },
		{ HEAD "1: /usr/bin/\001\n1\n", "path-escapes-root" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(vendor_record_done) struct vendor_record rec = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		if (vendor_record_parse(SPAN(rows[i].text), &rec, &e) >= 0)
			fail_msg("row %zu is accepted", i);
		if (strcmp(err_slug(e.code), rows[i].slug) != 0)
			fail_msg("row %zu: %s", i, err_slug(e.code));
		assert_int_equal(rec.n, 0);
	}
}

static void absent_is_no_error(void **state)
{
	_cleanup_(vendor_record_done) struct vendor_record rec = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	assert_int_equal(vendor_record_read(t.fd, &rec, &e), 0);
	testdir_puts(&t, VENDOR_RECORD_DIR "/log", HEAD);
	assert_int_equal(vendor_record_read(t.fd, &rec, &e), 1);
	testdir_done(&t);
}

TEST_MAIN(cmocka_unit_test(a_record_reads_and_writes_the_same), cmocka_unit_test(damaged_records_are_refused),
	  cmocka_unit_test(absent_is_no_error))
