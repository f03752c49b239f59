/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The state machine of an installation. The steps a container needs are found by looking: every step contributes
 * operations whose check() says whether it is so already, and a plan in which all is so already is not applied. Whatever
 * is to be done is one plan, so any failure takes everything of this run back (clean-up included); with rollback off
 * each step is a plan of its own, what is finished stays, and the next run goes on there. */

#include "lxc.h"
#include "plan.h"

#define LXC_STEP_DEVICES 1u
#define LXC_STEP_DRIVER	 2u
#define LXC_STEP_TOOLKIT 4u
#define LXC_STEPS_ALL	 7u

/* One step: adds its operations to the plan and changes nothing. The order of the table is that of driver-first; with
 * toolkit-first the toolkit goes before the driver. */
struct lxc_step {
	unsigned bit;
	const char *name; /* "devices", "driver", "toolkit" */
	int (*plan)(struct lxc_ct *ct, struct plan *p, struct err *e);
};
/* The toolkit's step is set by whoever provides it; plan NULL = there is none. */
extern struct lxc_step lxc_step_toolkit;

struct lxc_result {
	int status; /* exit status of this container */
	json_t *
	    report; /* owned: {id, name, result, status, version, steps: [], problems: [], error?: {slug, reason, …}} */
};
void lxc_result_done(struct lxc_result *r);

/* The plan for one container, checked. *ret_todo: 0 = all is so already. view_id may be "". */
int lxc_plan_make(struct lxc_ct *ct, unsigned steps, const char *view_id, struct plan **ret, bool *ret_todo,
		  struct err *e);
/* install, devices, toolkit. Each container that has something to do is worked on in a process of its own, up to
 * opt->jobs at a time; one failure does not stop the others. results has n elements, filled whatever happens. Answers
 * the worst status. With engine->dry_run only plans are made; text (may be NULL) receives what they would do. */
int lxc_install(const struct lxc *x, char *const *ids, size_t n, unsigned steps, struct lxc_result *results,
		struct strbuf *text);
/* verify and status: level as of the options; nothing is changed. Statuses 0, 8, 10 or that of an error. */
int lxc_verify_many(const struct lxc *x, char *const *ids, size_t n, struct lxc_result *results);
/* Take out everything that is recorded for these containers, newest first. */
int lxc_remove(const struct lxc *x, char *const *ids, size_t n, bool all_deployments,
	       struct lxc_result *results);
/* Every managed container to the host's version: the shared directory is switched by one rename once the driver there was
 * looked at, containers with files of their own are installed again, and stopped again when they were. prepare_version (may be NULL): only fetch, unpack and mount that version. */
int lxc_sync(const struct lxc *x, const char *prepare_version, json_t *report, struct err *e);
/* The nodes of every GPU of the host, made where they are missing. ERR_LXC_NODE. */
int lxc_host_nodes_make(const struct lxc *x, struct err *e);
