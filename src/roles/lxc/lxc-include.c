/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-include.h"

#include "fd.h"
#include "lxc-edit.h"
#include "path.h"
#include "strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY	   "lxc.include = "
#define CONFIG_MAX ((size_t)1 << 20)
#define DEPTH_MAX  16
#define LINES_MAX  4096 /* files that include one another would double with every level */

struct follow {
	int root_fd; /* borrowed */
	size_t n; /* lines looked at */
	char ***out; /* borrowed */
};

static int follow_lines(struct follow *f, char *const *lines, unsigned depth);

static int follow_file(struct follow *f, const char *path, unsigned depth)
{
	_cleanup_close_ int fd = path_open_at(f->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_strv_ char **lines = NULL;
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || read_fd(fd, CONFIG_MAX, &text, &len) < 0)
		return 0;
	if (lxc_conf_lines((struct span){ text, len }, &lines) < 0)
		return -ENOMEM;
	return follow_lines(f, lines, depth + 1);
}

static int is_conf(const struct dirent *de)
{
	size_t n = strlen(de->d_name);

	return de->d_name[0] != '.' && n > 5 && strcmp(de->d_name + n - 5, ".conf") == 0;
}

static int follow_directory(struct follow *f, const char *path, unsigned depth)
{
	_cleanup_close_ int fd = path_open_at(f->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	struct dirent **names = NULL;
	int n = fd < 0 ? -1 : scandirat(fd, ".", &names, is_conf, alphasort), r = 0;

	for (int i = 0; i < n; i++) {
		/* From the root again: a link in the directory may be absolute. */
		_cleanup_free_ char *file = str_printf("%s/%s", path, names[i]->d_name);

		if (r >= 0)
			r = file ? follow_file(f, file, depth) : -ENOMEM;
		free(names[i]);
	}
	free(names);
	return n < 0 ? -ENOTDIR : r;
}

static int follow_include(struct follow *f, const char *path, unsigned depth)
{
	int r;

	while (*path == '/')
		path++;
	if (depth >= DEPTH_MAX || !*path)
		return 0;
	r = follow_directory(f, path, depth);
	return r == -ENOTDIR ? follow_file(f, path, depth) : r;
}

static int follow_lines(struct follow *f, char *const *lines, unsigned depth)
{
	int r = 0;

	for (; r >= 0 && lines && *lines && f->n < LINES_MAX; lines++, f->n++)
		r = strncmp(*lines, KEY, sizeof(KEY) - 1) == 0
			? follow_include(f, *lines + sizeof(KEY) - 1, depth)
			: strv_push(f->out, *lines);
	return r;
}

int lxc_lines_follow(int root_fd, char *const *lines, char ***ret)
{
	_cleanup_strv_ char **out = NULL;
	struct follow f = { root_fd, 0, &out };

	if (follow_lines(&f, lines, 0) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(out);
	return 0;
}
