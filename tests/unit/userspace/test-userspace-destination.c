/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifest lines in, destinations out: every directory rule, every drop rule, every profile. */
#include "fixture.h"

#include "destination.h"

#define HEAD                                                                                                 \
	"NVIDIA Accelerated Graphics Driver for Linux-x86_64\n1.2.3\n \nnvidia \n \n "                       \
	"\n./kernel/\n./kernel/precompiled/\n"
#define LIB "usr/lib/x86_64-linux-gnu"

static struct libdirs debian = { .native = (char *)"lib/x86_64-linux-gnu",
				 .compat32 = (char *)"lib/i386-linux-gnu" };
static struct libdirs rhel = { .native = (char *)"lib64", .compat32 = (char *)"lib" };
static struct libdirs no32 = { .native = (char *)"lib64" };

/* Everything the root can have, so that only the rule under test drops. */
static struct dest_options everything(void)
{
	return (struct dest_options){
		.profile = DEST_PROFILE_CUSTOM, .dirs = &debian, .systemd = true, .x_server = true
	};
}

static int make(const char *lines, const struct dest_options *o, struct dest_list *l, struct err *e)
{
	_cleanup_free_ char *text = str_printf("%s%s", HEAD, lines);
	_cleanup_(manifest_freep) struct manifest *m = NULL;

	assert_ok(manifest_parse(SPAN(text), 0, &m, e), e);
	/* Types are static: the list needs nothing of the manifest but those. */
	return dest_list_make(m, o, l, e);
}

/* One manifest line and what becomes of it; path NULL = left out. */
static void expect(const char *line, const struct dest_options *o, const char *path, const char *link,
		   int mode)
{
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r = make(line, o, &l, &e);

	if (r < 0)
		fail_msg("%s: %s", line, e.reason);
	if (!path) {
		if (l.n)
			fail_msg("%s: goes to %s", line, l.ops[0].path);
		return;
	}
	if (l.n != 1 || strcmp(l.ops[0].path, path) != 0)
		fail_msg("%s: %zu, %s", line, l.n, l.n ? l.ops[0].path : "");
	if (link)
		assert_string_equal(l.ops[0].link, link);
	else
		assert_int_equal(l.ops[0].mode, mode);
}

