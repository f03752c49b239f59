/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Before containers start: nodes, the shared directory, configurations. And the moments of one container's start at which
 * LXC calls us. */

#include "lxc.h"
#include "strbuf.h"

#include <jansson.h>

#define LXC_BOOT_UNIT	"nvidia-gpu-init.service"
#define LXC_WATCH_UNIT	"nvidia-gpu-sync.service"
#define LXC_WATCH_RULES "71-nvdriver-lxc.rules"
#define LXC_BOOT_TARGET "boot-lxc" /* of the unit's own deployment */

/* The unit that calls `program lxc sync --boot` (with --store unless store is NULL) before any container manager starts.
 * Pure. */
int lxc_boot_unit_text(const char *program, const char *store, struct strbuf *out);
/* The one that calls `program lxc sync --wait` when another driver was loaded, and the rules of udev that start it. Pure. */
int lxc_watch_unit_text(const char *program, const char *store, struct strbuf *out);
extern const char lxc_watch_rules[];
/* May a unit of that name be replaced: is it an earlier one of ours or the one that only ran nvidia-smi? Pure. */
bool lxc_boot_unit_is_known(struct span text);
/* Installs and enables the unit where the host has systemd, and with udev the watch, as a deployment of its own; nothing happens when it is so. A
 * unit of somebody else is left, with a warning. With dry_run only text (may be NULL) receives what would be done. */
int lxc_boot_unit_install(const struct lxc *x, struct strbuf *text, struct err *e);
/* Takes it back; without one nothing happens. */
int lxc_boot_unit_remove(const struct lxc *x, struct err *e);

/* `sync --boot`: modules, nodes, the shared directory with the host's version, and the configuration of every container
 * with a record; no container is started and nothing is fetched. report: {result, current, containers: []}. Answers the worst
 * status of a container (0 = all well). */
int lxc_sync_boot(struct lxc *x, json_t *report, struct err *e);

/* Waits until the driver whose module is being loaded has started, and its second module is there or does not come by itself;
 * then reads the host's facts again. 1 = a driver is loaded, 0 = none is (any more). */
int lxc_driver_wait(struct lxc *x, struct err *e);

/* lxc.hook.pre-start: the nodes and the shared directory are made; ERR_LXC_MISMATCH when the container would start with
 * another driver than the host's. A container that has nothing of us is none of our business. */
int lxc_hook_pre_start(const struct lxc *x, const char *id, struct err *e);
/* lxc.hook.start-host: nodes that are not usable in the container of this process are warned about. How many. */
int lxc_hook_start_host(const struct lxc *x, const char *id, pid_t pid, struct err *e);
