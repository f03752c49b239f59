/* SPDX-License-Identifier: Apache-2.0 */
#include "container-ops.h"

#include "container-nodestore.h"
#include "interrupt.h"
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

static const int stop_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM };

static int real_mount(void *arg _unused_, const char *source, const char *target, const char *type,
		      unsigned long flags, const char *data)
{
	return mount(source, target, type, flags, data) < 0 ? -errno : 0;
}

static int real_mount_from_node(void *arg _unused_, const char *node_directory, const char *target)
{
	return container_nodestore_show(node_directory, target);
}

static int real_umount(void *arg _unused_, const char *target, int flags)
{
	return umount2(target, flags) < 0 ? -errno : 0;
}

/* The descriptor pins the process, so its start time read afterwards is the signalled process's. Before Linux 5.3 there is
 * none, and a number reused within these few instructions would be believed. */
static int real_kill(void *arg, int pid, uint64_t start_ticks, int signal)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	_cleanup_(process_done) struct process p = PROCESS_INIT;
	int r;

	if (fd < 0 && errno != ENOSYS && errno != EPERM)
		return -errno;
	r = process_read(arg, pid, &p);
	if (r < 0 || p.start_ticks != start_ticks)
		return -ESRCH;
	r = fd < 0 ? kill(pid, signal) : (int)syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
	return r < 0 ? -errno : 0;
}

static void stop_set(sigset_t *set)
{
	(void)sigemptyset(set);
	for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
		(void)sigaddset(set, stop_signals[i]);
}

/* As the first process of a container we inherit what daemons leave behind. */
static void reap_orphans(void)
{
	if (getpid() == 1)
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
}

static int real_wait(void *arg _unused_, unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
	sigset_t set;
	int sig;

	stop_set(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	reap_orphans();
	sig = interrupt_signal();
	if (!sig)
		sig = sigtimedwait(&set, NULL, &t);
	interrupt_set(0);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	if (sig > 0 && interrupt_pending())
		interrupt_set(0);
	return sig > 0 ? sig : 0;
}

static uint64_t real_now_ms(void *arg _unused_)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int real_label(void *arg _unused_, int fd, const char *name _unused_, const char *context)
{
	char path[64];

	/* By descriptor the kernel would want a device node opened for real. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return setxattr(path, "security.selinux", context, strlen(context) + 1, 0) < 0 ? -errno : 0;
}

static int real_mknod(void *arg _unused_, int dir_fd, const char *name, mode_t mode, dev_t number)
{
	if (mknodat(dir_fd, name, S_IFCHR | mode, number) < 0)
		return -errno;
	/* Whatever the umask took away. */
	return fchmodat(dir_fd, name, mode, 0) < 0 ? -errno : 0;
}

int container_ops_real(const struct host *h, const char *modules_dir, struct container_ops *ret,
		       struct err *e)
{
	struct container_ops ops = { .mount = real_mount,
				     .mount_from_node = real_mount_from_node,
				     .umount = real_umount,
				     .kill = real_kill,
				     .wait = real_wait,
				     .now_ms = real_now_ms,
				     .label = real_label,
				     .mknod = real_mknod,
				     .arg = (void *)h };
	/* A directory that stands for a machine (an image being built) has no kernel to load into. */
	int r = h->is_running ? modload_ops_real_dir(h, modules_dir, &ops.kernel, e) : 0;

	if (r < 0)
		return r;
	interrupt_catch(stop_signals, ARRAY_LEN(stop_signals));
	*ret = ops;
	return 0;
}

void container_ops_done(struct container_ops *ops)
{
	modload_ops_done(&ops->kernel);
}
