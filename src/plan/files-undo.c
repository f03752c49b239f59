/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking "files" back. Nothing here relies on how far apply came: each place is looked at. */
#include "files.h"

#include "digest.h"
#include "fd.h"
#include "log.h"
#include "path.h"
#include "publish.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct taking_back {
	const struct plan_ctx *c;
	int backup_fd; /* owned by the caller; -EBADF when there is no backup directory */
};

static json_int_t was_int(const struct entry *en, const char *key)
{
	return json_integer_value(json_object_get(en->was, key));
}

static json_int_t mtime_ns(const struct stat *st)
{
	return (json_int_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* The kept old file: a link in the backup directory or a copy in the transaction's. */
static int backup_open(const struct taking_back *t, size_t i, struct stat *ret_st, bool *ret_is_link)
{
	char name[48];
	int fd = -ENOENT;

	if (t->backup_fd >= 0 && files_backup_name(i, name) == 0) {
		fd = openat(t->backup_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		*ret_is_link = fd >= 0;
	}
	if (fd < 0 && files_copy_name(t->c, i, name) == 0) {
		fd = openat(t->c->undo_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		*ret_is_link = false;
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, ret_st) < 0) {
		int r = -errno;

		close_fdp(&fd);
		return r;
	}
	return fd;
}

static int same_bytes(int a, int b)
{
	char x[SHA256_HEX_SIZE], y[SHA256_HEX_SIZE];
	int r;

	r = sha256_fd_hex(a, x);
	if (r >= 0)
		r = sha256_fd_hex(b, y);
	return r < 0 ? r : strcmp(x, y) == 0;
}

/* Is the file there the old one? The same inode is. So is one with the old size, mode and time, if the backup is used up
 * or has the same bytes (put back from a copy). */
static int file_is_old(const struct taking_back *t, const struct place *p, const struct entry *en, size_t i)
{
	_cleanup_close_ int backup = -EBADF, here = -EBADF;
	struct stat st;
	bool is_link;

	if (!S_ISREG(p->st.st_mode) || p->st.st_size != was_int(en, "size") ||
	    (p->st.st_mode & 07777) != (mode_t)was_int(en, "mode") ||
	    mtime_ns(&p->st) != was_int(en, "mtime_ns"))
		return 0;
	backup = backup_open(t, i, &st, &is_link);
	if (backup < 0)
		return backup == -ENOENT ? 1 : backup;
	if (is_link)
		return st.st_ino == p->st.st_ino && st.st_dev == p->st.st_dev;
	if ((json_int_t)p->st.st_ino == was_int(en, "inode"))
		return 1;
	here = openat(p->parent_fd, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return here < 0 ? -errno : same_bytes(here, backup);
}

static int place_is_old(const struct taking_back *t, const struct place *p, const struct entry *en, size_t i)
{
	const char *kind = json_text(en->was, "kind");

	if (strcmp(kind, "absent") == 0)
		return p->st.st_mode == 0;
	if (strcmp(kind, "link") == 0)
		return p->target && strcmp(p->target, json_text(en->was, "target")) == 0;
	if (strcmp(kind, "dir") == 0)
		return S_ISDIR(p->st.st_mode);
	return strcmp(kind, "file") == 0 ? file_is_old(t, p, en, i) : 0;
}

enum found { FOUND_OLD, FOUND_NEW, FOUND_OTHER };

static int place_look(const struct taking_back *t, const struct entry *en, size_t i, struct place *p)
{
	int r;

	r = place_open(t->c->host->root_fd, en->path, p);
	if (r >= 0)
		r = place_is_old(t, p, en, i);
	if (r != 0)
		return r < 0 ? r : FOUND_OLD;
	r = place_is_wanted(t->c->host->root_fd, p, en);
	return r < 0 ? r : r ? FOUND_NEW : FOUND_OTHER;
}

/* A copy goes back the way everything comes: beside its place, synced, then renamed. */
static int copy_restore(const struct taking_back *t, const struct place *p, size_t i, int backup,
			const struct stat *st)
{
	_cleanup_close_ int to = -EBADF;
	char tmp[64];
	int r;

	r = files_tmp_name(t->c, i, tmp);
	if (r < 0)
		return r;
	if (unlinkat(p->parent_fd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	to = openat(p->parent_fd, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	r = copy_fd(backup, to, NULL);
	if (r >= 0)
		r = attributes_copy(backup, to, st, true);
	if (r < 0)
		return r;
	return fsync(to) < 0 ? -errno : publish_rename_batch(p->parent_fd, tmp, p->parent_fd, p->name);
}

static int file_restore(const struct taking_back *t, const struct place *p, size_t i)
{
	_cleanup_close_ int backup = -EBADF;
	struct stat st;
	char name[32];
	bool is_link;
	int r;

	backup = backup_open(t, i, &st, &is_link);
	if (backup < 0)
		return backup;
	if (!is_link)
		return copy_restore(t, p, i, backup, &st);
	r = files_backup_name(i, name);
	return r < 0 ? r : publish_rename_batch(t->backup_fd, name, p->parent_fd, p->name);
}

/* Not every file system keeps owners, and that is no reason to leave the rest. */
static void owner_restore(const struct place *p, const char *name, const struct entry *en)
{
	if (fchownat(p->parent_fd, name, (uid_t)was_int(en, "uid"), (gid_t)was_int(en, "gid"),
		     AT_SYMLINK_NOFOLLOW) < 0)
		log_debug("%s: its owner could not be restored: %s", name, strerror(errno));
}

static int link_restore(const struct taking_back *t, const struct place *p, const struct entry *en, size_t i)
{
	json_int_t ns = was_int(en, "mtime_ns");
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT },
					  { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 } };
	char tmp[64];
	int r;

	r = files_tmp_name(t->c, i, tmp);
	if (r < 0)
		return r;
	if (unlinkat(p->parent_fd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	if (symlinkat(json_text(en->was, "target"), p->parent_fd, tmp) < 0)
		return -errno;
	/* Owner and time of a link matter to nobody but a comparison; not every file system keeps them. */
	owner_restore(p, tmp, en);
	(void)utimensat(p->parent_fd, tmp, times, AT_SYMLINK_NOFOLLOW);
	return publish_rename_batch(p->parent_fd, tmp, p->parent_fd, p->name);
}

static int dir_restore(const struct place *p, const struct entry *en)
{
	if (mkdirat(p->parent_fd, p->name, 0700) < 0 && errno != EEXIST)
		return -errno;
	owner_restore(p, p->name, en);
	return fchmodat(p->parent_fd, p->name, (mode_t)was_int(en, "mode") & 07777, 0) < 0 ? -errno : 0;
}

static int place_restore(const struct taking_back *t, const struct place *p, const struct entry *en, size_t i)
{
	const char *kind = json_text(en->was, "kind");

	if (p->parent_fd < 0)
		return -ENOENT;
	if (strcmp(kind, "absent") == 0)
		return unlinkat(p->parent_fd, p->name, 0) < 0 && errno != ENOENT ? -errno : 0;
	if (strcmp(kind, "file") == 0)
		return file_restore(t, p, i);
	if (strcmp(kind, "link") == 0)
		return link_restore(t, p, en, i);
	return dir_restore(p, en);
}

static int entry_undo(const struct taking_back *t, const struct entry *en, size_t i, struct err *e)
{
	_cleanup_(place_done) struct place p = PLACE_INIT;
	char tmp[64];
	int r;

	if (was_same(en) || en->type == ENTRY_DIR)
		return 0;
	r = place_look(t, en, i, &p);
	if (r == FOUND_NEW)
		r = place_restore(t, &p, en, i);
	else if (r == FOUND_OTHER)
		log_warn("/%s was changed by somebody else and is left as it is", en->path);
	if (r < 0)
		return err_errno(e, r, "cannot restore /%s", en->path);
	if (p.parent_fd >= 0 && files_tmp_name(t->c, i, tmp) == 0 && unlinkat(p.parent_fd, tmp, 0) < 0 &&
	    errno != ENOENT)
		return err_errno(e, -errno, "cannot remove the temporary file beside /%s", en->path);
	return 0;
}

static int backup_dir_open(const struct plan_ctx *c)
{
	_cleanup_free_ char *dir = files_backup_dir(c);

	return dir ? path_open_at(c->host->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT) : -ENOMEM;
}

static int backups_drop(const struct taking_back *t, size_t n)
{
	char name[32];

	for (size_t i = 0; t->backup_fd >= 0 && i < n; i++)
		if (files_backup_name(i, name) == 0 && unlinkat(t->backup_fd, name, 0) < 0 && errno != ENOENT)
			return -errno;
	return 0;
}

/* Directories we made go when nothing else moved in. */
static int dirs_remove(const struct plan_ctx *c, const json_t *undo)
{
	const json_t *created = json_object_get(undo, "created");

	for (size_t i = json_array_size(created); i > 0; i--) {
		const char *path = json_text(json_array_get(created, i - 1), "path"), *name;
		_cleanup_close_ int parent =
		    path_open_parent(c->host->root_fd, path, false, PATH_IN_ROOT, &name);

		if (parent == -ENOENT)
			continue;
		if (parent < 0)
			return parent;
		if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY &&
		    errno != EEXIST && errno != ENOTDIR && errno != EBUSY)
			return -errno;
	}
	return 0;
}

int files_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	_cleanup_(entries_done) struct entries l = { 0 };
	_cleanup_close_ int backup = -EBADF;
	int r;

	r = entries_load(args, undo, &l, e);
	if (r < 0)
		return r;
	backup = backup_dir_open(c);
	if (backup < 0 && backup != -ENOENT)
		return err_errno(e, backup, "cannot open the kept files");
	for (size_t i = l.n; i > 0; i--) {
		r = entry_undo(&(struct taking_back){ c, backup }, &l.v[i - 1], i - 1, e);
		if (r < 0)
			return r;
	}
	/* The old names are on disk before the last link to an old file may go. */
	r = files_sync(c, &l);
	if (r >= 0)
		r = backups_drop(&(struct taking_back){ c, backup }, l.n);
	if (r >= 0)
		r = dirs_remove(c, undo);
	if (r >= 0 && syncfs(c->host->root_fd) < 0)
		r = -errno;
	return r < 0 ? err_errno(e, r, "cannot finish taking the files back") : 0;
}

int files_changed(const struct plan_ctx *c, const json_t *args, const json_t *undo, json_t *list,
		  struct err *e)
{
	_cleanup_(entries_done) struct entries l = { 0 };
	_cleanup_close_ int backup = -EBADF;
	int r;

	r = entries_load(args, undo, &l, e);
	if (r < 0)
		return r;
	backup = backup_dir_open(c);
	for (size_t i = 0; i < l.n; i++) {
		_cleanup_(place_done) struct place p = PLACE_INIT;

		if (was_same(&l.v[i]) || l.v[i].type == ENTRY_DIR)
			continue;
		r = place_look(&(struct taking_back){ c, backup }, &l.v[i], i, &p);
		if (r < 0)
			return err_errno(e, r, "cannot look at /%s", l.v[i].path);
		if (r == FOUND_OTHER && json_array_append_new(list, json_sprintf("/%s", l.v[i].path)) < 0)
			return err_oom(e);
	}
	return 0;
}
