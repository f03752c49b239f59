/* SPDX-License-Identifier: Apache-2.0 */
#include "zip.h"

#include "cleanup.h"
#include "fd.h"
#include "interrupt.h"
#include "libarchive.h"
#include "parse.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)1 << 18)

static void reader_freep(struct archive **a)
{
	if (*a)
		(void)archive_read_free(*a);
}

static int damaged(struct archive *a, const char *label, struct err *e)
{
	const char *text = archive_error_string(a);

	return err_set(e, ERR_SOURCE_PACKAGE, "%s: %s", label, text ? text : "not a zip archive");
}

static const char *wanted_name(struct archive_entry *en, const char *pattern)
{
	const char *path = archive_entry_pathname(en), *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path;

	if (!name || archive_entry_filetype(en) != S_IFREG || !name_is_safe(name))
		return NULL;
	return fnmatch(pattern, name, 0) == 0 ? name : NULL;
}

static int find_member(struct archive *a, const char *label, const char *pattern, char **ret, struct err *e)
{
	struct archive_entry *en;
	const char *name;
	int r;

	while ((r = archive_read_next_header(a, &en)) >= ARCHIVE_WARN && r != ARCHIVE_EOF) {
		name = wanted_name(en, pattern);
		if (name)
			return (*ret = strdup(name)) ? 0 : err_oom(e);
		r = interrupt_check(e);
		if (r < 0)
			return r;
	}
	if (r != ARCHIVE_EOF)
		return damaged(a, label, e);
	return err_set(e, ERR_SOURCE_PACKAGE, "%s holds no file %s", label, pattern);
}

static int write_member(struct archive *a, const char *label, int out, struct err *e)
{
	_cleanup_free_ char *block = malloc(BLOCK_BYTES);
	la_ssize_t n;
	int r;

	if (!block)
		return err_oom(e);
	while ((n = archive_read_data(a, block, BLOCK_BYTES)) > 0) {
		r = interrupt_check(e);
		if (r < 0)
			return r;
		r = write_all(out, block, (size_t)n);
		if (r < 0)
			return err_errno(e, r, "unpacking %s", label);
	}
	if (n < 0)
		return damaged(a, label, e);
	return fsync(out) < 0 ? err_errno(e, -errno, "unpacking %s", label) : 0;
}

int zip_take(int fd, const char *label, const char *pattern, int out_dirfd, char **ret_name, struct err *e)
{
	_cleanup_(reader_freep) struct archive *a = NULL;
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int out = -EBADF;
	int r = libarchive_require(e);

	if (r < 0)
		return r;
	a = archive_read_new();
	if (!a)
		return err_oom(e);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "reading %s", label);
	if (archive_read_support_format_zip(a) != ARCHIVE_OK ||
	    archive_read_open_fd(a, fd, BLOCK_BYTES) != ARCHIVE_OK)
		return damaged(a, label, e);
	r = find_member(a, label, pattern, &name, e);
	if (r < 0)
		return r;
	out = openat(out_dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (out < 0)
		return err_errno(e, -errno, "unpacking %s from %s", name, label);
	r = write_member(a, label, out, e);
	if (r < 0)
		(void)unlinkat(out_dirfd, name, 0);
	else
		*ret_name = TAKE_PTR(name);
	return r;
}
