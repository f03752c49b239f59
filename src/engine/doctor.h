/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Checks a person would make one after the other: the engine's own (report_doctor()) and, by the same loop, a role's. A check
 * looks and says; it changes nothing. */

#include "engine.h"
#include "kmods.h"
#include "secureboot.h"

struct doctor_count {
	unsigned warnings, failures, unknown;
};

struct doctor {
	struct engine *en; /* borrowed */
	void *arg; /* the role's */
	json_t *checks; /* owned; rows { "check", "result", "text", "next_step" } */
	struct doctor_count count;
	/* What most checks want to know, read once. */
	char *release; /* owned; NULL = the machine does not say */
	struct secureboot sb;
	struct kmods mods;
};

enum doctor_result { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_UNKNOWN };

/* Adds a row; next_step may be NULL. 0 or -ENOMEM. */
int doctor_say(struct doctor *d, const char *check, enum doctor_result result, const char *next_step,
	       const char *fmt, ...) _printf_(5, 6);

/* 0, or -ENOMEM: what a check cannot find out it says. */
typedef int (*doctor_check)(struct doctor *d);
int doctor_run(struct engine *en, const doctor_check *checks, size_t n, void *arg, json_t **ret_checks,
	       struct doctor_count *ret_count, struct err *e);

/* The engine's checks that roles share. */
int doctor_check_store(struct doctor *d);
int doctor_check_signatures(struct doctor *d);
