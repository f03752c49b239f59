/* SPDX-License-Identifier: Apache-2.0 */
#include "container-lock.h"

#include "fd.h"
#include "path.h"
#include "publish.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_DIR "run/nvidia"
#define TRIES	20

static int open_file(const struct host *h, struct err *e)
{
	struct stat st;
	int fd, r = path_mkdirs(h->root_fd, RUN_DIR, 0755, PATH_IN_ROOT);

	if (r < 0)
		return err_errno(e, r, "cannot make %s", RUN_DIR);
	/* Non-blocking: a FIFO somebody left here must not hold us up. */
	fd = path_open_at(h->root_fd, CONTAINER_PIDFILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0644,
			  PATH_IN_ROOT);
	if (fd < 0)
		return err_errno(e, fd, "cannot open %s", CONTAINER_PIDFILE);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return err_set(e, ERR_CONFIG, "%s is not a regular file", CONTAINER_PIDFILE);
}

static bool is_named(const struct host *h, int fd)
{
	struct stat ours, named;

	return fstat(fd, &ours) == 0 && path_stat(h->root_fd, CONTAINER_PIDFILE, &named, PATH_IN_ROOT) == 0 &&
	       ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static int held(const struct host *h, struct err *e)
{
	int pid;

	if (pidfile_read(h, CONTAINER_PIDFILE, &pid, NULL) < 0)
		err_set(e, ERR_LOCKED, "another driver container is running");
	else
		err_set(e, ERR_LOCKED, "another driver container is running: process %d", pid);
	(void)err_object(e, "%s", CONTAINER_PIDFILE);
	return err_next(e, "stop that container first; nothing was changed");
}

static int write_pid(int fd, int pid, struct err *e)
{
	char text[24];
	int r, n = snprintf(text, sizeof(text), "%d\n", pid);

	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "writing %s", CONTAINER_PIDFILE);
	r = write_all(fd, text, (size_t)n);
	return r < 0 ? err_errno(e, r, "writing %s", CONTAINER_PIDFILE) : 0;
}

/* What killed instances were about to put in place: only who holds the lock writes there. */
static void sweep(const struct host *h)
{
	static const char *const dirs[] = { RUN_DIR, RUN_DIR "/validations" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		_cleanup_close_ int fd =
		    path_open_at(h->root_fd, dirs[i], O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);

		if (fd >= 0)
			(void)publish_sweep(fd);
	}
}

int container_lock_take(const struct host *h, int pid, struct container_lock *ret, struct err *e)
{
	for (unsigned i = 0; i < TRIES; i++) {
		_cleanup_close_ int fd = open_file(h, e);
		int r;

		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? held(h, e)
						    : err_errno(e, -errno, "locking %s", CONTAINER_PIDFILE);
		if (!is_named(h, fd))
			continue;
		r = write_pid(fd, pid, e);
		if (r < 0)
			return r;
		sweep(h);
		ret->fd = TAKE_FD(fd);
		return 0;
	}
	return err_set(e, ERR_LOCKED, "%s is removed again and again", CONTAINER_PIDFILE);
}

void container_lock_remove(const struct host *h, struct container_lock *l)
{
	const char *name;

	if (l->fd >= 0 && is_named(h, l->fd)) {
		_cleanup_close_ int dir_fd =
		    path_open_parent(h->root_fd, CONTAINER_PIDFILE, false, PATH_IN_ROOT, &name);

		if (dir_fd >= 0)
			(void)unlinkat(dir_fd, name, 0);
	}
	container_lock_drop(l);
}

void container_lock_drop(struct container_lock *l)
{
	close_fdp(&l->fd);
}

int container_lock_holder(const struct host *h, int *ret_pid)
{
	_cleanup_close_ int fd =
	    path_open_at(h->root_fd, CONTAINER_PIDFILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, PATH_IN_ROOT);

	if (fd < 0)
		return -ESRCH;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return -ESRCH;
	return pidfile_read(h, CONTAINER_PIDFILE, ret_pid, NULL) < 0 ? -ESRCH : 0;
}
