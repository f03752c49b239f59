/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"
#include "host.h"
#include "strbuf.h"

static struct host *open_root(const struct testdir *t)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct host *h = NULL;

	assert_ok(host_open(t->path, &h, &e), &e);
	assert_false(h->is_running);
	return h;
}

static void empty_root_knows_nothing(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct os_release o = { 0 };
	char *s = NULL;
	uint64_t bytes;

	testdir_make(&t);
	h = open_root(&t);
	assert_int_equal(h->proc_fd, -EBADF);
	assert_int_equal(host_kernel_release(h, &s), -ENOENT);
	assert_int_equal(host_proc_version(h, &s), -ENOENT);
	assert_int_equal(host_cmdline(h, &s), -ENOENT);
	assert_int_equal(host_machine(h, &s), -ENOENT);
	assert_int_equal(host_memory_available(h, &bytes), -ENOENT);
	assert_int_equal(host_cpu_count(h), 1);
	assert_int_equal(host_os_release(h, &o, &e), -ENOENT);
	assert_slug(&e, "not-found");
	assert_null(s);
}

static void missing_root_is_named(void **state _unused_)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct host *h = NULL;

	assert_int_equal(host_open("/nonexistent-root", &h, &e), -ENOENT);
	assert_string_equal(e.object, "/nonexistent-root");
	assert_null(h);
}

static void running_machine_answers(void **state _unused_)
{
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *release = NULL, *machine = NULL;
	uint64_t bytes = 0;

	assert_ok(host_open("//", &h, &e), &e);
	assert_true(h->is_running);
	assert_int_equal(host_kernel_release(h, &release), 0);
	assert_int_equal(host_machine(h, &machine), 0);
	assert_true(host_cpu_count(h) >= 1);
	assert_int_equal(host_memory_available(h, &bytes), 0);
	assert_true(bytes > 1 << 20);
}

static void fixture_root_answers_for_itself(void **state _unused_)
{
	static const unsigned char elf_head[64] = {
		0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 3, [18] = 183, [20] = 1, [52] = 64, [54] = 56, [58] = 64
	};
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_free_ char *release = NULL, *version = NULL, *cmdline = NULL, *machine = NULL;

	testdir_make(&t);
	testdir_puts(&t, "proc/sys/kernel/osrelease", "9.8.7-fixture\n");
	testdir_puts(&t, "proc/version", "Linux version 9.8.7-fixture (gcc)\nmore\n");
	testdir_puts(&t, "proc/cmdline", "root=/dev/x quiet\n");
	testdir_write(&t, "usr/lib/real-sh", elf_head, sizeof(elf_head), 0755);
	testdir_puts(&t, "bin/unrelated", "");
	/* Absolute, and right only inside the root. */
	assert_int_equal(symlinkat("/usr/lib/real-sh", t.fd, "bin/sh"), 0);
	h = open_root(&t);
	assert_int_equal(host_kernel_release(h, &release), 0);
	assert_string_equal(release, "9.8.7-fixture");
	assert_int_equal(host_proc_version(h, &version), 0);
	assert_string_equal(version, "Linux version 9.8.7-fixture (gcc)");
	assert_int_equal(host_cmdline(h, &cmdline), 0);
	assert_string_equal(cmdline, "root=/dev/x quiet");
	assert_int_equal(host_machine(h, &machine), 0);
	assert_string_equal(machine, "aarch64");
}

