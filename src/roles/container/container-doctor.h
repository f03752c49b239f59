/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Everything that can keep a driver container from becoming ready, looked at without changing anything. */

#include "container-env.h"
#include "doctor.h"
#include "parse.h"

/* What to do on a node whose GPUs nouveau holds, once, as numbered lines. */
extern const char container_nouveau_steps[];

struct container_doctor {
	const struct host *h; /* the container's root */
	const struct host *node; /* the node's root; NULL = not reachable */
	const struct container_env *env;
	bool may_connect; /* ask the package manager's repositories when nothing else helps */
	char *const *dnf_args; /* container-ktree.h; NULL = none */
};

int container_doctor(struct engine *en, const struct container_doctor *q, json_t **ret_checks,
		     struct doctor_count *ret_count, struct err *e);

/* The exit status callers of nvidia-driver know: 0 ready, 1 a problem, 2 cannot tell. */
int container_doctor_status(const struct doctor_count *count);

/* Pure: does this modprobe.d text keep a module from loading? */
bool doctor_text_blacklists(struct span text, const char *module);
/* Pure: does the kernel's command line? */
bool doctor_cmdline_blacklists(const char *cmdline, const char *module);
/* Pure: major version of the gcc named in a kernel's banner ("gcc (GCC) 11.3.1"); 0 = none named. */
unsigned doctor_banner_gcc(const char *banner);
