/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedriver.h"

#include "container-rdma.h"
#include "container-update.h"
#include "strbuf.h"
#include "err-container.h"

static void chooses_the_newest_that_fits(void **state _unused_)
{
	static const char *const all[] = { "5.14.0-284.30.1.el9_2.x86_64",
					   "5.14.0-427.13.1.el9_4.x86_64",
					   "5.14.0-427.9.1.el9_4.x86_64",
					   "5.14.0-503.1.1.el9_5.x86_64+debug",
					   "5.14.0-570.1.1.el9_6.aarch64",
					   "6.1.0-9-amd64",
					   NULL };
	static const struct {
		const char *wanted, *like, *want;
	} rows[] = {
		{ "latest", "5.14.0-284.11.1.el9_2.x86_64", "5.14.0-427.13.1.el9_4.x86_64" },
		{ "latest", "5.14.0-284.11.1.el9_2.x86_64+debug", "5.14.0-503.1.1.el9_5.x86_64+debug" },
		{ "latest", "5.14.0-284.11.1.el9_2.aarch64", "5.14.0-570.1.1.el9_6.aarch64" },
		{ "5.14.0-284", "5.14.0-70.el9_0.x86_64", "5.14.0-284.30.1.el9_2.x86_64" },
		{ "5.14.0-427.9", "5.14.0-70.el9_0.x86_64", "5.14.0-427.9.1.el9_4.x86_64" },
		{ "5.14.0-503", "5.14.0-70.el9_0.x86_64", NULL },
		{ "latest", "6.1.0-8-amd64", "6.1.0-9-amd64" },
		{ "7", "6.1.0-8-amd64", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got = container_update_choose((char *const *)all, rows[i].wanted, rows[i].like);

		if (!rows[i].want)
			assert_null(got);
		else
			assert_string_equal(got, rows[i].want);
	}
	assert_null(container_update_choose(NULL, "latest", "5.14.0-284.11.1.el9_2.x86_64"));
}

static void looks_at_what_lies_here(void **state _unused_)
{
	static const struct container_env env;
	struct container_ktree_options o = { .no_packages = true };
	_cleanup_free_ char *latest = NULL, *whole = NULL, *running = NULL, *none = NULL;
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	testdir_puts(&t, "proc/sys/kernel/osrelease", "5.14.0-284.11.1.el9_2.x86_64\n");
	testdir_puts(&t, "usr/src/kernels/5.14.0-284.30.1.el9_2.x86_64/Makefile", "");
	testdir_puts(&t, "lib/modules/5.14.0-427.13.1.el9_4.x86_64/modules.dep", "");
	testdir_puts(&t, "lib/modules/precompiled/x", "");
	assert_ok(host_open(t.path, &h, &e), &e);
	assert_ok(container_update_release(h, &env, "latest", &o, &latest, &e), &e);
	assert_string_equal(latest, "5.14.0-427.13.1.el9_4.x86_64");
	assert_ok(container_update_release(h, &env, NULL, &o, &running, &e), &e);
	assert_string_equal(running, "5.14.0-284.11.1.el9_2.x86_64");
	/* a whole release is nobody's choice, known or not */
	assert_ok(container_update_release(h, &env, "5.14.0-999.el9_9.x86_64+64k", &o, &whole, &e), &e);
	assert_string_equal(whole, "5.14.0-999.el9_9.x86_64+64k");
	assert_int_equal(container_update_release(h, &env, "5.14.0-999", &o, &none, &e), -ERR_KERNEL_UNKNOWN);
	assert_slug(&e, "kernel-unknown");
	assert_non_null(strstr(e.reason, "5.14.0-284.30.1.el9_2.x86_64"));
	assert_null(strstr(e.reason, "precompiled"));
}

static void finds_the_network_drivers_symbols(void **state _unused_)
{
	static const struct {
		const char *make; /* a Module.symvers appears */
		bool host_mofed;
		const char *want; /* ends with; NULL none */
	} rounds[] = {
		{ NULL, false, NULL },
		{ "c/usr/src/ofa_kernel/default", false, "c/usr/src/ofa_kernel/default/Module.symvers" },
		{ "n/usr/src/ofa_kernel/default", false, "c/usr/src/ofa_kernel/default/Module.symvers" },
		{ NULL, true, "n/usr/src/ofa_kernel/default/Module.symvers" },
		{ "c/run/mellanox/drivers/usr/src/ofa_kernel/default", false,
		  "mellanox/drivers/usr/src/ofa_kernel/default/Module.symvers" },
		{ "c/run/mellanox/drivers/usr/src/ofa_kernel/x86_64/K", false,
		  "mellanox/drivers/usr/src/ofa_kernel/x86_64/K/Module.symvers" },
		{ NULL, true, "n/usr/src/ofa_kernel/default/Module.symvers" },
	};
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *c = NULL, *n = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	char c_path[300], n_path[300];

	testdir_make(&t);
	testdir_puts(&t, "c/x", "");
	testdir_puts(&t, "n/x", "");
	(void)snprintf(c_path, sizeof(c_path), "%s/c", t.path);
	(void)snprintf(n_path, sizeof(n_path), "%s/n", t.path);
	assert_ok(host_open(c_path, &c, &e), &e);
	assert_ok(host_open(n_path, &n, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(rounds); i++) {
		struct container_env env = { .arch = (char *)"x86_64",
					     .use_host_mofed = rounds[i].host_mofed };
		_cleanup_free_ char *got = NULL, *file = NULL;
		int r;

		if (rounds[i].make) {
			file = str_printf("%s/Module.symvers", rounds[i].make);
			testdir_puts(&t, file, "0x1 a b EXPORT_SYMBOL\n");
		}
		r = container_rdma_symvers(c, n, &env, "K", &got);
		if (!rounds[i].want) {
			assert_int_equal(r, -ENOENT);
			continue;
		}
		assert_int_equal(r, 0);
		assert_true(strlen(got) > strlen(rounds[i].want));
		assert_string_equal(got + strlen(got) - strlen(rounds[i].want), rounds[i].want);
		assert_int_equal(access(got, R_OK), 0);
	}
}

static void links_the_network_drivers_headers(void **state _unused_)
{
	struct container_env env = { .arch = (char *)"x86_64" };
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *c = NULL;
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(8192);

	testdir_make(&t);
	testdir_puts(&t, "x", "");
	assert_ok(host_open(t.path, &c, &e), &e);
	assert_int_equal(plan_new("test", "container", &p), 0);
	assert_int_equal(container_rdma_links(c, &env, "K", p, &e), 0);
	testdir_puts(&t, "run/mellanox/drivers/usr/src/ofa_kernel/x86_64/K/Module.symvers", "");
	assert_int_equal(container_rdma_links(c, &env, "K", p, &e), 1);
	assert_int_equal(p->n_ops, 2);
	assert_int_equal(plan_to_text(p, c, &text), 0);
	assert_non_null(
	    strstr(text.buf, "link /usr/src/ofa_kernel to /run/mellanox/drivers/usr/src/ofa_kernel"));
	assert_non_null(
	    strstr(text.buf, "ofa_kernel/K to /run/mellanox/drivers/usr/src/ofa_kernel/x86_64/K"));
	/* what is there stays */
	plan_freep(&p);
	assert_int_equal(plan_new("test", "container", &p), 0);
	testdir_puts(&t, "usr/src/ofa_kernel/x", "");
	testdir_puts(&t, "run/mellanox/drivers/usr/src/ofa_kernel/K/x", "");
	assert_int_equal(container_rdma_links(c, &env, "K", p, &e), 0);
	assert_int_equal(p->n_ops, 0);
}

TEST_MAIN(cmocka_unit_test(chooses_the_newest_that_fits), cmocka_unit_test(looks_at_what_lies_here),
	  cmocka_unit_test(finds_the_network_drivers_symbols),
	  cmocka_unit_test(links_the_network_drivers_headers))
