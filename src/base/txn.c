/* SPDX-License-Identifier: Apache-2.0 */
#include "txn.h"

#include <errno.h>

struct txn_step {
	struct txn_step *before; /* owned */
	txn_undo undo;
	void *arg; /* borrowed */
};

int txn_push(struct txn *t, txn_undo undo, void *arg)
{
	struct txn_step *step = malloc(sizeof(*step));

	if (!step) {
		undo(arg);
		return -ENOMEM;
	}
	*step = (struct txn_step){ t->last, undo, arg };
	t->last = step;
	return 0;
}

static struct txn_step *txn_pop(struct txn *t)
{
	struct txn_step *step = t->last;

	if (step)
		t->last = step->before;
	return step;
}

void txn_commit(struct txn *t)
{
	struct txn_step *step;

	while ((step = txn_pop(t)))
		free(step);
}

void txn_done(struct txn *t)
{
	int saved = errno;
	struct txn_step *step;

	while ((step = txn_pop(t))) {
		step->undo(step->arg);
		free(step);
	}
	errno = saved;
}
