/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "digest.h"
#include "parse.h"
#include "precompiled.h"

#define BANNER "Linux version 9.9.9-test (b@h) (gcc 12) #1 SMP"

/* -- a package with any field wrong ----------------------------------------------------------------------- */

struct raw {
	uint8_t bytes[4096];
	size_t len;
};

static void put(struct raw *r, const void *bytes, size_t len)
{
	assert_true(r->len + len <= sizeof(r->bytes));
	memcpy(r->bytes + r->len, bytes, len);
	r->len += len;
}

static void put_u32(struct raw *r, uint32_t v)
{
	const uint8_t le[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };

	put(r, le, sizeof(le));
}

static void put_text(struct raw *r, const char *s)
{
	put_u32(r, (uint32_t)strlen(s));
	put(r, s, strlen(s));
}

/* All zero: one good module "a.ko" holding "hello". */
struct spec {
	const char *magic, *version, *description, *banner;
	uint32_t format, count, count_set, version_length;
	const char *mark, *end, *name, *linked, *core, *target, *content, *signature, *trailing;
	uint32_t type, attributes, sequence, end_sequence, name_length, size_add, crc_add, crc_again_add,
	    signature_add;
	uint32_t linked_crc, crc_value, crc_value_set;
	bool twice;
};

static const char * or (const char *s, const char *otherwise)
{
	return s ? s : otherwise;
}

static void put_record(struct raw *r, const struct spec *s, uint32_t index)
{
	const char *content = or (s->content, "hello"), *sig = or (s->signature, "");
	uint32_t crc = crc32_mpeg2(CRC32_MPEG2_INIT, content, strlen(content));

	if (s->crc_value_set)
		crc = s->crc_value;
	put(r, or (s->mark, "FILE"), 4);
	put_u32(r, index + s->sequence);
	put_u32(r, s->type);
	put_u32(r, s->attributes);
	put_u32(r, s->name_length ? s->name_length : (uint32_t)strlen(or (s->name, "a.ko")));
	put(r, or (s->name, "a.ko"), strlen(or (s->name, "a.ko")));
	put_text(r, or (s->linked, ""));
	put_text(r, or (s->core, ""));
	put_text(r, or (s->target, ""));
	put_u32(r, crc + s->crc_add);
	put_u32(r, (uint32_t)strlen(content) + s->size_add);
	put(r, content, strlen(content));
	put_u32(r, crc + s->crc_add + s->crc_again_add);
	put_u32(r, s->linked_crc);
	put_u32(r, (uint32_t)strlen(sig) + s->signature_add);
	put(r, sig, strlen(sig));
	put_u32(r, index + s->sequence + s->end_sequence);
	put(r, or (s->end, "END."), 4);
}

static void build(struct raw *r, const struct spec *s)
{
	uint32_t records = s->twice ? 2 : 1;

	r->len = 0;
	put(r, or (s->magic, "\aNVIDIA\a"), 8);
	put_u32(r, s->format ? s->format : 2);
	put_u32(r, s->version_length ? s->version_length : (uint32_t)strlen(or (s->version, "535.261.03")));
	put(r, or (s->version, "535.261.03"), strlen(or (s->version, "535.261.03")));
	put_text(r, or (s->description, "D"));
	put_text(r, or (s->banner, "P"));
	put_u32(r, s->count_set ? s->count : records);
	for (uint32_t i = 0; i < records; i++)
		put_record(r, s, i);
	put(r, or (s->trailing, ""), strlen(or (s->trailing, "")));
}

static void write_raw(const struct testdir *t, const char *name, const struct raw *r)
{
	testdir_write(t, name, r->bytes, r->len, 0644);
}

/* -- vectors ---------------------------------------------------------------------------------------------- */

static void hex_of(const struct testdir *t, const char *name, char hex[SHA256_HEX_SIZE])
{
	assert_int_equal(sha256_file_at(t->fd, name, hex), 0);
}

