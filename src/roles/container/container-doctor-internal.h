/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The checks, one per finding; container-doctor.c has their order. Each gets struct container_doctor as the doctor's arg. */

#include "container-doctor.h"

/* container-doctor-node.c: what the node is like */
int doctor_check_environment(struct doctor *d);
int doctor_check_gpus(struct doctor *d);
int doctor_check_nouveau(struct doctor *d);
int doctor_check_host_driver(struct doctor *d);
int doctor_check_selinux(struct doctor *d);
int doctor_check_firmware(struct doctor *d);
int doctor_check_leftovers(struct doctor *d);

/* container-doctor-build.c: where the modules come from */
int doctor_check_kernel(struct doctor *d);
int doctor_check_modules(struct doctor *d);
int doctor_check_compiler(struct doctor *d);
int doctor_check_module_type(struct doctor *d);
int doctor_check_space(struct doctor *d);
int doctor_check_memory(struct doctor *d);

/* What the checks share. */
struct doctor_own {
	struct container_doctor q; /* first: the checks see only this */
	char *ready; /* owned; of doctor_ready_modules() */
	bool looked;
};

/* A sentence on where modules for the running kernel and the wanted version are, so that nothing has to be built: the store, a bundle,
 * a package beside the sources. NULL = they have to be. Borrowed. */
const char *doctor_ready_modules(struct doctor *d);
