/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedriver.h"

#include "cms.h"
#include "modbuild.h"
#include "modset.h"
#include "modsig.h"
#include "precompiled.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"

/* A driver, a kernel and a store, all small. */
struct bed {
	struct testdir t;
	struct store *store;
	struct ktree *k;
	struct toolchain tools;
	struct patchset patches;
	char *log_dir;
	int tree_fd;
};

/* A core object with debug information, as the vendor ships them. */
static void core_object(struct bed *b, const char *dir, const char *text)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("core object");
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *out = str_printf("tree/%s/nvidia/nv-kernel.o_binary", dir);

	testdir_puts(&b->t, "core.c", text);
	spawn_argv(&s, "gcc", "-g", "-c", "-o", out, "core.c", NULL);
	s.cwd_fd = b->t.fd;
	assert_ok(spawn_check(&s, &e), &e);
}

static void bed_make(struct bed *b)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *path = NULL;

	*b = (struct bed){ .tools = TOOLCHAIN_INIT, .patches = PATCHSET_INIT };
	testdir_make(&b->t);
	fake_kernel(&b->t, "k");
	fake_driver(&b->t, "tree/kernel");
	fake_driver(&b->t, "tree/kernel-open");
	fake_module(&b->t, "tree/kernel-open", "nvidia", "int open_flavour;");
	core_object(b, "kernel", "int nv_core(int x) { return x + 1; }\n");
	path = str_printf("%s/store", b->t.path);
	b->log_dir = str_printf("%s/log", b->t.path);
	b->tree_fd = openat(b->t.fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(store_open(path, true, &b->store, &e), &e);
	assert_ok(ktree_open_at(b->t.fd, "k", NULL, NULL, NULL, &b->k, &e), &e);
	assert_ok(toolchain_choose(b->k, NULL, b->store, &b->tools, &e), &e);
}

static void bed_done(struct bed *b)
{
	close_fdp(&b->tree_fd);
	store_freep(&b->store);
	ktree_freep(&b->k);
	toolchain_done(&b->tools);
	patchset_done(&b->patches);
	free(b->log_dir);
	testdir_done(&b->t);
}

static struct modbuild of_bed(const struct bed *b, const char *flavour)
{
	return (struct modbuild){ .driver = "535.1.2",
				  .flavour = flavour,
				  .tree_fd = b->tree_fd,
				  .ktree = b->k,
				  .tools = &b->tools,
				  .patches = &b->patches,
				  .jobs = 2,
				  .timeout_s = 60,
				  .log_dir = b->log_dir };
}

static int build(const struct bed *b, const char *flavour, struct modbuild_result *r, struct err *e)
{
	struct modbuild m = of_bed(b, flavour);

	return modbuild_run(&m, b->store, r, NULL, e);
}

static int count_id(const char *id _unused_, void *arg)
{
	++*(int *)arg;
	return 0;
}

