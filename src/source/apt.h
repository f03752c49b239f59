/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* apt as a provider of package files, with an apt configuration of our own in a private directory: the machine's
 * repositories with the components that hold drivers added, own index, own cache, the distribution's keyring, no
 * hooks. Nothing of the machine's configuration is written, and nothing is installed. apt checks the signature of
 * the index; we check every package against the index again. Linked from source.c only. */

#include "depot.h"
#include "source.h"

struct apt;

struct apt_package {
	char *name, *version, *arch, *source, *depends, *sha256; /* owned */
	uint64_t size_bytes;
};
struct apt_packages {
	struct apt_package *v; /* owned */
	size_t n;
};
void apt_packages_done(struct apt_packages *p);
int apt_packages_copy(struct apt_packages *to, const struct apt_package *p, struct err *e);

/* Prepares the directory and, unless offline, refreshes the index. Holds a lock until apt_freep(). */
int apt_open(struct depot *d, const struct source_options *o, struct apt **ret, struct err *e);
void apt_freep(struct apt **a);

/* Stanzas of a package index that can be used; pure, for tests and fuzzing. */
int apt_parse_index(const char *text, size_t len, struct apt_packages *ret, struct err *e);
/* Of all packages those that make driver `version` ("newest": the highest; an upstream or full version): one per
 * name and architecture, one source family, the unpacked sources preferred to an archive of them. Pure.
 * ERR_SOURCE_NOT_FOUND lists what there is. */
int apt_choose_driver(const struct apt_packages *all, const char *version, const struct source_options *o,
		      const char *deb_arch, struct apt_packages *ret, char **ret_upstream, struct err *e);

/* The packages of one driver version, with the small companions (persistence daemon, modprobe helper, EGL platform
 * libraries) that come from sources of their own. */
int apt_driver(struct apt *a, const char *version, struct apt_packages *ret, char **ret_upstream,
	       struct err *e);
/* Header packages of a kernel flavour or release. */
int apt_headers(struct apt *a, const char *which, struct apt_packages *ret, char **ret_release,
		struct err *e);
/* Have all of them in the depot, verified; rows in the order of `p`. */
int apt_download(struct apt *a, const struct apt_packages *p, struct depot_files *files, struct err *e);
