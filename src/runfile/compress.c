/* SPDX-License-Identifier: Apache-2.0 */
#include "compress.h"

#include <limits.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define OUT_BYTES ((size_t)256 << 10)

struct format {
	int min_level, max_level, default_level;
	int (*start)(struct compressor *z);
	int (*run)(struct compressor *z, const void *buf, size_t len, bool finish);
	void (*stop)(struct compressor *z);
};

struct compressor {
	const struct format *format;
	int level;
	unsigned jobs;
	uint64_t total_bytes;
	compress_sink sink;
	void *arg;
	ZSTD_CCtx *zstd; /* owned */
	lzma_stream lzma;
	z_stream gzip;
	char out[OUT_BYTES];
};

/* ---- zstd ---- */

static int zstd_start(struct compressor *z)
{
	int jobs = z->jobs < 1 ? 1 : z->jobs > 64 ? 64 : (int)z->jobs;

	z->zstd = ZSTD_createCCtx();
	if (!z->zstd)
		return -ENOMEM;
	(void)ZSTD_CCtx_setParameter(z->zstd, ZSTD_c_compressionLevel, z->level);
	(void)ZSTD_CCtx_setParameter(z->zstd, ZSTD_c_checksumFlag, 1);
	(void)ZSTD_CCtx_setParameter(z->zstd, ZSTD_c_contentSizeFlag, 1);
	/* From one worker on, the frame is cut into jobs by its parameters alone, so one and many give the same bytes;
	 * none would give others. A library without threads refuses, which only costs time. */
	(void)ZSTD_CCtx_setParameter(z->zstd, ZSTD_c_nbWorkers, jobs);
	return ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(z->zstd, z->total_bytes)) ? -EINVAL : 0;
}

static int zstd_run(struct compressor *z, const void *buf, size_t len, bool finish)
{
	ZSTD_inBuffer in = { buf, len, 0 };

	for (;;) {
		ZSTD_outBuffer out = { z->out, sizeof(z->out), 0 };
		size_t left = ZSTD_compressStream2(z->zstd, &out, &in, finish ? ZSTD_e_end : ZSTD_e_continue);
		int r;

		if (ZSTD_isError(left))
			return -EIO;
		r = out.pos ? z->sink(z->arg, z->out, out.pos) : 0;
		if (r < 0)
			return r;
		if (finish ? left == 0 : in.pos == in.size)
			return 0;
	}
}

static void zstd_stop(struct compressor *z)
{
	(void)ZSTD_freeCCtx(z->zstd);
}

/* ---- xz ---- */

/* Several blocks with recorded sizes, as threaded packing of the published files gives, so that reading can use
 * more than one core. No check inside: the package's own sums cover every byte. */
static int xz_start(struct compressor *z)
{
	lzma_mt mt = { .threads = z->jobs < 1 ? 1 : z->jobs,
		       .preset = (uint32_t)z->level,
		       .check = LZMA_CHECK_NONE };

	return lzma_stream_encoder_mt(&z->lzma, &mt) == LZMA_OK ? 0 : -ENOMEM;
}

static int xz_run(struct compressor *z, const void *buf, size_t len, bool finish)
{
	z->lzma.next_in = buf;
	z->lzma.avail_in = len;
	for (;;) {
		lzma_ret l;
		size_t n;
		int r;

		z->lzma.next_out = (uint8_t *)z->out;
		z->lzma.avail_out = sizeof(z->out);
		l = lzma_code(&z->lzma, finish ? LZMA_FINISH : LZMA_RUN);
		if (l != LZMA_OK && l != LZMA_STREAM_END)
			return l == LZMA_MEM_ERROR ? -ENOMEM : -EIO;
		n = sizeof(z->out) - z->lzma.avail_out;
		r = n ? z->sink(z->arg, z->out, n) : 0;
		if (r < 0)
			return r;
		if (finish ? l == LZMA_STREAM_END : z->lzma.avail_in == 0)
			return 0;
	}
}

static void xz_stop(struct compressor *z)
{
	lzma_end(&z->lzma);
}

/* ---- gzip ---- */

static int gzip_start(struct compressor *z)
{
	return deflateInit2(&z->gzip, z->level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK ? 0
												    : -ENOMEM;
}

static int gzip_run(struct compressor *z, const void *buf, size_t len, bool finish)
{
	z->gzip.next_in = (Bytef *)buf;
	z->gzip.avail_in = (unsigned)len; /* callers give at most a megabyte */
	for (;;) {
		size_t n;
		int r;

		z->gzip.next_out = (Bytef *)z->out;
		z->gzip.avail_out = sizeof(z->out);
		if (deflate(&z->gzip, finish ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
			return -EIO;
		n = sizeof(z->out) - z->gzip.avail_out;
		r = n ? z->sink(z->arg, z->out, n) : 0;
		if (r < 0)
			return r;
		if (z->gzip.avail_out > 0)
			return 0;
	}
}

static void gzip_stop(struct compressor *z)
{
	(void)deflateEnd(&z->gzip);
}

/* ---- bare ---- */

static int none_start(struct compressor *z _unused_)
{
	return 0;
}

static int none_run(struct compressor *z, const void *buf, size_t len, bool finish _unused_)
{
	return len ? z->sink(z->arg, buf, len) : 0;
}

static void none_stop(struct compressor *z _unused_)
{
}

static const struct format formats[COMPRESSION_COUNT] = {
	[COMPRESSION_NONE] = { 0, 0, 0, none_start, none_run, none_stop },
	[COMPRESSION_GZIP] = { 1, 9, 6, gzip_start, gzip_run, gzip_stop },
	[COMPRESSION_XZ] = { 0, 9, 6, xz_start, xz_run, xz_stop },
	[COMPRESSION_ZSTD] = { 1, 19, 9, zstd_start, zstd_run, zstd_stop },
};

int compressor_new(enum compression c, int level, unsigned jobs, uint64_t total_bytes, compress_sink sink,
		   void *arg, struct compressor **ret, struct err *e)
{
	_cleanup_(compressor_freep) struct compressor *z = calloc(1, sizeof(*z));
	const struct format *f = &formats[c];
	int r;

	if (!z)
		return err_oom(e);
	if (!f->start)
		return err_set(e, -ERR_USAGE, "packages are not written in the format %s",
			       compression_name(c));
	if (level < 0)
		level = f->default_level;
	if (level < f->min_level || level > f->max_level)
		return err_set(e, -ERR_USAGE, "level %d is not between %d and %d for %s", level, f->min_level,
			       f->max_level, compression_name(c));
	z->lzma = (lzma_stream)LZMA_STREAM_INIT;
	z->level = level;
	z->jobs = jobs;
	z->total_bytes = total_bytes;
	z->sink = sink;
	z->arg = arg;
	r = f->start(z);
	if (r < 0)
		return err_errno(e, r, "cannot start the %s compressor", compression_name(c));
	z->format = f;
	*ret = TAKE_PTR(z);
	return 0;
}

static int run(struct compressor *z, const void *buf, size_t len, bool finish, struct err *e)
{
	int r = z->format->run(z, buf, len, finish);

	return r < 0 ? err_errno(e, r, "compressing or writing the package") : 0;
}

int compressor_write(struct compressor *z, const void *buf, size_t len, struct err *e)
{
	return run(z, buf, len, false, e);
}

int compressor_finish(struct compressor *z, struct err *e)
{
	return run(z, NULL, 0, true, e);
}

void compressor_freep(struct compressor **z)
{
	if (*z && (*z)->format)
		(*z)->format->stop(*z);
	free(*z);
	*z = NULL;
}