static void directories(void **state)
{
	static const struct {
		const char *line, *path, *link;
		int mode;
	} rows[] = {
		{ "firmware/gsp_ga10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n",
		  "lib/firmware/nvidia/1.2.3/gsp_ga10x.bin", NULL, 0644 },
		{ "libcuda.so.1.2.3 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n", LIB "/libcuda.so.1.2.3", NULL,
		  0755 },
		{ "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / libcuda.so.1.2.3 MODULE:gpgpu\n",
		  LIB "/libcuda.so.1", "libcuda.so.1.2.3", 0 },
		{ "./32/libcuda.so.1.2.3 0755 CUDA_LIB COMPAT32 / MODULE:gpgpu\n",
		  "usr/lib/i386-linux-gnu/libcuda.so.1.2.3", NULL, 0755 },
		{ "libvdpau_nvidia.so 0000 VDPAU_SYMLINK NATIVE / vdpau/libvdpau_nvidia.so.1.2.3 "
		  "MODULE:vdpau\n",
		  LIB "/libvdpau_nvidia.so", "vdpau/libvdpau_nvidia.so.1.2.3", 0 },
		{ "libvdpau_nvidia.so.1.2.3 0755 VDPAU_LIB NATIVE vdpau/ MODULE:vdpau\n",
		  LIB "/vdpau/libvdpau_nvidia.so.1.2.3", NULL, 0755 },
		{ "nvidia-drm_gbm.so 0000 GBM_BACKEND_LIB_SYMLINK NATIVE libnvidia-allocator.so.1 "
		  "MODULE:nvalloc\n",
		  LIB "/gbm/nvidia-drm_gbm.so", "/" LIB "/libnvidia-allocator.so.1", 0 },
		{ "32/nvidia-drm_gbm.so 0000 GBM_BACKEND_LIB_SYMLINK COMPAT32 libnvidia-allocator.so.1 "
		  "MODULE:nvalloc\n",
		  "usr/lib/i386-linux-gnu/gbm/nvidia-drm_gbm.so",
		  "/usr/lib/i386-linux-gnu/libnvidia-allocator.so.1", 0 },
		{ "nvidia-modprobe 04755 NVIDIA_MODPROBE /usr/bin/ MODULE:installer\n",
		  "usr/bin/nvidia-modprobe", NULL, 04755 },
		{ "nvidia-suspend.service 0000 SYSTEMD_UNIT_SYMLINK systemd-suspend.service.requires/ "
		  "nvidia-suspend.service MODULE:installer\n",
		  "etc/systemd/system/systemd-suspend.service.requires/nvidia-suspend.service",
		  "/usr/lib/systemd/system/nvidia-suspend.service", 0 },
		{ "systemd/nvidia-suspend.service 0644 SYSTEMD_UNIT MODULE:installer\n",
		  "usr/lib/systemd/system/nvidia-suspend.service", NULL, 0644 },
		{ "systemd/system-sleep/nvidia 0755 SYSTEMD_SLEEP_SCRIPT MODULE:installer\n",
		  "usr/lib/systemd/system-sleep/nvidia", NULL, 0755 },
		{ "nvidia-smi 0755 UTILITY_BINARY MODULE:nvml\n", "usr/bin/nvidia-smi", NULL, 0755 },
		/* Nothing else becomes set-id, whatever the manifest says. */
		{ "nvidia-smi 06755 UTILITY_BINARY MODULE:nvml\n", "usr/bin/nvidia-smi", NULL, 0755 },
		{ "nvidia-smi.1.gz 0644 MANPAGE man1 MODULE:nvml\n", "usr/share/man/man1/nvidia-smi.1.gz",
		  NULL, 0644 },
		{ "LICENSE 0644 DOCUMENTATION NVIDIA_GLX-1.0 MODULE:installer\n",
		  "usr/share/doc/NVIDIA_GLX-1.0/LICENSE", NULL, 0644 },
		{ "nvidia.icd 0644 CUDA_ICD MODULE:gpgpu\n", "etc/OpenCL/vendors/nvidia.icd", NULL, 0644 },
		{ "nvidia_icd.json 0644 VULKAN_ICD_JSON icd.d/ MODULE:opengl\n",
		  "etc/vulkan/icd.d/nvidia_icd.json", NULL, 0644 },
		{ "10_nvidia.json 0644 GLVND_EGL_ICD_JSON MODULE:opengl\n",
		  "usr/share/glvnd/egl_vendor.d/10_nvidia.json", NULL, 0644 },
		{ "15_gbm.json 0644 EGL_EXTERNAL_PLATFORM_JSON MODULE:egl\n",
		  "usr/share/egl/egl_external_platform.d/15_gbm.json", NULL, 0644 },
		{ "nvidia-rc 0644 APPLICATION_PROFILE / MODULE:opengl\n", "usr/share/nvidia/nvidia-rc", NULL,
		  0644 },
		{ "nvoptix.bin 0644 OPENGL_DATA /usr/share/nvidia MODULE:optix\n",
		  "usr/share/nvidia/nvoptix.bin", NULL, 0644 },
		{ "_nvngx.dll 0644 WINE_LIB NATIVE MODULE:ngx\n", LIB "/nvidia/wine/_nvngx.dll", NULL, 0644 },
		{ "10-nvidia.conf 0644 XORG_OUTPUTCLASS_CONFIG MODULE:xdriver\n",
		  "usr/share/X11/xorg.conf.d/10-nvidia.conf", NULL, 0644 },
		{ "nvidia_drv.so 0755 XMODULE_SHARED_LIB drivers MODULE:xdriver\n",
		  "usr/lib/xorg/modules/drivers/nvidia_drv.so", NULL, 0755 },
		{ "nvidia-settings.png 0644 ICON 128x128/apps MODULE:xutils\n",
		  "usr/share/icons/hicolor/128x128/apps/nvidia-settings.png", NULL, 0644 },
		{ "vgpuConfig.xml 0644 EXPLICIT_PATH /usr/share/nvidia/vgpu MODULE:vgpu\n",
		  "usr/share/nvidia/vgpu/vgpuConfig.xml", NULL, 0644 },
		{ "libnvidia-vgpu.so.1.2.3 0755 VGX_LIB MODULE:vgpu\n", LIB "/libnvidia-vgpu.so.1.2.3", NULL,
		  0755 },
		/* Never user space. */
		{ "kernel/nvidia/nv-kernel.o_binary 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 "
		  "MODULE:resman\n",
		  NULL },
		{ "kernel/dkms.conf 0644 DKMS_CONF INHERIT_PATH_DEPTH:1 MODULE:resman\n", NULL },
		{ "x.bin 0644 SOMETHING_NEW a b c\n", NULL },
	};
	const struct dest_options o = everything();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(rows[i].line, &o, rows[i].path, rows[i].link, rows[i].mode);
}

