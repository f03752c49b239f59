/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Licensing of a vGPU guest: what the operator mounted is put where the licence daemon looks. */

#include "host.h"
#include "plan.h"

/* Adds to the plan: etc/nvidia/gridd.conf from drivers/gridd.conf, and with `nls` the directory etc/nvidia/ClientConfigToken/ with every
 * token of drivers/ClientConfigToken/ (regular files, also through the links a mounted secret consists of; names beginning with
 * a dot are not tokens). Tokens there that the mounted set lacks are removed. A missing gridd.conf is -ERR_LICENCE_INPUT; a missing
 * token directory too, an empty one a warning. Contents never appear in messages. */
int container_licence_plan(const struct host *h, bool nls, struct plan *p, struct err *e);
