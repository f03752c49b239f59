/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A bundle: everything chosen drivers and kernels need, in one file that crosses an air gap. Inside it is an OCI image
 * layout (one tar archive, or the same files as a directory), so registries and their tools carry it. docs/bundles.md
 * has the format.
 *
 * The description (the image's configuration blob, "nvdriver.bundle/1") lists every object with the digest of its
 * blob. A signature covers the description, the description every byte that is used. Each object is an object of the
 * store: a driver tree, a kernel build tree, a module set, the answers of configure probes. */

#include "engine.h"
#include "ktree.h"
#include "rpmrepo.h"
#include "store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define BUNDLE_SUFFIX ".nvbundle" /* how a bundle that is looked for is called */

struct bundle;

/* Open an archive, or a directory with an image layout, and read index, manifest and description; every one of them is
 * compared with its digest, no object is read. Errors name the path: ERR_BUNDLE_FORMAT (no bundle, or a newer one),
 * ERR_BUNDLE_DAMAGED (digest, size, or a blob that is not there), ERR_ARCHIVE_*. */
int bundle_open(const char *path, struct bundle **ret, struct err *e);
int bundle_open_at(int root_fd, const char *path, struct bundle **ret, struct err *e); /* PATH_IN_ROOT */
void bundle_freep(struct bundle **b);

const char *bundle_path(const struct bundle *b); /* as given; borrowed */
const json_t *bundle_description(const struct bundle *b); /* borrowed */
const char *bundle_digest(const struct bundle *b); /* of the image manifest, "sha256:<hex>"; borrowed */

bool bundle_is_signed(const struct bundle *b); /* by somebody */

/* The signature against a certificate (PEM or DER): ERR_BUNDLE_UNSIGNED, ERR_CMS_FOREIGN, ERR_CMS_MISMATCH. */
int bundle_check_signature(struct bundle *b, const char *cert_path, struct err *e);

/* Read every byte: digests, sizes, archives (each member's name and kind), and with cert_path the signature. What this
 * accepts bundle_apply() accepts. Nothing is written. */
int bundle_verify(struct bundle *b, const char *cert_path, struct err *e);

/* Which part of a bundle somebody needs; NULL members match anything. */
struct bundle_want {
	const char *driver, *flavour, *release, *arch;
};
/* Rows { "object": "tree"|"kernel"|"modules", "driver", "flavour", "release", "arch" } of what a machine with that kernel
 * would need and the bundle does not hold; a module set stands for the kernel tree. want->release is required.
 * Without want->driver each driver of the bundle is looked at. */
int bundle_missing(const struct bundle *b, const struct bundle_want *want, json_t **ret, struct err *e);
/* Does it hold a module set of that kind, so that nothing has to be built? */
bool bundle_has_modules(const struct bundle *b, const struct bundle_want *want);

struct bundle_apply {
	struct bundle_want want; /* only what this names */
	const char *cert_path; /* refuse a bundle this certificate did not sign; NULL = digests alone */
	bool dry_run;
};
/* Publish the objects in the store and set the refs `prepare` finds them by, one object after the other; what is there
 * already is not read. Rows { "object", "id", "action": "hit"|"done"|"would do", "seconds", "text" }. Killed anywhere, the
 * store has whole objects, and another apply goes on where it ended. */
int bundle_apply(struct store *s, struct bundle *b, const struct bundle_apply *how, json_t **ret_rows,
		 struct err *e);

/* -- found at start -- */

struct bundle_places {
	const char *
	    named; /* a bundle, or a directory that holds some (NVDRIVER_BUNDLE); then only there. NULL = none */
	const struct host *container; /* below it: drivers/ */
	const struct host *node; /* below it: var/lib/nvdriver/bundles/, drivers/; NULL = none */
};
/* The first bundle, by place and then by name, that holds something for `want` (driver, kernel tree or module set).
 * A file that is no bundle is passed over with a warning. *ret_text (may be NULL, caller frees) says where was looked, for
 * messages. -ENOENT (silently) when there is none. */
int bundle_find(const struct bundle_places *where, const struct bundle_want *want, struct bundle **ret,
		char **ret_text, struct err *e);

/* The build tree of a kernel from a bundle: found as above, published in the store if it is not there yet, opened from
 * there. The signature is checked when cert_path is given. -ENOENT (silently) when no bundle has it. */
int bundle_kernel_tree(const struct bundle_places *where, struct store *s, const char *cert_path,
		       const char *release, const char *arch, struct ktree **ret, char **ret_text,
		       struct err *e);

/* -- made -- */

struct bundle_create {
	char *const *
	    drivers; /* versions in the store, or words for source_parse(): obtained first. NULL = with from_store
			       * all of the store */
	char *const *kernels; /* releases, or "apt:FLAVOUR"; NULL = likewise */
	char *const *rpms; /* kernel-devel packages: files or directories of them */
	char *const *repos; /* repositories of rpm packages: their addresses */
	struct rpmrepo_access access; /* to these */
	const char *arch; /* NULL = all the store has */
	char *const *flavours; /* of module sets; NULL = both */
	bool from_store; /* nothing is obtained: only what is there */
	bool modules; /* module sets too: built when missing unless from_store */
	const char *key_path, *cert_path; /* sign the bundle; both or neither */
	const char *module_key, *module_cert; /* sign modules that are built */
	int passphrase_fd; /* -1 = none */
	int level; /* compression; -1 = default */
	unsigned jobs;
};
/* What a bundle would hold of what the store has now: { "objects", "missing": words that would be obtained first }. Changes
 * nothing; a store that does not exist yet is empty. */
int bundle_plan(struct engine *en, const struct bundle_create *how, json_t **ret, struct err *e);

/* Write a bundle to the file `path` (replaced in one step, synced). The same objects give the same bytes. *ret: a
 * row per object as in the description, and "digest", "size_bytes". */
int bundle_create(struct engine *en, const struct bundle_create *how, const char *path, json_t **ret,
		  struct err *e);

/* One module set of the store (want: driver and release required) as a container image for operators of kernel modules: an
 * archive with an OCI layout, replaced in one step. One layer: /opt/lib/modules/<release>/ with depmod's indexes and
 * /opt/lib/firmware/nvidia/<driver>/gsp_*.bin; labels name driver, kernel and flavour. *ret: { "digest", "size_bytes",
 * "module_set", "tag" }. Runs depmod (ERR_TOOL_MISSING). */
int bundle_export_image(struct store *s, const struct bundle_want *want, const char *path, json_t **ret,
			struct err *e);

/* -- registries -- */

struct bundle_remote {
	const char *reference; /* host[:port]/name[:tag][@digest] */
	const char *ca_file, *auth_file, *proxy; /* NULL = the usual places */
	bool plain_http, offline;
	unsigned attempts, backoff_ms; /* 0 = default */
};
/* Upload blobs the registry lacks, then the manifest. Without a tag: "<driver>-<kernel>" of a bundle for one of each, "<driver>" for one without
 * kernels.
 * *ret_digest ("sha256:<hex>"), *ret_reference with the tag: caller frees; either may be NULL. */
int bundle_push(struct bundle *b, const struct bundle_remote *to, char **ret_reference,
		uint64_t *ret_sent_bytes, struct err *e);
/* Into the store: only blobs of objects it lacks are fetched, kept below packages/.incoming until they are published, so
 * a cut connection is continued by the next run. */
int bundle_pull(struct store *s, const struct bundle_remote *from, const struct bundle_apply *how,
		json_t **ret_rows, uint64_t *ret_received_bytes, struct err *e);
/* Into a file: byte for byte the one that was pushed. */
int bundle_pull_file(const struct bundle_remote *from, const char *path, uint64_t *ret_received_bytes,
		     struct err *e);
