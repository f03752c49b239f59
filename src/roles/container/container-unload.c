/* SPDX-License-Identifier: Apache-2.0 */
#include "container-unload.h"

#include "container-daemons.h"
#include "container-export.h"
#include "container-hook.h"
#include "container-nodes.h"
#include "devholders.h"
#include "fd.h"
#include "firmware.h"
#include "kmods.h"
#include "log.h"
#include "strbuf.h"

#include <errno.h>
#include <string.h>

#define CGROUP_MAX ((size_t)64 << 10)
#define ID_LEN	   64

/* -- who has it -- */

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

static bool is_our_daemon(struct container *c, int pid)
{
	for (size_t d = 0; d < CONTAINER_DAEMON_COUNT; d++) {
		int own;

		if (container_daemon_pid(c, (enum container_daemon)d, false, &own) == 0 && own == pid)
			return true;
	}
	return false;
}

/* Processes with a device node open that are not our daemons, as text; *ret_daemons counts those that are. */
static int name_strangers(struct container *c, struct strbuf *who, size_t *ret_daemons)
{
	_cleanup_(devholders_done) struct devholders l = DEVHOLDERS_INIT;
	int r = devholders_find(c->h, "/dev/nvidia", &l);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		char id[13];

		if (is_our_daemon(c, l.v[i].pid)) {
			++*ret_daemons;
			continue;
		}
		(void)strbuf_printf(who, "%s%s (process %d, %s", who->len ? ", " : "", l.v[i].comm,
				    l.v[i].pid, l.v[i].nodes[0]);
		if (container_id_of(c->h, l.v[i].pid, id))
			(void)strbuf_printf(who, ", container %s", id);
		(void)strbuf_puts(who, ")");
	}
	return r == -ENOENT ? 0 : r;
}

static int in_use(const char *who, struct err *e)
{
	err_set(e, ERR_MODULE_IN_USE, "the driver is in use by %s", who);
	(void)err_object(e, "nvidia");
	return err_next(e, "stop these users (or evict the pods that use GPUs), then start again");
}

int container_unload_check(struct container *c, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf who = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_(err_done) struct err why = ERR_INIT;
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	json_t *steps = NULL;
	size_t daemons = 0;
	int r = kmods_read(c->h, &k);

	if (r < 0)
		return r == -ENOENT ? err_set(e, ERR_UNSUPPORTED, "this kernel has no loadable modules")
				    : err_errno(e, r, "reading the list of loaded modules");
	if (!kmods_find(&k, "nvidia"))
		return 0;
	if (name_strangers(c, &who, &daemons) == -ENOMEM)
		return err_oom(e);
	if (who.len)
		return in_use(strbuf_str(&who), e);
	r = modunload_plan(c->h, NULL, &steps, &why);
	json_decref(steps);
	/* With our daemons alive the count says nothing; they are stopped first. */
	if (r == -ERR_MODULE_IN_USE && daemons && !why.object)
		return 0;
	if (r == -ERR_MODULE_IN_USE && daemons && !strstr(why.reason ? why.reason : "", "used by module"))
		return 0;
	if (r < 0)
		err_move(e, &why);
	return r < 0 ? r : 0;
}

/* -- doing it -- */

static void report_removed(const struct modload_report *report)
{
	_cleanup_(strbuf_done) struct strbuf names = STRBUF_INIT(65536);
	const json_t *name;
	size_t i;

	json_array_foreach (report->removed, i, name)
		(void)strbuf_printf(&names, " %s", json_string_value(name));
	if (names.len)
		log_info("modules removed:%s", strbuf_str(&names));
}

static int remove_modules(struct container *c, struct err *e)
{
	_cleanup_(modload_report_done) struct modload_report report = MODLOAD_REPORT_INIT;
	int r = modload_unload(c->h, &c->ops->kernel, NULL, &report, e);

	if (r < 0)
		return r;
	report_removed(&report);
	r = firmware_restore(c->node, e);
	if (r < 0)
		log_warn("the firmware search path was not put back: %s",
			 e && e->reason ? e->reason : err_sentence(r));
	if (r > 0)
		log_info("firmware search path put back as it was found");
	return 0;
}

int container_unload(struct container *c, struct err *e)
{
	bool stopped[CONTAINER_DAEMON_COUNT] = { false };
	int r = container_unload_check(c, e);

	if (r < 0)
		return r;
	r = container_daemons_stop(c, stopped, e);
	if (r == 0)
		r = remove_modules(c, e);
	if (r < 0) {
		container_daemons_restart(c, stopped);
		return r;
	}
	container_nodes_remove(c);
	memset(c->started, 0, sizeof(c->started));
	return 0;
}

int container_shutdown(struct container *c, struct err *e)
{
	int r = container_unload(c, e);

	if (r < 0)
		return r;
	r = container_unexport(c, e);
	container_hook_remove(c);
	return r < 0 ? r : 0;
}
