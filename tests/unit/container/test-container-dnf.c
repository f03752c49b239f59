/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "container-dnf.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-container.h"

static void reads_the_list_of_repositories(void **state _unused_)
{
	static const char text[] =
	    "Updating Subscription Management repositories.\n"
	    "repo id                              repo name                     status\n"
	    "appstream                            Rocky Linux 9 - AppStream     enabled\n"
	    "rhel-9-for-x86_64-baseos-eus-rpms    Red Hat BaseOS EUS (RPMs)     disabled\n"
	    "\n"
	    "plain                                                              enabled\n";
	struct dnf_repositories r = { 0 };

	assert_int_equal(dnf_parse_repositories(text, strlen(text), &r), 0);
	assert_int_equal(r.n, 3);
	assert_string_equal(r.v[0].id, "appstream");
	assert_true(r.v[0].is_enabled);
	assert_string_equal(r.v[1].id, "rhel-9-for-x86_64-baseos-eus-rpms");
	assert_false(r.v[1].is_enabled);
	assert_string_equal(r.v[2].id, "plain");
	dnf_repositories_done(&r);
}

static void reads_packages(void **state _unused_)
{
	static const char text[] = "\nkernel-devel 5.14.0 284.11.1.el9_2 x86_64 base\n"
				   "Last metadata expiration check: 0:00:01 ago on Tue.\n"
				   "kernel-devel 5.14.0 427.13.1.el9_4 x86_64 base";
	struct dnf_packages p = { 0 };
	_cleanup_free_ char *nevra = NULL;

	assert_int_equal(dnf_parse_packages(text, strlen(text), &p), 0);
	assert_int_equal(p.n, 2);
	nevra = dnf_package_nevra(&p.v[1]);
	assert_string_equal(nevra, "kernel-devel-5.14.0-427.13.1.el9_4.x86_64");
	assert_string_equal(p.v[0].repository, "base");
	dnf_packages_done(&p);
}

static void names_the_nearest_versions(void **state _unused_)
{
	static const char *const all[] = { "5.14.0-427.13.1.el9_4", "5.14.0-70.13.1.el9_0",
					   "5.14.0-284.30.1.el9_2", "5.14.0-284.11.1.el9_2",
					   "5.14.0-503.11.1.el9_5", "5.14.0-284.30.1.el9_2",
					   "5.14.0-570.12.1.el9_6", NULL };
	static const struct {
		const char *wanted, *first, *last;
		size_t n;
	} rows[] = {
		{ "5.14.0-300.el9", "5.14.0-284.11.1.el9_2", "5.14.0-503.11.1.el9_5", 4 },
		{ "5.14.0-1.el9", "5.14.0-70.13.1.el9_0", "5.14.0-284.11.1.el9_2", 2 },
		{ "6.12.0-1.el10", "5.14.0-503.11.1.el9_5", "5.14.0-570.12.1.el9_6", 2 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_strv_ char **v = NULL;

		assert_int_equal(dnf_nearest((char *const *)all, rows[i].wanted, &v), 0);
		assert_int_equal(strv_len(v), rows[i].n);
		assert_string_equal(v[0], rows[i].first);
		assert_string_equal(v[rows[i].n - 1], rows[i].last);
	}
}

static void reads_what_was_removed(void **state _unused_)
{
	static const char text[] =
	    "Running transaction\n  Removing  : old-1-1.x86_64\n\nUpgraded:\n  a-2-1.x86_64\n"
	    "Removed:\n  old-1-1.x86_64   older-1-1.noarch\n  last-3-1.x86_64\n\n"
	    "Complete!\n  not-this\n";
	_cleanup_strv_ char **v = NULL;

	assert_int_equal(dnf_parse_removed(text, strlen(text), &v), 0);
	assert_int_equal(strv_len(v), 3);
	assert_string_equal(v[1], "older-1-1.noarch");
	assert_string_equal(v[2], "last-3-1.x86_64");
}

static void reads_settings_and_complaints(void **state _unused_)
{
	static const char dump[] =
	    "[base]\nbaseurl = http://x/?a=b\ngpgcheck = 1\ngpgkey = file:///k1, file:///k2\n";
	static const struct {
		const char *tail, *want;
	} rows[] = {
		{ "x\nError: Failed to download metadata for repo 'dead': no route\n\n",
		  "Failed to download metadata for repo 'dead': no route" },
		{ "No such command: download. Please use /usr/bin/dnf --help\nIt could be a plugin\n",
		  "It could be a plugin" },
		{ "", "it says nothing" },
		{ NULL, "it says nothing" },
	};
	_cleanup_free_ char *check = NULL, *keys = NULL, *url = NULL;

	assert_int_equal(dnf_setting(dump, strlen(dump), "gpgcheck", &check), 0);
	assert_string_equal(check, "1");
	assert_int_equal(dnf_setting(dump, strlen(dump), "gpgkey", &keys), 0);
	assert_string_equal(keys, "file:///k1, file:///k2");
	assert_int_equal(dnf_setting(dump, strlen(dump), "baseurl", &url), 0);
	assert_string_equal(url, "http://x/?a=b");
	assert_int_equal(dnf_setting(dump, strlen(dump), "gpg", &url), -ENOENT);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = dnf_complaint(rows[i].tail);

		assert_string_equal(got, rows[i].want);
	}
}

