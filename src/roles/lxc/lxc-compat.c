/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-compat.h"

#include "fd.h"
#include "lxc-enter.h"
#include "lxc-ops.h"
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIN_FILE "etc/ld.so.conf"
#define DIRECTORY "etc/ld.so.conf.d"
#define TEXT_MAX  ((size_t)1 << 20)
#define NOTE	  "# nvdriver: hides the driver's libraries: "

static bool names_compat(struct span line)
{
	line = span_trim(line);
	while (line.len > 1 && line.p[line.len - 1] == '/')
		line.len--;
	return span_starts(line, "/usr/local/cuda") && span_ends(line, "/compat");
}

int lxc_compat_text(struct span text, struct strbuf *out, bool *ret_changed)
{
	const char *end = text.p + text.len;
	struct span line;

	*ret_changed = false;
	while (span_line(&text, &line)) {
		if (names_compat(line)) {
			*ret_changed = true;
			(void)strbuf_puts(out, NOTE);
		}
		(void)strbuf_append(out, line.p, line.len);
		if (line.p + line.len < end)
			(void)strbuf_putc(out, '\n');
	}
	return strbuf_error(out);
}

/* A file that is a link, or cannot be read, is left: the check afterwards says what the loader finds. */
static int file_entry(int root_fd, const char *path, json_t *entries)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	bool changed;
	size_t len;

	if (path_stat(root_fd, path, &st, PATH_IN_ROOT) < 0 || !S_ISREG(st.st_mode) ||
	    lxc_read_beneath(root_fd, path, TEXT_MAX, &text, &len) < 0)
		return 0;
	if (lxc_compat_text((struct span){ text, len }, &out, &changed) < 0)
		return -ENOMEM;
	return changed ? lxc_entry_text(entries, path, strbuf_str(&out), st.st_mode & 07777) : 0;
}

int lxc_compat_entries(int root_fd, json_t *entries)
{
	_cleanup_strv_ char **names = NULL;
	int r = file_entry(root_fd, MAIN_FILE, entries);

	if (path_names(root_fd, DIRECTORY, &names) == -ENOMEM)
		return -ENOMEM;
	for (char **p = names; r >= 0 && p && *p; p++) {
		_cleanup_free_ char *path = str_printf(DIRECTORY "/%s", *p);

		if (!path)
			r = -ENOMEM;
		else if (span_ends(SPAN(path), ".conf"))
			r = file_entry(root_fd, path, entries);
	}
	return r;
}
