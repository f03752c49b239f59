/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The state machine of an installation: which steps a container needs is decided by looking (lxc-observe.h), the steps
 * become operations of one plan, and the plan is applied, recorded and verified. Every failure takes the whole plan
 * back (clean-up included), unless rollback is off: then each finished step stays and the next run goes on there. */

#include "lxc.h"
#include "plan.h"

#define LXC_STEP_DEVICES 1u
#define LXC_STEP_DRIVER	 2u
#define LXC_STEP_TOOLKIT 4u
#define LXC_STEPS_ALL	 7u

/* One step: needed() looks and answers 1 (to do), 0 (as it should be) or an error; a sentence about why goes to
 * `reasons`. plan() adds operations. Neither changes anything. The machine asks in the order of --order. */
struct lxc_step {
	unsigned bit;
	const char *name; /* "devices", "driver", "toolkit" */
	int (*needed)(struct lxc_ct *ct, json_t *reasons, struct err *e);
	int (*plan)(struct lxc_ct *ct, struct plan *p, struct err *e);
};
extern const struct lxc_step lxc_step_devices, lxc_step_driver;

struct lxc_result {
	char *id; /* owned */
	int status; /* exit status of this container */
	json_t *report; /* owned: {id, name, result, status, steps: [], reasons: [], verdict…, error?} */
};
void lxc_result_done(struct lxc_result *r);

/* The plan for one container, checked, with its reasons; no operations = nothing to do. */
int lxc_plan_make(struct lxc_ct *ct, unsigned steps, struct plan **ret, json_t *reasons, struct err *e);
/* install, devices, toolkit for one container. Fills ret whatever happens; answers its status. */
int lxc_install_one(const struct lxc *x, const char *id, unsigned steps, struct lxc_result *ret);
/* Many, up to opt->jobs at a time, each in a process of its own; one failure does not stop the others. results has n
 * elements. Answers the worst status. */
int lxc_install_many(const struct lxc *x, char *const *ids, size_t n, unsigned steps,
		     struct lxc_result *results);