/* -- the calls, answered by a table -- */

struct call {
	const char *part; /* of the joined command line */
	int status;
	const char *out, *tail;
};
struct script {
	const struct call *calls; /* the first that fits answers; calls[n].part NULL ends the table */
	struct strbuf log;
};

static int answer(struct spawn *s, void *arg)
{
	struct script *script = arg;
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(8192);

	for (char **a = s->argv; *a; a++)
		(void)strbuf_printf(&line, "%s%s", line.len ? " " : "", *a);
	(void)strbuf_printf(&script->log, "%s\n", strbuf_str(&line));
	for (const struct call *c = script->calls; c->part; c++) {
		if (!strstr(strbuf_str(&line), c->part))
			continue;
		s->status = c->status;
		s->out = strdup(c->out ? c->out : "");
		s->out_len = strlen(s->out);
		s->tail = strdup(c->tail ? c->tail : "");
		return 0;
	}
	fail_msg("not expected: %s", strbuf_str(&line));
	return -EINVAL;
}

struct bed {
	struct testdir t;
	struct host *host;
	struct script script;
	struct rhel_version rhel;
	struct dnf *dnf;
	struct err e;
};

static int bed_make(struct bed *b, const struct call *calls, const char *releasever)
{
	struct rhel_facts f = { .release = "5.14.0-284.11.1.el9_2.x86_64" };
	struct dnf_setup setup = { .arch = "x86_64", .releasever = releasever, .log_fd = -EBADF };

	*b = (struct bed){ .script = { .calls = calls, .log = STRBUF_INIT(65536) } };
	testdir_make(&b->t);
	testdir_write(&b->t, "usr/bin/dnf", "", 0, 0755);
	assert_ok(host_open(b->t.path, &b->host, &b->e), &b->e);
	rhel_version_resolve(&f, &b->rhel);
	setup.host = b->host;
	setup.rhel = &b->rhel;
	setup.work_dir = b->t.path;
	spawn_set_hook(answer, &b->script);
	return dnf_open(&setup, &b->dnf, &b->e);
}

static void bed_done(struct bed *b)
{
	spawn_set_hook(NULL, NULL);
	dnf_freep(&b->dnf);
	host_freep(&b->host);
	strbuf_done(&b->script.log);
	err_done(&b->e);
	testdir_done(&b->t);
}

static unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

#define REPOLIST "repo id name status\nbase b enabled\ndead d enabled\noff o disabled\n"

