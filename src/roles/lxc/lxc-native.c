/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-native.h"

#include "fd.h"
#include "interrupt.h"
#include "log.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#if HAVE_LXC
#include <lxc/attach_options.h>
#include <lxc/lxccontainer.h>
#endif

#define OUT_MAX	   ((size_t)16 << 20)
#define ITEM_MAX   65536
#define TAIL_BYTES 4000
#define LOOK_MS	   100

static bool no_library;

void lxc_native_test_no_library(bool on)
{
	no_library = on;
}

#if HAVE_LXC
static struct {
	struct lxc_container *(*container_new)(const char *name, const char *path);
	int (*container_put)(struct lxc_container *c);
	bool usable;
} lib;

static void lib_load(void)
{
	void *handle = dlopen("liblxc.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return;
	*(void **)&lib.container_new = dlsym(handle, "lxc_container_new");
	*(void **)&lib.container_put = dlsym(handle, "lxc_container_put");
	lib.usable = lib.container_new && lib.container_put;
}

bool lxc_native_has_library(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (no_library)
		return false;
	(void)pthread_once(&once, lib_load);
	return lib.usable;
}

static void container_putp(struct lxc_container **c)
{
	if (*c)
		(void)lib.container_put(*c);
	*c = NULL;
}

#define _cleanup_container_ _cleanup_(container_putp)

static struct lxc_container *container_open(const struct lxc_settings *set, const char *name)
{
	return lxc_native_has_library() ? lib.container_new(name, set->lxcpath) : NULL;
}
#else
bool lxc_native_has_library(void)
{
	return false;
}
#endif

static int unknown(const char *name, struct err *e)
{
	(void)err_set(e, ERR_LXC_UNKNOWN, "there is no container %s", name);
	return err_object(e, "%s", name);
}

static bool is_defined(const struct lxc_settings *set, const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/%s/config", set->lxcpath, name);

	return path && access(path, F_OK) == 0;
}

static enum lxc_state state_of(const char *text)
{
	static const struct {
		const char *text;
		enum lxc_state state;
	} words[] = {
		{ "STOPPED", LXC_STOPPED },
		{ "RUNNING", LXC_RUNNING },
		{ "FROZEN", LXC_FROZEN },
	};

	for (size_t i = 0; text && i < ARRAY_LEN(words); i++)
		if (strcmp(text, words[i].text) == 0)
			return words[i].state;
	return LXC_OTHER;
}

/* "RUNNING\n1234\n" of lxc-info -H -s -p. */
static int state_by_tool(const struct lxc_settings *set, const char *name, enum lxc_state *ret,
			 pid_t *ret_pid, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("state of the container");
	struct span rest, line;
	uint64_t pid;
	int r;

	(void)spawn_argv(&s, "lxc-info", "-P", set->lxcpath, "-n", name, "-H", "-s", "-p", NULL);
	s.capture = true;
	s.timeout_s = set->start_timeout_s;
	r = spawn_check(&s, e);
	if (r < 0)
		return err_recode(e, ERR_LXC_BACKEND);
	rest = SPAN(s.out);
	*ret = LXC_OTHER;
	while (span_line(&rest, &line)) {
		_cleanup_free_ char *word = span_dup(span_trim(line));

		if (parse_u64(span_trim(line), INT_MAX, &pid) == 0)
			*ret_pid = (pid_t)pid;
		else if (word && *word)
			*ret = state_of(word);
	}
	return 0;
}

int lxc_native_state(const struct lxc_settings *set, const char *name, enum lxc_state *ret, pid_t *ret_pid,
		     struct err *e)
{
	*ret_pid = 0;
	if (!is_defined(set, name))
		return unknown(name, e);
#if HAVE_LXC
	if (lxc_native_has_library()) {
		_cleanup_container_ struct lxc_container *c = container_open(set, name);

		if (!c)
			return err_set(e, ERR_LXC_BACKEND, "liblxc cannot open container %s", name);
		*ret = state_of(c->state(c));
		if (*ret == LXC_RUNNING || *ret == LXC_FROZEN)
			*ret_pid = c->init_pid(c);
		return 0;
	}
#endif
	return state_by_tool(set, name, ret, ret_pid, e);
}

/* -- items -- */

/* What the container's own file says, for when there is no library: includes are not followed. */
static char *item_from_file(const struct lxc_settings *set, const char *name, const char *key)
{
	_cleanup_free_ char *path = str_printf("%s/%s/config", set->lxcpath, name), *text = NULL;
	_cleanup_(strbuf_done) struct strbuf values = STRBUF_INIT(ITEM_MAX);
	struct span rest, line;
	char *ret = NULL;
	size_t len;

	if (!path || read_file_at(AT_FDCWD, path, (size_t)4 << 20, &text, &len) < 0)
		return NULL;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		const char *eq = memchr(line.p, '=', line.len);
		struct span value;

		if (!eq || !span_eq(span_trim((struct span){ line.p, (size_t)(eq - line.p) }), key))
			continue;
		value = span_trim((struct span){ eq + 1, (size_t)(line.p + line.len - eq - 1) });
		(void)strbuf_append(&values, value.p, value.len);
		(void)strbuf_putc(&values, '\n');
	}
	return values.len && strbuf_steal(&values, &ret) == 0 ? ret : NULL;
}

