/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "apt.h"
#include "classify.h"
#include "pkg.h"
#include "source.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

/* -- fixtures: packages made here -- */

struct file {
	const char *path, *text; /* text: content, or link text */
	unsigned type; /* AE_IF… */
	unsigned mode;
};

#define F(path, text)                                                                                        \
	{                                                                                                    \
		path, text, AE_IFREG, 0644                                                                   \
	}
#define X(path, text)                                                                                        \
	{                                                                                                    \
		path, text, AE_IFREG, 0755                                                                   \
	}
#define L(path, target)                                                                                      \
	{                                                                                                    \
		path, target, AE_IFLNK, 0777                                                                 \
	}
#define KBUILD(version) "ccflags-y += -DNV_VERSION_STRING=\\\"" version "\\\"\n"
#define DKMS_DIR	"./usr/src/nvidia-current-535.1.2/"
#define DKMS_OPEN_DIR	"./usr/src/nvidia-current-open-535.1.2/"
#define LIBDIR		"./usr/lib/x86_64-linux-gnu/nvidia/current/"

static const struct file kernel_files[] = {
	F(DKMS_DIR "Kbuild", KBUILD("535.1.2")),
	F(DKMS_DIR "nvidia/nvidia.Kbuild", "x"),
	F(DKMS_DIR "nvidia/nv.c", "int a;"),
	F(DKMS_DIR "nvidia-uvm/nvidia-uvm.Kbuild", "x"),
	F(DKMS_DIR "dkms.conf", "PACKAGE_NAME=nvidia-current"),
	F(DKMS_DIR "NVIDIA_Changelog", "log"),
	F("./usr/share/doc/x/changelog.gz", "z"),
	{ NULL },
};
static const struct file open_files[] = {
	F(DKMS_OPEN_DIR "Kbuild", KBUILD("535.1.2")),
	F(DKMS_OPEN_DIR "nvidia/nvidia.Kbuild", "y"),
	X(DKMS_OPEN_DIR "conftest.sh", "#!/bin/sh"),
	{ NULL },
};
static const struct file user_files[] = {
	F(LIBDIR "libcuda.so.535.1.2", "elf"),
	L(LIBDIR "libcuda.so.1", "libcuda.so.535.1.2"),
	L(LIBDIR "libcuda.so", "libcuda.so.1"),
	{ "./usr/bin/nvidia-modprobe", "elf", AE_IFREG, 04755 },
	F("./lib/firmware/nvidia/535.1.2/gsp_ga10x.bin", "fw"),
	F("./usr/share/nvidia/strange.xyz", "?"),
	{ NULL },
};

static size_t pack(int ar, const struct file *files, char *out, size_t size)
{
	struct archive *a = archive_write_new();
	size_t used = 0;

	if (ar) {
		archive_write_set_format_ar_svr4(a);
	} else {
		archive_write_set_format_gnutar(a);
		archive_write_add_filter_gzip(a);
	}
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open_memory(a, out, size, &used), ARCHIVE_OK);
	for (; files->path; files++) {
		struct archive_entry *en = archive_entry_new();
		size_t len = files->type == AE_IFREG
				 ? (files->mode >> 16 ? files->mode >> 16 : strlen(files->text))
				 : 0;

		archive_entry_set_pathname(en, files->path);
		archive_entry_set_filetype(en, files->type);
		archive_entry_set_perm(en, files->mode & 07777);
		archive_entry_set_size(en, (int64_t)len);
		if (files->type == AE_IFLNK)
			archive_entry_set_symlink(en, files->text);
		assert_int_equal(archive_write_header(a, en), ARCHIVE_OK);
		if (len)
			assert_int_equal(archive_write_data(a, files->text, len), len);
		archive_entry_free(en);
	}
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	return used;
}

