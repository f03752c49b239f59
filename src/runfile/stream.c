/* SPDX-License-Identifier: Apache-2.0
 *
 *   reader --> ring of file blocks --> MD5
 *                                  --> cksum, SHA-256
 *                                  --> decoder --> ring of decoded blocks --> caller
 *
 * Every ring has one producer and a few consumers, each of which sees every block in order. A block is reused when
 * the slowest consumer has left it, which bounds memory and lets no thread run far ahead. */
#include "stream.h"

#include "decode.h"
#include "fd.h"
#include "interrupt.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define IN_BLOCK_BYTES	((size_t)1 << 20)
#define OUT_BLOCK_BYTES ((size_t)1 << 20)
#define RING_BLOCKS	8
#define CONSUMERS_MAX	3
#define DETACHED	UINT64_MAX
#define JOBS_MAX	8u

/* ---- ring ---- */

struct block {
	char *bytes; /* owned */
	size_t len;
	uint64_t offset;
};

/* One condition for producer and consumers, signalled under the lock: separate ones, or waking after unlocking, were
 * slower where other programs want the processor too (docs/performance.md). */
struct ring {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct block blocks[RING_BLOCKS];
	uint64_t head, tail[CONSUMERS_MAX]; /* counts of blocks put and left; DETACHED = no longer reading */
	unsigned consumers;
	bool ended, stopped;
};

static int ring_init(struct ring *r, size_t block_bytes, unsigned consumers)
{
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_cond_init(&r->moved, NULL);
	r->consumers = consumers;
	for (size_t i = 0; i < RING_BLOCKS; i++) {
		r->blocks[i].bytes = malloc(block_bytes);
		if (!r->blocks[i].bytes)
			return -ENOMEM;
	}
	return 0;
}

static void ring_done(struct ring *r)
{
	for (size_t i = 0; i < RING_BLOCKS; i++)
		free(r->blocks[i].bytes);
	(void)pthread_cond_destroy(&r->moved);
	(void)pthread_mutex_destroy(&r->lock);
}

static uint64_t ring_slowest(const struct ring *r)
{
	uint64_t slowest = r->head;

	for (unsigned c = 0; c < r->consumers; c++)
		if (r->tail[c] != DETACHED && r->tail[c] < slowest)
			slowest = r->tail[c];
	return slowest;
}

/* A block to fill, or NULL when everything is to stop. */
static struct block *ring_room(struct ring *r)
{
	struct block *b = NULL;

	pthread_mutex_lock(&r->lock);
	while (!r->stopped && r->head - ring_slowest(r) >= RING_BLOCKS)
		pthread_cond_wait(&r->moved, &r->lock);
	if (!r->stopped)
		b = &r->blocks[r->head % RING_BLOCKS];
	pthread_mutex_unlock(&r->lock);
	return b;
}

static void ring_change(struct ring *r, uint64_t *counter, uint64_t value)
{
	pthread_mutex_lock(&r->lock);
	*counter = value;
	pthread_cond_broadcast(&r->moved);
	pthread_mutex_unlock(&r->lock);
}

static void ring_put(struct ring *r)
{
	ring_change(r, &r->head, r->head + 1);
}

/* Hand the block back and continue with the next. */
static void ring_leave(struct ring *r, unsigned consumer)
{
	ring_change(r, &r->tail[consumer], r->tail[consumer] + 1);
}

static void ring_detach(struct ring *r, unsigned consumer)
{
	ring_change(r, &r->tail[consumer], DETACHED);
}

static void ring_flag(struct ring *r, bool *flag)
{
	pthread_mutex_lock(&r->lock);
	*flag = true;
	pthread_cond_broadcast(&r->moved);
	pthread_mutex_unlock(&r->lock);
}

/* The consumer's next block, NULL at the end or when stopped. */
static const struct block *ring_get(struct ring *r, unsigned consumer)
{
	const struct block *b = NULL;

	pthread_mutex_lock(&r->lock);
	while (!r->stopped && !r->ended && r->tail[consumer] >= r->head)
		pthread_cond_wait(&r->moved, &r->lock);
	if (!r->stopped && r->tail[consumer] < r->head)
		b = &r->blocks[r->tail[consumer] % RING_BLOCKS];
	pthread_mutex_unlock(&r->lock);
	return b;
}

