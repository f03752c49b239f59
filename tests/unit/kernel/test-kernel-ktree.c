/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedriver.h"

#include "ktree.h"
#include "patchset.h"
#include "strbuf.h"

static void vermagic_rows(void **state _unused_)
{
	static const struct {
		const char *release, *arch, *autoconf, *header, *hash, *want;
	} rows[] = {
		{ "6.1.0", "x86_64", "#define CONFIG_SMP 1\n", NULL, NULL, "6.1.0 SMP " },
		{ "6.1.0", "x86_64",
		  "#define CONFIG_SMP 1\n#define CONFIG_PREEMPT_BUILD 1\n#define CONFIG_MODULE_UNLOAD "
		  "1\n#define CONFIG_MODVERSIONS 1\n",
		  "CONFIG_PREEMPT_BUILD", NULL, "6.1.0 SMP preempt mod_unload modversions " },
		/* the older spelling is looked at only where the header does */
		{ "5.10.0", "x86_64", "#define CONFIG_PREEMPT_BUILD 1\n", "CONFIG_PREEMPT", NULL, "5.10.0 " },
		{ "5.10.0", "x86_64", "#define CONFIG_PREEMPT 1\n", "CONFIG_PREEMPT", NULL,
		  "5.10.0 preempt " },
		{ "6.1.0-rt", "x86_64", "#define CONFIG_PREEMPT_RT 1\n", "CONFIG_PREEMPT_BUILD", NULL,
		  "6.1.0-rt preempt_rt " },
		{ "6.1.0", "aarch64", "#define CONFIG_SMP 1\n", NULL, NULL, "6.1.0 SMP aarch64" },
		{ "6.1.0", "x86_64", "#define CONFIG_RANDSTRUCT 1\n", NULL, "abcd", "6.1.0 RANDSTRUCT_abcd" },
		/* a longer name is another option */
		{ "6.1.0", "x86_64", "#define CONFIG_SMP_X 1\n#define CONFIG_MODVERSIONS 0\n", NULL, NULL,
		  "6.1.0 " },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = NULL;

		assert_int_equal(vermagic_compose(rows[i].release, rows[i].arch, rows[i].autoconf,
						  rows[i].header, rows[i].hash, &got),
				 0);
		assert_string_equal(got, rows[i].want);
	}
}

static void accepts_a_complete_tree(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(ktree_freep) struct ktree *k = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *hash = NULL, *value = NULL;
	bool guessed = true;

	testdir_make(&t);
	fake_kernel(&t, "k");
	assert_ok(ktree_open_at(t.fd, "k", NULL, FAKE_RELEASE, "x86_64", &k, &e), &e);
	assert_string_equal(k->release, FAKE_RELEASE);
	assert_string_equal(k->arch, "x86_64");
	assert_string_equal(k->vermagic, FAKE_RELEASE " SMP mod_unload modversions ");
	assert_string_equal(k->banner, "Linux version " FAKE_RELEASE " (me@here) (gcc 12) #1 SMP today");
	assert_int_equal(strlen(k->identity), 64);
	assert_int_equal(ktree_sign_hash(k, &hash, &guessed), 0);
	assert_string_equal(hash, "sha512");
	assert_false(guessed);
	assert_true(ktree_config_enabled(k, "MODULE_SIG"));
	assert_false(ktree_config_enabled(k, "MODULE_SIG_FORCE"));
	assert_int_equal(ktree_config(k, "MODULE_SI", &value), -ENOENT);
}

static void identity_follows_content(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(ktree_freep) struct ktree *a = NULL, *b = NULL, *c = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	fake_kernel(&t, "a");
	fake_kernel(&t, "b");
	fake_kernel(&t, "c");
	testdir_puts(&t, "c/Module.symvers", "0x00000002\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n");
	assert_ok(ktree_open_at(t.fd, "a", NULL, NULL, NULL, &a, &e), &e);
	assert_ok(ktree_open_at(t.fd, "b", NULL, NULL, NULL, &b, &e), &e);
	assert_ok(ktree_open_at(t.fd, "c", NULL, NULL, NULL, &c, &e), &e);
	assert_string_equal(a->identity, b->identity);
	assert_string_not_equal(a->identity, c->identity);
}

static void names_what_is_missing(void **state _unused_)
{
	static const char *const files[] = { "include/linux/kernel.h", "include/generated/autoconf.h",
					     "include/generated/utsrelease.h", "Module.symvers", ".config" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(ktree_freep) struct ktree *k = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		char path[128];

		testdir_make(&t);
		fake_kernel(&t, "k");
		snprintf(path, sizeof(path), "k/%s", files[i]);
		assert_int_equal(unlinkat(t.fd, path, 0), 0);
		assert_true(ktree_open_at(t.fd, "k", NULL, NULL, NULL, &k, &e) < 0);
		assert_slug(&e, "kernel-headers-invalid");
		assert_non_null(strstr(e.reason, files[i]));
		assert_null(k);
	}
}

