/* SPDX-License-Identifier: Apache-2.0
 *
 * Repository edits: exact bytes for each shape, and for all of them what the apt of this machine reads afterwards. */
#include "testlib.h"

#include "spawn.h"
#include "strbuf.h"
#include "vgpu-apt.h"

#define SOURCES "etc/apt/sources.list.d/"
#define KEY	"/usr/share/keyrings/proxmox-archive-keyring.gpg"
#define ENT9                                                                                                 \
	"Types: deb\nURIs: https://enterprise.proxmox.com/debian/pve\nSuites: trixie\nComponents: "          \
	"pve-enterprise\n"                                                                                   \
	"Signed-By: " KEY "\n"
#define FREE9                                                                                                \
	"Types: deb\nURIs: http://download.proxmox.com/debian/pve\nSuites: trixie\nComponents: "             \
	"pve-no-subscription\n"                                                                              \
	"Signed-By: " KEY "\n"
#define DEBIAN8 "deb http://ftp.debian.org/debian bookworm main contrib\n"
#define FREE8	"deb http://download.proxmox.com/debian/pve bookworm pve-no-subscription\n"
#define CEPH9	"Types: deb\nURIs: %s/debian/ceph-%s\nSuites: trixie\nComponents: %s\n"

struct file {
	const char *path, *text; /* text NULL = absent */
};

static const struct shape {
	const char *what, *codename;
	bool subscription, no_key;
	struct file before[5], after[7]; /* after: those that are not as before */
	unsigned free_pve, enterprise;
	const char *note; /* part of one; NULL = none */
} shapes[] = {
	{ "PVE 8 as installed, with ceph", "bookworm",
	  .before = { { "etc/apt/sources.list", DEBIAN8 },
		      { SOURCES "ceph.list",
			"deb https://enterprise.proxmox.com/debian/ceph-reef bookworm enterprise\n" },
		      { SOURCES "pve-enterprise.list",
			"deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n" } },
	  .after = { { SOURCES "ceph.list", NULL },
		     { SOURCES "ceph.list.bak",
		       "deb https://enterprise.proxmox.com/debian/ceph-reef bookworm enterprise\n" },
		     { SOURCES "ceph.list.disabled",
		       "# deb https://enterprise.proxmox.com/debian/ceph-reef bookworm enterprise\n" },
		     { SOURCES "pve-enterprise.list.disabled",
		       "# deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n" },
		     { SOURCES "pve-no-subscription.list", FREE8 },
		     { SOURCES "ceph-no-subscription.list",
		       "deb http://download.proxmox.com/debian/ceph-reef bookworm no-subscription\n" } },
	  .free_pve = 1 },
	{ "PVE 7, classic sources.list with everything in it", "bullseye",
	  .before = { { "etc/apt/sources.list",
			"# Debian\r\ndeb http://ftp.debian.org/debian bullseye main contrib\r\n\r\n"
			"  deb   [arch=amd64]   https://enterprise.proxmox.com/debian/pve bullseye "
			"pve-enterprise # paid\r\n"
			"#deb http://download.proxmox.com/debian/pve bullseye pve-no-subscription\r\n" } },
	  .after = { { "etc/apt/sources.list",
		       "# Debian\r\ndeb http://ftp.debian.org/debian bullseye main contrib\r\n\r\n"
		       "#   deb   [arch=amd64]   https://enterprise.proxmox.com/debian/pve bullseye "
		       "pve-enterprise # "
		       "paid\r\n"
		       "#deb http://download.proxmox.com/debian/pve bullseye pve-no-subscription\r\n" },
		     { SOURCES "pve-no-subscription.list",
		       "deb http://download.proxmox.com/debian/pve bullseye pve-no-subscription\n" },
		     { SOURCES "ceph-no-subscription.list", NULL } },
	  .free_pve = 1 },
	{ "PVE 9 as installed, blank tail", "trixie",
	  .before = { { SOURCES "pve-enterprise.sources", ENT9 "\n\n" } },
	  .after = { { SOURCES "pve-enterprise.sources", "Enabled: false\n" ENT9 "\n\n" },
		     { SOURCES "pve-enterprise.sources.bak", ENT9 "\n\n" },
		     { SOURCES "pve-no-subscription.sources", FREE9 } },
	  .free_pve = 1 },
	{ "several stanzas, comments, Enabled spelt twice", "trixie",
	  .before = { { SOURCES "proxmox.sources",
			"# ours\n" FREE9 "\n# theirs\nenabled: yes\n" ENT9 "ENABLED: 1\n\n# the end" } },
	  .after = { { SOURCES "proxmox.sources",
		       "# ours\n" FREE9 "\n# theirs\nenabled: false\n" ENT9 "ENABLED: false\n\n# the end" } },
	  .free_pve = 1 },
	{ "switched off already in another word", "trixie",
	  .before = { { SOURCES "pve-enterprise.sources", ENT9 "Enabled: without\n" },
		      { SOURCES "proxmox.sources", FREE9 } },
	  .free_pve = 1 },
	{ "the documented file is there and switched off", "trixie",
	  .before = { { SOURCES "proxmox.sources", ENT9 "\n" FREE9 "Enabled: no\n" } },
	  .after = { { SOURCES "proxmox.sources", "Enabled: false\n" ENT9 "\n" FREE9 "Enabled: true\n" },
		     { SOURCES "pve-no-subscription.sources", NULL } },
	  .free_pve = 1 },
	{ "the documented file is there and holds another component", "trixie",
	  .before = { { SOURCES "proxmox.sources",
			"Types: deb\nURIs: http://download.proxmox.com/debian/pve/\nSuites: "
			"trixie\nComponents: pve-test\n" } },
	  .after = { { SOURCES "proxmox.sources",
		       "Types: deb\nURIs: http://download.proxmox.com/debian/pve/\nSuites: "
		       "trixie\nComponents: pve-test\n"
		       "\nTypes: deb\nURIs: http://download.proxmox.com/debian/pve\nSuites: "
		       "trixie\nComponents: "
		       "pve-no-subscription\n" } },
	  .free_pve = 1 },
	{ "a duplicate in the other form is not added", "trixie",
	  .before = { { "etc/apt/sources.list",
			"deb [signed-by=" KEY
			"] http://download.proxmox.com/debian/pve trixie pve-no-subscription\n" } },
	  .free_pve = 1 },
	{ "ceph of PVE 9, tablet of components over two lines", "trixie",
	  .before = { { SOURCES "ceph.sources",
			"Types: deb\nURIs:\n https://enterprise.proxmox.com/debian/ceph-squid\n"
			"Suites: trixie\nComponents: enterprise\n" },
		      { SOURCES "proxmox.sources", FREE9 } },
	  .after = { { SOURCES "ceph.sources", "Enabled: false\nTypes: deb\nURIs:\n "
					       "https://enterprise.proxmox.com/debian/ceph-squid\n"
					       "Suites: trixie\nComponents: enterprise\n" },
		     { SOURCES "ceph-no-subscription.sources",
		       "Types: deb\nURIs: http://download.proxmox.com/debian/ceph-squid\nSuites: "
		       "trixie\nComponents: "
		       "no-subscription\nSigned-By: " KEY "\n" } },
	  .free_pve = 1 },
	{ "a paying customer", "bookworm", .subscription = true,
	  .before = { { SOURCES "pve-enterprise.list",
			"deb https://enterprise.proxmox.com/debian/pve bookworm pve-enterprise\n" } },
	  .enterprise = 1, .note = "has a subscription" },
	{ "no key", "bookworm", .no_key = true, .before = { { "etc/apt/sources.list", DEBIAN8 } },
	  .after = { { SOURCES "pve-no-subscription.list", FREE8 } }, .free_pve = 1,
	  .note = "proxmox-release-bookworm.gpg is missing" },
};

