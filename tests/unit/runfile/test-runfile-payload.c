/* SPDX-License-Identifier: Apache-2.0
 *
 * Every broken package is refused by its own slug, by each way of reading it, and leaves nothing behind. */
#include "mkrunfile.h"

#include "packer.h"
#include "payload.h"
#include "testlib.h"

#define TAR_INIT STRBUF_INIT((size_t)64 << 20)

static int extract(const struct testdir *t, const struct runfile_options *o, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	int r = runfile_open_at(t->fd, "driver.run", &rf, e);

	return r < 0 ? r : runfile_extract(rf, t->fd, "out", NULL, o, NULL, e);
}

static const struct runfile_options checked = { .flags = RUNFILE_CHECK_SUMS, .jobs = 2 };

/* Extraction fails with the slug; the directory is as before and no descriptor stays open. */
static void refuse_with(const struct strbuf *tar, const struct mkrun *o, const struct runfile_options *ro,
			const char *slug)
{
	struct testdir t;
	struct err e = ERR_INIT;
	int fds;

	testdir_make(&t);
	mkrun_write(&t, "driver.run", tar, o);
	{
		_cleanup_free_ char *before = testdir_snapshot(&t), *after = NULL;

		fds = testdir_open_fds();
		assert_true(extract(&t, ro, &e) < 0);
		assert_slug(&e, slug);
		assert_int_equal(testdir_open_fds(), fds);
		after = testdir_snapshot(&t);
		assert_string_equal(before, after);
	}
	err_done(&e);
	testdir_done(&t);
}

static void accept(const struct strbuf *tar, const struct mkrun *o, const char *member, const char *text)
{
	struct testdir t;
	struct err e = ERR_INIT;
	char path[512];

	testdir_make(&t);
	mkrun_write(&t, "driver.run", tar, o);
	assert_ok(extract(&t, &checked, &e), &e);
	snprintf(path, sizeof(path), "out/%s", member);
	{
		_cleanup_free_ char *got = testdir_read(&t, path, NULL);

		assert_non_null(got);
		assert_string_equal(got, text);
	}
	testdir_done(&t);
}

static void test_formats(void **state _unused_)
{
	struct strbuf tar = TAR_INIT;

	mktar_minimal(&tar);
	for (int c = 0; c < COMPRESSION_COUNT; c++)
		for (int d = 0; d < 2; d++)
			accept(&tar, &(struct mkrun){ .compression = (enum compression)c, .decompressor = d },
			       "kernel/nvidia/nv.c", "one\ntwo\nthree\n");
	accept(&tar, &(struct mkrun){ .zero_md5 = true }, "kernel/nvidia/nv.c", "one\ntwo\nthree\n");
	accept(&tar,
	       &(struct mkrun){ .compression = COMPRESSION_ZSTD, .trailing = "\n\0\0\n", .trailing_len = 4 },
	       "kernel/nvidia/nv.c", "one\ntwo\nthree\n");
	strbuf_done(&tar);
}

static void test_continuation(void **state _unused_)
{
	static const enum compression with[] = { COMPRESSION_ZSTD, COMPRESSION_XZ, COMPRESSION_GZIP,
						 COMPRESSION_BZIP2 };
	struct strbuf tar = TAR_INIT, half = TAR_INIT;

	mktar_minimal(&tar);
	(void)strbuf_append(&half, tar.buf, 700); /* the archive is cut in two frames with padding between */
	for (size_t i = 0; i < ARRAY_LEN(with); i++) {
		_cleanup_free_ char *rest = NULL;
		struct strbuf more = TAR_INIT;
		size_t len;

		rest = mk_compress(with[i], tar.buf + 700, tar.len - 700, &len);
		(void)strbuf_append(&more, "\0\0\0\0", 4);
		(void)strbuf_append(&more, rest, len);
		accept(
		    &half,
		    &(struct mkrun){ .compression = with[i], .trailing = more.buf, .trailing_len = more.len },
		    "kernel/nvidia/nv.c", "one\ntwo\nthree\n");
		strbuf_done(&more);
	}
	strbuf_done(&half);
	strbuf_done(&tar);
}

