/* SPDX-License-Identifier: Apache-2.0
 *
 * Address patterns of the vendor's public download sites. In a pattern {v} is the driver version, {a} the machine
 * and {f} the folder of the vGPU branch. */
#include "urls.h"

#include "parse.h"
#include "strbuf.h"

#include <string.h>

static const struct url_pattern {
	const char *kind, *arch; /* arch NULL = any */
	const char *text;
} patterns[] = {
	{ "passthrough", "x86_64",
	  "https://us.download.nvidia.com/XFree86/Linux-x86_64/{v}/NVIDIA-Linux-x86_64-{v}.run" },
	/* The desktop directory of the ARM packages is called by the machine alone. */
	{ "passthrough", "aarch64",
	  "https://us.download.nvidia.com/XFree86/aarch64/{v}/NVIDIA-Linux-aarch64-{v}.run" },
	/* Data-centre releases are published here first, some only here. */
	{ "passthrough", NULL, "https://us.download.nvidia.com/tesla/{v}/NVIDIA-Linux-{a}-{v}.run" },
	{ "passthrough", "x86_64",
	  "https://download.nvidia.com/XFree86/Linux-x86_64/{v}/NVIDIA-Linux-x86_64-{v}.run" },
	/* Guest drivers in a cloud provider's public bucket; the folder changed its prefix with branch 12. */
	{ "grid", NULL,
	  "https://storage.googleapis.com/nvidia-drivers-us-public/GRID/{f}/NVIDIA-Linux-{a}-{v}-grid.run" },
};

static int append_folder(struct strbuf *b, const char *branch)
{
	return strbuf_printf(b, "%s%s", version_compare(branch, "12.0") >= 0 ? "vGPU" : "GRID", branch);
}

static int expand(const char *text, const char *version, const char *arch, const char *branch, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);

	for (const char *p = text; *p; p++) {
		if (p[0] != '{') {
			(void)strbuf_putc(&b, *p);
			continue;
		}
		if (p[1] == 'v')
			(void)strbuf_puts(&b, version);
		else if (p[1] == 'a')
			(void)strbuf_puts(&b, arch);
		else if (p[1] == 'f')
			(void)append_folder(&b, branch);
		p += 2;
	}
	return strbuf_steal(&b, ret);
}

int fetch_driver_urls(const char *version, const char *arch, const char *kind, const char *branch,
		      char ***ret_urls, struct err *e)
{
	_cleanup_strv_ char **urls = NULL;
	int r;

	if (!version_is_valid(version))
		return err_set(e, -ERR_USAGE, "%s is not a driver version", version);
	if (strcmp(kind, "grid") == 0 && (!branch || !version_is_valid(branch)))
		return err_set(e, -ERR_USAGE,
			       "the address of guest driver %s needs its vGPU branch, such as 16.5", version);
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		_cleanup_free_ char *url = NULL;

		if (strcmp(patterns[i].kind, kind) != 0 ||
		    (patterns[i].arch && strcmp(patterns[i].arch, arch) != 0))
			continue;
		r = expand(patterns[i].text, version, arch, branch, &url);
		if (r < 0)
			return err_errno(e, r, "making the address of driver %s", version);
		if (strv_push(&urls, url) < 0)
			return err_oom(e);
	}
	if (!urls)
		return err_set(e, -ERR_UNSUPPORTED, "the vendor publishes no %s driver for %s", kind, arch);
	*ret_urls = TAKE_PTR(urls);
	return 0;
}
