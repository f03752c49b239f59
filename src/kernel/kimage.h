/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a kernel image says of itself: the line the kernel prints in /proc/version. Reading it costs a decompression, so it
 * is the last resort (banner_compose() needs two small headers). */

#include "err.h"

#include <stddef.h>

/* The banner of the kernel `release` (NULL = any) among these uncompressed bytes. Since 6.1 an image holds two such texts, of
 * which the one without a number behind its '#' is not printed: it is taken only when there is no other. -ENOENT.
 * *ret without LF; caller frees. Pure. */
int kimage_find_banner(const void *bytes, size_t len, const char *release, char **ret);

/* The same from an image file: plain, an x86 bzImage, an EFI zboot image, or compressed as a whole (gzip, xz, lzma, bzip2,
 * zstd, lz4, lzo). Nothing found: -ERR_KIMAGE. */
int kimage_banner(int fd, const char *label, const char *release, char **ret, struct err *e);
