/* SPDX-License-Identifier: Apache-2.0 */
#include "ocilayout.h"

#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK	    512u
#define MEMBERS_MAX 100000u
#define PAX_MAX	    ((uint64_t)64 << 10)
#define BLOBS	    "blobs/sha256/"

struct entry {
	char *name; /* owned; clean */
	uint64_t offset, size_bytes;
};

struct ocilayout {
	int fd; /* owned; the archive or the directory */
	bool is_dir;
	char *path; /* owned; for messages */
	struct entry *entries; /* owned; archives only, sorted by name */
	size_t n_entries, n_allocated;
};

void ocilayout_freep(struct ocilayout **lp)
{
	struct ocilayout *l = *lp;

	if (!l)
		return;
	for (size_t i = 0; i < l->n_entries; i++)
		free(l->entries[i].name);
	free(l->entries);
	free(l->path);
	close_fdp(&l->fd);
	freep(lp);
}

void oci_blob_done(struct oci_blob *b)
{
	close_fdp(&b->fd);
}

static int damaged(const struct ocilayout *l, struct err *e, const char *what)
{
	(void)err_set(e, -ERR_BUNDLE_DAMAGED, "%s: %s", l->path, what);
	return err_object(e, "%s", l->path);
}

/* -- the archive's index -- */

struct member {
	char *name; /* owned */
	char type;
	uint64_t size;
};

/* What an extended header said about the member after it. */
struct extended {
	char *path; /* owned */
	uint64_t size;
	bool has_size;
};

static int read_number(const char *field, size_t n, uint64_t *ret)
{
	struct span s = { field, strnlen(field, n) };

	/* Base 256, which tools use for 8 GiB and more. */
	if ((unsigned char)field[0] == 0x80) {
		uint64_t v = 0;

		for (size_t i = 1; i < n; i++) {
			if (v >> 55)
				return -ERANGE;
			v = v << 8 | (unsigned char)field[i];
		}
		*ret = v;
		return 0;
	}
	s = span_trim(s);
	*ret = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '7')
			return -EINVAL;
		*ret = *ret << 3 | (uint64_t)(s.p[i] - '0');
	}
	return s.len ? 0 : -EINVAL;
}

static bool checksum_is_right(const char *h)
{
	uint64_t want, sum = 0;

	if (read_number(h + 148, 8, &want) < 0)
		return false;
	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
	return sum == want;
}

static int extended_value(struct extended *x, struct span key, struct span value)
{
	if (span_eq(key, "path")) {
		free(x->path);
		x->path = span_dup(value);
		return x->path ? 0 : -ENOMEM;
	}
	if (!span_eq(key, "size"))
		return 0;
	x->has_size = true;
	return parse_u64(value, (uint64_t)1 << 62, &x->size);
}

/* Records "<length> key=value\n". */
static int extended_parse(struct span text, struct extended *x)
{
	while (text.len > 0) {
		const char *blank = memchr(text.p, ' ', text.len), *eq;
		size_t digits = blank ? (size_t)(blank - text.p) : 0;
		uint64_t n;
		int r;

		if (!blank || parse_u64((struct span){ text.p, digits }, text.len, &n) < 0 ||
		    n < digits + 3 || text.p[n - 1] != '\n')
			return -EINVAL;
		eq = memchr(blank + 1, '=', n - digits - 1);
		if (!eq)
			return -EINVAL;
		r = extended_value(x, (struct span){ blank + 1, (size_t)(eq - blank - 1) },
				   (struct span){ eq + 1, (size_t)(text.p + n - 1 - (eq + 1)) });
		if (r < 0)
			return r;
		text.p += n;
		text.len -= n;
	}
	return 0;
}

static int read_extended(struct ocilayout *l, uint64_t offset, uint64_t size, struct extended *x,
			 struct err *e)
{
	_cleanup_free_ char *text = NULL;

	if (size > PAX_MAX)
		return err_set(e, -ERR_ARCHIVE_LIMIT, "%s: an extended header of %llu bytes", l->path,
			       (unsigned long long)size);
	text = malloc(size + 1);
	if (!text)
		return err_oom(e);
	if (pread_exact(l->fd, text, size, offset) < 0)
		return damaged(l, e, "the archive ends in an extended header");
	text[size] = '\0';
	return extended_parse((struct span){ text, size }, x) < 0 ? damaged(l, e, "a broken extended header")
								  : 0;
}

static char *header_name(const char *h)
{
	size_t prefix = strnlen(h + 345, 155), name = strnlen(h, 100);

	if (memcmp(h + 257, "ustar\0", 6) != 0 || !prefix)
		return strndup(h, name);
	return str_printf("%.*s/%.*s", (int)prefix, h + 345, (int)name, h);
}