/* A dead repository is asked once for each release version, named, and left out of what follows. */
static void leaves_dead_repositories_out(void **state _unused_)
{
	static const struct call calls[] = {
		{ "repolist", 0, REPOLIST, NULL },
		{ "--enablerepo=dead --setopt=dead.skip_if_unavailable=False makecache", 1, NULL,
		  "Error: Failed to download metadata for repo 'dead'\n" },
		{ "makecache", 0, NULL, NULL },
		{ "repoquery", 0, "kernel-devel 5.14.0 284.11.1.el9_2 x86_64 base\n", NULL },
		{ NULL },
	};
	_cleanup_(dnf_package_done) struct dnf_package p = { 0 };
	struct bed b;

	assert_int_equal(bed_make(&b, calls, NULL), 0);
	assert_ok(dnf_find_devel(b.dnf, "5.14.0-284.11.1.el9_2.x86_64", &p, &b.e), &b.e);
	assert_string_equal(p.repository, "base");
	assert_int_equal(count(b.script.log.buf, "--enablerepo=dead"), 1);
	assert_int_equal(count(b.script.log.buf, "--enablerepo=off"), 0);
	assert_int_equal(count(b.script.log.buf, "--releasever=9.2"), 4);
	/* D16: every call's cache is where it goes away by itself. */
	assert_int_equal(count(b.script.log.buf, "--setopt=cachedir=/"), count(b.script.log.buf, " -y "));
	bed_done(&b);
}

/* Nothing anywhere: everything somebody needs to mend it stands in the one message. */
static void says_all_when_nothing_is_found(void **state _unused_)
{
	static const struct call calls[] = {
		{ "repolist", 0, REPOLIST, NULL },
		{ "--enablerepo=dead", 1, NULL, "Error: no route\n" },
		{ "makecache", 0, NULL, NULL },
		{ "--whatprovides", 0, "", NULL },
		{ "repoquery", 0,
		  "kernel-devel 5.14.0 70.1.1.el9_0 x86_64 base\nkernel-devel 5.14.0 427.13.1.el9_4 x86_64 "
		  "base\n"
		  "kernel-devel 5.14.0 284.11.1.el9_2 aarch64 base\n",
		  NULL },
		{ NULL },
	};
	_cleanup_(dnf_package_done) struct dnf_package p = { 0 };
	struct bed b;

	assert_int_equal(bed_make(&b, calls, "9.1"), 0);
	assert_int_equal(dnf_find_devel(b.dnf, "5.14.0-284.11.1.el9_2.x86_64", &p, &b.e),
			 -ERR_PACKAGE_NOT_FOUND);
	assert_string_equal(
	    b.e.reason,
	    "kernel-devel-5.14.0-284.11.1.el9_2.x86_64 is in no repository; asked: base; left out: "
	    "dead (its metadata: no route); release versions tried: 9.1, 9.2, 9; nearest versions: "
	    "5.14.0-70.1.1.el9_0, 5.14.0-427.13.1.el9_4");
	assert_null(p.name);
	bed_done(&b);
}

static void lists_kernels_of_the_variant(void **state _unused_)
{
	static const struct call calls[] = {
		{ "repolist", 0, REPOLIST, NULL },
		{ "makecache", 0, NULL, NULL },
		{ "kernel-64k-devel", 0,
		  "kernel-64k-devel 5.14.0 284.11.1.el9_2 aarch64 base\n"
		  "kernel-64k-devel 5.14.0 427.13.1.el9_4 aarch64 base\n"
		  "kernel-64k-devel 5.14.0 70.1.1.el9_0 aarch64 dead\n",
		  NULL },
		{ NULL },
	};
	_cleanup_strv_ char **v = NULL;
	struct bed b;

	assert_int_equal(bed_make(&b, calls, NULL), 0);
	assert_ok(dnf_list_kernels(b.dnf, "5.14.0-284.11.1.el9_2.aarch64+64k", &v, &b.e), &b.e);
	assert_int_equal(strv_len(v), 3);
	assert_string_equal(v[0], "5.14.0-427.13.1.el9_4.aarch64+64k");
	assert_string_equal(v[2], "5.14.0-70.1.1.el9_0.aarch64+64k");
	bed_done(&b);
}

