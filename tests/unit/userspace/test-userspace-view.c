/* SPDX-License-Identifier: Apache-2.0
 *
 * A driver's tree becomes a view: where things are, that links lead somewhere, and that asking again costs nothing. */
#include "fixture.h"

#include "path.h"
#include "store.h"
#include "tree.h"
#include "view.h"

#include <unistd.h>

static const char manifest[] =
    "NVIDIA Accelerated Graphics Driver for Linux-x86_64\n1.2.3\n \nnvidia nvidia-uvm \n \n \n./kernel/\n"
    "./kernel/precompiled/\n"
    "libcuda.so.1.2.3 0755 CUDA_LIB NATIVE / MODULE:gpgpu\n"
    "libcuda.so.1 0000 CUDA_SYMLINK NATIVE / libcuda.so.1.2.3 MODULE:gpgpu\n"
    "32/libcuda.so.1.2.3 0755 CUDA_LIB COMPAT32 / MODULE:gpgpu\n"
    "32/libcuda.so.1 0000 CUDA_SYMLINK COMPAT32 / libcuda.so.1.2.3 MODULE:gpgpu\n"
    "libnvidia-allocator.so.1.2.3 0755 UTILITY_LIB NATIVE MODULE:nvalloc\n"
    "nvidia-drm_gbm.so 0000 GBM_BACKEND_LIB_SYMLINK NATIVE libnvidia-allocator.so.1 MODULE:gbm\n"
    "libvdpau_nvidia.so.1.2.3 0755 VDPAU_LIB NATIVE vdpau/ MODULE:vdpau\n"
    "nvidia.icd 0644 CUDA_ICD MODULE:opencl\n"
    "nvidia_icd.json 0644 VULKAN_ICD_JSON icd.d MODULE:vulkan\n"
    "10_nvidia.json 0644 GLVND_EGL_ICD_JSON MODULE:egl\n"
    "nvidia-smi 0755 UTILITY_BINARY MODULE:nvml\n"
    "nvidia-modprobe 4755 NVIDIA_MODPROBE /usr/bin MODULE:modprobe\n"
    "firmware/gsp_ga10x.bin 0644 FIRMWARE INHERIT_PATH_DEPTH:1 MODULE:resman\n"
    "odd.conf 0644 EXPLICIT_PATH /etc/odd MODULE:resman\n"
    "nvidia-settings.desktop 0644 DOT_DESKTOP MODULE:xutils\n";

struct bed {
	struct testdir t;
	struct store *s;
	char tree[65], view[65];
	struct err e;
};

static void bed_make(struct bed *b)
{
	static const struct {
		const char *file, *soname;
		unsigned bits, machine;
	} objects[] = { { "libcuda.so.1.2.3", "libcuda.so.1", 64, ELF_MACHINE_X86_64 },
			{ "32/libcuda.so.1.2.3", "libcuda.so.1", 32, 3 },
			{ "libnvidia-allocator.so.1.2.3", "libnvidia-allocator.so.1", 64,
			  ELF_MACHINE_X86_64 },
			{ "libvdpau_nvidia.so.1.2.3", "libvdpau_nvidia.so.1", 64, ELF_MACHINE_X86_64 } };
	static const char *const texts[][2] = { { "nvidia.icd", "libnvidia-opencl.so.1\n" },
						{ "nvidia_icd.json", "{}\n" },
						{ "10_nvidia.json", "{}\n" },
						{ "firmware/gsp_ga10x.bin", "gsp" },
						{ "odd.conf", "x" },
						{ "nvidia-settings.desktop", "Exec=__UTILS_PATH__/x\n" } };
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_free_ char *store = NULL, *stage = NULL;
	json_t *meta =
	    json_pack("{s:s, s:s, s:s}", "version", "1.2.3", "arch", "x86_64", "kind", "passthrough");
	struct testdir root;

	memset(b, 0, sizeof(*b));
	testdir_make(&b->t);
	store = str_printf("%s/store", b->t.path);
	assert_ok(store_open(store, true, &b->s, &b->e), &b->e);
	assert_ok(store_stage_begin(b->s, &st, &b->e), &b->e);
	assert_int_equal(mkdirat(st.dir_fd, "root", 0755), 0);
	stage = store_stage_path(&st);
	snprintf(root.path, sizeof(root.path), "%s/root", stage);
	testdir_puts(&root, ".manifest", manifest);
	for (size_t i = 0; i < ARRAY_LEN(objects); i++)
		fixture_object(&root, objects[i].file, objects[i].bits, objects[i].machine, objects[i].soname,
			       NULL);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		testdir_puts(&root, texts[i][0], texts[i][1]);
	testdir_write(&root, "nvidia-smi", "smi", 3, 0755);
	testdir_write(&root, "nvidia-modprobe", "mp", 2, 0755);
	assert_ok(store_tree_add(&st, meta, b->tree, &b->e), &b->e);
	json_decref(meta);
}

static void bed_end(struct bed *b)
{
	store_freep(&b->s);
	testdir_done(&b->t);
	err_done(&b->e);
}

