/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The heart: source → verified tree → kernel build tree → module set → signed → packaged. Each stage is skipped
 * when the store has its result already; a run in which everything is there starts no child process and opens no
 * connection. */

#include "engine.h"
#include "source.h"

struct prepare_request {
	char *const *source; /* words for source_parse() */
	size_t n_source;
	const char *tree_id; /* instead of a source: this tree of the store */
	const char *sha256; /* pinned digest of a single file */
	char *const *mirrors;
	const char *kernel; /* release; "apt:FLAVOUR" or "apt:RELEASE"; NULL = the host's own */
	const char *kernel_source, *kernel_output; /* explicit build tree */
	const char *flavour; /* "proprietary", "open" or "auto" (flavour.h); NULL = "proprietary" */
	const char *extra_symvers; /* the network driver's Module.symvers, for nvidia-peermem; NULL = none */
	const char *
	    banner; /* what the kernel prints in /proc/version, for the record; NULL = as the build tree tells */
	const char *make_variables; /* blank-separated NAME=VALUE for the build; NULL = none */
	char *const *patches; /* further patch files, strv or NULL */
	const char *key, *cert; /* sign with these; both or neither */
	int passphrase_fd; /* -1 = none */
	bool generate_key; /* without --key: use the store's own pair, made when missing */
	bool no_modules; /* the tree only */
	bool package; /* also pack the module set in the vendor's format */
	bool compat32;
	unsigned jobs;
};

/* One row per stage in order: { "stage", "action": "hit"|"done"|"made", "id", "path", "seconds", "text", … }. */
int prepare_run(struct engine *en, const struct prepare_request *q, json_t **ret_stages, struct err *e);

/* Only what each stage would do: rows with "action" "hit" or "would do". Changes nothing, uses no network. */
int prepare_plan(struct engine *en, const struct prepare_request *q, json_t **ret_stages, struct err *e);
