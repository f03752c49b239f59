/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"
#include "cleanup.h"
#include "strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define LINKS_MAX      40 /* the kernel's own MAXSYMLINKS */
#define COMPONENTS_MAX 200
#define RACE_RETRIES   32

static bool no_openat2;

void path_test_no_openat2(bool on)
{
	__atomic_store_n(&no_openat2, on, __ATOMIC_RELAXED);
}

static bool is_dots(const char *p, size_t n)
{
	return (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.');
}

int path_clean(const char *name, char **ret)
{
	size_t len = strlen(name), out_len = 0;
	_cleanup_free_ char *out = NULL;
	unsigned components = 0;

	if (name[0] == '/' || len >= PATH_MAX)
		return -EINVAL;
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return -EINVAL;
	out = calloc(1, len + 1);
	if (!out)
		return -ENOMEM;
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 1 && *p == '.' && out_len == 0) {
			p += n;
		} else if (n > NAME_MAX || is_dots(p, n)) {
			return -EINVAL;
		} else if (n > 0) {
			if (++components > COMPONENTS_MAX)
				return -EINVAL;
			if (out_len)
				out[out_len++] = '/';
			memcpy(out + out_len, p, n);
			out_len += n;
			p += n;
		}
		p += strspn(p, "/");
	}
	*ret = TAKE_PTR(out);
	return 0;
}

bool path_name_is_clean(const char *name)
{
	_cleanup_free_ char *clean = NULL;

	return path_clean(name, &clean) == 0 && clean[0] != '\0' && strcmp(clean, name) == 0;
}

/* A walk in progress. Only the current directory is held open: ".." starts again from the top with the names
 * resolved so far, so a directory moved away meanwhile cannot lead the walk out. */
struct walk {
	int top_fd; /* borrowed */
	int cur_fd; /* owned */
	enum path_follow follow;
	unsigned links;
	char pending[2 * PATH_MAX]; /* not resolved yet */
	char resolved[PATH_MAX]; /* plain names from top to cur_fd, each ended by "/" */
};

static void walk_done(struct walk *w)
{
	close_fdp(&w->cur_fd);
}

/* Continue at the top with "<head>/<tail>". */
static int walk_restart(struct walk *w, const char *head, const char *tail, bool from_top)
{
	char joined[2 * PATH_MAX];
	int n = snprintf(joined, sizeof(joined), "%s%s%s", head, *head && *tail ? "/" : "", tail);

	if (n < 0 || n >= (int)sizeof(joined))
		return -ENAMETOOLONG;
	memcpy(w->pending, joined, (size_t)n + 1);
	if (from_top) {
		close_fdp(&w->cur_fd);
		w->resolved[0] = '\0';
	}
	return 0;
}

static int walk_fd(const struct walk *w)
{
	return w->cur_fd >= 0 ? w->cur_fd : w->top_fd;
}

static int walk_up(struct walk *w, const char *rest)
{
	char head[PATH_MAX], *slash;

	strcpy(head, w->resolved);
	if (*head) {
		head[strlen(head) - 1] = '\0';
		slash = strrchr(head, '/');
		*(slash ? slash : head) = '\0';
	}
	return walk_restart(w, head, rest, true);
}

/* Links of /proc that jump (fd/N, exe, cwd, root, ns/…) show an absolute path or "type:[inode]"; the plain
 * ones (self, mounts, net) are relative. RESOLVE_IN_ROOT refuses the former with ELOOP. */
static bool is_magic_link(int dirfd, const char *target)
{
	struct statfs sfs;

	if (fstatfs(dirfd, &sfs) < 0 || sfs.f_type != PROC_SUPER_MAGIC)
		return false;
	return target[0] == '/' || strchr(target, ':');
}

/* 1: `name` is a link and the walk goes on at its target; 0: it is no link. */
static int walk_link(struct walk *w, const char *name, const char *rest)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(walk_fd(w), name, target, sizeof(target));
	int r;

	if (n < 0)
		return errno == EINVAL ? 0 : -errno;
	if (w->follow == PATH_NO_SYMLINKS || ++w->links > LINKS_MAX)
		return -ELOOP;
	if (n == 0)
		return -ENOENT;
	if (n >= (ssize_t)sizeof(target))
		return -ENAMETOOLONG;
	target[n] = '\0';
	if (is_magic_link(walk_fd(w), target))
		return -ELOOP;
	r = walk_restart(w, target, rest, target[0] == '/');
	return r < 0 ? r : 1;
}

