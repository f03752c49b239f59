/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One run of the driver container: what was asked, the two roots it works between, and what the steps learn on the way. */

#include "container-env.h"
#include "container-lock.h"
#include "container-ops.h"
#include "engine.h"

#define CONTAINER_RUN_DIR      "run/nvidia"
#define CONTAINER_EXPORT_DIR   CONTAINER_RUN_DIR "/driver"
#define CONTAINER_STATE_FILE   "nvidia-driver.state"
#define CONTAINER_STATUS_FILE  "nvidia-driver.status.json"
#define CONTAINER_DAEMONS_FILE "validations/.driver-daemons-status"
#define CONTAINER_HOOK	       "run/kernel/postinst.d/update-nvidia-driver"
#define CONTAINER_DRIVERS_DIR  "drivers"
#define CONTAINER_DAEMON_COUNT 6

struct container_options {
	bool accept_license;
	const char *kernel; /* NULL = the running one */
	const char *kernel_source; /* explicit build tree; NULL = found */
	const char *key, *cert; /* sign with these; both or neither */
	const char *tag; /* "builtin": the package manager is left alone */
	const char *host_root; /* the node's root; NULL = proc/1/root below the container's */
	unsigned max_threads; /* 0 = as many as fit */
	unsigned grace_s; /* from the signal to the kill; 0 = 30 */
	unsigned fabric_wait_s; /* 0 = 600 */
	unsigned module_sets; /* as many stay in the store; 0 = 16 */
	bool detach; /* leaving with the driver in use: take the export away all the same */
	bool with_drm; /* load nvidia-drm too */
	bool install_packages; /* where a devel package cannot be unpacked privately */
	bool device_nodes; /* make those of the driver in /dev */
	bool iommu_identity; /* ask for the IOMMU group type "identity" before loading */
};

struct container {
	struct engine *en; /* borrowed; its store holds trees and module sets */
	const struct host *h; /* borrowed: the container's root */
	struct host *node; /* owned: the node's root, through proc/1/root */
	const struct container_env *env; /* borrowed */
	struct container_options o;
	const struct container_ops *ops; /* borrowed */
	struct plan_state state; /* owned: journal and deployments live and die with the container's root */
	struct container_lock lock;
	char *release; /* owned: kernel the modules are for */
	char *version; /* owned: driver version; vGPU guests: with "-grid" */
	char *flavour; /* owned: "proprietary" or "open"; NULL until known */
	char tree_id[65], set_key[65]; /* "" until known */
	json_t *status; /* owned: what the status file says */
	char **nodes_made; /* owned: strv, below the root; device nodes of this run */
	bool fast; /* the loaded modules are kept (23.6) */
	bool headers_mounted; /* the kernel's build tree, by this run */
	bool refused; /* the last shutdown was: the PID file stays */
	bool staying; /* everything is up: a signal is a wish to end, not an interruption */
	int kept_signal; /* that wish, when it came while something else was waited for */
	bool started[CONTAINER_DAEMON_COUNT]; /* daemons this run is responsible for */
};

/* Fills what is still open; called for the source that wins first. */
void container_options_fill(struct container_options *o, const struct container_defaults *d);

/* Takes the parts together; nothing is changed. The caller frees with container_done() what it borrowed nothing of. */
int container_init(struct engine *en, const struct container_env *env, const struct container_options *o,
		   const struct container_ops *ops, struct container *ret, struct err *e);
void container_done(struct container *c);

/* Where the store is unless somebody says: the node's var/lib/nvdriver when it can be written, else run/nvidia/nvdriver,
 * both below the container's root. Caller frees; NULL without memory. */
char *container_default_store(const char *root, const char *host_root);
/* The same for commands that may have to build: the running node's is made part of our own mounts first where that can be
 * done (container-nodestore.h). */
char *container_work_store(const char *root, const char *host_root);

/* A path of the container's root as system calls take it. Caller frees. */
char *container_path(const struct container *c, const char *relative);

/* Applies a plan against the container's root under its own state, and says its title. 1 = something changed. */
int container_apply(struct container *c, struct plan *p, struct err *e);
int container_plan_new(const char *title, struct plan **ret, struct err *e);

/* A pause; a signal during the start becomes -ERR_INTERRUPTED. */
int container_sleep(struct container *c, unsigned ms, struct err *e);

/* Active: GPUDirect RDMA was asked for and there is a network device of the one vendor that has it. */
bool container_rdma_active(const struct container *c);

/* 0 = entries of type, size and link text as listed ({path, type, size or size_bytes, target}), 1 = something differs. Contents are not read. */
int container_entries_differ(int root_fd, const json_t *entries);
