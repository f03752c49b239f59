/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A small machine to break: a root, a driver tree, a store, and scenarios over them. Include testlib.h first. */

#include "plan.h"
#include "store.h"

struct bed {
	struct testdir t;
	struct host *host;
	struct store *store;
	struct plan_state st;
};

void bed_fill(struct bed *b); /* a fresh machine, nothing opened */
void bed_empty(struct bed *b);
int bed_open(struct bed *b, struct err *e);
void bed_close(struct bed *b);
int bed_recover(struct bed *b); /* opens, store_recover + plan_recover, closes; how many, or an error */
char *bed_state(struct bed *b); /* everything that matters, with times of files of the root; caller frees */
void bed_assert_clean(struct bed *b); /* no temporaries, no stages, no journals */

struct scenario {
	const char *name;
	void (*setup)(struct bed *b); /* after bed_fill(); may be NULL */
	int (*run)(struct bed *b, struct err *e); /* opens and closes nothing; b is open */
	bool no_links;
	bool leaves_temporaries; /* plain publish has no recover of its own */
};
extern const struct scenario scenarios[];
extern const size_t n_scenarios;

/* The scenario in a child that is killed at its nth change; the child's exit status (0: it came to its end). */
int crash_child(const struct scenario *s, struct bed *b, unsigned n);

int scenario_run(const struct scenario *s, struct bed *b, struct err *e); /* opens, runs, closes */