static int add_entry(struct ocilayout *l, const char *raw, uint64_t offset, uint64_t size, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	int r = path_clean(raw, &name);

	if (r == -EINVAL)
		return err_set(e, -ERR_ARCHIVE_PATH_ESCAPE, "%s: a member is called \"%.200s\"", l->path,
			       raw);
	if (r < 0)
		return err_oom(e);
	if (l->n_entries >= MEMBERS_MAX)
		return err_set(e, -ERR_ARCHIVE_LIMIT, "%s: more than %u members", l->path, MEMBERS_MAX);
	if (l->n_entries == l->n_allocated) {
		size_t n = l->n_allocated ? 2 * l->n_allocated : 64;
		struct entry *more = reallocarray(l->entries, n, sizeof(*more));

		if (!more)
			return err_oom(e);
		l->entries = more;
		l->n_allocated = n;
	}
	l->entries[l->n_entries++] = (struct entry){ TAKE_PTR(name), offset, size };
	return 0;
}

static int refuse_type(struct ocilayout *l, char type, const char *name, struct err *e)
{
	return err_set(e, -ERR_ARCHIVE_SPECIAL_FILE,
		       "%s: %.200s is of type '%c'; a bundle holds plain files only", l->path, name,
		       type >= 0x20 && type < 0x7f ? type : '?');
}

/* One member whose header stands at *at; *at moves behind its content. */
static int scan_member(struct ocilayout *l, const char *h, uint64_t end, uint64_t *at, struct extended *x,
		       struct err *e)
{
	_cleanup_free_ char *name = x->path ? TAKE_PTR(x->path) : header_name(h);
	uint64_t size, offset = *at + BLOCK;
	char type = h[156] ? h[156] : '0';
	bool is_extended = type == 'x' || type == 'g';
	int r = 0;

	if (!name)
		return err_oom(e);
	if (!checksum_is_right(h) || read_number(h + 124, 12, &size) < 0)
		return damaged(l, e, "a header of the archive is broken");
	if (x->has_size && !is_extended)
		size = x->size;
	if (size > end - offset)
		return damaged(l, e, "the archive ends before its content does");
	if (type == 'x')
		r = read_extended(l, offset, size, x, e);
	else if (type == '0')
		r = add_entry(l, name, offset, size, e);
	else if (type != '5' && type != 'g')
		r = refuse_type(l, type, name, e);
	if (!is_extended)
		x->has_size = false;
	size = (size + BLOCK - 1) / BLOCK * BLOCK;
	*at = size > end - offset ? end : offset + size;
	return r;
}

static bool is_zero(const char *h)
{
	return h[0] == '\0' && memcmp(h, h + 1, BLOCK - 1) == 0;
}

