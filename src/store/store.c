/* SPDX-License-Identifier: Apache-2.0
 *
 * Layout, locks and the plain questions. The file `format` is written last when a store is made, so a directory
 * with the layout but without it is one that was never finished, and is finished by the next to come. */
#include "store-internal.h"

#include "fd.h"
#include "livedir.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STORE_FORMAT "1"
#define IMAGE_SUFFIX ".erofs"

static const char *const kind_dirs[STORE_KIND_COUNT] = {
	[STORE_PACKAGE] = "packages", [STORE_TREE] = "trees",	  [STORE_IMAGE] = "images",
	[STORE_KERNEL] = "kernels",   [STORE_PROBE] = "probes",	  [STORE_OBJECT] = "objects",
	[STORE_MODULE] = "modules",   [STORE_TARGET] = "targets", [STORE_JOURNAL] = "journal",
};

static const struct {
	const char *name;
	mode_t mode;
} other_dirs[] = {
	{ "refs", 0755 },
	{ "refs/pins", 0755 },
	{ "keys", 0700 },
	{ "tmp", 0700 },
};

const char *store_kind_dir(enum store_kind kind)
{
	return kind_dirs[kind];
}

int store_kind_parse(const char *dir, enum store_kind *ret)
{
	for (size_t i = 0; i < STORE_KIND_COUNT; i++)
		if (strcmp(dir, kind_dirs[i]) == 0) {
			*ret = (enum store_kind)i;
			return 0;
		}
	return -EINVAL;
}

