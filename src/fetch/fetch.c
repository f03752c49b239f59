/* SPDX-License-Identifier: Apache-2.0
 *
 * What to do about one wanted file: is it there, is it right, where else could it come from. */
#include "fetch.h"

#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "lock.h"
#include "log.h"
#include "parse.h"
#include "part.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define META_MAX       ((size_t)64 << 10)
#define SIDE_CAR_MAX   ((size_t)64 << 10)
#define BACKOFF_MAX_MS 60000u

static const char *const trust_names[] = { "recorded", "published", "pinned" };
static const char *const action_names[] = { "present", "downloaded", "resumed", "replaced" };

const char *fetch_trust_name(enum fetch_trust t)
{
	return trust_names[t];
}

enum fetch_trust fetch_trust_of(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LEN(trust_names); i++)
		if (strcmp(name, trust_names[i]) == 0)
			return (enum fetch_trust)i;
	return FETCH_RECORDED;
}

const char *fetch_action_name(enum fetch_action a)
{
	return action_names[a];
}

void fetch_result_done(struct fetch_result *r)
{
	freep(&r->name);
	freep(&r->url);
	freep(&r->backup);
}

static void json_freep(json_t **j)
{
	json_decref(*j);
}

/* One fetch_file() call. */
struct job {
	const struct fetch_request *given;
	struct fetch_request q; /* given, with digest of the side-car */
	char *name; /* owned */
	char **urls; /* owned; address and mirrors */
	struct fetch_result out; /* owned until handed over */
	char side_car[65];
	char wrong[512]; /* why the present file is not right; "" = there is none */
};

static void job_done(struct job *j)
{
	freep(&j->name);
	strv_freep(&j->urls);
	fetch_result_done(&j->out);
}

static bool is_local(const char *url)
{
	return strncasecmp(url, "file:", 5) == 0;
}

static const char *where(const struct job *j)
{
	return j->q.dir_path ? j->q.dir_path : "the download directory";
}

/* -- the request -- */

static int check_hex(const char *hex, size_t bytes, const char *what, struct err *e)
{
	uint8_t out[32];

	if (hex && parse_hexbytes(SPAN(hex), out, bytes) < 0)
		return err_set(e, -ERR_USAGE, "\"%s\" is not a %s digest of %zu hexadecimal digits", hex,
			       what, 2 * bytes);
	return 0;
}

static int push_url(struct job *j, const char *url, struct err *e)
{
	_cleanup_free_ char *whole = NULL;
	size_t len = strlen(url);

	if (len && url[len - 1] == '/') {
		whole = str_printf("%s%s", url, j->name);
		if (!whole)
			return err_oom(e);
		url = whole;
	}
	if (!fetch_url_is_valid(url)) {
		(void)err_set(e, -ERR_FETCH_URL, "\"%.200s\" is not a usable address", url);
		return err_object(e, "%.200s", url);
	}
	return strv_push(&j->urls, url) < 0 ? err_oom(e) : 0;
}

static int job_name(struct job *j, struct err *e)
{
	int r = 0;

	if (j->q.name)
		r = name_is_safe(j->q.name) ? ((j->name = strdup(j->q.name)) ? 0 : -ENOMEM) : -EINVAL;
	else
		r = fetch_url_name(j->q.url, &j->name);
	if (r == -ENOMEM)
		return err_oom(e);
	/* Room for ".part.meta" and the like. */
	if (r < 0 || strlen(j->name) > 230)
		return err_set(e, -ERR_FETCH_URL, "\"%.200s\" does not end in a usable file name", j->q.url);
	return 0;
}

static int job_init(struct job *j, const struct fetch_request *q, struct err *e)
{
	int r;

	j->given = q;
	j->q = *q;
	r = check_hex(q->sha256, 32, "SHA-256", e);
	if (r < 0)
		return r;
	r = check_hex(q->md5, 16, "MD5", e);
	if (r < 0)
		return r;
	r = job_name(j, e);
	if (r < 0)
		return r;
	r = push_url(j, q->url, e);
	for (size_t i = 0; r >= 0 && q->mirrors && q->mirrors[i]; i++)
		r = push_url(j, q->mirrors[i], e);
	return r;
}

/* -- what is there -- */

