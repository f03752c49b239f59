/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include "fd.h"
#include "parse.h"
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#define COMM_MAX      15
#define STAT_MAX      ((size_t)64 << 10)
#define PF_EXITING    0x4u /* include/linux/sched.h */
#define CLOCK_SLACK_S 2 /* file times and the boot time are told in seconds, by different clocks */

void process_done(struct process *p)
{
	free(p->comm);
	free(p->mount_ns);
	*p = (struct process)PROCESS_INIT;
}

/* "pid (comm) S ppid …": comm may hold anything, blanks and brackets too, so it ends at the last bracket. */
int process_parse_stat(const char *text, size_t len, struct process *ret)
{
	const char *open = memchr(text, '(', len), *close = memrchr(text, ')', len);
	struct span rest, word = SPAN_NULL;
	uint64_t parent = 0, flags = 0;
	char state = '\0';

	if (!open || !close || close < open)
		return -EBADMSG;
	rest = (struct span){ close + 1, len - (size_t)(close + 1 - text) };
	for (unsigned field = 3; field <= 22; field++) {
		if (!span_word(&rest, &word))
			return -EBADMSG;
		if (field == 3)
			state = word.p[0];
		/* Zero where the kernel shows nobody, below zero nowhere that matters here. */
		if (field == 4)
			(void)parse_u64(word, INT_MAX, &parent);
		if (field == 9)
			(void)parse_u64(word, UINT32_MAX, &flags);
	}
	if (parse_u64(word, UINT64_MAX, &ret->start_ticks) < 0)
		return -EBADMSG;
	ret->comm = strndup(open + 1, (size_t)(close - open - 1));
	ret->state = state;
	ret->parent = (int)parent;
	ret->exiting = flags & PF_EXITING;
	return ret->comm ? 0 : -ENOMEM;
}

char *process_mount_ns(const struct host *h, const char *who)
{
	char path[64], target[128];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/ns/mnt", who);
	n = readlinkat(h->proc_fd, path, target, sizeof(target) - 1);
	return n < 0 ? NULL : strndup(target, (size_t)n);
}

int process_read(const struct host *h, int pid, struct process *ret)
{
	_cleanup_(process_done) struct process p = { .pid = pid };
	_cleanup_free_ char *text = NULL;
	char path[64], who[24];
	size_t len;
	int r;

	if (h->proc_fd < 0)
		return -ESRCH;
	snprintf(who, sizeof(who), "%d", pid);
	snprintf(path, sizeof(path), "%s/stat", who);
	r = read_file_at(h->proc_fd, path, STAT_MAX, &text, &len);
	if (r < 0)
		return -ESRCH;
	r = process_parse_stat(text, len, &p);
	if (r < 0)
		return r;
	if (p.state == 'Z' || p.state == 'X')
		return -ESRCH;
	p.mount_ns = process_mount_ns(h, who);
	*ret = p;
	p = (struct process)PROCESS_INIT;
	return 0;
}

bool process_is_called(const char *comm, const char *program)
{
	return strncmp(comm, program, COMM_MAX) == 0;
}

/* -- all of them -- */

void processes_done(struct processes *l)
{
	for (size_t i = 0; i < l->n; i++)
		process_done(&l->v[i]);
	free(l->v);
	*l = (struct processes)PROCESSES_INIT;
}

static int by_number(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

static int add_process(const struct host *h, int pid, struct processes *l)
{
	struct process *grown = realloc(l->v, (l->n + 1) * sizeof(*l->v));
	int r;

	if (!grown)
		return -ENOMEM;
	l->v = grown;
	l->v[l->n] = (struct process)PROCESS_INIT;
	r = process_read(h, pid, &l->v[l->n]);
	if (r == 0)
		l->n++;
	return r == -ENOMEM ? r : 0;
}

int processes_read(const struct host *h, struct processes *ret)
{
	_cleanup_(processes_done) struct processes l = PROCESSES_INIT;
	int fd = h->proc_fd < 0 ? -ENOENT : openat(h->proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *de;
	uint64_t pid;
	int r = 0;
	DIR *d;

	if (fd < 0)
		return -ENOENT;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (de = readdir(d)))
		if (parse_u64(SPAN(de->d_name), INT_MAX, &pid) == 0)
			r = add_process(h, (int)pid, &l);
	closedir(d);
	if (r < 0)
		return r;
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_number);
	*ret = l;
	l = (struct processes)PROCESSES_INIT;
	return 0;
}

