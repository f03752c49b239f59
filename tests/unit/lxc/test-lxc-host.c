/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-host.h"

#include <sys/sysmacros.h>
#include <unistd.h>

static void test_nvrm(void **state)
{
	static const struct {
		const char *text, *version;
		bool open;
	} rows[] = {
		{ "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Wed Jun  4 2025\nGCC version: "
		  " gcc 12\n",
		  "535.261.03", false },
		{ "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.126.09  Release Build  (b@h) "
		  " Mon\n",
		  "580.126.09", true },
		{ "GCC version: 12.2.0\n", NULL, false },
		{ "NVRM version: nothing here\n", NULL, false },
		{ "", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *version = NULL;
		bool open = false;

		assert_int_equal(lxc_nvrm_parse(SPAN(rows[i].text), &version, &open),
				 rows[i].version ? 0 : -EINVAL);
		if (rows[i].version)
			assert_string_equal(version, rows[i].version);
		assert_int_equal(open, rows[i].open);
	}
}

static void test_majors(void **state)
{
	const char *text = "Character devices:\n  1 mem\n195 nvidia\n195 nvidia-frontend\n234 "
			   "nvidia-caps\n511 nvidia-uvm\n\n"
			   "Block devices:\n 99 nvidia-uvm-tools\n";
	unsigned n = 0;

	(void)state;
	assert_int_equal(lxc_devices_major(SPAN(text), "nvidia-uvm", &n), 0);
	assert_int_equal(n, 511);
	assert_int_equal(lxc_devices_major(SPAN(text), "nvidia-uvm-tools", &n), -ENOENT);
}

static void test_policy(void **state)
{
	static const struct {
		const char *loaded, *user, *wanted;
		enum lxc_policy policy;
		bool allow;
		const char *version, *slug;
		bool pending;
	} rows[] = {
		{ "535.261.03", NULL, NULL, LXC_POLICY_STRICT, false, "535.261.03", NULL, false },
		{ "535.261.03", NULL, "535.261.03", LXC_POLICY_STRICT, false, "535.261.03", NULL, false },
		{ "535.261.03", NULL, "550.54.14", LXC_POLICY_STRICT, false, NULL, "host-driver-version",
		  false },
		{ "535.261.03", "550.54.14", "550.54.14", LXC_POLICY_STRICT, false, NULL,
		  "host-reboot-pending", false },
		{ "535.261.03", NULL, "550.54.14", LXC_POLICY_FOLLOW_HOST, false, "535.261.03", NULL, false },
		{ "535.261.03", NULL, "550.54.14", LXC_POLICY_CONFIG, false, "550.54.14", NULL, true },
		{ NULL, NULL, "550.54.14", LXC_POLICY_STRICT, false, NULL, "host-driver-missing", false },
		{ NULL, NULL, "550.54.14", LXC_POLICY_STRICT, true, "550.54.14", NULL, true },
		{ NULL, NULL, NULL, LXC_POLICY_STRICT, true, NULL, "host-driver-missing", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lxc_host h = { .version = (char *)rows[i].loaded,
				      .user_version = (char *)rows[i].user };
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct lxc_version_choice c = { 0 };
		int r = lxc_version_choose(&h, rows[i].policy, rows[i].wanted, rows[i].allow, &c, &e);

		if (rows[i].slug) {
			assert_true(r < 0);
			assert_slug(&e, rows[i].slug);
			assert_int_equal(err_exit_status(r), 4);
			continue;
		}
		assert_ok(r, &e);
		assert_string_equal(c.version, rows[i].version);
		assert_int_equal(c.pending_host, rows[i].pending);
	}
}

static struct lxc_gpu gpus[] = {
	{ 0, "0000:01:00.0", (char *)"GPU-00000000-0000-0000-0000-000000000000", NULL },
	{ 2, "0000:41:00.0", (char *)"GPU-22222222-2222-2222-2222-222222222222", NULL },
};

static void test_assign(void **state)
{
	const struct lxc_host h = { .gpus = gpus, .n_gpus = 2 };
	static const struct {
		const char *text;
		int n; /* -1 = error */
		unsigned first;
		bool all;
	} rows[] = {
		{ "0", 1, 0, false },
		{ "2", 1, 2, false },
		{ "1", -1, 0, false }, /* an index is a device minor, not a position */
		{ "2, 0", 2, 0, true },
		{ NULL, 2, 0, true },
		{ "GPU-22222222-2222-2222-2222-222222222222", 1, 2, false },
		{ "0000:41:00.0,2", 1, 2, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct lxc_minors m = { .n = 0 };
		int r = lxc_assign(&h, rows[i].text, &m, &e);

		if (rows[i].n < 0) {
			assert_slug(&e, "gpu-not-on-host");
			assert_non_null(strstr(e.reason, "GPU-2222"));
			continue;
		}
		assert_ok(r, &e);
		assert_int_equal(m.n, rows[i].n);
		assert_int_equal(m.v[0], rows[i].first);
		assert_int_equal(m.all, rows[i].all);
	}
}

static void machine(const struct testdir *t)
{
	testdir_puts(t, "proc/driver/nvidia/version",
		     "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  x\n");
	testdir_puts(t, "proc/driver/nvidia/gpus/0000:01:00.0/information",
		     "Model: \t\t NVIDIA L40\nIRQ:   \t\t 1\nGPU UUID: \t GPU-1\nBus Location: \t "
		     "0000:01:00.0\nDevice Minor: \t 0\n");
	testdir_puts(t, "proc/driver/nvidia/capabilities/mig/config",
		     "DeviceFileMinor: 1\nDeviceFileMode: 256\n");
	testdir_puts(t, "proc/devices",
		     "Character devices:\n195 nvidia\n234 nvidia-caps\n499 nvidia-uvm\n\nBlock devices:\n");
	testdir_puts(t, "etc/os-release", "ID=debian\n");
	assert_int_equal(mkdirat(t->fd, "dev", 0755), 0);
	assert_int_equal(mkdirat(t->fd, "sys", 0755), 0);
}

static void test_facts_and_nodes(void **state)
{
	_cleanup_(testdir_done) struct testdir t = { .fd = -EBADF };
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(lxc_nodes_done) struct lxc_nodes n = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct lxc_host f = { 0 };
	struct lxc_minors all;
	struct stat st;

	(void)state;
	testdir_make(&t);
	machine(&t);
	assert_ok(host_open(t.path, &h, &e), &e);
	f.machine = strdup("x86_64");
	/* The fixture has no C library to tell the machine from: the rest of the reader is what is looked at here. */
	lxc_host_done(&f);
	testdir_puts(&t, "proc/driver/nvidia/params", "DeviceFileUID: 0\nDeviceFileMode: 432\n");
	f.gpus = calloc(1, sizeof(*f.gpus));
	f.gpus[0] = (struct lxc_gpu){ 0, "0000:01:00.0", NULL, NULL };
	f.n_gpus = 1;
	assert_ok(lxc_assign(&f, NULL, &all, &e), &e);
	assert_ok(lxc_nodes_list(h, &f, &all, &(struct lxc_node_wants){ .mig = true }, &n, &e), &e);
	assert_int_equal(n.n, 5);
	assert_string_equal(n.v[2].path, "dev/nvidia-uvm");
	assert_int_equal(n.v[2].major, 499);
	assert_string_equal(n.v[4].path, "dev/nvidia-caps/nvidia-cap1");
	assert_int_equal(n.v[4].major, 234);
	assert_false(n.v[0].exists);
	if (geteuid() != 0) {
		lxc_host_done(&f);
		skip();
	}
	assert_ok(lxc_nodes_make(h, &n, &e), &e);
	assert_int_equal(fstatat(t.fd, "dev/nvidia-uvm", &st, 0), 0);
	assert_true(S_ISCHR(st.st_mode) && major(st.st_rdev) == 499 && minor(st.st_rdev) == 0);
	assert_int_equal(st.st_mode & 07777, 0660); /* as the module's parameters say */
	assert_int_equal(fstatat(t.fd, "dev/nvidia-caps/nvidia-cap1", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	/* A stale number and a regular file are replaced, a module that is gone is named. */
	assert_int_equal(unlinkat(t.fd, "dev/nvidia-uvm", 0), 0);
	testdir_puts(&t, "dev/nvidia-uvm", "");
	n.v[2].exists = false;
	assert_ok(lxc_nodes_make(h, &n, &e), &e);
	assert_true(n.v[2].exists);
	testdir_puts(&t, "proc/devices", "Character devices:\n195 nvidia\n");
	assert_int_equal(unlinkat(t.fd, "dev/nvidia-uvm", 0), 0);
	n.v[2].exists = false;
	n.v[2].major = 0;
	assert_true(lxc_nodes_make(h, &n, &e) < 0);
	assert_slug(&e, "device-node-unavailable");
	lxc_host_done(&f);
}

/* The first channel where the host has none yet, else all it has; as many switches as there are. */
static void test_imex_and_nvswitch(void **state)
{
	_cleanup_(testdir_done) struct testdir t = { .fd = -EBADF };
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(lxc_nodes_done) struct lxc_nodes first = { 0 }, n = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char *const want[] = {
		"dev/nvidia-caps-imex-channels/channel2",
		"dev/nvidia-caps-imex-channels/channel10",
		"dev/nvidia-nvswitchctl",
		"dev/nvidia-nvswitch0",
		"dev/nvidia-nvswitch1",
		"dev/nvidia-nvlink",
	};
	static const unsigned numbers[][2] = { { 511, 2 }, { 511, 10 }, { 509, 255 },
					       { 509, 0 }, { 509, 1 },	{ 510, 0 } };
	struct lxc_minors all = { .v = { 0 }, .n = 1, .all = true };
	struct lxc_host f = { 0 };

	(void)state;
	testdir_make(&t);
	machine(&t);
	testdir_puts(&t, "proc/devices",
		     "Character devices:\n195 nvidia\n499 nvidia-uvm\n509 nvidia-nvswitch\n510 "
		     "nvidia-nvlink\n511 nvidia-caps-imex-channels\n");
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_ok(lxc_nodes_list(h, &f, &all, &(struct lxc_node_wants){ .imex = true }, &first, &e), &e);
	assert_string_equal(first.v[first.n - 1].path, "dev/nvidia-caps-imex-channels/channel0");
	testdir_puts(&t, "dev/nvidia-caps-imex-channels/channel10", "");
	testdir_puts(&t, "dev/nvidia-caps-imex-channels/channel2", "");
	testdir_puts(&t, "dev/nvidia-nvswitch1", "");
	testdir_puts(&t, "dev/nvidia-nvswitch0", "");
	assert_ok(
	    lxc_nodes_list(h, &f, &all, &(struct lxc_node_wants){ .imex = true, .nvswitch = true }, &n, &e),
	    &e);
	assert_int_equal(n.n, 4 + ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_string_equal(n.v[4 + i].path, want[i]);
		assert_int_equal(n.v[4 + i].major, numbers[i][0]);
		assert_int_equal(n.v[4 + i].minor, numbers[i][1]);
		assert_false(n.v[4 + i].required);
	}
}

TEST_MAIN(cmocka_unit_test(test_nvrm), cmocka_unit_test(test_majors), cmocka_unit_test(test_policy),
	  cmocka_unit_test(test_assign), cmocka_unit_test(test_facts_and_nodes),
	  cmocka_unit_test(test_imex_and_nvswitch))
