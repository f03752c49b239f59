/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-modules.h"

#include "catalog.h"
#include "kmods.h"
#include "strbuf.h"

#include <string.h>

static bool in_dir(const struct text_file *f, const char *dir)
{
	return strncmp(f->path, dir, strlen(dir)) == 0;
}

static bool word_is_module(struct span word, const char *name)
{
	char buf[64];

	if (word.len == 0 || word.len >= sizeof(buf))
		return false;
	memcpy(buf, word.p, word.len);
	buf[word.len] = '\0';
	return kmod_name_eq(buf, name);
}

/* Loaded at boot by a file that is not ours. */
static bool is_loaded(const struct text_files *files, const char *name)
{
	for (size_t i = 0; i < files->n; i++) {
		const struct text_file *f = &files->v[i];
		struct span rest = { f->bytes, f->len }, line, word;

		if ((strcmp(f->path, "etc/modules") != 0 && !in_dir(f, "etc/modules-load.d/")) ||
		    strcmp(f->path, MODULES_LOAD) == 0)
			continue;
		while (span_line(&rest, &line))
			if (span_word(&line, &word) && word_is_module(word, name))
				return true;
	}
	return false;
}

static bool denied_elsewhere(const struct text_files *files, const char *name, const char *but)
{
	for (size_t i = 0; i < files->n; i++) {
		const struct text_file *f = &files->v[i];
		struct span rest = { f->bytes, f->len }, line, word;

		if (!in_dir(f, "etc/modprobe.d/") || (but && strcmp(f->path, but) == 0))
			continue;
		while (span_line(&rest, &line))
			if (span_word(&line, &word) && span_eq(word, "blacklist") &&
			    span_word(&line, &word) && word_is_module(word, name))
				return true;
	}
	return false;
}

bool modules_is_denied(const struct text_files *files, const char *name)
{
	return denied_elsewhere(files, name, NULL);
}

static int put(struct text_edits *ret, const struct text_files *files, const char *path, struct strbuf *text,
	       const char *sentence)
{
	const struct text_file *f = text_files_find(files, path);

	if (strbuf_error(text) < 0)
		return -ENOMEM;
	if (text->len == 0)
		return f ? text_edits_drop(ret, f, "/%s is no longer needed", path) : 0;
	return text_edits_set(ret, path, f, SPAN(strbuf_str(text)), "%s: /%s", sentence, path);
}

int modules_edits(const struct text_files *files, const struct modules_request *q, struct text_edits *ret)
{
	static const char *const wanted[] = { "vfio", "vfio_iommu_type1", "vfio_pci", "vfio_virqfd" };
	static const char *const denied[] = { "nouveau", "nova_core", "nova_drm" };
	_cleanup_(strbuf_done) struct strbuf load = STRBUF_INIT(4096), deny = STRBUF_INIT(4096);
	int r;

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		bool skip = (strcmp(wanted[i], "vfio_pci") == 0 && !q->passthrough) ||
			    (strcmp(wanted[i], "vfio_virqfd") == 0 && catalog_compare(q->kernel, "6.2") >= 0);

		if (!skip && q->has_module(wanted[i], q->arg) && !is_loaded(files, wanted[i]))
			(void)strbuf_printf(&load, "%s\n", wanted[i]);
	}
	/* nouveau is named whether it is there or not: the next kernel may bring it. The nova drivers only exist in new ones. */
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if ((i == 0 || q->has_module(denied[i], q->arg)) &&
		    !denied_elsewhere(files, denied[i], MODULES_DENY))
			(void)strbuf_printf(&deny, "blacklist %s\n", denied[i]);
	(void)strbuf_puts(&deny, "options nouveau modeset=0\n");
	r = put(ret, files, MODULES_LOAD, &load, "load the VFIO modules at boot");
	return r < 0 ? r : put(ret, files, MODULES_DENY, &deny, "keep nouveau away from the cards");
}
