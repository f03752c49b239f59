/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the host has: the loaded driver, its GPUs, its device nodes and the cgroup layout. All through struct host; numbers
 * of devices come from proc/devices or from the node itself at the moment of use, never from memory. */

#include "err.h"
#include "host.h"
#include "parse.h"

#include <jansson.h>
#include <sys/types.h>

struct lxc_gpu {
	unsigned minor; /* /dev/nvidia<minor> */
	char pci[20]; /* "0000:01:00.0" */
	char *uuid, *model; /* owned; may be NULL */
};

struct lxc_host {
	char *version; /* <H>, owned; NULL = no driver is loaded */
	bool is_open; /* the open flavour */
	char *user_version; /* of the host's own libnvidia-ml.so.1, owned; NULL = none */
	struct lxc_gpu *gpus; /* owned; sorted by minor */
	size_t n_gpus;
	bool unified; /* cgroup2 alone controls devices */
	char *machine; /* owned; "x86_64", "aarch64" */
};

void lxc_host_done(struct lxc_host *h);
int lxc_host_read(const struct host *h, struct lxc_host *ret, struct err *e);
/* Only the GPUs. -ENOMEM. */
int lxc_gpus_read(const struct host *h, struct lxc_host *ret);
/* The user space waits for a reboot: its version is not the loaded module's. */
bool lxc_host_reboot_pending(const struct lxc_host *h);

/* Pure readers of the kernel's texts. version: first word that is a driver version behind "NVRM version:"; -EINVAL. */
int lxc_nvrm_parse(struct span text, char **ret_version, bool *ret_is_open);
/* "Key: value" lines of a GPU's information file. -EINVAL without a minor or address. */
int lxc_gpu_parse(struct span text, struct lxc_gpu *ret);
/* Major of a name in the "Character devices:" part of proc/devices; -ENOENT. */
int lxc_devices_major(struct span text, const char *name, unsigned *ret);

/* -- version policy -- */
enum lxc_policy { LXC_POLICY_STRICT, LXC_POLICY_FOLLOW_HOST, LXC_POLICY_CONFIG };
int lxc_policy_parse(const char *s, enum lxc_policy *ret);

struct lxc_version_choice {
	const char *version; /* borrowed from `wanted` or the host: what the container gets */
	bool pending_host; /* differs from <H> on purpose, or there is no <H>: verification stays static */
};
/* wanted NULL = the host's. ERR_LXC_NO_DRIVER, ERR_LXC_HOST_VERSION, ERR_LXC_REBOOT. */
int lxc_version_choose(const struct lxc_host *h, enum lxc_policy policy, const char *wanted,
		       bool allow_no_driver, struct lxc_version_choice *ret, struct err *e);

/* -- GPUs of one container -- */
struct lxc_minors {
	unsigned v[256];
	size_t n;
	bool all; /* every GPU the host has */
};
/* "0,1", "GPU-…", PCI addresses; NULL = all. ERR_LXC_GPU names what there is. */
int lxc_assign(const struct lxc_host *h, const char *assignment, struct lxc_minors *ret, struct err *e);

/* -- device nodes -- */
enum lxc_node_kind {
	LXC_NODE_GPU,
	LXC_NODE_CTL,
	LXC_NODE_MODESET,
	LXC_NODE_UVM,
	LXC_NODE_UVM_TOOLS,
	LXC_NODE_CAP,
	LXC_NODE_IMEX,
	LXC_NODE_NVSWITCH,
	LXC_NODE_NVLINK,
	LXC_NODE_DRI
};
struct lxc_node {
	enum lxc_node_kind kind;
	char path[96]; /* "dev/nvidia0", relative to any root */
	unsigned major, minor;
	bool required; /* without it the container is not healthy */
	bool exists; /* on the host, as the right character device */
	mode_t mode; /* it has or would get */
	char capability[128]; /* of LXC_NODE_CAP: its file below proc/, for nvidia-modprobe -f */
};
struct lxc_nodes {
	struct lxc_node *v; /* owned */
	size_t n;
	char *
	    own_dir; /* owned; directory of this container's own nodes (lxc-ownnodes.h), NULL = the host's are passed on */
};
struct lxc_node_wants {
	bool graphics; /* nvidia-modeset and the GPUs' nodes below dev/dri */
	bool mig; /* capability nodes */
	bool imex, nvswitch;
};
void lxc_nodes_done(struct lxc_nodes *n);
/* The nodes a container with these GPUs needs, with the host's numbers as of now. Optional kinds the host does not know
 * (no major) are left out; a required one is listed with major 0 then. */
int lxc_nodes_list(const struct host *h, const struct lxc_host *facts, const struct lxc_minors *gpus,
		   const struct lxc_node_wants *wants, struct lxc_nodes *ret, struct err *e);
/* Makes what is missing: nvidia-modprobe where the machine has it, else mknod with the numbers of proc/devices. A second
 * run does nothing and starts nothing. ERR_LXC_NODE names node and module. Fills `exists` and the numbers again. */
int lxc_nodes_make(const struct host *h, struct lxc_nodes *n, struct err *e);
/* Where on the host the node is that a container gets ("/dev/nvidia0"). Caller frees. */
char *lxc_node_source(const struct lxc_nodes *n, const struct lxc_node *one);
/* [{path, major, minor, required, exists, source}] */
json_t *lxc_nodes_json(const struct lxc_nodes *n);
