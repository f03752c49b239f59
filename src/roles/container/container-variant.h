/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which packages a kernel release stands for: kernels of RHEL and its clones come in variants, and each has packages of
 * its own. Pure. */

#include "err.h"

#include <stdbool.h>

struct kernel_package {
	const char *variant; /* "", "64k", "rt", "debug", "rt-64k", …, "uek"; static */
	char devel[32]; /* "kernel-64k-devel" */
	char core[32]; /* "kernel-64k-core": the image; for the last resort alone */
	char version[64]; /* "5.14.0" */
	char release[128]; /* "284.30.1.el9_2" */
	char arch[16]; /* "x86_64" */
};

/* Reads a release as uname gives it. -EINVAL when it is not one of an rpm distribution: no "version-release.arch". */
int kernel_package_parse(const char *kernel_release, struct kernel_package *ret);

/* "kernel-devel-5.14.0-284.30.1.el9_2.x86_64"; caller frees, NULL without memory. */
char *kernel_package_devel_nevra(const struct kernel_package *p);

/* The kernel release of a devel package: the other way round. rpm_arch "x86_64". -EINVAL when the name is no devel package.
 * *ret: caller frees. */
int kernel_release_of_package(const char *name, const char *version, const char *release,
			      const char *rpm_arch, char **ret);

/* The driver does not work on a fully preemptible kernel, and says so only after minutes of configuring. Told by the
 * release, the banner or the configuration (each may be NULL). 0, or -ERR_KERNEL_PREEMPT_RT unless `override`. */
int kernel_check_preemption(const char *release, const char *banner, const char *config, bool override,
			    struct err *e);
