/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "manifest.h"

#define HEAD(version, modules)                                                                               \
	"NVIDIA Accelerated Graphics Driver for Linux-x86_64\n" version "\n \n" modules                      \
	" \n \n \n./kernel/\n"                                                                               \
	"./kernel/precompiled/\n"
#define HEADER HEAD("1.2.3", "nvidia nvidia-vgpu-vfio")

static struct manifest *parse(const char *text)
{
	struct err e = ERR_INIT;
	struct manifest *m = NULL;

	assert_ok(manifest_parse(SPAN(text), 0, &m, &e), &e);
	return m;
}

static void refuse(const char *text, unsigned flags, const char *slug)
{
	struct err e = ERR_INIT;
	struct manifest *m = NULL;

	assert_true(manifest_parse(SPAN(text), flags, &m, &e) < 0);
	assert_null(m);
	assert_slug(&e, slug);
	err_done(&e);
}

static const char vector[] =
    HEADER "kernel/nvidia/nv-kernel.o_binary 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n"
	   "firmware/gsp_ga10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n"
	   "libcuda.so.1.2.3 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n"
	   "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / libcuda.so.1.2.3 MODULE:gpgpu\n"
	   "./32/libcuda.so.1.2.3 0755 CUDA_LIB COMPAT32 / MODULE:gpgpu\n"
	   "libvdpau_nvidia.so 0000 VDPAU_SYMLINK NATIVE / vdpau/libvdpau_nvidia.so.1.2.3 MODULE:vdpau\n"
	   "nvidia-drm_gbm.so 0000 GBM_BACKEND_LIB_SYMLINK NATIVE libnvidia-allocator.so.1 MODULE:nvalloc\n"
	   "nvidia-modprobe 04755 NVIDIA_MODPROBE /usr/bin/ MODULE:installer\n"
	   "nvidia-suspend.service 0000 SYSTEMD_UNIT_SYMLINK systemd-suspend.service.requires/ "
	   "nvidia-suspend.service MODULE:installer\n";

static void test_vector(void **state _unused_)
{
	struct manifest *m = parse(vector);
	const struct manifest_entry *en = m->entries;

	assert_int_equal(m->n_entries, 9);
	assert_string_equal(m->version, "1.2.3");
	assert_string_equal(m->kernel_modules[1], "nvidia-vgpu-vfio");
	assert_string_equal(en[0].inherited, "nvidia");
	assert_string_equal(en[0].name, "nv-kernel.o_binary");
	assert_string_equal(en[1].inherited, "");
	assert_int_equal(en[1].inherit_depth, 1);
	assert_string_equal(en[2].path, "");
	assert_int_equal(en[2].arch, MANIFEST_NATIVE);
	assert_string_equal(en[3].target, "libcuda.so.1.2.3");
	assert_true(manifest_entry_is_link(&en[3]));
	assert_string_equal(en[4].file, "32/libcuda.so.1.2.3");
	assert_int_equal(en[4].arch, MANIFEST_COMPAT32);
	assert_int_equal(en[6].type->dest, DEST_GBM_LIBDIR);
	assert_string_equal(en[7].path, "/usr/bin");
	assert_int_equal(en[7].mode, 04755);
	assert_string_equal(en[8].path, "systemd-suspend.service.requires");
	assert_string_equal(en[8].module, "installer");
	manifest_freep(&m);
}

