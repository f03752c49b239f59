/* SPDX-License-Identifier: Apache-2.0 */
#include "devholders.h"

#include "fd.h"
#include "parse.h"
#include "strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* They keep the nodes open for as long as they run and are stopped by their services. */
static const char *const driver_daemons[] = { "nvidia-persiste",  "nvidia-persistenced", "nvidia-gridd",
					      "nvidia-topologyd", "nv-fabricmanager",	 "nv-hostengine",
					      "nvidia-vgpud",	  "nvidia-vgpu-mgr",	 "nvidia-powerd",
					      "nvidia-imex" };

static void devholder_done(struct devholder *d)
{
	free(d->comm);
	strv_freep(&d->nodes);
}

void devholders_done(struct devholders *d)
{
	for (size_t i = 0; i < d->n; i++)
		devholder_done(&d->v[i]);
	free(d->v);
	*d = (struct devholders)DEVHOLDERS_INIT;
}

static bool is_daemon(const char *comm)
{
	for (size_t i = 0; i < ARRAY_LEN(driver_daemons); i++)
		if (strcmp(comm, driver_daemons[i]) == 0)
			return true;
	return false;
}

static DIR *open_dir(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d;

	if (fd < 0)
		return NULL;
	d = fdopendir(fd);
	if (!d)
		close(fd);
	return d;
}

/* Nodes of one process; a process that ended meanwhile simply has none. */
static int process_nodes(int proc_fd, const char *pid, const char *prefix, char ***ret)
{
	char path[64], target[PATH_MAX];
	struct dirent *de;
	int r = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/fd", pid);
	d = open_dir(proc_fd, path);
	if (!d)
		return 0;
	while (r == 0 && (de = readdir(d))) {
		ssize_t n;

		if (de->d_name[0] == '.')
			continue;
		n = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strncmp(target, prefix, strlen(prefix)) == 0 && !(*ret && strv_contains(*ret, target)))
			r = strv_push(ret, target);
	}
	closedir(d);
	return r;
}

static int add_process(int proc_fd, uint64_t pid, const char *pid_text, char ***nodes, struct devholders *out)
{
	struct devholder h = { .pid = (int)pid }, *grown;
	char path[64];

	snprintf(path, sizeof(path), "%s/comm", pid_text);
	if (read_line_at(proc_fd, path, &h.comm) < 0)
		h.comm = strdup("?");
	if (!h.comm)
		return -ENOMEM;
	grown = realloc(out->v, (out->n + 1) * sizeof(*out->v));
	if (!grown) {
		devholder_done(&h);
		return -ENOMEM;
	}
	h.daemon = is_daemon(h.comm);
	h.nodes = TAKE_PTR(*nodes);
	strv_sort(h.nodes);
	out->v = grown;
	out->v[out->n++] = h;
	return 0;
}

static int by_pid(const void *a, const void *b)
{
	const struct devholder *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

int devholders_find(const struct host *h, const char *prefix, struct devholders *ret)
{
	_cleanup_(devholders_done) struct devholders out = DEVHOLDERS_INIT;
	struct dirent *de;
	int r = 0;
	DIR *d;

	if (h->proc_fd < 0)
		return -ENOENT;
	d = open_dir(h->proc_fd, ".");
	if (!d)
		return -errno;
	while (r == 0 && (de = readdir(d))) {
		_cleanup_strv_ char **nodes = NULL;
		uint64_t pid;

		if (parse_u64(SPAN(de->d_name), INT_MAX, &pid) < 0)
			continue;
		r = process_nodes(h->proc_fd, de->d_name, prefix, &nodes);
		if (r == 0 && nodes)
			r = add_process(h->proc_fd, pid, de->d_name, &nodes, &out);
	}
	closedir(d);
	if (r < 0)
		return r;
	if (out.n)
		qsort(out.v, out.n, sizeof(*out.v), by_pid);
	*ret = out;
	out = (struct devholders)DEVHOLDERS_INIT;
	return 0;
}