/* The record beside a file. Text fields are borrowed from `json`. */
struct meta {
	json_t *json;
	const char *url, *sha256, *md5;
	enum fetch_trust trust;
	bool is_fresh; /* size, inode and mtime are those of the file: its digest still holds */
};

static void meta_done(struct meta *m)
{
	json_freep(&m->json);
}

static char *meta_name(const char *name)
{
	return str_printf("%s.meta", name);
}

static bool meta_matches(const json_t *j, const struct stat *st)
{
	int64_t mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;

	return json_integer_value(json_object_get(j, "size_bytes")) == (json_int_t)st->st_size &&
	       json_integer_value(json_object_get(j, "inode")) == (json_int_t)st->st_ino &&
	       json_integer_value(json_object_get(j, "mtime_ns")) == (json_int_t)mtime_ns;
}

static void meta_read(struct job *j, const struct stat *st, struct meta *m)
{
	_cleanup_free_ char *name = meta_name(j->name), *text = NULL;
	uint8_t bytes[32];
	size_t len;

	if (!name || read_file_at(j->q.dirfd, name, META_MAX, &text, &len) < 0)
		return;
	if (jloadb((struct span){ text, len }, &m->json, NULL) < 0)
		return;
	m->sha256 = json_string_value(json_object_get(m->json, "sha256"));
	if (!m->sha256 || parse_hexbytes(SPAN(m->sha256), bytes, sizeof(bytes)) < 0) {
		m->sha256 = NULL;
		return;
	}
	m->url = json_string_value(json_object_get(m->json, "url"));
	m->md5 = json_string_value(json_object_get(m->json, "md5"));
	m->trust = fetch_trust_of(json_string_value(json_object_get(m->json, "trust")));
	m->is_fresh = meta_matches(m->json, st);
}

static int meta_write(struct job *j, const struct stat *st, struct err *e)
{
	_cleanup_(json_freep) json_t *o = NULL;
	_cleanup_free_ char *text = NULL, *name = meta_name(j->name);
	int r;

	o = json_pack("{s:s, s:s*, s:s*, s:s, s:I, s:I, s:I, s:I}", "sha256", j->out.sha256, "url",
		      j->out.url, "md5", j->q.md5, "trust", fetch_trust_name(j->out.trust), "size_bytes",
		      (json_int_t)st->st_size, "inode", (json_int_t)st->st_ino, "mtime_ns",
		      (json_int_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec, "time",
		      (json_int_t)time(NULL));
	if (!o || jdump(o, &text) < 0 || !name)
		return err_oom(e);
	r = publish_bytes(j->q.dirfd, name, text, strlen(text), 0644);
	return r < 0 ? err_errno(e, r, "writing %s/%s", where(j), name) : 0;
}

static int hash_file(int fd, const char *algorithm, char *out_hex)
{
	_cleanup_(digest_freep) struct digest *d = NULL;
	_cleanup_free_ uint8_t *buf = malloc(1 << 18);
	uint8_t bytes[64];
	size_t len;
	int r;

	if (!buf || digest_new(algorithm, &d) < 0)
		return -ENOMEM;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		ssize_t n = read_upto(fd, buf, 1 << 18);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		r = digest_update(d, buf, (size_t)n);
		if (r < 0)
			return r;
	}
	r = digest_final(d, bytes, sizeof(bytes), &len);
	if (r == 0)
		hex_encode(bytes, len, out_hex);
	return r;
}

static bool head_is_wanted(int fd, enum fetch_kind want, const char **ret_looks)
{
	uint8_t head[PART_HEAD_SIZE];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	return fetch_kind_fits(want, head, n > 0 ? (size_t)n : 0, ret_looks);
}

static bool wrong(struct job *j, const char *what, const char *want, const char *found)
{
	snprintf(j->wrong, sizeof(j->wrong), "expected %s %s, found %s", what, want, found);
	return false;
}

static bool wrong_size(struct job *j, uint64_t found)
{
	char a[24], b[24];

	snprintf(a, sizeof(a), "%" PRIu64, j->q.size_bytes);
	snprintf(b, sizeof(b), "%" PRIu64, found);
	return wrong(j, "size", a, b);
}

static bool accepts_present(struct job *j)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	if (!j->q.accept || j->q.accept(j->q.dirfd, j->name, j->q.accept_arg, &e) == 0)
		return true;
	snprintf(j->wrong, sizeof(j->wrong), "%s", e.reason ? e.reason : err_sentence(e.code));
	return false;
}