static int make_dir(int dirfd, const char *name, mode_t mode)
{
	if (mkdirat(dirfd, name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	/* Made by us a moment ago: the mode holds whatever the umask is. */
	return fchmodat(dirfd, name, mode, 0) < 0 ? -errno : 0;
}

int store_put_bytes(int store_fd, int dirfd, const char *name, const void *buf, size_t len, mode_t mode,
		    bool replace)
{
	_cleanup_close_ int tmp = dir_open_at(store_fd, "tmp"), held = -EBADF;
	char random[64];
	int r = tmp < 0 ? tmp : tmpname_random(random, sizeof(random));

	if (r < 0)
		return r;
	held = livedir_create(tmp, random + 1); /* without the dot: a name that recover lists */
	if (held < 0)
		return held;
	r = publish_bytes(held, name, buf, len, mode);
	if (r >= 0)
		r = publish_rename(held, name, dirfd, name, replace);
	(void)tree_remove(tmp, random + 1);
	return r;
}

/* Never over one that is there: another run that made the store at the same moment may hold locks in its bytes. */
static int format_make(int dirfd)
{
	int r = store_put_bytes(dirfd, dirfd, "format", STORE_FORMAT "\n", 2, 0644, false);

	return r == -EEXIST ? 0 : r;
}

static int layout_make(int dirfd)
{
	int r;

	for (size_t i = 0; i < STORE_KIND_COUNT; i++) {
		r = make_dir(dirfd, kind_dirs[i], i == STORE_JOURNAL ? 0700 : 0755);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_LEN(other_dirs); i++) {
		r = make_dir(dirfd, other_dirs[i].name, other_dirs[i].mode);
		if (r < 0)
			return r;
	}
	return format_make(dirfd);
}

static int format_check(struct store *s, struct err *e)
{
	_cleanup_free_ char *format = NULL;
	int r;

	r = read_line_at(s->dir_fd, "format", &format);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return err_errno(e, r, "cannot read %s/format", s->path);
	if (strcmp(format, STORE_FORMAT) != 0)
		return err_set(e, ERR_STORE_FORMAT, "%s has format %.32s, this program knows " STORE_FORMAT,
			       s->path, format);
	return 0;
}

/* The directories above the store, without following anything that is not there yet. */
static int store_mkdir(const char *path, struct err *e)
{
	_cleanup_free_ char *there = strdup(path);
	_cleanup_close_ int at = -EBADF;
	size_t len = strlen(path);
	int r;

	if (!there)
		return err_oom(e);
	/* What exists is opened as the caller named it, links of /proc included: a container reaches the node's store through one. */
	while ((at = open(len		   ? there
			  : path[0] == '/' ? "/"
					   : ".",
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 &&
	       errno == ENOENT && len > 0) {
		while (len > 0 && there[len - 1] == '/')
			len--;
		while (len > 0 && there[len - 1] != '/')
			len--;
		there[len] = '\0';
	}
	r = at < 0 ? -errno : path_mkdirs(at, path + len, 0755, PATH_IN_ROOT);
	if (r < 0)
		return err_errno(e, r, "cannot create the store %s", path);
	return 0;
}

/* The path without links and dots; as it was given where that leads elsewhere: the text of /proc/1/root is "/", whatever it opens. */
static int store_absolute_path(const struct store *s, const char *path, char **ret)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	struct stat named, resolved;

	if (fstat(s->dir_fd, &named) < 0)
		return -errno;
	if (real && stat(real, &resolved) == 0 && resolved.st_dev == named.st_dev &&
	    resolved.st_ino == named.st_ino)
		*ret = TAKE_PTR(real);
	else
		*ret = path[0] == '/' ? strdup(path) : NULL;
	return *ret ? 0 : path[0] == '/' ? -ENOMEM : -ENOENT;
}

static int store_open_dir(struct store *s, const char *path, bool create, struct err *e)
{
	int r;

	s->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0 && errno == ENOENT && create) {
		r = store_mkdir(path, e);
		if (r < 0)
			return r;
		s->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (s->dir_fd < 0)
		return err_errno(e, -errno, "cannot open the store %s", path);
	r = store_absolute_path(s, path, &s->path);
	return r < 0 ? err_errno(e, r, "cannot open the store %s", path) : 0;
}

/* A directory that holds something else is no place for a store. */
static int store_dir_is_foreign(int dirfd)
{
	_cleanup_strv_ char **names = NULL;
	enum store_kind kind;
	int r;

	r = livedir_list(dirfd, &names);
	if (r < 0)
		return r;
	for (char **n = names; n && *n; n++)
		if (store_kind_parse(*n, &kind) < 0 && strcmp(*n, "refs") != 0 && strcmp(*n, "keys") != 0 &&
		    strcmp(*n, "tmp") != 0)
			return 1;
	return 0;
}

static int store_init(struct store *s, struct err *e)
{
	int r;

	r = store_dir_is_foreign(s->dir_fd);
	if (r > 0)
		return err_set(e, ERR_STORE_FORMAT, "%s is neither empty nor a store", s->path);
	if (r == 0)
		r = layout_make(s->dir_fd);
	if (r >= 0) {
		_cleanup_close_ int above = openat(s->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		/* Its own name; where the directory above cannot even be opened, it was not made by us. */
		if (above >= 0 && fsync(above) < 0)
			r = -errno;
	}
	if (r < 0)
		return err_errno(e, r, "cannot create the store %s", s->path);
	return 0;
}

static int format_open(struct store *s, struct err *e)
{
	s->format_fd = openat(s->dir_fd, "format", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (s->format_fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM)) {
		s->read_only = true;
		s->format_fd = openat(s->dir_fd, "format", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (s->format_fd < 0)
		return err_errno(e, -errno, "cannot open %s/format", s->path);
	return 0;
}

int store_open(const char *path, bool create, struct store **ret, struct err *e)
{
	_cleanup_(store_freep) struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_oom(e);
	s->dir_fd = s->format_fd = -EBADF;
	r = store_open_dir(s, path, create, e);
	if (r < 0)
		return r;
	r = format_check(s, e);
	if (r == -ENOENT && !create)
		return err_set(e, -ENOENT, "there is no store in %s", path);
	if (r == -ENOENT)
		r = store_init(s, e);
	if (r < 0)
		return r;
	r = format_open(s, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

void store_freep(struct store **s)
{
	if (!*s)
		return;
	close_fdp(&(*s)->dir_fd);
	close_fdp(&(*s)->format_fd);
	free((*s)->path);
	freep(s);
}

int store_state_open(struct store *s, struct plan_state *ret, struct err *e)
{
	_cleanup_close_ int journal = -EBADF, targets = -EBADF;

	journal = dir_open_at(s->dir_fd, "journal");
	if (journal < 0)
		return err_errno(e, journal, "cannot open %s/journal", s->path);
	targets = dir_open_at(s->dir_fd, "targets");
	if (targets < 0)
		return err_errno(e, targets, "cannot open %s/targets", s->path);
	ret->journal_fd = TAKE_FD(journal);
	ret->targets_fd = TAKE_FD(targets);
	return 0;
}

void store_state_close(struct plan_state *st)
{
	close_fdp(&st->journal_fd);
	close_fdp(&st->targets_fd);
}

int store_lock(struct store *s, enum store_kind kind, const char *id, unsigned timeout_s, struct lock *ret,
	       struct err *e)
{
	_cleanup_free_ char *name = str_printf("%s/%s", kind_dirs[kind], id);
	int r;

	if (!name)
		return err_oom(e);
	if (s->read_only)
		return err_errno(e, -EROFS, "the store %s cannot be written", s->path);
	r = lock_byte(s->format_fd, name, timeout_s > INT32_MAX / 1000 ? -1 : (int)timeout_s * 1000, ret);
	if (r == -EAGAIN) {
		(void)err_set(e, ERR_LOCKED, "another run is at work on %s", name);
		return err_object(e, "%s", name);
	}
	if (r < 0)
		return err_errno(e, r, "cannot lock %s in %s", name, s->path);
	return 0;
}

char *store_object_name(enum store_kind kind, const char *id)
{
	if (!name_is_safe(id) || id[0] == '.')
		return NULL;
	return str_printf("%s/%s%s", kind_dirs[kind], id, kind == STORE_IMAGE ? IMAGE_SUFFIX : "");
}

bool store_has(struct store *s, enum store_kind kind, const char *id)
{
	_cleanup_free_ char *name = store_object_name(kind, id);
	struct stat st;

	return name && fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int store_object_open(struct store *s, enum store_kind kind, const char *id)
{
	_cleanup_free_ char *name = store_object_name(kind, id);

	if (!name)
		return -EINVAL;
	return path_open_at(s->dir_fd, name, kind == STORE_IMAGE ? O_RDONLY : O_RDONLY | O_DIRECTORY, 0,
			    PATH_NO_SYMLINKS);
}

char *store_object_path(struct store *s, enum store_kind kind, const char *id)
{
	_cleanup_free_ char *name = store_object_name(kind, id);

	return name ? str_printf("%s/%s", s->path, name) : NULL;
}

/* The id a directory entry stands for, or NULL for what is not an object. An image is listed by its record, which
 * is there longer than the image. */
static char *object_id(enum store_kind kind, const char *name)
{
	size_t len = strlen(name), cut = strlen(IMAGE_RECORD_SUFFIX);

	if (!name_is_safe(name) || name[0] == '.')
		return NULL;
	if (kind != STORE_IMAGE)
		return strdup(name);
	return len > cut && strcmp(name + len - cut, IMAGE_RECORD_SUFFIX) == 0 ? strndup(name, len - cut)
									       : NULL;
}

int store_list(struct store *s, enum store_kind kind, store_list_fn fn, void *arg)
{
	_cleanup_close_ int dir = dir_open_at(s->dir_fd, kind_dirs[kind]);
	_cleanup_strv_ char **names = NULL;
	int r;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	r = livedir_list(dir, &names);
	if (r < 0)
		return r;
	for (char **n = names; n && *n; n++) {
		_cleanup_free_ char *id = object_id(kind, *n);

		if (!id)
			continue;
		r = fn(id, arg);
		if (r < 0)
			return r;
	}
	return 0;
}

int store_recover(struct store *s, struct err *e)
{
	_cleanup_close_ int tmp = -EBADF;
	_cleanup_strv_ char **names = NULL;
	int r, removed = 0;

	if (s->read_only)
		return 0;
	tmp = dir_open_at(s->dir_fd, "tmp");
	if (tmp < 0)
		return err_errno(e, tmp, "cannot open %s/tmp", s->path);
	r = livedir_list(tmp, &names);
	if (r < 0)
		return err_errno(e, r, "cannot read %s/tmp", s->path);
	for (char **n = names; n && *n; n++) {
		_cleanup_close_ int held = livedir_claim(tmp, *n);

		if (held == -EAGAIN || held == -ENOENT)
			continue;
		r = tree_remove(tmp, *n);
		if (r < 0)
			return err_errno(e, r, "cannot remove the leftover %s/tmp/%s", s->path, *n);
		log_debug("removed the leftover %s/tmp/%s", s->path, *n);
		removed++;
	}
	r = store_refs_recover(s);
	return r < 0 ? err_errno(e, r, "cannot clean the references in %s", s->path) : removed + r;
}
