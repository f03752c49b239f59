/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One transaction on disk. Inside of plan/. */

#include "files.h"
#include "lock.h"
#include "plan.h"

struct journal {
	int dir_fd; /* owned; holds the directory (livedir.h) */
	char id[17];
	struct plan *plan; /* owned */
	json_t *head; /* owned; plan.json: the plan and root, sequence, time */
	struct journal_log log;
};
#define JOURNAL_INIT                                                                                         \
	{                                                                                                    \
		-EBADF, "", NULL, NULL,                                                                      \
		{                                                                                            \
			0                                                                                    \
		}                                                                                            \
	}
void journal_done(struct journal *j);

bool journal_id_is_valid(const char *id);

/* A new one below journal/, complete on disk before anything else happens. `plan` is borrowed. */
int journal_create(const struct plan_state *st, const struct plan *plan, const struct host *host,
		   json_int_t sequence, struct journal *ret, struct err *e);
/* From a directory that the caller holds (taken over, also on failure). -ENOENT silently: without plan.json. */
int journal_load(int dir_fd, const char *id, struct journal *ret, struct err *e);
/* Does its log name this target? For journals whose plan cannot be read. */
bool journal_concerns(const struct plan_state *st, const char *id, const char *target);
int journal_say(struct journal *j, struct err *e, const char *fmt, ...) _printf_(3, 4);

struct plan_ctx journal_ctx(const struct journal *j, const struct host *host, size_t index);
int journal_undo_data(const struct journal *j, size_t index, json_t **ret, struct err *e);
/* Undo of every operation that may have begun, last first. The journal stays. */
int journal_take_back(const struct journal *j, const struct host *host, struct err *e);
/* After a take-back: the journal goes. */
int journal_remove(const struct plan_state *st, struct journal *j, struct err *e);
/* Committed: becomes a deployment. */
int journal_finish(const struct plan_state *st, struct journal *j, struct err *e);

/* targets/<name>, created when missing, and its lock. */
int target_open(const struct plan_state *st, const char *target, bool create, struct err *e);
int target_lock(int target_fd, const char *target, unsigned timeout_s, struct lock *ret, struct err *e);
/* Journals of one target whose lock the caller holds. How many. */
int target_recover(const struct plan_state *st, const char *target, struct err *e);
/* targets/<name>/history or /undone, created when missing. */
int target_dir(int target_fd, const char *name, struct err *e);

/* What is left of a deployment in history once it is taken back. */
int undone_write(int target_fd, const struct journal *j, struct err *e);

int plan_from_json(const json_t *j, struct plan **ret, struct err *e);
