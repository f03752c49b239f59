/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a kernel module says about itself, read natively. */

#include "err.h"
#include "modsig.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct modinfo_param {
	char *name, *type, *description; /* type and description may be NULL */
};

struct modinfo {
	char *name, *vermagic, *version, *license, *srcversion, *description; /* NULL when not said */
	char **depends; /* names; NULL when none */
	char **firmware; /* file names; NULL when none */
	char **alias;
	struct modinfo_param *params;
	size_t n_params;
	bool is_signed;
	struct cms_info signature; /* when is_signed */
	const char *compression; /* "none", "xz", "zstd", "gzip" */
	uint64_t size_bytes; /* uncompressed */
};
#define MODINFO_INIT                                                                                         \
	{                                                                                                    \
		0                                                                                            \
	}
void modinfo_done(struct modinfo *m);

/* "xz", "zstd" or "gzip" by the file's first bytes; NULL when it is none of them (or cannot be read). */
const char *module_compression(int fd);

/* Open a module for reading as plain bytes: a compressed one is unpacked into an anonymous file (at most 512 MiB).
 * Returns a descriptor. ret_compression may be NULL. ERR_MODULE_NOT_ELF, ERR_MODULE_COMPRESSION. */
int module_open(int dirfd, const char *path, const char **ret_compression, struct err *e);

/* Read everything above. Pieces are read by offset; the module is never in memory as a whole. ERR_MODULE_NOT_ELF,
 * ERR_MODINFO_INVALID (no or broken .modinfo), ERR_MODSIG_TRAILER, ERR_CMS_INVALID. */
int modinfo_read_at(int dirfd, const char *path, struct modinfo *ret, struct err *e);
int modinfo_read_fd(int fd, struct modinfo *ret, struct err *e);

/* Pure: the bytes of a .modinfo section ("key=value" strings, each ending with NUL). */
int modinfo_parse(const char *section, size_t len, struct modinfo *ret, struct err *e);

/* Facts about the ELF file itself: machine (EM_*), and whether it holds what a loadable module must. */
struct module_shape {
	uint16_t machine, type;
	bool has_this_module, has_modinfo;
	uint64_t modinfo_offset, modinfo_size;
};
int module_shape_fd(int fd, struct module_shape *ret, struct err *e);
