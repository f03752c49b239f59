/* SPDX-License-Identifier: Apache-2.0 */
#include "payload.h"

#include "fd.h"
#include "path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void runfile_freep(struct runfile **rfp)
{
	struct runfile *rf = *rfp;

	*rfp = NULL;
	if (!rf)
		return;
	close_fdp(&rf->fd);
	runfile_header_freep(&rf->header);
	free(rf->name);
	free(rf);
}

/* Read piece by piece: published stubs end within the first few, and nothing behind the stub is of interest. */
#define HEAD_PIECE_BYTES ((size_t)16 << 10)

static int read_head(struct runfile *rf, uint64_t file_size, struct err *e)
{
	static const char end[] = "\n" RUNFILE_STUB_END;
	size_t max = file_size < RUNFILE_HEADER_MAX_BYTES ? (size_t)file_size : RUNFILE_HEADER_MAX_BYTES;
	_cleanup_free_ char *head = malloc(max ? max : 1);
	size_t len = 0;

	if (!head)
		return err_oom(e);
	while (len < max && !memmem(head, len, end, sizeof(end) - 1)) {
		size_t n = max - len < HEAD_PIECE_BYTES ? max - len : HEAD_PIECE_BYTES;
		int r = pread_exact(rf->fd, head + len, n, len);

		if (r < 0)
			return err_errno(e, r, "reading the header");
		len += n;
	}
	return runfile_header_parse((struct span){ head, len }, &rf->header, e);
}

static int open_checked(struct runfile *rf, int dirfd, const char *path, struct err *e)
{
	struct stat st;
	int r;

	/* O_NONBLOCK so that a FIFO answers at once and is then refused. */
	rf->fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (rf->fd < 0)
		return err_errno(e, -errno, "cannot open it");
	if (fstat(rf->fd, &st) < 0)
		return err_errno(e, -errno, "cannot look at it");
	if (!S_ISREG(st.st_mode))
		return err_set(e, -ERR_RUNFILE_NOT_A_PACKAGE, "it is not a regular file");
	r = read_head(rf, (uint64_t)st.st_size, e);
	if (r < 0)
		return r;
	return runfile_header_locate(rf->header, rf->fd, (uint64_t)st.st_size, &rf->layout, e);
}

int runfile_open_at(int dirfd, const char *path, struct runfile **ret, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = calloc(1, sizeof(*rf));

	if (!rf)
		return err_oom(e);
	rf->fd = -EBADF;
	rf->name = strdup(path);
	if (!rf->name)
		return err_oom(e);
	if (open_checked(rf, dirfd, path, e) < 0) {
		(void)err_object(e, "%s", path);
		return err_wrap(e, "%s", path);
	}
	*ret = TAKE_PTR(rf);
	return 0;
}

/* ---- verdict ---- */

static int sum_mismatch(const struct runfile *rf, const char *which, const char *want, const char *got,
			struct err *e)
{
	(void)err_set(e, -ERR_RUNFILE_CHECKSUM, "%s: %s is %s but should be %s", rf->name, which, got, want);
	return err_object(e, "%s", rf->name);
}

static int compare_hex(const struct runfile *rf, const char *which, const uint8_t *want, const uint8_t *got,
		       size_t n, struct err *e)
{
	char want_hex[SHA256_HEX_SIZE], got_hex[SHA256_HEX_SIZE];

	if (memcmp(want, got, n) == 0)
		return 0;
	hex_encode(want, n, want_hex);
	hex_encode(got, n, got_hex);
	return sum_mismatch(rf, which, want_hex, got_hex, e);
}

static int compare_sums(const struct runfile *rf, const struct runfile_options *o,
			struct runfile_report *report, struct err *e)
{
	const struct runfile_header *h = rf->header;
	uint8_t pin[SHA256_SIZE];
	char want[16], got[16];
	int r = 0;

	/* The pin first: when it differs, the file is another one, whatever its own sums say. */
	if (o->pin.sha256) {
		if (parse_hexbytes(SPAN(o->pin.sha256), pin, sizeof(pin)) < 0)
			return err_set(e, -ERR_USAGE, "\"%s\" is not a SHA-256 of 64 hexadecimal digits",
				       o->pin.sha256);
		r = compare_hex(rf, "SHA-256", pin, report->sums.sha256, sizeof(pin), e);
		if (r < 0)
			return r;
		report->authentic = true;
	}
	if (!(o->flags & RUNFILE_CHECK_SUMS))
		return 0;
	if (report->sums.crc != h->crc) {
		(void)snprintf(want, sizeof(want), "%u", h->crc);
		(void)snprintf(got, sizeof(got), "%u", report->sums.crc);
		return sum_mismatch(rf, "CRC", want, got, e);
	}
	return h->has_md5 ? compare_hex(rf, "MD5", h->md5, report->sums.md5, MD5_SIZE, e) : 0;
}

static int check_size(const struct runfile *rf, const struct runfile_options *o, struct err *e)
{
	char want[24], got[24];

	if (o->pin.size_bytes == 0 || o->pin.size_bytes == rf->layout.file_size)
		return 0;
	(void)snprintf(want, sizeof(want), "%llu", (unsigned long long)o->pin.size_bytes);
	(void)snprintf(got, sizeof(got), "%llu", (unsigned long long)rf->layout.file_size);
	return sum_mismatch(rf, "the size in bytes", want, got, e);
}

static unsigned stream_flags(const struct runfile *rf, const struct runfile_options *o)
{
	unsigned f = 0;

	if (o->flags & RUNFILE_CHECK_SUMS)
		f |= STREAM_CRC | (rf->header->has_md5 ? STREAM_MD5 : 0);
	if ((o->flags & RUNFILE_SHA256) || o->pin.sha256)
		f |= STREAM_SHA256;
	return o->flags & RUNFILE_TOLERATE_TRAILING ? f | STREAM_TOLERATE_TRAILING : f;
}

