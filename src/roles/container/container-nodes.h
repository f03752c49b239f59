/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Device nodes of the driver, for nodes (machines) where neither udev nor nvidia-modprobe makes them. Only
 * where somebody asked. */

#include "container.h"
#include "parse.h"

/* One character device below dev/. */
struct device_node {
	char *name; /* owned: "nvidia0", "nvidia-caps/nvidia-cap1" */
	unsigned major, minor;
	mode_t mode;
};
struct device_nodes {
	struct device_node *v; /* owned */
	size_t n;
};
void device_nodes_done(struct device_nodes *l);

/* Pure: a character device's major in the text of proc/devices; -ENOENT. Block devices of the name do not count. */
int device_major(struct span devices, const char *name, unsigned *ret);
/* Pure: "Name: <number>" in a text of the driver's proc files; -ENOENT, or -EINVAL (also above `max`). */
int device_field(struct span text, const char *name, uint64_t max, uint64_t *ret);

/* What the loaded driver has nodes for: nvidiactl, nvidia-modeset, nvidiaN per GPU of proc/driver/nvidia/gpus, nvidia-uvm and
 * nvidia-uvm-tools, and per file of proc/driver/nvidia/capabilities one below nvidia-caps with the mode it asks for. What the
 * kernel does not name is left out. 0 or -errno. */
int container_nodes_list(const struct host *h, struct device_nodes *ret);

/* Makes those that are missing or have another number. Nothing to do unless asked for. A file or link in the way is -EEXIST. */
int container_nodes_make(struct container *c, struct err *e);
/* After unloading: takes away those this run made. */
void container_nodes_remove(struct container *c);
