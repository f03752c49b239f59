/* SPDX-License-Identifier: Apache-2.0
 *
 * Giving a tree away: mounted, linked, cloned or copied. Every method shows the receiver the same files; they differ
 * in what they cost and in what a receiver could do to the store. */
#include "store-internal.h"

#include "fd.h"
#include "parse.h"
#include "publish.h"
#include "tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct share {
	struct store *store;
	const char *id;
	int tree_fd; /* borrowed; -ENOENT when only the image is there */
	int to_dirfd;
	const char *to;
	struct err *e;
};

/* "/proc/self/fd/<n>": what a descriptor is called where only a path will do. */
struct fd_path {
	char text[32];
};

static struct fd_path fd_path(int fd)
{
	struct fd_path p;

	(void)snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

/* Where the receiver's own files of an overlay are: beside it, so that they share its fate and its file system. */
static char *overlay_name(const char *to)
{
	return str_printf(".%s.overlay", to);
}

/* The empty directory something is mounted on. */
static int place_make(const struct share *c)
{
	if (mkdirat(c->to_dirfd, c->to, 0755) < 0)
		return -errno;
	return dir_open_at(c->to_dirfd, c->to);
}

/* The mount uppermost at the place, if there is one, and then the place. -EBUSY: somebody uses it. */
static int place_unmount(int to_dirfd, const char *to)
{
	_cleanup_free_ char *at = str_printf("%s/%s", fd_path(to_dirfd).text, to);

	if (!at)
		return -ENOMEM;
	return umount2(at, UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

static int share_erofs(const struct share *c)
{
	_cleanup_close_ int place = -EBADF, image = -EBADF;
	int r;

	if (!store_has(c->store, STORE_IMAGE, c->id))
		return -ENOENT;
	r = store_image_open(c->store, c->id, &image, c->e);
	if (r < 0)
		return r;
	place = place_make(c);
	r = place < 0 ? place : image_mount(image, fd_path(place).text);
	if (r < 0 && r != -EEXIST)
		(void)unlinkat(c->to_dirfd, c->to, AT_REMOVEDIR);
	return r;
}

/* A bind mount takes its flags in a second step. Whoever may see it before that cannot write to files of mode 444
 * that belong to root: who could is no receiver of a bind mount. */
static int share_bind(const struct share *c)
{
	const unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV;
	_cleanup_close_ int root = dir_open_at(c->tree_fd, "root"), place = -EBADF, mounted = -EBADF;
	int r;

	if (root < 0)
		return root;
	place = place_make(c);
	r = place;
	if (r >= 0)
		r = mount(fd_path(root).text, fd_path(place).text, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
	if (r >= 0) {
		mounted = dir_open_at(c->to_dirfd, c->to);
		r = mounted < 0							? mounted
		    : mount(NULL, fd_path(mounted).text, NULL, flags, NULL) < 0 ? -errno
										: 0;
		close_fdp(&mounted);
		if (r < 0)
			(void)place_unmount(c->to_dirfd, c->to);
	}
	if (r < 0 && r != -EEXIST)
		(void)unlinkat(c->to_dirfd, c->to, AT_REMOVEDIR);
	return r;
}

static int overlay_dirs(const struct share *c, const char *beside, int *ret_upper, int *ret_work)
{
	_cleanup_close_ int dir = -EBADF, upper = -EBADF, work = -EBADF;

	if (mkdirat(c->to_dirfd, beside, 0700) < 0)
		return -errno;
	dir = dir_open_at(c->to_dirfd, beside);
	if (dir < 0)
		return dir;
	/* The mode of the upper directory is what the receiver sees on its top directory. */
	if (mkdirat(dir, "upper", 0755) < 0 || fchmodat(dir, "upper", 0755, 0) < 0 ||
	    mkdirat(dir, "work", 0700) < 0)
		return -errno;
	upper = dir_open_at(dir, "upper");
	work = dir_open_at(dir, "work");
	if (upper < 0 || work < 0)
		return upper < 0 ? upper : work;
	*ret_upper = TAKE_FD(upper);
	*ret_work = TAKE_FD(work);
	return 0;
}

static int overlay_mount(const struct share *c, int root, int upper, int work)
{
	_cleanup_close_ int place = place_make(c);
	char options[128];
	struct statvfs fs;

	if (place < 0)
		return place;
	(void)snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", fd_path(root).text,
		       fd_path(upper).text, fd_path(work).text);
	if (mount("nvdriver", fd_path(place).text, "overlay", MS_NOSUID | MS_NODEV, options) < 0)
		return -errno;
	close_fdp(&place);
	place = dir_open_at(c->to_dirfd, c->to);
	if (place >= 0 && fstatvfs(place, &fs) == 0 && !(fs.f_flag & ST_RDONLY))
		return 0;
	/* An upper file system that cannot carry an overlay makes it read-only instead of failing. */
	close_fdp(&place);
	(void)place_unmount(c->to_dirfd, c->to);
	return -EOPNOTSUPP;
}

/* The tree below, the receiver's changes above: the kernel never writes to the lower directory, whoever asks. */
static int share_overlay(const struct share *c)
{
	_cleanup_close_ int root = dir_open_at(c->tree_fd, "root"), upper = -EBADF, work = -EBADF;
	_cleanup_free_ char *beside = overlay_name(c->to);
	int r;

	if (root < 0 || !beside)
		return root < 0 ? root : -ENOMEM;
	r = overlay_dirs(c, beside, &upper, &work);
	if (r == -EEXIST)
		return r;
	if (r >= 0)
		r = overlay_mount(c, root, upper, work);
	if (r < 0) {
		close_fdp(&upper);
		close_fdp(&work);
		(void)tree_remove(c->to_dirfd, beside);
		if (r != -EEXIST)
			(void)unlinkat(c->to_dirfd, c->to, AT_REMOVEDIR);
	}
	return r;
}

/* The file systems' own answer: an empty clone of the tree's record beside the target. */
static int share_reflink(const struct share *c)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(c->to_dirfd);
	_cleanup_close_ int from = openat(c->tree_fd, "record.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	r = from < 0 ? -errno : tmpname_open(&t, 0600);
	if (r < 0)
		return r;
	if (ioctl(t.fd, FICLONE, from) < 0)
		return -errno;
	return tree_copy(c->tree_fd, "root", c->to_dirfd, c->to, TREE_COPY_REFLINK);
}

static int share_hardlink(const struct share *c)
{
	char probe[64];
	int r;

	/* tree_copy() copies what cannot be linked, and then this would not be what it is called. */
	r = tmpname_random(probe, sizeof(probe));
	if (r < 0)
		return r;
	if (linkat(c->tree_fd, "record.json", c->to_dirfd, probe, 0) < 0 ||
	    unlinkat(c->to_dirfd, probe, 0) < 0)
		return -errno;
	return tree_copy(c->tree_fd, "root", c->to_dirfd, c->to, TREE_COPY_HARDLINK);
}

static int share_copy(const struct share *c)
{
	return tree_copy(c->tree_fd, "root", c->to_dirfd, c->to, 0);
}

#define BIT(receiver) (1U << (receiver))

/* Cheapest first, and who may have it. */
static const struct {
	enum store_share how;
	const char *name;
	unsigned safe_for;
	int (*give)(const struct share *c);
} methods[] = {
	{ SHARE_EROFS, "erofs", BIT(STORE_RECEIVER_READER) | BIT(STORE_RECEIVER_PRIVILEGED), share_erofs },
	{ SHARE_BIND, "bind", BIT(STORE_RECEIVER_READER), share_bind },
	{ SHARE_OVERLAY, "overlay", BIT(STORE_RECEIVER_WRITER), share_overlay },
	{ SHARE_REFLINK, "reflink", ~0U, share_reflink },
	{ SHARE_HARDLINK, "hardlink", BIT(STORE_RECEIVER_TRUSTED), share_hardlink },
	{ SHARE_COPY, "copy", ~0U, share_copy },
};

/* In a message: "not shared by bind with ..." */
static const char *const receivers[] = {
	[STORE_RECEIVER_OWN] = "a root that has to stand on its own",
	[STORE_RECEIVER_READER] = "a receiver that only reads",
	[STORE_RECEIVER_WRITER] = "a receiver that writes",
	[STORE_RECEIVER_PRIVILEGED] = "a privileged receiver",
	[STORE_RECEIVER_TRUSTED] = "a directory nobody else writes to",
};

const char *store_share_name(enum store_share how)
{
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (methods[i].how == how)
			return methods[i].name;
	return "auto";
}

int store_share_parse(const char *s, enum store_share *ret)
{
	for (enum store_share how = SHARE_AUTO; how <= SHARE_COPY; how++)
		if (strcmp(s, store_share_name(how)) == 0) {
			*ret = how;
			return 0;
		}
	return -EINVAL;
}

/* What a method's failure means to somebody who gets no other. */
static int share_explain(const struct share *c, enum store_share how, int r)
{
	const char *name = store_share_name(how);

	if (r <= -ERR_FIRST)
		return r;
	if (r == -ENOENT)
		return err_set(c->e, ERR_STORE_MISSING, "there is no %s %s in %s",
			       how == SHARE_EROFS ? "image of tree" : "tree", c->id, c->store->path);
	if ((r == -EPERM || r == -EACCES) && how <= SHARE_OVERLAY) {
		(void)err_set(c->e, ERR_MOUNT_DENIED, "cannot share tree %s by %s", c->id, name);
		return err_object(c->e, "%s", c->to);
	}
	if (r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL || r == -ENODEV || r == -ENOTTY)
		return err_set(c->e, ERR_UNSUPPORTED, "sharing by %s is not possible from %s to %s: %s", name,
			       c->store->path, c->to, strerror(-r));
	return err_errno(c->e, r, "cannot share tree %s as %s by %s", c->id, c->to, name);
}

/* The next method would fare no better, or something is wrong that must not be passed over. */
static bool is_final(int r)
{
	return r == -EEXIST || r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -ENOMEM || r <= -ERR_FIRST;
}

static int share_run(const struct share *c, enum store_receiver receiver, enum store_share how,
		     enum store_share *ret_used)
{
	enum store_share tried = how;
	int r = -EOPNOTSUPP;

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		bool is_safe = methods[i].safe_for & BIT(receiver);

		if (how == SHARE_AUTO ? !is_safe : methods[i].how != how)
			continue;
		tried = methods[i].how;
		if (!is_safe)
			return err_set(c->e, ERR_UNSUPPORTED, "a tree is not shared by %s with %s",
				       methods[i].name, receivers[receiver]);
		r = c->tree_fd < 0 && tried != SHARE_EROFS ? -ENOENT : methods[i].give(c);
		if (r >= 0) {
			err_done(c->e); /* of what was tried before */
			*ret_used = tried;
			return 0;
		}
		if (is_final(r))
			break;
	}
	return share_explain(c, tried, r);
}

int store_tree_share(struct store *s, const char *id, int to_dirfd, const char *to,
		     enum store_receiver receiver, enum store_share how, enum store_share *ret_used,
		     struct err *e)
{
	_cleanup_close_ int tree = store_object_open(s, STORE_TREE, id);
	const struct share c = { s, id, tree, to_dirfd, to, e };

	if (tree < 0 && tree != -ENOENT)
		return err_errno(e, tree, "cannot open the tree %s in %s", id, s->path);
	if (!name_is_safe(to))
		return err_set(e, -EINVAL, "%s is no name for a shared tree", to);
	return share_run(&c, receiver, how, ret_used);
}

int store_tree_unshare(int to_dirfd, const char *to, struct err *e)
{
	_cleanup_free_ char *beside = overlay_name(to);
	struct statx sx = { 0 };
	int r = 0;

	if (!beside)
		return err_oom(e);
	if (statx(to_dirfd, to, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &sx) < 0)
		r = errno == ENOENT ? 0 : -errno;
	else if (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		r = place_unmount(to_dirfd, to);
	if (r >= 0)
		r = tree_remove(to_dirfd, to);
	if (r >= 0)
		r = tree_remove(to_dirfd, beside);
	if (r == -EBUSY)
		return err_errno(e, r, "%s is still in use", to);
	return r < 0 ? err_errno(e, r, "cannot take the shared tree %s away", to) : 0;
}