static void test_containers(void **state _unused_)
{
	static const struct {
		struct mkrun o;
		const char *slug;
	} rows[] = {
		{ { .bad_crc = true }, "runfile-checksum-mismatch" },
		{ { .bad_md5 = true }, "runfile-checksum-mismatch" },
		{ { .skip_off = 1, .size_off = 1 }, "runfile-header-damaged" },
		{ { .skip_off = 1 }, "runfile-header-damaged" },
		{ { .skip_off = -1 }, "runfile-header-damaged" },
		{ { .decompressor = true, .size_off = 1 }, "runfile-header-damaged" },
		{ { .compression = COMPRESSION_ZSTD, .cut = 20 }, "runfile-truncated" },
		{ { .compression = COMPRESSION_XZ, .cut = 40 }, "runfile-truncated" },
		{ { .compression = COMPRESSION_GZIP, .cut = 20 }, "runfile-truncated" },
		{ { .compression = COMPRESSION_BZIP2, .cut = 20 }, "runfile-truncated" },
		{ { .cut = 1600 }, "runfile-truncated" },
		{ { .compression = COMPRESSION_ZSTD, .trailing = "more" }, "runfile-trailing-data" },
		{ { .compression = COMPRESSION_XZ, .trailing = "\0\0\0\0more", .trailing_len = 8 },
		  "runfile-trailing-data" },
		{ { .compression = COMPRESSION_GZIP, .trailing = "\x1f" }, "runfile-trailing-data" },
		{ { .trailing = "more" }, "runfile-trailing-data" },
		{ { .stuffing = 300000 }, "runfile-header-damaged" },
		{ { .label = "a\"b" }, "runfile-header-damaged" },
		{ { .label = "a\tb" }, "runfile-header-damaged" },
		{ { .targetdir = "../x" }, "path-escapes-root" },
		{ { .targetdir = ".." }, "path-escapes-root" },
		{ { .targetdir = "/etc" }, "path-escapes-root" },
	};
	struct strbuf tar = TAR_INIT;

	mktar_minimal(&tar);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		refuse_with(&tar, &rows[i].o, &checked, rows[i].slug);
	strbuf_done(&tar);
}

