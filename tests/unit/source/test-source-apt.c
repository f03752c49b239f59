/* SPDX-License-Identifier: Apache-2.0
 *
 * A signed repository made here and read by the machine's own apt, with a configuration of our own. */
#include "toolbox.h"

#include "apt.h"

#include <stdio.h>

struct bed {
	struct testdir d;
	struct store *store;
	struct source s;
	struct source_options o;
	struct source_result r;
	struct err e;
	char etc[300];
	int out;
};

static bool can_run(void)
{
	return tools_present(
	    (const char *const[]){ "apt-get", "apt-ftparchive", "dpkg-deb", "gpg", "xz", NULL });
}

/* A binary package of these files (pairs of path and content) in the pool of a component. */
static void make_deb(struct bed *b, const char *pool, const char *name, const char *fields,
		     const char *const *files)
{
	char path[256], control[1024], deb[256];

	for (; *files; files += 2) {
		snprintf(path, sizeof(path), "build/%s/%s", name, files[0]);
		testdir_puts(&b->d, path, files[1]);
	}
	snprintf(control, sizeof(control), "Package: %s\nMaintainer: t <t@example.org>\nDescription: d\n%s",
		 name, fields);
	snprintf(path, sizeof(path), "build/%s/DEBIAN/control", name);
	testdir_puts(&b->d, path, control);
	snprintf(deb, sizeof(deb), "repo/pool/%s/%s.deb", pool, name);
	testdir_puts(&b->d, deb, "");
	snprintf(path, sizeof(path), "build/%s", name);
	TOOL(&b->d, ".", NULL, "dpkg-deb", "--root-owner-group", "-Zxz", "-b", path, deb);
}
#define FILES(...)                                                                                           \
	(const char *const[])                                                                                \
	{                                                                                                    \
		__VA_ARGS__, NULL                                                                            \
	}

#define DRIVER "Source: nvidia-graphics-drivers\nVersion: 535.1.2-1\nArchitecture: amd64\n"
#define KERNEL "Source: linux\nVersion: 9.9.9-1\nArchitecture: amd64\n"

static void make_packages(struct bed *b)
{
	make_deb(b, "non-free", "nvidia-kernel-dkms", DRIVER,
		 FILES("usr/src/nvidia-current-535.1.2/Kbuild",
		       "ccflags-y += -DNV_VERSION_STRING=\\\"535.1.2\\\"\n",
		       "usr/src/nvidia-current-535.1.2/nvidia/nvidia.Kbuild", "x"));
	make_deb(b, "non-free", "libcuda1", DRIVER,
		 FILES("usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.535.1.2", "elf"));
	make_deb(b, "main", "linux-headers-test", KERNEL "Depends: linux-headers-9.9.9-1-test (= 9.9.9-1)\n",
		 FILES("usr/share/doc/a/b", "x"));
	make_deb(b, "main", "linux-headers-9.9.9-1-test",
		 KERNEL "Depends: linux-headers-9.9.9-1-common (= 9.9.9-1)\n",
		 FILES("usr/src/linux-headers-9.9.9-1-test/Makefile",
		       "include /usr/src/linux-headers-9.9.9-1-common/Makefile\n",
		       "usr/src/linux-headers-9.9.9-1-test/Module.symvers", "symbols"));
	make_deb(b, "main", "linux-headers-9.9.9-1-common", KERNEL,
		 FILES("usr/src/linux-headers-9.9.9-1-common/Makefile", "all:\n"));
}

static void sign_release(struct bed *b)
{
	char home[300];

	snprintf(home, sizeof(home), "%s/gpg", b->d.path);
	TOOL(&b->d, "repo", "repo/dists/t/Release", "apt-ftparchive", "-o",
	     "APT::FTPArchive::Release::Origin=Test", "-o", "APT::FTPArchive::Release::Suite=t", "-o",
	     "APT::FTPArchive::Release::Codename=t", "-o", "APT::FTPArchive::Release::Architectures=amd64",
	     "-o", "APT::FTPArchive::Release::Components=main non-free", "release", "dists/t");
	TOOL(&b->d, ".", NULL, "gpg", "--homedir", home, "--batch", "--yes", "--clearsign", "-o",
	     "repo/dists/t/InRelease", "repo/dists/t/Release");
}

static void index_component(struct bed *b, const char *component)
{
	char path[256], pool[64];

	snprintf(path, sizeof(path), "repo/dists/t/%s/binary-amd64/Packages", component);
	snprintf(pool, sizeof(pool), "pool/%s", component);
	testdir_puts(&b->d, path, "");
	TOOL(&b->d, "repo", path, "apt-ftparchive", "packages", pool);
}

