/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The driver itself: its tree in the store, its user space and sources in the container's root, its modules for the kernel. Each part
 * is looked at first and made only when it is not there. */

#include "container-ktree.h"
#include "container.h"
#include "parse.h"

/* What this run wants of a kernel's build tree. Borrows from c. */
struct container_ktree_options container_ktree_wishes(const struct container *c);

/* A vGPU guest's driver version is the catalog's choice for the host it runs on, unless the environment switches that off; then and
 * elsewhere it is DRIVER_VERSION. ERR_VGPU_NO_MATCH; what cannot be counted is treated as passthrough, and said. */
int container_choose_version(struct container *c, struct err *e);

/* Finds the driver's tree: drivers/NVIDIA-Linux-<arch>-<ver>.run (known to the store by the sums in its header, so a run file seen
 * before is not read again), else the store's tree of that version. Sets tree_id. ERR_DRIVER_NOT_PREPARED, errors of
 * prepare_run(). */
int container_prepare_tree(struct container *c, struct err *e);

/* Puts the user space into the container's root unless the record there names this very tree and every file has its size. */
int container_prepare_userspace(struct container *c, struct err *e);

/* Which flavour of the modules: as the environment says, else by branch, cards and what the driver says of them. Sets
 * flavour. ERR_UNSUPPORTED names the cards that no single flavour serves. */
int container_prepare_flavour(struct container *c, struct err *e);

/* usr/src/nvidia-<ver>/: LICENSE, mkprecompiled, the sources of the flavour, the filtered .manifest. */
int container_prepare_sources(struct container *c, struct err *e);

/* Finds the module set for the kernel in the store (no compiler, no network, no kernel tree), verifies it and sets set_key.
 * 1 = found, 0 = there is none. */
int container_find_modules(struct container *c, struct err *e);

/* The same; where the store has none, a bundle's set, then that of a package of ready modules is put there first. */
int container_take_modules(struct container *c, struct err *e);

/* The same, and builds it when there is none. */
int container_build_modules(struct container *c, struct err *e);

/* When nvidia-peermem was refused: finds or builds the set against the network driver's symbols as they are now. 1 = set_key is another
 * set than before, 0 = it was made against these already, or there are none. */
int container_modules_for_network(struct container *c, struct err *e);

/* Puts the set's modules below lib/modules/<k>/kernel/drivers/video, its Module.symvers beside the sources, labels them where the
 * node demands it, and runs depmod if anything changed. */
int container_install_modules(struct container *c, struct err *e);

/* Pure: the installer's file list with only the kernel's part: eight lines unchanged, of the others those that begin with
 * "kernel" or "LICENSE". Caller frees. */
int container_manifest_filter(struct span text, char **ret, size_t *ret_len);

/* Pure: version without the suffix of a guest driver's name. Caller frees. */
char *container_plain_version(const char *version);