/* Separate transactions; erasing is the last thing tried. */
static void installs_with_growing_rights(void **state _unused_)
{
	static const struct call calls[] = {
		{ "repolist", 0, REPOLIST, NULL },
		{ "makecache", 0, NULL, NULL },
		{ "--allowerasing b", 0, "Removed:\n  old-1-1.x86_64\n", NULL },
		{ "install b", 1, NULL, "Error: conflict\n" },
		{ "--nobest b", 1, NULL, "Error: conflict\n" },
		{ "install a", 0, NULL, NULL },
		{ NULL },
	};
	static const char *const specs[] = { "a", "b", NULL };
	struct bed b;

	assert_int_equal(bed_make(&b, calls, NULL), 0);
	assert_ok(dnf_install(b.dnf, specs, &b.e), &b.e);
	assert_int_equal(count(b.script.log.buf, " install "), 4);
	assert_int_equal(count(b.script.log.buf, "--allowerasing"), 1);
	assert_null(strstr(b.script.log.buf, "a b"));
	bed_done(&b);
}

/* The operator's certificates, newer than the trust store, are handed to the program together with it. */
static void trusts_mounted_certificates(void **state _unused_)
{
	static const struct call calls[] = { { "repolist", 0, REPOLIST, NULL }, { NULL } };
	_cleanup_free_ char *both = NULL;
	_cleanup_(dnf_freep) struct dnf *again = NULL;
	struct dnf_setup setup = { .arch = "x86_64", .log_fd = -EBADF };
	struct bed b;

	assert_int_equal(bed_make(&b, calls, NULL), 0);
	assert_null(strstr(b.script.log.buf, "sslcacert"));
	testdir_puts(&b.t, "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "store\n");
	assert_int_equal(futimens(openat(b.t.fd, "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", O_RDWR),
				  (struct timespec[2]){ { 1000, 0 }, { 1000, 0 } }),
			 0);
	testdir_puts(&b.t, "etc/pki/ca-trust/extracted/pem/site.pem", "site\n");
	setup.host = b.host;
	setup.rhel = &b.rhel;
	setup.work_dir = b.t.path;
	assert_ok(dnf_open(&setup, &again, &b.e), &b.e);
	assert_non_null(strstr(b.script.log.buf, "--setopt=sslcacert="));
	both = testdir_read(&b.t, "ca.pem", NULL);
	assert_string_equal(both, "site\n\nstore\n");
	bed_done(&b);
}

static void needs_a_package_manager(void **state _unused_)
{
	struct dnf *d = NULL;
	struct dnf_setup setup = { .log_fd = -EBADF };
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	assert_ok(host_open(t.path, &h, &e), &e);
	setup.host = h;
	assert_int_equal(dnf_open(&setup, &d, &e), -ERR_TOOL_MISSING);
	assert_null(d);
}

TEST_MAIN(cmocka_unit_test(reads_the_list_of_repositories), cmocka_unit_test(reads_packages),
	  cmocka_unit_test(names_the_nearest_versions), cmocka_unit_test(reads_what_was_removed),
	  cmocka_unit_test(reads_settings_and_complaints), cmocka_unit_test(leaves_dead_repositories_out),
	  cmocka_unit_test(says_all_when_nothing_is_found), cmocka_unit_test(lists_kernels_of_the_variant),
	  cmocka_unit_test(installs_with_growing_rights), cmocka_unit_test(trusts_mounted_certificates),
	  cmocka_unit_test(needs_a_package_manager))