static void drops(void **state)
{
	static const char modprobe[] = "nvidia-modprobe 04755 NVIDIA_MODPROBE /usr/bin/ MODULE:installer\n";
	static const char unit[] = "systemd/nvidia.service 0644 SYSTEMD_UNIT MODULE:installer\n";
	static const char gl[] = "libEGL_nvidia.so.1.2.3 0755 OPENGL_LIB NATIVE MODULE:egl\n";
	static const char glvnd[] = "libGLdispatch.so.0 0755 GLVND_LIB NATIVE MODULE:opengl\n";
	static const char client[] = "libGL.so.1.7.0 0755 GLX_CLIENT_LIB NATIVE MODULE:opengl\n";
	static const char indirect[] =
	    "libGLX_indirect.so.0 0000 OPENGL_SYMLINK NATIVE libGLX_nvidia.so.1.2.3 MODULE:opengl\n";
	static const char wine[] = "_nvngx.dll 0644 WINE_LIB NATIVE MODULE:ngx\n";
	static const char c32[] = "32/libcuda.so.1.2.3 0755 CUDA_LIB COMPAT32 / MODULE:gpgpu\n";
	static const char x[] = "10-nvidia.conf 0644 XORG_OUTPUTCLASS_CONFIG MODULE:xdriver\n";
	static const char firmware[] = "firmware/a.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n";
	struct dest_options o;

#define DROPS(line, set)                                                                                     \
	do {                                                                                                 \
		o = everything();                                                                            \
		set;                                                                                         \
		expect(line, &o, NULL, NULL, 0);                                                             \
	} while (0)
	DROPS(modprobe, o.no_modprobe = true);
	DROPS(unit, o.systemd = false);
	DROPS(gl, o.no_opengl = true);
	DROPS(glvnd, o.glvnd_present = true);
	DROPS(client, o.glvnd_present = true);
	DROPS(indirect, o.no_glx_indirect = true);
	DROPS(wine, o.no_wine = true);
	DROPS(c32, o.dirs = &no32);
	DROPS(x, o.x_server = false);
	DROPS(firmware, o.no_firmware = true);
#undef DROPS
	o = everything();
	expect(glvnd, &o, LIB "/libGLdispatch.so.0", NULL, 0755);
	expect(indirect, &o, LIB "/libGLX_indirect.so.0", "libGLX_nvidia.so.1.2.3", 0);
}

