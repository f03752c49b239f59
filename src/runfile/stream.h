/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One pass over an open file: reading, hashing and decompressing run side by side on threads that share a bounded
 * ring of blocks, so the verdict and the decoded bytes come from the same reads. Memory: 8 MiB of input and 8 MiB of
 * output blocks, plus what the decoder itself needs. */

#include "digest.h"
#include "err.h"
#include "header.h"

#include <stdbool.h>
#include <stdint.h>

enum stream_flag {
	STREAM_CRC = 1, /* POSIX cksum from sums_offset on */
	STREAM_MD5 = 2, /* likewise */
	STREAM_SHA256 = 4, /* of the whole file */
	STREAM_DECODE = 8, /* from payload_offset on */
	STREAM_TOLERATE_TRAILING = 16,
};

/* Decoded bytes may be at most `ratio` times the bytes read plus `slack_bytes`. */
struct bomb_guard {
	uint64_t ratio, slack_bytes;
};
#define BOMB_GUARD_DEFAULT                                                                                   \
	{                                                                                                    \
		64, (uint64_t)1 << 30                                                                        \
	}

struct stream_request {
	int fd; /* borrowed; read with pread, position unchanged */
	const struct runfile_layout *layout; /* borrowed */
	uint64_t base_offset; /* the file begins here in fd: one of several in an archive */
	unsigned flags;
	unsigned jobs; /* for block-parallel decoding; 0 = as many as CPUs, at most 8 */
	const struct bomb_guard *guard; /* NULL = default */
	/* Called from the reading thread after each block; NULL allowed. */
	void (*progress)(uint64_t done_bytes, void *arg);
	void *progress_arg;
};

struct stream_sums {
	uint32_t crc;
	uint8_t md5[MD5_SIZE], sha256[SHA256_SIZE];
};

struct stream;

/* Starts the threads. The file must be regular and, from base_offset on, layout->file_size bytes long (with a base at least that). */
int stream_open(const struct stream_request *request, struct stream **ret, struct err *e);

/* Next decoded bytes; an empty span at the clean end. They stay valid until the next call. A tar_source. */
int stream_next(void *stream, struct span *ret, struct err *e);

/* Wait for the rest (decoded bytes nobody took are dropped) and give the sums asked for. ERR_RUNFILE_CHANGED when
 * the file's size or times moved meanwhile. */
int stream_finish(struct stream *s, struct stream_sums *ret, struct err *e);

bool stream_has_trailing(const struct stream *s); /* after the end; with STREAM_TOLERATE_TRAILING */
void stream_freep(struct stream **s); /* stops the threads, whatever they do */
