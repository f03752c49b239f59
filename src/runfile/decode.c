/* SPDX-License-Identifier: Apache-2.0 */
#include "decode.h"

#include <bzlib.h>
#include <dlfcn.h>
#include <limits.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Threads are used only while their buffers fit in here; a stream with larger blocks is decoded by one. */
#define LZMA_THREADING_BYTES ((uint64_t)128 << 20)

enum step { STEP_MORE, STEP_END };

struct backend {
	const char *magic; /* of a continuation; NULL: the format has none */
	size_t magic_len;
	int (*start)(struct decoder *d, struct err *e);
	/* enum step or a negative code; consumes from in, adds to *done */
	int (*step)(struct decoder *d, struct span *in, bool eof, char *out, size_t size, size_t *done,
		    struct err *e);
	void (*stop)(struct decoder *d);
};

struct decoder {
	const struct backend *backend;
	bool active, between, trailing, tolerate; /* between: at least one stream has ended */
	size_t magic_seen;
	unsigned jobs;
	z_stream gzip;
	bz_stream bzip2;
	lzma_stream lzma;
	ZSTD_DCtx *zstd; /* owned */
};

static int damaged(struct err *e, const char *format, const char *what)
{
	return err_set(e, -ERR_DECODER_DAMAGED, "the %s stream is damaged: %s", format, what);
}

/* ---- gzip ---- */

static int gzip_start(struct decoder *d, struct err *e)
{
	int r = d->between ? inflateReset(&d->gzip) : inflateInit2(&d->gzip, 15 + 16);

	return r == Z_OK ? 0 : err_oom(e);
}

static int gzip_step(struct decoder *d, struct span *in, bool eof _unused_, char *out, size_t size,
		     size_t *done, struct err *e)
{
	unsigned take = in->len > UINT_MAX ? UINT_MAX : (unsigned)in->len;
	int r;

	d->gzip.next_in = (Bytef *)in->p;
	d->gzip.avail_in = take;
	d->gzip.next_out = (Bytef *)out;
	d->gzip.avail_out = (unsigned)size;
	r = inflate(&d->gzip, Z_NO_FLUSH);
	in->p += take - d->gzip.avail_in;
	in->len -= take - d->gzip.avail_in;
	*done += size - d->gzip.avail_out;
	if (r == Z_STREAM_END)
		return STEP_END;
	if (r == Z_OK || r == Z_BUF_ERROR)
		return STEP_MORE;
	return r == Z_MEM_ERROR ? err_oom(e) : damaged(e, "gzip", d->gzip.msg ? d->gzip.msg : "bad data");
}

static void gzip_stop(struct decoder *d)
{
	(void)inflateEnd(&d->gzip);
}

/* ---- bzip2 ---- */

static int bzip2_start(struct decoder *d, struct err *e)
{
	if (d->between)
		(void)BZ2_bzDecompressEnd(&d->bzip2);
	memset(&d->bzip2, 0, sizeof(d->bzip2));
	return BZ2_bzDecompressInit(&d->bzip2, 0, 0) == BZ_OK ? 0 : err_oom(e);
}

static int bzip2_step(struct decoder *d, struct span *in, bool eof _unused_, char *out, size_t size,
		      size_t *done, struct err *e)
{
	unsigned take = in->len > UINT_MAX ? UINT_MAX : (unsigned)in->len;
	int r;

	d->bzip2.next_in = (char *)in->p;
	d->bzip2.avail_in = take;
	d->bzip2.next_out = out;
	d->bzip2.avail_out = (unsigned)size;
	r = BZ2_bzDecompress(&d->bzip2);
	in->p += take - d->bzip2.avail_in;
	in->len -= take - d->bzip2.avail_in;
	*done += size - d->bzip2.avail_out;
	if (r == BZ_STREAM_END)
		return STEP_END;
	if (r == BZ_OK)
		return STEP_MORE;
	return r == BZ_MEM_ERROR ? err_oom(e) : damaged(e, "bzip2", "bad data");
}

static void bzip2_stop(struct decoder *d)
{
	(void)BZ2_bzDecompressEnd(&d->bzip2);
}

/* ---- xz and lzma ---- */