static bool has_file(const char *path _unused_, void *arg)
{
	const struct shape *s = arg;

	return !s->no_key;
}

static void lay_out(const struct testdir *t, const struct text_files *files)
{
	testdir_puts(t, "var/lib/dpkg/status", "");
	assert_int_equal(mkdirat(t->fd, "var/lib/apt", 0755), 0);
	for (size_t i = 0; i < files->n; i++)
		testdir_write(t, files->v[i].path, files->v[i].bytes, files->v[i].len, 0644);
}

/* What the edits make of the files. */
static void apply(const struct text_files *before, const struct text_edits *edits, struct text_files *after)
{
	for (size_t i = 0; i < before->n; i++) {
		bool edited = false;

		for (size_t k = 0; k < edits->n; k++)
			edited |= strcmp(edits->v[k].path, before->v[i].path) == 0;
		if (!edited)
			assert_int_equal(
			    text_files_add(after, before->v[i].path, before->v[i].bytes, before->v[i].len),
			    0);
	}
	for (size_t k = 0; k < edits->n; k++)
		if (edits->v[k].bytes)
			assert_int_equal(
			    text_files_add(after, edits->v[k].path, edits->v[k].bytes, edits->v[k].len), 0);
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

/* The real apt reads the files: status 0, no complaint, and these repositories. */
static void apt_agrees(const struct shape *s, const struct text_files *files)
{
	_cleanup_(testdir_done) struct testdir t;
	_cleanup_(spawn_done) struct spawn apt = SPAWN_INIT("apt");
	_cleanup_(err_done) struct err e = ERR_INIT;

	testdir_make(&t);
	lay_out(&t, files);
	spawn_argv(&apt, "apt-get", "-o", NULL);
	spawn_arg(&apt, "Dir=%s", t.path);
	spawn_argv(&apt, "-o", NULL);
	spawn_arg(&apt, "Dir::State::status=%s/var/lib/dpkg/status", t.path);
	spawn_argv(&apt, "update", "--print-uris", NULL);
	apt.capture = apt.merge = true;
	if (spawn_run(&apt, &e) == -ERR_TOOL_MISSING)
		return;
	if (apt.status != 0 || strstr(apt.out, "configured multiple times") || strstr(apt.out, "\nE:") ||
	    strncmp(apt.out, "E:", 2) == 0)
		fail_msg("%s: apt says %d: %s", s->what, apt.status, apt.out);
	if (count(apt.out, "/pve-no-subscription/binary-all/Packages.") != s->free_pve)
		fail_msg("%s: apt would fetch: %s", s->what, apt.out);
	assert_int_equal(
	    count(apt.out, "'https://enterprise.proxmox.com/debian/pve/dists/bookworm/InRelease") +
		count(apt.out, "enterprise.proxmox.com/debian/ceph"),
	    s->enterprise);
}

static void load(const struct shape *s, struct text_files *files)
{
	for (const struct file *f = s->before; f->path; f++)
		assert_int_equal(text_files_add(files, f->path, f->text, strlen(f->text)), 0);
}

static void check_notes(const struct shape *s, const struct text_edits *edits)
{
	bool found = !s->note && !edits->notes;

	for (char **n = edits->notes; n && *n; n++)
		found |= s->note && strstr(*n, s->note);
	if (!found)
		fail_msg("%s: notes", s->what);
}

static void every_shape(void **state _unused_)
{
	for (const struct shape *s = shapes; s < shapes + ARRAY_LEN(shapes); s++) {
		_cleanup_(text_files_done) struct text_files before = { 0 }, after = { 0 };
		_cleanup_(text_edits_done) struct text_edits edits = { 0 }, again = { 0 };
		struct apt_request q = { s->codename, s->subscription, has_file, (void *)s };

		load(s, &before);
		assert_int_equal(apt_edits(&before, &q, &edits), 0);
		apply(&before, &edits, &after);
		for (const struct file *f = s->after; f->path; f++) {
			const struct text_file *got = text_files_find(&after, f->path);

			if (!f->text && got)
				fail_msg("%s: %s is there", s->what, f->path);
			if (f->text && (!got || strcmp(got->bytes, f->text) != 0))
				fail_msg("%s: %s is\n%s", s->what, f->path, got ? got->bytes : "absent");
		}
		if (!s->after[0].path && edits.n > 0)
			fail_msg("%s: edits /%s", s->what, edits.v[0].path);
		check_notes(s, &edits);
		apt_agrees(s, &after);
		/* The second run finds nothing to do. */
		assert_int_equal(apt_edits(&after, &q, &again), 0);
		if (again.n > 0)
			fail_msg("%s: the second run edits /%s", s->what, again.v[0].path);
	}
}

static void reads_both_forms(void **state _unused_)
{
	static const char list[] =
	    "deb [ signed-by=/k.gpg arch=amd64 ] http://h/d/ s a b # c\nnonsense\ndeb-src http://h/d s a\n";
	static const char sources[] =
	    "types: deb deb-src\nURIs: http://a/\n  http://b\nSuites: x y\nComponents: m\nEnabled: Off\n";
	_cleanup_(text_files_done) struct text_files f = { 0 };
	struct apt_repos l = { 0 };

	assert_int_equal(text_files_add(&f, "a.list", list, strlen(list)), 0);
	assert_int_equal(text_files_add(&f, "b.sources", sources, strlen(sources)), 0);
	assert_int_equal(apt_repos_read(&f, &l), 0);
	assert_int_equal(l.n, 6);
	assert_string_equal(l.v[0].uri, "http://h/d");
	assert_string_equal(l.v[0].signed_by, "/k.gpg");
	assert_int_equal(strv_len(l.v[0].components), 2);
	assert_true(l.v[0].binary && l.v[0].enabled && !l.v[1].binary && l.v[1].place == 3);
	assert_string_equal(l.v[5].uri, "http://b");
	assert_string_equal(l.v[5].suite, "y");
	assert_true(l.v[5].binary && !l.v[5].enabled);
	apt_repos_done(&l);
}

/* Hosts that only look like it are left alone. */
static void knows_the_host(void **state _unused_)
{
	static const char text[] =
	    "deb https://enterprise.proxmox.com.example.org/x a b\ndeb http://x/enterprise.proxmox.com a b\n"
	    "deb HTTPS://Enterprise.Proxmox.Com:443/debian a b";
	_cleanup_free_ char *out = NULL;
	size_t active;

	assert_int_equal(apt_list_without_enterprise(SPAN(text), &out, &active), 0);
	assert_int_equal(active, 2);
	assert_string_equal(strstr(out, "# deb"), "# deb HTTPS://Enterprise.Proxmox.Com:443/debian a b");
}

TEST_MAIN(cmocka_unit_test(every_shape), cmocka_unit_test(reads_both_forms), cmocka_unit_test(knows_the_host))
