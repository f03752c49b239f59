/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What was done for a container, beside its deployments: targets/lxc-<id>/record.json in the store. One JSON object:
 *   schema, id, backend, version (of the last verification), delivery, view, extras [graphics, mig, …], pending_host,
 *   lines: of the configuration that are ours
 *   steps {devices, driver, toolkit}, toolkit (version inside, or null),
 *   result: "whole", or "unfinished" when a run that keeps what it finished (--no-rollback) ended before its last step
 *   verified {init_pid, start_time, version}: the very process the last device and live levels were proven for
 *   time
 * Files written, with their digests, are in the journals of the deployments beside it. It remembers; what is needed is
 * decided by looking. */

#include "lxc.h"

#define LXC_RECORD_SCHEMA "nvdriver.lxc-record/1"
#define LXC_RECORD_INSIDE "var/lib/nvdriver/record.json"

/* NULL in *ret when there is none. */
int lxc_record_read(const struct lxc *x, const char *target, json_t **ret, struct err *e);
/* Written only when it differs in more than its time. */
int lxc_record_write(const struct lxc *x, const char *target, const json_t *record, struct err *e);
int lxc_record_remove(const struct lxc *x, const char *target, struct err *e);
/* Does the container have driver files of its own, which a switch of the shared directory does not change? */
bool lxc_record_has_files(const json_t *record);
/* Ids of all containers with a record or a deployment that stands. Caller frees. */
int lxc_record_ids(const struct lxc *x, char ***ret, struct err *e);

/* What any container with a record but this one (NULL = any at all) has beyond computing: the shared directory has it all. */
unsigned lxc_record_extras(const struct lxc *x, const char *but_id);

/* Whose a root is by the record in it: that of the container it was cloned or restored from, maybe. -ENOENT, -EINVAL for what
 * is no record. Caller frees. */
int lxc_record_inside_id(int root_fd, char **ret);

/* {init_pid, start_time}: tells this run of the container from any other; NULL when it does not run. */
json_t *lxc_run_stamp(const struct lxc_place *place);
/* The record was verified for this very run, version and set of nodes. */
bool lxc_record_covers(const struct lxc_ct *ct);
/* Sets "verified" for the run as it is now. */
int lxc_record_stamp(json_t *record, const struct lxc_ct *ct);