static void make_deb(struct testdir *d, const char *name, const char *arch, const struct file *files)
{
	static char control_tar[65536], data_tar[65536], deb[262144];
	char control[512], path[128];
	struct file control_files[] = { F("./control", control), { NULL } };
	struct file members[] = { F("debian-binary", "2.0\n"),
				  { "control.tar.gz", control_tar, AE_IFREG, 0644 },
				  { "data.tar.gz", data_tar, AE_IFREG, 0644 },
				  { NULL } };
	size_t n;

	snprintf(control, sizeof(control),
		 "Package: %s\nSource: nvidia-graphics-drivers (1)\nVersion: 1:535.1.2-3\nArchitecture: %s\n",
		 name, arch);
	members[1].mode |= (unsigned)pack(0, control_files, control_tar, sizeof(control_tar)) << 16;
	n = pack(0, files, data_tar, sizeof(data_tar));
	assert_true(n < 32768);
	members[2].mode |= (unsigned)n << 16;
	n = pack(1, members, deb, sizeof(deb));
	snprintf(path, sizeof(path), "in/%s.deb", name);
	testdir_write(d, path, deb, n, 0644);
}

struct bed {
	struct testdir d;
	struct source s;
	struct source_options o;
	struct source_result r;
	struct err e;
	int out;
};

