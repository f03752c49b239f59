/* SPDX-License-Identifier: Apache-2.0 */
#include "kmods.h"

#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"
#include "tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define PROC_MODULES_MAX ((size_t)4 << 20)

static void kmod_info_done(struct kmod_info *k)
{
	free(k->name);
	strv_freep(&k->holders);
}

void kmods_done(struct kmods *k)
{
	for (size_t i = 0; i < k->n; i++)
		kmod_info_done(&k->v[i]);
	free(k->v);
	*k = (struct kmods)KMODS_INIT;
}

bool kmod_name_eq(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
			return false;
	return *a == *b;
}

char *kmod_name_underscores(const char *name)
{
	char *out = strdup(name);

	for (char *p = out; p && *p; p++)
		if (*p == '-')
			*p = '_';
	return out;
}

/* "a,b," or "-"; a "[permanent]" entry is a mark, not a module. */
static int parse_holders(struct span text, char ***ret)
{
	size_t from = 0;

	if (span_eq(text, "-"))
		return 0;
	for (size_t i = 0; i < text.len; i++) {
		_cleanup_free_ char *name = NULL;
		int r;

		if (text.p[i] != ',')
			continue;
		name = span_dup((struct span){ text.p + from, i - from });
		if (!name)
			return -ENOMEM;
		from = i + 1;
		if (*name == '[' || !*name)
			continue;
		r = strv_push(ret, name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One line: name size refcount holders state address [taints] */
static int parse_line(struct span line, struct kmod_info *ret)
{
	struct span name, size, count, holders, state;
	uint64_t n;

	if (!span_word(&line, &name) || !span_word(&line, &size) || !span_word(&line, &count) ||
	    !span_word(&line, &holders) || !span_word(&line, &state))
		return -EINVAL;
	if (parse_u64(size, UINT64_MAX, &ret->size_bytes) < 0)
		return -EINVAL;
	if (span_eq(count, "-"))
		ret->refcount = -1;
	else if (parse_u64(count, INT32_MAX, &n) == 0)
		ret->refcount = (int)n;
	else
		return -EINVAL;
	ret->live = span_eq(state, "Live");
	ret->name = span_dup(name);
	if (!ret->name)
		return -ENOMEM;
	return parse_holders(holders, &ret->holders);
}

int kmods_parse(const char *text, size_t len, struct kmods *ret)
{
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	struct span rest = { text, len }, line;

	while (span_line(&rest, &line)) {
		struct kmod_info info = { 0 }, *grown;
		int r;

		if (!span_trim(line).len)
			continue;
		grown = realloc(k.v, (k.n + 1) * sizeof(*k.v));
		if (!grown)
			return -ENOMEM;
		k.v = grown;
		r = parse_line(line, &info);
		if (r < 0) {
			kmod_info_done(&info);
			return r;
		}
		k.v[k.n++] = info;
	}
	*ret = k;
	k = (struct kmods)KMODS_INIT;
	return 0;
}

int kmods_read(const struct host *h, struct kmods *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (h->proc_fd < 0)
		return -ENOENT;
	r = read_file_at(h->proc_fd, "modules", PROC_MODULES_MAX, &text, &len);
	if (r < 0)
		return r;
	return kmods_parse(text, len, ret);
}

const struct kmod_info *kmods_find(const struct kmods *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++)
		if (kmod_name_eq(k->v[i].name, name))
			return &k->v[i];
	return NULL;
}

static char *module_path(const char *name, const char *below)
{
	_cleanup_free_ char *under = kmod_name_underscores(name);

	return under && name_is_safe(under) ? str_printf("module/%s/%s", under, below) : NULL;
}

int kmod_attr(const struct host *h, const char *name, const char *attribute, char **ret)
{
	_cleanup_free_ char *path = NULL;

	if (h->sys_fd < 0)
		return -ENOENT;
	path = module_path(name, attribute);
	if (!path)
		return -EINVAL;
	return read_line_at(h->sys_fd, path, ret);
}

static int list_names(const struct host *h, const char *name, const char *below, char ***ret)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_strv_ char **names = NULL;
	struct dirent *de;
	DIR *d;
	int fd, r = 0;

	if (h->sys_fd < 0)
		return -ENOENT;
	path = module_path(name, below);
	if (!path)
		return -EINVAL;
	fd = openat(h->sys_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (de = readdir(d)))
		if (de->d_name[0] != '.')
			r = strv_push(&names, de->d_name);
	closedir(d);
	if (r < 0)
		return r;
	if (names)
		strv_sort(names);
	*ret = TAKE_PTR(names);
	return 0;
}

int kmod_holders(const struct host *h, const char *name, char ***ret)
{
	return list_names(h, name, "holders", ret);
}

int kmod_parameters(const struct host *h, const char *name, char ***ret)
{
	return list_names(h, name, "parameters", ret);
}
