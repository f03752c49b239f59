/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The hypervisor set-up's two JSON files, read as they are and never written: which containers want a GPU, which driver,
 * where from. Without any file the command line alone decides (lxc_config_none()).
 *
 * Every rule is checked before anything is touched; a broken one is ERR_LXC_CONFIG (or ERR_LXC_VERSIONS when two places name
 * different versions), naming file, key and value. */

#include "err.h"
#include "host.h"
#include "parse.h"

#include <jansson.h>

#define LXC_CONFIG_DEFAULT     "/usr/local/phoenix_hypervisor/etc/phoenix_lxc_configs.json"
#define LXC_CONFIG_OLD	       "/usr/local/etc/phoenix_lxc_configs.json"
#define LXC_HYPERVISOR_DEFAULT "/usr/local/phoenix_hypervisor/etc/phoenix_hypervisor_config.json"
#define LXC_INHERIT_DEPTH_MAX  16

/* Paths named by option or environment; NULL = not named. */
struct lxc_config_paths {
	const char *lxc_config; /* --lxc-config, else LXC_CONFIG_FILE, else PHOENIX_LXC_CONFIG_FILE */
	const char *hypervisor_config; /* --hypervisor-config, else HYPERVISOR_CONFIG_FILE */
};

struct lxc_config {
	char *lxc_path, *hypervisor_path; /* owned; for messages; NULL = no such file */
	json_t *lxc, *hypervisor; /* owned; NULL = no such file */
	char **warnings; /* owned; sentences about older places and spellings */
};

/* What is known of one container. Strings owned, NULL = not said. */
struct lxc_ct_config {
	char *id;
	char *name;
	bool configured; /* the container file has an entry */
	bool enabled; /* GATE: the NVIDIA part is wanted */
	char *
	    assignment; /* "0,1", UUIDs or PCI addresses; NULL = all GPUs (no configuration), "none" when disabled */
	bool unprivileged, unprivileged_known;
	bool has_id_maps, has_snapshots, unconfined;
	char *version; /* <V>; NULL = the host's */
	char *version_from; /* "<file>: <key>", for messages */
	char *url; /* of the run file, as configured; NULL = to be built */
	char *runfile; /* its name, "NVIDIA-Linux-x86_64-535.261.03.run"; NULL without version */
	char *sha256; /* pinned digest */
	char *repo_url; /* CUDA repository, replaces the computed one */
	char *cuda_version; /* "12.8", "12.8.1", "12"; NULL = no toolkit */
	char *os_id, *os_version; /* from the template's name along clone_from_ctid; NULL = unknown */
	char **dependents; /* containers to restart after this one; reported only */
};

void lxc_config_freep(struct lxc_config **c);
void lxc_ct_config_done(struct lxc_ct_config *c);

/* Reads both files through the host's root. A file that was named must exist; the default ones may be missing. */
int lxc_config_load(const struct host *h, const struct lxc_config_paths *paths, struct lxc_config **ret,
		    struct err *e);
/* The same from bytes; an empty span is a missing file. */
int lxc_config_parse(struct span lxc, const char *lxc_path, struct span hypervisor,
		     const char *hypervisor_path, struct lxc_config **ret, struct err *e);

/* Ids of all containers of the container file, or only those with the NVIDIA part enabled. Caller frees. */
int lxc_config_ids(const struct lxc_config *c, bool only_enabled, char ***ret);

/* One container by the look-up rule: its own entry, the root of the file, the hypervisor file. arch is "x86_64" or
 * "aarch64". Without any container file every id is fine; with one an unknown id is ERR_LXC_CONFIG. */
int lxc_config_container(const struct lxc_config *c, const char *id, const char *arch, bool is_pve,
			 struct lxc_ct_config *ret, struct err *e);

/* behavior.rollback_on_failure and behavior.debug_mode; the default when absent. */
bool lxc_config_flag(const struct lxc_config *c, const char *key, bool otherwise);

/* "file: key" rules of 1.5, for options given on the command line as well. */
bool lxc_version_is_valid(const char *s);
bool lxc_cuda_version_is_valid(const char *s);
bool lxc_assignment_is_valid(const char *s);
/* Version in a run file's name; ERR_LXC_CONFIG-worthy -EINVAL for any other name. Caller frees. */
int lxc_runfile_version(const char *name, char **ret_arch, char **ret_version);
/* "ubuntu-24.04-standard_24.04-2_amd64.tar.zst" → ubuntu, 24.04. -ENOENT. Both: caller frees. */
int lxc_template_os(const char *template, char **ret_id, char **ret_version);
