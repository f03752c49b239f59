/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A vGPU host driver brought into a directory, checked against the register, and its unlocked copy. */

#include "catalog.h"
#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- what a file is ---- */

struct driver_facts {
	char *version; /* owned */
	char sha256[65];
	uint64_t size_bytes;
	bool has_proprietary, has_open; /* kinds of kernel modules */
};
void driver_facts_done(struct driver_facts *f);

/* The version a file of that row or name must have: the row's, else the name's, else NULL (any). *ret caller frees.
 * 0 or -ENOMEM. */
int driver_expected_version(const struct catalog_driver *row, const char *name, char **ret);

/* Reads the whole run file once: its own sums, its members, its version, which must be `version` unless that is NULL. It is
 * never run. -ERR_VGPU_DRIVER (another version, no host driver), errors of the run file reader. */
int driver_inspect(int dirfd, const char *name, const char *version, struct driver_facts *ret, struct err *e);

/* The same of a guest's driver. */
int driver_inspect_guest(int dirfd, const char *name, const char *version, struct driver_facts *ret,
			 struct err *e);

/* ---- getting it ---- */

struct driver_request {
	const struct catalog *catalog;
	const char *url, *file,
	    *branch; /* in this order of precedence; a branch beside the others says what is expected */
	int dirfd; /* destination; a run file named by `file` stays where it is */
	const char *dir_path; /* for messages and results */
	const char *sha256; /* of what is fetched or named; NULL = unknown */
	const char *listing; /* mirror that is asked for rows of kind "auto"; NULL = the usual one */
	bool want_custom; /* of such a row, a copy that is unlocked already comes first */
	bool accept_md5; /* a file whose MD5 is not the register's is taken all the same */
	bool offline, dry_run;
	const char *proxy, *ca_file;
	unsigned attempts; /* 0 = the fetch engine's */
	unsigned stall_timeout_s; /* 0 = the fetch engine's */
};

struct driver_result {
	const struct catalog_driver *row; /* NULL: not in the register; borrowed from the catalog */
	struct driver_facts facts; /* empty with dry_run, unless the file is there */
	char *path; /* owned; of the run file */
	char *url; /* owned; where it would come or came from; may be NULL */
	char *archive; /* owned; the zip archive it was in; may be NULL */
	char *backup; /* owned; name the wrong file was given; may be NULL */
	const char *action; /* "present", "downloaded", "resumed", "replaced", "unpacked"; static */
	char **notes; /* owned strv: what a person should know */
};
void driver_result_done(struct driver_result *r);

/* Have the run file in the directory, complete, of the right version. A wrong one that was there becomes <name>.bak.<n>; a
 * file is never given another name than its own. Rows of kind "mega" are fetched by the program megadl
 * (-ERR_TOOL_MISSING), those of kind "auto" from where the mirror's listing says. -ERR_VGPU_BRANCH, -ERR_VGPU_PORTAL (no
 * address), -ERR_VGPU_DRIVER, errors of fetch_file(), zip_take() and the run file reader. */
int driver_get(const struct driver_request *q, struct driver_result *ret, struct err *e);

/* ---- unlocking it ---- */

/* A person's own word on which patch belongs to a branch or file: a JSON object, {"17.5" or "NVIDIA-….run": "name.patch"}.
 * Absent is success with *ret NULL. -ERR_CONFIG names the key that is not usable. *ret: new reference. */
int driver_patches_load(int dirfd, const char *path, json_t **ret, struct err *e);

struct driver_patch_request {
	const struct catalog *catalog;
	const json_t *overrides; /* of driver_patches_load(): wins over the catalog; may be NULL */
	const char *file; /* run file */
	const char *branch; /* NULL = told by the file's name, else its version */
	const char *patch; /* NULL = the mapped one in patches_dir */
	const char *patches_dir; /* clone of the community repository */
	int dirfd; /* where the copy goes */
	bool dry_run;
};

struct driver_patch_result {
	char name[256]; /* of the copy: <driver>-custom.run */
	char *version, *patch; /* owned; patch: path of the one that was applied */
	char *backup; /* owned; name an older copy was given; may be NULL */
	bool is_present; /* the same copy was there already */
	/* {source, source_sha256, patch, patch_sha256, sha256, objects: [{path, before, after}]}; with dry_run without sha256 and
	 * after. Kept as <name>.meta beside the copy. */
	json_t *record; /* owned */
	char **notes; /* owned strv */
};
void driver_patch_result_done(struct driver_patch_result *r);

/* Make the patched copy: every hunk exactly, no fuzz, whatever stands behind a hunk header's second "@@". The file itself
 * is not changed; on failure nothing is left. -ERR_VGPU_NO_PATCH, -ERR_VGPU_DRIVER, errors of patch_package(). */
int driver_patch(const struct driver_patch_request *q, struct driver_patch_result *ret, struct err *e);
