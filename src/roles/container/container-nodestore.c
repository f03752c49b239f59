/* SPDX-License-Identifier: Apache-2.0 */
#include "container-nodestore.h"

#include "fd.h"
#include "path.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NODE_NAMESPACE "/proc/1/ns/mnt"
#define OWN_NAMESPACE  "/proc/self/ns/mnt"
#define NODE_ROOT      "/proc/1/root/." /* with the dot it is a directory name like any other */
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
/* <sys/mount.h> clashes with <linux/mount.h> in some C libraries. */
#define MOUNT_READ_ONLY	 (1 << 0)
#define MOUNT_REMOUNT	 (1 << 5)
#define MOUNT_BIND	 (1 << 12)
#define MOUNT_UNBINDABLE (1 << 17)
#define MOUNT_PRIVATE	 (1 << 18)
#define UNMOUNT_LAZILY	 2

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static int send_fd(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1)
		return -EIO;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EIO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* In a child of its own, since a process that has changed its namespace has lost its root and directory. */
static int clone_in_node(int sock, const char *directory)
{
	int ns = open(NODE_NAMESPACE, O_RDONLY | O_CLOEXEC), tree;

	if (ns < 0 || setns(ns, CLONE_NEWNS) < 0)
		return errno;
	tree = (int)syscall(SYS_open_tree, AT_FDCWD, directory,
			    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	return tree < 0 ? errno : -send_fd(sock, tree);
}

/* A detached copy of the node's mount; -errno. */
static int clone_from_node(const char *directory)
{
	_cleanup_close_ int ours = -EBADF, theirs = -EBADF;
	int pair[2], status = 0, fd;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0)
		_exit(clone_in_node(theirs, directory));
	close_fdp(&theirs);
	fd = receive_fd(ours);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (fd >= 0)
		return fd;
	return WIFEXITED(status) && WEXITSTATUS(status) ? -WEXITSTATUS(status) : fd;
}

static int mount_from_node(const char *directory, const char *target)
{
	_cleanup_close_ int tree = clone_from_node(directory);

	if (tree < 0)
		return tree;
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

/* Or nothing is mounted there. */
static int set_flags(const char *target, const unsigned long *flags, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (syscall(SYS_mount, NULL, target, NULL, flags[i], NULL) < 0) {
			int r = -errno;

			(void)syscall(SYS_umount2, target, UNMOUNT_LAZILY);
			return r;
		}
	return 0;
}

static int make_dir(const char *root, const char *directory)
{
	_cleanup_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : path_mkdirs(fd, directory, 0755, PATH_IN_ROOT);
}

int container_nodestore_attach(const char *node_directory)
{
	static const unsigned long flags[] = { MOUNT_PRIVATE, MOUNT_UNBINDABLE };
	_cleanup_free_ char *seen = str_printf(NODE_ROOT "%s", node_directory);
	int r;

	if (!seen)
		return -ENOMEM;
	if (same_file(NODE_NAMESPACE, OWN_NAMESPACE))
		return -EALREADY;
	if (same_file(seen, CONTAINER_STORE_MOUNT))
		return 0;
	r = make_dir(NODE_ROOT, node_directory);
	if (r == 0)
		r = make_dir("/", CONTAINER_STORE_MOUNT);
	if (r == 0)
		r = mount_from_node(node_directory, CONTAINER_STORE_MOUNT);
	return r < 0 ? r : set_flags(CONTAINER_STORE_MOUNT, flags, ARRAY_LEN(flags));
}

int container_nodestore_show(const char *node_directory, const char *target)
{
	static const unsigned long flags[] = { MOUNT_PRIVATE, MOUNT_REMOUNT | MOUNT_BIND | MOUNT_READ_ONLY };
	int r = mount_from_node(node_directory, target);

	return r < 0 ? r : set_flags(target, flags, ARRAY_LEN(flags));
}
