/* SPDX-License-Identifier: Apache-2.0 */
#include "spawn.h"
#include "fd.h"
#include "interrupt.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define TAIL_BYTES    4096
#define TAIL_LINES    20
#define LOOK_NS	      200000000u /* how often the interrupt flag and a missing pidfd are looked at */
#define GRACE_NS      2000000000u /* between SIGTERM and SIGKILL */
#define FD_SWEEP_MAX  4096
#define CLOSE_CLOEXEC (1U << 2) /* CLOSE_RANGE_CLOEXEC, Linux 5.11 */

static spawn_hook hook;
static void *hook_arg;
static uint64_t started;

void spawn_set_hook(spawn_hook new_hook, void *arg)
{
	hook = new_hook;
	hook_arg = arg;
}

uint64_t spawn_count(void)
{
	return __atomic_load_n(&started, __ATOMIC_RELAXED);
}

static void drop_results(struct spawn *s)
{
	free(s->out);
	free(s->tail);
	s->out = s->tail = NULL;
	s->out_len = 0;
	s->status = 0;
	s->wall_ns = s->cpu_ns = s->max_rss_bytes = 0;
}

void spawn_done(struct spawn *s)
{
	strv_freep(&s->argv);
	strv_freep(&s->env);
	drop_results(s);
	s->error = 0;
}

static int push(struct spawn *s, char ***v, const char *text)
{
	int r = text ? strv_push(v, text) : -ENOMEM;

	if (r < 0 && s->error == 0)
		s->error = r;
	return r;
}

int spawn_argv(struct spawn *s, const char *arg, ...)
{
	va_list ap;
	int r = 0;

	va_start(ap, arg);
	for (; arg && r == 0; arg = va_arg(ap, const char *))
		r = push(s, &s->argv, arg);
	va_end(ap);
	return r;
}

int spawn_arg(struct spawn *s, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = strbuf_vprintf(&b, fmt, ap);
	va_end(ap);
	return push(s, &s->argv, r < 0 ? NULL : strbuf_str(&b));
}

int spawn_env(struct spawn *s, const char *name, const char *value)
{
	_cleanup_free_ char *pair = str_printf("%s=%s", name, value);
	size_t n = strlen(name) + 1;

	for (char **p = s->env; pair && p && *p; p++)
		if (strncmp(*p, pair, n) == 0) {
			free(*p);
			*p = TAKE_PTR(pair);
			return 0;
		}
	return push(s, &s->env, pair);
}

