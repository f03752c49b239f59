/* SPDX-License-Identifier: Apache-2.0 */
#include "faultio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

enum mode { MODE_OFF, MODE_COUNT, MODE_FAIL, MODE_KILL, MODE_RECORD };
enum step { STEP_CHANGE, STEP_CALL, STEP_ALLOC };

static enum mode mode;
static unsigned calls, target;
static bool fired, no_links, skip_file_sync, skip_dir_sync;
static const char *where = "";
static struct rec *recs;
static size_t n_recs;

static void arm(enum mode m, unsigned n)
{
	mode = m;
	target = n;
	calls = 0;
	fired = false;
}

void fault_count(void)
{
	arm(MODE_COUNT, 0);
}

void fault_fail(unsigned n)
{
	arm(MODE_FAIL, n);
}

void fault_kill(unsigned n)
{
	arm(MODE_KILL, n);
}

void fault_off(void)
{
	mode = MODE_OFF;
}

bool fault_fired(void)
{
	return fired;
}

unsigned fault_calls(void)
{
	return calls;
}

const char *fault_where(void)
{
	return where;
}

void fault_no_links(bool on)
{
	no_links = on;
}

void fault_skip_file_sync(bool on)
{
	skip_file_sync = on;
}

void fault_skip_dir_sync(bool on)
{
	skip_dir_sync = on;
}

/* True: this call must fail, errno is set. */
static bool step(enum step s, const char *name)
{
	if (mode == MODE_OFF || mode == MODE_RECORD || (s != STEP_CHANGE && mode != MODE_FAIL))
		return false;
	calls++;
	if (calls != target)
		return false;
	where = name;
	fired = true;
	if (mode == MODE_KILL)
		_exit(FAULT_KILLED);
	errno = s == STEP_ALLOC ? ENOMEM : EIO;
	return mode == MODE_FAIL;
}

/* -- recording -- */

static struct rec *rec_new(enum rec_type type)
{
	recs = realloc(recs, (n_recs + 1) * sizeof(*recs));
	recs[n_recs] = (struct rec){ .type = type };
	return &recs[n_recs++];
}

void fault_record(void)
{
	for (size_t i = 0; i < n_recs; i++)
		free(recs[i].bytes);
	n_recs = 0;
	arm(MODE_RECORD, 0);
}

struct rec *fault_recorded(size_t *ret_n)
{
	*ret_n = n_recs;
	return recs;
}

static void split(int dirfd, const char *path, ino_t *ret_dir, char name[256])
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	struct stat st = { 0 };

	(void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	(void)fstatat(dirfd, dir, &st, 0);
	*ret_dir = st.st_ino;
	(void)snprintf(name, 256, "%.255s", slash ? slash + 1 : path);
}

static void rec_name(enum rec_type type, int dirfd, const char *path)
{
	struct rec *r = rec_new(type);
	struct stat st = { 0 };

	split(dirfd, path, &r->dir, r->name);
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		r->ino = st.st_ino;
		r->mode = st.st_mode;
		r->mtime = st.st_mtim;
	}
	if (S_ISLNK(st.st_mode)) {
		char text[4096];
		ssize_t n = readlinkat(dirfd, path, text, sizeof(text));

		r->bytes = strndup(text, n > 0 ? (size_t)n : 0);
	}
}

static void rec_fd(enum rec_type type, int fd)
{
	struct rec *r = rec_new(type);
	struct stat st = { 0 };
	char self[64];
	int in;

	(void)fstat(fd, &st);
	r->ino = st.st_ino;
	r->mode = st.st_mode;
	r->mtime = st.st_mtim;
	if (type != REC_WRITE)
		return;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	in = open(self, O_RDONLY | O_CLOEXEC);
	r->bytes = calloc(1, (size_t)st.st_size + 1);
	r->len = (size_t)st.st_size;
	if (in < 0 || pread(in, r->bytes, r->len, 0) != (ssize_t)r->len)
		abort();
	close(in);
}