static int input(const struct testdir *t, const char *name, const char *content)
{
	int fd;

	testdir_puts(t, name, content);
	fd = openat(t->fd, name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

#define NO_SIGNATURE .linked_fd = -EBADF, .signed_fd = -EBADF

static void write_t1(const struct testdir *t, const char *to)
{
	struct precompiled_item it = { .type = PRECOMPILED_MODULE, .name = "a.ko", NO_SIGNATURE };
	struct err e = ERR_INIT;

	it.fd = input(t, "in-a.ko", "hello");
	assert_ok(precompiled_write(t->fd, to, &(struct precompiled_header){ "535.261.03", "D", "P", 0644 },
				    NULL, &it, 1, false, &e),
		  &e);
	close(it.fd);
}

static void write_t2(const struct testdir *t, const char *to)
{
	struct precompiled_item it[] = {
		{ .type = PRECOMPILED_INTERFACE,
		  .name = "tiny.o",
		  .linked_name = "t.ko",
		  .core_name = "c.o_binary",
		  NO_SIGNATURE },
		{ .type = PRECOMPILED_MODULE, .name = "nvidia-uvm.ko", NO_SIGNATURE },
	};
	struct err e = ERR_INIT;

	it[0].fd = input(t, "in-tiny.o", "ABCDEFGH");
	it[1].fd = input(t, "in-uvm.ko", "MODULE");
	assert_ok(precompiled_write(t->fd, to,
				    &(struct precompiled_header){ "535.261.03", "D1", BANNER, 0644 }, NULL,
				    it, 2, false, &e),
		  &e);
	close(it[0].fd);
	close(it[1].fd);
}

static void vector_t1(void **state _unused_)
{
	static const char want[] =
	    "074e5649444941070200000"
	    "00a0000003533352e3236312e3033010000004401000000500100000046494c450000000001000000000000"
	    "0004000000612e6b6f000000000000000000000000c29acee60500000068656c6c6fc29acee60000000000"
	    "00000000000000454e442e";
	char got[2 * 109 + 1], hex[SHA256_HEX_SIZE];
	struct testdir t;
	struct raw r;
	size_t len;
	char *bytes;

	testdir_make(&t);
	write_t1(&t, "pkg");
	bytes = testdir_read(&t, "pkg", &len);
	assert_int_equal(len, 109);
	hex_encode((uint8_t *)bytes, len, got);
	assert_string_equal(got, want);
	hex_of(&t, "pkg", hex);
	assert_string_equal(hex, "2b323c1f49714a496c1e56f18a8cd52e53bd663d6c45c44f67e842a6711d5457");
	build(&r, &(struct spec){ .type = 1 }); /* the table below starts from the same bytes */
	assert_int_equal(r.len, len);
	assert_memory_equal(r.bytes, bytes, len);
	free(bytes);
	testdir_done(&t);
}

static void vector_t2(void **state _unused_)
{
	static const char want_info[] = "description: D1\n"
					"version: 535.261.03\n"
					"proc version: " BANNER "\n"
					"number of files: 2\n"
					"\n"
					"file 1:\n"
					"  name: 'tiny.o'\n"
					"  type: precompiled kernel interface\n"
					"  attributes: \n"
					"  size: 8 bytes\n"
					"  crc: 987000113\n"
					"  target directory: .\n"
					"  core object name: c.o_binary\n"
					"  linked module name: t.ko\n"
					"\n"
					"file 2:\n"
					"  name: 'nvidia-uvm.ko'\n"
					"  type: precompiled kernel module\n"
					"  attributes: \n"
					"  size: 6 bytes\n"
					"  crc: 2506353924\n"
					"  target directory: \n"
					"\n";
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_free_ char *info = NULL;
	char hex[SHA256_HEX_SIZE];
	struct err e = ERR_INIT;
	struct testdir t;
	struct stat st;
	char *bytes;

	testdir_make(&t);
	write_t2(&t, "pkg");
	hex_of(&t, "pkg", hex);
	assert_string_equal(hex, "d5e364620dabad3edf914142574fb06379783640dca90c1abeb8001d4ca5b014");
	assert_int_equal(fstatat(t.fd, "pkg", &st, 0), 0);
	assert_int_equal(st.st_size, 254);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_VERIFY, &p, &e), &e);
	assert_ok(precompiled_info_text(p, &info, &e), &e);
	assert_string_equal(info, want_info);
	assert_ok(precompiled_unpack(p, t.fd, &e), &e);
	bytes = testdir_read(&t, "tiny.o", NULL);
	assert_string_equal(bytes, "ABCDEFGH");
	free(bytes);
	bytes = testdir_read(&t, "nvidia-uvm.ko", NULL);
	assert_string_equal(bytes, "MODULE");
	free(bytes);
	testdir_done(&t);
}

/* -- hostile and broken packages -------------------------------------------------------------------------- */

#define GOOD_INTERFACE .name = "x.o", .linked = "x.ko", .core = "x/core.o_binary", .target = "."

