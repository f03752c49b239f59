/* SPDX-License-Identifier: Apache-2.0
 *
 * Digests over libcrypto, and the two CRCs of the driver's formats. Both CRCs share polynomial 0x04C11DB7, most
 * significant bit first; they differ in start value and finish only, so one kernel serves both. */
#include "digest.h"

#include "parse.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

/* Large enough that the system calls vanish beside the hashing, small enough to stay in the second-level cache. */
#define READ_BLOCK_BYTES ((size_t)256 << 10)

struct digest {
	EVP_MD_CTX *ctx; /* owned */
};

void digest_freep(struct digest **d)
{
	if (!*d)
		return;
	EVP_MD_CTX_free((*d)->ctx);
	free(*d);
	*d = NULL;
}

int digest_new(const char *name, struct digest **ret)
{
	_cleanup_(digest_freep) struct digest *d = calloc(1, sizeof(*d));
	EVP_MD *md;
	int ok;

	if (!d)
		return -ENOMEM;
	md = EVP_MD_fetch(NULL, name, NULL);
	if (!md)
		return -EOPNOTSUPP;
	d->ctx = EVP_MD_CTX_new();
	ok = d->ctx && EVP_DigestInit_ex2(d->ctx, md, NULL) == 1;
	EVP_MD_free(md);
	if (!ok)
		return -ENOMEM;
	*ret = TAKE_PTR(d);
	return 0;
}

int digest_update(struct digest *d, const void *buf, size_t len)
{
	return EVP_DigestUpdate(d->ctx, buf, len) == 1 ? 0 : -EIO;
}

int digest_final(struct digest *d, uint8_t *out, size_t out_size, size_t *ret_len)
{
	int size = EVP_MD_CTX_get_size(d->ctx);
	unsigned len;

	if (size <= 0 || (size_t)size > out_size)
		return -ENOBUFS;
	if (EVP_DigestFinal_ex(d->ctx, out, &len) != 1)
		return -EIO;
	if (ret_len)
		*ret_len = len;
	return 0;
}

int sha256_bytes(const void *buf, size_t len, uint8_t out[SHA256_SIZE])
{
	return EVP_Q_digest(NULL, "SHA256", NULL, buf, len, out, NULL) == 1 ? 0 : -ENOMEM;
}

int sha256_fd(int fd, uint8_t out[SHA256_SIZE])
{
	_cleanup_(digest_freep) struct digest *d = NULL;
	_cleanup_free_ uint8_t *block = malloc(READ_BLOCK_BYTES);
	uint64_t off = 0;
	int r;

	if (!block)
		return -ENOMEM;
	r = digest_new("sha256", &d);
	if (r < 0)
		return r;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	for (;;) {
		ssize_t n = pread(fd, block, READ_BLOCK_BYTES, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		r = digest_update(d, block, (size_t)n);
		if (r < 0)
			return r;
		off += (uint64_t)n;
	}
	return digest_final(d, out, SHA256_SIZE, NULL);
}

int sha256_fd_hex(int fd, char out[SHA256_HEX_SIZE])
{
	uint8_t raw[SHA256_SIZE];
	int r = sha256_fd(fd, raw);

	if (r < 0)
		return r;
	hex_encode(raw, sizeof(raw), out);
	return 0;
}

int sha256_file_at(int dirfd, const char *path, char out[SHA256_HEX_SIZE])
{
	/* O_NONBLOCK only so that opening a FIFO answers at once; it has no effect on a regular file. */
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return sha256_fd_hex(fd, out);
}

/* -- CRC ------------------------------------------------------------------------------------------------- */

#define CRC_POLYNOMIAL 0x04C11DB7u
#define CRC_SLICES     16

/* crc_table[k][b] is what byte b contributes when k more bytes follow it, so sixteen input bytes are sixteen
 * independent look-ups instead of a chain of sixteen. */
static uint32_t crc_table[CRC_SLICES][256];
static pthread_once_t crc_table_once = PTHREAD_ONCE_INIT;

static void crc_table_fill(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t c = b << 24;

		for (int bit = 0; bit < 8; bit++)
			c = (c << 1) ^ (c & 0x80000000u ? CRC_POLYNOMIAL : 0);
		crc_table[0][b] = c;
	}
	for (size_t k = 1; k < CRC_SLICES; k++) {
		for (size_t b = 0; b < 256; b++)
			crc_table[k][b] =
			    (crc_table[k - 1][b] << 8) ^ crc_table[0][crc_table[k - 1][b] >> 24];
	}
}

static uint32_t crc_step(uint32_t crc, uint8_t byte)
{
	return (crc << 8) ^ crc_table[0][(crc >> 24) ^ byte];
}

