/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the kernel's build tree comes from. The places are asked in a fixed order and the first tree that is accepted
 * (its release is the wanted one; Module.symvers and the generated headers are there) is taken:
 *
 *   named by the user, the container's own, the node's, the store's, an offline bundle, the package manager
 *
 * Every attempt and its verdict is reported (a message each, and a row in the answer). A tree this process cannot
 * compile against in place, because it lies in another mount namespace, is copied into the store first; what comes from a
 * bundle or the package manager lies there afterwards too (kernels/<identity>/), so the next start finds it. */

#include "container-env.h"
#include "host.h"
#include "ktree.h"
#include "store.h"

#include <jansson.h>

enum container_ktree_from {
	CONTAINER_KTREE_NAMED,
	CONTAINER_KTREE_CONTAINER,
	CONTAINER_KTREE_NODE,
	CONTAINER_KTREE_STORE,
	CONTAINER_KTREE_BUNDLE,
	CONTAINER_KTREE_PACKAGES, /* downloaded and unpacked, not installed */
	CONTAINER_KTREE_INSTALLED, /* the package manager could do no less */
};
const char *container_ktree_from_text(enum container_ktree_from from); /* "the node", … */

struct container_ktree_options {
	const char *source, *output; /* build tree the user named; NULL = none */
	const struct host *node; /* the node's root (proc/1/root or a mount of it); NULL = not reachable */
	struct store *store; /* required for a node in another mount namespace, bundles and packages */
	const char *bundle; /* a bundle, or a directory with some; NULL = the usual places */
	const char *bundle_cert; /* only bundles signed with it; NULL = digests alone */
	bool no_packages; /* never ask the package manager (tag "builtin", --offline) */
	bool
	    look_only; /* answer without changing anything: nothing is copied, unpacked, downloaded or said. The
			 * tree then stays NULL when it is in a bundle or a package */
	bool may_install; /* the package manager may install when it can do nothing better */
	const char *log_dir; /* its whole output is kept there; NULL = the store's tmp/ */
	char *const
	    *dnf_args; /* further arguments for every call of it (tests: other repositories); NULL = none */
};

struct container_ktree_attempt {
	enum container_ktree_from from;
	char *
	    verdict; /* owned; place and reason: "/usr/src/kernels/5.14.0-1.el9.x86_64 has no Module.symvers" */
	bool accepted;
};

struct container_ktree {
	struct ktree *tree; /* owned; source and output can be given to make */
	enum container_ktree_from from;
	struct container_ktree_attempt *attempts; /* owned, in order; the last is the accepted one */
	size_t n_attempts;
};
void container_ktree_done(struct container_ktree *t);

/* `host` is the container's own root. env gives architecture (NULL = any), release version and repositories.
 * Errors: ERR_KERNEL_PREEMPT_RT before anything is looked at, when the release says so (unless env->ignore_preempt_rt), and
 * after a tree was found, when its configuration does; ERR_KTREE_NOT_FOUND with every attempt in its reason. */
int container_ktree_find(const struct host *host, const struct container_env *env, const char *release,
			 const struct container_ktree_options *o, struct container_ktree *ret, struct err *e);

/* Can the compiler be given the tree's paths as they are? */
bool container_ktree_is_reachable(const struct ktree *t);

/* [{ "source": "the node", "accepted": false, "text": … }]; new reference, NULL without memory. */
json_t *container_ktree_attempts_json(const struct container_ktree *t);
