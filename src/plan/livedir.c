/* SPDX-License-Identifier: Apache-2.0 */
#include "livedir.h"

#include "fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

static int flock_wait(int fd, int how)
{
	while (flock(fd, how) < 0)
		if (errno != EINTR)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return 0;
}

/* A description of our own, so that the lock is dropped by closing it and not shared with the caller's. */
static int parent_lock(int parent_fd)
{
	_cleanup_close_ int fd = dir_open_at(parent_fd, ".");
	int r;

	if (fd < 0)
		return fd;
	r = flock_wait(fd, LOCK_EX);
	if (r < 0)
		return r;
	return TAKE_FD(fd);
}

int livedir_create(int parent_fd, const char *name)
{
	_cleanup_close_ int parent = parent_lock(parent_fd), fd = -EBADF;
	int r;

	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, 0700) < 0)
		return -errno;
	fd = dir_open_at(parent, name);
	r = fd < 0 ? fd : flock_wait(fd, LOCK_EX | LOCK_NB);
	if (r < 0) {
		(void)unlinkat(parent, name, AT_REMOVEDIR);
		return r;
	}
	return TAKE_FD(fd);
}

int livedir_claim(int parent_fd, const char *name)
{
	_cleanup_close_ int fd = dir_open_at(parent_fd, name);
	struct stat held, named;
	int r;

	if (fd < 0)
		return fd;
	r = flock_wait(fd, LOCK_EX | LOCK_NB);
	if (r < 0)
		return r;
	/* Its maker may have moved it away between our open and our lock. */
	if (fstat(fd, &held) < 0 || fstatat(parent_fd, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (held.st_ino != named.st_ino || held.st_dev != named.st_dev)
		return -ENOENT;
	return TAKE_FD(fd);
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

int livedir_list(int parent_fd, char ***ret)
{
	_cleanup_close_ int parent = parent_lock(parent_fd);
	_cleanup_(closedirp) DIR *d = NULL;
	_cleanup_strv_ char **names = NULL;
	struct dirent *de;
	int fd, r;

	if (parent < 0)
		return parent;
	fd = fcntl(parent, F_DUPFD_CLOEXEC, 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = -errno;
		close_fdp(&fd);
		return r;
	}
	while ((errno = 0, de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		r = strv_push(&names, de->d_name);
		if (r < 0)
			return r;
	}
	if (errno)
		return -errno;
	strv_sort(names);
	*ret = TAKE_PTR(names);
	return 0;
}
