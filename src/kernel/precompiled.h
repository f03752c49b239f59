/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Precompiled kernel packages, format version 2 (see docs/precompiled-format.md): a header that names the driver and
 * the exact kernel, then files: interface objects to be linked with the driver's core objects, and whole modules. */

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PRECOMPILED_FILES_MAX  64u
#define PRECOMPILED_STRING_MAX ((size_t)64 << 10)

enum precompiled_type { PRECOMPILED_INTERFACE = 0, PRECOMPILED_MODULE = 1 };

/* Attribute bits */
#define PRECOMPILED_DETACHED_SIGNATURE 1u
#define PRECOMPILED_LINKED_CRC	       2u
#define PRECOMPILED_EMBEDDED_SIGNATURE 4u

struct precompiled_file {
	enum precompiled_type type;
	uint32_t attributes;
	char *name; /* "nv-linux.o" */
	char *linked_name; /* interface only, else "": "nvidia.ko" */
	char *core_name; /* interface only, else "": "nvidia/nv-kernel.o_binary" */
	char *target_dir; /* "", "." or a relative directory */
	uint32_t crc, size_bytes;
	uint64_t content_offset; /* in the package */
	uint32_t linked_crc;
	uint32_t signature_size;
	uint64_t signature_offset;
};

struct precompiled {
	int fd; /* owned */
	char *path; /* for messages */
	uint64_t size_bytes;
	char *version, *description, *proc_version;
	uint32_t n_files; /* as the header says */
	struct precompiled_file *files; /* NULL after PRECOMPILED_READ_HEADER */
};

enum precompiled_flags {
	PRECOMPILED_READ_HEADER = 1, /* nothing after the header is read */
	PRECOMPILED_VERIFY = 2, /* read every content and compare its CRC */
	PRECOMPILED_LENIENT = 4, /* unknown attribute bits and trailing bytes are warnings */
};

/* Open and check a package. Without flags: header and record headers, by seeking. Errors: ERR_PRECOMPILED_*. */
int precompiled_open(int dirfd, const char *path, unsigned flags, struct precompiled **ret, struct err *e);
/* Same for an open descriptor, which is taken over on success only. `path` is for messages. */
int precompiled_open_fd(int fd, const char *path, unsigned flags, struct precompiled **ret, struct err *e);
void precompiled_freep(struct precompiled **p);

/* Package for exactly this driver version (NULL = any) and kernel banner? ERR_PRECOMPILED_MISMATCH says what differs. */
int precompiled_match(const struct precompiled *p, const char *driver_version, const char *proc_version,
		      struct err *e);

/* The banner to compare with: proc_dirfd/version up to its first LF or NUL. Caller frees. */
int precompiled_banner(int proc_dirfd, char **ret, struct err *e);

/* The vendor tool's listing, byte for byte. Caller frees. */
int precompiled_info_text(const struct precompiled *p, char **ret, struct err *e);

/* Write every file to <target directory>/<name> beneath dirfd; directories are made, links never followed, each file
 * appears complete or not at all, existing files are replaced. CRCs are checked while writing. */
int precompiled_unpack(const struct precompiled *p, int dirfd, struct err *e);

/* The detached signature of one file; caller frees. -ENODATA silently when it has none. */
int precompiled_signature(const struct precompiled *p, const struct precompiled_file *f, uint8_t **ret);

/* -- which files -- */

/* File name a package uses for a module: "nv-linux.o" for nvidia, "nv-modeset-linux.o" for nvidia-modeset, else
 * "<module>.ko". -ENAMETOOLONG. */
int precompiled_file_name(const char *module, char *ret, size_t size);
/* Linked module and core object of an interface file name; false when it is not one. */
bool precompiled_interface_of(const char *file_name, const char **ret_linked, const char **ret_core);
/* Every one of the modules (NULL-terminated) present by file name? ERR_PRECOMPILED_INCOMPLETE lists the missing. */
int precompiled_covers(const struct precompiled *p, char *const *modules, struct err *e);
/* "nvidia-modules-<release>-<first 8 hex of identity>"; caller frees, NULL without memory. */
char *precompiled_package_name(const char *release, const char *identity_hex);

/* -- writing -- */

struct precompiled_item {
	enum precompiled_type type;
	const char *name, *linked_name, *core_name,
	    *target_dir; /* NULL = the default of its type ("." or ""; names "") */
	int fd; /* borrowed: content, a regular file, read once */
	int linked_fd,
	    signed_fd; /* borrowed: the linked module and its signed copy; -EBADF = no detached signature */
	bool is_signed; /* complete module with its signature inside */
};

struct precompiled_header {
	const char *version, *description,
	    *proc_version; /* NULL with a base: keep; else required (description "") */
	mode_t mode; /* of the file, umask applied by the caller */
};

/* Write dirfd/name: the records of `base` (may be NULL; opened with PRECOMPILED_VERIFY, contents copied), then the items. With
 * `replace`, an item takes the place of a record with the same directory and name; otherwise that is
 * ERR_PRECOMPILED_CLASH. Streamed into a temporary file, synced, renamed. */
int precompiled_write(int dirfd, const char *name, const struct precompiled_header *h,
		      const struct precompiled *base, const struct precompiled_item *items, size_t n_items,
		      bool replace, struct err *e);