static void rec_two(enum rec_type type, int a, const char *from, int b, const char *to)
{
	struct rec *r = rec_new(type);
	struct stat st;

	split(a, from, &r->dir, r->name);
	split(b, to, &r->dir2, r->name2);
	if (fstatat(b, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		r->ino = st.st_ino;
}

#define RECORDING (mode == MODE_RECORD)

/* -- shims -- */

#define REAL(type, name, ...)                                                                                \
	type __real_##name(__VA_ARGS__);                                                                     \
	type __wrap_##name(__VA_ARGS__);                                                                     \
	type __wrap_##name(__VA_ARGS__)

REAL(void *, malloc, size_t size)
{
	return step(STEP_ALLOC, "malloc") ? NULL : __real_malloc(size);
}

REAL(void *, calloc, size_t n, size_t size)
{
	return step(STEP_ALLOC, "calloc") ? NULL : __real_calloc(n, size);
}

REAL(void *, realloc, void *p, size_t size)
{
	return step(STEP_ALLOC, "realloc") ? NULL : __real_realloc(p, size);
}

REAL(void *, reallocarray, void *p, size_t n, size_t size)
{
	return step(STEP_ALLOC, "reallocarray") ? NULL : __real_reallocarray(p, n, size);
}

REAL(char *, strdup, const char *s)
{
	return step(STEP_ALLOC, "strdup") ? NULL : __real_strdup(s);
}

REAL(char *, strndup, const char *s, size_t n)
{
	return step(STEP_ALLOC, "strndup") ? NULL : __real_strndup(s, n);
}

REAL(int, vasprintf, char **out, const char *fmt, va_list ap)
{
	return step(STEP_ALLOC, "vasprintf") ? -1 : __real_vasprintf(out, fmt, ap);
}

int __real_openat64(int dirfd, const char *path, int flags, mode_t m);
int __wrap_openat64(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...)
{
	bool changes = flags & (O_CREAT | O_TRUNC), existed;
	struct stat st;
	mode_t m;
	va_list ap;
	int fd;

	va_start(ap, flags);
	m = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (step(changes ? STEP_CHANGE : STEP_CALL, "openat"))
		return -1;
	existed = fstatat(dirfd, path, &st, 0) == 0;
	fd = __real_openat64(dirfd, path, flags, m);
	if (fd >= 0 && RECORDING && changes && !existed)
		rec_name(REC_CREATE, dirfd, path);
	if (fd >= 0 && RECORDING && existed && flags & O_TRUNC)
		rec_fd(REC_WRITE, fd);
	return fd;
}

int __real_open64(const char *path, int flags, mode_t m);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	mode_t m;
	va_list ap;

	va_start(ap, flags);
	m = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return step(STEP_CALL, "open") ? -1 : __real_open64(path, flags, m);
}

REAL(ssize_t, read, int fd, void *buf, size_t n)
{
	return step(STEP_CALL, "read") ? -1 : __real_read(fd, buf, n);
}

REAL(ssize_t, pread64, int fd, void *buf, size_t n, off_t off)
{
	return step(STEP_CALL, "pread") ? -1 : __real_pread64(fd, buf, n, off);
}

REAL(ssize_t, write, int fd, const void *buf, size_t n)
{
	ssize_t r = step(STEP_CHANGE, "write") ? -1 : __real_write(fd, buf, n);

	if (r > 0 && RECORDING)
		rec_fd(REC_WRITE, fd);
	return r;
}

REAL(ssize_t, pwrite64, int fd, const void *buf, size_t n, off_t off)
{
	ssize_t r = step(STEP_CHANGE, "pwrite") ? -1 : __real_pwrite64(fd, buf, n, off);

	if (r > 0 && RECORDING)
		rec_fd(REC_WRITE, fd);
	return r;
}

REAL(ssize_t, copy_file_range, int in, off_t *in_off, int out, off_t *out_off, size_t n, unsigned flags)
{
	ssize_t r = step(STEP_CHANGE, "copy_file_range")
			? -1
			: __real_copy_file_range(in, in_off, out, out_off, n, flags);

	if (r > 0 && RECORDING)
		rec_fd(REC_WRITE, out);
	return r;
}

REAL(int, fsync, int fd)
{
	struct stat st;
	int r;

	if (step(STEP_CHANGE, "fsync"))
		return -1;
	if (fstat(fd, &st) == 0 && (S_ISDIR(st.st_mode) ? skip_dir_sync : skip_file_sync))
		return 0;
	r = __real_fsync(fd);
	if (r == 0 && RECORDING)
		rec_fd(REC_SYNC, fd);
	return r;
}

REAL(int, syncfs, int fd)
{
	if (step(STEP_CHANGE, "syncfs"))
		return -1;
	if (RECORDING)
		(void)rec_new(REC_SYNCFS);
	/* The tests' disks are imagined; a real flush would only wait for strangers. */
	return 0;
}

REAL(int, mkdirat, int dirfd, const char *path, mode_t m)
{
	int r = step(STEP_CHANGE, "mkdirat") ? -1 : __real_mkdirat(dirfd, path, m);

	if (r == 0 && RECORDING)
		rec_name(REC_MKDIR, dirfd, path);
	return r;
}

REAL(int, symlinkat, const char *text, int dirfd, const char *path)
{
	int r = step(STEP_CHANGE, "symlinkat") ? -1 : __real_symlinkat(text, dirfd, path);

	if (r == 0 && RECORDING)
		rec_name(REC_SYMLINK, dirfd, path);
	return r;
}

REAL(int, linkat, int a, const char *from, int b, const char *to, int flags)
{
	int r;

	if (step(STEP_CHANGE, "linkat"))
		return -1;
	if (no_links) {
		errno = EXDEV;
		return -1;
	}
	r = __real_linkat(a, from, b, to, flags);
	if (r == 0 && RECORDING)
		rec_name(REC_LINK, b, to);
	return r;
}

REAL(int, unlinkat, int dirfd, const char *path, int flags)
{
	int r = step(STEP_CHANGE, "unlinkat") ? -1 : __real_unlinkat(dirfd, path, flags);

	if (r == 0 && RECORDING)
		rec_name(REC_UNLINK, dirfd, path);
	return r;
}

/* A rename of two names of one inode does nothing. */
static bool same_inode(int a, const char *from, int b, const char *to)
{
	struct stat x, y;

	return fstatat(a, from, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(b, to, &y, AT_SYMLINK_NOFOLLOW) == 0 && x.st_ino == y.st_ino;
}

REAL(int, renameat, int a, const char *from, int b, const char *to)
{
	bool same;
	int r;

	if (step(STEP_CHANGE, "renameat"))
		return -1;
	same = same_inode(a, from, b, to);
	r = __real_renameat(a, from, b, to);
	if (r == 0 && RECORDING && !same)
		rec_two(REC_RENAME, a, from, b, to);
	return r;
}

long __real_syscall(long nr, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long nr, ...);
long __wrap_syscall(long nr, ...)
{
	long v[6], r;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		v[i] = va_arg(ap, long);
	va_end(ap);
	if (step(nr == SYS_renameat2 ? STEP_CHANGE : STEP_CALL,
		 nr == SYS_renameat2 ? "renameat2" : "syscall"))
		return -1;
	r = __real_syscall(nr, v[0], v[1], v[2], v[3], v[4], v[5]);
	if (r == 0 && RECORDING && nr == SYS_renameat2)
		rec_two(v[4] & 2 ? REC_EXCHANGE : REC_RENAME, (int)v[0], (const char *)v[1], (int)v[2],
			(const char *)v[3]);
	return r;
}

REAL(int, fchmod, int fd, mode_t m)
{
	int r = step(STEP_CHANGE, "fchmod") ? -1 : __real_fchmod(fd, m);

	if (r == 0 && RECORDING)
		rec_fd(REC_META, fd);
	return r;
}

REAL(int, fchmodat, int dirfd, const char *path, mode_t m, int flags)
{
	int r = step(STEP_CHANGE, "fchmodat") ? -1 : __real_fchmodat(dirfd, path, m, flags);

	if (r == 0 && RECORDING)
		rec_name(REC_META, dirfd, path);
	return r;
}

REAL(int, fchown, int fd, uid_t u, gid_t g)
{
	return step(STEP_CHANGE, "fchown") ? -1 : __real_fchown(fd, u, g);
}

REAL(int, fchownat, int dirfd, const char *path, uid_t u, gid_t g, int flags)
{
	return step(STEP_CHANGE, "fchownat") ? -1 : __real_fchownat(dirfd, path, u, g, flags);
}

REAL(int, futimens, int fd, const struct timespec t[2])
{
	int r = step(STEP_CHANGE, "futimens") ? -1 : __real_futimens(fd, t);

	if (r == 0 && RECORDING)
		rec_fd(REC_META, fd);
	return r;
}

REAL(int, utimensat, int dirfd, const char *path, const struct timespec t[2], int flags)
{
	int r = step(STEP_CHANGE, "utimensat") ? -1 : __real_utimensat(dirfd, path, t, flags);

	if (r == 0 && RECORDING)
		rec_name(REC_META, dirfd, path);
	return r;
}

REAL(int, fstat64, int fd, struct stat *st)
{
	return step(STEP_CALL, "fstat") ? -1 : __real_fstat64(fd, st);
}

REAL(int, fstatat64, int dirfd, const char *path, struct stat *st, int flags)
{
	return step(STEP_CALL, "fstatat") ? -1 : __real_fstatat64(dirfd, path, st, flags);
}

REAL(ssize_t, readlinkat, int dirfd, const char *path, char *buf, size_t n)
{
	return step(STEP_CALL, "readlinkat") ? -1 : __real_readlinkat(dirfd, path, buf, n);
}

REAL(ssize_t, readlink, const char *path, char *buf, size_t n)
{
	return step(STEP_CALL, "readlink") ? -1 : __real_readlink(path, buf, n);
}

REAL(int, flock, int fd, int how)
{
	return step(STEP_CALL, "flock") ? -1 : __real_flock(fd, how);
}

REAL(ssize_t, getrandom, void *buf, size_t n, unsigned flags)
{
	return step(STEP_CALL, "getrandom") ? -1 : __real_getrandom(buf, n, flags);
}
