/* SPDX-License-Identifier: Apache-2.0
 *
 * Giving a tree away: linked, cloned, mounted or copied, and the immutable image made from it. */
#include "store-internal.h"

#include "digest.h"
#include "fd.h"
#include "path.h"
#include "publish.h"
#include "spawn.h"
#include "tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define IMAGE_TIMEOUT_S 600

static const char *const share_names[] = {
	[SHARE_AUTO] = "auto", [SHARE_REFLINK] = "reflink", [SHARE_HARDLINK] = "hardlink",
	[SHARE_BIND] = "bind", [SHARE_COPY] = "copy",
};

const char *store_share_name(enum store_share m)
{
	return share_names[m];
}

int store_share_parse(const char *s, enum store_share *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(share_names); i++)
		if (strcmp(s, share_names[i]) == 0) {
			*ret = (enum store_share)i;
			return 0;
		}
	return -EINVAL;
}

/* The answer of the file system itself: an empty clone of the tree's record beside the target. */
static bool can_reflink(int tree_fd, int to_dirfd)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(to_dirfd);
	_cleanup_close_ int from = openat(tree_fd, "record.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return from >= 0 && tmpname_open(&t, 0600) >= 0 && ioctl(t.fd, FICLONE, from) == 0;
}

/* Read-only before anybody can write through it: the mount is remounted while its place is still ours alone. */
static int share_bind(int tree_fd, int to_dirfd, const char *to)
{
	_cleanup_close_ int root = dir_open_at(tree_fd, "root"), place = -EBADF, mounted = -EBADF;
	char from[64], at[64], on[64];
	int r;

	if (root < 0)
		return root;
	if (mkdirat(to_dirfd, to, 0755) < 0)
		return -errno;
	place = dir_open_at(to_dirfd, to);
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", root);
	(void)snprintf(at, sizeof(at), "/proc/self/fd/%d", place);
	r = place < 0 ? place : mount(from, at, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
	if (r >= 0) {
		mounted = dir_open_at(to_dirfd, to);
		(void)snprintf(on, sizeof(on), "/proc/self/fd/%d", mounted);
		r = mounted < 0 ? mounted
		    : mount(NULL, on, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0
			? -errno
			: 0;
		if (r < 0)
			(void)umount2(on, MNT_DETACH);
	}
	if (r < 0)
		(void)unlinkat(to_dirfd, to, AT_REMOVEDIR);
	return r;
}

static int share_by(enum store_share how, int tree_fd, int to_dirfd, const char *to)
{
	if (how == SHARE_BIND)
		return share_bind(tree_fd, to_dirfd, to);
	if (how == SHARE_REFLINK && !can_reflink(tree_fd, to_dirfd))
		return -EOPNOTSUPP;
	return tree_copy(tree_fd, "root", to_dirfd, to,
			 how == SHARE_REFLINK	 ? TREE_COPY_REFLINK
			 : how == SHARE_HARDLINK ? TREE_COPY_HARDLINK
						 : 0);
}

static bool is_safe(enum store_share how, enum store_receiver receiver)
{
	if (how == SHARE_BIND)
		return receiver == STORE_RECEIVER_MOUNT;
	return how != SHARE_HARDLINK || receiver == STORE_RECEIVER_TRUSTED;
}

int store_tree_share(struct store *s, const char *id, int to_dirfd, const char *to,
		     enum store_receiver receiver, enum store_share how, enum store_share *ret_used,
		     struct err *e)
{
	static const enum store_share cheapest_first[] = { SHARE_BIND, SHARE_REFLINK, SHARE_HARDLINK,
							   SHARE_COPY };
	_cleanup_close_ int tree = store_object_open(s, STORE_TREE, id);
	int r = -EOPNOTSUPP;

	if (tree < 0)
		return err_set(e, ERR_STORE_MISSING, "there is no tree %s in %s", id, s->path);
	if (how != SHARE_AUTO && !is_safe(how, receiver))
		return err_set(e, ERR_UNSUPPORTED,
			       "sharing by %s is not safe here: the receiver could alter the store",
			       share_names[how]);
	for (size_t i = 0; i < ARRAY_LEN(cheapest_first); i++) {
		enum store_share m = cheapest_first[i];

		if (how != SHARE_AUTO ? m != how : !is_safe(m, receiver))
			continue;
		r = share_by(m, tree, to_dirfd, to);
		if (r >= 0) {
			*ret_used = m;
			return 0;
		}
		if (r == -EEXIST || r == -ENOSPC)
			break;
	}
	return err_errno(e, r, "cannot share tree %s as %s", id, to);
}

/* No times, owners or random identity: the same tree gives the same bytes everywhere. */
static int image_make(struct store *s, const char *id, const struct store_stage *st, struct err *e)
{
	_cleanup_(spawn_done) struct spawn child = SPAWN_INIT("building the EROFS image");
	_cleanup_free_ char *tree = store_object_path(s, STORE_TREE, id), *stage = store_stage_path(st);

	if (!tree || !stage)
		return err_oom(e);
	(void)spawn_argv(&child, "mkfs.erofs", "-T0", "-U00000000-0000-0000-0000-000000000000", "-x-1",
			 "--all-root", NULL);
	(void)spawn_arg(&child, "%s/" STORE_STAGED_IMAGE, stage);
	(void)spawn_arg(&child, "%s/root", tree);
	child.timeout_s = IMAGE_TIMEOUT_S;
	return spawn_check(&child, e);
}

int store_image_build(struct store *s, const char *id, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	int r;

	if (store_has(s, STORE_IMAGE, id))
		return 0;
	if (!store_has(s, STORE_TREE, id))
		return err_set(e, ERR_STORE_MISSING, "there is no tree %s in %s", id, s->path);
	r = store_lock(s, STORE_IMAGE, id, IMAGE_TIMEOUT_S, &lock, e);
	if (r >= 0)
		r = store_stage_begin(s, &st, e);
	if (r >= 0)
		r = image_make(s, id, &st, e);
	return r < 0 ? r : store_publish(&st, STORE_IMAGE, id, e);
}