static void test_eras(void **state _unused_)
{
	struct manifest *m = parse(HEAD(
	    "390.157",
	    "nvidia") "libnvidia-tls.so.390.157 0755 TLS_LIB NATIVE CLASSIC / MODULE:opengl\n"
		      "libGL.so.1 0000 GLX_CLIENT_SYMLINK NATIVE libGL.so.390.157 NON_GLVND MODULE:opengl\n"
		      "libGL.so.1 0000 GLX_CLIENT_SYMLINK NATIVE libGL.so.1.7.0 GLVND MODULE:opengl\n");

	assert_int_equal(m->entries[0].tls, MANIFEST_TLS_CLASSIC);
	assert_int_equal(m->entries[1].glvnd, MANIFEST_GLVND_OFF);
	assert_int_equal(m->entries[2].glvnd, MANIFEST_GLVND_ON);
	manifest_freep(&m);

	m = parse(HEAD("535.1", "nvidia") "libnvidia-tls.so.535.1 0755 TLS_LIB NATIVE / MODULE:opengl\n");
	assert_int_equal(m->entries[0].tls, MANIFEST_TLS_NONE);
	assert_null(m->notes);
	manifest_freep(&m);

	m = parse(HEAD("340.108", "nvidia") "kernel/nv.c 0644 KERNEL_MODULE_SRC sub/dir MODULE:resman\n");
	assert_string_equal(m->entries[0].inherited, "sub/dir");
	manifest_freep(&m);
}

static void test_reader_rules(void **state _unused_)
{
	struct manifest *m =
	    parse("d\r\n1.2.3\r\n\r\nnvidia \r\n \r\n \r\n./kernel/\r\n./kernel/precompiled/\r\n"
		  "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / x MODULE:a\r\n"
		  "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / x MODULE:a\r\n"
		  "foo 0644 FANCY_NEW_TYPE NATIVE / MODULE:bar\nfoo2 0644 FANCY_NEW_TYPE x\n"
		  "bin 0755 UTILITY_BINARY NATIVE MODULE:nvml stray\n\nnot an entry any more\n");

	assert_int_equal(m->n_entries, 5); /* identical links are fine; an empty line ends the list */
	assert_null(m->entries[2].type);
	assert_string_equal(m->entries[2].words, "NATIVE / MODULE:bar");
	assert_string_equal(m->entries[4].words, "NATIVE MODULE:nvml stray");
	assert_string_equal(m->entries[4].module, "nvml");
	assert_int_equal(strv_len(m->notes), 2); /* the empty header line, and the type once */
	manifest_freep(&m);
}

