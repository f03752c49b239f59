/* SPDX-License-Identifier: Apache-2.0
 *
 * Packages made by rpmbuild itself, laid out like those of the vendor's own repository and of RPM Fusion. */
#include "toolbox.h"

#include "pkg.h"

#include <dirent.h>

struct bed {
	struct testdir d;
	struct source s;
	struct source_result r;
	struct err e;
	int out;
};

/* name, then pairs of path and content; "%%" of a path is the architecture's library directory. */
struct package {
	const char *name;
	const char *files[10];
};

#define KBUILD "ccflags-y += -DNV_VERSION_STRING=\\\"570.1.2\\\"\n"

static const struct package packages[] = {
	{ "kmod-nvidia-open-dkms",
	  { "/usr/src/nvidia-open-570.1.2/Kbuild", KBUILD,
	    "/usr/src/nvidia-open-570.1.2/nvidia/nvidia.Kbuild", "x\n",
	    "/usr/src/nvidia-open-570.1.2/dkms.conf", "PACKAGE_NAME=nvidia\n" } },
	{ "nvidia-driver-cuda-libs",
	  { "/usr/lib64/libcuda.so.570.1.2", "elf\n", "/usr/share/licenses/x/LICENSE", "text\n" } },
	{ "nvidia-kmod-common", { "/usr/lib/firmware/nvidia/570.1.2/gsp_ga10x.bin", "gsp\n" } },
};

static void make_spec(struct testdir *d, const struct package *p)
{
	char path[128], spec[4096];
	size_t n;

	n = (size_t)snprintf(spec, sizeof(spec),
			     "Name: %s\nVersion: 570.1.2\nRelease: 1.el9\nSummary: s\nLicense: l\n"
			     "%%description\nd\n%%install\n",
			     p->name);
	for (size_t i = 0; p->files[i]; i += 2)
		n += (size_t)snprintf(
		    spec + n, sizeof(spec) - n,
		    "mkdir -p %%{buildroot}$(dirname %s)\ncat >%%{buildroot}%s <<'END'\n%sEND\n", p->files[i],
		    p->files[i], p->files[i + 1]);
	n += (size_t)snprintf(spec + n, sizeof(spec) - n, "%%files\n");
	for (size_t i = 0; p->files[i]; i += 2)
		n += (size_t)snprintf(spec + n, sizeof(spec) - n, "%s\n", p->files[i]);
	snprintf(path, sizeof(path), "spec/%s.spec", p->name);
	testdir_puts(d, path, spec);
}

static void bed_up(struct bed *b)
{
	char top[300], file[128];

	memset(b, 0, sizeof(*b));
	b->s = (struct source)SOURCE_INIT;
	testdir_make(&b->d);
	assert_int_equal(mkdirat(b->d.fd, "out", 0755), 0);
	b->out = openat(b->d.fd, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(top, sizeof(top), "_topdir %s/top", b->d.path);
	for (size_t i = 0; i < ARRAY_LEN(packages); i++) {
		make_spec(&b->d, &packages[i]);
		snprintf(file, sizeof(file), "spec/%s.spec", packages[i].name);
		TOOL(&b->d, ".", NULL, "rpmbuild", "--quiet", "-bb", "--target", "x86_64", "--define", top,
		     "--define", "_build_id_links none", "--define", "debug_package %{nil}", "--define",
		     "__os_install_post %{nil}", file);
	}
}

static void bed_down(struct bed *b)
{
	source_done(&b->s);
	source_result_done(&b->r);
	err_done(&b->e);
	close(b->out);
	testdir_done(&b->d);
}

static int stage(struct bed *b)
{
	struct source_options o = SOURCE_OPTIONS_INIT;
	char path[512];
	char *words[] = { path };
	int r;

	snprintf(path, sizeof(path), "%s/top/RPMS/x86_64", b->d.path);
	r = source_parse(words, 1, &b->s, &b->e);
	return r < 0 ? r : source_stage(&b->s, &o, b->out, &b->r, &b->e);
}

#define LIBS "top/RPMS/x86_64/nvidia-driver-cuda-libs-570.1.2-1.el9.x86_64.rpm"

static bool can_run(void)
{
	return tools_present((const char *const[]){ "rpmbuild", NULL });
}

static void test_staged(void **state)
{
	static const char *const there[] = { "out/kernel-open/Kbuild", "out/kernel-open/nvidia/nvidia.Kbuild",
					     "out/libcuda.so.570.1.2", "out/firmware/gsp_ga10x.bin",
					     "out/.manifest" };
	struct bed b;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	assert_ok(stage(&b), &b.e);
	assert_string_equal(b.r.version, "570.1.2");
	assert_string_equal(b.r.arch, "x86_64");
	assert_int_equal(json_array_size(b.r.packages), 3);
	assert_int_equal(json_array_size(b.r.unplaced), 0);
	for (size_t i = 0; i < ARRAY_LEN(there); i++)
		if (!testdir_has(&b.d, there[i]))
			fail_msg("no %s", there[i]);
	bed_down(&b);
}

static void refused(struct bed *b, const char *why)
{
	assert_true(stage(b) < 0);
	assert_slug(&b->e, "source-package-invalid");
	if (!strstr(b->e.reason, why))
		fail_msg("%s", b->e.reason);
	assert_false(testdir_has(&b->d, "out/.manifest"));
	assert_false(testdir_has(&b->d, "out/libcuda.so.570.1.2"));
}

static void test_damaged(void **state)
{
	struct bed b;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	/* The last bytes belong to the compressed archive; its padding would be accepted by every unpacker. */
	flip(&b.d, LIBS, -3);
	refused(&b, "payload");
	bed_down(&b);
}

static long find_bytes(const char *text, size_t len, const char *what)
{
	const char *at = memmem(text, len, what, strlen(what));

	return at ? at - text : -1;
}

/* A name changed in the header: the archive is as it was, the header is not. */
static void test_header_changed(void **state)
{
	struct bed b;
	size_t len;
	char *text;
	long at;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	text = testdir_read(&b.d, LIBS, &len);
	at = find_bytes(text, len, "libcuda.so.570.1.2");
	free(text);
	assert_true(at > 0);
	flip(&b.d, LIBS, at + 3);
	refused(&b, "header");
	bed_down(&b);
}

/* Without digests nothing says that the bytes are the ones that were made. */
static void test_no_digests(void **state)
{
	static const uint8_t tags[][4] = { { 0, 0, 1, 13 }, { 0, 0, 1, 17 }, { 0, 0, 3, 236 } };
	struct bed b;
	size_t len;
	char *text;

	(void)state;
	if (!can_run())
		skip();
	bed_up(&b);
	text = testdir_read(&b.d, LIBS, &len);
	for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
		/* In the index of the signature header; the digests stay but nobody can tell them any more. */
		uint8_t *at = memmem(text + 96, 512, tags[i], 4);

		if (at)
			at[0] = 0x7f;
	}
	testdir_write(&b.d, LIBS, text, len, 0644);
	free(text);
	refused(&b, "carries no digests");
	bed_down(&b);
}

TEST_MAIN(cmocka_unit_test(test_staged), cmocka_unit_test(test_damaged),
	  cmocka_unit_test(test_header_changed), cmocka_unit_test(test_no_digests))
