/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A kernel build tree: what external modules are compiled against. Distributions either ship one directory, or
 * split it into a common tree (SYSSRC) and a per-configuration one (SYSOUT); with only one of the two named the
 * driver's configure probes answer wrongly in silence, so both are found and checked here. */

#include "err.h"
#include "host.h"
#include "store.h"

#include <jansson.h>

struct ktree {
	char *release; /* "6.1.0-56-amd64", from include/generated/utsrelease.h */
	char *arch; /* "x86_64" or "aarch64" */
	char *vermagic; /* as a module built here carries it, trailing blank included */
	char *source, *output; /* absolute, links resolved; equal when the tree is not split */
	char *config; /* text of the kernel configuration */
	char *banner; /* what this kernel prints in /proc/version; NULL when the headers do not tell */
	char identity[65]; /* sha256 over release, arch, vermagic, and the two digests below */
	char symvers_sha256[65], autoconf_sha256[65];
};

void ktree_freep(struct ktree **t);

/* Accept a tree by its path(s); output NULL or equal to source = not split. Everything is read through
 * root_fd (PATH_IN_ROOT). release and arch, when given, must match: ERR_KTREE_MISMATCH. ERR_KTREE_INVALID names
 * the missing file. Nothing is written. */
int ktree_open_at(int root_fd, const char *source, const char *output, const char *release, const char *arch,
		  struct ktree **ret, struct err *e);

/* Where to look, in this order; NULL members are skipped. */
struct ktree_search {
	const char *source, *output; /* named by the user: only these are tried then */
	const struct host *host; /* lib/modules/R/{source,build}, usr/src/kernels/R below its root */
	struct store *store; /* kernels/<identity>/ */
	const char *release; /* required unless source is given */
	const char *arch; /* NULL = any */
};
/* ERR_KTREE_NOT_FOUND lists the places that were tried. */
int ktree_find(const struct ktree_search *where, struct ktree **ret, struct err *e);

/* The staged directory holds `root/`, unpacked and relocatable header packages (source_kernel_headers() makes
 * them so); source_rel and build_rel are directories below it, NULL = lib/modules/<release>/{source,build}. Works out
 * the identity and publishes kernels/<identity>/ with record.json and the ref kernels/<arch>/<release>; `meta` (may
 * be NULL, borrowed) is merged into the record. An identity that is there already is kept and the ref moved. */
int ktree_import(struct store_stage *st, const char *release, const char *source_rel, const char *build_rel,
		 const json_t *meta, char ret_identity[65], struct err *e);

/* Value of CONFIG_<name> without quotes; -ENOENT when unset. Caller frees. */
int ktree_config(const struct ktree *t, const char *name, char **ret);
bool ktree_config_enabled(const struct ktree *t, const char *name); /* y or m */
/* The hash modules must be signed with: CONFIG_MODULE_SIG_HASH, else the strongest compiled in, else "sha256" and
 * *ret_guessed true. Never NULL on success; caller frees. */
int ktree_sign_hash(const struct ktree *t, char **ret, bool *ret_guessed);

int ktree_to_json(const struct ktree *t, json_t **ret);

/* Pure: the banner from the texts of include/generated/compile.h and utsversion.h; -ENOENT when a part is missing. */
int banner_compose(const char *release, const char *compile_h, const char *utsversion_h, char **ret);

/* Pure: the vermagic of a release from its autoconf.h (and vermagic.h, which says how preemption is spelled). */
int vermagic_compose(const char *release, const char *arch, const char *autoconf, const char *vermagic_h,
		     const char *randstruct_hash, char **ret);