static const struct {
	const char *what;
	struct spec spec;
	size_t cut;
	const char *slug; /* with contents verified; NULL = accepted */
	bool needs_contents; /* the structure alone is fine */
	bool lenient_accepts;
} broken[] = {
	{ "as it should be", { .type = 1 }, 0, NULL },
	{ "an interface", { GOOD_INTERFACE }, 0, NULL },
	{ "no files", { .type = 1, .count_set = 1, .count = 0 }, 69, NULL },
	{ "both CRC copies wrong", { .type = 1, .crc_add = 1 }, 0, "precompiled-crc-mismatch", true },
	{ "CRC copies differ", { .type = 1, .crc_again_add = 1 }, 0, "precompiled-damaged" },
	{ "sequence number", { .type = 1, .sequence = 1 }, 0, "precompiled-damaged" },
	{ "closing sequence number", { .type = 1, .end_sequence = 1 }, 0, "precompiled-damaged" },
	{ "record header", { .type = 1, .mark = "FIL_" }, 0, "precompiled-damaged" },
	{ "record footer", { .type = 1, .end = "END_" }, 0, "precompiled-damaged" },
	{ "truncated by 6", { .type = 1 }, 6, "precompiled-truncated" },
	{ "truncated inside the content", { .type = 1 }, 26, "precompiled-truncated" },
	{ "only the magic", { .type = 1 }, 101, "precompiled-truncated" },
	{ "less than the magic", { .type = 1 }, 102, "precompiled-not-a-package" },
	{ "nothing at all", { .type = 1 }, 109, "precompiled-not-a-package" },
	{ "other magic", { .type = 1, .magic = "\aNVIDIA!" }, 0, "precompiled-not-a-package" },
	{ "format 1", { .type = 1, .format = 1 }, 0, "precompiled-format-unsupported" },
	{ "format 3", { .type = 1, .format = 3 }, 0, "precompiled-format-unsupported" },
	{ "empty driver version", { .type = 1, .version = "" }, 0, "precompiled-field-invalid" },
	{ "65 files", { .type = 1, .count_set = 1, .count = 65 }, 0, "precompiled-limit-exceeded" },
	{ "2147483647 files",
	  { .type = 1, .count_set = 1, .count = 0x7FFFFFFF },
	  0,
	  "precompiled-limit-exceeded" },
	{ "one file too many", { .type = 1, .count_set = 1, .count = 2 }, 0, "precompiled-truncated" },
	{ "version length wraps", { .type = 1, .version_length = 0xFFFFFFF5 }, 0, "precompiled-truncated" },
	{ "name length wraps", { .type = 1, .name_length = 0xFFFFFFF0 }, 0, "precompiled-truncated" },
	{ "size wraps", { .type = 1, .size_add = 0xFFFFFFF0 }, 0, "precompiled-truncated" },
	{ "signature size wraps", { .type = 1, .signature_add = 0xFFFFFFF8 }, 0, "precompiled-truncated" },
	{ "name leads upward", { .type = 1, .name = "../../x" }, 0, "precompiled-name-unsafe" },
	{ "name is two dots", { .type = 1, .name = ".." }, 0, "precompiled-name-unsafe" },
	{ "name is a dot", { .type = 1, .name = "." }, 0, "precompiled-name-unsafe" },
	{ "name is empty", { .type = 1, .name = "" }, 0, "precompiled-name-unsafe" },
	{ "name is absolute", { .type = 1, .name = "/x" }, 0, "precompiled-name-unsafe" },
	{ "target leads upward", { .type = 1, .target = "../.." }, 0, "precompiled-name-unsafe" },
	{ "target leads upward inside", { .type = 1, .target = "a/../../b" }, 0, "precompiled-name-unsafe" },
	{ "target is absolute", { .type = 1, .target = "/etc" }, 0, "precompiled-name-unsafe" },
	{ "linked name is a path",
	  { .name = "x.o", .linked = "../x.ko", .core = "c" },
	  0,
	  "precompiled-name-unsafe" },
	{ "linked name is no module",
	  { .name = "x.o", .linked = "x.so", .core = "c" },
	  0,
	  "precompiled-name-unsafe" },
	{ "core object leads upward",
	  { .name = "x.o", .linked = "x.ko", .core = "../c" },
	  0,
	  "precompiled-name-unsafe" },
	{ "core object is absolute",
	  { .name = "x.o", .linked = "x.ko", .core = "/c" },
	  0,
	  "precompiled-name-unsafe" },
	{ "interface without linked name", { .name = "x.o", .core = "c" }, 0, "precompiled-field-invalid" },
	{ "interface without core object",
	  { .name = "x.o", .linked = "x.ko" },
	  0,
	  "precompiled-field-invalid" },
	{ "module with linked name", { .type = 1, .linked = "x.ko" }, 0, "precompiled-field-invalid" },
	{ "module with core object", { .type = 1, .core = "c" }, 0, "precompiled-field-invalid" },
	{ "control byte in the name", { .type = 1, .name = "a\033.ko" }, 0, "precompiled-field-invalid" },
	{ "line feed in the banner", { .type = 1, .banner = "a\nb" }, 0, "precompiled-field-invalid" },
	{ "tab in the description", { .type = 1, .description = "a\tb" }, 0, NULL },
	{ "8 trailing bytes",
	  { .type = 1, .trailing = "trailing" },
	  0,
	  "precompiled-trailing-bytes",
	  false,
	  true },
	{ "type 7", { .type = 7 }, 0, "precompiled-field-invalid" },
	{ "attributes 0x18", { .type = 1, .attributes = 0x18 }, 0, "precompiled-field-invalid", false, true },
	{ "detached signature of a module",
	  { .type = 1, .attributes = 3, .signature = "s" },
	  0,
	  "precompiled-field-invalid" },
	{ "detached signature without CRC",
	  { GOOD_INTERFACE, .attributes = 1, .signature = "s" },
	  0,
	  "precompiled-field-invalid" },
	{ "detached signature without bytes",
	  { GOOD_INTERFACE, .attributes = 3 },
	  0,
	  "precompiled-field-invalid" },
	{ "detached signature", { GOOD_INTERFACE, .attributes = 3, .signature = "s" }, 0, NULL },
	{ "embedded signature of an interface",
	  { GOOD_INTERFACE, .attributes = 4 },
	  0,
	  "precompiled-field-invalid" },
	{ "embedded signature that is not there",
	  { .type = 1, .attributes = 4 },
	  0,
	  "precompiled-field-invalid",
	  true },
	{ "same name twice", { .type = 1, .twice = true }, 0, "precompiled-duplicate-file" },
	{ "empty content, CRC of nothing", { .type = 1, .content = "" }, 0, NULL },
	{ "empty content, CRC 0", { .type = 1, .content = "", .crc_value_set = 1 }, 0, NULL },
	{ "empty content, other CRC",
	  { .type = 1, .content = "", .crc_value_set = 1, .crc_value = 5 },
	  0,
	  "precompiled-crc-mismatch",
	  true },
};