static void make_key(struct bed *b)
{
	char home[300];

	assert_int_equal(mkdirat(b->d.fd, "gpg", 0700), 0);
	snprintf(home, sizeof(home), "%s/gpg", b->d.path);
	TOOL(&b->d, ".", NULL, "gpg", "--homedir", home, "--batch", "--pinentry-mode", "loopback",
	     "--passphrase", "", "--quick-gen-key", "test@example.org", "rsa2048", "sign", "never");
	TOOL(&b->d, ".", NULL, "gpg", "--homedir", home, "--batch", "-o", "key.gpg", "--export");
}

static void bed_up(struct bed *b)
{
	char text[1024];

	memset(b, 0, sizeof(*b));
	b->s = (struct source)SOURCE_INIT;
	testdir_make(&b->d);
	make_packages(b);
	make_key(b);
	index_component(b, "main");
	index_component(b, "non-free");
	sign_release(b);
	snprintf(text, sizeof(text), "deb [signed-by=%s/key.gpg] file:%s/repo t main non-free\n", b->d.path,
		 b->d.path);
	testdir_puts(&b->d, "etc/sources.list", text);
	snprintf(b->etc, sizeof(b->etc), "%s/etc", b->d.path);
	snprintf(text, sizeof(text), "%s/store", b->d.path);
	assert_ok(store_open(text, true, &b->store, &b->e), &b->e);
	b->o = (struct source_options){ .store = b->store, .arch = "x86_64", .apt_etc = b->etc };
	assert_int_equal(mkdirat(b->d.fd, "out", 0755), 0);
	b->out = openat(b->d.fd, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void bed_down(struct bed *b)
{
	char home[300];

	snprintf(home, sizeof(home), "%s/gpg", b->d.path);
	TOOL(&b->d, ".", NULL, "gpgconf", "--homedir", home, "--kill", "all");
	source_done(&b->s);
	source_result_done(&b->r);
	err_done(&b->e);
	store_freep(&b->store);
	close(b->out);
	testdir_done(&b->d);
}

static int stage(struct bed *b)
{
	char word[] = "apt:535.1.2";
	char *words[] = { word };

	source_done(&b->s);
	b->s = (struct source)SOURCE_INIT;
	source_result_done(&b->r);
	b->r = (struct source_result){ 0 };
	assert_ok(source_parse(words, 1, &b->s, &b->e), &b->e);
	return source_stage(&b->s, &b->o, b->out, &b->r, &b->e);
}

static void test_driver(void **state)
{
	json_t *rows = json_array();
	uint64_t children;
	struct bed b;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	assert_ok(stage(&b), &b.e);
	assert_string_equal(b.r.version, "535.1.2");
	assert_int_equal(b.r.trust, FETCH_PUBLISHED);
	assert_int_equal(json_array_size(b.r.packages), 2);
	assert_true(testdir_has(&b.d, "out/libcuda.so.535.1.2"));
	assert_true(testdir_has(&b.d, "out/kernel/Kbuild"));
	/* Again without the network: index and packages are there. */
	b.o.offline = true;
	children = spawn_count();
	assert_ok(source_fetch(&b.s, &b.o, rows, &b.e), &b.e);
	assert_true(spawn_count() > children);
	assert_int_equal(json_array_size(rows), 2);
	for (size_t i = 0; i < 2; i++) {
		const json_t *row = json_array_get(rows, i);

		assert_string_equal(json_string_value(json_object_get(row, "action")), "present");
		assert_string_equal(json_string_value(json_object_get(row, "trust")), "published");
	}
	json_decref(rows);
	bed_down(&b);
}

static size_t collectable(struct bed *b)
{
	struct store_gc_result res = { 0 };
	json_t *list = NULL;

	assert_ok(store_gc(b->store, true, &list, &res, &b->e), &b->e);
	json_decref(list);
	return (size_t)res.objects;
}

/* Packages are kept by the record of the tree made from them, or, when asked for by themselves, by name. */
static void test_what_keeps_packages(void **state)
{
	struct store_stage st = STORE_STAGE_INIT;
	json_t *meta, *rows = json_array();
	struct bed b;
	char id[65];

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	assert_ok(store_stage_begin(b.store, &st, &b.e), &b.e);
	close(b.out);
	assert_int_equal(mkdirat(st.dir_fd, "root", 0755), 0);
	b.out = openat(st.dir_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_ok(stage(&b), &b.e);
	assert_int_equal(collectable(&b), 2);
	meta = json_pack("{s:O}", "packages", b.r.packages);
	assert_ok(store_tree_add(&st, meta, id, &b.e), &b.e);
	json_decref(meta);
	assert_int_equal(collectable(&b), 3);
	assert_ok(store_ref_set(b.store, "driver/535.1.2-x86_64", STORE_TREE, id, &b.e), &b.e);
	assert_int_equal(collectable(&b), 0);
	assert_ok(store_ref_remove(b.store, "driver/535.1.2-x86_64", &b.e), &b.e);
	assert_int_equal(collectable(&b), 3);
	assert_ok(source_fetch(&b.s, &b.o, rows, &b.e), &b.e);
	assert_int_equal(collectable(&b), 1);
	json_decref(rows);
	bed_down(&b);
}

/* -- repositories of the machine -- */

#define DEBIAN_KEYRING "/usr/share/keyrings/debian-archive-keyring.gpg"
#define DEBIAN_LINE    "bookworm|http://deb.debian.org/debian/|"
#define FOREIGN_LINE   "bookworm|https://download.docker.com/linux/debian/|"

/* What apt says about a machine; questions to our own configuration are answered with what was accepted. */
struct machine {
	const char *known, *unknown; /* answers with and without release information */
	unsigned updates, failing;
};

static bool has_word(char *const *words, const char *what)
{
	for (; words && *words; words++)
		if (strncmp(*words, what, strlen(what)) == 0)
			return true;
	return false;
}

static int answer(struct spawn *s, void *arg)
{
	struct machine *m = arg;
	const char *text = "";

	s->status = 0;
	if (has_word(s->argv, "update"))
		s->status = ++m->updates <= m->failing ? 100 : 0;
	else if (has_word(s->argv, "indextargets") && has_word(s->env, "APT_CONFIG="))
		text = DEBIAN_LINE "Debian\n";
	else if (has_word(s->argv, "indextargets"))
		text = has_word(s->argv, "--no-release-info") ? m->unknown : m->known;
	s->out = strdup(text);
	s->out_len = strlen(text);
	return s->out ? 0 : -ENOMEM;
}

static char *sources_of(struct machine *m, unsigned want_updates)
{
	struct source_options o = SOURCE_OPTIONS_INIT;
	struct depot depot = DEPOT_INIT;
	struct store *store = NULL;
	struct apt *apt = NULL;
	struct err e = ERR_INIT;
	struct testdir d;
	char path[300], *text;

	testdir_make(&d);
	snprintf(path, sizeof(path), "%s/store", d.path);
	assert_ok(store_open(path, true, &store, &e), &e);
	assert_ok(depot_open(store, &depot, &e), &e);
	spawn_set_hook(answer, m);
	assert_ok(apt_open(&depot, &o, &apt, &e), &e);
	spawn_set_hook(NULL, NULL);
	assert_int_equal(m->updates, want_updates);
	text = testdir_read(&d, "store/packages/.incoming/apt/sources.list", NULL);
	assert_non_null(text);
	apt_freep(&apt);
	depot_done(&depot);
	store_freep(&store);
	testdir_done(&d);
	return text;
}

static void test_foreign_repositories(void **state)
{
	/* Indexes are there: a repository without a name, or with another, is not the distribution's. */
	struct machine known = { DEBIAN_LINE "Debian\n" FOREIGN_LINE "Docker\n" FOREIGN_LINE "\n", "", 0, 0 };
	/* None is there yet: everything is tried, and only what the distribution's keyring accepts remains. */
	struct machine fresh = { "", DEBIAN_LINE "$(ORIGIN)\n" FOREIGN_LINE "$(ORIGIN)\n", 0, 1 };
	struct machine *machines[] = { &known, &fresh };

	(void)state;
	if (!can_run() || access(DEBIAN_KEYRING, R_OK) != 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
		_cleanup_free_ char *text = sources_of(machines[i], (unsigned)i + 1);

		assert_non_null(strstr(text, "http://deb.debian.org/debian/ bookworm main"));
		assert_null(strstr(text, "docker"));
	}
}

/* What is found again is trusted as it was when it came. */
static void test_trust_is_kept(void **state)
{
	static const char *const want[] = { "downloaded", "present" };
	char word[400], *words[] = { word };
	struct err e = ERR_INIT;
	struct source_options o = SOURCE_OPTIONS_INIT;
	struct source s = SOURCE_INIT;
	struct store *store = NULL;
	struct testdir d;
	char path[300];

	(void)state;
	testdir_make(&d);
	snprintf(path, sizeof(path), "%s/store", d.path);
	assert_ok(store_open(path, true, &store, &e), &e);
	o.store = store;
	testdir_puts(&d, "x.run", "#! /bin/sh\nexit 0\n");
	testdir_puts(&d, "x.run.sha256sum",
		     "a25e77caa0e16d25d7475cf5e9a161717d26a3935f2119c99550957168a8f6a7  x.run\n");
	snprintf(word, sizeof(word), "file://%s/x.run", d.path);
	assert_ok(source_parse(words, 1, &s, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		json_t *rows = json_array();
		const json_t *row;

		assert_ok(source_fetch(&s, &o, rows, &e), &e);
		row = json_array_get(rows, 0);
		assert_string_equal(json_string_value(json_object_get(row, "action")), want[i]);
		assert_string_equal(json_string_value(json_object_get(row, "trust")), "published");
		assert_string_equal(json_string_value(json_object_get(row, "url")), word);
		json_decref(rows);
	}
	source_done(&s);
	store_freep(&store);
	testdir_done(&d);
}

static void test_headers(void **state)
{
	char *release = NULL, *source = NULL, *build = NULL, *text;
	json_t *packages = NULL;
	struct bed b;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	assert_ok(source_kernel_headers("test", &b.o, b.out, &release, &source, &build, &packages, &b.e),
		  &b.e);
	assert_string_equal(release, "9.9.9-1-test");
	assert_string_equal(build, "usr/src/linux-headers-9.9.9-1-test");
	assert_string_equal(source, "usr/src/linux-headers-9.9.9-1-common");
	assert_int_equal(json_array_size(packages), 2);
	text = testdir_read(&b.d, "out/usr/src/linux-headers-9.9.9-1-test/Makefile", NULL);
	assert_non_null(text);
	assert_null(strstr(text, "include /usr"));
	free(text);
	free(release);
	free(source);
	free(build);
	json_decref(packages);
	bed_down(&b);
}

static void test_tampered_package(void **state)
{
	struct bed b;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	flip(&b.d, "repo/pool/non-free/libcuda1.deb", -2);
	assert_true(stage(&b) < 0);
	assert_int_equal(err_exit_status(b.e.code), 6);
	assert_false(testdir_has(&b.d, "out/.manifest"));
	assert_false(testdir_has(&b.d, "out/libcuda.so.535.1.2"));
	bed_down(&b);
}

/* The index changed after it was signed; then without any signature. */
static void test_unsigned_index(void **state)
{
	struct bed b;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	index_component(&b, "main");
	testdir_puts(&b.d, "repo/dists/t/non-free/binary-amd64/Packages", "Package: other\n");
	assert_true(stage(&b) < 0);
	assert_slug(&b.e, "fetch-failed");
	index_component(&b, "non-free");
	assert_int_equal(unlinkat(b.d.fd, "repo/dists/t/InRelease", 0), 0);
	assert_true(stage(&b) < 0);
	assert_slug(&b.e, "fetch-failed");
	assert_false(testdir_has(&b.d, "out/.manifest"));
	bed_down(&b);
}

/* Into a directory that is not there yet: nothing else appears in it, what is right stays, what is wrong is kept. */
static void test_to_directory(void **state)
{
	json_t *rows = json_array();
	char to[300], word[] = "apt:535.1.2", *words[] = { word };
	struct bed b;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	b.o.store = NULL;
	snprintf(to, sizeof(to), "%s/a/b/c", b.d.path);
	b.o.to_dir = to;
	assert_ok(source_parse(words, 1, &b.s, &b.e), &b.e);
	testdir_puts(&b.d, "a/b/c/foreign.deb", "the user's");
	testdir_puts(&b.d, "a/b/c/libcuda1_535.1.2-1_amd64.deb", "an older one");
	assert_ok(source_fetch(&b.s, &b.o, rows, &b.e), &b.e);
	assert_int_equal(json_array_size(rows), 2);
	assert_true(testdir_has(&b.d, "a/b/c/libcuda1_535.1.2-1_amd64.deb.bak.1"));
	assert_true(testdir_has(&b.d, "a/b/c/nvidia-kernel-dkms_535.1.2-1_amd64.deb"));
	assert_true(testdir_has(&b.d, "a/b/c/foreign.deb"));
	assert_false(testdir_has(&b.d, "a/b/c/.nvdriver-apt"));
	json_array_clear(rows);
	assert_ok(source_fetch(&b.s, &b.o, rows, &b.e), &b.e);
	assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "action")), "present");
	assert_false(testdir_has(&b.d, "a/b/c/libcuda1_535.1.2-1_amd64.deb.bak.2"));
	json_decref(rows);
	bed_down(&b);
}

TEST_MAIN(cmocka_unit_test(test_driver), cmocka_unit_test(test_what_keeps_packages),
	  cmocka_unit_test(test_foreign_repositories), cmocka_unit_test(test_trust_is_kept),
	  cmocka_unit_test(test_headers), cmocka_unit_test(test_tampered_package),
	  cmocka_unit_test(test_unsigned_index), cmocka_unit_test(test_to_directory))