static uint32_t crc_step16(uint32_t crc, const uint8_t *p)
{
	uint32_t next = crc_table[15][p[0] ^ (crc >> 24)] ^ crc_table[14][p[1] ^ ((crc >> 16) & 0xff)] ^
			crc_table[13][p[2] ^ ((crc >> 8) & 0xff)] ^ crc_table[12][p[3] ^ (crc & 0xff)];

	for (size_t i = 4; i < CRC_SLICES; i++)
		next ^= crc_table[15 - i][p[i]];
	return next;
}

#ifdef __x86_64__
/* A processor that multiplies without carries folds 64 bytes at a time: a block that lies n bits before another may be
 * replaced by its product with x^n mod P there, as both leave the same remainder. What is left after the last fold
 * are 16 bytes whose remainder is that of everything. */
#define FOLD_BYTES 64

struct fold {
	__m128i by64, by16; /* x^(n + 64) and x^n for n = 512 and n = 128 bits, the pair in one register */
};
static struct fold fold;
static pthread_once_t fold_once = PTHREAD_ONCE_INIT;

/* x^n mod P */
static uint32_t crc_power(unsigned n)
{
	uint32_t c = 1;

	while (n--)
		c = (c << 1) ^ (c & 0x80000000u ? CRC_POLYNOMIAL : 0);
	return c;
}

static void fold_fill(void)
{
	fold.by64 = _mm_set_epi64x(crc_power(512 + 64), crc_power(512));
	fold.by16 = _mm_set_epi64x(crc_power(128 + 64), crc_power(128));
}

#define FOLD_TARGET __attribute__((target("pclmul,ssse3")))

/* The polynomial's highest power first, as the processor wants its highest bit. */
FOLD_TARGET static __m128i fold_load(const uint8_t *p)
{
	const __m128i reversed = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

	return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), reversed);
}

FOLD_TARGET static __m128i fold_onto(__m128i from, __m128i power, __m128i onto)
{
	__m128i high = _mm_clmulepi64_si128(from, power, 0x11), low = _mm_clmulepi64_si128(from, power, 0x00);

	return _mm_xor_si128(onto, _mm_xor_si128(high, low));
}

/* len is a multiple of FOLD_BYTES and not 0. */
FOLD_TARGET static uint32_t crc_fold(uint32_t crc, const uint8_t *p, size_t len)
{
	__m128i lane[4], last;
	uint8_t rest[16];

	for (int i = 0; i < 4; i++)
		lane[i] = fold_load(p + i * 16);
	lane[0] = _mm_xor_si128(lane[0], _mm_set_epi32((int)crc, 0, 0, 0));
	for (p += FOLD_BYTES, len -= FOLD_BYTES; len; p += FOLD_BYTES, len -= FOLD_BYTES)
		for (int i = 0; i < 4; i++)
			lane[i] = fold_onto(lane[i], fold.by64, fold_load(p + i * 16));
	last = lane[0];
	for (int i = 1; i < 4; i++)
		last = fold_onto(last, fold.by16, lane[i]);
	_mm_storeu_si128((__m128i *)(void *)rest, last);
	_mm_storeu_si128((__m128i *)(void *)rest, fold_load(rest));
	return crc_step16(0, rest);
}

/* Take as much as folds; returns the number of bytes. */
static size_t crc_take_folds(uint32_t *crc, const uint8_t *p, size_t len)
{
	size_t n = len - len % FOLD_BYTES;

	if (n == 0 || !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("ssse3"))
		return 0;
	(void)pthread_once(&fold_once, fold_fill);
	*crc = crc_fold(*crc, p, n);
	return n;
}
#else
static size_t crc_take_folds(uint32_t *crc _unused_, const uint8_t *p _unused_, size_t len _unused_)
{
	return 0;
}
#endif

static uint32_t crc_update(uint32_t crc, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t folded;

	(void)pthread_once(&crc_table_once, crc_table_fill);
	folded = crc_take_folds(&crc, p, len);
	p += folded;
	len -= folded;
	for (; len >= CRC_SLICES; p += CRC_SLICES, len -= CRC_SLICES)
		crc = crc_step16(crc, p);
	while (len--)
		crc = crc_step(crc, *p++);
	return crc;
}

void cksum_update(struct cksum *c, const void *buf, size_t len)
{
	c->crc = crc_update(c->crc, buf, len);
	c->len += len;
}

/* POSIX appends the length, least significant byte first and without leading zero bytes, and inverts. */
uint32_t cksum_final(const struct cksum *c)
{
	uint32_t crc = c->crc;

	(void)pthread_once(&crc_table_once, crc_table_fill);
	for (uint64_t len = c->len; len; len >>= 8)
		crc = crc_step(crc, (uint8_t)len);
	return ~crc;
}

uint32_t crc32_mpeg2(uint32_t crc, const void *buf, size_t len)
{
	return crc_update(crc, buf, len);
}
