/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writing `.run` files: our own stub, a reproducible archive, sums in place. The same tree and options give the
 * same bytes on every machine with the same compression library. */

#include "header.h"
#include "payload.h"
#include "tarball.h"

#define PACK_LEVEL_DEFAULT (-1)
#define PACK_EPOCH_NONE	   TARBALL_EPOCH_NONE

struct pack_options {
	enum compression compression; /* none, gzip, xz or zstd */
	int level; /* zstd 1-19 (default 9), xz 0-9 (6), gzip 1-9 (6) */
	unsigned jobs; /* compression threads; 0 = as many as CPUs. The bytes do not depend on it */
	const struct runfile *like; /* keep that package's names, format and decompressor; NULL = none */
	/* NULL: from `like`, else from the tree's manifest. */
	const char *label, *version, *targetdir, *script;
	const char
	    *kind_suffix; /* appended to a target directory made up here: "-vgpu-kvm", "-grid"; may be NULL */
	int64_t epoch_s; /* mtime of every member and date of packaging; PACK_EPOCH_NONE = members' own */
};

struct pack_result {
	uint64_t members, unpacked_bytes, file_bytes;
	uint32_t crc;
	char md5[33], sha256[SHA256_HEX_SIZE];
};

/* Pack the tree into out_dirfd/out_name, written under a temporary name and renamed when complete and synced.
 * `replace` false: ERR_PACK_OUTPUT when the name exists. ERR_PACK_INPUT (file named), ERR_MANIFEST. */
int pack_tree(int tree_fd, int out_dirfd, const char *out_name, bool replace, const struct pack_options *o,
	      struct pack_result *ret, struct err *e);

/* ---- stub.c ---- */

#define STUB_CRC_UNKNOWN UINT64_MAX /* room for ten digits is left */

struct stub_facts {
	const char *label, *version, *pkg_version, *script, *targetdir, *scriptargs, *target_arch;
	const char *history; /* text of pkg-history.txt or NULL */
	enum compression compression;
	uint64_t unpacked_kb, decompressor_lines; /* 0 = no decompressor */
	int64_t date_s;
	uint64_t crc;
	const char *md5; /* 32 hexadecimal digits */
};

/* The stub's text up to and including the END_OF_STUB line. ERR_PACK_INPUT when a value does not fit its line. */
int stub_make(const struct stub_facts *f, struct strbuf *out, struct err *e);
/* Lines 1 to 3 alone. */
int stub_sums(uint64_t crc, const char *md5, struct strbuf *out);
