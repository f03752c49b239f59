/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Streaming decompression, one interface for every format a payload comes in. A stream may be followed by further
 * frames of the same format and by zero bytes or LF; anything else is trailing data. */

#include "err.h"
#include "header.h"

#include <stdbool.h>
#include <stddef.h>

#define DECODER_MEMORY_MAX_BYTES    ((size_t)192 << 20)
#define DECODER_ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB */

struct decoder;

/* jobs: threads that may decode side by side where the format allows it (xz streams of several blocks). */
int decoder_new(enum compression c, unsigned jobs, struct decoder **ret, struct err *e);
void decoder_freep(struct decoder **d);

/* Trailing data ends the stream quietly instead of being ERR_RUNFILE_TRAILING; decoder_has_trailing() tells. */
void decoder_tolerate_trailing(struct decoder *d);
bool decoder_has_trailing(const struct decoder *d);

/* Decode from *in (advanced) into out; *ret_len bytes were written. Call again with the rest, or with an empty
 * span while *ret_len == out_size. `eof` says that nothing follows *in; then 1 is returned when all output has
 * been given. ERR_DECODER_DAMAGED, ERR_DECODER_MEMORY, ERR_RUNFILE_TRUNCATED, ERR_RUNFILE_TRAILING. */
int decoder_run(struct decoder *d, struct span *in, bool eof, char *out, size_t out_size, size_t *ret_len,
		struct err *e);
