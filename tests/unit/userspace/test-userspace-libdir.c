/* SPDX-License-Identifier: Apache-2.0
 *
 * The library directory of every kind of root, and what its loader searches. */
#include "fixture.h"

#include "libdir.h"

#include <unistd.h>

struct make {
	const char *dir; /* made */
	const char *libc; /* an object of 64 or 32 bits there */
	unsigned bits, machine;
	const char *link, *target;
};

struct row {
	const char *name;
	struct make make[10];
	const char *native, *compat32; /* NULL = none */
	const char *slug; /* expected failure */
	bool warns;
};

#define X64 ELF_MACHINE_X86_64
#define X32 ELF_MACHINE_I386

static const struct row rows[] = {
	{ "debian, merged",
	  { { .dir = "usr/lib64" },
	    { .link = "lib", .target = "usr/lib" },
	    { .link = "lib64", .target = "usr/lib64" },
	    { .libc = "usr/lib/x86_64-linux-gnu/libc.so.6", .bits = 64, .machine = X64 },
	    { .libc = "usr/lib64/ld-linux-x86-64.so.2", .bits = 64, .machine = X64 } },
	  "lib/x86_64-linux-gnu",
	  NULL },
	{ "debian, unmerged",
	  { { .dir = "usr/lib/x86_64-linux-gnu" },
	    { .libc = "lib/x86_64-linux-gnu/libc.so.6", .bits = 64, .machine = X64 },
	    { .libc = "lib64/ld-linux-x86-64.so.2", .bits = 64, .machine = X64 } },
	  "lib/x86_64-linux-gnu",
	  NULL },
	{ "debian with i386",
	  { { .link = "lib", .target = "usr/lib" },
	    { .libc = "usr/lib/x86_64-linux-gnu/libc.so.6", .bits = 64, .machine = X64 },
	    { .libc = "usr/lib/i386-linux-gnu/libc.so.6", .bits = 32, .machine = X32 } },
	  "lib/x86_64-linux-gnu",
	  "lib/i386-linux-gnu" },
	{ "debian with libc6-i386",
	  { { .libc = "usr/lib/x86_64-linux-gnu/libc.so.6", .bits = 64, .machine = X64 },
	    { .libc = "usr/lib32/libc.so.6", .bits = 32, .machine = X32 } },
	  "lib/x86_64-linux-gnu",
	  "lib32" },
	{ "rhel",
	  { { .dir = "usr/lib" },
	    { .link = "lib64", .target = "usr/lib64" },
	    { .libc = "usr/lib64/libc.so.6", .bits = 64, .machine = X64 } },
	  "lib64",
	  "lib",
	  .warns = true },
	{ "rhel with glibc.i686",
	  { { .link = "lib64", .target = "usr/lib64" },
	    { .link = "lib", .target = "usr/lib" },
	    { .libc = "usr/lib64/libc.so.6", .bits = 64, .machine = X64 },
	    { .libc = "usr/lib/libc.so.6", .bits = 32, .machine = X32 } },
	  "lib64",
	  "lib" },
	{ "arch",
	  { { .libc = "usr/lib/libc.so.6", .bits = 64, .machine = X64 },
	    { .link = "usr/lib64", .target = "lib" },
	    { .link = "lib64", .target = "usr/lib" },
	    { .link = "lib", .target = "usr/lib" } },
	  "lib",
	  NULL,
	  .warns = true },
	{ "arch with multilib",
	  { { .libc = "usr/lib/libc.so.6", .bits = 64, .machine = X64 },
	    { .link = "usr/lib64", .target = "lib" },
	    { .libc = "usr/lib32/libc.so.6", .bits = 32, .machine = X32 } },
	  "lib",
	  "lib32" },
	{ "a stray triplet directory on a lib64 system does not decide",
	  { { .dir = "usr/lib/x86_64-linux-gnu" },
	    { .libc = "usr/lib64/libc.so.6", .bits = 64, .machine = X64 } },
	  "lib64",
	  "lib",
	  .warns = true },
	{ "no C library: the first candidate, with a warning",
	  { { .dir = "usr/lib/x86_64-linux-gnu" }, { .dir = "usr/lib64" } },
	  "lib/x86_64-linux-gnu",
	  NULL,
	  .warns = true },
	{ "empty root", { { 0 } }, "lib", NULL, .warns = true },
	{ "musl",
	  { { .dir = "usr/lib" }, { .libc = "lib/ld-musl-x86_64.so.1", .bits = 64, .machine = X64 } },
	  NULL,
	  NULL,
	  "root-musl" },
	{ "another machine",
	  { { .libc = "usr/lib64/libc.so.6", .bits = 64, .machine = ELF_MACHINE_AARCH64 } },
	  NULL,
	  NULL,
	  "root-machine" },
};

