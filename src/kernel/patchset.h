/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Patch sets: small corrections a driver version needs for kernels published after it. data/patches/<version>/
 * holds an `index.json` and unified diffs; the index says for which flavour a patch is meant and, as a condition
 * on the kernel's headers, when it is needed. The digest of the whole directory is part of what a module set is looked up by,
 * the digests of the patches that applied are part of its build key. */

#include "ktree.h"

struct patch_file {
	char *name; /* "open-pci-resize-exclude-bars.patch" */
	char *why; /* one sentence from the index */
	char *bytes;
	size_t len;
	char sha256[65];
};

struct patchset {
	char digest[65]; /* of index and all patch files for this version, chosen or not; "none" without */
	struct patch_file *patches; /* those chosen for the flavour and kernel, in order */
	size_t n_patches;
};
#define PATCHSET_INIT                                                                                        \
	{                                                                                                    \
		"none", NULL, 0                                                                              \
	}
void patchset_done(struct patchset *p);

/* dir: the patches directory, NULL = nvdriver's own (data/patches); a version without a subdirectory is an empty set.
 * t NULL: only the digest is worked out (a lookup needs no kernel tree).
 * extra: NULL-terminated paths of patches the user adds (always applied, part of the digest); may be NULL. */
int patchset_load(const char *dir, const char *version, const char *flavour, const struct ktree *t,
		  char *const *extra, struct patchset *ret, struct err *e);
/* Pure: how many parameters the first declaration of a function in a header takes; -1 when it is not declared. */
int header_function_parameters(const char *text, size_t len, const char *function);