static void refuses_another_kernel(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(ktree_freep) struct ktree *k = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	fake_kernel(&t, "k");
	assert_true(ktree_open_at(t.fd, "k", NULL, "6.1.0-78-amd64", NULL, &k, &e) < 0);
	assert_slug(&e, "kernel-headers-mismatch");
	assert_true(ktree_open_at(t.fd, "k", NULL, NULL, "aarch64", &k, &e) < 0);
	assert_slug(&e, "kernel-headers-mismatch");
}

/* A distribution that splits its headers: the common half is found through lib/modules/R/source. */
static void finds_a_split_tree(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(ktree_freep) struct ktree *k = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(host_freep) struct host *h = NULL;
	struct ktree_search where = { .release = FAKE_RELEASE };

	testdir_make(&t);
	fake_kernel(&t, "usr/src/out");
	testdir_puts(&t, "usr/src/common/include/linux/kernel.h", "\n");
	assert_int_equal(unlinkat(t.fd, "usr/src/out/include/linux/kernel.h", 0), 0);
	testdir_puts(&t, "lib/modules/" FAKE_RELEASE "/x", "");
	assert_int_equal(symlinkat("/usr/src/out", t.fd, "lib/modules/" FAKE_RELEASE "/build"), 0);
	assert_int_equal(symlinkat("/usr/src/common", t.fd, "lib/modules/" FAKE_RELEASE "/source"), 0);
	assert_ok(host_open(t.path, &h, &e), &e);
	where.host = h;
	assert_ok(ktree_find(&where, &k, &e), &e);
	assert_non_null(strstr(k->source, "/usr/src/common"));
	assert_non_null(strstr(k->output, "/usr/src/out"));
	ktree_freep(&k);
	/* … or through the makefile, when only the output half is linked. */
	assert_int_equal(unlinkat(t.fd, "lib/modules/" FAKE_RELEASE "/source", 0), 0);
	testdir_puts(&t, "usr/src/out/Makefile", "include /usr/src/common/Makefile\n");
	assert_ok(ktree_find(&where, &k, &e), &e);
	assert_non_null(strstr(k->source, "/usr/src/common"));
}

static void lists_where_it_looked(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(ktree_freep) struct ktree *k = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(host_freep) struct host *h = NULL;
	struct ktree_search where = { .release = FAKE_RELEASE };

	testdir_make(&t);
	assert_ok(host_open(t.path, &h, &e), &e);
	where.host = h;
	assert_true(ktree_find(&where, &k, &e) < 0);
	assert_slug(&e, "kernel-headers-missing");
	assert_non_null(strstr(e.reason, "lib/modules/" FAKE_RELEASE "/build"));
	where.release = "../etc";
	assert_true(ktree_find(&where, &k, &e) < 0);
	assert_slug(&e, "usage");
}

static void imports_and_finds_again(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(ktree_freep) struct ktree *k = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_free_ char *path = NULL, *root = NULL;
	struct ktree_search where = { .release = FAKE_RELEASE };
	char identity[65];

	testdir_make(&t);
	path = str_printf("%s/store", t.path);
	assert_ok(store_open(path, true, &s, &e), &e);
	assert_ok(store_stage_begin(s, &st, &e), &e);
	root = str_printf("store/tmp/%s/root", st.name);
	fake_kernel(&t, root);
	assert_ok(ktree_import(&st, FAKE_RELEASE, ".", ".", NULL, identity, &e), &e);
	where.store = s;
	assert_ok(ktree_find(&where, &k, &e), &e);
	assert_string_equal(k->identity, identity);
	ktree_freep(&k);
	/* A tree changed behind the store's back is not used. */
	root = (free(root), str_printf("store/kernels/%s/root/Module.symvers", identity));
	testdir_puts(&t, root, "changed\n");
	assert_true(ktree_find(&where, &k, &e) < 0);
	assert_slug(&e, "store-damaged");
}