char *lxc_native_item(const struct lxc_settings *set, const char *name, const char *key)
{
#if HAVE_LXC
	if (lxc_native_has_library()) {
		_cleanup_container_ struct lxc_container *c = container_open(set, name);
		_cleanup_free_ char *value = NULL;
		int n = c ? c->get_config_item(c, key, NULL, 0) : -1;

		if (n <= 0 || n > ITEM_MAX)
			return NULL;
		value = calloc(1, (size_t)n + 1);
		if (!value || c->get_config_item(c, key, value, n + 1) != n)
			return NULL;
		return TAKE_PTR(value);
	}
#endif
	return item_from_file(set, name, key);
}

int lxc_idmap_root(struct span text, char which, uint64_t *ret)
{
	struct span line, kind, inside, outside;
	uint64_t in, out;

	while (span_line(&text, &line)) {
		if (!span_word(&line, &kind) || kind.len != 1 || kind.p[0] != which)
			continue;
		if (span_word(&line, &inside) && span_word(&line, &outside) &&
		    parse_u64(inside, UINT32_MAX, &in) == 0 && parse_u64(outside, UINT32_MAX, &out) == 0 &&
		    in == 0) {
			*ret = out;
			return 0;
		}
	}
	return -ENOENT;
}

/* First line of /proc/<pid>/uid_map that maps 0. */
static uint32_t map_root(pid_t pid, const char *file)
{
	_cleanup_free_ char *path = str_printf("/proc/%d/%s", (int)pid, file), *text = NULL;
	struct span rest, line, inside, outside;
	uint64_t in, out;
	size_t len;

	if (!path || read_file_at(AT_FDCWD, path, ITEM_MAX, &text, &len) < 0)
		return 0;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line))
		if (span_word(&line, &inside) && span_word(&line, &outside) &&
		    parse_u64(inside, UINT32_MAX, &in) == 0 && parse_u64(outside, UINT32_MAX, &out) == 0 &&
		    in == 0)
			return (uint32_t)out;
	return 0;
}

