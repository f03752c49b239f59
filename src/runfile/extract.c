/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the members of a payload beneath a directory. Names were checked by the tar reader; here the kernel is
 * asked once more (no link in any component, nothing that exists is opened), so a mistake above cannot escape. */
#include "payload.h"

#include "fd.h"
#include "path.h"
#include "publish.h"
#include "tree.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

struct directory {
	char *name;
	mode_t mode;
	int64_t mtime_s;
};

struct extraction {
	int dirfd; /* borrowed; the private directory */
	const struct runfile_selection *which;
	char *parent; /* owned; directory part the next descriptor belongs to, NULL = none yet */
	int parent_fd; /* owned */
	int fd; /* owned; the file being written */
	struct directory *dirs; /* finished last: writing into them moves their times */
	size_t n_dirs, n_allocated;
};

static void extraction_done(struct extraction *x)
{
	for (size_t i = 0; i < x->n_dirs; i++)
		free(x->dirs[i].name);
	free(x->dirs);
	free(x->parent);
	close_fdp(&x->parent_fd);
	close_fdp(&x->fd);
}

static bool is_below(const char *name, const char *top)
{
	size_t n = strlen(top);

	return strncmp(name, top, n) == 0 && (name[n] == '/' || name[n] == '\0');
}

static bool is_selected(const struct runfile_selection *which, const char *name)
{
	if (which->strip_kernel && (is_below(name, "kernel") || is_below(name, "kernel-open")))
		return false;
	if (!which->only)
		return true;
	for (char *const *g = which->only; *g; g++)
		if (fnmatch(*g, name, 0) == 0)
			return true;
	return false;
}

static int cannot_write(int r, const char *name, struct err *e)
{
	if (r == -ELOOP || r == -EXDEV)
		return err_set(e, -ERR_ARCHIVE_SYMLINK_ESCAPE, "%s would be written through a symbolic link",
			       name);
	return err_errno(e, r, "cannot write %s", name);
}

/* Descriptor of the directory that holds `name`; kept for the next member, which mostly lies beside. */
static int open_parent(struct extraction *x, const char *name, const char **ret_last, struct err *e)
{
	const char *slash = strrchr(name, '/');
	_cleanup_free_ char *parent = strndup(name, slash ? (size_t)(slash - name) : 0);
	const char *last = NULL;
	int fd;

	if (!parent)
		return err_oom(e);
	*ret_last = slash ? slash + 1 : name;
	if (x->parent && strcmp(x->parent, parent) == 0)
		return 0;
	fd = path_open_parent(x->dirfd, name, true, PATH_NO_SYMLINKS, &last);
	if (fd < 0)
		return cannot_write(fd, name, e);
	close_fdp(&x->parent_fd);
	x->parent_fd = fd;
	free(x->parent);
	x->parent = TAKE_PTR(parent);
	return 0;
}

static int make_directory(struct extraction *x, const struct tar_member *m, struct err *e)
{
	struct directory *d;
	int r = path_mkdirs(x->dirfd, m->name, 0755, PATH_NO_SYMLINKS);

	if (r < 0)
		return cannot_write(r, m->name, e);
	if (x->n_dirs == x->n_allocated) {
		size_t n = x->n_allocated ? 2 * x->n_allocated : 64;

		d = reallocarray(x->dirs, n, sizeof(*d));
		if (!d)
			return err_oom(e);
		x->dirs = d;
		x->n_allocated = n;
	}
	d = &x->dirs[x->n_dirs];
	d->name = strdup(m->name);
	if (!d->name)
		return err_oom(e);
	d->mode = m->mode;
	d->mtime_s = m->mtime_s;
	x->n_dirs++;
	return TAR_SKIP;
}

static int make_symlink(struct extraction *x, const struct tar_member *m, const char *last, struct err *e)
{
	if (symlinkat(m->target, x->parent_fd, last) < 0)
		return cannot_write(-errno, m->name, e);
	return TAR_SKIP;
}

static int make_hardlink(struct extraction *x, const struct tar_member *m, const char *last, struct err *e)
{
	_cleanup_close_ int from_fd = -EBADF;
	const char *from_last;

	if (!is_selected(x->which, m->target))
		return err_set(e, -ERR_USAGE, "%s is a hard link to %s, which is not selected", m->name,
			       m->target);
	from_fd = path_open_parent(x->dirfd, m->target, false, PATH_NO_SYMLINKS, &from_last);
	if (from_fd < 0)
		return cannot_write(from_fd, m->name, e);
	if (linkat(from_fd, from_last, x->parent_fd, last, 0) < 0)
		return cannot_write(-errno, m->name, e);
	return TAR_SKIP;
}

static int extract_member(const struct tar_member *m, void *arg, struct err *e)
{
	struct extraction *x = arg;
	const char *last = NULL;
	int r;

	if (!is_selected(x->which, m->name))
		return TAR_SKIP;
	if (m->kind == TAR_DIR)
		return make_directory(x, m, e);
	r = open_parent(x, m->name, &last, e);
	if (r < 0)
		return r;
	if (m->kind == TAR_SYMLINK)
		return make_symlink(x, m, last, e);
	if (m->kind == TAR_HARDLINK)
		return make_hardlink(x, m, last, e);
	x->fd = openat(x->parent_fd, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return x->fd < 0 ? cannot_write(-errno, m->name, e) : TAR_WANT_DATA;
}

static int extract_data(const void *buf, size_t len, void *arg, struct err *e)
{
	int r = write_all(((struct extraction *)arg)->fd, buf, len);

	return r < 0 ? err_errno(e, r, "cannot write a file of the payload") : 0;
}

static int extract_end(const struct tar_member *m, void *arg, struct err *e)
{
	struct extraction *x = arg;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = m->mtime_s } };
	int fd = TAKE_FD(x->fd);
	int r = fchmod(fd, m->mode) < 0 || futimens(fd, times) < 0 ? -errno : 0;

	/* A full disk or quota may be reported only here (NFS). */
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r < 0 ? cannot_write(r, m->name, e) : 0;
}

