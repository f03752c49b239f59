/* SPDX-License-Identifier: Apache-2.0 */
#include "part.h"

#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "parse.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define META_MAX  ((size_t)64 << 10)
#define FETCH_MAX ((uint64_t)16 << 30)

static void json_freep(json_t **j)
{
	json_decref(*j);
}

void part_done(struct part *p)
{
	if (p->progress_shown)
		progress_end(&p->progress);
	p->progress_shown = false;
	close_fdp(&p->fd);
	digest_freep(&p->sha256);
	digest_freep(&p->md5);
	freep(&p->url);
	freep(&p->validator);
}

void part_discard(struct part *p)
{
	(void)unlinkat(p->q->dirfd, p->part_name, 0);
	(void)unlinkat(p->q->dirfd, p->meta_name, 0);
}

static const char *where(const struct part *p)
{
	return p->q->dir_path ? p->q->dir_path : "the download directory";
}

static int digests_start(struct part *p, struct err *e)
{
	digest_freep(&p->sha256);
	digest_freep(&p->md5);
	if (digest_new("sha256", &p->sha256) < 0 || (p->q->md5 && digest_new("md5", &p->md5) < 0))
		return err_oom(e);
	return 0;
}

static int part_take(struct part *p, const void *buf, size_t len)
{
	size_t room = PART_HEAD_SIZE - p->head_len, n = len < room ? len : room;
	int r;

	memcpy(p->head + p->head_len, buf, n);
	p->head_len += n;
	r = digest_update(p->sha256, buf, len);
	if (r == 0 && p->md5)
		r = digest_update(p->md5, buf, len);
	p->size += len;
	return r;
}

static int part_hash_existing(struct part *p, struct err *e)
{
	_cleanup_free_ uint8_t *buf = malloc(1 << 18);

	if (!buf)
		return err_oom(e);
	for (;;) {
		ssize_t n = read_upto(p->fd, buf, 1 << 18);

		if (n < 0)
			return err_errno(e, (int)n, "reading %s/%s", where(p), p->part_name);
		if (n == 0)
			return 0;
		if (part_take(p, buf, (size_t)n) < 0)
			return err_oom(e);
	}
}

static char *json_text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? strdup(s) : NULL;
}

static void part_read_record(struct part *p)
{
	_cleanup_(json_freep) json_t *j = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (read_file_at(p->q->dirfd, p->meta_name, META_MAX, &text, &len) < 0)
		return;
	if (jloadb((struct span){ text, len }, &j, NULL) < 0 || !json_is_object(j))
		return;
	p->url = json_text(j, "url");
	p->validator = json_text(j, "validator");
}