static const char mixed[] =
    "libcuda.so.1.2.3 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n"
    "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / libcuda.so.1.2.3 MODULE:gpgpu\n"
    "libnvidia-ml.so.1.2.3 0755 UTILITY_LIB NATIVE MODULE:nvml\n"
    "libnvidia-ml.so.1 0000 UTILITY_LIB_SYMLINK NATIVE libnvidia-ml.so.1.2.3 MODULE:nvml\n"
    "libnvidia-cfg.so.1.2.3 0755 UTILITY_LIB NATIVE MODULE:opengl\n"
    "libnvidia-gtk3.so.1.2.3 0755 UTILITY_LIB NATIVE MODULE:xutils\n"
    "libGLX_nvidia.so.1.2.3 0755 OPENGL_LIB NATIVE MODULE:opengl\n"
    "libGLdispatch.so.0 0755 GLVND_LIB NATIVE MODULE:opengl\n"
    "libEGL_nvidia.so.1.2.3 0755 EGL_CLIENT_LIB NATIVE MODULE:egl\n"
    "nvidia_drv.so 0755 XMODULE_SHARED_LIB drivers MODULE:xdriver\n"
    "nvidia-smi 0755 UTILITY_BINARY MODULE:nvml\n"
    "nvidia-settings 0755 UTILITY_BINARY MODULE:xutils\n"
    "nvidia-installer 0755 INSTALLER_BINARY MODULE:installer\n"
    "nvidia-uninstall 0000 UTILITY_BIN_SYMLINK nvidia-installer MODULE:installer\n"
    "nvidia-modprobe 04755 NVIDIA_MODPROBE /usr/bin/ MODULE:installer\n"
    "libnvidia-vgpu.so.1.2.3 0755 VGX_LIB MODULE:vgpu\n";

static void profile_is(struct dest_options *o, const char *const *want)
{
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	size_t n = 0;

	assert_ok(make(mixed, o, &l, &e), &e);
	for (; want[n]; n++) {
		bool found = false;

		for (size_t i = 0; i < l.n; i++)
			found |= strcmp(strrchr(l.ops[i].path, '/') + 1, want[n]) == 0;
		if (!found)
			fail_msg("%s is not taken", want[n]);
	}
	if (l.n != n)
		for (size_t i = 0; i < l.n; i++)
			print_message("# takes %s\n", l.ops[i].path);
	assert_int_equal(l.n, n);
}

static void profiles(void **state)
{
	static const char *const compute[] = { "libcuda.so.1.2.3",
					       "libcuda.so.1",
					       "libnvidia-ml.so.1.2.3",
					       "libnvidia-ml.so.1",
					       "libnvidia-cfg.so.1.2.3",
					       "nvidia-smi",
					       NULL };
	static const char *const full[] = { "libcuda.so.1.2.3",
					    "libcuda.so.1",
					    "libnvidia-ml.so.1.2.3",
					    "libnvidia-ml.so.1",
					    "libnvidia-cfg.so.1.2.3",
					    "libnvidia-gtk3.so.1.2.3",
					    "libGLX_nvidia.so.1.2.3",
					    "libEGL_nvidia.so.1.2.3",
					    "nvidia-smi",
					    "nvidia-settings",
					    "nvidia-modprobe",
					    "libnvidia-vgpu.so.1.2.3",
					    NULL };
	static const char *const vgpu[] = { "libnvidia-ml.so.1.2.3",
					    "libnvidia-ml.so.1",
					    "libnvidia-cfg.so.1.2.3",
					    "libnvidia-gtk3.so.1.2.3",
					    "nvidia-smi",
					    "nvidia-settings",
					    "libnvidia-vgpu.so.1.2.3",
					    NULL };
	static const char *const custom[] = { "libcuda.so.1.2.3", "nvidia-settings", "nvidia-installer",
					      NULL };
	char *include[] = { (char *)"module:xutils", (char *)"libcuda*", (char *)"type:INSTALLER_*", NULL };
	char *exclude[] = { (char *)"type:CUDA_SYMLINK", (char *)"file:libnvidia-gtk*", NULL };
	struct dest_options o = everything();

	o.profile = DEST_PROFILE_COMPUTE;
	profile_is(&o, compute);
	o.profile = DEST_PROFILE_FULL;
	profile_is(&o, full);
	o.profile = DEST_PROFILE_HOST_VGPU;
	profile_is(&o, vgpu);
	o.profile = DEST_PROFILE_CUSTOM;
	o.include = include;
	o.exclude = exclude;
	profile_is(&o, custom);
}

static void order_of_publication(void **state)
{
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct dest_options o = everything();

	o.profile = DEST_PROFILE_COMPUTE;
	assert_ok(make(mixed, &o, &l, &e), &e);
	assert_string_equal(l.ops[0].path, LIB "/libcuda.so.1.2.3");
	assert_string_equal(l.ops[l.n - 3].path, "usr/bin/nvidia-smi");
	assert_string_equal(l.ops[l.n - 2].path, LIB "/libcuda.so.1");
	assert_string_equal(l.ops[l.n - 1].path, LIB "/libnvidia-ml.so.1");
}

