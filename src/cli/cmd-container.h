/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the verbs of the driver container and the hook share. */

#include "cmd.h"
#include "container-run.h"

struct container_opts {
	bool accept_license, detach, with_drm, device_nodes, iommu_identity;
	const char *kernel, *kernel_source, *key, *cert, *tag, *host_root;
	uint64_t max_threads;
	unsigned grace_s, fabric_wait_s;
};

char *container_opts_store(const struct app *app, const void *opts);

/* Runs a command with this environment (strv). */
int container_cmd_run(struct app *app, const struct container_opts *o, char *const *environment,
		      enum container_command command, struct err *e);
