/* SPDX-License-Identifier: Apache-2.0 */
#include "pkg.h"

#include "fd.h"
#include "fetch.h"
#include "interrupt.h"
#include "libarchive.h"
#include "path.h"
#include "strbuf.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMBER_MAX ((uint64_t)8 << 30)
#define BLOCK	   ((size_t)256 << 10)

void pkg_facts_done(struct pkg_facts *f)
{
	freep(&f->name);
	freep(&f->version);
	freep(&f->arch);
	freep(&f->source);
}

/* -- versions -- */

char *pkg_upstream(const char *version)
{
	const char *colon = strchr(version, ':'), *dash;

	if (colon)
		version = colon + 1;
	dash = strrchr(version, '-');
	return dash ? strndup(version, (size_t)(dash - version)) : strdup(version);
}

/* Weight of a non-digit: "~" before the end, the end before letters, letters before the rest. */
static int weight(int c)
{
	if (c == '~')
		return -1;
	if (!c || isdigit(c))
		return 0;
	return isalpha(c) ? c : c + 256;
}

static int compare_part(const char *a, const char *a_end, const char *b, const char *b_end)
{
	while (a < a_end || b < b_end) {
		int difference = 0;

		while ((a < a_end && !isdigit((unsigned char)*a)) ||
		       (b < b_end && !isdigit((unsigned char)*b))) {
			int wa = a < a_end ? weight((unsigned char)*a) : 0;
			int wb = b < b_end ? weight((unsigned char)*b) : 0;

			if (wa != wb)
				return wa - wb;
			a += a < a_end;
			b += b < b_end;
		}
		while (a < a_end && *a == '0')
			a++;
		while (b < b_end && *b == '0')
			b++;
		while (a < a_end && isdigit((unsigned char)*a) && b < b_end && isdigit((unsigned char)*b)) {
			if (!difference)
				difference = *a - *b;
			a++;
			b++;
		}
		if (a < a_end && isdigit((unsigned char)*a))
			return 1;
		if (b < b_end && isdigit((unsigned char)*b))
			return -1;
		if (difference)
			return difference;
	}
	return 0;
}

static const char *take_epoch(const char *v, uint64_t *ret)
{
	const char *colon = strchr(v, ':');

	*ret = 0;
	if (!colon || parse_u64((struct span){ v, (size_t)(colon - v) }, UINT32_MAX, ret) < 0)
		return v;
	return colon + 1;
}

int pkg_version_compare(const char *a, const char *b)
{
	uint64_t ea, eb;
	const char *da, *db;
	int c;

	a = take_epoch(a, &ea);
	b = take_epoch(b, &eb);
	if (ea != eb)
		return ea < eb ? -1 : 1;
	da = strrchr(a, '-') ? strrchr(a, '-') : a + strlen(a);
	db = strrchr(b, '-') ? strrchr(b, '-') : b + strlen(b);
	c = compare_part(a, da, b, db);
	if (c)
		return c;
	return compare_part(da + (*da != 0), da + strlen(da), db + (*db != 0), db + strlen(db));
}

/* -- archives -- */

void pkg_archive_freep(struct archive **a)
{
	if (*a)
		(void)archive_read_free(*a);
}

int pkg_archive_new(struct archive **ret, struct err *e)
{
	_cleanup_(pkg_archive_freep) struct archive *a = NULL;
	int r = libarchive_require(e);

	if (r < 0)
		return r;
	a = archive_read_new();
	/* Named one by one: "all" would bring in formats and external decompressors nobody asked for. */
	if (!a || archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
	    archive_read_support_filter_xz(a) != ARCHIVE_OK ||
	    archive_read_support_filter_lzma(a) != ARCHIVE_OK ||
	    archive_read_support_filter_bzip2(a) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(a) != ARCHIVE_OK ||
	    archive_read_support_filter_rpm(a) != ARCHIVE_OK ||
	    archive_read_support_format_tar(a) != ARCHIVE_OK ||
	    archive_read_support_format_cpio(a) != ARCHIVE_OK ||
	    archive_read_support_format_ar(a) != ARCHIVE_OK)
		return err_oom(e);
	*ret = TAKE_PTR(a);
	return 0;
}