/* 1 = right (out filled), 0 = wrong (j->wrong says why), negative = cannot tell. */
static int judge_present(struct job *j, int fd, const struct stat *st, const struct meta *m)
{
	char sha256[129], md5[129];
	const char *looks, *want = j->q.sha256 ? j->q.sha256 : m->sha256;
	int r;

	if (j->q.size_bytes && (uint64_t)st->st_size != j->q.size_bytes)
		return wrong_size(j, (uint64_t)st->st_size);
	if (!head_is_wanted(fd, j->q.kind, &looks))
		return wrong(j, "content", "a driver package", looks);
	if (m->sha256 && m->is_fresh) {
		memcpy(sha256, m->sha256, 65);
	} else {
		r = hash_file(fd, "sha256", sha256);
		if (r < 0)
			return r;
	}
	if (want && strcasecmp(want, sha256) != 0)
		return wrong(j, "sha256", want, sha256);
	if (j->q.md5 && !(m->md5 && m->is_fresh && strcasecmp(m->md5, j->q.md5) == 0)) {
		r = hash_file(fd, "md5", md5);
		if (r < 0)
			return r;
		if (strcasecmp(md5, j->q.md5) != 0)
			return wrong(j, "md5", j->q.md5, md5);
	}
	memcpy(j->out.sha256, sha256, 65);
	return accepts_present(j);
}

static enum fetch_trust trust_of(const struct job *j)
{
	if (j->given->sha256)
		return j->given->sha256_is_index ? FETCH_PUBLISHED : FETCH_PINNED;
	return j->side_car[0] ? FETCH_PUBLISHED : FETCH_RECORDED;
}

/* 1 = present and right, 0 = absent or wrong. */
static int look(struct job *j, struct err *e)
{
	_cleanup_(meta_done) struct meta m = { .trust = FETCH_RECORDED };
	_cleanup_close_ int fd = openat(j->q.dirfd, j->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "cannot open %s/%s", where(j), j->name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, -EEXIST, "%s/%s is in the way and is not a file", where(j), j->name);
	meta_read(j, &st, &m);
	r = judge_present(j, fd, &st, &m);
	if (r < 0)
		return err_errno(e, r, "reading %s/%s", where(j), j->name);
	if (r == 0)
		return 0;
	j->out.size_bytes = (uint64_t)st.st_size;
	j->out.action = FETCH_PRESENT;
	j->out.trust = j->q.sha256 ? trust_of(j) : m.trust;
	if (m.url && !(j->out.url = strdup(m.url)))
		return err_oom(e);
	if ((!m.is_fresh || m.trust < j->out.trust) && !j->q.dry_run) {
		r = meta_write(j, &st, e);
		/* On a read-only medium the file is as good without a fresh record. */
		if (r < 0 && r != -EROFS && r != -EACCES)
			return r;
		if (r < 0)
			err_done(e);
	}
	return 1;
}

/* -- transfer with mirrors and patience -- */

static void pause_ms(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR && !interrupt_pending())
		continue;
}

/* Doubles each round; half of it is random, so that a thousand nodes do not come back in the same second. */
static unsigned backoff_ms(const struct fetch_request *q, unsigned round, unsigned retry_after_s)
{
	unsigned base = q->backoff_ms ? q->backoff_ms : 1000, r = 0;
	uint64_t ms = (uint64_t)base << (round < 16 ? round : 16);

	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		r = 0;
	ms = ms / 2 + r % (ms / 2 + 1);
	if ((uint64_t)retry_after_s * 1000 > ms)
		ms = (uint64_t)retry_after_s * 1000;
	return ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : (unsigned)ms;
}

/* One attempt at one address: called in rounds over all addresses until one answers TRANSFER_OK. */
typedef enum transfer_verdict (*attempt_fn)(void *arg, const char *url, unsigned *ret_retry_after_s,
					    struct err *e);

static int offline_error(const char *url, const char *why, struct err *e)
{
	(void)err_set(e, -ERR_OFFLINE, "%s%s is needed, and --offline forbids the network", why, url);
	return err_object(e, "%s", url);
}

/* e keeps the error of the last attempt. */
static int try_all(const struct fetch_request *q, char *const *urls, attempt_fn attempt, void *arg,
		   struct err *e)
{
	size_t n = strv_len(urls), left = n;
	_cleanup_free_ bool *dead = calloc(n, sizeof(bool));
	unsigned rounds = q->attempts ? q->attempts : 4, after = 0;