static void build(const struct testdir *t, const struct row *row)
{
	for (size_t i = 0; i < ARRAY_LEN(row->make); i++) {
		const struct make *m = &row->make[i];

		if (m->dir)
			fixture_dir(t, m->dir);
		if (m->libc)
			fixture_object(t, m->libc, m->bits, m->machine, "libc.so.6", NULL);
	}
	for (size_t i = 0; i < ARRAY_LEN(row->make); i++)
		if (row->make[i].link)
			fixture_link(t, row->make[i].target, row->make[i].link);
}

static void libdir_of_every_root(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_(libdirs_done) struct libdirs l = { 0 };
		const struct libdir_wants wants = { .machine = "x86_64", .want_compat32 = true };
		struct testdir t;
		int r;

		testdir_make(&t);
		build(&t, &rows[i]);
		r = libdir_find(t.fd, &wants, &l, &e);
		if (rows[i].slug) {
			assert_true(r < 0);
			assert_slug(&e, rows[i].slug);
		} else {
			assert_ok(r, &e);
			if (strcmp(l.native, rows[i].native) != 0)
				fail_msg("%s: %s", rows[i].name, l.native);
			if (rows[i].compat32 ? !l.compat32 || strcmp(l.compat32, rows[i].compat32) != 0
					     : l.compat32 != NULL)
				fail_msg("%s: 32-bit %s", rows[i].name, l.compat32 ?: "none");
			if (rows[i].warns && !l.native_warning && !l.compat32_warning)
				fail_msg("%s: no warning", rows[i].name);
		}
		testdir_done(&t);
	}
}

/* The vendor has no 32-bit libraries for this machine, whatever the root has. */
static void libdir_on_arm(void **state)
{
	static const struct {
		const char *libc, *native;
		unsigned machine;
	} arm[] = {
		{ "usr/lib/aarch64-linux-gnu/libc.so.6", "lib/aarch64-linux-gnu", ELF_MACHINE_AARCH64 },
		{ "lib/aarch64-linux-gnu/libc.so.6", "lib/aarch64-linux-gnu", ELF_MACHINE_AARCH64 },
		{ "usr/lib64/libc.so.6", "lib64", ELF_MACHINE_AARCH64 },
		{ "usr/lib/libc.so.6", "lib", ELF_MACHINE_AARCH64 },
		{ "usr/lib/x86_64-linux-gnu/libc.so.6", NULL, X64 },
		{ "usr/lib64/libc.so.6", NULL, X64 },
	};

	for (size_t i = 0; i < ARRAY_LEN(arm); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_(libdirs_done) struct libdirs l = { 0 };
		_cleanup_strv_ char **dirs = NULL;
		const struct libdir_wants wants = { .machine = "aarch64", .want_compat32 = true };
		struct testdir t;
		int r;

		testdir_make(&t);
		fixture_dir(&t, "usr/lib/aarch64-linux-gnu");
		if (i == 2 || i == 3)
			assert_int_equal(unlinkat(t.fd, "usr/lib/aarch64-linux-gnu", AT_REMOVEDIR), 0);
		fixture_object(&t, arm[i].libc, 64, arm[i].machine, "libc.so.6", NULL);
		r = libdir_find(t.fd, &wants, &l, &e);
		if (arm[i].native) {
			assert_ok(r, &e);
			assert_string_equal(l.native, arm[i].native);
			assert_null(l.compat32);
		} else if (r >= 0) {
			/* Nothing of the machine is there: only told, never silently. */
			assert_non_null(l.native_warning);
		} else {
			assert_slug(&e, "root-machine");
		}
		assert_int_equal(libdir_loader_dirs(t.fd, "aarch64", 64, &dirs), 0);
		if (i == 0)
			assert_string_equal(dirs[0], "usr/lib/aarch64-linux-gnu");
		testdir_done(&t);
	}
}