int pkg_archive_error(struct archive *a, const char *label, struct err *e)
{
	const char *text = archive_error_string(a);

	if (archive_errno(a) == ENOMEM)
		return err_oom(e);
	(void)err_set(e, -ERR_SOURCE_PACKAGE, "%s: %s", label, text ? text : "damaged archive");
	return err_object(e, "%s", label);
}

static int member_path(const char *label, const char *raw, char **ret, struct err *e)
{
	int r = raw ? path_clean(raw, ret) : -EINVAL;

	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0) {
		(void)err_set(e, -ERR_PATH_ESCAPE, "%s: member \"%.200s\" is not a name inside the package",
			      label, raw ? raw : "");
		return err_object(e, "%s", label);
	}
	return 0;
}

/* A link may point anywhere inside the root it is made for, never above it. */
static bool link_escapes(const char *path, const char *target)
{
	int depth = 0;

	if (target[0] == '/')
		path = "";
	for (const char *p = path; *p; p++)
		depth += *p == '/';
	for (struct span rest = SPAN(target); rest.len;) {
		const char *slash = memchr(rest.p, '/', rest.len);
		size_t n = slash ? (size_t)(slash - rest.p) : rest.len;

		if (n == 2 && rest.p[0] == '.' && rest.p[1] == '.')
			depth--;
		else if (n && !(n == 1 && rest.p[0] == '.'))
			depth++;
		if (depth < 0)
			return true;
		rest = slash ? (struct span){ slash + 1, rest.len - n - 1 } : (struct span){ rest.p + n, 0 };
	}
	return false;
}

static int member_type(struct archive_entry *en, const char *label, struct pkg_member *m, struct err *e)
{
	if (m->target) {
		m->type = PKG_HARDLINK;
		return 0;
	}
	switch (archive_entry_filetype(en)) {
	case AE_IFREG:
		m->type = PKG_FILE;
		return 0;
	case AE_IFDIR:
		m->type = PKG_DIR;
		return 0;
	case AE_IFLNK:
		m->type = PKG_LINK;
		m->target = archive_entry_symlink(en);
		if (!m->target || !m->target[0] || strlen(m->target) > 4095 ||
		    link_escapes(m->path, m->target))
			return err_set(e, -ERR_PATH_ESCAPE, "%s: link %s leads outside, to \"%.200s\"", label,
				       m->path, m->target ? m->target : "");
		return 0;
	default:
		return err_set(e, -ERR_SOURCE_MEMBER, "%s: %s is neither a file, a directory nor a link",
			       label, m->path);
	}
}

static int budget_member(struct pkg_budget *b, const char *label, const struct pkg_member *m, struct err *e)
{
	if (b->members_left == 0)
		return err_set(e, -ERR_TOO_LARGE, "%s: too many members", label);
	b->members_left--;
	if (m->type == PKG_FILE && (m->size > MEMBER_MAX || m->size > b->bytes_left))
		return err_set(e, -ERR_TOO_LARGE, "%s: %s would unpack to %" PRIu64 " bytes", label, m->path,
			       m->size);
	return 0;
}

int pkg_walk(struct archive *a, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
	     struct err *e)
{
	struct archive_entry *en;
	int r;

	for (;;) {
		_cleanup_free_ char *path = NULL, *hard = NULL;
		struct pkg_member m = { .data = a, .budget = budget };

		r = archive_read_next_header(a, &en);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN)
			return pkg_archive_error(a, label, e);
		r = interrupt_check(e);
		if (r < 0)
			return r;
		r = member_path(label, archive_entry_pathname(en), &path, e);
		if (r < 0)
			return r;
		m.path = path;
		m.mode = archive_entry_perm(en);
		m.size = archive_entry_size_is_set(en) && archive_entry_size(en) > 0
			     ? (uint64_t)archive_entry_size(en)
			     : 0;
		if (archive_entry_hardlink(en)) {
			r = member_path(label, archive_entry_hardlink(en), &hard, e);
			if (r < 0)
				return r;
			m.target = hard;
		}
		r = member_type(en, label, &m, e);
		if (r >= 0)
			r = budget_member(budget, label, &m, e);
		if (r >= 0 && path[0])
			r = fn(&m, arg, e);
		if (r != 0)
			return r;
	}
}

