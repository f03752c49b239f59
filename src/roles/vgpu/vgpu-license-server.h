/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A licence server of one's own (FastAPI-DLS) in a container on this machine: what is asked, and the plans. Like step 1,
 * each group is a plan of its own and one deployment, made from what stands on the machine when its turn comes. */

#include "engine.h"
#include "vgpu-ask.h"
#include "vgpu-license.h"

#define LICENSE_SCRIPT_LINUX   "license_linux.sh"
#define LICENSE_SCRIPT_WINDOWS "license_windows.ps1"

struct license_setup {
	struct engine *en; /* borrowed */
	const struct asker *ask; /* borrowed */
	const char *address_wanted, *timezone_wanted, *image_wanted; /* borrowed; options, NULL = not given */
	uint64_t port_wanted; /* 0 = not given */
	const char *branch; /* host's; NULL = not known. Decides what is said of guests */
	bool dry_run;

	char **addresses; /* owned strv: where this machine can be reached, the likeliest first */
	char *hostname; /* owned; may be NULL */
	struct license_compose_facts old; /* what is set up already; address NULL = nothing */
	char *address, *timezone, *image; /* owned: decided */
	unsigned port;
	char **notes; /* owned strv */
};
void license_setup_done(struct license_setup *s);

/* Reads facts, then asks. Changes nothing. -ERR_DECLINED, -ERR_VGPU_LICENSE_PORT, -ERR_USAGE for an address that is none. */
int license_setup_decide(struct license_setup *s, struct err *e);

struct license_group {
	const char *name; /* "license_server": in the deployment, and in "remove_license_server" */
	const char *title;
	int (*build)(struct license_setup *s, struct plan *p, struct err *e);
};
extern const struct license_group license_groups[]; /* in order of execution; ends with name NULL */

int license_plan(struct license_setup *s, const struct license_group *g, struct plan **ret, struct err *e);

/* The scripts for guests as entries of a plan, below `dir` of the root. */
int license_add_scripts(const struct license_server *s, const struct host *h, const char *dir, struct plan *p,
			struct err *e);

/* Asks https://<address>:<port>/-/health, `attempts` rounds long. ca_file: what the server's certificate is checked
 * against. 0 = up; -ERR_VGPU_LICENSE_SERVER with what was answered instead; -ERR_OFFLINE. */
int license_health(const struct engine *en, const char *address, unsigned port, const char *ca_file,
		   unsigned attempts, struct err *e);
