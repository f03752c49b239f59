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

/* Modules for the running kernel and the wanted version are in the store: nothing has to be built. */
bool doctor_has_modules(const struct doctor *d);