static int build(struct bed *b, const struct view_options *o, json_t *notes)
{
	int r = view_build(b->s, b->tree, o, b->view, notes, &b->e);

	assert_ok(r, &b->e);
	return r;
}

/* What a name in the view is: "dir", the text of a link, "file", or NULL. */
static char *what_is(struct bed *b, const char *path)
{
	_cleanup_close_ int root = -EBADF;
	char text[256];
	struct stat st;
	ssize_t n;

	assert_ok(store_tree_open(b->s, b->view, &root, NULL, &b->e), &b->e);
	if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	n = readlinkat(root, path, text, sizeof(text));
	return n >= 0 ? strndup(text, (size_t)n) : strdup(S_ISDIR(st.st_mode) ? "dir" : "file");
}

static void places(void **state _unused_)
{
	static const struct {
		const char *path, *want;
	} rows[] = { { "bin/nvidia-smi", "file" },
		     { "bin/nvidia-modprobe", NULL },
		     { "lib/libcuda.so.1.2.3", "file" },
		     { "lib/libcuda.so.1", "libcuda.so.1.2.3" },
		     { "lib32/libcuda.so.1", "libcuda.so.1.2.3" },
		     { "lib/libnvidia-allocator.so.1", "libnvidia-allocator.so.1.2.3" },
		     { "lib/gbm/nvidia-drm_gbm.so", "../libnvidia-allocator.so.1" },
		     { "lib/vdpau/libvdpau_nvidia.so.1", "libvdpau_nvidia.so.1.2.3" },
		     { "lib/firmware/nvidia/1.2.3/gsp_ga10x.bin", NULL },
		     { "share/OpenCL/vendors/nvidia.icd", "file" },
		     { "share/vulkan/icd.d/nvidia_icd.json", "file" },
		     { "share/glvnd/egl_vendor.d/10_nvidia.json", "file" },
		     { "share/applications/nvidia-settings.desktop", "file" },
		     { "etc", NULL },
		     { "usr", NULL } };
	json_auto_t *notes = json_array();
	_cleanup_close_ int root = -EBADF, fd = -EBADF;
	struct view_options o = { .profile = DEST_PROFILE_FULL, .compat32 = true, .mount = "/opt/nv" };
	char text[64] = "";
	struct bed b;

	bed_make(&b);
	assert_int_equal(build(&b, &o, notes), 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *is = what_is(&b, rows[i].path);

		if (!is != !rows[i].want || (is && strcmp(is, rows[i].want) != 0))
			fail_msg("%s is %s, not %s", rows[i].path, is ? is : "absent",
				 rows[i].want ? rows[i].want : "absent");
	}
	assert_int_equal(json_array_size(notes), 1);
	assert_string_equal(json_string_value(json_array_get(notes, 0)),
			    "/etc/odd/odd.conf has no place in a view");
	/* Only templates know where the view will be seen. */
	assert_ok(store_tree_open(b.s, b.view, &root, NULL, &b.e), &b.e);
	fd = openat(root, "share/applications/nvidia-settings.desktop", O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "Exec=/opt/nv/bin/x\n");
	bed_end(&b);
}

/* No link of a view leads out of it or nowhere. */
static int link_leads_somewhere(const struct tree_entry *entry, void *arg)
{
	_cleanup_close_ int fd = -EBADF;

	if (!S_ISLNK(entry->st.st_mode))
		return 0;
	fd = path_open_at(*(int *)arg, entry->path, O_PATH, 0, PATH_IN_ROOT);
	if (fd < 0)
		fail_msg("%s leads nowhere", entry->path);
	return 0;
}

static void links_lead_somewhere(void **state _unused_)
{
	struct view_options o = { .profile = DEST_PROFILE_FULL, .compat32 = true, .firmware = true };
	_cleanup_close_ int root = -EBADF;
	_cleanup_free_ char *firmware = NULL;
	struct bed b;

	bed_make(&b);
	assert_int_equal(build(&b, &o, NULL), 1);
	assert_ok(store_tree_open(b.s, b.view, &root, NULL, &b.e), &b.e);
	assert_int_equal(tree_walk(root, TREE_SORTED, link_leads_somewhere, &root), 0);
	firmware = what_is(&b, "lib/firmware/nvidia/1.2.3/gsp_ga10x.bin");
	assert_string_equal(firmware, "file");
	bed_end(&b);
}

