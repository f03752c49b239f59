/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-enter.h"

#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)64 << 20)
#define LOOK_MS	   200

struct entry {
	int cgroup_fd; /* owned; cgroup.procs to write ourselves to */
	int user_ns, mount_ns, root_fd; /* owned; -EBADF = not entered */
	const struct lxc_place *place;
	unsigned flags;
};

static void entry_done(struct entry *n)
{
	close_fdp(&n->cgroup_fd);
	close_fdp(&n->user_ns);
	close_fdp(&n->mount_ns);
	close_fdp(&n->root_fd);
}

static int ns_open(pid_t pid, const char *kind)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* "<n>:devices:/lxc.payload.x" where the controller has a hierarchy of its own, else "0::/…". */
static char *cgroup_path(pid_t pid)
{
	_cleanup_free_ char *file = str_printf("/proc/%d/cgroup", (int)pid), *text = NULL;
	bool has_v1 = access("/sys/fs/cgroup/devices/cgroup.procs", F_OK) == 0;
	const char *mark = has_v1 ? ":devices:" : "0::";
	struct span rest, line;
	size_t len;

	if (!file || read_file_at(AT_FDCWD, file, (size_t)64 << 10, &text, &len) < 0)
		return NULL;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		_cleanup_free_ char *one = span_dup(line);
		const char *at = one ? strstr(one, mark) : NULL;

		if (at)
			return str_printf("/sys/fs/cgroup%s%s/cgroup.procs", has_v1 ? "/devices" : "",
					  at + strlen(mark));
	}
	return NULL;
}

static int cgroup_open(pid_t pid)
{
	_cleanup_free_ char *path = cgroup_path(pid);
	int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	return fd < 0 ? -EBADF : fd;
}

static int entry_open(struct entry *n, struct err *e)
{
	const struct lxc_place *p = n->place;
	int r = 0;

	if (p->init_pid > 0 && (n->flags & LXC_INSIDE_CGROUP))
		n->cgroup_fd = cgroup_open(p->init_pid);

	if (p->init_pid > 0) {
		n->mount_ns = ns_open(p->init_pid, "mnt");
		if (p->has_userns && !(n->flags & LXC_INSIDE_HOST_ROOT))
			r = n->user_ns = ns_open(p->init_pid, "user");
		n->root_fd = lxc_place_open(p);
		if (n->mount_ns < 0 || r < 0 || n->root_fd < 0)
			return err_set(e, ERR_LXC_STOPPED, "the container has just stopped");
		return 0;
	}
	if (!p->rootfs || (n->flags & LXC_INSIDE_HOST_ROOT))
		return err_set(e, ERR_LXC_STOPPED,
			       "the container is stopped and its root is not to be reached");
	n->root_fd = dir_open_at(AT_FDCWD, p->rootfs);
	if (n->root_fd < 0)
		return err_errno(e, n->root_fd, "cannot open the container's root %s", p->rootfs);
	return 0;
}

static int become(uid_t uid, gid_t gid)
{
	/* A user name-space may forbid setgroups; then there are no groups to drop either. */
	(void)setgroups(0, NULL);
	if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

/* In the child. */
static int enter(const struct entry *n)
{
	const struct lxc_place *p = n->place;

	if (n->mount_ns < 0) {
		if (fchdir(n->root_fd) < 0 || chroot(".") < 0)
			return -errno;
		return p->on_disk_shifted ? become(p->root_uid, p->root_gid) : 0;
	}
	if (n->cgroup_fd >= 0 && write(n->cgroup_fd, "0", 1) < 0)
		return -errno;
	if (n->user_ns >= 0 && setns(n->user_ns, CLONE_NEWUSER) < 0)
		return -errno;
	/* The top of the name-space is not the container's root where that was entered by chroot instead of pivot_root. */
	if (setns(n->mount_ns, CLONE_NEWNS) < 0 || fchdir(n->root_fd) < 0 || chroot(".") < 0)
		return -errno;
	return n->user_ns >= 0 ? become(0, 0) : 0;
}

static int answer_send(int fd, int result, const json_t *answer, const struct err *e)
{
	_cleanup_json_ json_t *o =
	    json_pack("{s:i, s:O?, s:i, s:s?, s:s?, s:s?}", "result", result, "answer", answer, "code",
		      e->code, "object", e->object, "reason", e->reason, "next", e->next);
	_cleanup_free_ char *text = NULL;
	int r = o ? jdump(o, &text) : -ENOMEM;

	return r < 0 ? r : write_all(fd, text, strlen(text));
}

static _Noreturn void child_main(const struct entry *n, lxc_inside_fn fn, void *arg, int out)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int root = -EBADF;
	int r;

	(void)setpgid(0, 0);
	(void)umask(022);
	r = enter(n);
	if (r < 0)
		(void)err_errno(&e, r, "cannot enter the container");
	if (r >= 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = root < 0 ? -errno : fn(root, arg, &answer, &e);
	}
	if (r < 0 && e.code == 0)
		(void)err_errno(&e, r, "inside the container");
	_exit(answer_send(out, r, answer, &e) < 0 ? 1 : 0);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int read_answer(int fd, pid_t pid, unsigned timeout_s, struct strbuf *out, struct err *e)
{
	uint64_t deadline = now_ms() + (uint64_t)timeout_s * 1000;
	char buf[16384];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, LOOK_MS) > 0) {
			n = read(fd, buf, sizeof(buf));
			if (n == 0)
				return 0;
			if (n > 0 && strbuf_append(out, buf, (size_t)n) < 0)
				return err_oom(e);
		}
		if (interrupt_pending() || (timeout_s && now_ms() > deadline)) {
			(void)kill(pid, SIGKILL);
			return interrupt_pending()
				   ? interrupt_check(e)
				   : err_set(e, ERR_TIMEOUT,
					     "the container's file system did not answer within %u s",
					     timeout_s);
		}
	}
}

