/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Compile the modules of one flavour of a driver tree for one kernel: one make, without debug information, in a
 * scratch copy. Configure-probe answers (probes/<key>/) and stripped kernel-independent core objects
 * (objects/<key>/) are kept and reused by every later build they are valid for. The result is an unsigned module set
 * (see modset.h), published under its key; an existing one is a hit and starts no child. */

#include "ktree.h"
#include "patchset.h"
#include "toolchain.h"

/* Name of the directory the sources are built in; messages give file names below it. */
#define MODBUILD_DIR "nvdriver-build"

struct modbuild {
	const char *driver; /* "535.261.03" */
	const char *flavour; /* "proprietary" or "open" */
	const char *tree_id; /* for the record; may be NULL */
	int tree_fd; /* payload root with kernel/ and kernel-open/; only read */
	const struct ktree *ktree;
	const struct toolchain *tools;
	const struct patchset *patches;
	const struct host *host; /* CPU and memory bounds; NULL = one job */
	unsigned jobs; /* 0 = by CPUs, cgroup and memory (300 MB each) */
	bool debug_info; /* keep -g and the core objects' debug data */
	const char *const *exclude; /* NULL-terminated module names not to build; may be NULL */
	const char *
	    make_variables; /* blank-separated NAME=VALUE of the driver's kind ("VGX_KVM_BUILD=1"); may be NULL */
	const char *extra_symvers; /* foreign Module.symvers (for nvidia-peermem); may be NULL */
	const char *proc_version; /* banner of the kernel when known; may be NULL */
	unsigned timeout_s; /* 0 = 3600 */
	const char *log_dir; /* where the log of a failed build is kept; NULL = not kept */
	bool no_cache; /* bench only: neither reads nor keeps probe answers */
};

struct modbuild_result {
	char key[65]; /* the unsigned set */
	bool hit; /* nothing was compiled */
	uint64_t wall_ns, cpu_ns, max_rss_bytes; /* of make; 0 for a hit */
	unsigned jobs;
	unsigned probes_reused, probes_run;
	unsigned objects_reused, objects_made;
	unsigned modules;
};

/* The build key alone; reads sources, starts no child. */
int modbuild_key(const struct modbuild *b, char ret_key[65], struct err *e);

/* Failures: ERR_MODULE_COMPILE (reason: first "error:" line with file and line), ERR_MODULE_PROBE (a configure
 * probe could not run: the test is named), ERR_MODULE_BUILD (anything else make says), ERR_TIMEOUT. The output
 * of a failed build is kept in b->log_dir; ret_log (may be NULL, caller frees) receives its path. On failure nothing is
 * published but probe answers that are valid. */
int modbuild_run(const struct modbuild *b, struct store *store, struct modbuild_result *ret, char **ret_log,
		 struct err *e);

/* Pure: summarise make's output. kind: 0 nothing found, else an ERR_ code. *ret: first telling lines, caller frees. */
int buildlog_summary(const char *text, size_t len, int *ret_kind, char **ret);
/* Pure: jobs for this many CPUs and this much memory. */
unsigned modbuild_jobs(unsigned cpus, uint64_t memory_available_bytes);
