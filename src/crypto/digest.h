/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "err.h"

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE	32
#define SHA256_HEX_SIZE 65
#define MD5_SIZE	16

/* Streaming SHA-256 / MD5 / SHA-1/384/512 over libcrypto. */
struct digest;
int digest_new(const char *name, struct digest **ret); /* "sha256", "md5", … */
void digest_freep(struct digest **d);
int digest_update(struct digest *d, const void *buf, size_t len);
int digest_final(struct digest *d, uint8_t *out, size_t out_size, size_t *ret_len);

int sha256_bytes(const void *buf, size_t len, uint8_t out[SHA256_SIZE]);
int sha256_fd(int fd, uint8_t out[SHA256_SIZE]); /* from offset 0, position unchanged */
int sha256_fd_hex(int fd, char out[SHA256_HEX_SIZE]);
int sha256_file_at(int dirfd, const char *path, char out[SHA256_HEX_SIZE]); /* regular file, links refused */

/* POSIX cksum (specs: run file): feed data, finish with the length. */
struct cksum {
	uint32_t crc;
	uint64_t len;
};
void cksum_update(struct cksum *c, const void *buf, size_t len);
uint32_t cksum_final(const struct cksum *c);

/* CRC-32/MPEG-2 (precompiled packages, vendor install record): start with CRC32_MPEG2_INIT. */
#define CRC32_MPEG2_INIT 0xFFFFFFFFu
uint32_t crc32_mpeg2(uint32_t crc, const void *buf, size_t len);
