/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Streaming compression for the packages we write. The bytes depend on format, level and library, never on the
 * number of threads. */

#include "err.h"
#include "header.h"

typedef int (*compress_sink)(void *arg, const void *buf, size_t len); /* 0 or -errno */

struct compressor;

/* level -1: default of the format. total_bytes is recorded in a zstd frame. ERR_USAGE for a bad level or a format
 * that is only read. */
int compressor_new(enum compression c, int level, unsigned jobs, uint64_t total_bytes, compress_sink sink,
		   void *arg, struct compressor **ret, struct err *e);
int compressor_write(struct compressor *z, const void *buf, size_t len, struct err *e);
int compressor_finish(struct compressor *z, struct err *e);
void compressor_freep(struct compressor **z);
