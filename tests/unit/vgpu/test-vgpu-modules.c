/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "strbuf.h"
#include "vgpu-modules.h"

static bool has(const char *name, void *arg)
{
	return strstr(arg, name) != NULL;
}

static const struct {
	const char *kernel, *have;
	bool passthrough;
	const char *modules, *modprobe; /* of the person */
	const char *load, *deny; /* NULL = no such file */
} cases[] = {
	{ "6.8.12-1-pve", "vfio vfio_iommu_type1 vfio_pci", false, "", "", "vfio\nvfio_iommu_type1\n",
	  "blacklist nouveau\noptions nouveau modeset=0\n" },
	{ "6.8.12-1-pve", "vfio vfio_iommu_type1 vfio_pci vfio_virqfd", true, "", "",
	  "vfio\nvfio_iommu_type1\nvfio_pci\n", "blacklist nouveau\noptions nouveau modeset=0\n" },
	{ "5.15.102-1-pve", "vfio vfio_iommu_type1 vfio_pci vfio_virqfd", true, "", "",
	  "vfio\nvfio_iommu_type1\nvfio_pci\nvfio_virqfd\n",
	  "blacklist nouveau\noptions nouveau modeset=0\n" },
	/* An older release of the script wrote all four there; comments do not count. */
	{ "5.15.102-1-pve", "vfio vfio_iommu_type1 vfio_pci vfio_virqfd", true,
	  "# old\nvfio\nvfio-iommu-type1\r\nvfio_pci\n#vfio_virqfd\n", "# blacklist nouveau\n",
	  "vfio_virqfd\n", "blacklist nouveau\noptions nouveau modeset=0\n" },
	{ "6.17.2-1-pve", "vfio vfio_iommu_type1 nova_core nova_drm", false, "vfio\nvfio_iommu_type1\n",
	  "blacklist nouveau\n", NULL,
	  "blacklist nova_core\nblacklist nova_drm\noptions nouveau modeset=0\n" },
};

static const struct text_edit *find(const struct text_edits *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i].path, path) == 0)
			return &l->v[i];
	return NULL;
}

static void writes_what_is_missing(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(text_files_done) struct text_files files = { 0 };
		_cleanup_(text_edits_done) struct text_edits edits = { 0 }, again = { 0 };
		struct modules_request q = { cases[i].kernel, cases[i].passthrough, has,
					     (void *)cases[i].have };
		const struct text_edit *load, *deny;

		assert_int_equal(
		    text_files_add(&files, "etc/modules", cases[i].modules, strlen(cases[i].modules)), 0);
		assert_int_equal(text_files_add(&files, "etc/modprobe.d/blacklist.conf", cases[i].modprobe,
						strlen(cases[i].modprobe)),
				 0);
		assert_int_equal(modules_edits(&files, &q, &edits), 0);
		load = find(&edits, MODULES_LOAD);
		deny = find(&edits, MODULES_DENY);
		assert_true(!load == !cases[i].load);
		if (load)
			assert_string_equal(load->bytes, cases[i].load);
		assert_string_equal(deny->bytes, cases[i].deny);
		for (size_t k = 0; k < edits.n; k++)
			assert_int_equal(
			    text_files_add(&files, edits.v[k].path, edits.v[k].bytes, edits.v[k].len), 0);
		assert_true(modules_is_denied(&files, "nouveau"));
		assert_int_equal(modules_edits(&files, &q, &again), 0);
		assert_int_equal(again.n, 0);
	}
}

TEST_MAIN(cmocka_unit_test(writes_what_is_missing))