static void refuses_by_slug(void **state _unused_)
{
	struct testdir t;
	int fds = testdir_open_fds();

	testdir_make(&t);
	assert_int_equal(mkdirat(t.fd, "out", 0755), 0);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		static const unsigned modes[] = { 0, PRECOMPILED_VERIFY,
						  PRECOMPILED_VERIFY | PRECOMPILED_LENIENT };

		for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
			_cleanup_(precompiled_freep) struct precompiled *p = NULL;
			bool contents = (modes[m] & PRECOMPILED_VERIFY) != 0;
			bool lenient = (modes[m] & PRECOMPILED_LENIENT) != 0;
			bool good = !broken[i].slug || (broken[i].needs_contents && !contents) ||
				    (broken[i].lenient_accepts && lenient);
			struct err e = ERR_INIT;
			struct raw r;

			build(&r, &broken[i].spec);
			r.len -= broken[i].cut;
			write_raw(&t, "pkg", &r);
			if ((precompiled_open(t.fd, "pkg", modes[m], &p, &e) >= 0) != good)
				fail_msg("%s, mode %u: %s", broken[i].what, modes[m],
					 e.reason ? e.reason : "accepted");
			if (!good) {
				assert_slug(&e, broken[i].slug);
				assert_string_equal(e.object, "pkg");
				assert_null(p);
			}
			err_done(&e);
		}
	}
	testdir_done(&t);
	assert_int_equal(testdir_open_fds(), fds);
}

/* Cut at every byte: never accepted. Changed in every byte: never a crash (texts may change freely). */
static void every_cut_and_flip(void **state _unused_)
{
	struct testdir t;
	struct raw r;
	char *bytes;

	testdir_make(&t);
	write_t2(&t, "pkg");
	bytes = testdir_read(&t, "pkg", &r.len);
	assert_int_equal(r.len, 254);
	memcpy(r.bytes, bytes, r.len);
	free(bytes);
	for (size_t i = 0; i < 254; i++) {
		struct precompiled *p = NULL;
		struct raw cut = r;

		cut.len = i;
		write_raw(&t, "cut", &cut);
		assert_true(precompiled_open(t.fd, "cut", PRECOMPILED_VERIFY, &p, NULL) < 0);
		assert_null(p);
		r.bytes[i] ^= 0x81;
		write_raw(&t, "flip", &r);
		(void)precompiled_open(t.fd, "flip", PRECOMPILED_VERIFY, &p, NULL);
		precompiled_freep(&p);
		r.bytes[i] ^= 0x81;
	}
	testdir_done(&t);
}

static void strings_have_a_ceiling(void **state _unused_)
{
	_cleanup_free_ uint8_t *bytes = calloc(1, PRECOMPILED_STRING_MAX + 200);
	struct precompiled *p = NULL;
	struct err e = ERR_INIT;
	struct testdir t;
	struct raw r;
	uint32_t len = PRECOMPILED_STRING_MAX + 1;

	testdir_make(&t);
	r.len = 0;
	put(&r, "\aNVIDIA\a", 8);
	put_u32(&r, 2);
	put_u32(&r, len);
	memcpy(bytes, r.bytes, r.len);
	memset(bytes + r.len, 'v', len);
	testdir_write(&t, "pkg", bytes, r.len + len + 100, 0644);
	assert_true(precompiled_open(t.fd, "pkg", 0, &p, &e) < 0);
	assert_slug(&e, "precompiled-limit-exceeded");
	err_done(&e);
	testdir_done(&t);
}

