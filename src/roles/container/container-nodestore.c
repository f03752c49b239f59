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
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
/* <sys/mount.h> clashes with <linux/mount.h> in some C libraries. */
#define MOUNT_UNBINDABLE (1 << 17)
#define MOUNT_PRIVATE	 (1 << 18)

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
	int ns = open(NODE_NAMESPACE, O_RDONLY | O_CLOEXEC), root, tree, r;

	if (ns < 0 || setns(ns, CLONE_NEWNS) < 0)
		return errno;
	root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = root < 0 ? -errno : path_mkdirs(root, directory, 0755, PATH_IN_ROOT);
	if (r < 0)
		return -r;
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

static int make_private(const char *target)
{
	if (syscall(SYS_mount, NULL, target, NULL, MOUNT_PRIVATE, NULL) < 0 ||
	    syscall(SYS_mount, NULL, target, NULL, MOUNT_UNBINDABLE, NULL) < 0)
		return -errno;
	return 0;
}

int container_nodestore_attach(const char *node_directory)
{
	_cleanup_free_ char *seen = str_printf("/proc/1/root/.%s", node_directory);
	_cleanup_close_ int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), tree = -EBADF;
	int r;

	if (!seen)
		return -ENOMEM;
	if (root < 0 || same_file(NODE_NAMESPACE, OWN_NAMESPACE))
		return root < 0 ? -EACCES : -EALREADY;
	if (same_file(seen, CONTAINER_STORE_MOUNT))
		return 0;
	r = path_mkdirs(root, CONTAINER_STORE_MOUNT, 0755, PATH_IN_ROOT);
	if (r < 0)
		return r;
	tree = clone_from_node(node_directory);
	if (tree < 0)
		return tree;
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, CONTAINER_STORE_MOUNT, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return make_private(CONTAINER_STORE_MOUNT);
}
