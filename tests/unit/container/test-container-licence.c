/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-licence.h"
#include "engine.h"
#include "err-container.h"

struct guest {
	struct testdir t;
	struct engine *en;
};

static void guest_start(struct guest *g)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *store = NULL;

	testdir_make(&g->t);
	testdir_puts(&g->t, "root/drivers/gridd.conf", "ServerAddress=1.2.3.4\n");
	testdir_puts(&g->t, "root/drivers/ClientConfigToken/..2024/client.tok", "secret-one");
	assert_int_equal(symlinkat("..2024", g->t.fd, "root/drivers/ClientConfigToken/..data"), 0);
	assert_int_equal(symlinkat("..data/client.tok", g->t.fd, "root/drivers/ClientConfigToken/client.tok"),
			 0);
	testdir_puts(&g->t, "root/etc/nvidia/ClientConfigToken/old.tok", "withdrawn");
	store = str_printf("%s/store", g->t.path);
	{
		_cleanup_free_ char *root = str_printf("%s/root", g->t.path);

		assert_ok(engine_open(root, store, ENGINE_STORE_CREATE, &g->en, &e), &e);
	}
}

static void guest_end(struct guest *g)
{
	engine_freep(&g->en);
	testdir_done(&g->t);
}

static void reads(struct guest *g, const char *path, const char *want)
{
	_cleanup_free_ char *text = testdir_read(&g->t, path, NULL);

	assert_non_null(text);
	assert_string_equal(text, want);
}

static void copies_what_the_daemon_reads(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = NULL, *again = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *id = NULL;
	struct guest g;

	guest_start(&g);
	assert_int_equal(plan_new("licence", "container", &p), 0);
	assert_ok(container_licence_plan(g.en->host, true, p, &e), &e);
	assert_string_equal(p->ops[0].sentence, "put gridd.conf and 1 licence token below /etc/nvidia");
	assert_int_equal(plan_apply(p, &g.en->state, g.en->host, 0, &id, &e), 1);
	reads(&g, "root/etc/nvidia/gridd.conf", "ServerAddress=1.2.3.4\n");
	reads(&g, "root/etc/nvidia/ClientConfigToken/client.tok", "secret-one");
	assert_false(testdir_has(&g.t, "root/etc/nvidia/ClientConfigToken/old.tok"));
	assert_false(testdir_has(&g.t, "root/etc/nvidia/ClientConfigToken/..data"));
	/* a second run has nothing to do; undo brings the old state back */
	assert_int_equal(plan_new("licence", "container", &again), 0);
	assert_ok(container_licence_plan(g.en->host, true, again, &e), &e);
	assert_int_equal(plan_check(again, g.en->host, &e), 1);
	assert_ok(plan_undo(&g.en->state, "container", NULL, false, false, NULL, &e), &e);
	assert_false(testdir_has(&g.t, "root/etc/nvidia/gridd.conf"));
	reads(&g, "root/etc/nvidia/ClientConfigToken/old.tok", "withdrawn");
	guest_end(&g);
}

static void without_nls_tokens_stay_out(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct guest g;

	guest_start(&g);
	assert_int_equal(plan_new("licence", "container", &p), 0);
	assert_ok(container_licence_plan(g.en->host, false, p, &e), &e);
	assert_int_equal(plan_apply(p, &g.en->state, g.en->host, 0, NULL, &e), 1);
	reads(&g, "root/etc/nvidia/gridd.conf", "ServerAddress=1.2.3.4\n");
	assert_false(testdir_has(&g.t, "root/etc/nvidia/ClientConfigToken/client.tok"));
	assert_true(testdir_has(&g.t, "root/etc/nvidia/ClientConfigToken/old.tok"));
	guest_end(&g);
}

static void names_what_is_not_mounted(void **state _unused_)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct guest g;

	guest_start(&g);
	assert_int_equal(plan_new("licence", "container", &p), 0);
	assert_int_equal(unlinkat(g.t.fd, "root/drivers/gridd.conf", 0), 0);
	assert_int_equal(container_licence_plan(g.en->host, true, p, &e), -ERR_LICENCE_INPUT);
	assert_string_equal(e.object, "/drivers/gridd.conf");
	testdir_puts(&g.t, "root/drivers/gridd.conf", "x");
	assert_int_equal(renameat(g.t.fd, "root/drivers/ClientConfigToken", g.t.fd, "root/gone"), 0);
	assert_int_equal(container_licence_plan(g.en->host, true, p, &e), -ERR_LICENCE_INPUT);
	assert_int_equal(p->n_ops, 0);
	guest_end(&g);
}

static void tells_the_licence_state(void **state _unused_)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "GPU 00000000:02:00.0\n    vGPU Software Licensed Product\n        Product Name : NVIDIA "
		  "RTX\n        License Status                    : Licensed (Expiry: 2026-12-1 8:0:0 GMT)\n",
		  "Licensed (Expiry: 2026-12-1 8:0:0 GMT)" },
		{ "License Status : Licensed\n License Status : Unlicensed (Restricted)\r\n",
		  "Unlicensed (Restricted)" },
		{ "License Status : Licensed (a)\nLicense Status : Licensed (b)", "Licensed (a)" },
		{ "License Status\nLicense Status :\n", "" },
		{ "Product : License Status : no\n", "" },
		{ "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct span got = container_licence_state(SPAN(cases[i].text));

		assert_int_equal(got.len, strlen(cases[i].want));
		assert_memory_equal(got.p ? got.p : "", cases[i].want, got.len);
	}
}

TEST_MAIN(cmocka_unit_test(copies_what_the_daemon_reads), cmocka_unit_test(tells_the_licence_state),
	  cmocka_unit_test(without_nls_tokens_stay_out), cmocka_unit_test(names_what_is_not_mounted))