static void no_regular_file(void **state _unused_)
{
	struct precompiled *p = NULL;
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	assert_true(precompiled_open(t.fd, ".", 0, &p, &e) < 0);
	assert_slug(&e, "precompiled-not-a-package");
	assert_int_equal(mkfifoat(t.fd, "fifo", 0600), 0);
	assert_true(precompiled_open(t.fd, "fifo", 0, &p, &e) < 0);
	assert_slug(&e, "precompiled-not-a-package");
	assert_int_equal(precompiled_open(t.fd, "absent", 0, &p, &e), -ENOENT);
	err_done(&e);
	testdir_done(&t);
}

/* -- matching --------------------------------------------------------------------------------------------- */

static void matches_the_banner_byte_for_byte(void **state _unused_)
{
	static const struct {
		const char *version_file;
		size_t len;
		bool matches;
	} rows[] = {
		{ BANNER "\n", sizeof(BANNER "\n") - 1, true },
		{ BANNER, sizeof(BANNER) - 1, true },
		{ BANNER "\nsecond line\n", sizeof(BANNER "\nsecond line\n") - 1, true },
		{ BANNER "\0rest", sizeof(BANNER "\0rest") - 1, true },
		{ BANNER " \n", sizeof(BANNER " \n") - 1, false },
		{ " " BANNER "\n", sizeof(" " BANNER "\n") - 1, false },
		{ "", 0, false },
	};
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	write_t2(&t, "pkg");
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_READ_HEADER, &p, &e), &e);
	assert_null(p->files);
	assert_int_equal(p->n_files, 2);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *banner = NULL;

		testdir_write(&t, "version", rows[i].version_file, rows[i].len, 0644);
		assert_ok(precompiled_banner(t.fd, &banner, &e), &e);
		assert_int_equal(precompiled_match(p, NULL, banner, &e) >= 0, rows[i].matches);
		assert_int_equal(precompiled_match(p, "535.261.03", banner, &e) >= 0, rows[i].matches);
		assert_true(precompiled_match(p, "535.261.04", banner, &e) < 0);
		assert_slug(&e, "precompiled-no-match");
	}
	assert_int_equal(unlinkat(t.fd, "version", 0), 0);
	{
		char *banner = NULL;

		assert_int_equal(precompiled_banner(t.fd, &banner, &e), -ENOENT);
		assert_null(banner);
	}
	err_done(&e);
	testdir_done(&t);
}

/* Contents that are not there: a header with a huge hole behind it is matched all the same. */
static void matching_reads_only_the_header(void **state _unused_)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	struct err e = ERR_INIT;
	struct testdir t;
	struct raw r;

	testdir_make(&t);
	build(&r, &(struct spec){ .type = 1, .mark = "????" });
	write_raw(&t, "pkg", &r);
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_READ_HEADER, &p, &e), &e);
	assert_ok(precompiled_match(p, "535.261.03", "P", &e), &e);
	testdir_done(&t);
}

static void covers_by_file_name(void **state _unused_)
{
	static const struct {
		const char *module, *file;
	} names[] = {
		{ "nvidia", "nv-linux.o" },
		{ "nvidia-modeset", "nv-modeset-linux.o" },
		{ "nvidia-uvm", "nvidia-uvm.ko" },
		{ "nvidia-peermem", "nvidia-peermem.ko" },
	};
	char *one[] = { (char *)(uintptr_t) "nvidia-uvm", NULL };
	char *two[] = { (char *)(uintptr_t) "nvidia-uvm", (char *)(uintptr_t) "nvidia-peermem", NULL };
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	const char *linked, *core;
	struct err e = ERR_INIT;
	struct testdir t;
	char name[64], *package;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(precompiled_file_name(names[i].module, name, sizeof(name)), 0);
		assert_string_equal(name, names[i].file);
	}
	assert_int_equal(precompiled_file_name("nvidia-peermem", name, 5), -ENAMETOOLONG);
	assert_true(precompiled_interface_of("nv-modeset-linux.o", &linked, &core));
	assert_string_equal(linked, "nvidia-modeset.ko");
	assert_string_equal(core, "nvidia-modeset/nv-modeset-kernel.o_binary");
	assert_false(precompiled_interface_of("nvidia-uvm.ko", &linked, &core));
	package = precompiled_package_name("6.1.0-56-amd64", "0123456789abcdef");
	assert_string_equal(package, "nvidia-modules-6.1.0-56-amd64-01234567");
	free(package);
	testdir_make(&t);
	write_t2(&t, "pkg");
	assert_ok(precompiled_open(t.fd, "pkg", 0, &p, &e), &e);
	assert_ok(precompiled_covers(p, one, &e), &e);
	assert_true(precompiled_covers(p, two, &e) < 0);
	assert_slug(&e, "precompiled-incomplete");
	assert_non_null(strstr(e.reason, "nvidia-peermem"));
	err_done(&e);
	testdir_done(&t);
}

