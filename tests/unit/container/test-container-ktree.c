/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedriver.h"

#include "container-ktree.h"
#include "strbuf.h"
#include "err-container.h"

struct bed {
	struct testdir t;
	struct host *container, *node;
	struct store *store;
	struct err e;
};

static struct host *host_at(struct bed *b, const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/%s", b->t.path, name);
	struct host *h = NULL;

	assert_int_equal(mkdirat(b->t.fd, name, 0755), 0);
	assert_ok(host_open(path, &h, &b->e), &b->e);
	return h;
}

static void bed_make(struct bed *b)
{
	_cleanup_free_ char *path = NULL;

	*b = (struct bed){ 0 };
	testdir_make(&b->t);
	path = str_printf("%s/store", b->t.path);
	b->container = host_at(b, "container");
	b->node = host_at(b, "node");
	assert_ok(store_open(path, true, &b->store, &b->e), &b->e);
}

static void bed_done(struct bed *b)
{
	host_freep(&b->container);
	host_freep(&b->node);
	store_freep(&b->store);
	err_done(&b->e);
	testdir_done(&b->t);
}

static const struct container_env any_env;

static int find(struct bed *b, struct container_ktree_options *o, struct container_ktree *ret)
{
	o->store = b->store;
	o->node = b->node;
	o->no_packages = true;
	return container_ktree_find(b->container, &any_env, FAKE_RELEASE, o, ret, &b->e);
}

/* Each place in turn, the better ones still empty or unusable. */
static void asks_in_order(void **state _unused_)
{
	static const struct {
		const char *make; /* where a tree appears before this round */
		enum container_ktree_from want;
		size_t attempts;
	} rounds[] = {
		{ "node/usr/src/kernels/" FAKE_RELEASE, CONTAINER_KTREE_NODE, 2 },
		{ "container/usr/src/kernels/" FAKE_RELEASE, CONTAINER_KTREE_CONTAINER, 1 },
		{ "named", CONTAINER_KTREE_NAMED, 1 },
	};
	struct bed b;

	bed_make(&b);
	for (size_t i = 0; i < ARRAY_LEN(rounds); i++) {
		_cleanup_(container_ktree_done) struct container_ktree k = { 0 };
		_cleanup_free_ char *named = str_printf("%s/named", b.t.path);
		struct container_ktree_options o = { .source = i == 2 ? named : NULL };

		fake_kernel(&b.t, rounds[i].make);
		assert_ok(find(&b, &o, &k), &b.e);
		assert_int_equal(k.from, rounds[i].want);
		assert_int_equal(k.n_attempts, rounds[i].attempts);
		assert_true(k.attempts[k.n_attempts - 1].accepted);
		assert_non_null(strstr(k.tree->output, rounds[i].make));
	}
	bed_done(&b);
}

/* A named tree of another kernel and an incomplete one stop nothing; both are reported. */
static void reports_every_verdict(void **state _unused_)
{
	_cleanup_(container_ktree_done) struct container_ktree k = { 0 };
	_cleanup_free_ char *named = NULL;
	struct container_ktree_options o = { 0 };
	json_t *rows;
	struct bed b;

	bed_make(&b);
	named = str_printf("%s/elsewhere", b.t.path);
	o.source = named;
	testdir_puts(&b.t, "elsewhere/Makefile", "");
	fake_kernel(&b.t, "container/usr/src/kernels/" FAKE_RELEASE);
	assert_int_equal(unlinkat(b.t.fd, "container/usr/src/kernels/" FAKE_RELEASE "/Module.symvers", 0), 0);
	fake_kernel(&b.t, "node/lib/modules/" FAKE_RELEASE "/build");
	assert_ok(find(&b, &o, &k), &b.e);
	assert_int_equal(k.from, CONTAINER_KTREE_NODE);
	assert_int_equal(k.n_attempts, 3);
	assert_non_null(strstr(k.attempts[0].verdict, "/elsewhere has no include/linux/kernel.h"));
	assert_non_null(strstr(k.attempts[1].verdict, "has no Module.symvers"));
	rows = container_ktree_attempts_json(&k);
	assert_int_equal(json_array_size(rows), 3);
	assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 2), "source")),
			    "the node");
	assert_true(json_is_true(json_object_get(json_array_get(rows, 2), "accepted")));
	json_decref(rows);
	bed_done(&b);
}

static void says_where_it_looked(void **state _unused_)
{
	_cleanup_(container_ktree_done) struct container_ktree k = { 0 };
	struct container_ktree_options o = { 0 };
	struct bed b;

	bed_make(&b);
	assert_int_equal(find(&b, &o, &k), -ERR_KTREE_NOT_FOUND);
	assert_slug(&b.e, "kernel-headers-missing");
	assert_non_null(strstr(b.e.reason, "the container: "));
	assert_non_null(strstr(b.e.reason, "/usr/src/kernels/" FAKE_RELEASE));
	assert_non_null(strstr(b.e.reason, "the node: "));
	assert_non_null(strstr(b.e.reason, "the store: "));
	assert_null(strstr(b.e.reason, "package manager, installed: "));
	assert_null(k.tree);
	/* 25.2: installing is the last of all places, and only asked for. */
	err_done(&b.e);
	o.may_install = true;
	o.no_packages = false;
	assert_int_equal(container_ktree_find(b.container, &any_env, FAKE_RELEASE, &o, &k, &b.e),
			 -ERR_KTREE_NOT_FOUND);
	assert_non_null(strstr(b.e.reason, "package manager, installed: neither dnf nor yum"));
	bed_done(&b);
}

static void preemptible_kernels_are_refused_first(void **state _unused_)
{
	_cleanup_(container_ktree_done) struct container_ktree k = { 0 };
	struct container_env env = { 0 };
	struct container_ktree_options o = { .no_packages = true };
	struct bed b;

	bed_make(&b);
	assert_int_equal(container_ktree_find(b.container, &env, "5.14.0-427.el9_4.x86_64+rt", &o, &k, &b.e),
			 -ERR_KERNEL_PREEMPT_RT);
	env.ignore_preempt_rt = true;
	assert_int_equal(container_ktree_find(b.container, &env, "5.14.0-427.el9_4.x86_64+rt", &o, &k, &b.e),
			 -ERR_KTREE_NOT_FOUND);
	/* a release that tells nothing: the configuration does */
	env.ignore_preempt_rt = false;
	fake_kernel(&b.t, "container/usr/src/kernels/" FAKE_RELEASE);
	testdir_puts(&b.t, "container/usr/src/kernels/" FAKE_RELEASE "/.config",
		     "CONFIG_X86_64=y\nCONFIG_PREEMPT_RT=y\n");
	assert_int_equal(container_ktree_find(b.container, &env, FAKE_RELEASE, &o, &k, &b.e),
			 -ERR_KERNEL_PREEMPT_RT);
	bed_done(&b);
}

TEST_MAIN(cmocka_unit_test(asks_in_order), cmocka_unit_test(reports_every_verdict),
	  cmocka_unit_test(says_where_it_looked), cmocka_unit_test(preemptible_kernels_are_refused_first))