static void libdir_explicit_is_checked(void **state)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(libdirs_done) struct libdirs l = { 0 };
	struct libdir_wants wants = { .machine = "x86_64", .native = "lib/here", .compat32 = "lib/there" };
	struct testdir t;

	testdir_make(&t);
	assert_ok(libdir_find(t.fd, &wants, &l, &e), &e);
	assert_string_equal(l.native, "lib/here");
	assert_string_equal(l.compat32, "lib/there");
	libdirs_done(&l);
	wants.native = "../out";
	assert_true(libdir_find(t.fd, &wants, &l, &e) < 0);
	assert_null(l.native);
	testdir_done(&t);
}

static void loader_reads_its_configuration(void **state)
{
	_cleanup_strv_ char **dirs = NULL;
	struct testdir t;

	testdir_make(&t);
	fixture_debian(&t);
	fixture_dir(&t, "opt/extra");
	fixture_dir(&t, "usr/local/lib");
	testdir_puts(&t, "etc/ld.so.conf.d/a.conf", "/usr/local/lib # ours\n/nowhere\n/../../etc\n");
	testdir_puts(&t, "etc/ld.so.conf.d/b.conf",
		     "include /etc/ld.so.conf\n/opt/extra\ninclude more/*.none\n");
	testdir_puts(&t, "etc/ld.so.conf.d/skipped.txt", "/usr/bin\n");
	assert_int_equal(libdir_loader_dirs(t.fd, "x86_64", 64, &dirs), 0);
	assert_string_equal(dirs[0], "usr/local/lib");
	assert_true(strv_contains(dirs, "opt/extra"));
	assert_true(strv_contains(dirs, "lib/x86_64-linux-gnu"));
	/* The same directory under its second name, and what is none, are not repeated. */
	assert_false(strv_contains(dirs, "usr/lib/x86_64-linux-gnu"));
	assert_false(strv_contains(dirs, "usr/bin"));
	assert_false(strv_contains(dirs, "nowhere"));
	testdir_done(&t);
}

static void canonical_follows_inodes(void **state)
{
	struct testdir t;
	char *path;

	testdir_make(&t);
	fixture_dir(&t, "usr/lib");
	fixture_dir(&t, "usr/sbin");
	fixture_dir(&t, "sbin");
	fixture_link(&t, "usr/lib", "lib");
	assert_int_equal(libdir_canonical(t.fd, "/lib/x.so", &path), 0);
	assert_string_equal(path, "usr/lib/x.so");
	free(path);
	assert_int_equal(libdir_canonical(t.fd, "sbin/x", &path), 0);
	assert_string_equal(path, "sbin/x");
	free(path);
	assert_int_equal(libdir_canonical(t.fd, "library/x", &path), 0);
	assert_string_equal(path, "library/x");
	free(path);
	testdir_done(&t);
}

static void links_out_of_the_root_are_not_followed(void **state)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(libdirs_done) struct libdirs l = { 0 };
	const struct libdir_wants wants = { .machine = "x86_64" };
	struct testdir t, outside;

	testdir_make(&t);
	testdir_make(&outside);
	fixture_object(&outside, "libc.so.6", 64, X64, "libc.so.6", NULL);
	fixture_dir(&t, "usr/lib/x86_64-linux-gnu");
	fixture_link(&t, outside.path, "usr/lib64");
	assert_int_equal(symlinkat(outside.path, t.fd, "usr/lib/x86_64-linux-gnu/libc.so.6"), 0);
	assert_ok(libdir_find(t.fd, &wants, &l, &e), &e);
	assert_non_null(l.native_warning);
	testdir_done(&outside);
	testdir_done(&t);
}

TEST_MAIN(cmocka_unit_test(libdir_of_every_root), cmocka_unit_test(libdir_on_arm),
	  cmocka_unit_test(libdir_explicit_is_checked), cmocka_unit_test(loader_reads_its_configuration),
	  cmocka_unit_test(canonical_follows_inodes),
	  cmocka_unit_test(links_out_of_the_root_are_not_followed))
