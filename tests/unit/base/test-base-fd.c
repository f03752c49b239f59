/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "elffile.h"
#include "fd.h"
#include "log.h"
#include "strbuf.h"

#include <sys/mman.h>

static void reading_is_bounded(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_free_ char *text = NULL, *line = NULL;
	size_t len = 0;

	testdir_make(&t);
	testdir_write(&t, "f", "ab\0cd\nx", 7, 0644);
	assert_int_equal(symlinkat("f", t.fd, "link"), 0);
	assert_int_equal(mkfifoat(t.fd, "fifo", 0600), 0);
	assert_int_equal(read_file_at(t.fd, "f", 7, &text, &len), 0);
	assert_int_equal(len, 7);
	assert_memory_equal(text, "ab\0cd\nx", 8);
	freep(&text);
	assert_int_equal(read_file_at(t.fd, "f", 6, &text, &len), -E2BIG);
	assert_int_equal(read_file_at(t.fd, "link", 100, &text, &len), -ELOOP);
	assert_int_equal(read_file_at(t.fd, "fifo", 100, &text, &len), -EINVAL);
	assert_int_equal(read_file_at(t.fd, "none", 100, &text, &len), -ENOENT);
	assert_int_equal(read_file_at(t.fd, ".", 100, &text, &len), -EINVAL);
	assert_null(text);
	assert_int_equal(read_file_at(AT_FDCWD, "/proc/self/status", 65536, &text, &len), 0);
	assert_true(len > 100);
	freep(&text);
	assert_int_equal(read_file_at(AT_FDCWD, "/proc/self/status", 50, &text, &len), -E2BIG);
	assert_int_equal(read_line_at(AT_FDCWD, "/proc/self/comm", &line), 0);
	assert_null(strchr(line, '\n'));
}

static void reading_exactly(void **state _unused_)
{
	int fd = memfd_create("x", MFD_CLOEXEC);
	char buf[4];

	assert_int_equal(write_all(fd, "12345", 5), 0);
	assert_int_equal(pread_exact(fd, buf, 4, 1), 0);
	assert_memory_equal(buf, "2345", 4);
	assert_int_equal(pread_exact(fd, buf, 4, 2), -ENODATA);
	assert_int_equal(pread_exact(fd, buf, 4, UINT64_MAX - 1), -ENODATA);
	assert_int_equal(lseek(fd, 3, SEEK_SET), 3);
	assert_int_equal(read_upto(fd, buf, 4), 2);
	close(fd);
}

static void copies_are_whole(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	size_t size = 700000, len;
	char *big = malloc(size);

	testdir_make(&t);
	for (size_t i = 0; i < size; i++)
		big[i] = (char)(i * 7 + i / 1000);
	testdir_write(&t, "from", big, size, 0644);
	for (int plain = 0; plain < 2; plain++) {
		_cleanup_close_ int in = openat(t.fd, "from", O_RDONLY | O_CLOEXEC);
		_cleanup_close_ int out =
		    openat(t.fd, plain ? "b" : "a", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		const char *method = NULL;
		char *copy;

		assert_int_equal(plain ? copy_fd_plain(in, out) : copy_fd(in, out, &method), 0);
		assert_true(plain || method);
		copy = testdir_read(&t, plain ? "b" : "a", &len);
		assert_int_equal(len, size);
		assert_memory_equal(copy, big, size);
		free(copy);
	}
	free(big);
}

static void the_path_of_what_is_open(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_free_ char *top = NULL, *sub = NULL, *want = NULL, *none = NULL;
	_cleanup_close_ int fd = -EBADF;

	testdir_make(&t);
	assert_int_equal(mkdirat(t.fd, "d", 0755), 0);
	assert_int_equal(symlinkat("d", t.fd, "link"), 0);
	fd = openat(t.fd, "link", O_PATH | O_CLOEXEC);
	assert_int_equal(fd_real_path(t.fd, &top), 0);
	assert_int_equal(fd_real_path(fd, &sub), 0);
	assert_true(asprintf(&want, "%s/d", top) > 0);
	assert_string_equal(sub, want);
	assert_int_equal(fd_real_path(-1, &none), -ENOENT);
	assert_null(none);
}

static void buffers_stick_to_their_first_error(void **state _unused_)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(8);
	char *s = NULL;

	assert_string_equal(strbuf_str(&b), "");
	assert_int_equal(strbuf_puts(&b, "abcd"), 0);
	assert_int_equal(strbuf_printf(&b, "%04d", 12), 0);
	assert_string_equal(strbuf_str(&b), "abcd0012");
	assert_int_equal(strbuf_putc(&b, 'x'), -E2BIG);
	assert_int_equal(strbuf_append(&b, "", 0), -E2BIG);
	assert_int_equal(strbuf_error(&b), -E2BIG);
	assert_int_equal(strbuf_steal(&b, &s), -E2BIG);
	assert_null(s);
	strbuf_reset(&b);
	assert_int_equal(strbuf_append(&b, "a\0b", 3), 0);
	assert_int_equal(b.len, 3);
	assert_int_equal(strbuf_steal(&b, &s), 0);
	assert_memory_equal(s, "a\0b", 4);
	free(s);
	s = NULL;
	assert_int_equal(strbuf_steal(&b, &s), 0);
	assert_string_equal(s, "");
	free(s);
}

