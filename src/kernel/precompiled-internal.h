/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "precompiled.h"

#include "digest.h"

#define PRECOMPILED_MAGIC	  "\aNVIDIA\a"
#define PRECOMPILED_MAGIC_SIZE	  8u
#define PRECOMPILED_VERSION	  2u
#define PRECOMPILED_RECORD_HEADER "FILE"
#define PRECOMPILED_RECORD_FOOTER "END."
#define PRECOMPILED_BLOCK_BYTES	  ((size_t)256 << 10)

/* Relative path a record is written to: components of directory and name, "." and empty ones dropped. Two records are
 * the same file exactly when these are equal. Caller frees; NULL without memory. */
char *precompiled_target(const char *target_dir, const char *name);

/* Copy bytes [off, off + len) of `from` to `to` (-EBADF: only read) and continue *crc over them. -ENODATA when the
 * file is shorter. */
int precompiled_copy(int from, uint64_t off, uint64_t len, int to, uint32_t *crc);

/* Read one record's content and compare with its CRC, writing it to `to` unless that is -EBADF. */
int precompiled_copy_content(const struct precompiled *p, const struct precompiled_file *f, int to,
			     struct err *e);
