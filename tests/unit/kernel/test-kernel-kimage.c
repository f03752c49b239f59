/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "kimage.h"
#include "spawn.h"
#include "strbuf.h"

#define WANTED "Linux version 6.1.0-9 (me@here) (gcc 12) #1 SMP today"
#define OTHER  "Linux version 6.1.0-9 (me@here) (gcc 12) # SMP"

static void prefers_the_numbered_banner(void **state _unused_)
{
	static const struct {
		const char *text, *release, *want; /* want NULL: none */
	} rows[] = {
		{ "xx" WANTED "\n", NULL, WANTED },
		{ OTHER "\n" WANTED "\n", NULL, WANTED },
		{ OTHER "\n", NULL, OTHER },
		{ "Linux version %s (x) (y) #1 %s\n" WANTED "\n", "6.1.0-9", WANTED },
		{ WANTED "\n", "6.1.0-9", WANTED },
		{ WANTED "\n", "6.1.0", NULL },
		{ WANTED, NULL, NULL }, /* not ended */
		{ "Linux version \x01\n", NULL, NULL },
		{ "Linux versio", NULL, NULL },
		{ "", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = NULL;
		int r = kimage_find_banner(rows[i].text, strlen(rows[i].text), rows[i].release, &got);

		if (!rows[i].want)
			assert_int_equal(r, -ENOENT);
		else
			assert_string_equal(got, rows[i].want);
	}
}

static void compress(struct testdir *t, const char *tool, const char *option, const char *from,
		     const char *to)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("compressor");
	_cleanup_(err_done) struct err e = ERR_INIT;

	spawn_argv(&s, tool, option, "-c", from, NULL);
	s.cwd_fd = t->fd;
	s.capture = true;
	assert_ok(spawn_check(&s, &e), &e);
	testdir_write(t, to, s.out, s.out_len, 0644);
}

static char *text_of_kernel(size_t *ret_len)
{
	size_t len = (size_t)3 << 20, at = ((size_t)1 << 20) - 20; /* across a block's end */
	char *p = calloc(1, len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (char)(i * 2654435761u >> 24);
	memcpy(p + at, "\n" OTHER "\n" WANTED "\n", strlen(OTHER) + strlen(WANTED) + 3);
	*ret_len = len;
	return p;
}

/* A loader, magic bytes that mean nothing, the compressed kernel, and something behind it. */
static void wrap(struct testdir *t, const char *from, const char *to, bool zboot)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT((size_t)64 << 20);
	_cleanup_free_ char *body = NULL;
	char head[64] = "MZ\0\0zimg";
	size_t len;
	uint32_t at = 4096, size;

	body = testdir_read(t, from, &len);
	size = (uint32_t)len;
	memcpy(head + 8, &at, 4);
	memcpy(head + 12, &size, 4);
	if (!zboot)
		memset(head, 0x90, sizeof(head));
	(void)strbuf_append(&b, head, sizeof(head));
	for (size_t i = 0; b.len < at; i++)
		(void)strbuf_append(&b, i < 20 ? "\x1f\x8b\x08\0" : "\0\0\0\0", 4);
	(void)strbuf_append(&b, body, len);
	(void)strbuf_append(&b, "tail of the image", 17);
	assert_int_equal(strbuf_error(&b), 0);
	testdir_write(t, to, b.buf, b.len, 0644);
}

static void finds_it_behind_any_compression(void **state _unused_)
{
	static const struct {
		const char *tool, *option;
	} tools[] = { { "gzip", "-9" }, { "xz", "-1" }, { "zstd", "-q" }, { "bzip2", "-9" } };
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_free_ char *kernel = NULL;
	size_t len;

	testdir_make(&t);
	kernel = text_of_kernel(&len);
	testdir_write(&t, "vmlinux", kernel, len, 0644);
	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		_cleanup_free_ char *path = NULL;

		if (spawn_find(tools[i].tool, &path) < 0)
			continue;
		compress(&t, tools[i].tool, tools[i].option, "vmlinux", "packed");
		wrap(&t, "packed", "bzimage", false);
		wrap(&t, "packed", "zboot", true);
		for (size_t k = 0; k < 4; k++) {
			static const char *const names[] = { "vmlinux", "packed", "bzimage", "zboot" };
			_cleanup_(err_done) struct err e = ERR_INIT;
			_cleanup_free_ char *got = NULL;
			int fd = openat(t.fd, names[k], O_RDONLY | O_CLOEXEC);

			assert_ok(kimage_banner(fd, names[k], "6.1.0-9", &got, &e), &e);
			assert_string_equal(got, WANTED);
			free(got);
			got = NULL;
			assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
			assert_int_equal(kimage_banner(fd, names[k], "6.1.0-8", &got, &e), -ERR_KIMAGE);
			close(fd);
		}
	}
}

TEST_MAIN(cmocka_unit_test(prefers_the_numbered_banner), cmocka_unit_test(finds_it_behind_any_compression))