static void the_gl_link_only_with_the_library(void **state)
{
	static const char gl[] = "libGL.so.1 0000 GLX_CLIENT_SYMLINK NATIVE libGL.so.1.7.0 MODULE:opengl\n";
	struct dest_options o = everything();

	for (int i = 0; i < 3; i++) {
		_cleanup_(dest_list_done) struct dest_list l = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;
		const struct dest_op *op;

		o.dirs = i == 1 ? &rhel : &debian;
		o.glvnd_present = i == 2;
		assert_ok(make(gl, &o, &l, &e), &e);
		op = dest_list_find(&l, "usr/lib/libGL.so.1");
		/* Not where the 32-bit libraries live in /usr/lib, not without libGL. */
		assert_int_equal(op != NULL, i == 0);
		if (op)
			assert_string_equal(op->link, "/" LIB "/libGL.so.1");
	}
}

static void overrides_and_refusals(void **state)
{
	char *overrides[] = { (char *)"CUDA_LIB:/opt/cuda", NULL },
	     *unknown[] = { (char *)"NO_TYPE:/x", NULL };
	char *same[] = { (char *)"CUDA_LIB:/" LIB, NULL };
	char *escaping[] = { (char *)"CUDA_LIB:/../../etc", NULL };
	struct dest_options o = everything();
	static const char two[] =
	    "a/x.so 0755 CUDA_LIB NATIVE sub/ MODULE:a\nb/x.so 0755 UTILITY_LIB NATIVE MODULE:b\n";
	static const char cuda[] = "libcuda.so.1.2.3 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n";
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;

	o.overrides = overrides;
	expect(cuda, &o, "opt/cuda/libcuda.so.1.2.3", NULL, 0755);
	o.overrides = unknown;
	assert_true(make(cuda, &o, &l, &e) < 0);
	assert_slug(&e, "usage");
	o.overrides = escaping;
	assert_true(make(cuda, &o, &l, &e) < 0);
	assert_slug(&e, "path-escapes-root");
	o.overrides = same;
	assert_true(make(two, &o, &l, &e) < 0);
	assert_slug(&e, "destination-duplicate");
	assert_int_equal(l.n, 0);
}

static void tls_classes_have_their_directories(void **state)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	static const char text[] =
	    "NVIDIA\n390.157\n \nnvidia \n \n \n./kernel/\n./kernel/precompiled/\n"
	    "libnvidia-tls.so.390.157 0755 TLS_LIB NATIVE CLASSIC / MODULE:opengl\n"
	    "tls/libnvidia-tls.so.390.157 0755 TLS_LIB NATIVE NEW tls/ MODULE:opengl\n"
	    "libGL.so.1 0000 GLX_CLIENT_SYMLINK NATIVE libGL.so.390.157 NON_GLVND MODULE:opengl\n"
	    "libGL.so.1 0000 GLX_CLIENT_SYMLINK NATIVE libGL.so.1.7.0 GLVND MODULE:opengl\n";
	struct dest_options o = everything();

	assert_ok(manifest_parse(SPAN(text), 0, &m, &e), &e);
	assert_ok(dest_list_make(m, &o, &l, &e), &e);
	assert_non_null(dest_list_find(&l, LIB "/libnvidia-tls.so.390.157"));
	assert_non_null(dest_list_find(&l, LIB "/tls/libnvidia-tls.so.390.157"));
	/* Of two variants the one for libglvnd. */
	assert_string_equal(dest_list_find(&l, LIB "/libGL.so.1")->link, "libGL.so.1.7.0");
}

TEST_MAIN(cmocka_unit_test(directories), cmocka_unit_test(drops), cmocka_unit_test(profiles),
	  cmocka_unit_test(order_of_publication), cmocka_unit_test(the_gl_link_only_with_the_library),
	  cmocka_unit_test(overrides_and_refusals), cmocka_unit_test(tls_classes_have_their_directories))
