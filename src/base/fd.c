/* SPDX-License-Identifier: Apache-2.0 */
#include "fd.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define COPY_BLOCK ((size_t)256 << 10)

int write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t read_upto(int fd, void *buf, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = read(fd, (char *)buf + have, len - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int pwrite_all(int fd, const char *p, size_t len, off_t off)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
		off += n;
	}
	return 0;
}

int pread_exact(int fd, void *buf, size_t len, uint64_t off)
{
	char *p = buf;

	if (off > INT64_MAX || len > INT64_MAX - off)
		return -ENODATA;
	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

int read_fd(int fd, size_t max_bytes, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, cap;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	/* Files of /proc and /sys say 0 or a page; the size is a hint only. */
	if (st.st_size > 0 && (uint64_t)st.st_size > max_bytes && st.st_blocks > 0)
		return -E2BIG;
	cap = st.st_size > 0 && (uint64_t)st.st_size < max_bytes ? (size_t)st.st_size + 1 : 4096;
	for (;;) {
		ssize_t n;
		char *grown = realloc(buf, cap + 1);

		if (!grown)
			return -ENOMEM;
		buf = grown;
		n = read_upto(fd, buf + len, cap - len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
		if (len > max_bytes)
			return -E2BIG;
		if (len < cap)
			break;
		cap *= 2;
	}
	buf[len] = '\0';
	*ret = TAKE_PTR(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

/* /proc/self, /sys/bus/…/driver and their like are links the kernel itself made. */
static bool is_kernel_link(int dirfd, const char *path)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statfs sfs;

	if (fd < 0 || fstatfs(fd, &sfs) < 0)
		return false;
	return sfs.f_type == PROC_SUPER_MAGIC || sfs.f_type == SYSFS_MAGIC;
}

int read_file_at(int dirfd, const char *path, size_t max_bytes, char **ret, size_t *ret_len)
{
	/* O_NONBLOCK: opening a FIFO that somebody put there must not wait for its writer. */
	const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	_cleanup_close_ int fd = openat(dirfd, path, flags | O_NOFOLLOW);

	if (fd < 0 && errno == ELOOP && is_kernel_link(dirfd, path))
		fd = openat(dirfd, path, flags);
	else if (fd < 0)
		return -errno;
	if (fd < 0)
		return -errno;
	return read_fd(fd, max_bytes, ret, ret_len);
}

int read_line_at(int dirfd, const char *path, char **ret)
{
	_cleanup_free_ char *text = NULL;
	int r;

	r = read_file_at(dirfd, path, 64 << 10, &text, NULL);
	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

int dir_open_at(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int fd_reopen(int fd, int flags)
{
	char path[64];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, flags | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

int fd_real_path(int fd, char **ret)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	if (n < 0)
		return -errno;
	if ((size_t)n == sizeof(path))
		return -ENAMETOOLONG;
	*ret = strndup(path, (size_t)n);
	return *ret ? 0 : -ENOMEM;
}

int copy_fd_plain(int from_fd, int to_fd)
{
	_cleanup_free_ char *buf = malloc(COPY_BLOCK);
	off_t off = 0;

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = pread(from_fd, buf, COPY_BLOCK, off);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		r = pwrite_all(to_fd, buf, (size_t)n, off);
		if (r < 0)
			return r;
		off += n;
	}
}

/* 1 when all was copied, 0 when this pair of files cannot do it. */
static int try_copy_file_range(int from_fd, int to_fd, off_t size)
{
	off_t from = 0, to = 0;

	while (from < size) {
		ssize_t n = copy_file_range(from_fd, &from, to_fd, &to, (size_t)(size - from), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
			return -errno;
		/* EXDEV before Linux 5.3, EINVAL/EOPNOTSUPP on some file systems, ENOSYS, EPERM under a filter;
		 * 0 without an end of file was a bug of 5.3 to 5.18 on generated files. */
		if (n <= 0)
			return 0;
	}
	return 1;
}

int copy_fd(int from_fd, int to_fd, const char **ret_method)
{
	const char *method = "copy";
	struct stat st;
	int r;

	if (fstat(from_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (ioctl(to_fd, FICLONE, from_fd) == 0) {
		method = "reflink";
	} else {
		r = try_copy_file_range(from_fd, to_fd, st.st_size);
		if (r < 0)
			return r;
		if (r > 0 && st.st_size > 0)
			method = "copy_file_range";
		else if ((r = copy_fd_plain(from_fd, to_fd)) < 0)
			return r;
	}
	if (ret_method)
		*ret_method = method;
	return 0;
}