static bool other_userns(pid_t pid)
{
	char path[64];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return stat("/proc/self/ns/user", &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_ino != theirs.st_ino;
}

/* "dir:/var/lib/lxc/x/rootfs" or a bare path; an overlay or a volume exists only while it is mounted. */
static char *rootfs_dir(const char *item)
{
	const char *path = strncmp(item, "dir:", 4) == 0 ? item + 4 : item;
	struct span s = span_trim(SPAN(path));
	struct stat st;
	_cleanup_free_ char *copy = NULL;

	if (s.len == 0 || s.p[0] != '/')
		return NULL;
	copy = span_dup(s);
	return copy && stat(copy, &st) == 0 && S_ISDIR(st.st_mode) ? TAKE_PTR(copy) : NULL;
}

static void place_from_config(const struct lxc_settings *set, const char *name, struct lxc_place *p)
{
	_cleanup_free_ char *path = lxc_native_item(set, name, "lxc.rootfs.path");
	_cleanup_free_ char *options = lxc_native_item(set, name, "lxc.rootfs.options");
	_cleanup_free_ char *map = lxc_native_item(set, name, "lxc.idmap");
	uint64_t uid = 0, gid = 0;

	if (path)
		p->rootfs = rootfs_dir(path);
	if (p->init_pid > 0 || !map || lxc_idmap_root(SPAN(map), 'u', &uid) < 0)
		return;
	(void)lxc_idmap_root(SPAN(map), 'g', &gid);
	p->has_userns = true;
	p->root_uid = (uid_t)uid;
	p->root_gid = (gid_t)gid;
	p->on_disk_shifted = !(options && strstr(options, "idmap="));
}

void lxc_native_place_of(pid_t init_pid, struct lxc_place *ret)
{
	ret->init_pid = init_pid;
	ret->has_userns = other_userns(init_pid);
	ret->root_uid = map_root(init_pid, "uid_map");
	ret->root_gid = map_root(init_pid, "gid_map");
}

int lxc_native_place(const struct lxc_settings *set, const char *name, struct lxc_place *ret, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place p = { 0 };
	enum lxc_state state;
	int r = lxc_native_state(set, name, &state, &p.init_pid, e);

	if (r < 0)
		return r;
	if (p.init_pid > 0) {
		lxc_native_place_of(p.init_pid, &p);
	} else {
		place_from_config(set, name, &p);
	}
	*ret = p;
	p = (struct lxc_place){ 0 };
	return 0;
}

/* -- start and stop -- */

static char *log_tail(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (read_file_at(AT_FDCWD, path, (size_t)16 << 20, &text, &len) < 0)
		return NULL;
	return strdup(len > TAIL_BYTES ? text + len - TAIL_BYTES : text);
}

/* Reasons a person can act on, told from LXC's own log. */
static const char *start_hint(const char *log)
{
	static const struct {
		const char *text, *hint;
	} hints[] = {
		{ "newuidmap",
		  "the id mapping is not allowed to root: add it to /etc/subuid and /etc/subgid" },
		{ "newgidmap",
		  "the id mapping is not allowed to root: add it to /etc/subuid and /etc/subgid" },
		{ "apparmor", "an AppArmor profile stands in the way" },
		{ "No such file or directory - Failed to mount",
		  "a source of a mount entry is missing on the host" },
	};

	for (size_t i = 0; log && i < ARRAY_LEN(hints); i++)
		if (strstr(log, hints[i].text))
			return hints[i].hint;
	return "";
}

static int start_failed(const char *name, const char *log_path, const char *reason, struct err *e)
{
	_cleanup_free_ char *log = log_tail(log_path);
	const char *hint = start_hint(log);

	(void)err_set(e, ERR_LXC_START, "container %s does not start%s%s: %s%s%s", name, *hint ? ": " : "",
		      hint, reason ? reason : "no reason given", log && *log ? "\n" : "", log ? log : "");
	return err_object(e, "%s", name);
}

/* The monitor lives as long as the container: it should be the distribution's program, not a copy of us, so starting
 * is left to the tool. */
int lxc_native_start(const struct lxc_settings *set, const char *name, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("starting the container");
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_free_ char *log = str_printf("%s/%s/nvdriver-start.log", set->lxcpath, name);
	enum lxc_state state;
	pid_t pid;
	int r;

	if (!log)
		return err_oom(e);
	r = lxc_native_state(set, name, &state, &pid, e);
	if (r < 0 || state == LXC_RUNNING)
		return r;
	(void)unlink(log);
	(void)spawn_argv(&s, "lxc-start", "-P", set->lxcpath, "-n", name, "-d", "-l", "INFO", "-o", log,
			 NULL);
	s.timeout_s = set->start_timeout_s;
	r = spawn_check(&s, &own);
	if (r >= 0)
		r = lxc_native_state(set, name, &state, &pid, &own);
	if (r >= 0 && state != LXC_RUNNING)
		r = err_set(&own, ERR_LXC_START, "it ended at once");
	if (r < 0)
		r = start_failed(name, log, own.reason, e);
	(void)unlink(log);
	return r < 0 ? r : 0;
}

static int stop_by_tool(const struct lxc_settings *set, const char *name, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("stopping the container");

	(void)spawn_argv(&s, "lxc-stop", "-P", set->lxcpath, "-n", name, NULL);
	(void)spawn_argv(&s, "-t", NULL);
	(void)spawn_arg(&s, "%u", set->start_timeout_s);
	s.timeout_s = set->start_timeout_s + 10;
	return spawn_check(&s, e);
}

int lxc_native_stop(const struct lxc_settings *set, const char *name, struct err *e)
{
	enum lxc_state state;
	pid_t pid;
	int r = lxc_native_state(set, name, &state, &pid, e);

	if (r < 0 || state == LXC_STOPPED)
		return r;
#if HAVE_LXC
	if (lxc_native_has_library()) {
		_cleanup_container_ struct lxc_container *c = container_open(set, name);

		if (c && (c->shutdown(c, (int)set->start_timeout_s) || c->stop(c)))
			return 0;
	}
#endif
	r = stop_by_tool(set, name, e);
	return r < 0 ? err_recode(e, ERR_LXC_START) : 0;
}

/* -- exec -- */

#if HAVE_LXC
struct output {
	int fd;
	pid_t pid;
	struct lxc_exec *x;
	struct strbuf text;
	int log_error;
};

static void output_take(struct output *o, const char *bytes, size_t len)
{
	(void)strbuf_append(&o->text, bytes, len); /* what exceeds the ceiling is only in the log */
	if (o->x->log_fd >= 0 && o->log_error == 0)
		o->log_error = write_all(o->x->log_fd, bytes, len);
}

static bool output_read(struct output *o)
{
	char buf[16384];
	ssize_t n = read(o->fd, buf, sizeof(buf));

	if (n > 0)
		output_take(o, buf, (size_t)n);
	return n > 0;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int wait_for(struct output *o, unsigned timeout_s, int *ret_status, struct err *e)
{
	uint64_t deadline = now_ms() + (uint64_t)timeout_s * 1000;

	for (;;) {
		struct pollfd p = { .fd = o->fd, .events = POLLIN };
		pid_t done;

		(void)poll(&p, 1, LOOK_MS);
		if (p.revents)
			(void)output_read(o);
		done = waitpid(o->pid, ret_status, WNOHANG);
		if (done == o->pid)
			return 0;
		if (done < 0 && errno != EINTR)
			return err_errno(e, -errno, "waiting for a command in the container");
		if (!interrupt_pending() && now_ms() < deadline)
			continue;
		(void)kill(-o->pid, SIGKILL);
		(void)kill(o->pid, SIGKILL);
		while (waitpid(o->pid, ret_status, 0) < 0 && errno == EINTR)
			;
		return interrupt_pending() ? interrupt_check(e)
					   : err_set(e, ERR_TIMEOUT, "%s: %s did not end within %u s",
						     o->x->what, o->x->argv[0], timeout_s);
	}
}

static int output_collect(struct output *o, int status, struct err *e)
{
	(void)fcntl(o->fd, F_SETFL, O_NONBLOCK);
	while (output_read(o))
		;
	o->x->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	o->x->out_len = o->text.len;
	o->text.error = 0;
	return strbuf_steal(&o->text, &o->x->out) < 0 ? err_oom(e) : 0;
}

#endif

static unsigned exec_timeout(const struct lxc_settings *set, const struct lxc_exec *x)
{
	return x->timeout_s ? x->timeout_s : set->exec_timeout_s;
}

#if HAVE_LXC
/* By the search path of inside. The C library's own search would hand what it cannot run to a shell. Returns on failure. */
static void exec_found(char *const *argv)
{
	const char *dir = strchr(argv[0], '/') ? "" : getenv("PATH");
	char path[PATH_MAX];

	while (dir) {
		int n = (int)strcspn(dir, ":");

		snprintf(path, sizeof(path), "%.*s%s%s", n, dir, n ? "/" : "", argv[0]);
		(void)execv(path, argv);
		if (errno != ENOENT && errno != ENOTDIR)
			return;
		dir = dir[n] ? dir + n + 1 : NULL;
	}
}

/* Runs inside. A session of its own, so that a time-out reaches all of it. */
static int run_inside(void *payload)
{
	struct lxc_exec *x = payload;

	(void)setsid();
	errno = ENOENT;
	exec_found(x->argv);
	_exit(errno == ENOENT || errno == ENOTDIR ? 127 : 126);
}

static int environment(const struct lxc_exec *x, char ***ret)
{
	int r = 0;

	for (const char *const *p = lxc_exec_env; r >= 0 && *p; p++)
		r = strv_push(ret, *p);
	for (char *const *p = x->env; r >= 0 && p && *p; p++)
		r = strv_push(ret, *p);
	return r;
}

static int attach(struct lxc_container *c, struct lxc_exec *x, char **env, int in, int out, pid_t *ret_pid)
{
	lxc_attach_options_t o = LXC_ATTACH_OPTIONS_DEFAULT;

	o.env_policy = LXC_ATTACH_CLEAR_ENV;
	o.extra_env_vars = env;
	o.stdin_fd = in;
	o.stdout_fd = out;
	o.stderr_fd = out;
	o.initial_cwd = (char *)"/";
	return c->attach(c, run_inside, x, &o, ret_pid);
}

static int exec_by_library(const struct lxc_settings *set, const char *name, struct lxc_exec *x,
			   struct err *e)
{
	_cleanup_container_ struct lxc_container *c = container_open(set, name);
	_cleanup_close_ int in = -EBADF, out = -EBADF, null_fd = -EBADF;
	_cleanup_strv_ char **env = NULL;
	struct output o = { .x = x, .text = STRBUF_INIT(OUT_MAX) };
	int fds[2], r, status = 0;

	if (!c || environment(x, &env) < 0)
		return err_oom(e);
	null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "cannot make a pipe");
	in = fds[0];
	out = fds[1];
	r = attach(c, x, env, x->stdin_fd >= 0 ? x->stdin_fd : null_fd, out, &o.pid);
	if (r < 0) {
		(void)err_set(e, ERR_LXC_EXEC, "cannot run %s in container %s: entering it failed",
			      x->argv[0], name);
		return err_object(e, "%s", name);
	}
	close_fdp(&out);
	o.fd = in;
	r = wait_for(&o, exec_timeout(set, x), &status, e);
	if (r >= 0)
		r = output_collect(&o, status, e);
	strbuf_done(&o.text);
	return r;
}
#endif

static int exec_by_tool(const struct lxc_settings *set, const char *name, struct lxc_exec *x, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(x->what);
	int r;

	(void)spawn_argv(&s, "lxc-attach", "-P", set->lxcpath, "-n", name, "--clear-env", NULL);
	for (const char *const *p = lxc_exec_env; *p; p++)
		(void)spawn_argv(&s, "-v", *p, NULL);
	for (char *const *p = x->env; p && *p; p++)
		(void)spawn_argv(&s, "-v", *p, NULL);
	(void)spawn_argv(&s, "--", NULL);
	for (char *const *p = x->argv; *p; p++)
		(void)spawn_argv(&s, *p, NULL);
	s.stdin_fd = x->stdin_fd;
	s.log_fd = x->log_fd;
	s.capture = s.merge = true;
	s.timeout_s = exec_timeout(set, x);
	r = spawn_run(&s, e);
	if (r < 0)
		return r;
	x->status = s.status;
	x->out_len = s.out_len;
	x->out = TAKE_PTR(s.out);
	return 0;
}

int lxc_native_exec(const struct lxc_settings *set, const char *name, struct lxc_exec *x, struct err *e)
{
	enum lxc_state state;
	pid_t pid;
	int r = lxc_native_state(set, name, &state, &pid, e);

	if (r < 0)
		return r;
	if (state != LXC_RUNNING) {
		(void)err_set(e, ERR_LXC_STOPPED, "container %s is %s", name, lxc_state_name(state));
		return err_object(e, "%s", name);
	}
	log_debug("container %s: %s: %s", name, x->what, x->argv[0]);
#if HAVE_LXC
	if (lxc_native_has_library())
		return exec_by_library(set, name, x, e);
#endif
	return exec_by_tool(set, name, x, e);
}

static int device_rule(const struct lxc_settings *set _unused_, const char *name, const char *key,
		       const char *rule, struct err *e)
{
#if HAVE_LXC
	if (lxc_native_has_library()) {
		_cleanup_container_ struct lxc_container *c = container_open(set, name);

		if (c && c->set_cgroup_item(c, key, rule))
			return 0;
	}
#endif
	return err_set(e, -ENOTSUP, "container %s: %s \"%s\" cannot be set while it runs", name, key, rule);
}

int lxc_native_allow_device(const struct lxc_settings *set, const char *name, const char *rule, struct err *e)
{
	return device_rule(set, name, "devices.allow", rule, e);
}

int lxc_native_deny_device(const struct lxc_settings *set, const char *name, const char *rule, struct err *e)
{
	return device_rule(set, name, "devices.deny", rule, e);
}
