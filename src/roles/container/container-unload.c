/* SPDX-License-Identifier: Apache-2.0 */
#include "container-unload.h"

#include "container-daemons.h"
#include "container-export.h"
#include "container-headers.h"
#include "container-hook.h"
#include "container-iommu.h"
#include "container-kin.h"
#include "container-nodes.h"
#include "devholders.h"
#include "firmware.h"
#include "kmods.h"
#include "log.h"
#include "process.h"
#include "strbuf.h"

#include <errno.h>
#include <string.h>

#define ENDING_LIMIT_MS 3000
#define ENDING_POLL_MS	100

/* -- who has it -- */

struct users {
	struct strbuf strangers; /* as text */
	bool daemon_of_others; /* one of them */
	bool ending; /* somebody is about to let go and is not among the strangers */
	size_t daemons; /* ours */
};
#define USERS_INIT                                                                                           \
	{                                                                                                    \
		.strangers = STRBUF_INIT(STRBUF_TEXT_MAX)                                                    \
	}

static void users_done(struct users *u)
{
	strbuf_done(&u->strangers);
}

static void name_stranger(struct container *c, const struct devholder *who, struct users *u)
{
	char id[13];

	(void)strbuf_printf(&u->strangers, "%s%s (process %d, %s", u->strangers.len ? ", " : "", who->comm,
			    who->pid, who->nodes[0]);
	if (container_id_of(c->h, who->pid, id))
		(void)strbuf_printf(&u->strangers, ", container %s", id);
	(void)strbuf_puts(&u->strangers, ")");
	u->daemon_of_others |= container_daemon_is_named(who->comm);
}

/* Processes with a device node open. With `patience` those that are ending are no strangers yet. */
static int find_users(struct container *c, bool patience, struct users *u)
{
	_cleanup_(devholders_done) struct devholders l = DEVHOLDERS_INIT;
	int r = devholders_find(c->h, "/dev/nvidia", &l);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		if (container_daemon_is_ours(c, l.v[i].pid))
			u->daemons++;
		else if (patience && process_is_ending(c->h, l.v[i].pid))
			u->ending = true;
		else
			name_stranger(c, &l.v[i], u);
	}
	return r == -ENOENT ? 0 : r;
}

static int in_use(const struct users *u, struct err *e)
{
	err_set(e, ERR_MODULE_IN_USE, "the driver is in use by %s", strbuf_str(&u->strangers));
	(void)err_object(e, "nvidia");
	if (u->daemon_of_others)
		return err_next(
		    e, "a daemon named here belongs to the node's own driver (stop its service there) or "
		       "to another container (remove that), then start again");
	return err_next(e, "stop these users (or evict the pods that use GPUs), then start again");
}

/* One look; 1 = somebody is ending, look again. */
static int check_once(struct container *c, bool patience, struct err *e)
{
	_cleanup_(users_done) struct users u = USERS_INIT;
	_cleanup_(err_done) struct err why = ERR_INIT;
	json_t *steps = NULL;
	int r;

	if (find_users(c, patience, &u) == -ENOMEM)
		return err_oom(e);
	if (u.strangers.len)
		return in_use(&u, e);
	r = modunload_plan(c->h, NULL, &steps, &why);
	json_decref(steps);
	if (r == -ERR_MODULE_IN_USE && u.ending)
		return 1;
	/* With our daemons alive the count says nothing; they are stopped first. */
	if (r == -ERR_MODULE_IN_USE && u.daemons && !why.object)
		return 0;
	if (r == -ERR_MODULE_IN_USE && u.daemons && !strstr(why.reason ? why.reason : "", "used by module"))
		return 0;
	if (r < 0)
		err_move(e, &why);
	return r < 0 ? r : 0;
}

int container_unload_check(struct container *c, struct err *e)
{
	uint64_t until = c->ops->now_ms(c->ops->arg) + ENDING_LIMIT_MS;
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	int r = kmods_read(c->h, &k);

	if (r < 0)
		return r == -ENOENT ? err_set(e, ERR_UNSUPPORTED, "this kernel has no loadable modules")
				    : err_errno(e, r, "reading the list of loaded modules");
	if (!kmods_find(&k, "nvidia"))
		return 0;
	while ((r = check_once(c, c->ops->now_ms(c->ops->arg) < until, e)) > 0) {
		r = container_sleep(c, ENDING_POLL_MS, e);
		if (r < 0)
			return r;
	}
	return r;
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
	container_iommu_restore(c);
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
	container_headers_hide(c);
	container_hook_remove(c);
	return r < 0 ? r : 0;
}
