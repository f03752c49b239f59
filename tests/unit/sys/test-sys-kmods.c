/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "devholders.h"
#include "kmods.h"
#include "secureboot.h"
#include "strbuf.h"

static void parses_the_list(void **state _unused_)
{
	static const char text[] = "nvidia_modeset 1314816 2 nvidia_drm, Live 0xffffffffc0a00000 (POE)\n"
				   "nvidia 62836736 7 nvidia_uvm,nvidia_modeset, Loading 0x0 (POE)\n"
				   "forever 1 0 [permanent], Live 0x0\n"
				   "noun 4096 - - Live 0x0\n";
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	const struct kmod_info *m;

	assert_int_equal(kmods_parse(text, sizeof(text) - 1, &k), 0);
	assert_int_equal(k.n, 4);
	m = kmods_find(&k, "nvidia-modeset");
	assert_non_null(m);
	assert_int_equal(m->refcount, 2);
	assert_int_equal(m->size_bytes, 1314816);
	assert_int_equal(strv_len(m->holders), 1);
	assert_true(m->live);
	m = kmods_find(&k, "nvidia");
	assert_int_equal(strv_len(m->holders), 2);
	assert_false(m->live);
	assert_int_equal(strv_len(kmods_find(&k, "forever")->holders), 0);
	assert_int_equal(kmods_find(&k, "noun")->refcount, -1);
	assert_null(kmods_find(&k, "nvidia_uvm"));
}

static void refuses_broken_lists(void **state _unused_)
{
	static const char *const bad[] = { "nvidia\n", "nvidia x 0 - Live\n", "nvidia 1 -5 - Live\n",
					   "nvidia 1 0 -\n", "nvidia 1 99999999999 - Live\n" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(kmods_done) struct kmods k = KMODS_INIT;

		assert_int_equal(kmods_parse(bad[i], strlen(bad[i]), &k), -EINVAL);
		assert_int_equal(k.n, 0);
	}
}

static void reads_attributes(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *version = NULL, *none = NULL;
	_cleanup_strv_ char **holders = NULL;

	testdir_make(&t);
	testdir_puts(&t, "sys/module/nvidia_uvm/version", "535.261.03\n");
	testdir_puts(&t, "sys/module/nvidia_uvm/holders/b/x", "");
	testdir_puts(&t, "sys/module/nvidia_uvm/holders/a/x", "");
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_int_equal(kmod_attr(h, "nvidia-uvm", "version", &version), 0);
	assert_string_equal(version, "535.261.03");
	assert_int_equal(kmod_attr(h, "nvidia", "version", &none), -ENOENT);
	assert_int_equal(kmod_attr(h, "../x", "version", &none), -EINVAL);
	assert_int_equal(kmod_holders(h, "nvidia-uvm", &holders), 0);
	assert_int_equal(strv_len(holders), 2);
	assert_string_equal(holders[0], "a");
}

#define GUID "-8be4df61-93ca-11d2-aa0d-00e098032b8c"

static void secure_boot_states(void **state _unused_)
{
	static const struct {
		char secure, setup;
		const char *lockdown, *enforce;
		enum tristate want;
		bool must;
	} rows[] = {
		{ 1, 0, "none [integrity] confidentiality\n", "Y\n", TRI_YES, true },
		{ 1, 0, "[none] integrity confidentiality\n", "N\n", TRI_YES, false },
		{ 1, 1, "[none] integrity confidentiality\n", "N\n", TRI_NO, false },
		{ 0, 0, "[none] integrity confidentiality\n", "Y\n", TRI_NO, true },
		{ -1, -1, NULL, NULL, TRI_UNKNOWN, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(host_freep) struct host *h = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		const char secure[5] = { 6, 0, 0, 0, rows[i].secure },
			   setup[5] = { 6, 0, 0, 0, rows[i].setup };
		struct secureboot s;

		testdir_make(&t);
		testdir_puts(&t, "sys/x", "");
		if (rows[i].secure >= 0) {
			testdir_write(&t, "sys/firmware/efi/efivars/SecureBoot" GUID, secure, 5, 0644);
			testdir_write(&t, "sys/firmware/efi/efivars/SetupMode" GUID, setup, 5, 0644);
		}
		if (rows[i].lockdown)
			testdir_puts(&t, "sys/kernel/security/lockdown", rows[i].lockdown);
		if (rows[i].enforce)
			testdir_puts(&t, "sys/module/module/parameters/sig_enforce", rows[i].enforce);
		assert_ok(host_open(t.path, &h, &e), &e);
		assert_int_equal(secureboot_read(h, &s), 0);
		assert_int_equal(s.secure_boot, rows[i].want);
		assert_int_equal(secureboot_modules_must_be_signed(&s), rows[i].must);
	}
}

static void finds_holders(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(devholders_done) struct devholders d = DEVHOLDERS_INIT;
	int before;

	testdir_make(&t);
	for (int pid = 30; pid >= 10; pid -= 10) {
		char path[64];

		snprintf(path, sizeof(path), "proc/%d/comm", pid);
		testdir_puts(&t, path, pid == 20 ? "nvidia-gridd\n" : "app\n");
		snprintf(path, sizeof(path), "proc/%d/fd/x", pid);
		testdir_puts(&t, path, "");
		snprintf(path, sizeof(path), "proc/%d/fd/3", pid);
		assert_int_equal(symlinkat(pid == 30 ? "/dev/null" : "/dev/nvidia0", t.fd, path), 0);
		snprintf(path, sizeof(path), "proc/%d/fd/4", pid);
		assert_int_equal(symlinkat("/dev/nvidia0", t.fd, path), 0);
	}
	assert_int_equal(unlinkat(t.fd, "proc/30/fd/4", 0), 0);
	assert_ok(host_open(t.path, &h, &e), &e);
	before = testdir_open_fds();
	assert_int_equal(devholders_find(h, "/dev/nvidia", &d), 0);
	assert_int_equal(testdir_open_fds(), before);
	assert_int_equal(d.n, 2);
	assert_int_equal(d.v[0].pid, 10);
	assert_int_equal(strv_len(d.v[0].nodes), 1);
	assert_false(d.v[0].daemon);
	assert_true(d.v[1].daemon);
}

TEST_MAIN(cmocka_unit_test(parses_the_list), cmocka_unit_test(refuses_broken_lists),
	  cmocka_unit_test(reads_attributes), cmocka_unit_test(secure_boot_states),
	  cmocka_unit_test(finds_holders))
