/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The head of a `.run` file: shell assignments that are read as data and never evaluated, and where the payload
 * lies. Nothing here reads the payload. */

#include "err.h"
#include "manifest.h"
#include "parse.h"

#include <stdbool.h>
#include <stdint.h>

#define RUNFILE_HEADER_MAX_BYTES   ((size_t)256 << 10)
#define RUNFILE_PAYLOAD_OFFSET_MAX ((uint64_t)64 << 20)
#define RUNFILE_SKIP_MAX	   1000000u
#define RUNFILE_STUB_END	   "END_OF_STUB\n"

enum compression {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_BZIP2,
	COMPRESSION_LZMA,
	COMPRESSION_XZ,
	COMPRESSION_ZSTD,
	COMPRESSION_COUNT
};
const char *compression_name(enum compression c); /* "none", "gzip", … */
int compression_parse(const char *name, enum compression *ret); /* -EINVAL */

/* Decide by the first bytes of the payload (263 are needed to see a bare tar). -EINVAL when unknown. */
int compression_detect(const void *bytes, size_t len, enum compression *ret);

struct runfile_header {
	char *label, *version, *pkg_version, *script, *targetdir, *scriptargs; /* owned */
	char *target_os, *target_arch, *generator; /* owned; may be NULL */
	uint32_t crc;
	uint8_t md5[16];
	bool has_md5; /* false: 32 zeros */
	unsigned sums_from_line; /* both sums cover this line to the end of the file; 4 */
	uint64_t skip, skip_decompress, size_decompress;
	/* What the stub prints about itself; hints for progress and disk space, never trusted. */
	uint64_t uncompressed_kb; /* 0 = not said */
	char *compression_text, *date_text; /* owned; may be NULL */
};

/* Offsets in bytes from the start of the file. */
struct runfile_layout {
	uint64_t file_size, sums_offset, decompressor_offset, decompressor_size, payload_offset;
	enum compression compression;
};

/* Parse the first RUNFILE_HEADER_MAX_BYTES (fewer when the stub or the file ends before). ERR_RUNFILE_NOT_A_PACKAGE,
 * ERR_RUNFILE_TOOLKIT, ERR_RUNFILE_HEADER, ERR_PATH_ESCAPE (target directory). Caller frees with
 * runfile_header_freep(). */
int runfile_header_parse(struct span head, struct runfile_header **ret, struct err *e);
void runfile_header_freep(struct runfile_header **h);

/* Find the regions in the open file and check them against the header. Reads at most 64 MiB, never the payload
 * beyond its first bytes. ERR_RUNFILE_HEADER, ERR_RUNFILE_TRUNCATED. */
int runfile_header_locate(const struct runfile_header *h, int fd, uint64_t file_size,
			  struct runfile_layout *ret, struct err *e);

/* The kind as the package's own name tells it (…-vgpu-kvm, …-grid). Exact with manifest_package_kind(). */
enum package_kind runfile_header_kind(const struct runfile_header *h);
