/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-locked.h"

#include "fd.h"
#include "lxc-live.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CURRENT LXC_LOCKED "/current"

#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x00000200 /* Linux 6.5 */
#endif

/* Kernels before 5.16 want two lower layers when there is no upper one. */
int lxc_locked_make(int live_fd, const char *live_dir)
{
	_cleanup_free_ char *at = str_printf("%s/" LXC_LOCKED, live_dir), *options = NULL;
	int r;

	options = str_printf("lowerdir=%s/.lower/a:%s/.lower/b", live_dir, live_dir);
	if (!at || !options)
		return -ENOMEM;
	if (lxc_mount_is_point(live_fd, LXC_LOCKED))
		return 0;
	r = path_mkdirs(live_fd, ".lower/a/current", 0755, PATH_NO_SYMLINKS);
	if (r >= 0)
		r = path_mkdirs(live_fd, ".lower/b", 0755, PATH_NO_SYMLINKS);
	if (r >= 0)
		r = path_mkdirs(live_fd, LXC_LOCKED, 0755, PATH_NO_SYMLINKS);
	if (r < 0)
		return r;
	if (mount("nvdriver", at, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options) < 0)
		return -errno;
	return mount(NULL, at, NULL, MS_SHARED, NULL) < 0 ? -errno : 0;
}

bool lxc_locked_is(int live_fd, const char *name)
{
	struct stat have, want;

	return fstatat(live_fd, CURRENT, &have, 0) == 0 && fstatat(live_fd, name, &want, 0) == 0 &&
	       have.st_dev == want.st_dev && have.st_ino == want.st_ino;
}

static int attach(int tree_fd, int target_fd, unsigned flags)
{
	flags |= MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
	return syscall(SYS_move_mount, tree_fd, "", target_fd, "", flags) < 0 ? -errno : 0;
}

/* The new mount is slid under the old one, which is then taken off: what is used of it lives on until it is let go. Kernels
 * that cannot do that get the new one on top. */
int lxc_locked_switch(int live_fd, const char *live_dir, const char *name)
{
	_cleanup_free_ char *source = str_printf("%s/%s", live_dir, name),
			    *at = str_printf("%s/" CURRENT, live_dir);
	_cleanup_close_ int tree = -EBADF, target = -EBADF;

	if (!source || !at)
		return -ENOMEM;
	if (lxc_locked_is(live_fd, name))
		return 0;
	tree = lxc_mount_clone(source, true);
	if (tree < 0)
		return tree;
	target = openat(live_fd, CURRENT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return -errno;
	if (lxc_mount_is_point(live_fd, CURRENT) && attach(tree, target, MOVE_MOUNT_BENEATH) == 0)
		return umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
	return attach(tree, target, 0);
}