static void counts_parameters(void **state _unused_)
{
	static const struct {
		const char *text, *name;
		int want;
	} rows[] = {
		{ "int f(int a, int b);", "f", 2 },
		{ "int f(void);", "f", 0 },
		{ "int f ();", "f", 0 },
		{ "int f(int (*cb)(int, int), void *p);", "f", 2 },
		{ "int ff(int a); int f(int a,\n\tint b,\n\tint c);", "f", 3 },
		{ "int f_x(int a);", "f", -1 },
		{ "int x = f;", "f", -1 },
		{ "int f(int a, int b", "f", -1 },
		{ "", "f", -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(header_function_parameters(rows[i].text, strlen(rows[i].text), rows[i].name),
				 rows[i].want);
}

#define INDEX(entries) "{\"schema\":\"nvdriver.patchset/1\",\"patches\":[" entries "]}"

static void chooses_patches(void **state _unused_)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(ktree_freep) struct ktree *k = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *dir = NULL;
	struct patchset p = PATCHSET_INIT, q = PATCHSET_INIT;

	testdir_make(&t);
	fake_kernel(&t, "k");
	testdir_puts(&t, "k/include/linux/pci.h",
		     "int pci_resize_resource(struct pci_dev *dev, int i, int size, int exclude);\n");
	assert_ok(ktree_open_at(t.fd, "k", NULL, NULL, NULL, &k, &e), &e);
	testdir_puts(&t, "p/535.1.2/a.patch", "A\n");
	testdir_puts(&t, "p/535.1.2/index.json",
		     INDEX("{\"file\":\"a.patch\",\"why\":\"w\",\"flavours\":[\"open\"],\"when\":{\"header\":"
			   "\"include/linux/pci.h\","
			   "\"function\":\"pci_resize_resource\",\"parameters\":4}}"));
	dir = str_printf("%s/p", t.path);
	assert_ok(patchset_load(dir, "535.1.2", "open", k, NULL, &p, &e), &e);
	assert_int_equal(p.n_patches, 1);
	assert_string_equal(p.patches[0].name, "a.patch");
	/* not for this flavour, and the digest is the same: it is the set's, not the choice's */
	assert_ok(patchset_load(dir, "535.1.2", "proprietary", k, NULL, &q, &e), &e);
	assert_int_equal(q.n_patches, 0);
	assert_string_equal(p.digest, q.digest);
	patchset_done(&q);
	assert_ok(patchset_load(dir, "535.1.2", "open", NULL, NULL, &q, &e), &e);
	assert_string_equal(p.digest, q.digest);
	patchset_done(&q);
	/* a kernel with the older declaration needs nothing */
	testdir_puts(&t, "k/include/linux/pci.h",
		     "int pci_resize_resource(struct pci_dev *dev, int i, int size);\n");
	assert_ok(patchset_load(dir, "535.1.2", "open", k, NULL, &q, &e), &e);
	assert_int_equal(q.n_patches, 0);
	patchset_done(&q);
	testdir_puts(&t, "p/535.1.2/a.patch", "B\n");
	assert_ok(patchset_load(dir, "535.1.2", "open", k, NULL, &q, &e), &e);
	assert_string_not_equal(p.digest, q.digest);
	patchset_done(&q);
	assert_ok(patchset_load(dir, "1.2.3", "open", k, NULL, &q, &e), &e);
	assert_string_equal(q.digest, "none");
	patchset_done(&q);
	patchset_done(&p);
}

static void refuses_bad_indexes(void **state _unused_)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		INDEX("{}"),
		INDEX("{\"file\":\"../x\",\"why\":\"w\"}"),
		INDEX("{\"file\":\"none\",\"why\":\"w\"}"),
		INDEX("{\"file\":\"a.patch\",\"why\":\"w\",\"if\":1}"),
		INDEX("{\"file\":\"a.patch\",\"why\":\"w\",\"when\":{}}"),
		INDEX("{\"file\":\"a.patch\",\"why\":\"w\",\"when\":{\"header\":\"../../etc/"
		      "passwd\",\"function\":\"f\",\"parameters\":1}}"),
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(testdir_done) struct testdir t;
		_cleanup_(ktree_freep) struct ktree *k = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *dir = NULL;
		struct patchset p = PATCHSET_INIT;

		testdir_make(&t);
		fake_kernel(&t, "k");
		testdir_puts(&t, "p/1.2/a.patch", "A\n");
		testdir_puts(&t, "p/1.2/index.json", bad[i]);
		dir = str_printf("%s/p", t.path);
		assert_ok(ktree_open_at(t.fd, "k", NULL, NULL, NULL, &k, &e), &e);
		assert_true(patchset_load(dir, "1.2", "open", k, NULL, &p, &e) < 0);
		assert_slug(&e, "patch-set-invalid");
	}
}

/* The patch sets in the repository are complete and readable. */
static void shipped_sets_load(void **state _unused_)
{
	_cleanup_free_ char *dir = test_source_path("data/patches");
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct patchset p = PATCHSET_INIT;

	assert_ok(patchset_load(dir, "535.261.03", "open", NULL, NULL, &p, &e), &e);
	assert_int_equal(strlen(p.digest), 64);
	patchset_done(&p);
}

TEST_MAIN(cmocka_unit_test(vermagic_rows), cmocka_unit_test(accepts_a_complete_tree),
	  cmocka_unit_test(identity_follows_content), cmocka_unit_test(names_what_is_missing),
	  cmocka_unit_test(refuses_another_kernel), cmocka_unit_test(finds_a_split_tree),
	  cmocka_unit_test(lists_where_it_looked), cmocka_unit_test(imports_and_finds_again),
	  cmocka_unit_test(counts_parameters), cmocka_unit_test(chooses_patches),
	  cmocka_unit_test(refuses_bad_indexes), cmocka_unit_test(shipped_sets_load))
