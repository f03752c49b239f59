/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The CUDA toolkit in a container, through the container's own package tool. Everything that talks to the container
 * goes through one function, so the same code serves every manager, a changed root, and recorded answers.
 *
 * Nothing here may bring a second driver: names that would are refused before anything runs, and what the package tool
 * would install is read before it does. Packages stay when a run is taken back; the caller says so. */

#include "err.h"
#include "lxc-backend.h"
#include "lxc-osrepo.h"

struct toolkit_inside {
	/* As exec of struct lxc_backend_ops: 0 with x->status filled whatever it is. */
	int (*exec)(void *arg, struct lxc_exec *x, struct err *e);
	void *arg;
	int root_fd; /* the container's root for looking at it; borrowed, -EBADF = it cannot be reached */
};

/* All borrowed. */
struct toolkit_want {
	enum osrepo_tool tool;
	const char *list_path; /* of the CUDA repository, relative to the root; NULL = no repository */
	const char *cuda; /* "12.8", "12.8.1", "12"; NULL = no toolkit */
	const char *driver; /* its version; NULL = unknown */
	bool fetch_tools; /* what the vendor's installer needs besides a compiler */
	bool graphics; /* what graphics files are built against */
	bool container_toolkit; /* containers that run containers */
	bool no_cgroups; /* and may not change device filters: no root of the host */
	bool nvcc_warn; /* a wrong nvcc is only warned about */
	bool clean; /* drop what the package tool downloaded */
	unsigned attempts, pause_ms; /* package lists */
	unsigned timeout_s, install_timeout_s; /* 0 = 120, 3600 */
};

/* -- names (pure) -- */
/* "cuda-toolkit-12-8"; *ret_version "12.8.1-1" or NULL. Both: caller frees. -EINVAL. */
int toolkit_package(const char *cuda, char **ret_name, char **ret_version);
/* The same rule for a part: "cuda-nvcc" and "12.8" give "cuda-nvcc-12-8". */
int toolkit_part(const char *part, const char *cuda, char **ret);
/* ERR_CUDA_PACKAGE for the names that bring a driver ("cuda", "cuda-12-8", "cuda-runtime-12-8", "cuda-drivers"). */
int toolkit_package_check(const char *name, struct err *e);

/* -- answers (pure) -- */
/* Names in a simulation's output that would be installed or upgraded. *ret (strv, caller frees) NULL = nothing. */
int toolkit_plan_parse(enum osrepo_tool tool, struct span out, char ***ret);
/* Names of driver packages a failed simulation says it cannot have (kept out by the pin). */
int toolkit_unmet_parse(struct span out, char ***ret);
/* Bytes to fetch and bytes on disk afterwards, as apt says them; 0 = not said. */
void toolkit_space_parse(struct span out, uint64_t *ret_fetch, uint64_t *ret_disk);
/* "release 12.8," of nvcc's answer. Caller frees; -ENOENT. */
int toolkit_nvcc_parse(struct span out, char **ret);
/* Does the container tools' configuration say that device filters are left alone? */
bool toolkit_has_no_cgroups(struct span config);
/* Do the fields of `want` ("12" or "12.8" or "12.8.1") agree with what nvcc says ("12.8")? */
bool toolkit_nvcc_agrees(const char *want, const char *have);

/* Is the driver new enough for this CUDA version? ERR_CUDA_OLD_DRIVER below the minimum. *ret_full (may be NULL): version
 * that has everything, when the driver has not; else NULL; static. */
int toolkit_driver_check(const char *cuda, const char *driver, const char **ret_full, struct err *e);

/* -- the container -- */
/* Of the names those not installed. */
int toolkit_missing(const struct toolkit_inside *in, const struct toolkit_want *w, char *const *names,
		    char ***ret, struct err *e);
/* nvcc of usr/local/cuda, of the path, of usr/local/cuda-<M.m>. ERR_CUDA_NVCC. */
int toolkit_nvcc_check(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e);
/* 1 = everything wanted is there; nothing is changed, no network. A container that cannot run commands is looked at from
 * outside. */
int toolkit_is_done(const struct toolkit_inside *in, const struct toolkit_want *w, bool running,
		    struct err *e);
/* Lists, simulation, prerequisites, space, installation, nvcc. Only what is missing is asked for; with nothing missing
 * no network is used. ERR_CUDA_… , ERR_TIMEOUT, errors of exec. Nothing has been installed when the
 * repository cannot be used or a driver would come along. */
int toolkit_install(const struct toolkit_inside *in, const struct toolkit_want *w, struct err *e);