static void test_foreign_files(void **state _unused_)
{
	static const struct {
		const char *text, *slug;
	} rows[] = {
		{ "", "runfile-not-a-package" },
		{ "<html>not found</html>", "runfile-not-a-package" },
		{ "#!/bin/sh\necho hello\n", "runfile-not-a-package" },
		{ "#!/bin/sh\n# makeself\noffset=`head -n 598 \"$0\" | wc -c`\n", "runfile-toolkit-bundle" },
		{ "#! /bin/sh\nskip=9\nlabel=x\n", "runfile-header-damaged" },
		{ "#! /bin/sh\nCRCsum=99999999999\nMD5=0\nskip=9\nlabel=\"x 1.2\"\ntargetdir=x\n",
		  "runfile-header-damaged" },
		{ "#! /bin/sh\nCRCsum=1\nMD5=00000000000000000000000000000000\nskip=9\nlabel=\"x "
		  "1.2\"\ntargetdir=x\n",
		  "runfile-truncated" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct testdir t;
		struct err e = ERR_INIT;

		testdir_make(&t);
		testdir_puts(&t, "driver.run", rows[i].text);
		assert_true(extract(&t, &checked, &e) < 0);
		assert_slug(&e, rows[i].slug);
		assert_false(testdir_has(&t, "out"));
		err_done(&e);
		testdir_done(&t);
	}
}

static void test_not_regular(void **state _unused_)
{
	struct testdir t;
	struct err e = ERR_INIT;

	testdir_make(&t);
	assert_int_equal(mkfifoat(t.fd, "driver.run", 0644), 0);
	assert_true(extract(&t, &checked, &e) < 0);
	assert_slug(&e, "runfile-not-a-package");
	err_done(&e);
	assert_int_equal(unlinkat(t.fd, "driver.run", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", t.fd, "driver.run"), 0);
	assert_int_equal(extract(&t, &checked, &e), -ELOOP);
	err_done(&e);
	testdir_done(&t);
}

static void test_members(void **state _unused_)
{
	static const struct {
		struct mktar first, second;
		const char *slug;
	} rows[] = {
		{ { .name = "/etc/x" }, {}, "archive-path-escape" },
		{ { .name = "a/../../x" }, {}, "archive-path-escape" },
		{ { .name = ".." }, {}, "archive-path-escape" },
		{ { .name = "a//b" }, {}, "archive-path-escape" },
		{ { .name = "a\nb" }, {}, "archive-path-escape" },
		{ { .name = "a\x7f" }, {}, "archive-path-escape" },
		{ { .name = "l", .type = '2', .link = "/etc" }, {}, "archive-symlink-escape" },
		{ { .name = "l", .type = '2', .link = "../x" }, {}, "archive-symlink-escape" },
		{ { .name = "d/l", .type = '2', .link = "x/../../../y" }, {}, "archive-symlink-escape" },
		{ { .name = "l", .type = '2', .link = "x/../y" }, {}, "archive-symlink-escape" },
		{ { .name = "l", .type = '2', .link = "d" }, { .name = "l/file" }, "archive-symlink-escape" },
		{ { .name = "h", .type = '1', .link = "/etc/passwd" }, {}, "archive-path-escape" },
		{ { .name = "h", .type = '1', .link = "later" }, { .name = "later" }, "archive-hardlink" },
		{ { .name = "l", .type = '2', .link = "x" },
		  { .name = "h", .type = '1', .link = "l" },
		  "archive-hardlink" },
		{ { .name = "dev", .type = '3' }, {}, "archive-special-file" },
		{ { .name = "dev", .type = '4' }, {}, "archive-special-file" },
		{ { .name = "fifo", .type = '6' }, {}, "archive-special-file" },
		{ { .name = "sparse", .type = 'S' }, {}, "archive-special-file" },
		{ { .name = "volume", .type = 'V' }, {}, "archive-special-file" },
		{ { .name = "multi", .type = 'M' }, {}, "archive-special-file" },
		{ { .name = "x" }, { .name = "x" }, "archive-duplicate" },
		{ { .name = "x" }, { .name = "./x" }, "archive-duplicate" },
		{ { .name = "x" }, { .name = "x/y" }, "archive-duplicate" },
		{ { .name = "x/y" }, { .name = "x" }, "archive-duplicate" },
		{ { .name = "x", .bad_checksum = true }, {}, "archive-damaged" },
		{ { .name = "x", .size_field = "99999999999" }, {}, "archive-damaged" },
		/* 8 GiB + 1 in base 256 */
		{ { .name = "x", .size_field = "\x80\0\0\0\0\0\0\2\0\0\0\1" }, {}, "archive-limit" },
		/* 8 GiB exactly is allowed, but not there */
		{ { .name = "x", .size_field = "\x80\0\0\0\0\0\0\2\0\0\0\0" }, {}, "runfile-truncated" },
		{ { .name = "x", .size_field = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" },
		  {},
		  "archive-damaged" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct strbuf tar = TAR_INIT;

		mktar_file(&tar, "first", "fine");
		mktar_add(&tar, &rows[i].first);
		if (rows[i].second.name)
			mktar_add(&tar, &rows[i].second);
		mktar_end(&tar);
		refuse_with(&tar, &(struct mkrun){ .compression = COMPRESSION_ZSTD }, &checked, rows[i].slug);
		strbuf_done(&tar);
	}
}

static void test_long_names(void **state _unused_)
{
	char name[301], too_long[301];
	struct strbuf tar = TAR_INIT;

	memset(name, 'n', 300);
	name[300] = '\0';
	memcpy(too_long, name, sizeof(name));
	name[150] = '/';
	mktar_add(&tar, &(struct mktar){ .name = "././@LongLink", .type = 'L', .bytes = name, .len = 301 });
	mktar_file(&tar, "short", "gnu");
	mktar_end(&tar);
	accept(&tar, &(struct mkrun){ 0 }, name, "gnu");
	strbuf_reset(&tar);
	mktar_pax(&tar, "path", name);
	mktar_file(&tar, "short", "pax");
	mktar_end(&tar);
	accept(&tar, &(struct mkrun){ 0 }, name, "pax");
	strbuf_reset(&tar);
	mktar_pax(&tar, "path", too_long); /* one component of 300 bytes */
	mktar_file(&tar, "short", "pax");
	mktar_end(&tar);
	refuse_with(&tar, &(struct mkrun){ 0 }, &checked, "archive-path-escape");
	strbuf_reset(&tar);
	mktar_pax(&tar, "GNU.sparse.major", "1");
	mktar_file(&tar, "short", "pax");
	mktar_end(&tar);
	refuse_with(&tar, &(struct mkrun){ 0 }, &checked, "archive-special-file");
	strbuf_done(&tar);
}

static void test_modes_links_times(void **state _unused_)
{
	struct strbuf tar = TAR_INIT;
	struct testdir t;
	struct err e = ERR_INIT;
	struct stat st;

	mktar_add(&tar, &(struct mktar){ .name = "setuid", .bytes = "x", .len = 1, .mode = 06755 });
	mktar_add(&tar, &(struct mktar){ .name = "dir/", .type = '5', .mode = 0700 });
	mktar_add(&tar, &(struct mktar){ .name = "dir/link", .type = '2', .link = "../setuid" });
	mktar_add(&tar, &(struct mktar){ .name = "dir/hard", .type = '1', .link = "setuid" });
	mktar_end(&tar);
	testdir_make(&t);
	mkrun_write(&t, "driver.run", &tar, &(struct mkrun){ .compression = COMPRESSION_XZ });
	assert_ok(extract(&t, &checked, &e), &e);
	assert_int_equal(fstatat(t.fd, "out/setuid", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(st.st_mtime, 1000000000);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(fstatat(t.fd, "out/dir", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_mtime, 1000000000);
	strbuf_done(&tar);
	testdir_done(&t);
}

static void test_limits(void **state _unused_)
{
	static char zeros[4 << 20];
	static const struct tar_limits few = { .total_bytes = 1 << 30,
					       .member_bytes = 1 << 30,
					       .members = 2 };
	static const struct tar_limits small = { .total_bytes = 100,
						 .member_bytes = 1 << 30,
						 .members = 100 };
	static const struct bomb_guard tight = { 4, 1 << 20 };
	struct strbuf tar = TAR_INIT;

	mktar_minimal(&tar);
	refuse_with(&tar, &(struct mkrun){ 0 }, &(struct runfile_options){ .limits = &few }, "archive-limit");
	refuse_with(&tar, &(struct mkrun){ 0 }, &(struct runfile_options){ .limits = &small },
		    "archive-limit");
	strbuf_reset(&tar);
	mktar_add(&tar, &(struct mktar){ .name = "zeros", .bytes = zeros, .len = sizeof(zeros) });
	mktar_end(&tar);
	refuse_with(&tar, &(struct mkrun){ .compression = COMPRESSION_ZSTD },
		    &(struct runfile_options){ .guard = &tight }, "archive-bomb");
	strbuf_done(&tar);
}

/* A frame header that asks for a window of 1 GiB. */
static void test_decoder_memory(void **state _unused_)
{
	static const char frame[] = "\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00";
	struct strbuf tar = TAR_INIT;
	char *bytes;
	size_t len;
	struct testdir t;
	struct err e = ERR_INIT;

	mktar_minimal(&tar);
	bytes = mkrun_make(&tar, &(struct mkrun){ .compression = COMPRESSION_ZSTD }, &len);
	{
		char *at = memmem(bytes, len, "\x28\xb5\x2f\xfd", 4);

		assert_non_null(at);
		memcpy(at, frame, sizeof(frame) - 1);
	}
	testdir_make(&t);
	testdir_write(&t, "driver.run", bytes, len, 0644);
	assert_true(extract(&t, &checked, &e) < 0);
	assert_slug(&e, "decoder-memory");
	assert_false(testdir_has(&t, "out"));
	err_done(&e);
	free(bytes);
	strbuf_done(&tar);
	testdir_done(&t);
}

static void test_flipped_bits(void **state _unused_)
{
	struct strbuf tar = TAR_INIT;
	char *bytes;
	size_t len;

	mktar_minimal(&tar);
	bytes = mkrun_make(&tar, &(struct mkrun){ .compression = COMPRESSION_ZSTD }, &len);
	for (size_t at = len - 200; at < len; at += 7) {
		struct testdir t;
		struct err e = ERR_INIT;

		bytes[at] ^= 0x10;
		testdir_make(&t);
		testdir_write(&t, "driver.run", bytes, len, 0644);
		assert_true(extract(&t, &checked, &e) < 0);
		assert_false(testdir_has(&t, "out"));
		err_done(&e);
		testdir_done(&t);
		bytes[at] ^= 0x10;
	}
	free(bytes);
	strbuf_done(&tar);
}

static void test_pins(void **state _unused_)
{
	struct strbuf tar = TAR_INIT;
	struct runfile_options o = checked;
	struct runfile_report report;
	struct runfile *rf = NULL;
	char hex[SHA256_HEX_SIZE];
	struct testdir t;
	struct err e = ERR_INIT;

	mktar_minimal(&tar);
	testdir_make(&t);
	mkrun_write(&t, "driver.run", &tar, &(struct mkrun){ .compression = COMPRESSION_GZIP });
	assert_int_equal(sha256_file_at(t.fd, "driver.run", hex), 0);
	assert_ok(runfile_open_at(t.fd, "driver.run", &rf, &e), &e);
	assert_ok(runfile_verify(rf, &o, &report, &e), &e);
	assert_false(report.authentic);
	o.pin.sha256 = hex;
	assert_ok(runfile_verify(rf, &o, &report, &e), &e);
	assert_true(report.authentic);
	hex[0] = hex[0] == '0' ? '1' : '0';
	assert_true(runfile_verify(rf, &o, &report, &e) < 0);
	assert_slug(&e, "runfile-checksum-mismatch");
	err_done(&e);
	o.pin.sha256 = NULL;
	o.pin.size_bytes = 5;
	assert_true(runfile_verify(rf, &o, &report, &e) < 0);
	assert_slug(&e, "runfile-checksum-mismatch");
	err_done(&e);
	runfile_freep(&rf);
	strbuf_done(&tar);
	testdir_done(&t);
}

static void test_destination(void **state _unused_)
{
	struct strbuf tar = TAR_INIT;
	struct testdir t;
	struct err e = ERR_INIT;

	mktar_minimal(&tar);
	testdir_make(&t);
	mkrun_write(&t, "driver.run", &tar, &(struct mkrun){ 0 });
	testdir_puts(&t, "out/kept", "mine");
	assert_true(extract(&t, &checked, &e) < 0);
	assert_slug(&e, "output-not-created");
	err_done(&e);
	assert_true(testdir_has(&t, "out/kept"));
	assert_int_equal(unlinkat(t.fd, "out/kept", 0), 0);
	assert_ok(extract(&t, &checked, &e), &e); /* an empty directory is fine */
	assert_true(testdir_has(&t, "out/.manifest"));
	strbuf_done(&tar);
	testdir_done(&t);
}

static void test_selection(void **state _unused_)
{
	char *only[] = { (char *)(uintptr_t) "lib*", NULL };
	struct runfile_selection which = { .only = only };
	struct strbuf tar = TAR_INIT;
	struct runfile *rf = NULL;
	struct manifest *m = NULL;
	struct testdir t;
	struct err e = ERR_INIT;

	mktar_minimal(&tar);
	testdir_make(&t);
	mkrun_write(&t, "driver.run", &tar, &(struct mkrun){ .compression = COMPRESSION_XZ });
	assert_ok(runfile_open_at(t.fd, "driver.run", &rf, &e), &e);
	assert_ok(runfile_extract(rf, t.fd, "a", &which, &checked, NULL, &e), &e);
	assert_true(testdir_has(&t, "a/libcuda.so.1.2.3"));
	assert_false(testdir_has(&t, "a/.manifest"));
	which = (struct runfile_selection){ .strip_kernel = true };
	assert_ok(runfile_extract(rf, t.fd, "b", &which, &checked, NULL, &e), &e);
	assert_true(testdir_has(&t, "b/.manifest"));
	assert_false(testdir_has(&t, "b/kernel"));
	assert_ok(runfile_manifest(rf, 0, &m, NULL, &e), &e);
	assert_int_equal(m->n_entries, 2);
	manifest_freep(&m);
	runfile_freep(&rf);
	strbuf_done(&tar);
	testdir_done(&t);
}

static int verify(const struct testdir *t, bool sums_only, struct runfile_report *report, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	int r = runfile_open_at(t->fd, "driver.run", &rf, e);

	if (r < 0)
		return r;
	return sums_only ? runfile_verify_sums(rf, &checked, report, e)
			 : runfile_verify(rf, &checked, report, e);
}

/* What the sums cannot see: they match in every one of these. */
static void test_verify_decodes(void **state _unused_)
{
	static const struct {
		struct mktar member;
		struct mkrun o;
		const char *slug;
	} rows[] = {
		{ { .name = "x" },
		  { .compression = COMPRESSION_ZSTD, .trailing = "more" },
		  "runfile-trailing-data" },
		{ { .name = "x" }, { .compression = COMPRESSION_XZ, .cut = 40 }, "runfile-truncated" },
		{ { .name = "dev", .type = '3' },
		  { .compression = COMPRESSION_ZSTD },
		  "archive-special-file" },
		{ { .name = "../x" }, { .compression = COMPRESSION_GZIP }, "archive-path-escape" },
		{ { .name = ".manifest", .bytes = "x", .len = 1 }, { 0 }, "manifest-invalid" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct strbuf tar = TAR_INIT;
		struct testdir t;
		struct err e = ERR_INIT;

		mktar_add(&tar, &rows[i].member);
		mktar_end(&tar);
		testdir_make(&t);
		mkrun_write(&t, "driver.run", &tar, &rows[i].o);
		assert_ok(verify(&t, true, NULL, &e), &e);
		assert_true(verify(&t, false, NULL, &e) < 0);
		assert_slug(&e, rows[i].slug);
		err_done(&e);
		strbuf_done(&tar);
		testdir_done(&t);
	}
}

/* The kind is what the payload says, whatever the package is called. */
static void test_verify_kind(void **state _unused_)
{
	static const struct {
		const char *line, *marker, *name;
		enum package_kind kind;
	} rows[] = {
		{ "", NULL, "NVIDIA-Linux-x86_64-1.2.3-vgpu-kvm", PACKAGE_PASSTHROUGH },
		{ "", PACKAGE_VGPU_HOST_MARKER, "NVIDIA-Linux-x86_64-1.2.3", PACKAGE_VGPU_KVM },
		{ "libnvidia-vgpu.so.1.2.3 0755 VGX_LIB NATIVE / MODULE:vgpu\n", NULL, "x",
		  PACKAGE_VGPU_KVM },
		{ "libnvidia-gridd.so 0755 GRID_LIB NATIVE / MODULE:grid\n", NULL, "x", PACKAGE_GRID },
		{ "libnvidia-gridd.so 0755 GRID_LIB NATIVE / MODULE:grid\n", PACKAGE_VGPU_HOST_MARKER, "x",
		  PACKAGE_MERGED },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct strbuf tar = TAR_INIT, manifest = STRBUF_INIT(1 << 16);
		struct runfile_report report = { 0 };
		struct testdir t;
		struct err e = ERR_INIT;

		assert_int_equal(strbuf_printf(&manifest, "%s%s", mk_manifest, rows[i].line), 0);
		mktar_file(&tar, ".manifest", strbuf_str(&manifest));
		if (rows[i].marker)
			mktar_file(&tar, rows[i].marker, "");
		mktar_end(&tar);
		testdir_make(&t);
		mkrun_write(&t, "driver.run", &tar, &(struct mkrun){ .targetdir = rows[i].name });
		assert_ok(verify(&t, false, &report, &e), &e);
		assert_true(report.has_kind);
		assert_int_equal(report.kind, rows[i].kind);
		strbuf_done(&manifest);
		strbuf_done(&tar);
		testdir_done(&t);
	}
}

static void test_no_manifest_no_kind(void **state _unused_)
{
	struct strbuf tar = TAR_INIT;
	struct runfile_report report = { .has_kind = true };
	struct testdir t;
	struct err e = ERR_INIT;

	mktar_file(&tar, "x", "");
	mktar_end(&tar);
	testdir_make(&t);
	mkrun_write(&t, "driver.run", &tar, &(struct mkrun){ 0 });
	assert_ok(verify(&t, false, &report, &e), &e);
	assert_false(report.has_kind);
	assert_int_equal(report.members, 1);
	strbuf_done(&tar);
	testdir_done(&t);
}

/* An existing directory keeps its permissions. */
static void test_destination_mode(void **state _unused_)
{
	struct strbuf tar = TAR_INIT;
	struct testdir t;
	struct err e = ERR_INIT;
	struct stat st;

	mktar_minimal(&tar);
	testdir_make(&t);
	mkrun_write(&t, "driver.run", &tar, &(struct mkrun){ 0 });
	assert_int_equal(mkdirat(t.fd, "out", 0700), 0);
	assert_ok(extract(&t, &(struct runfile_options){ .flags = RUNFILE_CHECK_SUMS | RUNFILE_SYNC }, &e),
		  &e);
	assert_int_equal(fstatat(t.fd, "out", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	strbuf_done(&tar);
	testdir_done(&t);
}

/* A package whose CRC is 0 says so as every program prints it: its own code compares text. */
static void test_crc_of_zero(void **state _unused_)
{
	static const char md5[] = "0123456789abcdef0123456789abcdef";
	struct strbuf real = STRBUF_INIT(256), room = STRBUF_INIT(256);

	assert_int_equal(stub_sums(0, md5, &real), 0);
	assert_int_equal(stub_sums(STUB_CRC_UNKNOWN, md5, &room), 0);
	assert_non_null(strstr(strbuf_str(&real), "\nCRCsum=0\n"));
	assert_int_equal(room.len, real.len + 9);
	strbuf_done(&real);
	strbuf_done(&room);
}

TEST_MAIN(cmocka_unit_test(test_formats), cmocka_unit_test(test_continuation),
	  cmocka_unit_test(test_containers), cmocka_unit_test(test_foreign_files),
	  cmocka_unit_test(test_not_regular), cmocka_unit_test(test_members),
	  cmocka_unit_test(test_long_names), cmocka_unit_test(test_modes_links_times),
	  cmocka_unit_test(test_limits), cmocka_unit_test(test_decoder_memory),
	  cmocka_unit_test(test_flipped_bits), cmocka_unit_test(test_pins),
	  cmocka_unit_test(test_destination), cmocka_unit_test(test_selection),
	  cmocka_unit_test(test_verify_decodes), cmocka_unit_test(test_verify_kind),
	  cmocka_unit_test(test_no_manifest_no_kind), cmocka_unit_test(test_destination_mode),
	  cmocka_unit_test(test_crc_of_zero))