static void test_refused(void **state _unused_)
{
	static const struct {
		const char *text, *slug;
		unsigned flags;
	} rows[] = {
		{ "", "manifest-invalid", 0 },
		{ "a\n1.2.3\n \nnvidia\n", "manifest-invalid", 0 },
		{ HEAD("1.2.3", ""), "manifest-invalid", 0 },
		{ HEAD("latest", "nvidia"), "manifest-invalid", 0 },
		{ HEAD("1.2.3", "nv/idia"), "manifest-invalid", 0 },
		{ HEADER "x\n", "manifest-invalid", 0 },
		{ HEADER "x 0999 UTILITY_BINARY\n", "manifest-invalid", 0 },
		{ HEADER "x 0777777 UTILITY_BINARY\n", "manifest-invalid", 0 },
		{ HEADER "x 0644 CUDA_LIB /\n", "manifest-invalid", 0 },
		{ HEADER "x 0644 CUDA_LIB NATIVE\n", "manifest-invalid", 0 },
		{ HEADER "x 0644 FIRMWARE INHERIT_PATH_DEPTH:1\n", "manifest-invalid", 0 },
		{ HEADER "a/x 0644 FIRMWARE INHERIT_PATH_DEPTH:2\n", "manifest-invalid", 0 },
		{ HEADER "a/x 0644 FIRMWARE INHERIT_PATH_DEPTH:-1\n", "manifest-invalid", 0 },
		{ HEADER "x 0000 CUDA_SYMLINK NATIVE /\n", "manifest-invalid", 0 },
		{ HEADER "/etc/passwd 0644 UTILITY_BINARY\n", "path-escapes-root", 0 },
		{ HEADER "../x 0644 UTILITY_BINARY\n", "path-escapes-root", 0 },
		{ HEADER "x 0644 DOCUMENTATION a/../../etc\n", "path-escapes-root", 0 },
		{ HEADER "x 0644 EXPLICIT_PATH /root\n", "path-escapes-root", 0 },
		{ HEADER "x 0644 EXPLICIT_PATH /usr/../root\n", "path-escapes-root", 0 },
		{ HEADER "x 0644 EXPLICIT_PATH usr/bin\n", "manifest-invalid", 0 },
		{ HEADER "x 0000 CUDA_SYMLINK NATIVE / ../../../etc/shadow\n", "path-escapes-root", 0 },
		{ HEADER "a/x 0755 UTILITY_BINARY\nb/x 0755 UTILITY_BINARY\n", "manifest-duplicate", 0 },
		{ HEADER "x 0000 CUDA_SYMLINK NATIVE / a\nx 0000 CUDA_SYMLINK NATIVE / b\n",
		  "manifest-duplicate", 0 },
		{ HEADER "x 0644 FANCY_NEW_TYPE\n", "manifest-unknown-type", MANIFEST_STRICT },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		refuse(rows[i].text, rows[i].flags, rows[i].slug);
}

static char *emit(const struct manifest *m)
{
	struct strbuf b = STRBUF_INIT(MANIFEST_MAX_BYTES);
	char *text;

	assert_int_equal(manifest_emit(m, &b), 0);
	assert_int_equal(strbuf_steal(&b, &text), 0);
	return text;
}

static void test_fixpoint(void **state _unused_)
{
	struct manifest *m = parse(vector), *again;
	_cleanup_free_ char *one = emit(m), *two = NULL;

	again = parse(one);
	two = emit(again);
	assert_string_equal(one, two);
	assert_int_equal(again->n_entries, m->n_entries);
	assert_non_null(strstr(one, "\n \nnvidia nvidia-vgpu-vfio \n \n \n./kernel/\n"));
	manifest_freep(&again);
	manifest_freep(&m);
}

static void test_making(void **state _unused_)
{
	struct err e = ERR_INIT;
	struct manifest *m = NULL;
	_cleanup_free_ char *text = NULL;

	assert_ok(manifest_new("made here", "535.261.03", "nvidia nvidia-uvm", &m, &e), &e);
	assert_ok(manifest_add(m, "libcuda.so.535.261.03", 0755, "CUDA_LIB", MANIFEST_NATIVE, "",
			       MANIFEST_NO_INHERIT, NULL, "gpgpu", &e),
		  &e);
	assert_ok(manifest_add(m, "firmware/gsp.bin", 0644, "FIRMWARE", MANIFEST_ARCH_NONE, NULL, 1, NULL,
			       NULL, &e),
		  &e);
	assert_true(manifest_add(m, "../x", 0644, "UTILITY_BINARY", MANIFEST_ARCH_NONE, NULL,
				 MANIFEST_NO_INHERIT, NULL, NULL, &e) < 0);
	err_done(&e);
	assert_int_equal(m->n_entries, 2);
	text = emit(m);
	assert_non_null(strstr(text, "libcuda.so.535.261.03 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n"));
	assert_non_null(strstr(text, "firmware/gsp.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1\n"));
	manifest_freep(&m);
}

static void test_kinds(void **state _unused_)
{
	static const struct {
		const char *entries;
		bool marker;
		enum package_kind kind;
	} rows[] = {
		{ "x 0755 UTILITY_BINARY\n", false, PACKAGE_PASSTHROUGH },
		{ "x 0755 UTILITY_BINARY\n", true, PACKAGE_VGPU_KVM },
		{ "libnvidia-vgpu.so.1 0755 VGX_LIB\n", false, PACKAGE_VGPU_KVM },
		{ "nvidia-gridd 0755 UTILITY_BINARY\n", false, PACKAGE_GRID },
		{ "libx.so 0755 GRID_LIB /\n", true, PACKAGE_MERGED },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[1024];
		struct manifest *m;

		snprintf(text, sizeof(text), "%s%s", HEADER, rows[i].entries);
		m = parse(text);
		assert_int_equal(manifest_package_kind(m, rows[i].marker), rows[i].kind);
		manifest_freep(&m);
	}
}

TEST_MAIN(cmocka_unit_test(test_vector), cmocka_unit_test(test_eras), cmocka_unit_test(test_reader_rules),
	  cmocka_unit_test(test_refused), cmocka_unit_test(test_fixpoint), cmocka_unit_test(test_making),
	  cmocka_unit_test(test_kinds))