static int walk_down(struct walk *w, const char *name, const char *rest)
{
	int fd = openat(walk_fd(w), name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	size_t have = strlen(w->resolved), n = strlen(name);
	int r;

	if (fd < 0) {
		/* O_DIRECTORY answers ENOTDIR for a link as well. */
		int saved = errno;

		r = saved == ENOTDIR || saved == ELOOP ? walk_link(w, name, rest) : 0;
		return r > 0 ? 0 : r < 0 ? r : -saved;
	}
	close_fdp(&w->cur_fd);
	w->cur_fd = fd;
	if (have + n + 2 > sizeof(w->resolved))
		return -ENAMETOOLONG;
	memcpy(w->resolved + have, name, n);
	strcpy(w->resolved + have + n, "/");
	return walk_restart(w, "", rest, false);
}

/* The last component. Returns a descriptor, or -EAGAIN when a link sent the walk on. */
static int walk_last(struct walk *w, const char *name, int flags, mode_t mode)
{
	bool wants_link = (flags & O_NOFOLLOW) || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
	_cleanup_close_ int fd = openat(walk_fd(w), name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	struct stat st;
	int r, saved = errno;

	if (fd >= 0) {
		if (!(flags & O_PATH) || wants_link)
			return TAKE_FD(fd);
		if (fstat(fd, &st) < 0)
			return -errno;
		if (!S_ISLNK(st.st_mode))
			return TAKE_FD(fd);
	} else if (saved != ELOOP && saved != ENOTDIR) {
		return -saved;
	}
	if (wants_link)
		return -saved;
	r = walk_link(w, name, "");
	return r > 0 ? -EAGAIN : r < 0 ? r : -saved;
}

static int walk_step(struct walk *w, int flags, mode_t mode)
{
	char name[NAME_MAX + 1];
	const char *start = w->pending + strspn(w->pending, "/");
	size_t n = strcspn(start, "/");
	const char *rest = start + n + strspn(start + n, "/");
	int r;

	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, start, n);
	name[n] = '\0';
	if (strcmp(name, "..") == 0) {
		r = walk_up(w, rest);
	} else if (!*rest && start[n] == '/' && (flags & O_CREAT)) {
		return -EISDIR;
	} else if (*rest || (start[n] == '/' && !is_dots(name, n))) {
		/* "dir/" is "dir/." */
		r = n == 1 && name[0] == '.' ? walk_restart(w, "", rest, false)
					     : walk_down(w, name, *rest ? rest : ".");
	} else {
		return walk_last(w, n ? name : ".", flags, mode);
	}
	return r < 0 ? r : -EAGAIN;
}

static int open_by_walk(int dirfd, const char *path, int flags, mode_t mode, enum path_follow follow)
{
	_cleanup_(walk_done) struct walk w = { .top_fd = dirfd, .cur_fd = -EBADF, .follow = follow };
	int r = walk_restart(&w, "", path, false);

	if (r < 0)
		return r;
	/* Each step takes a component or a link away; the bound only stops a walk somebody keeps changing. */
	for (unsigned steps = 0; steps < (LINKS_MAX + 1) * (unsigned)PATH_MAX; steps++) {
		r = walk_step(&w, flags, mode);
		if (r != -EAGAIN)
			return r;
	}
	return -ELOOP;
}

static int open_by_openat2(int dirfd, const char *path, int flags, mode_t mode, enum path_follow follow)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode & 07777 : 0,
		.resolve = RESOLVE_NO_MAGICLINKS |
			   (follow == PATH_IN_ROOT ? RESOLVE_IN_ROOT : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS),
	};

	/* EAGAIN: something was renamed during ".."; the kernel asks to try again. */
	for (unsigned i = 0; i < RACE_RETRIES; i++) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

static bool has_dotdot(const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.')
			return true;
		path += n;
		path += strspn(path, "/");
	}
	return false;
}