/* ---- stream ---- */

enum { THREAD_READ, THREAD_MD5, THREAD_CRC, THREAD_DECODE, THREAD_COUNT };

struct stream {
	struct stream_request q;
	struct runfile_layout layout;
	struct bomb_guard guard;
	struct stat before;
	struct ring in, out;
	pthread_t threads[THREAD_COUNT];
	bool running[THREAD_COUNT];
	unsigned seat[THREAD_COUNT]; /* consumer numbers of `in` */
	struct digest *md5, *sha256; /* owned */
	struct cksum crc;
	struct decoder *decoder; /* owned */
	bool holds_block; /* the caller looks at an output block */
	pthread_mutex_t err_lock;
	struct err err; /* the first error of any thread */
	int code; /* its negative code */
};

static void fail(struct stream *s, int code, struct err *mine)
{
	pthread_mutex_lock(&s->err_lock);
	if (s->code == 0) {
		s->code = code;
		err_move(&s->err, mine);
	} else {
		err_done(mine);
	}
	pthread_mutex_unlock(&s->err_lock);
	ring_flag(&s->in, &s->in.stopped);
	ring_flag(&s->out, &s->out.stopped);
}

static int read_block(struct stream *s, struct block *b, uint64_t offset, struct err *e)
{
	uint64_t left = s->layout.file_size - offset;
	int r;

	b->offset = offset;
	b->len = left < IN_BLOCK_BYTES ? (size_t)left : IN_BLOCK_BYTES;
	r = pread_exact(s->q.fd, b->bytes, b->len, s->q.base_offset + offset);
	if (r == -ENODATA)
		return err_set(e, -ERR_RUNFILE_CHANGED, "the file became shorter");
	return r < 0 ? err_errno(e, r, "reading at byte %llu", (unsigned long long)offset)
		     : interrupt_check(e);
}

static void *read_thread(void *arg)
{
	struct stream *s = arg;
	/* Without sums nothing before the payload is of interest. */
	uint64_t offset =
	    s->q.flags & (STREAM_CRC | STREAM_MD5 | STREAM_SHA256) ? 0 : s->layout.payload_offset;
	struct err e = ERR_INIT;

	while (offset < s->layout.file_size) {
		struct block *b = ring_room(&s->in);
		int r;

		if (!b)
			return NULL;
		r = read_block(s, b, offset, &e);
		if (r < 0) {
			fail(s, r, &e);
			return NULL;
		}
		offset += b->len;
		ring_put(&s->in);
		if (s->q.progress)
			s->q.progress(offset, s->q.progress_arg);
	}
	ring_flag(&s->in, &s->in.ended);
	return NULL;
}

/* The part of a block at or after `from`. */
static struct span part_from(const struct block *b, uint64_t from)
{
	size_t skip = b->offset >= from		   ? 0
		      : from - b->offset >= b->len ? b->len
						   : (size_t)(from - b->offset);

	return (struct span){ b->bytes + skip, b->len - skip };
}

static void *md5_thread(void *arg)
{
	struct stream *s = arg;
	const struct block *b;

	while ((b = ring_get(&s->in, s->seat[THREAD_MD5]))) {
		struct span part = part_from(b, s->layout.sums_offset);
		struct err e = ERR_INIT;

		if (digest_update(s->md5, part.p, part.len) < 0) {
			fail(s, err_errno(&e, -EIO, "computing MD5"), &e);
			return NULL;
		}
		ring_leave(&s->in, s->seat[THREAD_MD5]);
	}
	return NULL;
}

static void *crc_thread(void *arg)
{
	struct stream *s = arg;
	const struct block *b;

	while ((b = ring_get(&s->in, s->seat[THREAD_CRC]))) {
		struct span part = part_from(b, s->layout.sums_offset);
		struct err e = ERR_INIT;

		if (s->q.flags & STREAM_CRC)
			cksum_update(&s->crc, part.p, part.len);
		if (s->sha256 && digest_update(s->sha256, b->bytes, b->len) < 0) {
			fail(s, err_errno(&e, -EIO, "computing SHA-256"), &e);
			return NULL;
		}
		ring_leave(&s->in, s->seat[THREAD_CRC]);
	}
	return NULL;
}

