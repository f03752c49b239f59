/* SPDX-License-Identifier: Apache-2.0 */
#include "container-banner.h"

#include "kimage.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

static bool is_running(const struct host *h, const char *release)
{
	_cleanup_free_ char *running = NULL;

	return host_kernel_release(h, &running) == 0 && strcmp(running, release) == 0;
}

/* An image that says nothing is no failure: there may be another. */
static int from_image(const struct host *h, const char *pattern, const char *release, char **ret,
		      struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf path = STRBUF_INIT(4096);
	_cleanup_close_ int fd = -EBADF;
	const char *at = strstr(pattern, "%R");
	int r;

	(void)strbuf_append(&path, pattern, (size_t)(at - pattern));
	(void)strbuf_printf(&path, "%s%s", release, at + 2);
	if (strbuf_error(&path) < 0)
		return err_oom(e);
	fd = path_open_at(h->root_fd, strbuf_str(&path), O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	if (fd < 0)
		return -ENOENT;
	r = kimage_banner(fd, strbuf_str(&path), release, ret, e);
	if (r != -ERR_KIMAGE)
		return r;
	err_done(e);
	return -ENOENT;
}

static int from_images(const struct host *h, const char *release, char **ret, struct err *e)
{
	static const char *const patterns[] = { "lib/modules/%R/vmlinuz", "usr/lib/modules/%R/vmlinuz",
						"boot/vmlinuz-%R" };
	int r = -ENOENT;

	for (size_t i = 0; h && r == -ENOENT && i < ARRAY_LEN(patterns); i++)
		r = from_image(h, patterns[i], release, ret, e);
	return r;
}

int container_banner(const struct host *container, const struct host *node, const char *release,
		     const struct ktree *tree, char **ret, const char **ret_from, struct err *e)
{
	const char *from;
	int r = -ENOENT;

	if (is_running(container, release)) {
		from = "the running kernel";
		r = host_proc_version(container, ret);
	}
	if (r < 0 && tree && tree->banner) {
		from = "the build tree";
		*ret = strdup(tree->banner);
		r = *ret ? 0 : err_oom(e);
	}
	if (r < 0 && r != -ENOMEM) {
		from = "the kernel's image";
		r = from_images(container, release, ret, e);
		if (r == -ENOENT)
			r = from_images(node, release, ret, e);
	}
	if (r == 0 && ret_from)
		*ret_from = from;
	return r;
}
