/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is known of NVIDIA's GPUs, from the SQLite table gpu_info.db made of data/gpus.csv, and which of them a machine
 * has. A file in the form other programs publish (table gpu_info alone) is read as well; it has no architecture. */

#include "err.h"
#include "host.h"
#include "pci.h"

#include <stdint.h>

struct gpu_info {
	uint16_t device;
	char *name; /* all owned; NULL where the table is silent */
	char *chip; /* "AD102" */
	char *architecture; /* "Ada Lovelace" */
	char *vgpu; /* "Native", "Yes" (with the unlock library), "No" */
	char *branches; /* vGPU branches, "20;19;18" */
};
void gpu_info_done(struct gpu_info *i);

struct gpu_db; /* one thread at a time */

/* path NULL: gpu_info.db in NVDRIVER_DATADIR, else the installed one, else the one of the build tree the program runs
 * from. -ERR_GPU_TABLE. */
int gpu_db_open(const char *path, struct gpu_db **ret, struct err *e);
void gpu_db_freep(struct gpu_db **db);

/* -ENOENT, silently, when the table does not have it. */
int gpu_db_find(struct gpu_db *db, uint16_t device, struct gpu_info *ret, struct err *e);

/* Every row in order of device id; a negative answer of fn stops and is returned. */
typedef int (*gpu_fn)(const struct gpu_info *info, void *arg, struct err *e);
int gpu_db_each(struct gpu_db *db, gpu_fn fn, void *arg, struct err *e);

/* The table as a file other programs read: table gpu_info alone, in the published form. Complete under its name or not there
 * at all; a file of that name is replaced. -errno, -ERR_GPU_TABLE. */
int gpu_db_write(struct gpu_db *db, const char *path, struct err *e);

/* One NVIDIA display function (VGA or 3D controller) of a machine. */
struct gpu {
	struct pci_device pci;
	struct gpu_info info; /* name NULL: not in the table */
};

struct gpu_list {
	struct gpu *v; /* owned, in order of address */
	size_t n;
};

/* db NULL: a machine without our table; no card has a name then. */
int gpu_list_read(const struct host *h, struct gpu_db *db, struct gpu_list *ret, struct err *e);
void gpu_list_done(struct gpu_list *l);

/* "2684", "0x2684" or "10de:2684". 0 or -EINVAL. */
int gpu_parse_device(const char *text, uint16_t *ret);
