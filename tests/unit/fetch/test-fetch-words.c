/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "fetch.h"
#include "strbuf.h"
#include "urls.h"

static void test_sniff(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum fetch_kind kind;
		const char *looks;
	} rows[] = {
		{ "#! /bin/sh\nskip", 15, FETCH_RUNFILE, "a driver package" },
		{ "#!/bin/sh\n", 10, FETCH_RUNFILE, "a driver package" },
		{ "#!/bin/bash\n", 12, FETCH_ANY, "text" },
		{ "!<arch>\ndebian-binary   ", 24, FETCH_DEB, "a driver package" },
		{ "!<arch>\nfoo.o/          ", 24, FETCH_ANY, "text" },
		{ "\xed\xab\xee\xdb\x03\0", 6, FETCH_RPM, "a driver package" },
		{ "  \n<HTML>", 9, FETCH_ANY, "a web page" },
		{ "\xef\xbb\xbf<!doctype html>", 18, FETCH_ANY, "a web page" },
		{ "{\"a\":1}", 7, FETCH_ANY, "a JSON document" },
		{ "PK\003\004abc", 7, FETCH_ANY, "a zip archive" },
		{ "\0\1\2\3", 4, FETCH_ANY, "data" },
		{ "", 0, FETCH_ANY, "nothing" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *looks = NULL;

		assert_int_equal(fetch_sniff(rows[i].bytes, rows[i].len, &looks), rows[i].kind);
		assert_string_equal(looks, rows[i].looks);
	}
}

static void test_sums(void **state)
{
#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	static const struct {
		const char *text;
		int r;
		const char *hex;
	} rows[] = {
		{ A "  x.run\n", 0, A },
		{ A "\n", 0, A },
		{ B "  y.run\n" A " *x.run\r\n", 0, A },
		{ "# list\n\n" A "  dir/x.run\n", 0, A },
		{ B "  y.run\n", -ENOENT, NULL },
		{ "", -EINVAL, NULL },
		{ "<html>\n", -EINVAL, NULL },
		{ "abc  x.run\n", -EINVAL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char hex[65] = "";

		assert_int_equal(fetch_parse_sums(rows[i].text, strlen(rows[i].text), "x.run", hex),
				 rows[i].r);
		if (rows[i].hex)
			assert_string_equal(hex, rows[i].hex);
	}
}

static void test_url_names(void **state)
{
	static const struct {
		const char *url, *name;
	} rows[] = {
		{ "https://h/a/NVIDIA-Linux-x86_64-1.2.run?x=/y#z", "NVIDIA-Linux-x86_64-1.2.run" },
		{ "http://h/a%2Brun", "a+run" },
		{ "file:///srv/x.run", "x.run" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *name = NULL;

		assert_int_equal(fetch_url_name(rows[i].url, &name), 0);
		assert_string_equal(name, rows[i].name);
		free(name);
	}
}

static void test_vendor_addresses(void **state)
{
	static const struct {
		const char *version, *arch, *kind, *branch, *first, *slug;
	} rows[] = {
		{ "535.261.03", "x86_64", "passthrough", NULL,
		  "https://us.download.nvidia.com/XFree86/Linux-x86_64/535.261.03/"
		  "NVIDIA-Linux-x86_64-535.261.03.run",
		  NULL },
		{ "570.86.15", "aarch64", "passthrough", NULL,
		  "https://us.download.nvidia.com/XFree86/aarch64/570.86.15/"
		  "NVIDIA-Linux-aarch64-570.86.15.run",
		  NULL },
		{ "535.183.06", "x86_64", "grid", "16.7",
		  "https://storage.googleapis.com/nvidia-drivers-us-public/GRID/vGPU16.7/"
		  "NVIDIA-Linux-x86_64-535.183.06-grid.run",
		  NULL },
		{ "450.89", "x86_64", "grid", "11.1",
		  "https://storage.googleapis.com/nvidia-drivers-us-public/GRID/GRID11.1/"
		  "NVIDIA-Linux-x86_64-450.89-grid.run",
		  NULL },
		{ "535.183.06", "x86_64", "grid", NULL, NULL, "usage" },
		{ "../1", "x86_64", "passthrough", NULL, NULL, "usage" },
		{ "535.1", "x86_64", "vgpu-kvm", NULL, NULL, "unsupported" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;
		char **urls = NULL;
		int r =
		    fetch_driver_urls(rows[i].version, rows[i].arch, rows[i].kind, rows[i].branch, &urls, &e);

		if (rows[i].first) {
			assert_ok(r, &e);
			assert_string_equal(urls[0], rows[i].first);
			for (size_t k = 0; urls[k]; k++)
				assert_true(fetch_url_is_valid(urls[k]));
		} else {
			assert_true(r < 0);
			assert_slug(&e, rows[i].slug);
		}
		strv_freep(&urls);
		err_done(&e);
	}
}

TEST_MAIN(cmocka_unit_test(test_sniff), cmocka_unit_test(test_sums), cmocka_unit_test(test_url_names),
	  cmocka_unit_test(test_vendor_addresses))