/* -- unpacking -------------------------------------------------------------------------------------------- */

static void unpack_stays_beneath(void **state _unused_)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_close_ int out_fd = -EBADF;
	struct err e = ERR_INIT;
	struct testdir t;
	struct raw r;
	char *before, *after, *bytes;

	testdir_make(&t);
	build(&r, &(struct spec){ .type = 1, .target = "sub/./dir" });
	write_raw(&t, "pkg", &r);
	assert_int_equal(mkdirat(t.fd, "out", 0755), 0);
	assert_int_equal(mkdirat(t.fd, "elsewhere", 0755), 0);
	assert_int_equal(symlinkat("../elsewhere", t.fd, "out/sub"), 0);
	out_fd = openat(t.fd, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_VERIFY, &p, &e), &e);
	before = testdir_snapshot(&t);
	assert_true(precompiled_unpack(p, out_fd, &e) < 0);
	assert_slug(&e, "path-escapes-root");
	after = testdir_snapshot(&t);
	assert_string_equal(before, after);
	free(before);
	free(after);
	/* A link in the place of the file itself is replaced, not followed. */
	assert_int_equal(unlinkat(t.fd, "out/sub", 0), 0);
	assert_int_equal(mkdirat(t.fd, "out/sub", 0755), 0);
	assert_int_equal(mkdirat(t.fd, "out/sub/dir", 0755), 0);
	testdir_puts(&t, "elsewhere/precious", "precious");
	assert_int_equal(symlinkat("../../../elsewhere/precious", t.fd, "out/sub/dir/a.ko"), 0);
	assert_ok(precompiled_unpack(p, out_fd, &e), &e);
	bytes = testdir_read(&t, "elsewhere/precious", NULL);
	assert_string_equal(bytes, "precious");
	free(bytes);
	bytes = testdir_read(&t, "out/sub/dir/a.ko", NULL);
	assert_string_equal(bytes, "hello");
	free(bytes);
	err_done(&e);
	testdir_done(&t);
}

static void unpack_of_a_damaged_package_leaves_nothing(void **state _unused_)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_close_ int out_fd = -EBADF, fd = -EBADF;
	struct err e = ERR_INIT;
	struct testdir t;
	char *before, *after;

	testdir_make(&t);
	write_t2(&t, "pkg");
	assert_int_equal(mkdirat(t.fd, "out", 0755), 0);
	out_fd = openat(t.fd, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(t.fd, "pkg", O_RDWR | O_CLOEXEC);
	assert_ok(precompiled_open(t.fd, "pkg", 0, &p, &e), &e);
	assert_int_equal(pwrite(fd, "m", 1, (off_t)p->files[1].content_offset), 1);
	before = testdir_snapshot(&t);
	assert_true(precompiled_unpack(p, out_fd, &e) < 0);
	assert_slug(&e, "precompiled-crc-mismatch");
	after = testdir_snapshot(&t);
	assert_string_equal(before, after);
	free(before);
	free(after);
	err_done(&e);
	testdir_done(&t);
}

/* -- writing ---------------------------------------------------------------------------------------------- */

static int write_one(const struct testdir *t, const char *to, const struct precompiled *base,
		     const char *version, const struct precompiled_item *template, const char *content,
		     bool replace, struct err *e)
{
	struct precompiled_header h = { version, NULL, base ? NULL : "P", 0644 };
	struct precompiled_item it = *template;
	int r;

	it.linked_fd = it.signed_fd = -EBADF;
	it.fd = input(t, "in", content);
	r = precompiled_write(t->fd, to, &h, base, &it, 1, replace, e);
	close(it.fd);
	return r;
}