int path_open_at(int dirfd, const char *path, int flags, mode_t mode, enum path_follow follow)
{
	int r;

	path += strspn(path, "/");
	if (*path == '\0')
		path = ".";
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (follow == PATH_NO_SYMLINKS && has_dotdot(path))
		return -EXDEV;
	if (__atomic_load_n(&no_openat2, __ATOMIC_RELAXED))
		return open_by_walk(dirfd, path, flags, mode, follow);
	r = open_by_openat2(dirfd, path, flags, mode, follow);
	/* Before Linux 5.6: ENOSYS. Container filters older than the call answer EPERM; the walk then tells
	 * whether that was meant. */
	if (r == -ENOSYS || r == -EPERM)
		return open_by_walk(dirfd, path, flags, mode, follow);
	return r;
}

static int make_component(int dirfd, const char *prefix, mode_t mode, enum path_follow follow)
{
	_cleanup_close_ int parent = -EBADF;
	const char *name;

	parent = path_open_parent(dirfd, prefix, false, follow, &name);
	if (parent < 0)
		return parent;
	if (mkdirat(parent, name, mode) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int check_directory(int dirfd, const char *path, enum path_follow follow)
{
	_cleanup_close_ int fd = path_open_at(dirfd, path, O_PATH | O_DIRECTORY, 0, follow);

	return fd < 0 ? fd : 0;
}

int path_mkdirs(int dirfd, const char *path, mode_t mode, enum path_follow follow)
{
	char prefix[PATH_MAX];
	int r = check_directory(dirfd, path, follow);

	if (r != -ENOENT)
		return r;
	if (strlen(path) >= sizeof(prefix))
		return -ENAMETOOLONG;
	for (const char *p = path + strspn(path, "/"); *p;) {
		p += strcspn(p, "/");
		memcpy(prefix, path, (size_t)(p - path));
		prefix[p - path] = '\0';
		p += strspn(p, "/");
		r = check_directory(dirfd, prefix, follow);
		if (r == -ENOENT) {
			r = make_component(dirfd, prefix, mode, follow);
			if (r == 0)
				r = check_directory(dirfd, prefix, follow);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int path_open_parent(int dirfd, const char *path, bool create, enum path_follow follow, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char parent[PATH_MAX];
	size_t n = slash ? (size_t)(slash - path) : 0;
	int r;

	if (*name == '\0' || is_dots(name, strlen(name)))
		return -EINVAL;
	if (n >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, path, n);
	parent[n] = '\0';
	r = path_open_at(dirfd, parent, O_RDONLY | O_DIRECTORY, 0, follow);
	if (r == -ENOENT && create) {
		r = path_mkdirs(dirfd, parent, 0755, follow);
		if (r < 0)
			return r;
		r = path_open_at(dirfd, parent, O_RDONLY | O_DIRECTORY, 0, follow);
	}
	if (r >= 0)
		*ret_name = name;
	return r;
}

int path_stat(int dirfd, const char *path, struct stat *ret, enum path_follow follow)
{
	_cleanup_close_ int fd = path_open_at(dirfd, path, O_PATH | O_NOFOLLOW, 0, follow);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = st;
	return 0;
}

bool path_exists(int dirfd, const char *path)
{
	struct stat st;

	return path_stat(dirfd, path, &st, PATH_IN_ROOT) == 0;
}

int path_open_append(int root, const char *path, mode_t mode)
{
	const char *name;
	_cleanup_close_ int parent = path_open_parent(root, path, true, PATH_IN_ROOT, &name);
	int fd = parent < 0
		     ? parent
		     : openat(parent, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, mode);

	return parent < 0 ? parent : fd < 0 ? -errno : fd;
}

int path_names(int dirfd, const char *path, char ***ret)
{
	int fd = path_open_at(dirfd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	_cleanup_strv_ char **v = NULL;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (!d) {
		r = fd < 0 ? fd : -errno;
		close_fdp(&fd);
		return r;
	}
	while (r >= 0 && (de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			r = strv_push(&v, de->d_name);
	(void)closedir(d);
	if (r < 0)
		return r;
	if (v)
		strv_sort(v);
	*ret = TAKE_PTR(v);
	return 0;
}