static int answer_take(const struct strbuf *text, json_t **ret, struct err *e)
{
	_cleanup_json_ json_t *o = NULL;
	int r = jparse((struct span){ strbuf_str(text), text->len }, &o, e), code;

	if (r < 0)
		return err_wrap(e, "the process inside the container died");
	r = (int)json_integer_value(json_object_get(o, "result"));
	code = (int)json_integer_value(json_object_get(o, "code"));
	if (r < 0) {
		const char *object = json_string_value(json_object_get(o, "object"));
		const char *next = json_string_value(json_object_get(o, "next"));
		const char *reason = json_string_value(json_object_get(o, "reason"));

		(void)err_set(e, code, "%s", reason ? reason : err_sentence(code));
		if (object)
			(void)err_object(e, "%s", object);
		if (next)
			(void)err_next(e, "%s", next);
		return -abs(code);
	}
	if (ret)
		*ret = json_incref(json_object_get(o, "answer"));
	return r;
}

int lxc_inside(const struct lxc_place *p, unsigned flags, unsigned timeout_s, lxc_inside_fn fn, void *arg,
	       json_t **ret, struct err *e)
{
	_cleanup_(entry_done) struct entry n = { -EBADF, -EBADF, -EBADF, -EBADF, p, flags };
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(ANSWER_MAX);
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	int fds[2], r;
	pid_t pid;

	r = entry_open(&n, e);
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "cannot make a pipe");
	in = fds[0];
	out = fds[1];
	pid = fork();
	if (pid < 0)
		return err_errno(e, -errno, "cannot start a process");
	if (pid == 0)
		child_main(&n, fn, arg, out);
	close_fdp(&out);
	r = read_answer(in, pid, timeout_s, &text, e);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r < 0 ? r : answer_take(&text, ret, e);
}

int lxc_place_open(const struct lxc_place *p)
{
	char path[64];
	int fd;

	if (p->init_pid > 0) {
		snprintf(path, sizeof(path), "/proc/%d/root", (int)p->init_pid);
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	} else {
		fd = p->rootfs ? open(p->rootfs, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		errno = p->rootfs ? errno : ENOENT;
	}
	return fd < 0 ? -errno : fd;
}

int lxc_read_beneath(int root_fd, const char *path, size_t max_bytes, char **ret, size_t *ret_len)
{
	_cleanup_close_ int at = path_open_at(root_fd, path, O_PATH, 0, PATH_IN_ROOT), fd = -EBADF;
	struct stat st;

	if (at < 0)
		return at;
	if (fstat(at, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	fd = fd_reopen(at, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? fd : read_fd(fd, max_bytes, ret, ret_len);
}

int lxc_resolve_beneath(int root_fd, const char *path, char **ret_name, struct stat *ret)
{
	_cleanup_close_ int at = path_open_at(root_fd, path, O_PATH, 0, PATH_IN_ROOT);
	_cleanup_free_ char *target = NULL;
	const char *slash;
	int r;

	if (at < 0)
		return at;
	if (ret && fstat(at, ret) < 0)
		return -errno;
	r = fd_real_path(at, &target);
	if (r < 0)
		return r;
	slash = strrchr(target, '/');
	*ret_name = strdup(slash ? slash + 1 : target);
	return *ret_name ? 0 : -ENOMEM;
}
