/* SPDX-License-Identifier: Apache-2.0 */
#include "container-kin.h"

#include "container-daemons.h"
#include "devholders.h"
#include "fd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CGROUP_MAX ((size_t)64 << 10)
#define ID_LEN	   64

/* A container's id is 64 hexadecimal digits somewhere in the process's cgroup path. */
bool container_id_of(const struct host *h, int pid, char ret[13])
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	size_t run = 0;

	snprintf(path, sizeof(path), "%d/cgroup", pid);
	if (read_file_at(h->proc_fd, path, CGROUP_MAX, &text, NULL) < 0)
		return false;
	for (const char *p = text; *p; p++) {
		run = strchr("0123456789abcdef", *p) ? run + 1 : 0;
		if (run == ID_LEN) {
			snprintf(ret, 13, "%.12s", p - ID_LEN + 1);
			return true;
		}
	}
	return false;
}

/* As the first process there is nobody outside whose mounts ours could be. */
static bool is_of_node(const struct host *h, const char *mount_ns)
{
	_cleanup_free_ char *node = process_mount_ns(h, "1");

	return !(h->is_running && getpid() == 1) && node && strcmp(node, mount_ns) == 0;
}

bool container_kin_is_own(const struct host *h, const struct process *p)
{
	_cleanup_free_ char *own = process_mount_ns(h, "self");

	return own && p->mount_ns && strcmp(own, p->mount_ns) == 0 && !is_of_node(h, own);
}

static bool holds_driver(const struct host *h, int pid)
{
	_cleanup_(devholders_done) struct devholders l = DEVHOLDERS_INIT;

	(void)devholders_find(h, "/dev/nvidia", &l);
	for (size_t i = 0; i < l.n; i++)
		if (l.v[i].pid == pid)
			return true;
	return false;
}

static bool is_daemon_or_child(const struct processes *all, const struct process *p)
{
	if (container_daemon_is_named(p->comm))
		return true;
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].pid == p->parent)
			return container_daemon_is_named(all->v[i].comm);
	return false;
}

/* Nobody there who could look after the daemon. */
static bool is_dead(const struct host *h, const char *mount_ns, const char *id)
{
	_cleanup_(processes_done) struct processes all = PROCESSES_INIT;

	if (processes_read(h, &all) < 0)
		return false;
	for (size_t i = 0; i < all.n; i++) {
		const struct process *p = &all.v[i];
		char other[13];
		bool inside = (p->mount_ns && strcmp(p->mount_ns, mount_ns) == 0) ||
			      (container_id_of(h, p->pid, other) && strcmp(other, id) == 0);

		if (inside && !is_daemon_or_child(&all, p))
			return false;
	}
	return true;
}

bool container_kin_is_left(const struct host *h, const struct process *p)
{
	_cleanup_free_ char *own = process_mount_ns(h, "self"), *node = process_mount_ns(h, "1");
	char id[13];

	if (!own || !node || !p->mount_ns || strcmp(p->mount_ns, own) == 0 || strcmp(p->mount_ns, node) == 0)
		return false;
	return container_id_of(h, p->pid, id) && holds_driver(h, p->pid) && is_dead(h, p->mount_ns, id);
}

int container_kin_find(const struct host *h, const char *program,
		       bool (*is)(const struct host *h, const struct process *p), struct process *ret)
{
	_cleanup_(processes_done) struct processes all = PROCESSES_INIT;
	int r = processes_read(h, &all);

	if (r < 0)
		return -ESRCH;
	for (size_t i = 0; i < all.n; i++)
		if (process_is_called(all.v[i].comm, program) && is(h, &all.v[i])) {
			*ret = all.v[i];
			all.v[i] = (struct process)PROCESS_INIT;
			return 0;
		}
	return -ESRCH;
}