static void assert_nothing_left(const struct bed *b, int want_sets)
{
	_cleanup_close_ int tmp = openat(b->store->dir_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int sets = 0;

	assert_int_equal(fstat(tmp, &st), 0);
	assert_int_equal(st.st_nlink, 2); /* no staging directory */
	assert_int_equal(store_list(b->store, STORE_MODULE, count_id, &sets), 0);
	assert_int_equal(sets, want_sets);
}

static void builds_once(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modbuild_result one, two;
	_cleanup_free_ char *ko = NULL, *path = NULL;
	json_t *record = NULL;
	uint64_t children;
	size_t len;

	bed_make(&b);
	assert_ok(build(&b, "proprietary", &one, &e), &e);
	assert_false(one.hit);
	assert_int_equal(one.modules, 2);
	assert_int_equal(one.probes_reused, 0);
	assert_int_equal(one.objects_made, 1);
	children = spawn_count();
	assert_ok(build(&b, "proprietary", &two, &e), &e);
	assert_true(two.hit);
	assert_int_equal(two.modules, 2);
	assert_string_equal(one.key, two.key);
	assert_int_equal(spawn_count(), children);
	assert_ok(modset_record(b.store, one.key, &record, &e), &e);
	assert_string_equal(json_string_value(json_object_get(record, "vermagic")),
			    FAKE_RELEASE " SMP mod_unload modversions ");
	assert_string_equal(json_string_value(json_object_get(record, "kernel_identity")), b.k->identity);
	assert_string_equal(json_string_value(json_object_get(record, "banner")), b.k->banner);
	json_decref(record);
	/* The place it was built in is not in the module. */
	path = str_printf("store/modules/%s/nvidia.ko", one.key);
	ko = testdir_read(&b.t, path, &len);
	assert_non_null(ko);
	assert_null(memmem(ko, len, MODBUILD_DIR, strlen(MODBUILD_DIR)));
	assert_nothing_left(&b, 1);
}

static void second_flavour_asks_nothing(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modbuild_result one, two;
	_cleanup_free_ char *path = NULL, *log = NULL, *log1 = NULL, *path1 = NULL;

	bed_make(&b);
	core_object(&b, "kernel-open", "int nv_core(int x) { return x + 1; }\n");
	assert_ok(build(&b, "proprietary", &one, &e), &e);
	assert_ok(build(&b, "open", &two, &e), &e);
	assert_string_not_equal(one.key, two.key);
	assert_false(two.hit);
	assert_int_equal(two.probes_reused, FAKE_PROBES);
	assert_int_equal(two.objects_reused, 1);
	/* make itself is the witness */
	path1 = str_printf("store/modules/%s/build.log", one.key);
	path = str_printf("store/modules/%s/build.log", two.key);
	log1 = testdir_read(&b.t, path1, NULL);
	log = testdir_read(&b.t, path, NULL);
	assert_non_null(strstr(log1, "CONFTEST:"));
	assert_null(strstr(log, "CONFTEST:"));
}

/* What an answer depends on is its key: another conftest.sh, another kernel, and everything is asked again. */
static void changed_probes_are_asked_again(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modbuild_result r;

	bed_make(&b);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	testdir_puts(&b.t, "tree/kernel-open/conftest.sh", "#!/bin/sh\necho \"#define OTHER_$1\"\n");
	assert_ok(build(&b, "open", &r, &e), &e);
	assert_int_equal(r.probes_reused, 0);
	testdir_puts(&b.t, "k/Module.symvers", "0x2\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n");
	ktree_freep(&b.k);
	assert_ok(ktree_open_at(b.t.fd, "k", NULL, NULL, NULL, &b.k, &e), &e);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	assert_false(r.hit);
	assert_int_equal(r.probes_reused, 0);
}

static void key_holds_what_changes_code(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modbuild m;
	struct patch_file p = { .name = (char *)"x", .why = (char *)"y", .sha256 = "11" };
	char base[65], now[65];

	bed_make(&b);
	m = of_bed(&b, "proprietary");
	assert_ok(modbuild_key(&m, base, &e), &e);
	m.jobs = 7;
	m.timeout_s = 5;
	assert_ok(modbuild_key(&m, now, &e), &e);
	assert_string_equal(base, now);
	m.debug_info = true;
	assert_ok(modbuild_key(&m, now, &e), &e);
	assert_string_not_equal(base, now);
	m.debug_info = false;
	m.exclude = (const char *const[]){ "nvidia-uvm", NULL };
	assert_ok(modbuild_key(&m, now, &e), &e);
	assert_string_not_equal(base, now);
	m.exclude = NULL;
	m.patches = &(struct patchset){ .patches = &p, .n_patches = 1 };
	assert_ok(modbuild_key(&m, now, &e), &e);
	assert_string_not_equal(base, now);
	m.patches = &b.patches;
	testdir_puts(&b.t, "tree/kernel/new.h", "");
	assert_ok(modbuild_key(&m, now, &e), &e);
	assert_string_not_equal(base, now);
}

static void failures_are_told_apart(void **state _unused_)
{
	static const struct {
		const char *file, *text, *slug, *reason;
	} rows[] = {
		{ "tree/kernel/nvidia-uvm/nvidia-uvm.c", "int f(void) { return undeclared_thing; }\n",
		  "module-compile-failed", "nvidia-uvm/nvidia-uvm.c:1" },
		{ "tree/kernel/conftest.sh", "#!/bin/sh\necho '#error acpi_walk() conftest failed!'\n",
		  "module-probe-failed", "acpi_walk() conftest failed!" },
		{ "tree/kernel/Makefile", "modules:\n\tfalse\n", "module-build-failed", "***" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(bed_done) struct bed b;
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct modbuild_result r;
		int fds;

		bed_make(&b);
		testdir_puts(&b.t, rows[i].file, rows[i].text);
		fds = testdir_open_fds();
		assert_true(build(&b, "proprietary", &r, &e) < 0);
		assert_slug(&e, rows[i].slug);
		assert_non_null(strstr(e.reason, rows[i].reason));
		assert_int_equal(testdir_open_fds(), fds);
		assert_true(testdir_has(&b.t, "log/modules-535.1.2-proprietary-" FAKE_RELEASE ".log"));
		assert_nothing_left(&b, 0);
	}
}

/* A probe that could not run must be asked again once its cause is gone. */
static void failed_probes_are_not_kept(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modbuild_result r;

	bed_make(&b);
	testdir_puts(&b.t, "tree/kernel/conftest.sh",
		     "#!/bin/sh\n[ $2 != three ] || { echo '#error three() conftest failed!'; exit 0; }\n"
		     "echo \"#define NV_$2\" | tr /. __\n");
	assert_true(build(&b, "proprietary", &r, &e) < 0);
	assert_slug(&e, "module-probe-failed");
	err_done(&e);
	assert_true(build(&b, "proprietary", &r, &e) < 0);
	assert_slug(&e, "module-probe-failed");
	assert_non_null(strstr(e.reason, "three"));
}

static void killed_build_leaves_nothing(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modbuild_result r;
	struct modbuild m;

	bed_make(&b);
	testdir_puts(&b.t, "tree/kernel/Makefile", "modules:\n\tsleep 30\n");
	m = of_bed(&b, "proprietary");
	m.timeout_s = 1;
	assert_true(modbuild_run(&m, b.store, &r, NULL, &e) < 0);
	assert_slug(&e, "timed-out");
	assert_nothing_left(&b, 0);
}

static void wrong_inputs_are_refused(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct modbuild_result r;
	char *source;

	bed_make(&b);
	source = b.k->source;
	b.k->source = (char *)"/usr/src/a b";
	assert_true(build(&b, "proprietary", &r, &e) < 0);
	b.k->source = source;
	assert_slug(&e, "module-build-failed");
	err_done(&e);
	assert_int_equal(unlinkat(b.t.fd, "tree/kernel-open/conftest.sh", 0), 0);
	assert_true(build(&b, "open", &r, &e) < 0);
	assert_slug(&e, "module-source-missing");
	assert_nothing_left(&b, 0);
}

static void make_keys(struct bed *b, char **key, char **cert)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct keygen_names names;

	assert_ok(keygen_create(b->t.fd, "tests", KEYGEN_RSA_2048, 10, &names, &e), &e);
	*key = str_printf("%s/%s", b->t.path, names.key);
	*cert = str_printf("%s/%s", b->t.path, names.cert);
}

static void signing_compiles_nothing(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *key = NULL, *cert = NULL, *path = NULL;
	_cleanup_(cert_freep) struct cert *c = NULL;
	struct modbuild_result r;
	struct modset_want want = {
		.driver = "535.1.2", .flavour = "proprietary", .release = FAKE_RELEASE, .arch = "x86_64"
	};
	char signed_key[65], again[65], found[65], fingerprint[65];
	json_t *record = NULL;
	uint64_t children;
	bool hit;

	bed_make(&b);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	make_keys(&b, &key, &cert);
	struct modset_signing how = {
		.key_path = key, .cert_path = cert, .hash = "sha512", .passphrase_fd = -1
	};

	children = spawn_count();
	assert_ok(modset_sign(b.store, r.key, &how, signed_key, &hit, &e), &e);
	assert_false(hit);
	assert_ok(modset_sign(b.store, r.key, &how, again, &hit, &e), &e);
	assert_true(hit);
	assert_string_equal(signed_key, again);
	assert_ok(cert_load(cert, &c, &e), &e);
	path = str_printf("store/modules/%s/nvidia-uvm.ko", signed_key);
	assert_ok(modsig_verify_at(b.t.fd, path, c, NULL, &e), &e);
	/* lookups: any prefers the signed one; a certificate and "unsigned" name one each */
	assert_ok(modset_find(b.store, &want, found, &record, &e), &e);
	assert_string_equal(found, signed_key);
	json_decref(record);
	want.certificate = MODSET_UNSIGNED;
	assert_ok(modset_find(b.store, &want, found, &record, &e), &e);
	assert_string_equal(found, r.key);
	json_decref(record);
	assert_ok(modset_cert_fingerprint(cert, fingerprint, &e), &e);
	want.certificate = fingerprint;
	want.vermagic = b.k->vermagic;
	want.patch_digest = b.patches.digest;
	assert_ok(modset_find(b.store, &want, found, &record, &e), &e);
	json_decref(record);
	want.patch_digest = "other";
	assert_int_equal(modset_find(b.store, &want, found, &record, &e), -ENOENT);
	want.patch_digest = NULL;
	want.banner = "Linux version of somebody else";
	assert_int_equal(modset_find(b.store, &want, found, &record, &e), -ENOENT);
	assert_int_equal(spawn_count(), children);
}

/* What a signer elsewhere would give back for one module: with trailer and magic, or the DER alone as sign-file -d writes it. */
static void detach(struct bed *b, const char *unsigned_key, const char *signed_key, const char *name,
		   bool der_alone)
{
	_cleanup_free_ char *from = str_printf("store/modules/%s/%s", unsigned_key, name),
			    *to = str_printf("store/modules/%s/%s", signed_key, name),
			    *out = str_printf("signatures/%s.p7s", name);
	_cleanup_close_ int from_fd = openat(b->t.fd, from, O_RDONLY | O_CLOEXEC),
			    to_fd = openat(b->t.fd, to, O_RDONLY | O_CLOEXEC);
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ uint8_t *signature = NULL;
	size_t len;

	assert_ok(modsig_detach(from_fd, to_fd, &signature, &len, &e), &e);
	testdir_write(&b->t, out, signature, der_alone ? len - MODSIG_OVERHEAD : len, 0644);
}

/* 25.5: the key stays where it is, its signatures come here. */
static void signatures_made_elsewhere(void **state _unused_)
{
	static const char *const modules[] = { "nvidia.ko", "nvidia-uvm.ko" };
	_cleanup_free_ char *key = NULL, *cert = NULL, *dir = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(bed_done) struct bed b;
	char signed_key[65], again[65];
	struct modbuild_result r;
	bool hit;

	bed_make(&b);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	make_keys(&b, &key, &cert);
	dir = str_printf("%s/signatures", b.t.path);
	assert_int_equal(mkdirat(b.t.fd, "signatures", 0755), 0);
	struct modset_signing how = {
		.key_path = key, .cert_path = cert, .hash = "sha512", .passphrase_fd = -1
	};

	assert_ok(modset_sign(b.store, r.key, &how, signed_key, &hit, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(modules); i++)
		detach(&b, r.key, signed_key, modules[i], i == 0);
	assert_ok(store_remove(b.store, STORE_MODULE, signed_key, &e), &e);

	how.key_path = NULL;
	how.signatures = dir;
	assert_ok(modset_sign(b.store, r.key, &how, again, &hit, &e), &e);
	assert_false(hit);
	assert_string_equal(again, signed_key);
	assert_ok(modset_verify(b.store, again, NULL, &e), &e);

	/* One that is missing, or another module's, makes no set. */
	assert_ok(store_remove(b.store, STORE_MODULE, again, &e), &e);
	assert_int_equal(renameat(b.t.fd, "signatures/nvidia.ko.p7s", b.t.fd, "signatures/kept"), 0);
	assert_int_equal(modset_sign(b.store, r.key, &how, again, &hit, &e), -ENOENT);
	err_done(&e);
	testdir_puts(&b.t, "signatures/nvidia.ko.p7s", "no signature at all");
	assert_true(modset_sign(b.store, r.key, &how, again, &hit, &e) < 0);
	err_done(&e);
	assert_int_equal(renameat(b.t.fd, "signatures/nvidia-uvm.ko.p7s", b.t.fd, "signatures/nvidia.ko.p7s"),
			 0);
	assert_true(modset_sign(b.store, r.key, &how, again, &hit, &e) < 0);
	assert_false(store_has(b.store, STORE_MODULE, signed_key));
}

static void verification_reads_everything(void **state _unused_)
{
	static const char *const damage[] = { "nvidia.ko", "Module.symvers", "stranger" };

	for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
		_cleanup_(bed_done) struct bed b;
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *path = NULL;
		struct modbuild_result r;
		json_t *problems = json_array();

		bed_make(&b);
		assert_ok(build(&b, "proprietary", &r, &e), &e);
		assert_ok(modset_verify(b.store, r.key, NULL, &e), &e);
		path = str_printf("store/modules/%s/%s", r.key, damage[i]);
		testdir_puts(&b.t, path, "changed");
		assert_true(modset_verify(b.store, r.key, problems, &e) < 0);
		assert_slug(&e, "store-damaged");
		assert_non_null(strstr(e.reason, damage[i]));
		assert_int_equal(json_array_size(problems), 1);
		json_decref(problems);
		err_done(&e);
		/* … and a build repairs it instead of using it */
		assert_ok(build(&b, "proprietary", &r, &e), &e);
		assert_false(r.hit);
		assert_ok(modset_verify(b.store, r.key, NULL, &e), &e);
	}
}

static void exports_a_vendor_package(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *key = NULL, *cert = NULL, *name = NULL;
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	struct modbuild_result r;
	char expect[128];

	bed_make(&b);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	make_keys(&b, &key, &cert);
	struct modset_signing how = {
		.key_path = key, .cert_path = cert, .hash = "sha512", .passphrase_fd = -1
	};

	assert_ok(modset_export(b.store, r.key, b.tree_fd, &how, b.t.fd, &name, &e), &e);
	snprintf(expect, sizeof(expect), "nvidia-modules-" FAKE_RELEASE "-%.8s", b.k->identity);
	assert_string_equal(name, expect);
	assert_ok(precompiled_open(b.t.fd, name, PRECOMPILED_VERIFY, &p, &e), &e);
	assert_string_equal(p->proc_version, b.k->banner);
	assert_int_equal(p->n_files, 2);
	assert_ok(precompiled_match(p, "535.1.2", b.k->banner, &e), &e);
	for (uint32_t i = 0; i < p->n_files; i++)
		if (p->files[i].type == PRECOMPILED_INTERFACE)
			assert_true(p->files[i].attributes & PRECOMPILED_LINKED_CRC);
}

/* The module sets of the store. */
static char *snapshot_modules(struct bed *b)
{
	struct testdir t = { .fd = openat(b->t.fd, "store/modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	_cleanup_free_ char *path = store_object_path(b->store, STORE_MODULE, "x");
	char *text;

	*strrchr(path, '/') = '\0';
	assert_true(strlen(path) < sizeof(t.path));
	memcpy(t.path, path, strlen(path) + 1);
	text = testdir_snapshot(&t);
	close(t.fd);
	return text;
}

/* The tree in the store that an import links with. */
static void put_tree(struct bed *b, char id[65])
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(store_stage_begin(b->store, &st, &e), &e);
	assert_int_equal(tree_copy(b->t.fd, "tree", st.dir_fd, "root", 0), 0);
	assert_ok(store_tree_add(&st, NULL, id, &e), &e);
}

/* A built set, exported, the store emptied of it, and imported again: same modules, found the same way. */
static void imports_what_was_exported(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *key = NULL, *cert = NULL, *name = NULL, *path = NULL;
	struct modset_want want = { .driver = "535.1.2", .flavour = "proprietary", .release = FAKE_RELEASE };
	_cleanup_(cert_freep) struct cert *c = NULL;
	json_auto_t *record = NULL;
	char tree[65], imported[65], again[65], found[65];
	struct modbuild_result r;
	bool hit;

	bed_make(&b);
	put_tree(&b, tree);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	make_keys(&b, &key, &cert);
	struct modset_signing how = {
		.key_path = key, .cert_path = cert, .hash = "sha512", .passphrase_fd = -1
	};
	assert_ok(modset_export(b.store, r.key, b.tree_fd, &how, b.t.fd, &name, &e), &e);
	assert_ok(store_remove(b.store, STORE_MODULE, r.key, &e), &e);
	struct modset_import q = {
		.dirfd = b.t.fd, .path = name, .tree_id = tree, .patch_digest = b.patches.digest
	};

	assert_ok(modset_import(b.store, &q, imported, &hit, &e), &e);
	assert_false(hit);
	assert_ok(modset_import(b.store, &q, again, &hit, &e), &e);
	assert_true(hit);
	assert_string_equal(imported, again);
	want.banner = b.k->banner;
	want.vermagic = b.k->vermagic;
	want.patch_digest = b.patches.digest;
	want.arch = b.k->arch;
	assert_ok(modset_find(b.store, &want, found, &record, &e), &e);
	assert_string_equal(found, imported);
	assert_ok(modset_verify(b.store, imported, NULL, &e), &e);
	assert_int_equal(json_array_size(json_object_get(record, "modules")), 2);
	assert_string_equal(json_string_value(json_object_get(json_object_get(record, "origin"), "file")),
			    name);
	/* uvm was packed unsigned, so the set is not a signed one although nvidia kept its signature */
	assert_false(json_is_true(json_object_get(record, "signed")));
	assert_ok(cert_load(cert, &c, &e), &e);
	path = str_printf("store/modules/%s/nvidia.ko", imported);
	assert_ok(modsig_verify_at(b.t.fd, path, c, NULL, &e), &e);
	q.cert_path = cert;
	assert_true(modset_import(b.store, &q, again, &hit, &e) < 0);
	assert_slug(&e, "module-not-signed");
}

/* Everything signed: the certificate is what the set is looked up by. */
static void imports_signed_modules(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *key = NULL, *cert = NULL, *name = NULL;
	struct modset_want want = { .driver = "535.1.2", .flavour = "proprietary", .release = FAKE_RELEASE };
	char tree[65], imported[65], found[65], signed_key[65], fingerprint[65];
	json_auto_t *record = NULL;
	struct modbuild_result r;
	bool hit;

	bed_make(&b);
	put_tree(&b, tree);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	make_keys(&b, &key, &cert);
	struct modset_signing how = {
		.key_path = key, .cert_path = cert, .hash = "sha512", .passphrase_fd = -1
	};
	assert_ok(modset_sign(b.store, r.key, &how, signed_key, &hit, &e), &e);
	assert_ok(modset_export(b.store, signed_key, b.tree_fd, &how, b.t.fd, &name, &e), &e);
	assert_ok(store_remove(b.store, STORE_MODULE, signed_key, &e), &e);
	struct modset_import q = { .dirfd = b.t.fd, .path = name, .tree_id = tree, .cert_path = cert };

	assert_ok(modset_import(b.store, &q, imported, &hit, &e), &e);
	assert_ok(modset_cert_fingerprint(cert, fingerprint, &e), &e);
	want.certificate = fingerprint;
	want.hash = "sha512";
	assert_ok(modset_find(b.store, &want, found, &record, &e), &e);
	assert_string_equal(found, imported);
	assert_true(json_is_true(json_object_get(record, "signed")));
}

/* What does not belong together is refused, and nothing is left of it. */
static void refuses_to_import(void **state _unused_)
{
	static const struct {
		const char *what, *slug;
	} rows[] = { { "damaged", "precompiled-crc-mismatch" },	 { "no tree", "module-source-missing" },
		     { "other core", "link-crc-mismatch" },	 { "other version", "precompiled-no-match" },
		     { "other kernel", "precompiled-no-match" }, { "no module", "precompiled-incomplete" } };
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *key = NULL, *cert = NULL, *name = NULL, *bytes = NULL, *before = NULL;
	char tree[65], other[65], imported[65];
	char *missing[] = { (char *)"nvidia-drm", NULL };
	struct modbuild_result r;
	size_t len;
	bool hit;

	bed_make(&b);
	put_tree(&b, tree);
	assert_ok(build(&b, "proprietary", &r, &e), &e);
	make_keys(&b, &key, &cert);
	struct modset_signing how = {
		.key_path = key, .cert_path = cert, .hash = "sha512", .passphrase_fd = -1
	};
	assert_ok(modset_export(b.store, r.key, b.tree_fd, &how, b.t.fd, &name, &e), &e);
	assert_ok(store_remove(b.store, STORE_MODULE, r.key, &e), &e);
	bytes = testdir_read(&b.t, name, &len);
	core_object(&b, "kernel", "int nv_core(int x) { return x + 2; }\n");
	put_tree(&b, other);
	before = snapshot_modules(&b);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *copy = malloc(len), *after = NULL;
		struct modset_import q = { .dirfd = b.t.fd,
					   .path = "package",
					   .tree_id = i == 2 ? other : tree };
		char *at;

		memcpy(copy, bytes, len);
		if (i == 0 && (at = memmem(copy, len, "vermagic=", 9)))
			at[0] ^= 1;
		if (i == 1)
			q.tree_id = NULL;
		if (i == 3)
			copy[16] = '6'; /* 635.1.2 */
		if (i == 4 && (at = memmem(copy, len, "Linux version 6.1.0", 19)))
			at[14] = '5';
		if (i == 5)
			q.modules = missing;
		testdir_write(&b.t, "package", copy, len, 0644);
		if (modset_import(b.store, &q, imported, &hit, &e) >= 0)
			fail_msg("%s was imported", rows[i].what);
		assert_slug(&e, rows[i].slug);
		after = snapshot_modules(&b);
		assert_string_equal(before, after);
		err_done(&e);
	}
	{
		/* The person may decide to go without the signature. */
		struct modset_import q = {
			.dirfd = b.t.fd, .path = name, .tree_id = other, .allow_unsigned = true
		};

		assert_ok(modset_import(b.store, &q, imported, &hit, &e), &e);
	}
}

static void summaries(void **state _unused_)
{
	static const struct {
		const char *log;
		int kind;
		const char *want;
	} rows[] = {
		{ "CC x\n/s/tmp/.nvdriver-1/" MODBUILD_DIR
		  "/nvidia/nv-pci.c:223:9: error: too few arguments to function 'f'\n"
		  "make[2]: *** [Makefile:1: x] Error 1\n",
		  ERR_MODULE_COMPILE, "nvidia/nv-pci.c:223:9: error: too few arguments to function 'f'" },
		{ "a.c:1: error: x\nconftest/functions.h:1:2: error: #error f() conftest failed!\n",
		  ERR_MODULE_PROBE, "conftest/functions.h:1:2: error: #error f() conftest failed!" },
		{ "make: *** No rule to make target 'modules'.  Stop.\n", ERR_MODULE_BUILD,
		  "make: *** No rule to make target 'modules'.  Stop." },
		{ "ERROR: modpost: \"foo\" undefined!\n", ERR_MODULE_BUILD,
		  "ERROR: modpost: \"foo\" undefined!" },
		{ "tools/objtool: error while loading shared libraries: libelf.so.1: cannot open\n"
		  "make[3]: *** [Makefile.build:255: a.o] Error 127\n",
		  ERR_MODULE_BUILD_TOOL,
		  "tools/objtool: error while loading shared libraries: libelf.so.1: cannot open" },
		{ "sh: 1: pahole: not found\nmake: *** [x] Error 127\n", ERR_MODULE_BUILD_TOOL,
		  "sh: 1: pahole: not found" },
		{ "gcc -Werror=implicit-int -c x.c\n", 0, "make reported no error text" },
		{ "", 0, "make reported no error text" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = NULL;
		int kind = -1;

		assert_int_equal(buildlog_summary(rows[i].log, strlen(rows[i].log), &kind, &got), 0);
		assert_int_equal(kind, rows[i].kind);
		assert_string_equal(got, rows[i].want);
	}
}

static void jobs_are_bounded(void **state _unused_)
{
	assert_int_equal(modbuild_jobs(8, UINT64_MAX), 8);
	assert_int_equal(modbuild_jobs(8, (uint64_t)700 << 20), 2);
	assert_int_equal(modbuild_jobs(8, 0), 1);
	assert_int_equal(modbuild_jobs(0, UINT64_MAX), 1);
	assert_int_equal(modbuild_jobs(100000, UINT64_MAX), 256);
}

static void compilers_are_asked_once(void **state _unused_)
{
	_cleanup_(bed_done) struct bed b;
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct toolchain t = TOOLCHAIN_INIT;
	uint64_t children;

	bed_make(&b);
	children = spawn_count();
	assert_ok(toolchain_choose(b.k, NULL, b.store, &t, &e), &e);
	assert_int_equal(spawn_count(), children);
	assert_string_equal(t.cc_version, b.tools.cc_version);
	assert_false(t.cc_matches); /* the fixture's kernel was built by gcc 1.2.3 */
	assert_non_null(strstr(t.note, "1.2.3"));
	toolchain_done(&t);
	assert_true(toolchain_choose(b.k, "no-such-compiler", b.store, &t, &e) < 0);
	assert_slug(&e, "tool-missing");
}

TEST_MAIN(cmocka_unit_test(builds_once), cmocka_unit_test(second_flavour_asks_nothing),
	  cmocka_unit_test(changed_probes_are_asked_again), cmocka_unit_test(key_holds_what_changes_code),
	  cmocka_unit_test(failures_are_told_apart), cmocka_unit_test(failed_probes_are_not_kept),
	  cmocka_unit_test(killed_build_leaves_nothing), cmocka_unit_test(wrong_inputs_are_refused),
	  cmocka_unit_test(signing_compiles_nothing), cmocka_unit_test(signatures_made_elsewhere),
	  cmocka_unit_test(verification_reads_everything), cmocka_unit_test(exports_a_vendor_package),
	  cmocka_unit_test(imports_what_was_exported), cmocka_unit_test(imports_signed_modules),
	  cmocka_unit_test(refuses_to_import), cmocka_unit_test(summaries),
	  cmocka_unit_test(jobs_are_bounded), cmocka_unit_test(compilers_are_asked_once))