static int xz_start(struct decoder *d, struct err *e)
{
	lzma_ret r;

#if LZMA_VERSION >= UINT32_C(50040002)
	/* Looked up, not linked: the program must start where liblzma is older (RHEL 9), with one thread. */
	__typeof__(&lzma_stream_decoder_mt) decoder_mt =
	    d->jobs > 1 ? (__typeof__(&lzma_stream_decoder_mt))dlsym(RTLD_DEFAULT, "lzma_stream_decoder_mt")
			: NULL;
	lzma_mt mt = { .threads = d->jobs,
		       .memlimit_threading = LZMA_THREADING_BYTES,
		       .memlimit_stop = DECODER_MEMORY_MAX_BYTES };

	/* A file that says it has no check, as published ones do, is fine: the package's own sums cover it. */
	r = decoder_mt ? decoder_mt(&d->lzma, &mt)
		       : lzma_stream_decoder(&d->lzma, DECODER_MEMORY_MAX_BYTES, 0);
#else
	r = lzma_stream_decoder(&d->lzma, DECODER_MEMORY_MAX_BYTES, 0);
#endif
	return r == LZMA_OK ? 0 : err_oom(e);
}

static int lzma_start(struct decoder *d, struct err *e)
{
	return lzma_alone_decoder(&d->lzma, DECODER_MEMORY_MAX_BYTES) == LZMA_OK ? 0 : err_oom(e);
}

static int lzma_result(lzma_ret r, struct err *e)
{
	switch (r) {
	case LZMA_STREAM_END:
		return STEP_END;
	case LZMA_OK:
	case LZMA_BUF_ERROR:
	case LZMA_NO_CHECK:
	case LZMA_GET_CHECK:
		return STEP_MORE;
	case LZMA_MEMLIMIT_ERROR:
		return err_set(e, -ERR_DECODER_MEMORY, "decoding would need more than 192 MiB");
	case LZMA_MEM_ERROR:
		return err_oom(e);
	case LZMA_OPTIONS_ERROR:
		return damaged(e, "xz", "it uses unknown options");
	default:
		return damaged(e, "xz", "bad data");
	}
}

static int lzma_step(struct decoder *d, struct span *in, bool eof, char *out, size_t size, size_t *done,
		     struct err *e)
{
	lzma_ret r;

	d->lzma.next_in = (const uint8_t *)in->p;
	d->lzma.avail_in = in->len;
	d->lzma.next_out = (uint8_t *)out;
	d->lzma.avail_out = size;
	r = lzma_code(&d->lzma, eof ? LZMA_FINISH : LZMA_RUN);
	in->p += in->len - d->lzma.avail_in;
	in->len = d->lzma.avail_in;
	*done += size - d->lzma.avail_out;
	return lzma_result(r, e);
}

static void lzma_stop(struct decoder *d)
{
	lzma_end(&d->lzma);
}

/* ---- zstd ---- */

static int zstd_start(struct decoder *d, struct err *e)
{
	if (!d->zstd)
		d->zstd = ZSTD_createDCtx();
	if (!d->zstd)
		return err_oom(e);
	(void)ZSTD_DCtx_reset(d->zstd, ZSTD_reset_session_only);
	(void)ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, DECODER_ZSTD_WINDOW_LOG_MAX);
	return 0;
}

static int zstd_step(struct decoder *d, struct span *in, bool eof _unused_, char *out, size_t size,
		     size_t *done, struct err *e)
{
	ZSTD_inBuffer from = { in->p, in->len, 0 };
	ZSTD_outBuffer to = { out, size, 0 };
	size_t r = ZSTD_decompressStream(d->zstd, &to, &from);

	in->p += from.pos;
	in->len -= from.pos;
	*done += to.pos;
	if (!ZSTD_isError(r))
		return r == 0 ? STEP_END : STEP_MORE;
	switch (ZSTD_getErrorCode(r)) {
	case ZSTD_error_frameParameter_windowTooLarge:
		return err_set(e, -ERR_DECODER_MEMORY, "the zstd frame asks for a window over 128 MiB");
	case ZSTD_error_memory_allocation:
		return err_oom(e);
	default:
		return damaged(e, "zstd", ZSTD_getErrorName(r));
	}
}

static void zstd_stop(struct decoder *d)
{
	(void)ZSTD_freeDCtx(d->zstd);
}

/* ---- bare ---- */

static int none_start(struct decoder *d _unused_, struct err *e _unused_)
{
	return 0;
}

static int none_step(struct decoder *d _unused_, struct span *in, bool eof, char *out, size_t size,
		     size_t *done, struct err *e _unused_)
{
	size_t n = in->len < size ? in->len : size;

	memcpy(out, in->p, n);
	in->p += n;
	in->len -= n;
	*done += n;
	return eof && in->len == 0 ? STEP_END : STEP_MORE;
}

