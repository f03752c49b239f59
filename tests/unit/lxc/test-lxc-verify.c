/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "lxc-ldcache.h"
#include "lxc-verify.h"
#include "strbuf.h"

#include <stdlib.h>
#include <unistd.h>

static void test_smi_verdicts(void **state)
{
	static const struct {
		int status;
		const char *out;
		bool timed_out;
		enum lxc_smi_verdict verdict;
	} rows[] = {
		{ 0, "535.261.03\n", false, LXC_SMI_OK },
		{ 9,
		  "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure "
		  "that the latest "
		  "NVIDIA driver is installed and running.\n",
		  false, LXC_SMI_NO_DRIVER },
		{ 255, "Failed to initialize NVML: Unknown Error\n", false, LXC_SMI_CGROUP },
		{ 17, "Failed to initialize NVML: Unknown Error\n", false, LXC_SMI_CGROUP },
		{ 18,
		  "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: "
		  "550.54\n",
		  false, LXC_SMI_MISMATCH },
		{ 12, "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n", false,
		  LXC_SMI_NO_LIBRARY },
		{ 6, "No devices were found\n", false, LXC_SMI_NO_DEVICES },
		{ 4, "Failed to initialize NVML: Insufficient Permissions\n", false, LXC_SMI_PERMISSION },
		{ 15, "", false, LXC_SMI_GPU_LOST },
		{ 16, "", false, LXC_SMI_GPU_LOST },
		{ 127, "", false, LXC_SMI_NOT_INSTALLED },
		{ 0, "", true, LXC_SMI_HANGS },
		{ 3, "what", false, LXC_SMI_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(lxc_smi_verdict_of(rows[i].status, SPAN(rows[i].out), rows[i].timed_out),
				 rows[i].verdict);
}

static void test_smi_versions(void **state)
{
	static const struct {
		const char *out, *version;
		size_t lines;
	} rows[] = {
		{ "535.261.03\n535.261.03\n", "535.261.03", 2 },
		{ " 535.261.03 \r\n\n", "535.261.03", 1 },
		{ "535.261.03\n550.54.14\n", NULL, 0 },
		{ "No devices were found\n", NULL, 0 },
		{ "", NULL, 0 },
	};
	_cleanup_free_ char *plain = NULL, *version = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *got = NULL;
		size_t lines = 0;

		assert_int_equal(lxc_smi_parse(SPAN(rows[i].out), &got, &lines),
				 rows[i].version ? 0 : -EINVAL);
		if (rows[i].version)
			assert_string_equal(got, rows[i].version);
		assert_int_equal(lines, rows[i].lines);
	}
	assert_int_equal(
	    lxc_smi_parse_plain(
		SPAN("| NVIDIA-SMI 535.261.03   Driver Version: 535.261.03   CUDA Version: 12.2 |"), &plain),
	    0);
	assert_string_equal(plain, "535.261.03");
	assert_int_equal(
	    lxc_smi_parse_plain(SPAN("NVIDIA-SMI version  : 550.54.14\nDRIVER version      : 550.54.14\n"),
				&version),
	    0);
	assert_string_equal(version, "550.54.14");
}

static void test_node_verdicts(void **state)
{
	static const struct {
		int error;
		enum lxc_node_verdict verdict;
	} rows[] = {
		{ 0, LXC_NODE_OK },	    { ENOENT, LXC_NODE_MISSING }, { EPERM, LXC_NODE_CGROUP },
		{ EACCES, LXC_NODE_OWNER }, { ENXIO, LXC_NODE_STALE },	  { EIO, LXC_NODE_OK },
		{ ENOMEM, LXC_NODE_ERROR },
	};
	_cleanup_(testdir_done) struct testdir t = { .fd = -EBADF };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(lxc_node_verdict_of(rows[i].error), rows[i].verdict);
	testdir_make(&t);
	testdir_puts(&t, "dev/nvidia0", "");
	assert_int_equal(lxc_node_look(t.fd, "dev/nvidia0", 195, 0), LXC_NODE_REGULAR);
	assert_int_equal(lxc_node_look(t.fd, "dev/nvidia1", 195, 1), LXC_NODE_MISSING);
	assert_int_equal(mkdirat(t.fd, "dev/nvidia2", 0755), 0);
	assert_int_equal(lxc_node_look(t.fd, "dev/nvidia2", 195, 2), LXC_NODE_KIND_OTHER);
}

/* -- a loader's cache, built here as ldconfig writes it -- */

static void put32(struct strbuf *b, uint32_t v)
{
	(void)strbuf_append(b, &v, sizeof(v));
}

struct cache_entry {
	const char *name, *path;
	uint32_t flags;
};

static char *cache_make(const struct cache_entry *v, size_t n, size_t *ret_len)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(1 << 20), strings = STRBUF_INIT(1 << 20);
	char *ret = NULL;
	uint32_t base = 48 + 24 * (uint32_t)n;

	(void)strbuf_puts(&b, "glibc-ld.so.cache1.1");
	put32(&b, (uint32_t)n);
	put32(&b, 0);
	for (int i = 0; i < 5; i++)
		put32(&b, 0);
	for (size_t i = 0; i < n; i++) {
		put32(&b, v[i].flags);
		put32(&b, base + (uint32_t)strings.len);
		(void)strbuf_append(&strings, v[i].name, strlen(v[i].name) + 1);
		put32(&b, base + (uint32_t)strings.len);
		(void)strbuf_append(&strings, v[i].path, strlen(v[i].path) + 1);
		put32(&b, 0);
		put32(&b, 0);
		put32(&b, 0);
	}
	(void)strbuf_append(&b, strings.buf, strings.len);
	*ret_len = b.len;
	assert_int_equal(strbuf_steal(&b, &ret), 0);
	return ret;
}

