/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-types.h"

#include "fd.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 20)

void vgpu_types_done(struct vgpu_types *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].name);
	free(t->v);
	*t = (struct vgpu_types){ 0 };
}

static unsigned number_after(struct span text, const char *key)
{
	const char *p = memmem(text.p, text.len, key, strlen(key)), *from = p ? p + strlen(key) : NULL;
	uint64_t n;
	size_t len = 0;

	while (from && from + len < text.p + text.len && from[len] >= '0' && from[len] <= '9')
		len++;
	return from && parse_u64((struct span){ from, len }, UINT32_MAX, &n) == 0 ? (unsigned)n : 0;
}

void vgpu_type_describe(struct vgpu_type *t, struct span description)
{
	unsigned framebuffer = number_after(description, "framebuffer=");

	t->displays = number_after(description, "num_heads=");
	t->framebuffer_mib = framebuffer ? framebuffer : t->framebuffer_mib;
}

unsigned vgpu_type_size_mib(const char *name)
{
	const char *dash = strrchr(name, '-');
	char *end = NULL;
	unsigned long gib;

	if (!dash || dash[1] < '0' || dash[1] > '9')
		return 0;
	gib = strtoul(dash + 1, &end, 10);
	/* One letter says what it is for; "0" stands for half a GiB. */
	if (gib > 1024 || !strchr("ABCQ", *end) || *end == '\0' || end[1] != '\0')
		return 0;
	return gib ? (unsigned)gib * 1024 : 512;
}

static int add(struct vgpu_types *t, const char *address, bool vendor, unsigned id, struct span name,
	       int available)
{
	struct vgpu_type *v = reallocarray(t->v, t->n + 1, sizeof(*v));
	struct vgpu_type *new;

	if (!v)
		return -ENOMEM;
	t->v = v;
	new = &t->v[t->n];
	*new =
	    (struct vgpu_type){ .vendor = vendor, .id = id, .available = available, .name = span_dup(name) };
	if (!new->name)
		return -ENOMEM;
	new->framebuffer_mib = vgpu_type_size_mib(new->name);
	(void)snprintf(new->address, sizeof(new->address), "%s", address);
	t->n++;
	return 0;
}

int vgpu_types_parse(struct span text, const char *address, struct vgpu_types *t)
{
	struct span line;
	int r = 0;

	while (r == 0 && span_line(&text, &line)) {
		const char *colon = memchr(line.p, ':', line.len);
		struct span number = span_trim((struct span){ line.p, colon ? (size_t)(colon - line.p) : 0 });
		uint64_t id;

		if (!colon || parse_u64(number, UINT16_MAX, &id) < 0)
			continue;
		r = add(t, address, true, (unsigned)id,
			span_trim((struct span){ colon + 1, line.len - (size_t)(colon + 1 - line.p) }), -1);
	}
	return r;
}

/* Entries of a directory of sys, sorted; none when it is not there. */
static int names(const struct host *h, const char *path, char ***ret)
{
	int fd = h->sys_fd < 0 ? -EBADF : openat(h->sys_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		close_fdp(&fd);
		return 0;
	}
	for (struct dirent *entry; r == 0 && (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			r = strv_push(ret, entry->d_name);
	(void)closedir(d);
	if (*ret)
		strv_sort(*ret);
	return r;
}

static int read_mdev_type(const struct host *h, const char *address, const char *type, struct vgpu_types *t)
{
	_cleanup_free_ char *name = NULL, *free_text = NULL, *description = NULL;
	char path[PATH_MAX];
	uint64_t id, available = 0;
	bool known;
	int n = snprintf(path, sizeof(path), "class/mdev_bus/%s/mdev_supported_types/%s/name", address, type);

	if (!span_starts(SPAN(type), "nvidia-") || parse_u64(SPAN(type + 7), UINT16_MAX, &id) < 0 ||
	    n >= (int)sizeof(path))
		return 0;
	(void)read_line_at(h->sys_fd, path, &name);
	(void)snprintf(path, sizeof(path), "class/mdev_bus/%s/mdev_supported_types/%s/available_instances",
		       address, type);
	known = read_line_at(h->sys_fd, path, &free_text) == 0 &&
		parse_u64(span_trim(SPAN(free_text)), INT_MAX, &available) == 0;
	if (add(t, address, false, (unsigned)id, SPAN(name ? name : ""), known ? (int)available : -1) < 0)
		return -ENOMEM;
	(void)snprintf(path, sizeof(path), "class/mdev_bus/%s/mdev_supported_types/%s/description", address,
		       type);
	if (read_line_at(h->sys_fd, path, &description) == 0)
		vgpu_type_describe(&t->v[t->n - 1], SPAN(description));
	return 0;
}

static int read_mdev(const struct host *h, struct vgpu_types *t)
{
	_cleanup_strv_ char **devices = NULL;
	int r = names(h, "class/mdev_bus", &devices);

	for (char **d = devices; r == 0 && d && *d; d++) {
		_cleanup_strv_ char **types = NULL;
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "class/mdev_bus/%s/mdev_supported_types", *d);
		r = names(h, path, &types);
		for (char **type = types; r == 0 && type && *type; type++)
			r = read_mdev_type(h, *d, *type, t);
	}
	return r;
}

static int read_vendor(const struct host *h, struct vgpu_types *t)
{
	_cleanup_strv_ char **devices = NULL;
	int r = names(h, "bus/pci/devices", &devices);

	for (char **d = devices; r == 0 && d && *d; d++) {
		_cleanup_free_ char *text = NULL;
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/nvidia/creatable_vgpu_types", *d);
		if (read_file_at(h->sys_fd, path, TEXT_MAX, &text, NULL) == 0)
			r = vgpu_types_parse(SPAN(text), *d, t);
	}
	return r;
}

int vgpu_types_read(const struct host *h, struct vgpu_types *ret, struct err *e)
{
	struct vgpu_types t = { 0 };
	int r = h->sys_fd < 0 ? 0 : read_mdev(h, &t);

	if (r == 0 && h->sys_fd >= 0)
		r = read_vendor(h, &t);
	if (r < 0) {
		vgpu_types_done(&t);
		return err_oom(e);
	}
	*ret = t;
	return 0;
}
