/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"
#include "cleanup.h"
#include "fd.h"
#include "strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* One descriptor is held per level; path_clean() allows 200. */
#define DEPTH_MAX 256

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
	*d = NULL;
}

/* Names of a directory, without "." and "..". The descriptor stays open and is left at its start. */
static int list_names(int dirfd, char ***ret)
{
	_cleanup_(closedirp) DIR *d = NULL;
	_cleanup_strv_ char **names = NULL;
	size_t n = 0, cap = 0;
	struct dirent *de;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		int saved = errno;

		close_fdp(&fd);
		return -saved;
	}
	while (errno = 0, (de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (n + 2 > cap) {
			char **grown = reallocarray(names, cap ? 2 * cap : 16, sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			names = grown;
			cap = cap ? 2 * cap : 16;
		}
		names[n] = strdup(de->d_name);
		if (!names[n])
			return -ENOMEM;
		names[++n] = NULL;
	}
	if (errno)
		return -errno;
	*ret = TAKE_PTR(names);
	return 0;
}

struct walk {
	enum tree_order order;
	tree_fn fn;
	void *arg;
};

static int walk_dir(const struct walk *w, int dirfd, const char *prefix, unsigned depth)
{
	_cleanup_strv_ char **names = NULL;
	int r;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	r = list_names(dirfd, &names);
	if (r < 0)
		return r;
	if (w->order == TREE_SORTED)
		strv_sort(names);
	for (char **name = names; name && *name; name++) {
		_cleanup_free_ char *path = str_printf("%s%s%s", prefix, *prefix ? "/" : "", *name);
		_cleanup_close_ int sub = -EBADF;
		struct tree_entry entry = { dirfd, *name, path, { 0 } };

		if (!path)
			return -ENOMEM;
		if (fstatat(dirfd, *name, &entry.st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		r = w->fn(&entry, w->arg);
		if (r < 0)
			return r;
		if (!S_ISDIR(entry.st.st_mode))
			continue;
		sub = dir_open_at(dirfd, *name);
		if (sub < 0)
			return sub;
		r = walk_dir(w, sub, path, depth + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

int tree_walk(int dirfd, enum tree_order order, tree_fn fn, void *arg)
{
	const struct walk w = { order, fn, arg };

	return walk_dir(&w, dirfd, "", 1);
}

/* A directory to be emptied. Refuses mounts: another device, or (a bind mount of the same one) the attribute
 * the kernel reports since Linux 5.8. */
static int open_for_removal(int dirfd, const char *name, dev_t dev)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char self[64];
	struct statx sx;

	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) < 0)
		return -errno;
	if (makedev(sx.stx_dev_major, sx.stx_dev_minor) != dev)
		return -EXDEV;
	if (sx.stx_attributes_mask & sx.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return -EXDEV;
	/* An unpacked tree may hold directories its owner cannot write; root never needs this. */
	if ((sx.stx_mode & 0700) != 0700 && sx.stx_uid == geteuid()) {
		(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		(void)chmod(self, 0700);
	}
	return dir_open_at(fd, ".");
}

static int remove_entry(int dirfd, const char *name, dev_t dev, unsigned depth)
{
	_cleanup_strv_ char **names = NULL;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth > DEPTH_MAX)
		return -ELOOP;
	fd = open_for_removal(dirfd, name, dev);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd == -ENOTDIR ? -EPERM : fd;
	r = list_names(fd, &names);
	if (r < 0)
		return r;
	for (char **sub = names; sub && *sub; sub++) {
		r = remove_entry(fd, *sub, dev, depth + 1);
		if (r < 0)
			return r;
	}
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int tree_remove(int dirfd, const char *name)
{
	struct stat st;

	if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	/* The device of the directory that holds it, so a mount point as `name` itself is refused as well. */
	if (fstatat(dirfd, ".", &st, 0) < 0)
		return -errno;
	return remove_entry(dirfd, name, st.st_dev, 1);
}

int tree_remove_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir =
	    slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	_cleanup_close_ int fd = -EBADF;

	if (!dir)
		return -ENOMEM;
	fd = dir_open_at(AT_FDCWD, dir);
	return fd < 0 ? fd : tree_remove(fd, slash ? slash + 1 : path);
}

static int sync_name(int dirfd, const char *name, mode_t mode)
{
	_cleanup_close_ int fd = -EBADF;

	if (!S_ISREG(mode) && !S_ISDIR(mode))
		return 0;
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int sync_entry(const struct tree_entry *entry, void *arg)
{
	return sync_name(entry->dirfd, entry->name, entry->st.st_mode);
}

int tree_sync(int dirfd, const char *name)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		fd = dir_open_at(dirfd, name);
		if (fd < 0)
			return fd;
		r = tree_walk(fd, TREE_SORTED, sync_entry, NULL);
		if (r < 0)
			return r;
	}
	return sync_name(dirfd, name, st.st_mode);
}

struct usage {
	uint64_t bytes, files;
};

static int add_usage(const struct tree_entry *entry, void *arg)
{
	struct usage *u = arg;

	if (S_ISREG(entry->st.st_mode)) {
		u->bytes += (uint64_t)entry->st.st_size;
		u->files++;
	}
	return 0;
}

int tree_usage(int dirfd, const char *name, uint64_t *ret_bytes, uint64_t *ret_files)
{
	_cleanup_close_ int fd = -EBADF;
	struct tree_entry top = { .dirfd = dirfd, .name = name, .path = name };
	struct usage u = { 0, 0 };
	int r;

	if (fstatat(dirfd, name, &top.st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(top.st.st_mode)) {
		fd = dir_open_at(dirfd, name);
		if (fd < 0)
			return fd;
		r = tree_walk(fd, TREE_AS_READ, add_usage, &u);
		if (r < 0)
			return r;
	} else {
		(void)add_usage(&top, &u);
	}
	if (ret_bytes)
		*ret_bytes = u.bytes;
	if (ret_files)
		*ret_files = u.files;
	return 0;
}

static int copy_entry(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags,
		      unsigned depth);

static int copy_link(int from_dirfd, const char *from, int to_dirfd, const char *to, const struct stat *st)
{
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, st->st_mtim };
	char target[PATH_MAX];
	ssize_t n = readlinkat(from_dirfd, from, target, sizeof(target));

	if (n < 0)
		return -errno;
	if (n >= (ssize_t)sizeof(target))
		return -ENAMETOOLONG;
	target[n] = '\0';
	if (symlinkat(target, to_dirfd, to) < 0)
		return -errno;
	return utimensat(to_dirfd, to, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Set-id bits go: the owner of the copy is the caller. */
static int copy_attributes(int fd, const struct stat *st)
{
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT }, st->st_mtim };

	if (fchmod(fd, st->st_mode & 01777) < 0)
		return -errno;
	return futimens(fd, times) < 0 ? -errno : 0;
}

static int copy_file(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	struct stat st;
	int r;

	if ((flags & TREE_COPY_HARDLINK) && linkat(from_dirfd, from, to_dirfd, to, 0) == 0)
		return 0;
	in = openat(from_dirfd, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	out = openat(to_dirfd, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	r = flags & TREE_COPY_REFLINK ? copy_fd(in, out, NULL) : copy_fd_plain(in, out);
	return r < 0 ? r : copy_attributes(out, &st);
}

static int copy_dir(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags,
		    unsigned depth)
{
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	_cleanup_strv_ char **names = NULL;
	struct stat st;
	int r;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	in = dir_open_at(from_dirfd, from);
	if (in < 0)
		return in;
	if (fstat(in, &st) < 0 || mkdirat(to_dirfd, to, 0700) < 0)
		return -errno;
	out = dir_open_at(to_dirfd, to);
	if (out < 0)
		return out;
	r = list_names(in, &names);
	if (r < 0)
		return r;
	strv_sort(names);
	for (char **name = names; name && *name; name++) {
		r = copy_entry(in, *name, out, *name, flags, depth + 1);
		if (r < 0)
			return r;
	}
	return copy_attributes(out, &st);
}

static int copy_entry(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags,
		      unsigned depth)
{
	struct stat st;

	if (fstatat(from_dirfd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_dir(from_dirfd, from, to_dirfd, to, flags, depth);
	if (S_ISLNK(st.st_mode))
		return copy_link(from_dirfd, from, to_dirfd, to, &st);
	return S_ISREG(st.st_mode) ? copy_file(from_dirfd, from, to_dirfd, to, flags) : -EINVAL;
}

int tree_copy(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
	struct stat st;
	int r;

	if (fstatat(to_dirfd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	r = copy_entry(from_dirfd, from, to_dirfd, to, flags, 1);
	if (r < 0 && r != -EEXIST)
		(void)tree_remove(to_dirfd, to);
	return r;
}
