/* SPDX-License-Identifier: Apache-2.0 */
#include "modparams.h"

#include "fd.h"
#include "kmods.h"
#include "parse.h"
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define CONF_MAX ((size_t)1 << 20)

static bool module_is(struct span word, const char *module)
{
	_cleanup_free_ char *name = span_dup(word);

	return name && kmod_name_eq(name, module);
}

static int take_options(struct span line, const char *module, struct strbuf *out)
{
	struct span word;

	if (!span_word(&line, &word) || !span_eq(word, "options") || !span_word(&line, &word) ||
	    !module_is(word, module))
		return 0;
	while (span_word(&line, &word))
		(void)strbuf_printf(out, "%s%.*s", out->len ? " " : "", (int)word.len, word.p);
	return strbuf_error(out);
}

int modprobe_options(const char *text, size_t len, const char *module, struct strbuf *out)
{
	_cleanup_(strbuf_done) struct strbuf joined = STRBUF_INIT(CONF_MAX);
	struct span rest = { text, len }, line;
	int r = 0;

	while (r == 0 && span_line(&rest, &line)) {
		if (line.len && line.p[line.len - 1] == '\\') {
			(void)strbuf_append(&joined, line.p, line.len - 1);
			(void)strbuf_putc(&joined, ' ');
			continue;
		}
		(void)strbuf_append(&joined, line.p, line.len);
		r = strbuf_error(&joined);
		if (r == 0)
			r = take_options((struct span){ strbuf_str(&joined), joined.len }, module, out);
		strbuf_reset(&joined);
	}
	return r;
}

int cmdline_options(const char *cmdline, const char *module, struct strbuf *out)
{
	struct span rest = SPAN(cmdline), word;

	while (span_word(&rest, &word)) {
		const char *dot = memchr(word.p, '.', word.len);

		if (!dot || !module_is((struct span){ word.p, (size_t)(dot - word.p) }, module))
			continue;
		(void)strbuf_printf(out, "%s%.*s", out->len ? " " : "",
				    (int)(word.len - (size_t)(dot - word.p) - 1), dot + 1);
	}
	return strbuf_error(out);
}

static const char *const conf_dirs[] = { "etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d",
					 "usr/lib/modprobe.d", "lib/modprobe.d" };

static int list_conf(const struct host *h, const char *dir, char ***names)
{
	int fd = path_open_at(h->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	struct dirent *de;
	DIR *d;

	if (fd < 0)
		return 0;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (de = readdir(d)))
		if (span_ends(SPAN(de->d_name), ".conf") && !(*names && strv_contains(*names, de->d_name)))
			r = strv_push(names, de->d_name);
	closedir(d);
	return r;
}

/* The first directory that has the file decides; a link to /dev/null or an unreadable file is an empty one. */
static int take_conf(const struct host *h, const char *name, const char *module, struct strbuf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(conf_dirs); i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", conf_dirs[i], name), *text = NULL;
		_cleanup_close_ int fd = -EBADF;
		size_t len;

		if (!path)
			return -ENOMEM;
		fd = path_open_at(h->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
		if (fd == -ENOENT)
			continue;
		if (fd < 0 || read_fd(fd, CONF_MAX, &text, &len) < 0)
			return 0;
		return modprobe_options(text, len, module, out);
	}
	return 0;
}

int modparams_collect(const struct host *h, const char *module, struct strbuf *out)
{
	_cleanup_free_ char *cmdline = NULL;
	_cleanup_strv_ char **names = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(conf_dirs); i++)
		r = list_conf(h, conf_dirs[i], &names);
	if (r == 0 && names)
		strv_sort(names);
	for (char **n = names; r == 0 && n && *n; n++)
		r = take_conf(h, *n, module, out);
	if (r == 0 && host_cmdline(h, &cmdline) == 0)
		r = cmdline_options(cmdline, module, out);
	return r;
}
