/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Making a precompiled package from files named on a command line: what `modules pack` and the vendor-compatible
 * entry share. */

#include "precompiled.h"

struct pack_input {
	enum precompiled_type type;
	const char *path; /* the record is named by its last component */
	const char *linked_name, *core_name; /* interface only */
	const char *linked_path,
	    *signed_path; /* the linked module and its signed copy; NULL = no detached signature */
	const char *target_dir; /* NULL = the default of the type */
	bool is_signed, detect_signed; /* carries its signature; look for yourself */
};

struct pack_request {
	const char *path; /* the package; extended when it exists */
	const char *version, *description,
	    *proc_version; /* NULL = keep, or required for a new one (description "") */
	const struct pack_input *inputs;
	size_t n_inputs;
	bool replace; /* records of the same name */
	bool force; /* an existing file that is no package */
};

/* Is there a package already? Then version and proc version may be left out. */
bool pack_is_package(const char *path);

/* Write or extend the package, atomically. *ret_files: number of records in it now. */
int pack_run(const struct pack_request *q, unsigned *ret_files, struct err *e);

/* Kernel banner of the proc directory at `path`. */
int pack_banner(const char *path, char **ret, struct err *e);