static void test_ldcache(void **state)
{
	static const struct cache_entry v[] = {
		{ "libcuda.so.1", "/usr/lib/nvdriver/current/lib/libcuda.so.1", 0x303 },
		{ "libcuda.so.1", "/usr/lib32/libcuda.so.1", 0x003 },
		{ "libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1", 0x303 },
	};
	size_t len;
	_cleanup_free_ char *bytes = cache_make(v, 3, &len);
	struct lxc_ldcache c;

	(void)state;
	assert_int_equal(lxc_ldcache_open((struct span){ bytes, len }, &c), 0);
	assert_true(span_eq(lxc_ldcache_find(&c, "x86_64", "libcuda.so.1", 0), v[0].path));
	assert_true(span_eq(lxc_ldcache_find(&c, "x86_64", "libcuda.so.1", 1), v[2].path));
	assert_null(lxc_ldcache_find(&c, "x86_64", "libcuda.so.1", 2).p);
	assert_null(lxc_ldcache_find(&c, "aarch64", "libcuda.so.1", 0).p);
	/* Cut anywhere, it is refused or answers within its bytes (the sanitizer watches). */
	for (size_t cut = 0; cut < len; cut++) {
		char *copy = malloc(cut ? cut : 1);

		memcpy(copy, bytes, cut);
		if (lxc_ldcache_open((struct span){ copy, cut }, &c) == 0)
			(void)lxc_ldcache_find(&c, "x86_64", "libcuda.so.1", 0);
		free(copy);
	}
}

static char *library(void)
{
	/* An ELF header of a 64-bit x86 shared object without tables. */
	char *h = calloc(1, 64);

	memcpy(h, "\177ELF\2\1\1", 7);
	h[16] = 3;
	h[18] = 62;
	h[20] = 1;
	h[52] = 64;
	return h;
}

static void root_make(const struct testdir *t, const char *version, const char *second)
{
	static const char *const names[] = { "libcuda.so", "libnvidia-ml.so" };
	_cleanup_free_ char *elf = library(), *bytes = NULL;
	struct cache_entry v[4];
	char paths[4][128], sonames[2][64];
	size_t n = 0, len;

	for (size_t i = 0; i < 2; i++) {
		char file[160], link[160], target[128];

		snprintf(sonames[i], sizeof(sonames[i]), "%s.1", names[i]);
		snprintf(paths[n], sizeof(paths[n]), "/usr/lib/nvdriver/%s", sonames[i]);
		v[n] = (struct cache_entry){ sonames[i], paths[n], 0x303 };
		n++;
		snprintf(file, sizeof(file), "usr/lib/nvdriver/%s.%s", names[i], version);
		testdir_write(t, file, elf, 64, 0644);
		snprintf(link, sizeof(link), "usr/lib/nvdriver/%s", sonames[i]);
		snprintf(target, sizeof(target), "%s.%s", names[i], version);
		assert_int_equal(symlinkat(target, t->fd, link), 0);
	}
	if (second) {
		char file[160];

		snprintf(paths[n], sizeof(paths[n]), "/usr/lib/x/libcuda.so.1");
		v[n] = (struct cache_entry){ "libcuda.so.1", paths[n], 0x303 };
		n++;
		snprintf(file, sizeof(file), "usr/lib/x/libcuda.so.%s", second);
		testdir_write(t, file, elf, 64, 0644);
		snprintf(file, sizeof(file), "libcuda.so.%s", second);
		assert_int_equal(symlinkat(file, t->fd, "usr/lib/x/libcuda.so.1"), 0);
	}
	bytes = cache_make(v, n, &len);
	testdir_write(t, "etc/ld.so.cache", bytes, len, 0644);
	testdir_write(t, "usr/bin/nvidia-smi", elf, 64, 0755);
}

