/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The vGPU driver catalog: which guest driver may run over which host driver, and the choice among those at hand. */

#include "container-pcicap.h"
#include "parse.h"

#include <jansson.h>

struct catalog_gpu {
	char *devid, *ssid; /* lower case "0x20b5"; ssid may be NULL */
};

/* One side, allow or deny, of an entry. An allow list counts only when it is not empty. */
struct catalog_side {
	char **cpu, **branch, **driver; /* strv; driver: versions */
	struct catalog_gpu *gpu;
	size_t n_gpu;
};

struct catalog_entry {
	bool is_host; /* type: host or guest */
	char *branch; /* a branch entry's name, a driver entry's branch */
	char *version, *date; /* driver entries; date "YYYY-MM-DD", NULL when it has none */
	char **os;
	struct catalog_side allow, deny;
	unsigned line;
};

struct catalog_entries {
	struct catalog_entry *v;
	size_t n;
};

struct catalog {
	uint64_t version;
	struct catalog_entries branches, drivers;
};

/* YAML text to a catalog. -ERR_VGPU_CATALOG with the line for anything the format does not know. */
int catalog_parse(struct span text, struct catalog *ret, struct err *e);
void catalog_done(struct catalog *c);

/* The choice for one virtual GPU among `available` (strv of versions without suffix): rules of the catalog, newest date first,
 * one of the host's branch before all others. *ret is borrowed from the catalog. -ERR_VGPU_NO_MATCH says at which rule it
 * ended. Pure. */
int catalog_match(const struct catalog *c, const struct pcicap_device *gpu, char *const *available,
		  const struct catalog_entry **ret, struct err *e);

/* Where a choice looks, as absolute paths below the machine's root. */
struct container_vgpu_places {
	const char *installers; /* directory with NVIDIA-Linux-x86_64-<version>-grid.run */
	const char *catalog;
};
/* /drivers, or the OpenShift builder's shared copy of it when that exists. Static storage. */
void container_vgpu_places(const struct host *h, struct container_vgpu_places *ret);

/* 1 = *ret_version (caller frees) is the guest driver to use, "535.129.03-grid"; 0 = no virtual GPU here. Each step is a JSON line
 * in var/log/vgpu-util.log, the reason of a failure too. Errors: those of pcicap_list_read(), -ERR_VGPU_CATALOG,
 * -ERR_VGPU_NO_MATCH. */
int container_vgpu_choose(const struct host *h, const struct container_vgpu_places *places,
			  char **ret_version, struct err *e);

/* One line in that log; object is stolen. A log that cannot be written is a warning, once. */
void container_vgpu_log(const struct host *h, const char *level, const char *message, json_t *object);
