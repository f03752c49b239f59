/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which release of RHEL (or of a clone) a kernel belongs to, and what the package manager is told about it. Pure. */

#include "host.h"

#include <stdbool.h>

enum rhel_origin {
	RHEL_FROM_USER, /* RHEL_VERSION */
	RHEL_FROM_KERNEL_MINOR, /* "el9_2" */
	RHEL_FROM_NODE, /* the node's os-release */
	RHEL_FROM_KERNEL_MAJOR, /* "el9", "el9uek" */
	RHEL_UNKNOWN,
};
const char *rhel_origin_text(enum rhel_origin o); /* "the kernel release", … */

struct rhel_version {
	unsigned major; /* 0 = unknown */
	int minor; /* -1 = unknown: CentOS Stream has none */
	char text[24]; /* "9.2", "9", "" */
	enum rhel_origin origin;
};

struct rhel_facts {
	const char *user_version; /* RHEL_VERSION; NULL or "" = none */
	const char *release; /* kernel release */
	const struct os_release *node; /* NULL = not readable */
};

/* First that answers: the user; "elX_Y" of the kernel release (its last occurrence); the node's os-release when that is of
 * the RHEL family and of the kernel's major version; "elX". Never fails: origin RHEL_UNKNOWN then. */
void rhel_version_resolve(const struct rhel_facts *f, struct rhel_version *ret);

/* The node's os-release: host-etc/os-release of the container (the operator mounts it), else that of the node's root
 * (NULL = not reachable). -ENOENT silently when neither can be read. */
int rhel_node_os_release(const struct host *container, const struct host *node, struct os_release *ret);

/* Values of the package manager's releasever in the order to try them: the user's (NULL = none), the full version, the
 * major version. No value twice; *ret NULL when nothing is known. 0 or -ENOMEM. *ret: strv_freep. */
int rhel_releasevers(const char *user_releasever, const struct rhel_version *v, char ***ret);

/* Repository ids worth enabling beside those that are: extended update support of this major version, and OpenShift's
 * (openshift_version NULL = none). Only those of `defined` (all ids the package manager knows) are returned, so on a clone
 * there are none. 0 or -ENOMEM. */
int rhel_extra_repositories(const struct rhel_version *v, const char *arch, const char *openshift_version,
			    char *const *defined, char ***ret);