static void static_is(const struct testdir *t, const char *version, const char *problem)
{
	_cleanup_(lxc_static_done) struct lxc_static s = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	assert_ok(lxc_static_check(t->fd, -EBADF, "x86_64", &s, &e), &e);
	if (version)
		assert_string_equal(s.version, version);
	else
		assert_null(s.version);
	if (!problem)
		assert_null(s.problem);
	else if (!s.problem || !strstr(s.problem, problem))
		fail_msg("\"%s\" does not say \"%s\"", s.problem ? s.problem : "nothing", problem);
}

static void test_static_right(void **state)
{
	_cleanup_(testdir_done) struct testdir t = { .fd = -EBADF };

	(void)state;
	testdir_make(&t);
	static_is(&t, NULL, "no usable cache");
	root_make(&t, "535.261.03", NULL);
	static_is(&t, "535.261.03", NULL);
	testdir_puts(&t, "etc/environment", "LD_LIBRARY_PATH=/usr/local/cuda/compat\n");
	static_is(&t, "535.261.03", "LD_LIBRARY_PATH in /etc/environment");
	testdir_puts(&t, "etc/environment",
		     "# LD_LIBRARY_PATH=/usr/local/cuda/compat\nLD_LIBRARY_PATH=/opt/lib\n");
	static_is(&t, "535.261.03", NULL);
	testdir_puts(&t, "etc/profile.d/cuda.sh",
		     "export LD_LIBRARY_PATH=/usr/local/cuda-12.8/compat:$LD_LIBRARY_PATH\n");
	static_is(&t, "535.261.03", "LD_LIBRARY_PATH in /etc/profile.d/cuda.sh");
}

static void test_static_second_copy(void **state)
{
	_cleanup_(testdir_done) struct testdir same = { .fd = -EBADF }, other = { .fd = -EBADF };

	(void)state;
	testdir_make(&same);
	root_make(&same, "535.261.03", "535.261.03");
	static_is(&same, "535.261.03", NULL);
	testdir_make(&other);
	root_make(&other, "535.261.03", "550.54.14");
	static_is(&other, "535.261.03", "550.54.14");
}

/* A container's root may put anything under these names. None of it is opened as it is, none leads out. */
static void test_static_hostile(void **state)
{
	static const char *const names[] = { "etc/ld.so.cache", "usr/lib/nvdriver/libcuda.so.1",
					     "etc/environment", "usr/bin/nvidia-smi" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		for (int kind = 0; kind < 4; kind++) {
			_cleanup_(testdir_done) struct testdir t = { .fd = -EBADF };
			_cleanup_(lxc_static_done) struct lxc_static s = { 0 };
			_cleanup_(err_done) struct err e = ERR_INIT;

			testdir_make(&t);
			root_make(&t, "535.261.03", NULL);
			(void)unlinkat(t.fd, names[i], 0);
			if (kind == 0)
				assert_int_equal(mkfifoat(t.fd, names[i], 0666), 0);
			else if (kind == 1)
				assert_int_equal(
				    symlinkat("/../../../../../../../etc/passwd", t.fd, names[i]), 0);
			else if (kind == 2)
				assert_int_equal(symlinkat("/proc/self/exe", t.fd, names[i]), 0);
			else
				assert_int_equal(mkdirat(t.fd, names[i], 0755), 0);
			assert_ok(lxc_static_check(t.fd, -EBADF, "x86_64", &s, &e), &e);
			if (i != 2)
				assert_non_null(s.problem);
		}
}

TEST_MAIN(cmocka_unit_test(test_smi_verdicts), cmocka_unit_test(test_smi_versions),
	  cmocka_unit_test(test_node_verdicts), cmocka_unit_test(test_ldcache),
	  cmocka_unit_test(test_static_right), cmocka_unit_test(test_static_second_copy),
	  cmocka_unit_test(test_static_hostile))
