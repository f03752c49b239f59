/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-ownnodes.h"

#include "fd.h"
#include "lxc-live.h"
#include "lxc-settings.h"
#include "path.h"
#include "strbuf.h"
#include "tree.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FOR_ALL 0666

bool lxc_ownnodes_needed(const struct lxc_nodes *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->v[i].required && n->v[i].kind != LXC_NODE_CAP && (n->v[i].mode & FOR_ALL) != FOR_ALL)
			return true;
	return false;
}

int lxc_ownnodes_use(struct lxc_nodes *n, const char *id)
{
	char *dir = str_printf(LXC_OWNNODES_DIR "/%s", id);

	if (!dir)
		return -ENOMEM;
	free(n->own_dir);
	n->own_dir = dir;
	return 0;
}

/* A file system that allows devices; everybody may pass through it to what is his. */
static int file_system(const struct host *h)
{
	_cleanup_free_ char *at = lxc_host_path(h, LXC_OWNNODES_DIR);
	int r = path_mkdirs(h->root_fd, LXC_OWNNODES_DIR, 0755, PATH_IN_ROOT);

	if (r < 0 || !at)
		return r < 0 ? r : -ENOMEM;
	if (lxc_mount_is_point(AT_FDCWD, at))
		return 0;
	return mount("nvdriver-nodes", at, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=1m,mode=711") < 0 ? -errno
												   : 0;
}

static int node_make(int dir, const struct lxc_node *n, uid_t uid, gid_t gid)
{
	const char *name;
	_cleanup_close_ int parent =
	    path_open_parent(dir, n->path + strlen("dev/"), true, PATH_NO_SYMLINKS, &name);
	struct stat st;

	if (parent < 0)
		return parent;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(n->major, n->minor))
			return 0;
		(void)unlinkat(parent, name, 0);
	}
	if (mknodat(parent, name, S_IFCHR | 0600, makedev(n->major, n->minor)) < 0 ||
	    fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(parent, name, FOR_ALL, 0) < 0)
		return -errno;
	return 0;
}

int lxc_ownnodes_make(const struct host *h, const struct lxc_nodes *n, uid_t uid, gid_t gid, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	int r = n->own_dir ? file_system(h) : 0;

	if (r >= 0 && n->own_dir)
		r = path_mkdirs(h->root_fd, n->own_dir, 0700, PATH_IN_ROOT);
	if (r >= 0 && n->own_dir)
		r = dir = path_open_at(h->root_fd, n->own_dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	for (size_t i = 0; r >= 0 && n->own_dir && i < n->n; i++)
		if (n->v[i].exists)
			r = node_make(dir, &n->v[i], uid, gid);
	if (r >= 0)
		return 0;
	(void)err_set(e, ERR_LXC_NODE, "the container's own nodes in %s cannot be made: %s", n->own_dir,
		      strerror(-r));
	return err_object(e, "%s", n->own_dir);
}

void lxc_ownnodes_remove(const struct host *h, const char *id)
{
	_cleanup_close_ int dir =
	    path_open_at(h->root_fd, LXC_OWNNODES_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);

	if (dir >= 0 && name_is_safe(id))
		(void)tree_remove(dir, id);
}