/* ---- decoding ---- */

struct decode {
	struct stream *s;
	struct block *out; /* being filled */
	uint64_t total, consumed;
	struct err e;
};

static int check_bomb(struct decode *d)
{
	const struct bomb_guard *g = &d->s->guard;
	uint64_t allowed;

	if (__builtin_mul_overflow(d->consumed, g->ratio, &allowed) ||
	    __builtin_add_overflow(allowed, g->slack_bytes, &allowed) || d->total <= allowed)
		return 0;
	return err_set(&d->e, -ERR_ARCHIVE_BOMB, "%llu bytes of payload became more than %llu",
		       (unsigned long long)d->consumed, (unsigned long long)allowed);
}

/* 1 when the stream is complete, -ECANCELED when the caller stopped. */
static int decode_span(struct decode *d, struct span in, bool eof)
{
	d->consumed += in.len;
	for (;;) {
		size_t n = 0;
		int r, full;

		if (!d->out) {
			d->out = ring_room(&d->s->out);
			if (!d->out)
				return -ECANCELED;
			d->out->len = 0;
		}
		r = decoder_run(d->s->decoder, &in, eof, d->out->bytes + d->out->len,
				OUT_BLOCK_BYTES - d->out->len, &n, &d->e);
		if (r < 0)
			return r;
		d->out->len += n;
		d->total += n;
		if (check_bomb(d) < 0)
			return -ERR_ARCHIVE_BOMB;
		full = d->out->len == OUT_BLOCK_BYTES;
		if (full || (r == 1 && d->out->len > 0)) {
			d->out = NULL;
			ring_put(&d->s->out);
		}
		if (r == 1 || (!full && in.len == 0))
			return r;
	}
}

static int decode_all(struct decode *d)
{
	struct stream *s = d->s;
	const struct block *b;
	int r = 0;

	while (r == 0 && (b = ring_get(&s->in, s->seat[THREAD_DECODE]))) {
		struct span in = part_from(b, s->layout.payload_offset);
		bool last = b->offset + b->len >= s->layout.file_size;

		if (in.len > 0)
			r = decode_span(d, in, last);
		ring_leave(&s->in, s->seat[THREAD_DECODE]);
	}
	return r;
}

static void *decode_thread(void *arg)
{
	struct stream *s = arg;
	struct decode d = { .s = s, .e = ERR_INIT };
	int r = decode_all(&d);

	if (r < 0 && r != -ECANCELED)
		fail(s, r, &d.e);
	err_done(&d.e);
	ring_detach(&s->in, s->seat[THREAD_DECODE]);
	ring_flag(&s->out, &s->out.ended);
	return NULL;
}

/* ---- life ---- */

static int start_thread(struct stream *s, int which, void *(*body)(void *))
{
	int r = pthread_create(&s->threads[which], NULL, body, s);

	s->running[which] = r == 0;
	return -r;
}

/* Signals belong to the thread that asked; ours block them. */
static int start_threads(struct stream *s)
{
	static void *(*const bodies[])(void *) = { read_thread, md5_thread, crc_thread, decode_thread };
	const bool wanted[] = { true, s->md5, s->sha256 || (s->q.flags & STREAM_CRC), s->decoder };
	sigset_t all, old;
	int r = 0;

	for (int i = THREAD_MD5; i < THREAD_COUNT; i++)
		if (wanted[i])
			s->seat[i] = s->in.consumers++;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < THREAD_COUNT && r == 0; i++)
		r = wanted[i] ? start_thread(s, i, bodies[i]) : 0;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

static unsigned default_jobs(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n < 1 ? 1 : (unsigned)n < JOBS_MAX ? (unsigned)n : JOBS_MAX;
}

static bool has_size(const struct stream *s)
{
	uint64_t size = (uint64_t)s->before.st_size, base = s->q.base_offset;

	if (base == 0)
		return size == s->layout.file_size;
	return size >= base && size - base >= s->layout.file_size;
}

