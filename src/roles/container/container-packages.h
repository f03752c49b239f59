/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The package manager as a source of build trees: what container-ktree.h and container-update.h ask of it. */

#include "container-ktree.h"

/* The devel package of a kernel, downloaded and unpacked into the store (kernels/<identity>/). Errors of container-dnf.h;
 * nothing is left behind but the tree and the log of the package manager's output. */
int container_packages_tree(const struct host *host, const struct container_env *env, const char *release,
			    const struct container_ktree_options *o, struct ktree **ret, struct err *e);

/* Where the devel package would come from ("kernel-devel-… from <repository>"; caller frees): repositories are asked, nothing but
 * their lists is fetched, into a directory that goes away again. o->store may be NULL. */
int container_packages_offer(const struct host *host, const struct container_env *env, const char *release,
			     const struct container_ktree_options *o, char **ret, struct err *e);

/* The last resort: the package and what it needs are installed, each in a transaction of its own. The tree is then the
 * container's usr/src/kernels/<release>. */
int container_packages_install(const struct host *host, const struct container_env *env, const char *release,
			       const struct container_ktree_options *o, struct err *e);

/* Kernel releases offered for the variant of `like`, newest first. *ret: strv_freep. */
int container_packages_kernels(const struct host *host, const struct container_env *env, const char *like,
			       const struct container_ktree_options *o, char ***ret, struct err *e);
