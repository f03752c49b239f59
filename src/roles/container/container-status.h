/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What people and probes can read: run/nvidia/nvidia-driver.status.json (step, reason of the last failure, what was used), and
 * the one-word file the startup probe compares. */

#include "container.h"

#define CONTAINER_STATUS_SCHEMA "nvdriver.container-status/1"

/* Each writes the file anew, atomically. A failure to write is a warning: it must not stop a driver. */
void container_status_state(struct container *c, const char *state); /* "starting", "ready", "stopping", … */
void container_status_step(struct container *c, const char *step);
/* The failure that ends this run; `slug` as everywhere, `reason` one of the words below. */
void container_status_failed(struct container *c, const struct err *e);
void container_status_set(struct container *c, const char *key, json_t *value /* stolen */);

/* Pure: the machine-readable reason of a code: lock-held, in-use, no-kernel-tree, build-failed, signature, module-load, firmware,
 * daemon, vgpu-no-match, usage, interrupted, network, storage, or other. Static. */
const char *container_reason(int code);

/* "NotReady" or "Ready" for the startup probe. */
int container_daemons_status(struct container *c, bool ready, struct err *e);

/* Everything there is to know, looked at now: the file's content, what is loaded, who has it, daemons, export. New reference. */
json_t *container_status_report(struct container *c);
