/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Container Device Interface: one file that tells container engines (containerd, CRI-O, Podman, Docker) what a GPU is:
 * its node, the nodes all of them need, the driver's shared tree, and our hook that makes the loader know it.
 *
 * Numbers of devices are left out on purpose: the engine takes them from the node when a container starts, so the file
 * does not go stale when the dynamic ones change. */

#include "err.h"
#include "host.h"
#include "parse.h"
#include "plan.h"

#include <jansson.h>

#define CDI_KIND   "nvidia.com/gpu"
#define CDI_OUTPUT "var/run/cdi/nvdriver.json"
#define CDI_MOUNT  "/usr/lib/nvdriver"

struct cdi_gpu {
	unsigned minor; /* node dev/nvidia<minor>; the device is called by its place in the list */
	const char *uuid; /* "GPU-…"; borrowed, may be NULL */
};

/* All borrowed. */
struct cdi_want {
	const struct cdi_gpu *gpus;
	size_t n_gpus;
	bool modeset; /* the host has nvidia-modeset */
	const char *tree; /* directory of the host, mounted read-only at CDI_MOUNT */
	const char *hook; /* path of the program the hook runs: this one; NULL = no hook */
};

/* The specification: devices by number, by UUID, and "all". Pure; *ret: caller decrefs. */
int cdi_spec_make(const struct cdi_want *w, json_t **ret);
/* The same as YAML; any JSON value. Pure. */
int cdi_yaml(const json_t *spec, struct strbuf *out);

/* A device name of `spec` that another specification (its text) of the same kind has too; *ret caller frees. 1 = there is one,
 * 0 = there is none. Pure; a text that is no specification has no names. */
int cdi_taken(const json_t *spec, struct span text, bool is_yaml, char **ret);
/* The same over etc/cdi and var/run/cdi, `own` (a path) left out. ERR_CDI_TAKEN names file and device. */
int cdi_conflicts(const struct host *h, const json_t *spec, const char *own, struct err *e);

/* A plan that writes `text` to `path` below the host's root. */
int cdi_plan(const char *path, const char *text, struct plan **ret, struct err *e);

/* The createContainer hook: `state` is the runtime's JSON. The container's root gets a loader configuration that names the
 * tree, links to its programs where nothing of that name is, and a new loader cache. Every name is resolved beneath that
 * root. A root without glibc is left alone. */
int cdi_hook_run(struct span state, struct err *e);