static int make_parts(struct stream *s, struct err *e)
{
	int r = 0;

	if (s->q.flags & STREAM_MD5)
		r = digest_new("md5", &s->md5);
	if (r == 0 && (s->q.flags & STREAM_SHA256))
		r = digest_new("sha256", &s->sha256);
	if (r < 0)
		return err_errno(e, r, "cannot compute checksums");
	if (!(s->q.flags & STREAM_DECODE))
		return 0;
	r = decoder_new(s->layout.compression, s->q.jobs ? s->q.jobs : default_jobs(), &s->decoder, e);
	if (r == 0 && (s->q.flags & STREAM_TOLERATE_TRAILING))
		decoder_tolerate_trailing(s->decoder);
	return r;
}

int stream_open(const struct stream_request *request, struct stream **ret, struct err *e)
{
	_cleanup_(stream_freep) struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_oom(e);
	s->q = *request;
	s->layout = *request->layout;
	s->guard = request->guard ? *request->guard : (struct bomb_guard)BOMB_GUARD_DEFAULT;
	(void)pthread_mutex_init(&s->err_lock, NULL);
	if (ring_init(&s->in, IN_BLOCK_BYTES, 0) < 0)
		return err_oom(e);
	if (request->flags & STREAM_DECODE && ring_init(&s->out, OUT_BLOCK_BYTES, 1) < 0)
		return err_oom(e);
	if (fstat(s->q.fd, &s->before) < 0)
		return err_errno(e, -errno, "cannot look at the package");
	if (!S_ISREG(s->before.st_mode) || !has_size(s))
		return err_set(e, -ERR_RUNFILE_CHANGED, "the file's size moved");
	r = make_parts(s, e);
	if (r < 0)
		return r;
	(void)posix_fadvise(s->q.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	r = start_threads(s);
	if (r < 0)
		return err_errno(e, r, "cannot start a thread");
	*ret = TAKE_PTR(s);
	return 0;
}

static void join_threads(struct stream *s)
{
	for (int i = 0; i < THREAD_COUNT; i++)
		if (s->running[i]) {
			(void)pthread_join(s->threads[i], NULL);
			s->running[i] = false;
		}
}

void stream_freep(struct stream **sp)
{
	struct stream *s = *sp;

	*sp = NULL;
	if (!s)
		return;
	ring_flag(&s->in, &s->in.stopped);
	ring_flag(&s->out, &s->out.stopped);
	join_threads(s);
	ring_done(&s->in);
	ring_done(&s->out);
	decoder_freep(&s->decoder);
	digest_freep(&s->md5);
	digest_freep(&s->sha256);
	err_done(&s->err);
	(void)pthread_mutex_destroy(&s->err_lock);
	free(s);
}

static int report(struct stream *s, struct err *e)
{
	int code;

	pthread_mutex_lock(&s->err_lock);
	code = s->code;
	if (code < 0 && e)
		err_move(e, &s->err);
	pthread_mutex_unlock(&s->err_lock);
	return code;
}

int stream_next(void *stream, struct span *ret, struct err *e)
{
	struct stream *s = stream;
	const struct block *b;
	int r;

	if (s->holds_block)
		ring_leave(&s->out, 0);
	b = ring_get(&s->out, 0);
	s->holds_block = b;
	r = b ? 0 : report(s, e);
	if (r < 0)
		return r;
	*ret = b ? (struct span){ b->bytes, b->len } : SPAN_NULL;
	return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

int stream_finish(struct stream *s, struct stream_sums *ret, struct err *e)
{
	struct stream_sums sums = { 0 };
	struct stat after;
	int r;

	if (s->decoder)
		ring_detach(&s->out, 0);
	join_threads(s);
	r = report(s, e);
	if (r < 0)
		return r;
	if (fstat(s->q.fd, &after) < 0)
		return err_errno(e, -errno, "cannot look at the package");
	if (!same_file(&s->before, &after))
		return err_set(e, -ERR_RUNFILE_CHANGED, "its size or times moved meanwhile");
	sums.crc = cksum_final(&s->crc);
	if ((s->md5 && digest_final(s->md5, sums.md5, sizeof(sums.md5), NULL) < 0) ||
	    (s->sha256 && digest_final(s->sha256, sums.sha256, sizeof(sums.sha256), NULL) < 0))
		return err_errno(e, -EIO, "computing checksums");
	if (ret)
		*ret = sums;
	return 0;
}

bool stream_has_trailing(const struct stream *s)
{
	return s->decoder && decoder_has_trailing(s->decoder);
}