static void bed_up(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	b->s = (struct source)SOURCE_INIT;
	testdir_make(&b->d);
	assert_int_equal(mkdirat(b->d.fd, "out", 0755), 0);
	b->out = openat(b->d.fd, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(b->out >= 0);
}

static void bed_down(struct bed *b)
{
	source_done(&b->s);
	source_result_done(&b->r);
	err_done(&b->e);
	close(b->out);
	testdir_done(&b->d);
}

static int stage(struct bed *b, const char *what)
{
	char path[512];
	char *words[] = { path };
	int r;

	snprintf(path, sizeof(path), "%s/%s", b->d.path, what);
	r = source_parse(words, 1, &b->s, &b->e);
	return r < 0 ? r : source_stage(&b->s, &b->o, b->out, &b->r, &b->e);
}

/* -- good -- */

static void test_packages_become_a_payload(void **state)
{
	static const char *const there[] = { "out/kernel/nvidia/nv.c",	   "out/kernel-open/conftest.sh",
					     "out/firmware/gsp_ga10x.bin", "out/libcuda.so.535.1.2",
					     "out/NVIDIA_Changelog",	   "out/nvidia-modprobe" };
	static const char *const absent[] = { "out/libcuda.so.1", "out/libcuda.so", "out/kernel/dkms.conf",
					      "out/kernel/NVIDIA_Changelog" };
	static const char *const lines[] = {
		"\nnvidia nvidia-uvm \n",
		"\nlibcuda.so.535.1.2 0644 CUDA_LIB NATIVE / MODULE:gpgpu\n",
		"\nlibcuda.so.1 0000 CUDA_SYMLINK NATIVE / libcuda.so.535.1.2 MODULE:gpgpu\n",
		"\nfirmware/gsp_ga10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n",
		"\nnvidia-modprobe 4755 NVIDIA_MODPROBE /usr/bin MODULE:installer\n",
		"\nkernel-open/conftest.sh 0755 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1",
	};
	struct bed b;
	struct stat st;
	char *manifest;

	(void)state;
	bed_up(&b);
	make_deb(&b.d, "nvidia-kernel-dkms", "amd64", kernel_files);
	make_deb(&b.d, "nvidia-open-kernel-dkms", "amd64", open_files);
	make_deb(&b.d, "libcuda1", "amd64", user_files);
	assert_ok(stage(&b, "in"), &b.e);
	assert_string_equal(b.r.version, "535.1.2");
	assert_string_equal(b.r.arch, "x86_64");
	assert_string_equal(b.r.driver_kind, "passthrough");
	assert_int_equal(json_array_size(b.r.packages), 3);
	assert_int_equal(strlen(b.r.origin_id), 64);
	assert_int_equal(json_array_size(b.r.unplaced), 1);
	assert_string_equal(json_string_value(json_array_get(b.r.unplaced, 0)),
			    "libcuda1: usr/share/nvidia/strange.xyz");
	for (size_t i = 0; i < ARRAY_LEN(there); i++)
		assert_true(testdir_has(&b.d, there[i]));
	for (size_t i = 0; i < ARRAY_LEN(absent); i++)
		assert_false(testdir_has(&b.d, absent[i]));
	manifest = testdir_read(&b.d, "out/.manifest", NULL);
	assert_non_null(manifest);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (!strstr(manifest, lines[i]))
			fail_msg("no line \"%s\" in:\n%s", lines[i], manifest);
	free(manifest);
	assert_int_equal(fstatat(b.out, "nvidia-modprobe", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755); /* the set-id bit is only on record */
	bed_down(&b);
}

static void test_32_bit_parts(void **state)
{
	static const struct file files[] = {
		F("./usr/lib/i386-linux-gnu/nvidia/current/libcuda.so.535.1.2", "e32"),
		L("./usr/lib/i386-linux-gnu/nvidia/current/libcuda.so.1", "libcuda.so.535.1.2"),
		F("./etc/OpenCL/vendors/nvidia.icd", "x"),
		{ NULL }
	};
	struct bed b;
	char *manifest;

	(void)state;
	bed_up(&b);
	make_deb(&b.d, "nvidia-kernel-dkms", "amd64", kernel_files);
	make_deb(&b.d, "libcuda1", "amd64", user_files);
	make_deb(&b.d, "libcuda1-i386", "i386", files);
	assert_ok(stage(&b, "in"), &b.e);
	manifest = testdir_read(&b.d, "out/.manifest", NULL);
	assert_non_null(strstr(manifest, "\n32/libcuda.so.535.1.2 0644 CUDA_LIB COMPAT32 /"));
	assert_null(strstr(manifest, "nvidia.icd"));
	free(manifest);
	bed_down(&b);
}

/* -- bad -- */

static void test_hostile(void **state)
{
	static const struct {
		struct file files[3];
		const char *slug;
	} cases[] = {
		{ { F("../evil", "x") }, "path-escapes-root" },
		{ { F("/etc/passwd", "x") }, "path-escapes-root" },
		{ { F("./usr/../../evil", "x") }, "path-escapes-root" },
		{ { F("./usr/lib/a\nb", "x") }, "path-escapes-root" },
		{ { L("./usr/lib/libcuda.so.1", "../../../../etc/passwd") }, "path-escapes-root" },
		{ { L("./usr/share/doc/x", "/../../etc") }, "path-escapes-root" },
		{ { { "./dev/sda", "", AE_IFBLK, 0600 } }, "source-member-refused" },
		{ { { "./usr/share/doc/fifo", "", AE_IFIFO, 0600 } }, "source-member-refused" },
		{ { F(LIBDIR "libcuda.so.535.1.2", "other"), F("./usr/lib/x/libcuda.so.535.1.2", "content") },
		  "source-member-refused" },
		{ { F(LIBDIR "libcuda.so.535.9.9", "x") }, "source-incomplete" },
		{ { F("./usr/src/nvidia-kernel.tar.xz", "not an archive at all") },
		  "source-package-invalid" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bed b;
		int fds = testdir_open_fds();

		bed_up(&b);
		make_deb(&b.d, "nvidia-kernel-dkms", "amd64", kernel_files);
		make_deb(&b.d, "libcuda1", "amd64", user_files);
		make_deb(&b.d, "zz-hostile", "amd64", cases[i].files);
		assert_true(stage(&b, "in") < 0);
		assert_slug(&b.e, cases[i].slug);
		assert_false(testdir_has(&b.d, "evil"));
		assert_false(testdir_has(&b.d, "out/.manifest"));
		bed_down(&b);
		assert_int_equal(testdir_open_fds(), fds);
	}
}

static void test_other_machine(void **state)
{
	struct bed b;

	(void)state;
	bed_up(&b);
	make_deb(&b.d, "nvidia-kernel-dkms", "amd64", kernel_files);
	make_deb(&b.d, "libcuda1", "arm64", user_files);
	assert_true(stage(&b, "in") < 0);
	assert_slug(&b.e, "source-incomplete");
	bed_down(&b);
}

static void test_no_kernel_sources(void **state)
{
	struct bed b;

	(void)state;
	bed_up(&b);
	make_deb(&b.d, "libcuda1", "amd64", user_files);
	assert_true(stage(&b, "in") < 0);
	assert_slug(&b.e, "source-incomplete");
	bed_down(&b);
	bed_up(&b);
	make_deb(&b.d, "libcuda1", "amd64", user_files);
	b.o.with_user_space = true;
	assert_ok(stage(&b, "in"), &b.e);
	bed_down(&b);
}

/* Every prefix of a package is refused; none crashes. */
static void test_truncated(void **state)
{
	struct bed b;
	size_t len;
	char *deb;

	(void)state;
	bed_up(&b);
	make_deb(&b.d, "libcuda1", "amd64", user_files);
	deb = testdir_read(&b.d, "in/libcuda1.deb", &len);
	for (size_t n = 0; n < len - 1; n += 37) {
		struct pkg_facts f = { 0 };
		struct err e = ERR_INIT;
		int fd;

		testdir_write(&b.d, "cut.deb", deb, n, 0644);
		fd = openat(b.d.fd, "cut.deb", O_RDONLY | O_CLOEXEC);
		(void)pkg_facts(fd, "cut.deb", &f, &e);
		err_done(&e);
		pkg_facts_done(&f);
		close(fd);
	}
	testdir_write(&b.d, "in/libcuda1.deb", deb, len * 2 / 3, 0644);
	make_deb(&b.d, "nvidia-kernel-dkms", "amd64", kernel_files);
	assert_true(stage(&b, "in") < 0);
	assert_slug(&b.e, "source-package-invalid");
	free(deb);
	bed_down(&b);
}

static void test_unpacked_tree(void **state)
{
	static const char manifest[] =
	    "Driver for Linux-x86_64\n535.1.2\n \nnvidia \n \n \n./kernel/\n./kernel/precompiled/\n"
	    "nvidia-smi 0755 UTILITY_BINARY MODULE:nvml\n";
	struct bed b;
	struct stat st;

	(void)state;
	bed_up(&b);
	testdir_puts(&b.d, "tree/.manifest", manifest);
	testdir_write(&b.d, "tree/nvidia-smi", "elf", 3, 0755);
	assert_int_equal(fchmodat(b.d.fd, "tree/nvidia-smi", 04755, 0), 0);
	assert_ok(stage(&b, "tree"), &b.e);
	assert_string_equal(b.r.version, "535.1.2");
	assert_int_equal(fstatat(b.out, "nvidia-smi", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	bed_down(&b);
	bed_up(&b);
	testdir_puts(&b.d, "tree/.manifest", manifest);
	assert_int_equal(symlinkat("/etc/passwd", b.d.fd, "tree/nvidia-smi"), 0);
	assert_true(stage(&b, "tree") < 0);
	assert_slug(&b.e, "source-member-refused");
	assert_false(testdir_has(&b.d, "out/nvidia-smi"));
	bed_down(&b);
}

static void test_words(void **state)
{
	struct bed b;
	char path[512];
	char *words[] = { path };

	(void)state;
	bed_up(&b);
	testdir_puts(&b.d, "page.run", "<!DOCTYPE html>");
	snprintf(path, sizeof(path), "%s/page.run", b.d.path);
	assert_true(source_parse(words, 1, &b.s, &b.e) < 0);
	assert_slug(&b.e, "source-unknown");
	assert_non_null(strstr(b.e.reason, "a web page"));
	snprintf(path, sizeof(path), "%s/out", b.d.path);
	assert_true(source_parse(words, 1, &b.s, &b.e) < 0);
	assert_slug(&b.e, "source-unknown");
	snprintf(path, sizeof(path), "apt:535.261.03-1");
	assert_ok(source_parse(words, 1, &b.s, &b.e), &b.e);
	assert_int_equal(b.s.kind, SOURCE_APT);
	source_done(&b.s);
	snprintf(path, sizeof(path), "apt:--option");
	assert_true(source_parse(words, 1, &b.s, &b.e) < 0);
	assert_slug(&b.e, "usage");
	bed_down(&b);
}

/* -- tables -- */

static void test_real_file_list(void **state)
{
	char *path = test_source_path("tests/unit/source/data/debian-535.261.03.list"), *line = NULL;
	struct class_table *t = NULL;
	struct err e = ERR_INIT;
	size_t size = 0, placed = 0, ignored = 0;
	FILE *f = fopen(path, "r");

	(void)state;
	assert_non_null(f);
	assert_ok(class_table_builtin(&t, &e), &e);
	while (getline(&line, &size, f) > 0) {
		char package[128], type, file[512];
		struct class_answer a;

		assert_int_equal(sscanf(line, "%127s %c %511s", package, &type, file), 3);
		assert_ok(classify(t, file, false, &a, &e), &e);
		if (a.verdict == CLASS_UNKNOWN || a.verdict == CLASS_ARCHIVE)
			fail_msg("%s of %s is not placed", file, package);
		if (a.verdict == CLASS_PLACED && type == 'l' && !a.link_type)
			fail_msg("link %s of %s has no link type", file, package);
		placed += a.verdict == CLASS_PLACED;
		ignored += a.verdict == CLASS_IGNORED;
	}
	assert_true(placed > 100 && ignored > 100);
	free(line);
	fclose(f);
	class_table_freep(&t);
	free(path);
}

static void test_places(void **state)
{
	static const struct {
		const char *path, *type, *place;
	} rows[] = {
		{ "usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.535.1", "CUDA_LIB",
		  "libcuda.so.535.1" },
		{ "usr/lib64/libcuda.so.570.1.2", "CUDA_LIB", "libcuda.so.570.1.2" },
		{ "usr/lib64/vdpau/libvdpau_nvidia.so.570.1", "VDPAU_LIB", "libvdpau_nvidia.so.570.1" },
		{ "usr/lib/x86_64-linux-gnu/nvidia/tesla-535/libnvidia-ml.so.535.1", "UTILITY_LIB",
		  "libnvidia-ml.so.535.1" },
		{ "usr/lib/nvidia/current/nvidia-smi", "UTILITY_BINARY", "nvidia-smi" },
		{ "usr/src/nvidia-current-535.1/nvidia/nv.c", "KERNEL_MODULE_SRC", "kernel/nvidia/nv.c" },
		{ "usr/src/nvidia-current-open-535.1/nvidia/nv.c", "KERNEL_MODULE_SRC",
		  "kernel-open/nvidia/nv.c" },
		{ "usr/src/nvidia-570.1/nvidia/nv.c", "KERNEL_MODULE_SRC", "kernel/nvidia/nv.c" },
		{ "usr/src/nvidia-open-570.1/nvidia/nv.c", "KERNEL_MODULE_SRC", "kernel-open/nvidia/nv.c" },
		{ "usr/src/nvidia-kernel.tar.xz!/modules/nvidia-kernel/nvidia/nv.c", "KERNEL_MODULE_SRC",
		  "kernel/nvidia/nv.c" },
		{ "usr/src/nvidia-open-kernel.tar.xz!/modules/nvidia-open-kernel/Kbuild", "KERNEL_MODULE_SRC",
		  "kernel-open/Kbuild" },
		{ "lib/firmware/nvidia/535.1/gsp_tu10x.bin", "FIRMWARE", "firmware/gsp_tu10x.bin" },
		{ "usr/share/doc/nvidia-driver/supported-gpus.json.gz", "DOCUMENTATION",
		  "supported-gpus/supported-gpus.json" },
		{ "usr/share/vulkan/icd.d/nvidia_icd.x86_64.json", "VULKAN_ICD_JSON", "nvidia_icd.json" },
		{ "usr/share/doc/any/thing", "-", NULL },
		{ "usr/src/nvidia-current-535.1/dkms.conf", "-", NULL },
		{ "usr/bin/unheard-of", NULL, NULL },
	};
	struct class_table *t = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_ok(class_table_builtin(&t, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct class_answer a;

		assert_ok(classify(t, rows[i].path, false, &a, &e), &e);
		if (!rows[i].type)
			assert_int_equal(a.verdict, CLASS_UNKNOWN);
		else if (!rows[i].place)
			assert_int_equal(a.verdict, CLASS_IGNORED);
		else {
			if (a.verdict != CLASS_PLACED)
				fail_msg("%s is not placed", rows[i].path);
			assert_string_equal(a.type->name, rows[i].type);
			assert_string_equal(a.place, rows[i].place);
		}
	}
	class_table_freep(&t);
}

static void test_versions(void **state)
{
	static const struct {
		const char *a, *b;
		int sign;
	} rows[] = {
		{ "535.261.03-1", "535.261.03-1", 0 },
		{ "535.261.03-1", "535.309.01-0+deb12u1", -1 },
		{ "1:1.0-1", "2.0-1", 1 },
		{ "1.0~rc1-1", "1.0-1", -1 },
		{ "1.0-1~deb12u1", "1.0-1", -1 },
		{ "1.0-1+b1", "1.0-1", 1 },
		{ "535.99-1", "535.261-1", -1 },
		{ "1.010-1", "1.10-1", 0 },
		{ "1.0a-1", "1.0-1", 1 },
		{ "6.1.176-1", "6.1.192-2", -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int c = pkg_version_compare(rows[i].a, rows[i].b),
		    d = pkg_version_compare(rows[i].b, rows[i].a);

		assert_int_equal((c > 0) - (c < 0), rows[i].sign);
		assert_int_equal((d > 0) - (d < 0), -rows[i].sign);
	}
}

#define H(c) "SHA256: " c c c c c c c c c c c c c c c c "\n"
static const char index_text[] =
    "Package: libcuda1\nSource: nvidia-graphics-drivers\nVersion: 535.1.2-1\nArchitecture: amd64\nSize: "
    "7\n" H(
	"aaaa") "\n"
		"Package: libcuda1\nSource: nvidia-graphics-drivers\nVersion: 535.1.2-2\nArchitecture: "
		"amd64\n" H(
		    "bbbb") "\n"
			    "Package: libcuda1\nSource: nvidia-graphics-drivers\nVersion: "
			    "535.9-1\nArchitecture: amd64\n" H(
				"cccc") "\n"
					"Package: libcuda1\nSource: nvidia-graphics-drivers\nVersion: "
					"535.1.2-2\nArchitecture: i386\n" H(
					    "dddd") "\n"
						    "Package: libtesla-cuda1\nSource: "
						    "nvidia-graphics-drivers-tesla\nVersion: "
						    "535.1.2-1\nArchitecture: amd64\n" H(
							"eeee") "\n"
								"Package: nvidia-kernel-dkms\nSource: "
								"nvidia-graphics-drivers "
								"(535.1.2-1)\nVersion: "
								"535.1.2-1\nArchitecture: amd64\n" H(
								    "ffff") "\n"
									    "Package: "
									    "nvidia-kernel-source\nSource: "
									    "nvidia-graphics-"
									    "drivers\nVersion: "
									    "535.1.2-1\nArchitecture: "
									    "amd64\n" H(
										"1111") "\n"
											"Package: "
											"nvidia-open-kernel-"
											"source\nSource: "
											"nvidia-open-gpu-"
											"kernel-"
											"modules\nVersion: "
											"535.1.2-"
											"1\nArchitecture: "
											"amd64\n" H(
											    "2222") "\n"
												    "Package:"
												    " other\n"
												    "Version:"
												    " 535.1."
												    "2-"
												    "1\nArchi"
												    "tecture:"
												    " amd64"
												    "\n" H(
													"333"
													"3") "\n"
													     "Package: --evil\nSource: nvidia-graphics-drivers\nVersion: 535.1.2-1\nArchitecture: amd64\n" H(
														 "4444") "\n"
															 "Package: no-digest\nSource: nvidia-graphics-drivers\nVersion: 535.1.2-1\nArchitecture: amd64\n\n";

static void test_apt_choice(void **state)
{
	struct apt_packages all = { 0 }, chosen = { 0 };
	struct source_options o = SOURCE_OPTIONS_INIT;
	struct err e = ERR_INIT;
	char *version = NULL;

	(void)state;
	assert_ok(apt_parse_index(index_text, strlen(index_text), &all, &e), &e);
	assert_int_equal(all.n, 9);
	assert_ok(apt_choose_driver(&all, "535.1.2", &o, "amd64", &chosen, &version, &e), &e);
	assert_string_equal(version, "535.1.2");
	assert_int_equal(chosen.n, 3);
	assert_string_equal(chosen.v[0].name, "libcuda1");
	assert_string_equal(chosen.v[0].version, "535.1.2-2");
	assert_string_equal(chosen.v[1].name, "nvidia-kernel-dkms");
	assert_string_equal(chosen.v[2].name, "nvidia-open-kernel-source");
	apt_packages_done(&chosen);
	free(version);
	o.with_compat32 = true;
	assert_ok(apt_choose_driver(&all, "535.1.2-1", &o, "amd64", &chosen, &version, &e), &e);
	assert_int_equal(chosen.n, 4);
	apt_packages_done(&chosen);
	free(version);
	o = (struct source_options){ .with_kernel_sources = true };
	assert_ok(apt_choose_driver(&all, "535.1.2", &o, "amd64", &chosen, &version, &e), &e);
	assert_int_equal(chosen.n, 2);
	apt_packages_done(&chosen);
	free(version);
	o.with_kernel_sources = false;
	assert_ok(apt_choose_driver(&all, "newest", &o, "amd64", &chosen, &version, &e), &e);
	assert_string_equal(version, "535.9");
	apt_packages_done(&chosen);
	free(version);
	assert_true(apt_choose_driver(&all, "1.2", &o, "amd64", &chosen, &version, &e) < 0);
	assert_slug(&e, "source-not-found");
	assert_non_null(strstr(e.reason, "535.1.2, 535.9"));
	err_done(&e);
	apt_packages_done(&all);
}

static void test_rpm_header(void **state)
{
	static const uint8_t data[] = "nvidia-driver\0"
				      "570.1\0"
				      "x86_64\0"
				      "nvidia-driver-570.1-1.el9.src.rpm";
	static const uint32_t tags[] = { 1000, 1001, 1022, 1044 }, at[] = { 0, 14, 20, 27 };
	uint8_t rpm[96 + 16 + 16 + 4 * 16 + sizeof(data)] = { 0xed, 0xab, 0xee, 0xdb };
	uint8_t *h = rpm + 96 + 16;
	struct pkg_facts f = { 0 };
	struct err e = ERR_INIT;

	(void)state;
	memcpy(rpm + 96, "\x8e\xad\xe8\x01", 4);
	memcpy(h, "\x8e\xad\xe8\x01", 4);
	h[11] = 4;
	h[15] = sizeof(data);
	for (size_t i = 0; i < 4; i++) {
		uint8_t *en = h + 16 + i * 16;

		en[2] = (uint8_t)(tags[i] >> 8);
		en[3] = (uint8_t)tags[i];
		en[7] = 6;
		en[11] = (uint8_t)at[i];
		en[15] = 1;
	}
	memcpy(h + 16 + 64, data, sizeof(data));
	assert_int_equal(rpm_head_size(rpm, sizeof(rpm)), sizeof(rpm));
	assert_ok(rpm_parse(rpm, sizeof(rpm), &f, &e), &e);
	assert_string_equal(f.name, "nvidia-driver");
	assert_string_equal(f.version, "570.1");
	assert_string_equal(f.arch, "x86_64");
	assert_string_equal(f.source, "nvidia-driver");
	pkg_facts_done(&f);
	for (size_t n = 0; n < sizeof(rpm); n++) {
		assert_true(rpm_parse(rpm, n, &f, &e) < 0);
		assert_slug(&e, "source-package-invalid");
	}
	memset(h + 8, 0xff, 8); /* counts that would wrap */
	assert_true(rpm_parse(rpm, sizeof(rpm), &f, &e) < 0);
	err_done(&e);
}

TEST_MAIN(cmocka_unit_test(test_packages_become_a_payload), cmocka_unit_test(test_32_bit_parts),
	  cmocka_unit_test(test_hostile), cmocka_unit_test(test_other_machine),
	  cmocka_unit_test(test_no_kernel_sources), cmocka_unit_test(test_truncated),
	  cmocka_unit_test(test_unpacked_tree), cmocka_unit_test(test_words),
	  cmocka_unit_test(test_real_file_list), cmocka_unit_test(test_places),
	  cmocka_unit_test(test_versions), cmocka_unit_test(test_apt_choice),
	  cmocka_unit_test(test_rpm_header))