/* Directories keep the owner's access whatever the archive says, or they could not be removed again. */
static int finish_directories(struct extraction *x, struct err *e)
{
	for (size_t i = x->n_dirs; i-- > 0;) {
		const struct directory *d = &x->dirs[i];
		struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = d->mtime_s } };
		_cleanup_close_ int fd =
		    path_open_at(x->dirfd, d->name, O_RDONLY | O_DIRECTORY, 0, PATH_NO_SYMLINKS);

		if (fd < 0)
			return cannot_write(fd, d->name, e);
		if (fchmod(fd, d->mode | 0700) < 0 || futimens(fd, times) < 0)
			return cannot_write(-errno, d->name, e);
	}
	return 0;
}

static const struct tar_visitor extract_visitor = { extract_member, extract_data, extract_end };
static const struct runfile_selection extract_all = { NULL, false };

int runfile_extract_into(struct runfile *rf, int dirfd, const struct runfile_selection *which,
			 const struct runfile_options *o, struct runfile_report *ret, struct err *e)
{
	_cleanup_(extraction_done) struct extraction x = {
		.dirfd = dirfd, .which = which ? which : &extract_all, .parent_fd = -EBADF, .fd = -EBADF
	};
	int r = runfile_walk(rf, o, &extract_visitor, &x, ret, e);

	return r < 0 ? r : finish_directories(&x, e);
}

int tar_extract(tar_source source, void *source_arg, const struct tar_limits *limits, int dirfd,
		struct tar_result *ret, struct err *e)
{
	_cleanup_(extraction_done) struct extraction x = {
		.dirfd = dirfd, .which = &extract_all, .parent_fd = -EBADF, .fd = -EBADF
	};
	int r = tar_walk(source, source_arg, limits, false, &extract_visitor, &x, ret, e);

	return r < 0 ? r : finish_directories(&x, e);
}

/* ---- private directory, then one rename ---- */

struct stage {
	int parent_fd; /* borrowed */
	int fd; /* owned */
	char name[64]; /* "" once published */
};

static void stage_done(struct stage *s)
{
	close_fdp(&s->fd);
	if (s->name[0])
		(void)tree_remove(s->parent_fd, s->name);
}

static int stage_open(struct stage *s, struct err *e)
{
	int r = tmpname_random(s->name, sizeof(s->name));

	if (r == 0 && mkdirat(s->parent_fd, s->name, 0700) < 0)
		r = -errno;
	if (r < 0) {
		s->name[0] = '\0';
		return err_errno(e, r, "cannot create a directory beside the destination");
	}
	s->fd = dir_open_at(s->parent_fd, s->name);
	return s->fd < 0 ? err_errno(e, s->fd, "cannot open a directory just made") : 0;
}

static int taken(const char *name, const char *why, struct err *e)
{
	(void)err_set(e, -ERR_PACK_OUTPUT, "%s %s", name, why);
	return err_object(e, "%s", name);
}

static const char mounted[] =
    "is a mount point, which the finished directory cannot replace; name a directory in it";

static int count_entry(const struct tree_entry *entry _unused_, void *arg _unused_)
{
	return -EEXIST;
}

int runfile_destination(int parent_fd, const char *name, mode_t *ret_mode, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct statx sx;

	if (statx(parent_fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &sx) < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "cannot look at %s", name);
	if (!S_ISDIR(sx.stx_mode))
		return taken(name, "exists and is not a directory", e);
	/* Linux before 5.8 does not say; there the rename fails with EBUSY instead. */
	if (sx.stx_attributes_mask & sx.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return taken(name, mounted, e);
	if (ret_mode)
		*ret_mode = sx.stx_mode & 0777;
	fd = dir_open_at(parent_fd, name);
	if (fd < 0)
		return err_errno(e, fd, "cannot open %s", name);
	return tree_walk(fd, TREE_AS_READ, count_entry, NULL) < 0 ? taken(name, "exists and is not empty", e)
								  : 1;
}

int runfile_extract(struct runfile *rf, int parent_dirfd, const char *name,
		    const struct runfile_selection *which, const struct runfile_options *o,
		    struct runfile_report *ret, struct err *e)
{
	_cleanup_(stage_done) struct stage s = { .parent_fd = parent_dirfd, .fd = -EBADF };
	mode_t mode = 0755;
	int r = runfile_destination(parent_dirfd, name, &mode, e);

	if (r < 0)
		return r;
	r = stage_open(&s, e);
	if (r < 0)
		return r;
	r = runfile_extract_into(rf, s.fd, which, o, ret, e);
	if (r < 0)
		return r;
	if (fchmod(s.fd, mode) < 0)
		return err_errno(e, -errno, "cannot open up the directory");
	if ((o->flags & RUNFILE_SYNC) && syncfs(s.fd) < 0)
		return err_errno(e, -errno, "cannot write the files to the disk");
	/* A directory replaces nothing or an empty directory, whatever appeared meanwhile. */
	r = o->flags & RUNFILE_SYNC ? publish_rename(parent_dirfd, s.name, parent_dirfd, name, true)
				    : publish_rename_batch(parent_dirfd, s.name, parent_dirfd, name);
	if (r == -EEXIST || r == -ENOTEMPTY || r == -ENOTDIR)
		return taken(name, "appeared meanwhile", e);
	if (r == -EBUSY)
		return taken(name, mounted, e);
	if (r < 0)
		return err_errno(e, r, "cannot rename the finished directory to %s", name);
	s.name[0] = '\0';
	return 0;
}
