/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* try() answers 0, -EAGAIN when held by another, or an error. Neither kind of lock has a wait with a limit, so
 * this asks again, at first often. */
static int lock_until(int (*try)(int fd, int64_t byte), int fd, int64_t byte, int timeout_ms)
{
	const int64_t end = now_ms() + timeout_ms;
	long pause_ms = 1;

	for (;;) {
		int r = try(fd, byte);

		if (r != -EAGAIN || timeout_ms == 0)
			return r;
		if (timeout_ms > 0) {
			int64_t left = end - now_ms();

			if (left <= 0)
				return -EAGAIN;
			if (pause_ms > left)
				pause_ms = (long)left;
		}
		if (nanosleep(&(struct timespec){ .tv_nsec = pause_ms * 1000000 }, NULL) < 0)
			return -errno;
		pause_ms = pause_ms < 50 ? pause_ms * 2 : 100;
	}
}

static int try_file(int fd, int64_t byte)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static int try_byte(int fd, int64_t byte)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EAGAIN : -errno;
}

/* False when the file was removed or replaced between open and lock: the lock would guard nothing. */
static bool is_current(int fd, int dirfd, const char *name)
{
	struct stat mine, there;

	return fstat(fd, &mine) == 0 && fstatat(dirfd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

int lock_file_at(int dirfd, const char *name, int timeout_ms, struct lock *ret)
{
	for (;;) {
		_cleanup_close_ int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
		int r;

		if (fd < 0)
			return -errno;
		r = lock_until(try_file, fd, -1, timeout_ms);
		if (r < 0)
			return r;
		if (!is_current(fd, dirfd, name))
			continue;
		*ret = (struct lock){ TAKE_FD(fd), -1 };
		return 0;
	}
}

/* FNV-1a, cut to what an offset can hold. */
static int64_t name_offset(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3u;
	return (int64_t)(h >> 2);
}

int lock_byte(int fd, const char *name, int timeout_ms, struct lock *ret)
{
	int64_t byte = name_offset(name);
	int r = lock_until(try_byte, fd, byte, timeout_ms);

	if (r < 0)
		return r;
	*ret = (struct lock){ fd, byte };
	return 0;
}

void lock_release(struct lock *l)
{
	if (l->fd < 0)
		return;
	if (l->byte < 0) {
		close_fdp(&l->fd);
	} else {
		struct flock fl = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = l->byte, .l_len = 1 };

		(void)fcntl(l->fd, F_OFD_SETLK, &fl);
	}
	*l = (struct lock)LOCK_INIT;
}
