/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What one run of an lxc verb works with: the engine, the options, the host's facts, the configuration, the manager; and
 * one container of it. Everything in struct lxc is read-only once lxc_open() returned. */

#include "engine.h"
#include "lxc-backend.h"
#include "lxc-config.h"
#include "lxc-host.h"
#include "lxc-settings.h"

enum lxc_delivery { LXC_DELIVERY_AUTO, LXC_DELIVERY_SHARED, LXC_DELIVERY_TREE, LXC_DELIVERY_RUN };
const char *lxc_delivery_name(enum lxc_delivery d); /* "auto", "shared", "tree", "run" */
int lxc_delivery_parse(const char *s, enum lxc_delivery *ret);

enum lxc_restart { LXC_RESTART_AUTO, LXC_RESTART_NEVER, LXC_RESTART_ALWAYS };
/* What a container has beyond computing. An installation that was asked for one says so in its record, and everything that works
 * on the container later (boots, hooks, checks, further installations) goes on with it. */
enum lxc_extra {
	LXC_EXTRA_GRAPHICS = 1 << 0, /* files, nvidia-modeset, the GPUs' nodes below dev/dri */
	LXC_EXTRA_COMPAT32 = 1 << 1, /* the 32-bit libraries */
	LXC_EXTRA_MIG = 1 << 2, /* capability nodes */
	LXC_EXTRA_IMEX = 1 << 3, /* channels of memory exchange between machines */
	LXC_EXTRA_NVSWITCH = 1 << 4, /* nodes of the switches between GPUs */
	LXC_EXTRA_SOCKETS = 1 << 5, /* of the host's daemons: persistence, fabric manager, MPS */
};
/* ["graphics", …] and back; unknown words are passed over. NULL without memory. */
json_t *lxc_extras_json(unsigned extras);
unsigned lxc_extras_take(const json_t *list);
struct lxc_node_wants lxc_extras_nodes(unsigned extras);

enum lxc_level { LXC_LEVEL_STATIC, LXC_LEVEL_DEVICE, LXC_LEVEL_LIVE, LXC_LEVEL_ALL };

struct lxc_options {
	const char *backend; /* NULL = auto */
	enum lxc_delivery delivery;
	bool toolkit_first; /* --order */
	enum lxc_policy policy;
	bool no_toolkit, container_toolkit; /* --no-toolkit, --container-toolkit */
	const char *snapshot; /* taken of a container before it is changed; NULL = none */
	const char *cuda; /* --cuda VERSION; NULL = the configuration's */
	enum lxc_restart restart;
	unsigned jobs; /* 0 = processors, eight times as many where all share a directory */
	bool keep_runfile, apt_clean, replace_packages;
	unsigned extras; /* enum lxc_extra */
	bool no_extras; /* those of the container's record are not wanted any more */
	bool compat; /* CUDA's compatibility libraries stay where the loader finds them */
	bool allow_no_host_driver, allow_missing_devices, nvcc_warn;
	bool rollback; /* take everything of this run back after a failure */
	bool force;
	enum lxc_level level; /* highest level of verification */
	bool cuda_init; /* and whether CUDA starts */
	struct lxc_config_paths paths;
};

struct lxc {
	struct engine *en; /* borrowed */
	const struct lxc_options *opt; /* borrowed */
	const struct lxc_settings *set; /* borrowed; defaults filled in */
	struct lxc_config *cfg; /* owned */
	struct lxc_host host; /* owned */
	struct lxc_backend *backend; /* owned */
	char *state_dir; /* owned; "<store>/targets" */
	char *live_dir; /* owned; "/run/nvdriver/live" of this machine, absolute */
};

int lxc_open(struct engine *en, const struct lxc_options *opt, const struct lxc_settings *set,
	     struct lxc **ret, struct err *e);
void lxc_freep(struct lxc **x);

/* One container with what is configured, wanted and there. */
struct lxc_ct {
	const struct lxc *x; /* borrowed */
	const char *id; /* conf.id */
	char target[272]; /* "lxc-<id>": its name below targets/ */
	struct lxc_ct_config conf;
	struct lxc_version_choice want; /* <V>; version NULL when the container is not enabled */
	struct lxc_minors gpus;
	struct lxc_nodes nodes; /* on the host, that the container needs */
	struct lxc_facts facts;
	struct lxc_place place;
	unsigned extras; /* asked for now or before */
	json_t *record; /* owned; our own record (lxc-state.h), NULL = none */
	char *clone_of; /* owned; its files are those of another container, by the record in them */
	bool pending; /* no step of this run needed the container to be looked at inside */
	bool unshareable; /* the shared directory cannot be had on this host: `auto` means a copy */
};
void lxc_ct_done(struct lxc_ct *ct);

/* Configuration, host and manager put together: GATE, CONFIG and HOST of the workflow, and the container's own facts.
 * ct->conf.enabled false means that nothing is to be done (and nothing more was looked at). */
int lxc_ct_open(const struct lxc *x, const char *id, struct lxc_ct *ret, struct err *e);
/* The same without asking the manager for the container's state and place: in its own hooks that would wait for ever. */
int lxc_ct_open_host(const struct lxc *x, const char *id, struct lxc_ct *ret, struct err *e);
/* The host's nodes that are missing, and the container's own where it has such. A second run does nothing. */
int lxc_ct_nodes_make(struct lxc_ct *ct, struct err *e);
/* State and place again, after a start or a restart. */
int lxc_ct_refresh(struct lxc_ct *ct, struct err *e);
/* exec in this container, failing unless the status is 0; argv ends with NULL. *ret_out (may be NULL): caller frees. */
int lxc_ct_run(const struct lxc_ct *ct, const char *what, char *const *argv, unsigned timeout_s,
	       char **ret_out, struct err *e);
/* os-release of the container: read from its root; the template's name when it cannot be. ERR_LXC_OS for systems the
 * driver cannot run on. Both strings owned by the caller (os_release_done). */
int lxc_ct_os(const struct lxc_ct *ct, struct os_release *ret, struct err *e);