static void extending_keeps_and_replaces(void **state _unused_)
{
	static const struct precompiled_item a = { .type = PRECOMPILED_MODULE, .name = "a.ko" };
	static const struct precompiled_item b = { .type = PRECOMPILED_MODULE,
						   .name = "b.ko",
						   .target_dir = "./" };
	_cleanup_(precompiled_freep) struct precompiled *p = NULL, *q = NULL;
	struct err e = ERR_INIT;
	struct testdir t;
	char *before, *after;

	testdir_make(&t);
	write_t1(&t, "pkg");
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_VERIFY, &p, &e), &e);
	before = testdir_read(&t, "pkg", NULL);
	assert_true(write_one(&t, "pkg", p, NULL, &a, "new", false, &e) < 0);
	assert_slug(&e, "precompiled-name-clash");
	after = testdir_read(&t, "pkg", NULL);
	assert_string_equal(before, after);
	free(before);
	free(after);
	assert_ok(write_one(&t, "pkg", p, NULL, &b, "second", false, &e), &e);
	precompiled_freep(&p);
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_VERIFY, &p, &e), &e);
	assert_int_equal(p->n_files, 2);
	assert_string_equal(p->version, "535.261.03");
	assert_string_equal(p->description, "D");
	assert_string_equal(p->files[0].name, "a.ko");
	assert_ok(write_one(&t, "pkg", p, "550.1", &a, "replaced", true, &e), &e);
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_VERIFY, &q, &e), &e);
	assert_int_equal(q->n_files, 2);
	assert_string_equal(q->version, "550.1");
	assert_string_equal(q->proc_version, "P");
	assert_string_equal(q->files[0].name, "a.ko");
	assert_int_equal(q->files[0].size_bytes, 8);
	assert_string_equal(q->files[1].name, "b.ko");
	err_done(&e);
	testdir_done(&t);
}

static void writer_refuses_and_leaves_the_old(void **state _unused_)
{
	static const struct {
		struct precompiled_item item;
		const char *content, *version, *slug;
	} rows[] = {
		{ { .type = PRECOMPILED_MODULE, .name = "a.ko" }, "", "1.2", "precompiled-empty-file" },
		{ { .type = PRECOMPILED_MODULE, .name = "a.ko", .is_signed = true },
		  "x",
		  "1.2",
		  "module-not-signed" },
		{ { .type = PRECOMPILED_MODULE, .name = "../a.ko" }, "x", "1.2", "precompiled-name-unsafe" },
		{ { .type = PRECOMPILED_MODULE, .name = "a.ko", .target_dir = "../b" },
		  "x",
		  "1.2",
		  "precompiled-name-unsafe" },
		{ { .type = PRECOMPILED_INTERFACE, .name = "a.o" }, "x", "1.2", "precompiled-field-invalid" },
		{ { .type = PRECOMPILED_MODULE, .name = "a.ko" }, "x", "", "precompiled-field-invalid" },
		{ { .type = PRECOMPILED_MODULE, .name = "a.ko" }, "x", "1\n2", "precompiled-field-invalid" },
		{ { .type = PRECOMPILED_MODULE, .name = "a.ko" }, "x", NULL, "usage" },
	};
	int fds = testdir_open_fds();
	struct testdir t;

	testdir_make(&t);
	write_t1(&t, "pkg");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;
		char *before, *after;

		testdir_puts(&t, "in", rows[i].content);
		before = testdir_snapshot(&t);
		assert_true(write_one(&t, "pkg", NULL, rows[i].version, &rows[i].item, rows[i].content, false,
				      &e) < 0);
		assert_slug(&e, rows[i].slug);
		after = testdir_snapshot(&t);
		assert_string_equal(before, after);
		free(before);
		free(after);
		err_done(&e);
	}
	testdir_done(&t);
	assert_int_equal(testdir_open_fds(), fds);
}

static void too_many_files(void **state _unused_)
{
	struct precompiled_item items[PRECOMPILED_FILES_MAX + 1];
	char names[PRECOMPILED_FILES_MAX + 1][16];
	struct precompiled_header h = { "1.2", "", "P", 0600 };
	struct err e = ERR_INIT;
	struct testdir t;
	int fd;

	testdir_make(&t);
	fd = input(&t, "in", "x");
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		snprintf(names[i], sizeof(names[i]), "m%zu.ko", i);
		items[i] = (struct precompiled_item){
			.type = PRECOMPILED_MODULE, .name = names[i], .fd = fd, NO_SIGNATURE
		};
	}
	assert_ok(precompiled_write(t.fd, "pkg", &h, NULL, items, PRECOMPILED_FILES_MAX, false, &e), &e);
	assert_true(precompiled_write(t.fd, "pkg2", &h, NULL, items, ARRAY_LEN(items), false, &e) < 0);
	assert_slug(&e, "precompiled-limit-exceeded");
	assert_false(testdir_has(&t, "pkg2"));
	snprintf(names[1], sizeof(names[1]), "m0.ko");
	assert_true(precompiled_write(t.fd, "pkg2", &h, NULL, items, 2, true, &e) < 0);
	assert_slug(&e, "precompiled-name-clash");
	err_done(&e);
	close(fd);
	testdir_done(&t);
}