static int scan(struct ocilayout *l, uint64_t end, struct err *e)
{
	struct extended x = { 0 };
	uint64_t at = 0;
	int r = 0;

	while (r == 0) {
		char h[BLOCK];

		if (end - at < BLOCK || pread_exact(l->fd, h, sizeof(h), at) < 0)
			r = damaged(l, e, "the archive has no end");
		else if (is_zero(h))
			break;
		else
			r = scan_member(l, h, end, &at, &x, e);
	}
	free(x.path);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int index_archive(struct ocilayout *l, const struct stat *st, struct err *e)
{
	char magic[6] = "";
	int r;

	if (pread_exact(l->fd, magic, 5, 257) < 0 || memcmp(magic, "ustar", 5) != 0) {
		(void)err_set(e, -ERR_BUNDLE_FORMAT, "%s is neither an archive nor a directory", l->path);
		return err_object(e, "%s", l->path);
	}
	r = scan(l, (uint64_t)st->st_size, e);
	if (r < 0)
		return r;
	if (l->n_entries)
		qsort(l->entries, l->n_entries, sizeof(*l->entries), by_name);
	for (size_t i = 1; i < l->n_entries; i++)
		if (strcmp(l->entries[i - 1].name, l->entries[i].name) == 0)
			return err_set(e, -ERR_ARCHIVE_DUPLICATE, "%s holds %s twice", l->path,
				       l->entries[i].name);
	return 0;
}

/* -- contents -- */

static int file_open(const struct ocilayout *l, const char *name, struct oci_blob *ret)
{
	const struct entry key = { .name = (char *)name }, *found;
	struct stat st;
	int fd;

	if (l->is_dir) {
		fd = path_open_at(l->fd, name, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
		if (fd < 0)
			return fd;
		*ret = (struct oci_blob){ fd, 0, 0 };
		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
			oci_blob_done(ret);
			return -EINVAL;
		}
		ret->size_bytes = (uint64_t)st.st_size;
		return 0;
	}
	found = l->n_entries ? bsearch(&key, l->entries, l->n_entries, sizeof(key), by_name) : NULL;
	if (!found)
		return -ENOENT;
	fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	*ret = (struct oci_blob){ fd, found->offset, found->size_bytes };
	return 0;
}

static int file_read(const struct ocilayout *l, const char *name, size_t max_bytes, char **ret,
		     size_t *ret_len, struct err *e)
{
	_cleanup_(oci_blob_done) struct oci_blob b = OCI_BLOB_INIT;
	_cleanup_free_ char *text = NULL;
	int r = file_open(l, name, &b);

	if (r < 0)
		return r == -ENOENT ? r : err_errno(e, r, "%s: %s", l->path, name);
	if (b.size_bytes > max_bytes)
		return err_set(e, -ERR_TOO_LARGE, "%s: %s is %llu bytes large", l->path, name,
			       (unsigned long long)b.size_bytes);
	text = malloc(b.size_bytes + 1);
	if (!text)
		return err_oom(e);
	r = pread_exact(b.fd, text, b.size_bytes, b.offset);
	if (r < 0)
		return damaged(l, e, "it became shorter while it was read");
	text[b.size_bytes] = '\0';
	*ret = TAKE_PTR(text);
	*ret_len = b.size_bytes;
	return 0;
}

static char *blob_name(const char *hex)
{
	return str_printf(BLOBS "%s", hex);
}

int ocilayout_blob(const struct ocilayout *l, const char *hex, struct oci_blob *ret, struct err *e)
{
	_cleanup_free_ char *name = blob_name(hex);
	int r = name ? file_open(l, name, ret) : -ENOMEM;

	return r < 0 && r != -ENOENT ? err_errno(e, r, "%s: blob %s", l->path, hex) : r;
}

bool ocilayout_has(const struct ocilayout *l, const char *hex)
{
	_cleanup_(oci_blob_done) struct oci_blob b = OCI_BLOB_INIT;

	return ocilayout_blob(l, hex, &b, NULL) == 0;
}

int ocilayout_read(const struct ocilayout *l, const char *hex, size_t max_bytes, char **ret, size_t *ret_len,
		   struct err *e)
{
	_cleanup_free_ char *name = blob_name(hex), *text = NULL;
	uint8_t digest[SHA256_SIZE];
	char found[SHA256_HEX_SIZE];
	size_t len = 0;
	int r;

	if (!name)
		return err_oom(e);
	r = file_read(l, name, max_bytes, &text, &len, e);
	if (r == -ENOENT) {
		(void)err_set(e, -ERR_BUNDLE_DAMAGED, "%s lacks the blob %s", l->path, hex);
		return err_object(e, "%s", l->path);
	}
	if (r < 0)
		return r;
	if (sha256_bytes(text, len, digest) < 0)
		return err_oom(e);
	hex_encode(digest, sizeof(digest), found);
	if (strcmp(found, hex) != 0) {
		(void)err_set(e, -ERR_BUNDLE_DAMAGED, "%s: the blob %s has the digest %s", l->path, hex,
			      found);
		return err_object(e, "%s", l->path);
	}
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

int ocilayout_index(const struct ocilayout *l, char **ret, size_t *ret_len, struct err *e)
{
	int r = file_read(l, "index.json", OCI_INDEX_MAX_BYTES, ret, ret_len, e);

	return r == -ENOENT ? err_set(e, -ERR_BUNDLE_FORMAT, "%s has no index.json", l->path) : r;
}

/* -- opening -- */

static int check_version(const struct ocilayout *l, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	const char *version = NULL;
	size_t len = 0;
	int r = file_read(l, "oci-layout", 4096, &text, &len, e);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0)
		r = jparse((struct span){ text, len }, &j, e);
	if (r == 0)
		r = jget_str(j, "imageLayoutVersion", &version, e);
	if (r == 0 && strncmp(version, "1.", 2) == 0)
		return 0;
	(void)err_set(e, -ERR_BUNDLE_FORMAT, "%s does not hold an image layout of version 1", l->path);
	return err_object(e, "%s", l->path);
}

int ocilayout_open_at(int root_fd, const char *path, struct ocilayout **ret, struct err *e)
{
	_cleanup_(ocilayout_freep) struct ocilayout *l = calloc(1, sizeof(*l));
	struct stat st;
	int r;

	if (!l || !(l->path = strdup(path)))
		return err_oom(e);
	l->fd = path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	if (l->fd < 0) {
		(void)err_errno(e, l->fd, "cannot open the bundle %s", path);
		return err_object(e, "%s", path);
	}
	if (fstat(l->fd, &st) < 0)
		return err_errno(e, -errno, "%s", path);
	l->is_dir = S_ISDIR(st.st_mode);
	if (!l->is_dir && !S_ISREG(st.st_mode))
		return err_set(e, -ERR_BUNDLE_FORMAT, "%s is neither a file nor a directory", path);
	r = l->is_dir ? 0 : index_archive(l, &st, e);
	if (r == 0)
		r = check_version(l, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}