	if (!dead)
		return err_oom(e);
	for (unsigned round = 0; round < rounds && left; round++) {
		if (round)
			pause_ms(backoff_ms(q, round - 1, after));
		if (interrupt_pending())
			return interrupt_check(e);
		after = 0;
		for (size_t i = 0; i < n; i++) {
			enum transfer_verdict v;

			if (dead[i])
				continue;
			if (q->offline && !is_local(urls[i])) {
				(void)offline_error(urls[i], "", e);
				v = TRANSFER_NEXT;
			} else {
				v = attempt(arg, urls[i], &after, e);
			}
			if (v == TRANSFER_OK)
				return 0;
			if (v == TRANSFER_FATAL)
				return -e->code;
			if (v == TRANSFER_NEXT) {
				dead[i] = true;
				left--;
			}
			if (left && (round + 1 < rounds || i + 1 < n))
				log_warn("%s", e->reason ? e->reason : err_sentence(e->code));
		}
	}
	return -e->code;
}

/* -- a file -- */

struct file_attempt {
	struct job *j;
	struct part *part;
	bool resumed;
	char sha256[65];
};

static void remember_source(struct file_attempt *a, const struct transfer *t)
{
	struct err ignored = ERR_INIT;

	/* Without the record the part is simply fetched again. */
	if (t->validator_out[0] && a->part->size)
		(void)part_record(a->part, t->url, t->validator_out, &ignored);
	err_done(&ignored);
}

/* A continued part that turns out wrong may be old bytes in front of new ones: start over once before blaming the
 * publisher. */
static enum transfer_verdict verdict_of_content(struct file_attempt *a, bool continued, struct err *e)
{
	int r = part_check(a->part, a->sha256, e);

	if (r >= 0)
		return TRANSFER_OK;
	if (!a->part->refused && r != -ERR_FETCH_DIGEST && r != -ERR_FETCH_SIZE && r != -ERR_FETCH_CONTENT)
		return TRANSFER_FATAL;
	part_done(a->part);
	r = part_open(&a->j->q, a->j->name, a->part, continued ? NULL : e);
	if (r < 0)
		return TRANSFER_FATAL;
	return continued ? TRANSFER_RETRY : TRANSFER_NEXT;
}

static enum transfer_verdict fetch_attempt(void *arg, const char *url, unsigned *ret_after_s, struct err *e)
{
	struct file_attempt *a = arg;
	struct transfer t = { .q = &a->j->q, .url = url, .sink = part_sink(a->part) };
	enum transfer_verdict v;
	bool continued;

	if (part_prepare(a->part, url, &t.validator, e) < 0)
		return TRANSFER_FATAL;
	t.offset = a->part->size;
	/* All bytes may have come before an interruption. */
	if (t.offset && t.offset == a->j->q.size_bytes && a->j->q.sha256)
		return verdict_of_content(a, true, e);
	a->j->out.tries++;
	v = transfer_run(&t, e);
	a->j->out.received_bytes += t.received_bytes;
	continued = t.offset && a->part->size > t.received_bytes;
	if (v != TRANSFER_OK) {
		remember_source(a, &t);
		if (v == TRANSFER_NEXT && t.received_bytes && part_reset(a->part, NULL) < 0)
			v = TRANSFER_FATAL;
		if (t.retry_after_s > *ret_after_s)
			*ret_after_s = t.retry_after_s;
		return v;
	}
	v = verdict_of_content(a, continued, e);
	if (v == TRANSFER_OK) {
		a->resumed = continued;
		freep(&a->j->out.url);
		a->j->out.url = strdup(url);
		if (!a->j->out.url) {
			(void)err_oom(e);
			v = TRANSFER_FATAL;
		}
	}
	return v;
}

static int keep_wrong_file(struct job *j, struct err *e)
{
	int r = publish_keep(j->q.dirfd, j->name, &j->out.backup);

	if (r == -EEXIST)
		return err_set(e, -EEXIST, "%s/%s has too many backups", where(j), j->name);
	if (r < 0)
		return err_errno(e, r, "keeping %s/%s under another name", where(j), j->name);
	log_warn("%s/%s is not the wanted file (%s); kept as %s", where(j), j->name, j->wrong, j->out.backup);
	return 0;
}