static bool env_has(const struct spawn *s, const char *prefix)
{
	for (char **p = s->env; p && *p; p++)
		if (strncmp(*p, prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

static bool is_program(int root_fd, const char *path)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_PATH, 0, PATH_IN_ROOT);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

static int find_in(int root_fd, const char *name, char **ret)
{
	const char *dir = SAFE_PATH;

	while (*dir) {
		size_t n = strcspn(dir, ":");
		_cleanup_free_ char *path = str_printf("%.*s/%s", (int)n, dir, name);

		if (!path)
			return -ENOMEM;
		if (is_program(root_fd, path)) {
			*ret = TAKE_PTR(path);
			return 0;
		}
		dir += n + (dir[n] == ':');
	}
	return -ENOENT;
}

static int find_program(int root_fd, const char *name, char **ret)
{
	_cleanup_close_ int top = -EBADF;

	if (root_fd < 0) {
		top = dir_open_at(AT_FDCWD, "/");
		if (top < 0)
			return top;
	}
	return find_in(root_fd < 0 ? top : root_fd, name, ret);
}

int spawn_find(const char *name, char **ret)
{
	return strchr(name, '/') ? -ENOENT : find_program(-EBADF, name, ret);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct tail {
	char bytes[TAIL_BYTES]; /* a ring */
	uint64_t total;
};

/* One running child, as the parent sees it. */
struct child {
	struct spawn *s;
	pid_t pid;
	int pid_fd; /* owned; -EBADF before Linux 5.3 */
	int exec_fd; /* owned; reports why exec failed */
	int out_fd, err_fd; /* owned; err_fd only when stdout is captured alone */
	struct strbuf out;
	struct tail tail;
	uint64_t began, deadline, kill_at; /* 0 = none */
	int verdict; /* why it was stopped, negative */
	int log_error;
};

/* What the child needs, prepared before the fork: after it only async-signal-safe calls are allowed. */
struct plan {
	const char *program;
	char **argv, **env;
	int in, out, err, exec_fd;
	pid_t parent;
	const struct spawn *s;
};

static void child_done(struct child *c)
{
	close_fdp(&c->pid_fd);
	close_fdp(&c->exec_fd);
	close_fdp(&c->out_fd);
	close_fdp(&c->err_fd);
	strbuf_done(&c->out);
}

static int enter(const struct spawn *s)
{
	if (s->no_network)
		(void)unshare(CLONE_NEWNET);
	if (s->root_fd >= 0 && (fchdir(s->root_fd) < 0 || chroot(".") < 0))
		return -errno;
	if (s->cwd_fd >= 0 && fchdir(s->cwd_fd) < 0)
		return -errno;
	if (s->uid == (uid_t)-1)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
	    setresuid(s->uid, s->uid, s->uid) < 0)
		return -errno;
	return 0;
}

static void reset_signals(void)
{
	const struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &plain, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Our own descriptors are all close-on-exec; this is for what a library or our own parent left open. Before Linux
 * 5.11 one by one, up to where such descriptors lie: the limit may be a million. */
static void close_on_exec(void)
{
	struct rlimit limit = { .rlim_cur = 1024 };

	if (syscall(SYS_close_range, 3, ~0U, CLOSE_CLOEXEC) == 0)
		return;
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = 3; fd < FD_SWEEP_MAX && (rlim_t)fd < limit.rlim_cur; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static _Noreturn void child_main(const struct plan *p)
{
	int r;

	if (!p->s->attached)
		(void)setpgid(0, 0);
	reset_signals();
	(void)umask(022);
	r = enter(p->s);
	if (r == 0 && (dup2(p->in, 0) < 0 || dup2(p->out, 1) < 0 || dup2(p->err, 2) < 0))
		r = -errno;
	/* After the change of user, which clears it. */
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() != p->parent)
		_exit(127);
	if (r == 0) {
		close_on_exec();
		(void)execve(p->program, p->argv, p->env);
		r = -errno;
	}
	(void)!write(p->exec_fd, &r, sizeof(r));
	_exit(127);
}

/* A pipe whose ends are above the standard descriptors, also when those are closed here. */
static int make_pipe(int fds[2])
{
	int raw[2], saved;

	if (pipe2(raw, O_CLOEXEC) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		fds[i] = raw[i] > 2 ? raw[i] : fcntl(raw[i], F_DUPFD_CLOEXEC, 3);
	saved = errno;
	for (int i = 0; i < 2; i++)
		if (raw[i] <= 2)
			(void)close(raw[i]);
	if (fds[0] >= 0 && fds[1] >= 0)
		return 0;
	close_fdp(&fds[0]);
	close_fdp(&fds[1]);
	return -saved;
}

static int open_null(void)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int high;

	if (fd < 0)
		return -errno;
	if (fd > 2)
		return TAKE_FD(fd);
	high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return high < 0 ? -errno : high;
}

static int pidfd_of(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -EBADF : fd;
}

static int start_child(struct child *c, struct plan *p)
{
	_cleanup_close_ int null_fd = -EBADF;
	int out[2] = { -EBADF, -EBADF }, err[2] = { -EBADF, -EBADF }, report[2] = { -EBADF, -EBADF };
	bool split = c->s->capture && !c->s->merge;
	int r = make_pipe(out);

	if (r == 0 && split)
		r = make_pipe(err);
	if (r == 0)
		r = make_pipe(report);
	if (r == 0 && c->s->stdin_fd < 0)
		r = null_fd = open_null();
	if (r >= 0) {
		p->in = c->s->attached ? 0 : c->s->stdin_fd < 0 ? null_fd : c->s->stdin_fd;
		p->out = c->s->attached ? 2 : out[1];
		p->err = c->s->attached ? 2 : split ? err[1] : out[1];
		p->exec_fd = report[1];
		p->parent = getpid();
		c->pid = fork();
		r = c->pid < 0 ? -errno : 0;
		if (c->pid == 0)
			child_main(p);
	}
	close_fdp(&out[1]);
	close_fdp(&err[1]);
	close_fdp(&report[1]);
	c->out_fd = out[0];
	c->err_fd = err[0];
	c->exec_fd = report[0];
	if (r < 0)
		return r;
	__atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
	/* Both sides do it, so it is done whoever runs first. */
	if (!c->s->attached)
		(void)setpgid(c->pid, c->pid);
	c->pid_fd = pidfd_of(c->pid);
	return 0;
}

static void tail_add(struct tail *t, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		t->bytes[t->total++ % TAIL_BYTES] = bytes[i] ? bytes[i] : '?';
}

static char *tail_text(const struct tail *t)
{
	size_t len = t->total < TAIL_BYTES ? (size_t)t->total : TAIL_BYTES, start = 0;
	_cleanup_free_ char *text = malloc(len + 1);
	unsigned lines = 0;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i++)
		text[i] = t->bytes[(t->total - len + i) % TAIL_BYTES];
	while (len > 0 && text[len - 1] == '\n')
		len--;
	text[len] = '\0';
	for (size_t i = len; i > 0 && start == 0; i--)
		if (text[i - 1] == '\n' && ++lines == TAIL_LINES)
			start = i;
	/* The ring begins in the middle of a line. */
	if (start == 0 && t->total > TAIL_BYTES && strchr(text, '\n'))
		start = (size_t)(strchr(text, '\n') - text) + 1;
	return strdup(text + start);
}

static void take_output(struct child *c, bool is_out, const char *bytes, size_t len)
{
	struct spawn *s = c->s;
	int r;

	if (s->capture && is_out && c->verdict == 0 && strbuf_append(&c->out, bytes, len) < 0)
		c->verdict = strbuf_error(&c->out) == -E2BIG ? -ERR_TOO_LARGE : -ENOMEM;
	if (s->capture && !s->merge && is_out)
		return;
	tail_add(&c->tail, bytes, len);
	if (s->log_fd >= 0 && c->log_error == 0) {
		r = write_all(s->log_fd, bytes, len);
		c->log_error = r;
	}
}

/* One read; closes the descriptor at the end of the stream. True while there may be more at once. */
static bool drain(struct child *c, int *fd)
{
	char buf[16384];
	ssize_t n;

	if (*fd < 0)
		return false;
	n = read(*fd, buf, sizeof(buf));
	if (n > 0) {
		take_output(c, fd == &c->out_fd, buf, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return errno == EINTR;
	close_fdp(fd);
	return false;
}

static bool has_exited(const struct child *c)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == c->pid;
}

/* What a signal for all of it goes to: its group, unless that is ours. */
static pid_t group_of(const struct child *c)
{
	return c->s->attached ? c->pid : -c->pid;
}

static void stop(struct child *c, int verdict, uint64_t now)
{
	if (c->verdict == 0)
		c->verdict = verdict;
	if (c->kill_at)
		return;
	(void)kill(group_of(c), SIGTERM);
	c->kill_at = now + GRACE_NS;
}

static void check_limits(struct child *c)
{
	uint64_t now = now_ns();

	if (interrupt_pending())
		stop(c, -ERR_INTERRUPTED, now);
	else if (c->deadline && now >= c->deadline)
		stop(c, -ERR_TIMEOUT, now);
	else if (c->verdict < 0)
		stop(c, c->verdict, now);
	if (c->kill_at && now >= c->kill_at)
		(void)kill(group_of(c), SIGKILL);
}

static int wait_ms(const struct child *c)
{
	uint64_t now = now_ns(), left = LOOK_NS;

	if (c->deadline > now && c->deadline - now < left)
		left = c->deadline - now;
	if (c->pid_fd < 0)
		left = 10000000u;
	return (int)((left + 999999) / 1000000);
}

/* Until the child itself has ended; a grandchild that keeps the pipe open is not waited for. */
static void follow(struct child *c)
{
	(void)fcntl(c->out_fd, F_SETFL, O_NONBLOCK);
	if (c->err_fd >= 0)
		(void)fcntl(c->err_fd, F_SETFL, O_NONBLOCK);
	while (!has_exited(c)) {
		struct pollfd p[] = { { .fd = c->out_fd, .events = POLLIN },
				      { .fd = c->err_fd, .events = POLLIN },
				      { .fd = c->pid_fd, .events = POLLIN } };

		(void)poll(p, ARRAY_LEN(p), wait_ms(c));
		(void)drain(c, &c->out_fd);
		(void)drain(c, &c->err_fd);
		check_limits(c);
	}
	/* What it left running in its group dies with a child that had to be stopped. */
	if (c->verdict < 0)
		(void)kill(group_of(c), SIGKILL);
	while (drain(c, &c->out_fd))
		;
	while (drain(c, &c->err_fd))
		;
}

static void reap(struct child *c)
{
	struct spawn *s = c->s;
	struct rusage ru = { 0 };
	int status = 0;

	while (wait4(c->pid, &status, 0, &ru) < 0 && errno == EINTR)
		;
	s->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	s->wall_ns = now_ns() - c->began;
	s->cpu_ns = ((uint64_t)ru.ru_utime.tv_sec + (uint64_t)ru.ru_stime.tv_sec) * 1000000000u +
		    ((uint64_t)ru.ru_utime.tv_usec + (uint64_t)ru.ru_stime.tv_usec) * 1000u;
	s->max_rss_bytes = (uint64_t)ru.ru_maxrss * 1024;
}

static int collect(struct child *c, struct err *e)
{
	struct spawn *s = c->s;

	s->tail = tail_text(&c->tail);
	if (!s->tail)
		return err_oom(e);
	if (!s->capture)
		return 0;
	s->out_len = c->out.len;
	if (c->out.error == 0 && strbuf_steal(&c->out, &s->out) < 0)
		return err_oom(e);
	return 0;
}

static int explain(const struct child *c, int exec_error, struct err *e)
{
	const struct spawn *s = c->s;

	if (exec_error < 0) {
		int code = exec_error == -ENOENT ? -ERR_TOOL_MISSING : exec_error;

		(void)err_set(e, code, "%s: cannot start %s: %s", s->what, s->argv[0], strerror(-exec_error));
	} else if (c->verdict == -ERR_TIMEOUT) {
		(void)err_set(e, c->verdict, "%s: %s did not end within %u s", s->what, s->argv[0],
			      s->timeout_s);
	} else if (c->verdict == -ERR_INTERRUPTED) {
		(void)err_set(e, c->verdict, "%s: stopped by a signal", s->what);
	} else if (c->verdict < 0) {
		(void)err_set(e, c->verdict, "%s: %s printed more than %zu bytes", s->what, s->argv[0],
			      s->capture_max);
	} else if (c->log_error < 0) {
		(void)err_errno(e, c->log_error, "%s: cannot write the log", s->what);
	} else {
		return 0;
	}
	return err_object(e, "%s", s->argv[0]);
}

static int run_child(struct spawn *s, const char *program, struct err *e)
{
	_cleanup_(child_done) struct child c = { .s = s,
						 .pid_fd = -EBADF,
						 .exec_fd = -EBADF,
						 .out_fd = -EBADF,
						 .err_fd = -EBADF,
						 .out = STRBUF_INIT(s->capture_max) };
	struct plan p = { .program = program, .argv = s->argv, .env = s->env, .s = s };
	int r, exec_error = 0;

	c.began = now_ns();
	c.deadline = s->timeout_s ? c.began + (uint64_t)s->timeout_s * 1000000000u : 0;
	r = start_child(&c, &p);
	if (r < 0)
		return err_errno(e, r, "%s: cannot start %s", s->what, s->argv[0]);
	if (read_upto(c.exec_fd, &exec_error, sizeof(exec_error)) != (ssize_t)sizeof(exec_error))
		exec_error = 0;
	follow(&c);
	reap(&c);
	r = collect(&c, e);
	return r < 0 ? r : explain(&c, exec_error, e);
}

static void log_command(const struct spawn *s)
{
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT((size_t)8 << 10);

	for (char **p = s->argv; *p; p++)
		(void)strbuf_printf(&line, " %s", *p);
	log_debug("%s:%s", s->what, strbuf_str(&line));
}

int spawn_run(struct spawn *s, struct err *e)
{
	_cleanup_free_ char *found = NULL;
	int r;

	drop_results(s);
	if (s->error == 0 && !env_has(s, "PATH="))
		(void)spawn_env(s, "PATH", SAFE_PATH);
	if (s->error == 0 && !env_has(s, "LC_ALL="))
		(void)spawn_env(s, "LC_ALL", "C");
	if (s->error < 0)
		return err_errno(e, s->error, "%s: preparing the command", s->what);
	if (!s->argv)
		return err_set(e, -EINVAL, "%s: empty command", s->what);
	log_command(s);
	if (hook)
		return hook(s, hook_arg);
	if (interrupt_check(e) < 0)
		return err_wrap(e, "%s", s->what);
	if (!strchr(s->argv[0], '/')) {
		r = find_program(s->root_fd, s->argv[0], &found);
		if (r == -ENOENT) {
			(void)err_set(e, -ERR_TOOL_MISSING, "%s: the program %s is not installed", s->what,
				      s->argv[0]);
			return err_object(e, "%s", s->argv[0]);
		}
		if (r < 0)
			return err_errno(e, r, "%s: looking for %s", s->what, s->argv[0]);
	}
	return run_child(s, found ? found : s->argv[0], e);
}

int spawn_judge(const struct spawn *s, struct err *e)
{
	const char *tail = s->tail ? s->tail : "";

	if (s->status == 0)
		return 0;
	if (s->status > 128)
		(void)err_set(e, -ERR_SPAWN, "%s: %s was killed by signal %d%s%s", s->what, s->argv[0],
			      s->status - 128, *tail ? "\n" : "", tail);
	else
		(void)err_set(e, -ERR_SPAWN, "%s: %s ended with status %d%s%s", s->what, s->argv[0],
			      s->status, *tail ? "\n" : "", tail);
	return err_object(e, "%s", s->argv[0]);
}

int spawn_check(struct spawn *s, struct err *e)
{
	int r = spawn_run(s, e);

	return r < 0 ? r : spawn_judge(s, e);
}
