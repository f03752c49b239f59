/* SPDX-License-Identifier: Apache-2.0
 *
 * A host's files as a person left them: repositories, GRUB's settings, a kernel command line. Whatever they hold, an edit
 * is done once: the second one changes nothing. */
#include "vgpu-apt.h"
#include "vgpu-boot.h"
#include "vgpu-modules.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const char *a, const char *b)
{
	if (strcmp(a, b) != 0)
		abort();
}

static void repositories(struct span text)
{
	_cleanup_free_ char *list = NULL, *list2 = NULL, *sources = NULL, *sources2 = NULL;

	if (apt_list_without_enterprise(text, &list, NULL) == 0 &&
	    apt_list_without_enterprise(SPAN(list), &list2, NULL) == 0)
		same(list, list2);
	if (apt_sources_without_enterprise(text, &sources) == 0 &&
	    apt_sources_without_enterprise(SPAN(sources), &sources2) == 0)
		same(sources, sources2);
}

static bool never(const char *path _unused_, void *arg _unused_)
{
	return false;
}

static void all_edits(struct span text)
{
	static const char *const paths[] = { "etc/apt/sources.list", "etc/apt/sources.list.d/a.sources",
					     BOOT_GRUB_DEFAULT, BOOT_KERNEL_CMDLINE, "etc/modules" };
	char *const words[] = { (char *)"intel_iommu=on", (char *)"iommu=pt", NULL };
	struct apt_request q = { .codename = "trixie", .has_file = never };
	struct text_files files = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (text_files_add(&files, paths[i], text.p, text.len) < 0)
			break;
	for (int grub = 0; grub <= 1; grub++) {
		struct text_edits edits = { 0 };
		struct boot_path path = { .grub = grub, .systemd_boot = !grub };

		(void)boot_edits(&files, &path, words, &edits, NULL);
		(void)apt_edits(&files, &q, &edits);
		text_edits_done(&edits);
	}
	text_files_done(&files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };

	if (memchr(data, 0, size))
		return 0; /* refused when read */

	repositories(text);
	all_edits(text);
	return 0;
}