static void none_stop(struct decoder *d _unused_)
{
}

static const struct backend backends[COMPRESSION_COUNT] = {
	[COMPRESSION_NONE] = { NULL, 0, none_start, none_step, none_stop },
	[COMPRESSION_GZIP] = { "\x1f\x8b", 2, gzip_start, gzip_step, gzip_stop },
	[COMPRESSION_BZIP2] = { "BZh", 3, bzip2_start, bzip2_step, bzip2_stop },
	[COMPRESSION_LZMA] = { NULL, 0, lzma_start, lzma_step, lzma_stop },
	[COMPRESSION_XZ] = { "\xfd"
			     "7zXZ\0",
			     6, xz_start, lzma_step, lzma_stop },
	[COMPRESSION_ZSTD] = { "\x28\xb5\x2f\xfd", 4, zstd_start, zstd_step, zstd_stop },
};

/* ---- the common part ---- */

int decoder_new(enum compression c, unsigned jobs, struct decoder **ret, struct err *e)
{
	_cleanup_(decoder_freep) struct decoder *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_oom(e);
	d->lzma = (lzma_stream)LZMA_STREAM_INIT;
	d->jobs = jobs;
	d->backend = &backends[c];
	r = d->backend->start(d, e);
	if (r < 0)
		return r;
	d->active = true;
	*ret = TAKE_PTR(d);
	return 0;
}

void decoder_freep(struct decoder **d)
{
	if (*d && (*d)->backend)
		(*d)->backend->stop(*d);
	free(*d);
	*d = NULL;
}

void decoder_tolerate_trailing(struct decoder *d)
{
	d->tolerate = true;
}

bool decoder_has_trailing(const struct decoder *d)
{
	return d->trailing;
}

static int found_trailing(struct decoder *d, struct span *in, struct err *e)
{
	if (!d->tolerate)
		return err_set(e, -ERR_RUNFILE_TRAILING,
			       "data that is not part of the payload follows its end");
	d->trailing = true;
	in->len = 0;
	return 0;
}

/* After a stream's end: skip padding, recognise the next frame's magic even when it is cut by a block border,
 * and hand it to the fresh decoder. */
static int between_streams(struct decoder *d, struct span *in, struct err *e)
{
	const struct backend *b = d->backend;

	while (in->len > 0) {
		char c = in->p[0];
		size_t done = 0;
		struct span magic = { b->magic, b->magic_len };
		char none;
		int r;

		if (d->trailing || (d->magic_seen == 0 && (c == '\0' || c == '\n'))) {
			in->p++;
			in->len--;
			continue;
		}
		if (!b->magic || c != b->magic[d->magic_seen])
			return found_trailing(d, in, e);
		in->p++;
		in->len--;
		if (++d->magic_seen < b->magic_len)
			continue;
		d->magic_seen = 0;
		r = b->start(d, e);
		if (r == 0)
			r = b->step(d, &magic, false, &none, 0, &done, e);
		if (r < 0)
			return r;
		d->active = true;
		return 0;
	}
	return 0;
}

static int at_eof(struct decoder *d, struct err *e)
{
	struct span none = SPAN_NULL;

	if (d->active)
		return err_set(e, -ERR_RUNFILE_TRUNCATED,
			       "the file ends in the middle of the compressed payload");
	if (d->magic_seen > 0 && found_trailing(d, &none, e) < 0)
		return -ERR_RUNFILE_TRAILING;
	return 1;
}

int decoder_run(struct decoder *d, struct span *in, bool eof, char *out, size_t out_size, size_t *ret_len,
		struct err *e)
{
	size_t done = 0;

	for (;;) {
		size_t before_in = in->len, before_out = done;
		int r;

		if (!d->active) {
			r = between_streams(d, in, e);
			if (r < 0)
				return r;
			if (!d->active)
				break;
		}
		r = d->backend->step(d, in, eof, out + done, out_size - done, &done, e);
		if (r < 0)
			return r;
		if (r == STEP_END) {
			d->active = false;
			d->between = true;
			continue;
		}
		if (done == out_size || (in->len == before_in && done == before_out))
			break;
	}
	*ret_len = done;
	if (done == out_size || in->len > 0 || !eof)
		return 0;
	return at_eof(d, e);
}