/* The signed copy of a linked module: its tail is kept, its start must be the linked module. */
static void detached_signature_round_trip(void **state _unused_)
{
	static const uint8_t trailer[40] = "\0\0\2\0\0\0\0\0\0\0\0\4~Module signature appended~\n";
	struct precompiled_header h = { "1.2", "", "P", 0644 };
	struct precompiled_item it = { .type = PRECOMPILED_INTERFACE,
				       .name = "nv-linux.o",
				       .linked_name = "nvidia.ko",
				       .core_name = "nvidia/nv-kernel.o_binary" };
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_free_ uint8_t *sig = NULL;
	uint8_t file[10 + 4 + 40];
	struct err e = ERR_INIT;
	struct testdir t;

	testdir_make(&t);
	memcpy(file, "the linked", 10);
	memcpy(file + 10, "\x30\x02\x05\x00", 4);
	memcpy(file + 14, trailer, 40);
	testdir_write(&t, "signed", file, sizeof(file), 0644);
	it.fd = input(&t, "interface", "interface");
	it.linked_fd = input(&t, "linked", "the linked");
	it.signed_fd = openat(t.fd, "signed", O_RDONLY | O_CLOEXEC);
	assert_ok(precompiled_write(t.fd, "pkg", &h, NULL, &it, 1, false, &e), &e);
	assert_ok(precompiled_open(t.fd, "pkg", PRECOMPILED_VERIFY, &p, &e), &e);
	assert_int_equal(p->files[0].attributes, 3);
	assert_int_equal(p->files[0].linked_crc, crc32_mpeg2(CRC32_MPEG2_INIT, "the linked", 10));
	assert_int_equal(p->files[0].signature_size, 44);
	assert_int_equal(precompiled_signature(p, &p->files[0], &sig), 0);
	assert_memory_equal(sig, file + 10, 44);
	close(it.linked_fd);
	/* Another build of the same length, and one of another length. */
	it.linked_fd = input(&t, "linked", "the Linked");
	assert_true(precompiled_write(t.fd, "bad", &h, NULL, &it, 1, false, &e) < 0);
	assert_slug(&e, "signed-module-differs");
	close(it.linked_fd);
	it.linked_fd = input(&t, "linked", "the link");
	assert_true(precompiled_write(t.fd, "bad", &h, NULL, &it, 1, false, &e) < 0);
	assert_slug(&e, "signed-module-differs");
	assert_false(testdir_has(&t, "bad"));
	err_done(&e);
	close(it.fd);
	close(it.linked_fd);
	close(it.signed_fd);
	testdir_done(&t);
}

static void listing_of_signed_and_odd_files(void **state _unused_)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL, *q = NULL;
	_cleanup_free_ char *a = NULL, *b = NULL;
	struct err e = ERR_INIT;
	struct testdir t;
	struct raw r;

	testdir_make(&t);
	build(&r, &(struct spec){ GOOD_INTERFACE, .attributes = 3, .signature = "sig",
				  .linked_crc = 4294967295u });
	write_raw(&t, "pkg", &r);
	assert_ok(precompiled_open(t.fd, "pkg", 0, &p, &e), &e);
	assert_ok(precompiled_info_text(p, &a, &e), &e);
	assert_non_null(strstr(a, "  attributes: detached signature, linked module crc\n"));
	assert_non_null(strstr(
	    a, "  linked module name: x.ko\n  linked module crc: 4294967295\n  signature size: 3\n\n"));
	build(&r, &(struct spec){ .type = 1, .attributes = 0x18 });
	write_raw(&t, "odd", &r);
	assert_ok(precompiled_open(t.fd, "odd", PRECOMPILED_LENIENT, &q, &e), &e);
	assert_ok(precompiled_info_text(q, &b, &e), &e);
	assert_non_null(strstr(b, "  attributes: unknown attribute, unknown attribute\n"));
	testdir_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vector_t1),
		cmocka_unit_test(vector_t2),
		cmocka_unit_test(refuses_by_slug),
		cmocka_unit_test(every_cut_and_flip),
		cmocka_unit_test(strings_have_a_ceiling),
		cmocka_unit_test(no_regular_file),
		cmocka_unit_test(matches_the_banner_byte_for_byte),
		cmocka_unit_test(matching_reads_only_the_header),
		cmocka_unit_test(covers_by_file_name),
		cmocka_unit_test(unpack_stays_beneath),
		cmocka_unit_test(unpack_of_a_damaged_package_leaves_nothing),
		cmocka_unit_test(extending_keeps_and_replaces),
		cmocka_unit_test(writer_refuses_and_leaves_the_old),
		cmocka_unit_test(too_many_files),
		cmocka_unit_test(detached_signature_round_trip),
		cmocka_unit_test(listing_of_signed_and_odd_files),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