static int put_in_place(struct job *j, struct part *p, struct err *e)
{
	struct stat st;
	int r;

	if (fchmod(p->fd, 0644) < 0 || fsync(p->fd) < 0)
		return err_errno(e, -errno, "writing %s/%s", where(j), p->part_name);
	if (j->wrong[0]) {
		r = keep_wrong_file(j, e);
		if (r < 0)
			return r;
	}
	r = publish_rename(j->q.dirfd, p->part_name, j->q.dirfd, j->name, false);
	if (r < 0)
		return err_errno(e, r, "putting %s/%s in place", where(j), j->name);
	(void)unlinkat(j->q.dirfd, p->meta_name, 0);
	if (fstat(p->fd, &st) < 0)
		return err_errno(e, -errno, "looking at %s/%s", where(j), j->name);
	j->out.size_bytes = (uint64_t)st.st_size;
	return meta_write(j, &st, e);
}

/* <url>.sha256sum, when its publisher offers one: the digest then counts as pinned by the publisher. */
static int ask_side_car(struct job *j, struct err *e)
{
	_cleanup_free_ char *url = NULL, *text = NULL;
	_cleanup_(err_done) struct err own = ERR_INIT;
	struct fetch_request q = j->q;
	size_t len;
	int r;

	if (!j->q.use_side_car || j->q.sha256)
		return 0;
	url = str_printf("%s.sha256sum", j->q.url);
	if (!url)
		return err_oom(e);
	q.url = url;
	q.mirrors = NULL;
	q.attempts = 1;
	r = fetch_text(&q, SIDE_CAR_MAX, &text, &len, &own);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0) {
		log_debug("no published digest: %s", own.reason ? own.reason : "");
		return 0;
	}
	r = fetch_parse_sums(text, len, j->name, j->side_car);
	if (r < 0) {
		log_warn("%s is not a digest list that names %s; it is ignored", url, j->name);
		return 0;
	}
	j->q.sha256 = j->side_car;
	return 0;
}

static int offline_if_needed(struct job *j, struct err *e)
{
	_cleanup_free_ char *why = NULL;

	if (!j->q.offline)
		return 0;
	for (size_t i = 0; j->urls[i]; i++)
		if (is_local(j->urls[i]))
			return 0;
	why = j->wrong[0] ? str_printf("%s is present but %s; ", j->name, j->wrong) : strdup("");
	if (!why)
		return err_oom(e);
	(void)offline_error(j->q.url, why, e);
	return err_next(e, "run once without --offline, or put the file at %s/%s", where(j), j->name);
}

static int bring(struct job *j, struct err *e)
{
	_cleanup_(part_done) struct part p = { .fd = -EBADF };
	struct file_attempt a = { .j = j, .part = &p };
	int r;

	r = offline_if_needed(j, e);
	if (r < 0)
		return r;
	r = ask_side_car(j, e);
	if (r < 0)
		return r;
	r = part_open(&j->q, j->name, &p, e);
	if (r < 0)
		return r;
	r = try_all(&j->q, j->urls, fetch_attempt, &a, e);
	if (r < 0) {
		if (p.fd >= 0 && p.size == 0)
			part_discard(&p);
		return r;
	}
	err_done(e); /* what failed before the attempt that worked */
	memcpy(j->out.sha256, a.sha256, sizeof(a.sha256));
	j->out.trust = trust_of(j);
	j->out.action = j->wrong[0] ? FETCH_REPLACED : a.resumed ? FETCH_RESUMED : FETCH_DOWNLOADED;
	return put_in_place(j, &p, e);
}

/* -- locking -- */

/* The lock file goes away with its last user. Who waited for it then holds a file without a name, and starts over. */
static int lock_name(struct job *j, const char *lock, struct lock *ret, struct err *e)
{
	unsigned timeout_s = j->q.lock_timeout_s ? j->q.lock_timeout_s : 3600;

	for (;;) {
		struct lock l = LOCK_INIT;
		struct stat st;
		int r = lock_file_at(j->q.dirfd, lock,
				     (int)(timeout_s > 2000000 ? 2000000000 : timeout_s * 1000), &l);

		if (r == -EAGAIN) {
			(void)err_set(e, -ERR_LOCKED, "another process has been fetching %s/%s for %u s",
				      where(j), j->name, timeout_s);
			return err_object(e, "%s/%s", where(j), lock);
		}
		if (r < 0)
			return err_errno(e, r, "locking %s/%s", where(j), lock);
		if (fstat(l.fd, &st) == 0 && st.st_nlink > 0) {
			*ret = l;
			return 0;
		}
		lock_release(&l);
	}
}

