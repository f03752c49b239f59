/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is the driver in a container the right one, and does it work? Three levels:
 *   static  what the loader would find, read from the container's root by this process alone
 *   device  each node opened inside, in the container's own device cgroup, as root and as an ordinary user
 *   live    nvidia-smi run inside, its answer compared with the configuration and the host */

#include "lxc.h"

/* -- static -- */
struct lxc_static {
	char *version; /* <U>, owned; NULL = no driver found */
	char *problem; /* owned: sentence; NULL = consistent */
	bool reachable; /* the root could be looked at */
};
void lxc_static_done(struct lxc_static *s);
/* root_fd as of lxc_place_open(). live_fd (-EBADF = none): the host's shared directory, for a stopped container whose
 * mount is only made at its start. Only errors of the machine are errors. */
int lxc_static_check(int root_fd, int live_fd, const char *machine, struct lxc_static *ret, struct err *e);

/* -- device -- */
enum lxc_node_verdict {
	LXC_NODE_OK,
	LXC_NODE_MISSING,
	LXC_NODE_REGULAR,
	LXC_NODE_KIND_OTHER,
	LXC_NODE_NUMBER,
	LXC_NODE_CGROUP,
	LXC_NODE_OWNER,
	LXC_NODE_STALE,
	LXC_NODE_ERROR
};
const char *lxc_node_verdict_text(enum lxc_node_verdict v);
/* What an open that failed with `error` (positive errno) says. */
enum lxc_node_verdict lxc_node_verdict_of(int error);
/* One stat per node, nothing is opened and no process started: missing, regular file, wrong number. */
enum lxc_node_verdict lxc_node_look(int root_fd, const char *path, unsigned major, unsigned minor);
/* Every required node opened inside. *ret_list (caller decrefs): [{path, verdict, text, user}] of the bad ones.
 * Returns how many are bad. nodes: array of {path, major, minor, required}. */
int lxc_device_check(const struct lxc_place *place, const json_t *nodes, json_t **ret_list, struct err *e);

/* -- live -- */
enum lxc_smi_verdict {
	LXC_SMI_OK,
	LXC_SMI_NO_DRIVER,
	LXC_SMI_CGROUP,
	LXC_SMI_MISMATCH,
	LXC_SMI_NO_LIBRARY,
	LXC_SMI_NO_DEVICES,
	LXC_SMI_PERMISSION,
	LXC_SMI_GPU_LOST,
	LXC_SMI_NOT_INSTALLED,
	LXC_SMI_HANGS,
	LXC_SMI_OTHER
};
const char *lxc_smi_verdict_text(enum lxc_smi_verdict v);
/* What a failed run of nvidia-smi means, by its status and text. timed_out wins. */
enum lxc_smi_verdict lxc_smi_verdict_of(int status, struct span out, bool timed_out);
/* Versions of a successful --query-gpu answer: all lines equal and a version; how many lines. -EINVAL. */
int lxc_smi_parse(struct span out, char **ret_version, size_t *ret_lines);
/* The same from the plain output ("Driver Version:") or that of --version ("DRIVER version"); -ENOENT. */
int lxc_smi_parse_plain(struct span out, char **ret_version);

/* -- all together -- */
struct lxc_check {
	struct lxc_backend *backend;
	const char *id;
	const struct lxc_place *place;
	enum lxc_state state;
	const char *want, *host; /* <V>, <H> (NULL = none loaded) */
	const char *machine;
	const json_t *nodes; /* as of lxc_nodes_json() */
	size_t n_gpus;
	enum lxc_level level;
	int live_fd; /* -EBADF = none */
	bool allow_missing_devices;
};
/* Appends {level, problem, slug} to `problems` and answers how many, 0 when all is right. *ret_user (may be NULL): <U>. */
int lxc_check_run(const struct lxc_check *c, json_t *problems, char **ret_user, struct err *e);
