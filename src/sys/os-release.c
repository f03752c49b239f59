/* SPDX-License-Identifier: Apache-2.0
 *
 * The format is os-release(5): assignments as a shell would read them, less everything a shell could do with them. */
#include "host.h"
#include "fd.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

#define OS_RELEASE_MAX ((size_t)64 << 10)
#define VALUE_MAX      1024

static const struct {
	const char *key;
	size_t offset;
} keys[] = {
	{ "ID", offsetof(struct os_release, id) },
	{ "ID_LIKE", offsetof(struct os_release, id_like) },
	{ "VERSION_ID", offsetof(struct os_release, version_id) },
	{ "VERSION_CODENAME", offsetof(struct os_release, codename) },
	{ "PRETTY_NAME", offsetof(struct os_release, pretty_name) },
	{ "PLATFORM_ID", offsetof(struct os_release, platform_id) },
	{ "RHEL_VERSION", offsetof(struct os_release, rhel_version) },
};

void os_release_done(struct os_release *o)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		freep((char *)o + keys[i].offset);
}

static bool is_plain(char c)
{
	return (unsigned char)c >= 0x20 && c != 0x7f;
}

/* Takes quotes and backslashes away. -EINVAL where a shell would see more than one word. */
static int unquote(struct span s, char **ret)
{
	_cleanup_free_ char *out = calloc(1, s.len + 1);
	char quote = 0;
	size_t n = 0;

	if (!out)
		return -ENOMEM;
	if (s.len > VALUE_MAX)
		return -EINVAL;
	if (s.len > 0 && (s.p[0] == '"' || s.p[0] == '\'')) {
		quote = s.p[0];
		if (s.len < 2 || s.p[s.len - 1] != quote)
			return -EINVAL;
		s.p++;
		s.len -= 2;
	}
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!is_plain(c) || (quote && c == quote))
			return -EINVAL;
		if (!quote && (strchr(" \t\"'`$;&|<>()", c)))
			return -EINVAL;
		if (c == '\\' && quote != '\'') {
			if (++i >= s.len || !is_plain(s.p[i]))
				return -EINVAL;
			c = s.p[i];
		}
		out[n++] = c;
	}
	*ret = TAKE_PTR(out);
	return 0;
}

/* 0 also for keys that do not concern us; the last of several wins, as in a shell. */
static int take_line(struct span line, struct os_release *o)
{
	const char *eq = memchr(line.p, '=', line.len);
	struct span key = { line.p, eq ? (size_t)(eq - line.p) : line.len };
	char **field, *value;
	int r;

	if (line.len == 0 || line.p[0] == '#')
		return 0;
	if (!eq)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!span_eq(key, keys[i].key))
			continue;
		r = unquote((struct span){ eq + 1, line.len - key.len - 1 }, &value);
		if (r < 0)
			return r;
		field = (char **)(void *)((char *)o + keys[i].offset);
		free(*field);
		*field = value;
	}
	return 0;
}

int os_release_parse(const char *text, size_t len, struct os_release *ret, struct err *e)
{
	_cleanup_(os_release_done) struct os_release o = { 0 };
	struct span rest = { text, len }, line;
	unsigned number = 0;
	int r;

	if (len > OS_RELEASE_MAX)
		return err_set(e, -ERR_TOO_LARGE, "os-release is larger than %zu bytes", OS_RELEASE_MAX);
	while (span_line(&rest, &line)) {
		number++;
		r = take_line(span_trim(line), &o);
		if (r == -ENOMEM)
			return err_oom(e);
		if (r < 0)
			return err_set(e, -ERR_FORMAT, "line %u is no assignment: " SPAN_FMT, number,
				       SPAN_ARG(line));
	}
	/* The default the format names. */
	if (!o.id && !(o.id = strdup("linux")))
		return err_oom(e);
	*ret = o;
	o = (struct os_release){ 0 };
	return 0;
}

int host_os_release(const struct host *h, struct os_release *ret, struct err *e)
{
	static const char *const places[] = { "etc/os-release", "usr/lib/os-release" };
	_cleanup_free_ char *text = NULL;
	const char *place = places[0];
	size_t len;
	int r = -ENOENT;

	for (size_t i = 0; i < ARRAY_LEN(places) && r == -ENOENT; i++) {
		_cleanup_close_ int fd = -EBADF;

		place = places[i];
		fd = path_open_at(h->root_fd, place, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
		r = fd < 0 ? fd : read_fd(fd, OS_RELEASE_MAX, &text, &len);
	}
	if (r < 0) {
		(void)err_errno(e, r, "cannot read %s of %s", place, h->root);
		return err_object(e, "%s", place);
	}
	r = os_release_parse(text, len, ret, e);
	return r < 0 ? err_wrap(e, "%s of %s", place, h->root) : 0;
}