/* Neither the view nor the driver's tree is read again, and files are shared between the two. */
static void again_costs_nothing(void **state _unused_)
{
	struct view_options o = { .profile = DEST_PROFILE_COMPUTE },
			    other = { .profile = DEST_PROFILE_COMPUTE, .mount = "/elsewhere" };
	_cleanup_free_ char *before = NULL, *after = NULL;
	_cleanup_close_ int root = -EBADF;
	char first[65], found[65];
	struct stat st;
	struct bed b;

	bed_make(&b);
	assert_int_equal(view_find(b.s, b.tree, &o, found, &b.e), -ENOENT);
	assert_int_equal(build(&b, &o, NULL), 1);
	memcpy(first, b.view, sizeof(first));
	assert_ok(view_find(b.s, b.tree, &o, found, &b.e), &b.e);
	assert_string_equal(found, first);
	before = testdir_snapshot(&b.t);
	assert_int_equal(build(&b, &o, NULL), 0);
	assert_string_equal(b.view, first);
	after = testdir_snapshot(&b.t);
	assert_string_equal(before,
			    after); /* the driver's record was brought up to date when the view was made */
	assert_ok(store_tree_verify(b.s, b.tree, STORE_VERIFY_FULL, NULL, &b.e), &b.e);
	assert_ok(store_tree_open(b.s, b.view, &root, NULL, &b.e), &b.e);
	assert_int_equal(fstatat(root, "lib/libcuda.so.1.2.3", &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	/* The compute parts have no text that names the place: another place is the same view. */
	assert_int_equal(view_build(b.s, b.tree, &other, b.view, NULL, &b.e), 1);
	assert_string_equal(b.view, first);
	bed_end(&b);
}

static void damage_is_made_anew(void **state _unused_)
{
	struct view_options o = { .profile = DEST_PROFILE_COMPUTE };
	_cleanup_close_ int root = -EBADF;
	char first[65];
	struct bed b;

	bed_make(&b);
	assert_int_equal(build(&b, &o, NULL), 1);
	memcpy(first, b.view, sizeof(first));
	assert_ok(store_tree_open(b.s, b.view, &root, NULL, &b.e), &b.e);
	assert_int_equal(unlinkat(root, "bin/nvidia-smi", 0), 0);
	assert_true(view_find(b.s, b.tree, &o, b.view, &b.e) < 0);
	assert_slug(&b.e, "store-damaged");
	assert_int_equal(build(&b, &o, NULL), 1);
	assert_string_equal(b.view, first);
	assert_ok(store_tree_verify(b.s, b.view, STORE_VERIFY_FULL, NULL, &b.e), &b.e);
	/* Damage that both trees share is the driver's: nothing is made of it. */
	close(root);
	assert_ok(store_tree_open(b.s, b.tree, &root, NULL, &b.e), &b.e);
	{
		int fd = openat(root, "libcuda.so.1.2.3", O_WRONLY | O_CLOEXEC);

		assert_int_equal(pwrite(fd, "x", 1, 0), 1);
		close(fd);
	}
	assert_true(view_build(b.s, b.tree, &o, b.view, NULL, &b.e) < 0);
	assert_slug(&b.e, "store-damaged");
	bed_end(&b);
}

/* gc keeps a view and, through its record, the driver; forgotten, both may go. */
static void gc_follows_the_ref(void **state _unused_)
{
	struct view_options o = { .profile = DEST_PROFILE_COMPUTE };
	struct store_gc_result res;
	struct bed b;

	bed_make(&b);
	assert_int_equal(build(&b, &o, NULL), 1);
	assert_ok(store_gc(b.s, false, NULL, &res, &b.e), &b.e);
	assert_int_equal(res.objects, 0);
	assert_ok(view_forget(b.s, b.view, &b.e), &b.e);
	assert_ok(view_forget(b.s, b.view, &b.e), &b.e);
	assert_ok(store_gc(b.s, false, NULL, &res, &b.e), &b.e);
	assert_int_equal(res.objects, 2);
	bed_end(&b);
}

static void refusals(void **state _unused_)
{
	struct view_options o = { .profile = DEST_PROFILE_COMPUTE };
	static const char *const bad[] = { "relative", "/", "/a/../b" };
	struct bed b;

	bed_make(&b);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		o.mount = bad[i];
		assert_true(view_build(b.s, b.tree, &o, b.view, NULL, &b.e) < 0);
		assert_slug(&b.e, "usage");
	}
	o.mount = NULL;
	o.profile = DEST_PROFILE_HOST_VGPU;
	o.exclude = (char *[]){ (char *)"type:*", NULL };
	assert_true(view_build(b.s, b.tree, &o, b.view, NULL, &b.e) < 0);
	assert_slug(&b.e, "install-nothing-selected");
	memset(b.tree, '0', 64);
	assert_true(view_build(b.s, b.tree, &o, b.view, NULL, &b.e) < 0);
	assert_slug(&b.e, "store-object-missing");
	bed_end(&b);
}

static void image(void **state _unused_)
{
	struct view_options o = { .profile = DEST_PROFILE_COMPUTE };
	_cleanup_close_ int fd = -EBADF;
	struct bed b;

	if (access("/usr/bin/mkfs.erofs", X_OK) < 0)
		skip();
	bed_make(&b);
	assert_int_equal(build(&b, &o, NULL), 1);
	assert_int_equal(view_image(b.s, b.view, NULL, &b.e), 1);
	assert_int_equal(view_image(b.s, b.view, &fd, &b.e), 0);
	assert_true(fd >= 0);
	bed_end(&b);
}

TEST_MAIN(cmocka_unit_test(places), cmocka_unit_test(links_lead_somewhere),
	  cmocka_unit_test(again_costs_nothing), cmocka_unit_test(damage_is_made_anew),
	  cmocka_unit_test(gc_follows_the_ref), cmocka_unit_test(refusals), cmocka_unit_test(image))
