/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The peer-memory side container: keep nvidia-peermem loaded beside a network driver that comes and goes, and say in a
 * health probe whether it is. */

#include "container.h"
#include "modload.h"

/* Where the operator's containers leave what we wait for, below the machine's root. */
#define CONTAINER_READY_FLAG	 "run/nvidia/validations/.driver-ctr-ready"
#define CONTAINER_MOFED_FLAG	 "run/mellanox/drivers/.driver-ready"
#define CONTAINER_EXPORT	 "run/nvidia/driver"
#define CONTAINER_PEERMEM_POLL_S 10

struct container_peermem_ops {
	/* Loads the module. A failure ends the loop. */
	int (*load)(void *arg, struct err *e);
	/* Waits up to that long; true = a signal asks to stop. NULL: interrupt_sleep(). */
	bool (*sleep)(void *arg, unsigned ms);
	/* One line per change of state. NULL: log_info(). */
	void (*say)(void *arg, const char *text);
	void *arg;
};

/* Waits until GPU driver and network driver are ready (host_mofed: module mlx5_core instead of the network driver container's
 * flag), loads the module if it is absent, then watches: when it disappears, all over again. Returns 0 when a signal asked
 * to stop, which every wait sees at once, or the error of load(). */
int container_peermem_reload(const struct host *h, bool host_mofed, const struct container_peermem_ops *ops,
			     struct err *e);

/* What load() does for real: nvidia-peermem of the running kernel from the exported root, with the options that root's
 * modprobe.d and this machine's give. -ERR_MODULE_MISSING, the codes of modload_load(), or -ERR_PEERMEM_ABI when it was built
 * against another network driver. */
int container_peermem_load(const struct host *h, const struct modload_ops *ops, struct err *e);

/* After -ERR_PEERMEM_ABI: the set made against the network driver's present symbols is found or built in the store, and its module
 * loaded. The environment must wish for RDMA, as the side container's does not say itself. The exported root keeps the modules it
 * has until the driver container starts again. -ERR_PEERMEM_ABI when there are no symbols to build against, or that one is
 * refused too. */
int container_peermem_rebuild(struct container *c, struct err *e);

/* Health: two or three looks at sys/module, nothing opened on the GPU, no process. Returns 0 (healthy, or no network driver to
 * be peer of) with a sentence of static storage, or -ERR_PEERMEM_ABSENT. */
int container_peermem_probe(const struct host *h, const char **ret_text, struct err *e);