static void bounds_follow_the_control_groups(void **state _unused_)
{
	static const char meminfo[] = "MemTotal:  8000 kB\nMemAvailable:    4000 kB\n";
	static const struct {
		const char *cgroup, *online;
		const char *files[6][2];
		unsigned cpus;
		uint64_t bytes;
	} rows[] = {
		{ "", "0-3,8\n", { { NULL } }, 5, 4096000 },
		{ "", "0-\n", { { NULL } }, 1, 4096000 },
		{ "", "5-2\n", { { NULL } }, 1, 4096000 },
		{ "0::/a/b\n",
		  "0-7\n",
		  { { "a/b/cpu.max", "max 100000\n" },
		    { "a/b/memory.max", "max\n" },
		    { "a/b/memory.current", "1\n" } },
		  8,
		  4096000 },
		{ "0::/a/b\n", "0-7\n", { { "a/b/cpu.max", "250000 100000\n" } }, 3, 4096000 },
		{ "0::/a/b\n",
		  "0-7\n",
		  { { "a/b/cpu.max", "max 100000\n" }, { "a/cpu.max", "100000 100000\n" } },
		  1,
		  4096000 },
		{ "0::/host/only\n", "0-7\n", { { "cpu.max", "10000 100000\n" } }, 1, 4096000 },
		{ "0::/\n", "0-7\n", { { "cpu.max", "200000 0\n" } }, 8, 4096000 },
		{ "0::/a\n",
		  "0-1\n",
		  { { "a/memory.max", "1000000\n" },
		    { "a/memory.current", "600000\n" },
		    { "a/memory.stat", "anon 5\ninactive_file 200000\n" } },
		  2,
		  600000 },
		{ "0::/a\n",
		  "0-1\n",
		  { { "a/memory.max", "1000\n" }, { "a/memory.current", "600000\n" } },
		  2,
		  0 },
		{ "5:cpu,cpuacct:/x\n3:memory:/m\n0::/\n",
		  "0-7\n",
		  { { "cpu/x/cpu.cfs_quota_us", "400000\n" },
		    { "cpu/x/cpu.cfs_period_us", "100000\n" },
		    { "memory/m/memory.limit_in_bytes", "500000\n" },
		    { "memory/m/memory.usage_in_bytes", "100000\n" } },
		  4,
		  400000 },
		{ "5:cpu,cpuacct:/x\n",
		  "0-7\n",
		  { { "cpu/x/cpu.cfs_quota_us", "-1\n" }, { "cpu/x/cpu.cfs_period_us", "100000\n" } },
		  8,
		  4096000 },
		{ "garbage\n:::\n", "0-1\n", { { NULL } }, 2, 4096000 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(host_freep) struct host *h = NULL;
		uint64_t bytes = 0;

		testdir_make(&t);
		testdir_puts(&t, "proc/meminfo", meminfo);
		testdir_puts(&t, "proc/self/cgroup", rows[i].cgroup);
		testdir_puts(&t, "sys/devices/system/cpu/online", rows[i].online);
		for (size_t k = 0; k < 6 && rows[i].files[k][0]; k++) {
			_cleanup_free_ char *path = str_printf("sys/fs/cgroup/%s", rows[i].files[k][0]);

			testdir_puts(&t, path, rows[i].files[k][1]);
		}
		h = open_root(&t);
		assert_int_equal(host_memory_available(h, &bytes), 0);
		if (host_cpu_count(h) != rows[i].cpus || bytes != rows[i].bytes)
			fail_msg("row %zu: %u CPUs, %llu bytes", i, host_cpu_count(h),
				 (unsigned long long)bytes);
	}
}

static void os_release_rows(void **state _unused_)
{
	static const struct {
		const char *text, *id, *version, *slug; /* slug: refused */
	} rows[] = {
		{ "ID=debian\nVERSION_ID=\"12\"\n", "debian", "12", NULL },
		{ "# c\n\n  ID='ubuntu'\r\nVERSION_ID=\"a \\\"q\\\" \\$x\"", "ubuntu", "a \"q\" $x", NULL },
		{ "ID=one\nID=two\n", "two", NULL, NULL },
		{ "", "linux", NULL, NULL },
		{ "UNKNOWN=$(reboot) `x`\nID=a\n", "a", NULL, NULL },
		{ "ID=$(reboot)\n", NULL, NULL, "format-invalid" },
		{ "ID=a;b\n", NULL, NULL, "format-invalid" },
		{ "ID=\"open\n", NULL, NULL, "format-invalid" },
		{ "ID=\"a\"b\"\n", NULL, NULL, "format-invalid" },
		{ "ID=a\033[2J\n", NULL, NULL, "format-invalid" },
		{ "ID=\"a\\\"\n", NULL, NULL, "format-invalid" },
		{ "not an assignment\n", NULL, NULL, "format-invalid" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(os_release_done) struct os_release o = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		int r = os_release_parse(rows[i].text, strlen(rows[i].text), &o, &e);

		if (rows[i].slug) {
			assert_true(r < 0);
			assert_slug(&e, rows[i].slug);
			assert_null(o.id);
			continue;
		}
		assert_ok(r, &e);
		assert_string_equal(o.id, rows[i].id);
		if (rows[i].version)
			assert_string_equal(o.version_id, rows[i].version);
		else
			assert_null(o.version_id);
	}
}

static void os_release_of_a_root(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(os_release_done) struct os_release o = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	testdir_puts(&t, "usr/lib/os-release", "ID=rhel\nPLATFORM_ID=\"platform:el9\"\nID_LIKE=fedora\n");
	h = open_root(&t);
	assert_ok(host_os_release(h, &o, &e), &e);
	assert_string_equal(o.platform_id, "platform:el9");
	os_release_done(&o);
	testdir_puts(&t, "etc/os-release", "ID=\n\"\n");
	assert_int_equal(host_os_release(h, &o, &e), -ERR_FORMAT);
	assert_non_null(strstr(e.reason, "etc/os-release"));
	assert_non_null(strstr(e.reason, "line 2"));
}

TEST_MAIN(cmocka_unit_test(empty_root_knows_nothing), cmocka_unit_test(missing_root_is_named),
	  cmocka_unit_test(running_machine_answers), cmocka_unit_test(fixture_root_answers_for_itself),
	  cmocka_unit_test(bounds_follow_the_control_groups), cmocka_unit_test(os_release_rows),
	  cmocka_unit_test(os_release_of_a_root))
