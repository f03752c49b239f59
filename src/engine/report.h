/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is there: the store's content, the machine's driver, and what is wrong. All answers are JSON; the command
 * line turns them into text. Nothing is changed, no child process is started. */

#include "engine.h"
#include "strbuf.h"

/* { "drivers": [{version, arch, kind, origin, trust, id, path, size_bytes}], "module_sets": [record + key, path],
 *   "kernels": [{release, arch, identity, path, names}], "packages": [{names, id, path}], "pins": [...] } */
int report_list(struct engine *en, json_t **ret, struct err *e);

/* { "host": {...}, "running": {...}, "store": {...}, "deployments": [...] }: see docs in nvdriver-status(8). */
int report_status(struct engine *en, json_t **ret, struct err *e);

/* The same for Prometheus, as text, with what doctor finds and whether installed files changed (by size, mode and kind: no
 * file is read). Appended to out. */
int report_metrics(struct engine *en, struct strbuf *out, struct err *e);

/* The deployment target name of a root: "host" for "/", else "root-<hash>". Caller frees, NULL without memory. */
char *report_target_name(const struct host *h);

/* Version of the driver that runs there, from proc/driver/nvidia/version; NULL when none does. Caller frees. */
char *report_running_version(const struct host *h);

/* Checks a person would make one after the other: [{ "check", "result": "ok"|"warn"|"fail"|"unknown", "text",
 * "next_step" }]. *ret_findings counts warn and fail. */
int report_doctor(struct engine *en, json_t **ret_checks, unsigned *ret_findings, struct err *e);

/* Everything is read again: trees, module sets, and what is installed in the engine's root. ret_objects: [{ "object",
 * "result": "ok"|"damaged"|"changed", "problems": [...] }]; *ret_findings counts those that are not ok. */
int report_verify(struct engine *en, json_t **ret_objects, unsigned *ret_findings, struct err *e);
