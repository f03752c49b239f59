/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the roles and the verbs share: one host, one store, the common switches. */

#include "err.h"
#include "host.h"
#include "plan.h"
#include "store.h"

struct engine {
	struct host *host; /* owned */
	struct store *store; /* owned; NULL for verbs that need none */
	struct plan_state
	    state; /* owned descriptors of the store's journal/ and targets/; -EBADF without a store */
	bool offline, dry_run;
	unsigned lock_timeout_s; /* waiting for another run on the same object */
	const char *fetch_proxy; /* borrowed; NULL = the environment's */
	unsigned fetch_attempts; /* 0 = the default */
};

/* Opens host and store and recovers whatever an interrupted run left (promise 1). On disk afterwards: with
 * ENGINE_STORE_CREATE the store's layout exists. */
int engine_open(const char *root, const char *store_path, unsigned flags, struct engine **ret, struct err *e);
void engine_freep(struct engine **en);
#define ENGINE_STORE_CREATE   1u
#define ENGINE_STORE_OPTIONAL 2u /* missing store is fine: engine->store NULL */
