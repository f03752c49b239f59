/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Undo in memory, for effects that end with the process or that the caller must take back itself (mounts, loaded
 * modules, temporary names): push an undo after each step, commit at the end; leaving the scope without a commit
 * runs the undos in reverse order. What must survive a kill belongs into the journal instead. */

#include "cleanup.h"

typedef void (*txn_undo)(void *arg);

struct txn {
	struct txn_step *last; /* owned */
};
#define TXN_INIT                                                                                             \
	{                                                                                                    \
		NULL                                                                                         \
	}

/* On -ENOMEM `undo` has been run at once, so the caller only returns. arg stays the caller's until then. */
int txn_push(struct txn *t, txn_undo undo, void *arg) _must_check_;
void txn_commit(struct txn *t); /* forgets all undos */
void txn_done(struct txn *t); /* runs what is left, last first */

#define _cleanup_txn_ _cleanup_(txn_done)
