/* SPDX-License-Identifier: Apache-2.0
 *
 * Links real objects with the machine's own assembler and linker; skipped where there are none. */
#include "testlib.h"

#include "digest.h"
#include "modlink.h"
#include "precompiled.h"
#include "spawn.h"

static const char interface_source[] =
    "\t.section .modinfo,\"a\"\n\t.asciz \"name=t\"\n"
    "\t.section .gnu.linkonce.this_module,\"aw\"\n\t.zero 64\n"
    "\t.comm shared_counter,8,8\n\t.section .debug_info,\"\"\n\t.zero 100\n";
/* A local symbol makes the linker name the file it comes from. */
static const char core_source[] =
    "\t.text\nhelper:\n\tret\n\t.globl entry\nentry:\n\tret\n\t.comm core_counter,16,16\n";
static const char plain_source[] = "\t.text\n\t.globl other\nother:\n\tret\n";

static void assemble(const struct testdir *t, const char *source, const char *object)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("assembler");
	struct err e = ERR_INIT;

	testdir_puts(t, "source.s", source);
	(void)spawn_argv(&s, "as", "-o", object, "source.s", NULL);
	s.cwd_fd = t->fd;
	assert_ok(spawn_check(&s, &e), &e);
	assert_int_equal(unlinkat(t->fd, "source.s", 0), 0);
}

static int setup(void **state)
{
	struct testdir *t = calloc(1, sizeof(*t));

	testdir_make(t);
	assemble(t, interface_source, "nv-linux.o");
	testdir_puts(t, "nvidia/keep", "");
	testdir_puts(t, "other/keep", "");
	assemble(t, core_source, "nvidia/nv-kernel.o_binary");
	assemble(t, plain_source, "plain.o");
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	testdir_done(*state);
	free(*state);
	return 0;
}

static struct modlink request(const struct testdir *t)
{
	return (struct modlink){ .dirfd = t->fd,
				 .interface = "nv-linux.o",
				 .core = "nvidia/nv-kernel.o_binary",
				 .output = "nvidia.ko",
				 .log_fd = -EBADF };
}

static void same_inputs_same_bytes(void **state)
{
	struct testdir *t = *state;
	struct modlink l = request(t);
	struct modlink_result first, again, moved, renamed, stripped;
	struct err e = ERR_INIT;
	struct stat st;
	size_t len;
	char *bytes;

	assert_ok(modlink_run(&l, &first, &e), &e);
	assert_int_equal(fstatat(t->fd, "nvidia.ko", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	bytes = testdir_read(t, "nvidia.ko", &len);
	assert_int_equal(len, first.size_bytes);
	assert_int_equal(crc32_mpeg2(CRC32_MPEG2_INIT, bytes, len), first.crc);
	free(bytes);
	assert_ok(modlink_run(&l, &again, &e), &e);
	assert_int_equal(first.crc, again.crc);
	assert_ok(modlink_check_crc(&again, first.crc, &e), &e);
	/* The directory of the core object does not matter, its name does. */
	assemble(t, core_source, "other/nv-kernel.o_binary");
	l.core = "other/nv-kernel.o_binary";
	assert_ok(modlink_run(&l, &moved, &e), &e);
	assert_int_equal(first.crc, moved.crc);
	assemble(t, core_source, "other/renamed.o_binary");
	l.core = "other/renamed.o_binary";
	assert_ok(modlink_run(&l, &renamed, &e), &e);
	assert_int_not_equal(first.crc, renamed.crc);
	assert_true(modlink_check_crc(&renamed, first.crc, &e) < 0);
	assert_slug(&e, "link-crc-mismatch");
	l = request(t);
	l.strip_debug = true;
	assert_ok(modlink_run(&l, &stripped, &e), &e);
	assert_true(stripped.size_bytes < first.size_bytes);
	assert_ok(modlink_run(&l, &again, &e), &e);
	assert_int_equal(stripped.crc, again.crc);
	err_done(&e);
}

/* What the link would be without -d: other bytes, as the vendor's rule says. */
static void common_symbols_are_allocated(void **state)
{
	struct testdir *t = *state;
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("linker");
	struct modlink l = request(t);
	struct modlink_result with;
	struct err e = ERR_INIT;
	size_t len;
	char *bytes;

	assert_ok(modlink_run(&l, &with, &e), &e);
	(void)spawn_argv(&s, "ld", "-r", "-o", "without.ko", l.interface, l.core, NULL);
	s.cwd_fd = t->fd;
	assert_ok(spawn_check(&s, &e), &e);
	bytes = testdir_read(t, "without.ko", &len);
	assert_int_not_equal(crc32_mpeg2(CRC32_MPEG2_INIT, bytes, len), with.crc);
	free(bytes);
}

static void refuses_by_slug(void **state)
{
	struct {
		const char *interface, *core, *linker, *slug;
	} rows[] = {
		{ "../nv-linux.o", "nvidia/nv-kernel.o_binary", NULL, "path-escapes-root" },
		{ "nv-linux.o", "/etc/passwd", NULL, "path-escapes-root" },
		{ "nv-linux.o", "link/nv-kernel.o_binary", NULL, "path-escapes-root" },
		{ "-T", "nvidia/nv-kernel.o_binary", NULL, "path-escapes-root" },
		{ "@file", "nvidia/nv-kernel.o_binary", NULL, "path-escapes-root" },
		{ "nvidia", "nvidia/nv-kernel.o_binary", NULL, "link-failed" },
		{ "text", "nvidia/nv-kernel.o_binary", NULL, "link-failed" },
		{ "plain.o", "nvidia/nv-kernel.o_binary", NULL, "link-result-invalid" },
		{ "nv-linux.o", "nvidia/nv-kernel.o_binary", "no-such-linker-here", "tool-missing" },
		{ "nv-linux.o", "nvidia/nv-kernel.o_binary", "false", "link-failed" },
	};
	struct testdir *t = *state;
	int fds = testdir_open_fds();

	assert_int_equal(symlinkat("nvidia", t->fd, "link"), 0);
	testdir_puts(t, "text", "no object\n");
	testdir_puts(t, "nvidia.ko", "the one before");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *before = testdir_snapshot(t), *after;
		struct modlink l = request(t);
		struct modlink_result result;
		struct err e = ERR_INIT;

		l.interface = rows[i].interface;
		l.core = rows[i].core;
		l.linker = rows[i].linker;
		assert_true(modlink_run(&l, &result, &e) < 0);
		assert_slug(&e, rows[i].slug);
		after = testdir_snapshot(t);
		assert_string_equal(before, after);
		free(before);
		free(after);
		err_done(&e);
	}
	assert_int_equal(testdir_open_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same_inputs_same_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(common_symbols_are_allocated, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_by_slug, setup, teardown),
	};
	_cleanup_free_ char *as = NULL, *ld = NULL;

	if (spawn_find("as", &as) < 0 || spawn_find("ld", &ld) < 0) {
		printf("1..0 # SKIP no assembler or linker installed\n");
		return 0;
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