static int bring_locked(struct job *j, struct err *e)
{
	_cleanup_free_ char *lock = str_printf("%s.lock", j->name);
	struct lock l = LOCK_INIT;
	int r;

	if (!lock)
		return err_oom(e);
	r = lock_name(j, lock, &l, e);
	if (r < 0)
		return r;
	j->wrong[0] = '\0';
	r = look(j, e); /* the process we waited for may have brought it */
	if (r == 0)
		r = bring(j, e);
	(void)unlinkat(j->q.dirfd, lock, 0);
	lock_release(&l);
	return r;
}

static void dry_answer(struct job *j)
{
	j->out.action = j->wrong[0] ? FETCH_REPLACED : FETCH_DOWNLOADED;
	j->out.size_bytes = j->q.size_bytes;
	j->out.trust = trust_of(j);
}

int fetch_file(const struct fetch_request *q, struct fetch_result *ret, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_(job_done) struct job j = { .given = q };
	int r;

	if (!e)
		e = &own;
	r = job_init(&j, q, e);
	if (r < 0)
		return r;
	r = look(&j, e);
	if (r < 0)
		return r;
	if (r == 0 && q->dry_run)
		dry_answer(&j);
	else if (r == 0)
		r = bring_locked(&j, e);
	if (r < 0)
		return r;
	if (!ret)
		return 0;
	j.out.name = TAKE_PTR(j.name);
	*ret = j.out;
	j.out = (struct fetch_result){ 0 };
	return 0;
}

/* -- a text -- */

struct text_attempt {
	const struct fetch_request *q;
	struct strbuf text;
	bool is_missing;
};

static int text_begin(void *arg, uint64_t offset, int64_t total, enum transfer_verdict *ret_verdict,
		      struct err *e)
{
	struct text_attempt *a = arg;

	strbuf_reset(&a->text);
	return 0;
}

static int text_data(void *arg, const void *buf, size_t len, enum transfer_verdict *ret_verdict,
		     struct err *e)
{
	struct text_attempt *a = arg;
	int r = strbuf_append(&a->text, buf, len);

	*ret_verdict = TRANSFER_FATAL;
	if (r == -E2BIG)
		return err_set(e, -ERR_TOO_LARGE, "the answer is longer than %zu bytes", a->text.max);
	return r < 0 ? err_oom(e) : 0;
}

static enum transfer_verdict text_attempt(void *arg, const char *url, unsigned *ret_after_s, struct err *e)
{
	struct text_attempt *a = arg;
	struct transfer t = { .q = a->q, .url = url, .sink = { text_begin, text_data, a } };
	enum transfer_verdict v;

	v = transfer_run(&t, e);
	a->is_missing = v == TRANSFER_NEXT && (t.status == 404 || t.status == 410);
	*ret_after_s = t.retry_after_s;
	return v;
}

int fetch_text(const struct fetch_request *q, size_t max_bytes, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	struct text_attempt a = { .q = q, .text = STRBUF_INIT(max_bytes) };
	_cleanup_strv_ char **urls = NULL;
	size_t len;
	int r;

	if (!e)
		e = &own;
	if (!fetch_url_is_valid(q->url))
		return err_set(e, -ERR_FETCH_URL, "\"%.200s\" is not a usable address", q->url);
	if (strv_push(&urls, q->url) < 0)
		return err_oom(e);
	for (size_t i = 0; q->mirrors && q->mirrors[i]; i++)
		if (strv_push(&urls, q->mirrors[i]) < 0)
			return err_oom(e);
	r = try_all(q, urls, text_attempt, &a, e);
	if (r < 0) {
		strbuf_done(&a.text);
		return a.is_missing ? -ENOENT : r;
	}
	err_done(e);
	len = a.text.len;
	r = strbuf_steal(&a.text, ret);
	if (r < 0)
		return err_oom(e);
	if (!*ret && !(*ret = strdup("")))
		return err_oom(e);
	if (ret_len)
		*ret_len = len;
	return 0;
}
