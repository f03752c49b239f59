/* SPDX-License-Identifier: Apache-2.0 */
#include "publish.h"
#include "cleanup.h"
#include "fd.h"
#include "parse.h"
#include "strbuf.h"
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE	 (1 << 1)
#endif

#define NAME_TRIES 16

/* The call by number: the C library's wrapper is younger (2.28) than the kernel's call. */
static int rename_flags(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
	return syscall(SYS_renameat2, from_dirfd, from, to_dirfd, to, flags) < 0 ? -errno : 0;
}

static int sync_dir(int dirfd)
{
	if (fsync(dirfd) == 0)
		return 0;
	/* An O_PATH descriptor or AT_FDCWD cannot be synced itself. */
	if (errno == EBADF) {
		_cleanup_close_ int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			return -errno;
		if (fsync(fd) == 0)
			return 0;
	}
	/* Some network and FUSE file systems have no sync for directories. */
	return errno == EINVAL || errno == EROFS ? 0 : -errno;
}

int tmpname_random(char *out, size_t size)
{
	uint8_t bytes[8];
	char hex[2 * sizeof(bytes) + 1];
	int n;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	hex_encode(bytes, sizeof(bytes), hex);
	n = snprintf(out, size, "%s%s", PUBLISH_TMP_PREFIX, hex);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int tmpname_open(struct tmpname *t, mode_t mode)
{
	for (unsigned i = 0; i < NAME_TRIES; i++) {
		int fd, r = tmpname_random(t->name, sizeof(t->name));

		if (r < 0) {
			t->name[0] = '\0';
			return r;
		}
		fd = openat(t->dirfd, t->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0) {
			t->fd = fd;
			/* The mode asked for, whatever the umask is. */
			return fchmod(fd, mode) < 0 ? -errno : 0;
		}
		t->name[0] = '\0';
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

void tmpname_done(struct tmpname *t)
{
	int saved = errno;

	close_fdp(&t->fd);
	if (t->name[0])
		(void)unlinkat(t->dirfd, t->name, 0);
	t->name[0] = '\0';
	errno = saved;
}

/* A directory entry made without replacing, where renameat2 is missing or the file system lacks the flag. For a
 * file link() is as atomic; a directory has only the look before the rename, and rename() itself refuses a
 * directory that is not empty. */
static int rename_noreplace_fallback(int from_dirfd, const char *from, int to_dirfd, const char *to)
{
	struct stat st;

	if (fstatat(from_dirfd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) && linkat(from_dirfd, from, to_dirfd, to, 0) == 0)
		return unlinkat(from_dirfd, from, 0) < 0 ? -errno : 0;
	if (!S_ISDIR(st.st_mode) && errno == EEXIST)
		return -EEXIST;
	if (fstatat(to_dirfd, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (errno != ENOENT)
		return -errno;
	return renameat(from_dirfd, from, to_dirfd, to) < 0 ? -errno : 0;
}

static int rename_entry(int from_dirfd, const char *from, int to_dirfd, const char *to, bool replace)
{
	int r;

	if (replace)
		return renameat(from_dirfd, from, to_dirfd, to) < 0 ? -errno : 0;
	r = rename_flags(from_dirfd, from, to_dirfd, to, RENAME_NOREPLACE);
	if (r == -ENOSYS || r == -EINVAL || r == -EPERM)
		return rename_noreplace_fallback(from_dirfd, from, to_dirfd, to);
	return r;
}

int publish_tmp(struct tmpname *t, const char *name, bool replace)
{
	int r;

	if (fsync(t->fd) < 0) /* the bytes … */
		return -errno;
	r = rename_entry(t->dirfd, t->name, t->dirfd, name, replace); /* … then the name … */
	if (r < 0)
		return r;
	t->name[0] = '\0';
	close_fdp(&t->fd);
	return sync_dir(t->dirfd); /* … then the entry itself */
}

int publish_bytes(int dirfd, const char *name, const void *buf, size_t len, mode_t mode)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dirfd);
	int r;

	r = tmpname_open(&t, mode);
	if (r < 0)
		return r;
	r = write_all(t.fd, buf, len);
	if (r < 0)
		return r;
	return publish_tmp(&t, name, true);
}

int publish_symlink(int dirfd, const char *name, const char *target)
{
	char tmp[64];
	int r;

	for (unsigned i = 0;; i++) {
		r = tmpname_random(tmp, sizeof(tmp));
		if (r < 0)
			return r;
		if (symlinkat(target, dirfd, tmp) == 0)
			break;
		if (errno != EEXIST || i == NAME_TRIES)
			return -errno;
	}
	if (renameat(dirfd, tmp, dirfd, name) < 0) {
		r = -errno;
		(void)unlinkat(dirfd, tmp, 0);
		return r;
	}
	return sync_dir(dirfd);
}

static int sync_both(int a_dirfd, int b_dirfd)
{
	/* The new entry first: after a power cut between the two the object has two names, never none. */
	int r = sync_dir(b_dirfd);

	return r < 0 || a_dirfd == b_dirfd ? r : sync_dir(a_dirfd);
}

int publish_rename(int from_dirfd, const char *from, int to_dirfd, const char *to, bool replace)
{
	int r = rename_entry(from_dirfd, from, to_dirfd, to, replace);

	return r < 0 ? r : sync_both(from_dirfd, to_dirfd);
}

int publish_rename_batch(int from_dirfd, const char *from, int to_dirfd, const char *to)
{
	return rename_entry(from_dirfd, from, to_dirfd, to, true);
}

int publish_exchange(int a_dirfd, const char *a, int b_dirfd, const char *b)
{
	int r = rename_flags(a_dirfd, a, b_dirfd, b, RENAME_EXCHANGE);

	return r < 0 ? r : sync_both(a_dirfd, b_dirfd);
}

int publish_unlink(int dirfd, const char *name)
{
	int r = unlinkat(dirfd, name, 0) < 0 ? -errno : 0;

	/* Linux says EISDIR; POSIX and some FUSE file systems EPERM. */
	if (r == -EISDIR || r == -EPERM) {
		int first = r;

		r = unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
		if (r == -ENOTDIR)
			r = first;
	}
	/* Also synced when absent: a run before us may have been killed between removal and sync. */
	return r < 0 && r != -ENOENT ? r : sync_dir(dirfd);
}

static bool is_tmpname(const char *name)
{
	const char *hex = name + strlen(PUBLISH_TMP_PREFIX);

	return strncmp(name, PUBLISH_TMP_PREFIX, strlen(PUBLISH_TMP_PREFIX)) == 0 && strlen(hex) == 16 &&
	       strspn(hex, "0123456789abcdef") == 16;
}

int publish_sweep(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		int r = -errno;

		close_fdp(&fd);
		return r;
	}
	while ((de = readdir(d)))
		if (is_tmpname(de->d_name) && tree_remove(dirfd, de->d_name) == 0)
			n++;
	(void)closedir(d);
	return n;
}

#define BACKUP_MAX 10000u

int publish_keep(int dirfd, const char *name, char **ret_name)
{
	for (unsigned n = 1; n <= BACKUP_MAX; n++) {
		_cleanup_free_ char *kept = str_printf("%s.bak.%u", name, n);
		int r = kept ? publish_rename(dirfd, name, dirfd, kept, false) : -ENOMEM;

		if (r == -EEXIST)
			continue;
		if (r == 0)
			*ret_name = TAKE_PTR(kept);
		return r;
	}
	return -EEXIST;
}