static int start(struct runfile *rf, const struct runfile_options *o, unsigned extra, struct stream **ret,
		 struct err *e)
{
	struct stream_request q = { .fd = rf->fd,
				    .layout = &rf->layout,
				    .flags = stream_flags(rf, o) | extra,
				    .jobs = o->jobs,
				    .guard = o->guard,
				    .progress = o->progress,
				    .progress_arg = o->progress_arg };
	int r = check_size(rf, o, e);

	return r < 0 ? r : stream_open(&q, ret, e);
}

static int finish(struct runfile *rf, const struct runfile_options *o, struct stream *s,
		  struct runfile_report *report, struct err *e)
{
	int r = stream_finish(s, &report->sums, e);

	if (r < 0)
		return err_wrap(e, "%s", rf->name);
	report->has_sha256 = stream_flags(rf, o) & STREAM_SHA256;
	report->trailing = report->trailing || stream_has_trailing(s);
	return compare_sums(rf, o, report, e);
}

int runfile_verify_sums(struct runfile *rf, const struct runfile_options *o, struct runfile_report *ret,
			struct err *e)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	struct runfile_report report = { 0 };
	int r = start(rf, o, 0, &s, e);

	if (r < 0)
		return r;
	r = finish(rf, o, s, &report, e);
	if (r == 0 && ret)
		*ret = report;
	return r;
}

int runfile_walk(struct runfile *rf, const struct runfile_options *o, const struct tar_visitor *visitor,
		 void *arg, struct runfile_report *ret, struct err *e)
{
	_cleanup_(stream_freep) struct stream *s = NULL;
	struct runfile_report report = { 0 };
	struct tar_result tar = { 0 };
	int r = start(rf, o, STREAM_DECODE, &s, e);

	if (r < 0)
		return r;
	r = tar_walk(stream_next, s, o->limits, o->flags & RUNFILE_TOLERATE_TRAILING, visitor, arg, &tar, e);
	if (r < 0) {
		(void)err_object(e, "%s", rf->name);
		return err_wrap(e, "%s", rf->name);
	}
	report.members = tar.members;
	report.total_bytes = tar.total_bytes;
	report.trailing = tar.trailing;
	if (!tar.stopped) {
		r = finish(rf, o, s, &report, e);
		if (r < 0)
			return r;
	}
	if (ret)
		*ret = report;
	return 0;
}

/* ---- manifest and kind ---- */

struct manifest_find {
	struct strbuf text;
	bool seen, complete, marker;
	bool to_the_end; /* the walk goes on behind the manifest */
};

static int manifest_member(const struct tar_member *m, void *arg, struct err *e _unused_)
{
	struct manifest_find *f = arg;

	if (f->complete && !f->to_the_end)
		return TAR_STOP;
	f->marker = f->marker || strcmp(m->name, PACKAGE_VGPU_HOST_MARKER) == 0;
	if (strcmp(m->name, MANIFEST_NAME) != 0 || m->kind != TAR_FILE)
		return TAR_SKIP;
	f->seen = true;
	return TAR_WANT_DATA;
}

static int manifest_data(const void *buf, size_t len, void *arg, struct err *e)
{
	struct manifest_find *f = arg;
	int r = strbuf_append(&f->text, buf, len);

	if (r == -E2BIG)
		return err_set(e, -ERR_MANIFEST, "the manifest is larger than 8 MiB");
	return r < 0 ? err_oom(e) : 0;
}

static int manifest_end(const struct tar_member *m _unused_, void *arg, struct err *e _unused_)
{
	((struct manifest_find *)arg)->complete = true;
	return 0;
}

static const struct tar_visitor manifest_visitor = { manifest_member, manifest_data, manifest_end };

static int parse_found(const struct manifest_find *f, unsigned flags, struct manifest **ret,
		       enum package_kind *ret_kind, struct err *e)
{
	int r = manifest_parse((struct span){ strbuf_str(&f->text), f->text.len }, flags, ret, e);

	if (r == 0 && ret_kind)
		*ret_kind = manifest_package_kind(*ret, f->marker);
	return r;
}

int runfile_verify(struct runfile *rf, const struct runfile_options *o, struct runfile_report *ret,
		   struct err *e)
{
	struct manifest_find f = { .text = STRBUF_INIT(MANIFEST_MAX_BYTES), .to_the_end = true };
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct runfile_report report = { 0 };
	int r = runfile_walk(rf, o, &manifest_visitor, &f, &report, e);

	if (r == 0 && f.seen) {
		r = parse_found(&f, 0, &m, &report.kind, e);
		report.has_kind = r == 0;
	}
	strbuf_done(&f.text);
	if (r == 0 && ret)
		*ret = report;
	return r;
}

int runfile_manifest(struct runfile *rf, unsigned manifest_flags, struct manifest **ret,
		     enum package_kind *ret_kind, struct err *e)
{
	struct runfile_options o = { .flags = RUNFILE_TOLERATE_TRAILING };
	struct manifest_find f = { .text = STRBUF_INIT(MANIFEST_MAX_BYTES) };
	int r = runfile_walk(rf, &o, &manifest_visitor, &f, NULL, e);

	if (r == 0 && !f.seen)
		r = err_set(e, -ERR_MANIFEST_MISSING, "%s: no %s in the payload", rf->name, MANIFEST_NAME);
	if (r == 0)
		r = parse_found(&f, manifest_flags, ret, ret_kind, e);
	strbuf_done(&f.text);
	return r;
}
