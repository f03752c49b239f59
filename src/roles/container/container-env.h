/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the operator tells the container through its environment: each variable once, checked, with its default. */

#include "err.h"

#include <stdbool.h>

enum module_type {
	MODULE_TYPE_AUTO,
	MODULE_TYPE_OPEN,
	MODULE_TYPE_PROPRIETARY,
};

/* What may be left open on the command line: said by the environment, else by the configuration file. 0 and false = not said. */
struct container_defaults {
	unsigned grace_s; /* NVDRIVER_GRACE, grace */
	unsigned fabric_wait_s; /* NVDRIVER_FABRIC_WAIT, fabric-wait */
	unsigned module_sets; /* NVDRIVER_MODULE_SETS, module-sets */
	bool detach; /* NVDRIVER_DETACH=true, detach */
	bool drm; /* NVDRIVER_DRM=true, drm */
	bool device_nodes; /* NVDRIVER_DEVICE_NODES=true, device-nodes */
	bool install_packages; /* NVDRIVER_INSTALL_PACKAGES=true, install-packages */
	bool iommu_identity; /* NVDRIVER_IOMMU_IDENTITY=true, iommu-identity */
};

struct container_env {
	char *
	    driver_version; /* DRIVER_VERSION; NULL when unset: only the peer-memory commands can do without */
	char *
	    arch; /* TARGETARCH: amd64 is x86_64, arm64 is aarch64, anything else as it is; NULL when unset */
	unsigned driver_branch; /* DRIVER_BRANCH, else the first field of the version; 0 when neither says */
	bool vgpu; /* DRIVER_TYPE=vgpu */
	bool license_nls; /* VGPU_LICENSE_SERVER_TYPE=NLS */
	bool vgpu_version_check; /* false with DISABLE_VGPU_VERSION_CHECK=true */
	enum module_type
	    module_type; /* KERNEL_MODULE_TYPE; unset: OPEN_KERNEL_MODULES_ENABLED decides if set, else auto */
	bool use_host_mofed; /* USE_HOST_MOFED=true */
	bool rdma_wanted; /* GPU_DIRECT_RDMA_ENABLED=true; active only with a network device beside it */
	bool
	    ignore_preempt_rt; /* IGNORE_PREEMPT_RT_PRESENCE=1: build for a fully preemptible kernel all the same */
	bool gds, gdrcopy; /* GDS_ENABLED, GDRCOPY_ENABLED =true */
	char *releasever; /* DNF_RELEASEVER; NULL = from the kernel */
	char *rhel_version; /* RHEL_VERSION; NULL = found out */
	char *openshift_version; /* OPENSHIFT_VERSION; NULL = none */
	char *config_digest; /* DRIVER_CONFIG_DIGEST; NULL when unset or empty */
	char *bundle; /* NVDRIVER_BUNDLE: a bundle, or a directory that holds some; NULL = the usual places */
	char *
	    bundle_cert; /* NVDRIVER_BUNDLE_CERT: only bundles this certificate signed; NULL = digests alone */
	bool rhcos_image_missing; /* RHCOS_IMAGE_MISSING=true */
	char *
	    *fabric_config; /* strv "KEY=value" from NVFM_CONFIG_KEY=value, in the order of the environment */
	struct container_defaults defaults;
};

/* Reads a strv of "NAME=value" (an environ, or /proc/PID/environ split at NULs). An empty value is an unset one.
 * Returns 0, or -ERR_CONFIG for a KERNEL_MODULE_TYPE that is none of its three words, a DRIVER_BRANCH that is no number, a
 * time that is none. */
int container_env_read(char *const *environment, struct container_env *ret, struct err *e);
void container_env_done(struct container_env *env);

/* 0, or -ERR_CONFIG naming the variable, when DRIVER_VERSION or TARGETARCH is missing. */
int container_env_require_driver(const struct container_env *env, struct err *e);
