/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Licensing of a vGPU guest: what the operator mounted is put where the licence daemon looks. */

#include "host.h"
#include "parse.h"
#include "plan.h"

/* Adds to the plan: etc/nvidia/gridd.conf from drivers/gridd.conf, and with `nls` the directory etc/nvidia/ClientConfigToken/ with every
 * token of drivers/ClientConfigToken/ (regular files, also through the links a mounted secret consists of; names beginning with
 * a dot are not tokens). Tokens there that the mounted set lacks are removed. A missing gridd.conf is -ERR_LICENCE_INPUT; a missing
 * token directory too, an empty one a warning. Contents never appear in messages. */
int container_licence_plan(const struct host *h, bool nls, struct plan *p, struct err *e);

/* Pure: the licence state in what `nvidia-smi -q` prints: of several GPUs the first that is not "Licensed…", else the first. Empty when
 * none is named (a driver without licensing). */
struct span container_licence_state(struct span text);

/* Asks nvidia-smi of the root, which opens the GPUs. NULL in *ret when it names none. ERR_TOOL_MISSING, or that it failed. */
int container_licence_ask(const struct host *h, char **ret, struct err *e);
