/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Kernel build trees brought into the store from wherever they can be had: the distribution's header packages,
 * kernel-devel packages at hand, or the machine's own installed tree. */

#include "engine.h"
#include "rpmrepo.h"

/* The release an alias ("apt:amd64") stands for in the store; -ENOENT when it knows none, or store is NULL. Caller frees. */
int kernelpkg_alias(struct store *s, const char *alias, char **ret_release);

/* "apt:FLAVOUR" or "apt:RELEASE": the release the store has for it (*ret_hit), or the header packages fetched now and
 * unpacked into kernels/<identity>/, never installed. */
int kernelpkg_from_apt(struct engine *en, const char *alias, const char *arch, char **ret_release,
		       bool *ret_hit, struct err *e);

/* The first of these packages (files, or directories of *.rpm; NULL-terminated) that holds the build tree of `release`
 * into the store. ERR_KTREE_NOT_FOUND names what was looked at. */
int kernelpkg_from_rpms(struct engine *en, char *const *paths, const char *release, struct err *e);

/* The same from repositories of such packages (their addresses; NULL-terminated), asked in order. Packages stay in the store. */
int kernelpkg_from_repos(struct engine *en, char *const *urls, const struct rpmrepo_access *access,
			 const char *release, struct err *e);

/* A copy of the tree installed on the machine en->host. Only trees that lie in one directory: ERR_KTREE_INVALID for a split
 * one, whose makefiles name absolute places. */
int kernelpkg_from_host(struct engine *en, const char *release, const char *arch, struct err *e);

struct kernelpkg_sources {
	char *const *rpms; /* tried first; NULL = none */
	char *const *repos; /* tried next; NULL = none. With either the machine is not */
	struct rpmrepo_access access; /* to the repositories */
	const char *arch; /* NULL = any */
	bool store_only;
};
/* Have the build tree of `which` (a release or an alias) in the store: what is there, the packages, the repositories, apt
 * for an alias, the machine. *ret_release caller frees. */
int kernelpkg_obtain(struct engine *en, const char *which, const struct kernelpkg_sources *from,
		     char **ret_release, struct err *e);