static int part_open_file(struct part *p, struct err *e)
{
	struct stat st;

	p->fd =
	    openat(p->q->dirfd, p->part_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	if (p->fd < 0)
		return err_errno(e, -errno, "cannot open %s/%s", where(p), p->part_name);
	if (fstat(p->fd, &st) < 0)
		return err_errno(e, -errno, "looking at %s/%s", where(p), p->part_name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EEXIST, "%s/%s is in the way and is not a file", where(p), p->part_name);
	return 0;
}

int part_open(const struct fetch_request *q, const char *name, struct part *ret, struct err *e)
{
	_cleanup_(part_done) struct part p = { .q = q, .name = name, .fd = -EBADF };
	int r;

	snprintf(p.part_name, sizeof(p.part_name), "%s.part", name);
	snprintf(p.meta_name, sizeof(p.meta_name), "%s.part.meta", name);
	r = part_open_file(&p, e);
	if (r < 0)
		return r;
	r = digests_start(&p, e);
	if (r < 0)
		return r;
	part_read_record(&p);
	r = part_hash_existing(&p, e);
	if (r < 0)
		return r;
	*ret = p;
	p = (struct part){ .fd = -EBADF };
	return 0;
}

int part_reset(struct part *p, struct err *e)
{
	(void)unlinkat(p->q->dirfd, p->meta_name, 0);
	freep(&p->url);
	freep(&p->validator);
	if (ftruncate(p->fd, 0) < 0 || lseek(p->fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "emptying %s/%s", where(p), p->part_name);
	p->size = 0;
	p->head_len = 0;
	p->head_judged = false;
	return digests_start(p, e);
}

/* A part may be continued when the server can be asked whether it still serves the same bytes (validator of the
 * same address), or when a known digest will tell anyway. */
int part_prepare(struct part *p, const char *url, const char **ret_validator, struct err *e)
{
	bool same = p->url && strcmp(p->url, url) == 0 && p->validator && p->validator[0];
	bool is_file = strncmp(url, "file:", 5) == 0;
	bool too_long = p->q->size_bytes && p->size > p->q->size_bytes;

	*ret_validator = same ? p->validator : NULL;
	if (p->size && (is_file || too_long || (!same && !p->q->sha256))) {
		*ret_validator = NULL;
		return part_reset(p, e);
	}
	if (lseek(p->fd, (off_t)p->size, SEEK_SET) < 0)
		return err_errno(e, -errno, "continuing %s/%s", where(p), p->part_name);
	return 0;
}

int part_record(struct part *p, const char *url, const char *validator, struct err *e)
{
	_cleanup_(json_freep) json_t *j = json_pack("{s:s, s:s}", "url", url, "validator", validator);
	_cleanup_free_ char *text = NULL;
	int r;

	if (!j || jdump(j, &text) < 0)
		return err_oom(e);
	r = publish_bytes(p->q->dirfd, p->meta_name, text, strlen(text), 0644);
	if (r < 0)
		return err_errno(e, r, "writing %s/%s", where(p), p->meta_name);
	freep(&p->url);
	freep(&p->validator);
	p->url = strdup(url);
	p->validator = strdup(validator);
	return p->url && p->validator ? 0 : err_oom(e);
}

/* -- judging -- */

static const char *const kind_text[] = {
	[FETCH_ANY] = "a file",
	[FETCH_PACKAGE] = "a driver package",
	[FETCH_RUNFILE] = "a .run driver package",
	[FETCH_DEB] = "a .deb package",
	[FETCH_RPM] = "an .rpm package",
	[FETCH_ZIP] = "a .zip archive",
};

static int judge_head(struct part *p, struct err *e)
{
	const char *looks = NULL;
	enum fetch_kind want = p->q->kind;
	bool ok = fetch_kind_fits(want, p->head, p->head_len, &looks);

	if (want == FETCH_ANY)
		ok = strcmp(looks, "a web page") != 0 && strcmp(looks, "a JSON document") != 0;

	p->head_judged = true;
	if (ok)
		return 0;
	return err_set(e, -ERR_FETCH_CONTENT, "expected %s, but %s begins like %s", kind_text[want], p->name,
		       looks);
}

static int judge_size(struct part *p, uint64_t size, struct err *e)
{
	uint64_t max = p->q->max_bytes ? p->q->max_bytes : FETCH_MAX;

	if (p->q->size_bytes && size > p->q->size_bytes)
		return err_set(e, -ERR_FETCH_SIZE,
			       "%s: expected %" PRIu64 " bytes, there are at least %" PRIu64, p->name,
			       p->q->size_bytes, size);
	if (size > max)
		return err_set(e, -ERR_FETCH_SIZE, "%s is larger than the limit of %" PRIu64 " bytes",
			       p->name, max);
	return 0;
}

static int no_space(struct part *p, uint64_t needed, uint64_t available, struct err *e)
{
	(void)err_set(e, -ERR_FETCH_NO_SPACE, "%s: %s needs %" PRIu64 " more bytes, %" PRIu64 " are free",
		      where(p), p->name, needed, available);
	return err_object(e, "%s", where(p));
}

static int check_space(struct part *p, uint64_t more, struct err *e)
{
	struct statvfs v;
	uint64_t available;

	if (fstatvfs(p->fd, &v) < 0 || v.f_frsize == 0)
		return 0; /* the write will tell */
	if (__builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, &available))
		return 0;
	return available < more ? no_space(p, more, available, e) : 0;
}

static int on_begin(void *arg, uint64_t offset, int64_t total, enum transfer_verdict *ret_verdict,
		    struct err *e)
{
	struct part *p = arg;
	uint64_t expected = p->q->size_bytes;
	int r;

	if (offset != p->size) {
		*ret_verdict = TRANSFER_FATAL;
		r = part_reset(p, e);
		if (r < 0)
			return r;
	}
	*ret_verdict = TRANSFER_NEXT;
	if (expected && total >= 0 && (uint64_t)total != expected)
		return err_set(e, -ERR_FETCH_SIZE,
			       "%s: expected %" PRIu64 " bytes, the server announces %" PRId64, p->name,
			       expected, total);
	if (total >= 0) {
		r = judge_size(p, (uint64_t)total, e);
		if (r < 0)
			return r;
		*ret_verdict = TRANSFER_FATAL;
		r = check_space(p, (uint64_t)total - p->size, e);
		if (r < 0)
			return r;
	}
	if (p->progress_shown)
		progress_end(&p->progress);
	progress_begin(&p->progress, p->name, total >= 0 ? (uint64_t)total : 0);
	p->progress_shown = true;
	return 0;
}

static int on_data(void *arg, const void *buf, size_t len, enum transfer_verdict *ret_verdict, struct err *e)
{
	struct part *p = arg;
	int r;

	*ret_verdict = TRANSFER_NEXT;
	r = judge_size(p, p->size + len, e);
	if (r < 0)
		return r;
	*ret_verdict = TRANSFER_FATAL;
	r = interrupt_check(e);
	if (r < 0)
		return r;
	r = write_all(p->fd, buf, len);
	if (r == -ENOSPC || r == -EDQUOT)
		return no_space(p, len, 0, e);
	if (r < 0)
		return err_errno(e, r, "writing %s/%s", where(p), p->part_name);
	if (part_take(p, buf, len) < 0)
		return err_oom(e);
	if (!p->head_judged && p->head_len >= 16) {
		*ret_verdict = TRANSFER_NEXT;
		r = judge_head(p, e);
		if (r < 0)
			return r;
	}
	progress_update(&p->progress, p->size);
	return 0;
}

struct transfer_sink part_sink(struct part *p)
{
	return (struct transfer_sink){ on_begin, on_data, p };
}

/* -- the end -- */

static int final_hex(struct digest *d, char *out, struct err *e)
{
	uint8_t bytes[64];
	size_t len;

	if (digest_final(d, bytes, sizeof(bytes), &len) < 0)
		return err_oom(e);
	hex_encode(bytes, len, out);
	return 0;
}

static int digest_differs(struct part *p, const char *what, const char *want, const char *found,
			  struct err *e)
{
	(void)err_set(e, -ERR_FETCH_DIGEST, "%s: expected %s %s, found %s", p->name, what, want, found);
	return err_object(e, "%s", p->q->url);
}

static int part_judge(struct part *p, char sha256[65], struct err *e)
{
	char md5[129];
	int r;

	if (p->q->size_bytes && p->size != p->q->size_bytes)
		return err_set(e, -ERR_FETCH_SIZE, "%s: expected %" PRIu64 " bytes, found %" PRIu64, p->name,
			       p->q->size_bytes, p->size);
	r = judge_head(p, e);
	if (r < 0)
		return r;
	r = final_hex(p->sha256, sha256, e);
	if (r < 0)
		return r;
	if (p->q->sha256 && strcasecmp(p->q->sha256, sha256) != 0)
		return digest_differs(p, "sha256", p->q->sha256, sha256, e);
	if (p->md5) {
		r = final_hex(p->md5, md5, e);
		if (r < 0)
			return r;
		if (strcasecmp(p->q->md5, md5) != 0)
			return digest_differs(p, "md5", p->q->md5, md5, e);
	}
	if (!p->q->accept)
		return 0;
	r = p->q->accept(p->q->dirfd, p->part_name, p->q->accept_arg, e);
	p->refused = r < 0;
	return r;
}

int part_check(struct part *p, char ret_sha256[65], struct err *e)
{
	char hex[129];
	int r = part_judge(p, hex, e);

	if (r < 0) {
		part_discard(p);
		return r;
	}
	memcpy(ret_sha256, hex, 65);
	return 0;
}
