/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* NVIDIA's vGPU releases as data/vgpu-*.csv list them: host drivers (the register), guest drivers, community unlock
 * patches, and the map from branch to versions and end of life. Read once into memory from gpu_info.db.
 * Strings are owned by the catalog and never NULL; "" = the table is silent. */

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

/* The register, in its order, which is the menu's order. */
struct catalog_driver {
	char *branch; /* "17.5" */
	char *version; /* "550.144.02" */
	char *file, *md5; /* md5 "" = not known */
	char *url_kind, *url; /* "alist", "mega", "auto" (found at run time), "portal" (by hand) */
	char *patch_file; /* "" = no mapped unlock patch */
	char *install_args;
	char *kernel_min, *kernel_max, *kernel_notes; /* of the driver as published */
	char *pve_min, *pve_max, *arch_min;
	char *native_only; /* "yes" or "no" */
	char *menu_note, *notes;
};

struct catalog_guest {
	char *branch, *os; /* os: "linux" or "windows" */
	char *version, *file, *url, *notes;
};

struct catalog_patch {
	char *branch, *version, *file,
	    *path; /* path: below the clone's parent, "vgpu-proxmox/550.144.02.patch" */
	char *status; /* "mapped", "unmapped", "mapped-missing" */
	char *kernel_max; /* newest kernel the patched driver builds for */
	char *sha256; /* of the newest copy seen */
	char *nul_in_header, *restores_pascal, *notes;
};

struct catalog_release {
	char *branch, *driver_branch, *lifecycle; /* "R550"; "production" or "long-term" */
	char *host_version, *guest_linux, *guest_windows;
	char *released, *eol; /* "2025-06-03", "2028-07" */
	char *package, *package_md5, *package_sha256, *notes;
};

struct catalog {
	struct catalog_driver *drivers;
	struct catalog_guest *guests;
	struct catalog_patch *patches;
	struct catalog_release *releases;
	size_t n_drivers, n_guests, n_patches, n_releases;
};

/* path as for gpu_db_open(). -ERR_GPU_TABLE. */
int catalog_load(const char *path, struct catalog **ret, struct err *e);
void catalog_freep(struct catalog **c);

/* Look-ups; NULL when there is none. Borrowed. */
const struct catalog_driver *catalog_driver(const struct catalog *c, const char *branch);
const struct catalog_driver *catalog_driver_by_file(const struct catalog *c,
						    const char *file); /* first row */
const struct catalog_driver *catalog_driver_by_version(const struct catalog *c, const char *version);
const struct catalog_driver *catalog_driver_newest(const struct catalog *c, unsigned major);
const struct catalog_guest *catalog_guest(const struct catalog *c, const char *branch, const char *os);
const struct catalog_patch *catalog_patch(const struct catalog *c, const char *branch);
const struct catalog_release *catalog_release(const struct catalog *c, const char *branch);

unsigned catalog_major(const char *branch); /* "17.5" → 17 */

/* Version of a host driver's file name "NVIDIA-Linux-x86_64-<version>-vgpu-kvm[-custom].run"; caller frees. -EINVAL. */
int catalog_file_version(const char *file, char **ret);

/* Newer of two dotted versions by numeric groups: kernels ("6.14"), branches ("16.10" > "16.9"). A bound such as 6.8
 * covers 6.8.12: only as many groups as `bound` has are compared. -1, 0, 1. */
int catalog_compare(const char *version, const char *bound);