/* -- ending -- */

/* SIGKILL or SIGTERM among the signals that wait for the process, or for one of its threads. */
static bool is_told_to_end(struct span status)
{
	const uint64_t wanted = (uint64_t)1 << (SIGKILL - 1) | (uint64_t)1 << (SIGTERM - 1);
	struct span line, value;
	uint64_t set;

	while (span_line(&status, &line)) {
		if (!span_starts(line, "SigPnd:") && !span_starts(line, "ShdPnd:"))
			continue;
		value = span_trim((struct span){ line.p + 7, line.len - 7 });
		if (parse_hex64(value, UINT64_MAX, &set) == 0 && set & wanted)
			return true;
	}
	return false;
}

bool process_is_ending(const struct host *h, int pid)
{
	_cleanup_(process_done) struct process p = PROCESS_INIT;
	_cleanup_free_ char *status = NULL;
	char path[64];
	size_t len;

	if (process_read(h, pid, &p) < 0 || p.exiting)
		return true;
	snprintf(path, sizeof(path), "%d/status", pid);
	return read_file_at(h->proc_fd, path, STAT_MAX, &status, &len) == 0 &&
	       is_told_to_end((struct span){ status, len });
}

/* -- PID files -- */

int pidfile_read(const struct host *h, const char *path, int *ret_pid, int64_t *ret_mtime_s)
{
	_cleanup_close_ int fd =
	    path_open_at(h->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, PATH_IN_ROOT);
	char text[32];
	struct stat st;
	uint64_t pid;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	n = read_upto(fd, text, sizeof(text));
	if (n < 0)
		return (int)n;
	if (parse_u64(span_trim((struct span){ text, (size_t)n }), INT_MAX, &pid) < 0 || pid == 0)
		return -EBADMSG;
	*ret_pid = (int)pid;
	if (ret_mtime_s)
		*ret_mtime_s = st.st_mtim.tv_sec;
	return 0;
}

/* Seconds since the epoch at which the machine started; -ENOENT when proc does not say. */
static int boot_time(const struct host *h, int64_t *ret_s)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, line;
	uint64_t s;

	if (read_file_at(h->proc_fd, "stat", (size_t)4 << 20, &text, NULL) < 0)
		return -ENOENT;
	rest = SPAN(text);
	while (span_line(&rest, &line))
		if (span_starts(line, "btime ") &&
		    parse_u64(span_trim((struct span){ line.p + 6, line.len - 6 }), INT64_MAX, &s) == 0) {
			*ret_s = (int64_t)s;
			return 0;
		}
	return -ENOENT;
}

static bool is_younger(const struct host *h, const struct process *p, int64_t mtime_s)
{
	long hz = sysconf(_SC_CLK_TCK);
	int64_t boot_s;

	if (boot_time(h, &boot_s) < 0 || hz <= 0)
		return false;
	return boot_s + (int64_t)(p->start_ticks / (uint64_t)hz) > mtime_s + CLOCK_SLACK_S;
}

static bool is_elsewhere(const struct host *h, const struct process *p)
{
	_cleanup_free_ char *own = process_mount_ns(h, "self");

	return own && p->mount_ns && strcmp(own, p->mount_ns) != 0;
}

int pidfile_process(const struct host *h, const char *path, const char *comm, struct process *ret)
{
	_cleanup_(process_done) struct process p = PROCESS_INIT;
	int64_t mtime_s;
	int pid, r;

	r = pidfile_read(h, path, &pid, &mtime_s);
	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? -ENOENT : -ESRCH;
	r = process_read(h, pid, &p);
	if (r < 0)
		return r == -ENOMEM ? r : -ESRCH;
	if (!process_is_called(p.comm, comm) || is_younger(h, &p, mtime_s) || is_elsewhere(h, &p))
		return -ESRCH;
	*ret = p;
	p = (struct process)PROCESS_INIT;
	return 0;
}