static void vectors(void **state _unused_)
{
	_cleanup_strv_ char **v = NULL;

	assert_int_equal(strv_len(v), 0);
	assert_false(strv_contains(v, "a"));
	strv_sort(v);
	for (int i = 20; i-- > 10;) {
		_cleanup_free_ char *s = str_printf("%d", i);

		assert_int_equal(strv_push(&v, s), 0);
	}
	strv_sort(v);
	assert_int_equal(strv_len(v), 10);
	assert_string_equal(v[0], "10");
	assert_string_equal(v[9], "19");
	assert_null(v[10]);
	assert_true(strv_contains(v, "15"));
}

static char *logged(const struct log_config *like, enum log_level level, const char *text)
{
	struct log_config c = *like;
	int fd = memfd_create("log", MFD_CLOEXEC);
	char *out = NULL;

	if (like->file_fd == 0) {
		c.fd = -1;
		c.file_fd = fd;
	} else {
		c.fd = fd;
	}
	log_setup(&c);
	log_msg(level, "%s", text);
	log_setup(&(struct log_config){ .fd = -1, .file_fd = -1 });
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(read_fd(fd, 65536, &out, NULL), 0);
	close(fd);
	return out;
}

static void messages(void **state _unused_)
{
	static const struct {
		struct log_config c; /* file_fd 0: goes to the file */
		enum log_level level;
		const char *text, *want; /* '*' at the start: the time is skipped */
	} rows[] = {
		{ { .file_fd = -1, .level = LOG_INFO_LEVEL }, LOG_INFO_LEVEL, "hello", "hello\n" },
		{ { .file_fd = -1, .level = LOG_INFO_LEVEL }, LOG_DEBUG_LEVEL, "hello", "" },
		{ { .file_fd = -1, .level = LOG_INFO_LEVEL }, LOG_WARN_LEVEL, "w", "warning: w\n" },
		{ { .file_fd = -1, .level = LOG_INFO_LEVEL, .colour = true },
		  LOG_ERROR_LEVEL,
		  "w",
		  "\033[1;31merror: \033[0mw\n" },
		{ { .file_fd = -1, .level = LOG_INFO_LEVEL },
		  LOG_INFO_LEVEL,
		  "a\033[2Jb\r\x7f\xff\xc2\x9b\xc3\xa4",
		  "a?[2Jb?????\xc3\xa4\n" },
		{ { .file_fd = -1, .level = LOG_INFO_LEVEL, .format = LOG_FORMAT_JSON },
		  LOG_INFO_LEVEL,
		  "q\"\\\n\xff\xc3\xa4",
		  "*\"level\":\"info\",\"message\":\"q\\\"\\\\\\u000a\\ufffd\xc3\xa4\"}\n" },
		{ { .file_fd = 0, .colour = true }, LOG_DEBUG_LEVEL, "deep", "* debug deep\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *out = logged(&rows[i].c, rows[i].level, rows[i].text);
		const char *want = rows[i].want, *have = out;

		if (*want == '*') {
			want++;
			have = strstr(out, *want == ' ' ? " " : "\"level\"");
			assert_non_null(have);
		}
		assert_string_equal(have, want);
	}
}

static void progress_lines(void **state _unused_)
{
	static const char lines[] = "copying ...\ncopying: 1.0 KiB (25 %)\ncopying: 2.0 KiB (50 %)\n"
				    "copying: 3.0 KiB (75 %)\nbetween\ncopying: done, 4.0 KiB in ";
	int fd = memfd_create("log", MFD_CLOEXEC), beside = memfd_create("beside", MFD_CLOEXEC);
	_cleanup_free_ char *plain = NULL, *bar = NULL;
	struct progress p;

	log_setup(&(struct log_config){ .fd = fd, .file_fd = -1, .level = LOG_INFO_LEVEL });
	for (int mode = PROGRESS_BAR; mode <= PROGRESS_PLAIN; mode++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
		_cleanup_free_ char *also = NULL;

		progress_setup((enum progress_mode)mode);
		assert_int_equal(ftruncate(beside, 0), 0);
		assert_int_equal(lseek(beside, 0, SEEK_SET), 0);
		log_also(beside, beside);
		progress_begin(&p, "copying", 4096);
		for (uint64_t i = 0; i <= 4096; i += 512)
			progress_update(&p, i);
		log_info("between");
		progress_end(&p);
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
		assert_int_equal(read_fd(fd, 65536, mode == PROGRESS_BAR ? &bar : &plain, NULL), 0);
		/* Whoever reads along has lines, whatever this terminal shows. */
		assert_int_equal(lseek(beside, 0, SEEK_SET), 0);
		assert_int_equal(read_fd(beside, 65536, &also, NULL), 0);
		assert_int_equal(strncmp(also, lines, strlen(lines)), 0);
	}
	log_setup(&(struct log_config){ .fd = -1, .file_fd = -1 });
	progress_setup(PROGRESS_AUTO);
	close(fd);
	close(beside);
	assert_non_null(strstr(plain, lines));
	assert_non_null(strstr(bar, "\r\033[K"
				    "between\n"));
	assert_non_null(strstr(bar, "[####################] 100 % 4.0 KiB of 4.0 KiB\n"));
}

/* A damaged byte anywhere in the first kilobyte of a real object: an error or an answer, nothing else. */
static void elf_survives_damage(void **state _unused_)
{
	_cleanup_close_ int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct elf elf;
	struct elf_section s;
	_cleanup_free_ char *soname = NULL, *text = NULL;
	_cleanup_strv_ char **needed = NULL;
	size_t len;
	char head[4096];
	int fd;

	assert_int_equal(elf_open(self, &elf), 0);
	assert_int_equal(elf.class_bits, sizeof(void *) * 8);
	assert_int_equal(elf_dynamic(&elf, &soname, &needed), 0);
	assert_null(soname);
	assert_true(strv_contains(needed, "libc.so.6"));
	assert_int_equal(elf_section(&elf, ".interp", &s), 0);
	assert_int_equal(elf_section_read(&elf, &s, 4096, &text, &len), 0);
	assert_int_equal(text[0], '/');
	assert_int_equal(elf_section(&elf, ".no-such", &s), -ENOENT);
	assert_int_equal(elf_section_at(&elf, elf.shnum, &s), -ENOENT);
	assert_int_equal(elf_open_range(self, 1, 4095, &elf), -ENOEXEC);
	assert_int_equal(elf_open_range(self, 0, 63, &elf), -EBADMSG);
	assert_int_equal(elf_open_range(self, 0, 10, &elf), -ENOEXEC);
	fd = memfd_create("elf", MFD_CLOEXEC);
	assert_int_equal(pread_exact(self, head, sizeof(head), 0), 0);
	for (size_t i = 0; i < 1024; i++)
		for (int v = 0; v < 3; v++) {
			_cleanup_free_ char *so = NULL;
			_cleanup_strv_ char **n = NULL;
			char saved = head[i];

			head[i] = (char)(v == 0 ? 0xff : v == 1 ? 0 : saved ^ 0x10);
			assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
			head[i] = saved;
			if (elf_open(fd, &elf) < 0)
				continue;
			(void)elf_dynamic(&elf, &so, &n);
			(void)elf_section(&elf, ".modinfo", &s);
		}
	close(fd);
}

TEST_MAIN(cmocka_unit_test(reading_is_bounded), cmocka_unit_test(reading_exactly),
	  cmocka_unit_test(copies_are_whole), cmocka_unit_test(the_path_of_what_is_open),
	  cmocka_unit_test(buffers_stick_to_their_first_error), cmocka_unit_test(vectors),
	  cmocka_unit_test(messages), cmocka_unit_test(progress_lines), cmocka_unit_test(elf_survives_damage))