ssize_t pkg_member_read(const struct pkg_member *m, void *buf, size_t size, struct err *e)
{
	la_ssize_t n = archive_read_data(m->data, buf, size);

	if (n < 0)
		return pkg_archive_error(m->data, m->path, e);
	if ((uint64_t)n > m->budget->bytes_left)
		return err_set(e, -ERR_TOO_LARGE, "%s unpacks to more than a driver can have", m->path);
	m->budget->bytes_left -= (uint64_t)n;
	return (ssize_t)n;
}

int pkg_member_text(const struct pkg_member *m, size_t max_bytes, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(max_bytes);
	char block[8192];
	size_t len;
	int r;

	for (;;) {
		ssize_t n = pkg_member_read(m, block, sizeof(block), e);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		r = strbuf_append(&b, block, (size_t)n);
		if (r == -E2BIG)
			return err_set(e, -ERR_TOO_LARGE, "%s is longer than %zu bytes", m->path, max_bytes);
		if (r < 0)
			return err_oom(e);
	}
	(void)strbuf_puts(&b, "");
	len = b.len;
	r = strbuf_steal(&b, ret);
	if (r < 0 || (!*ret && !(*ret = strdup(""))))
		return err_oom(e);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int pkg_member_to_fd(const struct pkg_member *m, int fd, struct err *e)
{
	_cleanup_free_ uint8_t *buf = malloc(BLOCK);
	int r;

	if (!buf)
		return err_oom(e);
	for (;;) {
		ssize_t n = pkg_member_read(m, buf, BLOCK, e);

		if (n <= 0)
			return (int)n;
		r = write_all(fd, buf, (size_t)n);
		if (r < 0)
			return err_errno(e, r, "writing %s", m->path);
		r = interrupt_check(e);
		if (r < 0)
			return r;
	}
}

/* -- archive inside a member -- */

struct nested {
	const struct pkg_member *m;
	struct err *e;
	int error;
	uint8_t buf[64 << 10];
};

static la_ssize_t nested_read(struct archive *a _unused_, void *arg, const void **ret)
{
	struct nested *n = arg;
	ssize_t got = pkg_member_read(n->m, n->buf, sizeof(n->buf), n->e);

	if (got < 0) {
		n->error = (int)got;
		return -1;
	}
	*ret = n->buf;
	return (la_ssize_t)got;
}

int pkg_nested_members(const struct pkg_member *m, const char *label, pkg_member_fn fn, void *arg,
		       struct err *e)
{
	_cleanup_(pkg_archive_freep) struct archive *a = NULL;
	_cleanup_free_ struct nested *n = calloc(1, sizeof(*n));
	int r = n ? pkg_archive_new(&a, e) : err_oom(e);

	if (r < 0)
		return r;
	n->m = m;
	n->e = e;
	if (archive_read_open(a, n, NULL, nested_read, NULL) != ARCHIVE_OK)
		return n->error ? n->error : pkg_archive_error(a, label, e);
	r = pkg_walk(a, label, m->budget, fn, arg, e);
	return r < 0 && n->error ? n->error : r;
}

/* -- either kind -- */

static int pkg_kind(int fd, const char *label, enum fetch_kind *ret, struct err *e)
{
	uint8_t head[64];
	const char *looks;
	ssize_t n = pread(fd, head, sizeof(head), 0);

	*ret = fetch_sniff(head, n > 0 ? (size_t)n : 0, &looks);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "reading %s", label);
	if (*ret == FETCH_DEB || *ret == FETCH_RPM)
		return 0;
	(void)err_set(e, -ERR_SOURCE_PACKAGE, "%s is no .deb or .rpm package; it begins like %s", label,
		      looks);
	return err_object(e, "%s", label);
}

int pkg_facts(int fd, const char *label, struct pkg_facts *ret, struct err *e)
{
	enum fetch_kind kind;
	int r = pkg_kind(fd, label, &kind, e);

	if (r < 0)
		return r;
	return kind == FETCH_DEB ? deb_facts(fd, label, ret, e) : rpm_facts(fd, label, ret, e);
}

int pkg_members(int fd, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
		struct err *e)
{
	enum fetch_kind kind;
	int r = pkg_kind(fd, label, &kind, e);

	if (r < 0)
		return r;
	return kind == FETCH_DEB ? deb_members(fd, label, budget, fn, arg, e)
				 : rpm_members(fd, label, budget, fn, arg, e);
}
