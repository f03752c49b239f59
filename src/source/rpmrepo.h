/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A repository of rpm packages as createrepo makes them, read without a package manager: repodata/repomd.xml names the list of
 * packages with its digest, the list each package with its own. What is fetched is what the repository named; who made the
 * repository is vouched for by the way it was reached (https, or the machine's own disk), and by the signature beside repomd.xml
 * where keys are given. */

#include "fetch.h"
#include "parse.h"

struct rpmrepo_package {
	char *name, *version, *release, *arch; /* owned */
	char *href; /* owned; below the repository's address */
	char sha256[65];
	uint64_t size_bytes; /* 0 = not said */
};
struct rpmrepo_packages {
	struct rpmrepo_package *v; /* owned */
	size_t n;
};
void rpmrepo_packages_done(struct rpmrepo_packages *l);

/* How repositories are reached and believed; all may be NULL. */
struct rpmrepo_access {
	const char *ca_file; /* as in struct fetch_request, like the next two */
	const char *client_cert, *client_key;
	char *const *gpg_keys; /* files: repodata/repomd.xml.asc must be a signature of one of these keys */
};

/* The packages with a kernel's build tree (kernel*-devel) the repository at `url` lists. q: proxy, offline, limits, as for
 * fetch_text(). Nothing is written. Errors of fetch_text(), ERR_FETCH_DIGEST, ERR_REPOSITORY_INVALID, and with gpg_keys those of
 * gpgv_check(); no signature is ERR_REPOSITORY_SIGNATURE too. */
int rpmrepo_kernels(const char *url, const struct fetch_request *q, char *const *gpg_keys,
		    struct rpmrepo_packages *ret, struct err *e);

/* Of these the ones that may hold the build tree of a kernel release, likeliest first; pointers into the list, caller frees.
 * A release names version, release and machine, then perhaps "+variant", which the package is called by. */
int rpmrepo_choose(const struct rpmrepo_packages *l, const char *kernel_release,
		   const struct rpmrepo_package ***ret, size_t *ret_n);

/* "<url>/<href>"; caller frees. */
char *rpmrepo_url(const char *url, const char *href);

/* -- pure: its two documents -- */

struct rpmrepo_index {
	char *href; /* owned */
	char sha256[65]; /* of the file as it is fetched */
};
void rpmrepo_index_done(struct rpmrepo_index *i);
int rpmrepo_parse_index(struct span xml, struct rpmrepo_index *ret, struct err *e);
/* Rows that cannot be fetched and checked (no SHA-256, an address that leads out of the repository) are not offered. */
int rpmrepo_parse_packages(struct span xml, struct rpmrepo_packages *ret, struct err *e);
