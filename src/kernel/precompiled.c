/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading precompiled kernel packages. Everything is read by offset through a small window: matching a 65 MB package
 * against a kernel costs one 4 KiB read, and no length from the file is used before it was compared with what is left of the
 * file. */
#include "precompiled-internal.h"

#include "fd.h"
#include "log.h"
#include "modsig.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define INFO_MAX_BYTES	 ((size_t)64 << 20)
#define BANNER_MAX_BYTES PRECOMPILED_STRING_MAX

/* -- windowed reading ------------------------------------------------------------------------------------- */

struct cursor {
	int fd; /* borrowed */
	const char *path;
	uint64_t off, size;
	uint64_t window_off;
	size_t window_len;
	uint8_t window[4096];
};

static int cursor_refill(struct cursor *c)
{
	uint64_t left = c->size - c->off;
	size_t want = left < sizeof(c->window) ? (size_t)left : sizeof(c->window);
	int r = pread_exact(c->fd, c->window, want, c->off);

	if (r < 0)
		return r;
	c->window_off = c->off;
	c->window_len = want;
	return 0;
}

static int cursor_need(const struct cursor *c, uint64_t n, const char *what, struct err *e)
{
	if (n <= c->size - c->off)
		return 0;
	return err_set(e, -ERR_PRECOMPILED_TRUNCATED,
		       "%s at offset %llu needs %llu bytes, %llu are left in %s", what,
		       (unsigned long long)c->off, (unsigned long long)n,
		       (unsigned long long)(c->size - c->off), c->path);
}

static int cursor_get(struct cursor *c, void *buf, size_t n, const char *what, struct err *e)
{
	uint8_t *out = buf;
	int r = cursor_need(c, n, what, e);

	if (r < 0)
		return r;
	while (n) {
		size_t at, have;

		if (c->off < c->window_off || c->off >= c->window_off + c->window_len) {
			r = cursor_refill(c);
			if (r < 0)
				return err_errno(e, r, "reading %s", c->path);
		}
		at = (size_t)(c->off - c->window_off);
		have = c->window_len - at < n ? c->window_len - at : n;
		memcpy(out, c->window + at, have);
		out += have;
		n -= have;
		c->off += have;
	}
	return 0;
}

static int cursor_u32(struct cursor *c, const char *what, uint32_t *ret, struct err *e)
{
	uint8_t b[4];
	int r = cursor_get(c, b, sizeof(b), what, e);

	if (r < 0)
		return r;
	*ret = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
	return 0;
}

static int cursor_expect_u32(struct cursor *c, const char *what, uint32_t want, struct err *e)
{
	uint32_t got;
	int r = cursor_u32(c, what, &got, e);

	if (r < 0)
		return r;
	if (got != want)
		return err_set(e, -ERR_PRECOMPILED_DAMAGED, "%s: %s is %u instead of %u", c->path, what, got,
			       want);
	return 0;
}

static int cursor_expect_mark(struct cursor *c, const char *what, const char *mark, struct err *e)
{
	char got[4];
	int r = cursor_get(c, got, sizeof(got), what, e);

	if (r < 0)
		return r;
	if (memcmp(got, mark, sizeof(got)) != 0)
		return err_set(e, -ERR_PRECOMPILED_DAMAGED, "%s: no %s before offset %llu", c->path, what,
			       (unsigned long long)c->off);
	return 0;
}

static int cursor_skip(struct cursor *c, uint64_t n, const char *what, struct err *e)
{
	int r = cursor_need(c, n, what, e);

	if (r < 0)
		return r;
	c->off += n;
	return 0;
}

static bool text_is_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)s[i];

		if ((ch < 0x20 && ch != '\t') || ch == 0x7f)
			return false;
	}
	return true;
}

static int cursor_string(struct cursor *c, const char *what, char **ret, struct err *e)
{
	_cleanup_free_ char *s = NULL;
	uint32_t len;
	int r;

	r = cursor_u32(c, what, &len, e);
	if (r >= 0)
		r = cursor_need(c, len, what, e);
	if (r < 0)
		return r;
	if (len > PRECOMPILED_STRING_MAX)
		return err_set(e, -ERR_PRECOMPILED_LIMIT, "%s: %s is %u bytes long, at most %zu are allowed",
			       c->path, what, len, PRECOMPILED_STRING_MAX);
	s = calloc(1, (size_t)len + 1);
	if (!s)
		return err_oom(e);
	r = cursor_get(c, s, len, what, e);
	if (r < 0)
		return r;
	if (!text_is_plain(s, len))
		return err_set(e, -ERR_PRECOMPILED_FIELD, "%s: %s holds control bytes", c->path, what);
	*ret = TAKE_PTR(s);
	return 0;
}

/* -- names ------------------------------------------------------------------------------------------------ */

static bool name_is_base(const char *s)
{
	return *s && strlen(s) <= NAME_MAX && !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static bool name_is_module(const char *s)
{
	size_t len = strlen(s);

	return name_is_base(s) && len > 3 && strcmp(s + len - 3, ".ko") == 0;
}

/* Relative, no component "..", every component short enough to exist. */
static bool path_is_beneath(const char *s)
{
	if (*s == '/' || strlen(s) >= PATH_MAX)
		return false;
	while (*s) {
		size_t n = strcspn(s, "/");

		if (n > NAME_MAX || (n == 2 && s[0] == '.' && s[1] == '.'))
			return false;
		s += n;
		s += *s == '/';
	}
	return true;
}

char *precompiled_target(const char *target_dir, const char *name)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(2 * PRECOMPILED_STRING_MAX + 2);
	char *out = NULL;

	while (*target_dir) {
		size_t n = strcspn(target_dir, "/");

		if (n && !(n == 1 && *target_dir == '.')) {
			(void)strbuf_append(&b, target_dir, n);
			(void)strbuf_putc(&b, '/');
		}
		target_dir += n;
		target_dir += *target_dir == '/';
	}
	(void)strbuf_puts(&b, name);
	return strbuf_steal(&b, &out) < 0 ? NULL : out;
}

/* -- records ---------------------------------------------------------------------------------------------- */

static int check_names(const struct precompiled_file *f, struct err *e)
{
	bool is_interface = f->type == PRECOMPILED_INTERFACE;

	if (!name_is_base(f->name))
		return err_set(e, -ERR_PRECOMPILED_NAME, "file name '%s' is not a plain name", f->name);
	if (!path_is_beneath(f->target_dir))
		return err_set(e, -ERR_PRECOMPILED_NAME, "target directory '%s' is not a relative path below",
			       f->target_dir);
	if (is_interface != (*f->linked_name != '\0') || is_interface != (*f->core_name != '\0'))
		return err_set(e, -ERR_PRECOMPILED_FIELD, "%s %s linked module and core object names",
			       f->name,
			       is_interface ? "is an interface and lacks" : "is a whole module and has");
	if (is_interface && !name_is_module(f->linked_name))
		return err_set(e, -ERR_PRECOMPILED_NAME, "linked module name '%s' is not a plain .ko name",
			       f->linked_name);
	if (!path_is_beneath(f->core_name))
		return err_set(e, -ERR_PRECOMPILED_NAME, "core object name '%s' is not a relative path below",
			       f->core_name);
	return 0;
}

static int check_attributes(const struct precompiled_file *f, bool lenient, struct err *e)
{
	uint32_t known =
	    PRECOMPILED_DETACHED_SIGNATURE | PRECOMPILED_LINKED_CRC | PRECOMPILED_EMBEDDED_SIGNATURE;
	uint32_t unknown = f->attributes & ~known;

	if (unknown && !lenient)
		return err_set(e, -ERR_PRECOMPILED_FIELD, "%s has unknown attributes 0x%x", f->name, unknown);
	if (unknown)
		log_warn("%s has unknown attributes 0x%x", f->name, unknown);
	if ((f->attributes & PRECOMPILED_DETACHED_SIGNATURE) &&
	    (!(f->attributes & PRECOMPILED_LINKED_CRC) || !f->signature_size ||
	     f->type != PRECOMPILED_INTERFACE))
		return err_set(
		    e, -ERR_PRECOMPILED_FIELD,
		    "%s claims a detached signature without being an interface with a linked module CRC and "
		    "signature bytes",
		    f->name);
	if ((f->attributes & PRECOMPILED_EMBEDDED_SIGNATURE) && f->type != PRECOMPILED_MODULE)
		return err_set(e, -ERR_PRECOMPILED_FIELD,
			       "%s claims an embedded signature without being a module", f->name);
	return 0;
}

static int record_read_names(struct cursor *c, struct precompiled_file *f, struct err *e)
{
	struct {
		const char *what;
		char **to;
	} fields[] = {
		{ "file name", &f->name },
		{ "linked module name", &f->linked_name },
		{ "core object name", &f->core_name },
		{ "target directory", &f->target_dir },
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		int r = cursor_string(c, fields[i].what, fields[i].to, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int record_read_type(struct cursor *c, struct precompiled_file *f, struct err *e)
{
	uint32_t type;
	int r;

	r = cursor_u32(c, "file type", &type, e);
	if (r < 0)
		return r;
	if (type > PRECOMPILED_MODULE)
		return err_set(e, -ERR_PRECOMPILED_FIELD, "%s: unknown file type %u", c->path, type);
	f->type = (enum precompiled_type)type;
	return cursor_u32(c, "file attributes", &f->attributes, e);
}

static int record_read_content(struct cursor *c, struct precompiled_file *f, struct err *e)
{
	int r;

	r = cursor_u32(c, "file CRC", &f->crc, e);
	if (r >= 0)
		r = cursor_u32(c, "file size", &f->size_bytes, e);
	if (r < 0)
		return r;
	f->content_offset = c->off;
	r = cursor_skip(c, f->size_bytes, "file content", e);
	if (r >= 0)
		r = cursor_expect_u32(c, "second file CRC", f->crc, e);
	if (r >= 0)
		r = cursor_u32(c, "linked module CRC", &f->linked_crc, e);
	if (r >= 0)
		r = cursor_u32(c, "signature size", &f->signature_size, e);
	if (r < 0)
		return r;
	f->signature_offset = c->off;
	return cursor_skip(c, f->signature_size, "signature", e);
}

static int record_read(struct cursor *c, uint32_t index, bool lenient, struct precompiled_file *f,
		       struct err *e)
{
	int r;

	r = cursor_expect_mark(c, "record header", PRECOMPILED_RECORD_HEADER, e);
	if (r >= 0)
		r = cursor_expect_u32(c, "sequence number", index, e);
	if (r >= 0)
		r = record_read_type(c, f, e);
	if (r >= 0)
		r = record_read_names(c, f, e);
	if (r >= 0)
		r = record_read_content(c, f, e);
	if (r >= 0)
		r = cursor_expect_u32(c, "closing sequence number", index, e);
	if (r >= 0)
		r = cursor_expect_mark(c, "record footer", PRECOMPILED_RECORD_FOOTER, e);
	if (r >= 0)
		r = check_names(f, e);
	return r < 0 ? r : check_attributes(f, lenient, e);
}

static int check_duplicates(const struct precompiled *p, uint32_t n, struct err *e)
{
	_cleanup_free_ char *last = precompiled_target(p->files[n].target_dir, p->files[n].name);

	if (!last)
		return err_oom(e);
	for (uint32_t i = 0; i < n; i++) {
		_cleanup_free_ char *other = precompiled_target(p->files[i].target_dir, p->files[i].name);

		if (!other)
			return err_oom(e);
		if (strcmp(last, other) == 0)
			return err_set(e, -ERR_PRECOMPILED_DUPLICATE, "'%s' is file %u and file %u", last,
				       i + 1, n + 1);
	}
	return 0;
}

static int read_records(struct precompiled *p, struct cursor *c, bool lenient, struct err *e)
{
	p->files = calloc(p->n_files ? p->n_files : 1, sizeof(*p->files));
	if (!p->files)
		return err_oom(e);
	for (uint32_t i = 0; i < p->n_files; i++) {
		int r = record_read(c, i, lenient, &p->files[i], e);

		if (r >= 0)
			r = check_duplicates(p, i, e);
		if (r < 0)
			return err_wrap(e, "file %u", i + 1);
	}
	if (c->off == c->size)
		return 0;
	if (!lenient)
		return err_set(e, -ERR_PRECOMPILED_TRAILING, "%llu bytes follow the last file of %s",
			       (unsigned long long)(c->size - c->off), p->path);
	log_warn("%s: %llu bytes after the last file are ignored", p->path,
		 (unsigned long long)(c->size - c->off));
	return 0;
}

static int read_header(struct precompiled *p, struct cursor *c, struct err *e)
{
	uint32_t version;
	char magic[PRECOMPILED_MAGIC_SIZE];
	int r;

	if (c->size < sizeof(magic))
		return err_set(e, -ERR_PRECOMPILED_NOT_A_PACKAGE, "%s is only %llu bytes long", p->path,
			       (unsigned long long)c->size);
	r = cursor_get(c, magic, sizeof(magic), "magic", e);
	if (r < 0)
		return r;
	if (memcmp(magic, PRECOMPILED_MAGIC, sizeof(magic)) != 0)
		return err_set(e, -ERR_PRECOMPILED_NOT_A_PACKAGE, "%s does not begin like one", p->path);
	r = cursor_u32(c, "format version", &version, e);
	if (r < 0)
		return r;
	if (version != PRECOMPILED_VERSION)
		return err_set(e, -ERR_PRECOMPILED_FORMAT, "%s has format %u", p->path, version);
	r = cursor_string(c, "driver version", &p->version, e);
	if (r >= 0 && !*p->version)
		r = err_set(e, -ERR_PRECOMPILED_FIELD, "%s: the driver version is empty", p->path);
	if (r >= 0)
		r = cursor_string(c, "description", &p->description, e);
	if (r >= 0)
		r = cursor_string(c, "proc version", &p->proc_version, e);
	if (r >= 0)
		r = cursor_u32(c, "number of files", &p->n_files, e);
	if (r >= 0 && p->n_files > PRECOMPILED_FILES_MAX)
		r = err_set(e, -ERR_PRECOMPILED_LIMIT, "%s: %u files, at most %u are allowed", p->path,
			    p->n_files, PRECOMPILED_FILES_MAX);
	return r;
}

/* -- contents --------------------------------------------------------------------------------------------- */

int precompiled_copy(int from, uint64_t off, uint64_t len, int to, uint32_t *crc)
{
	_cleanup_free_ uint8_t *block = malloc(PRECOMPILED_BLOCK_BYTES);

	if (!block)
		return -ENOMEM;
	while (len) {
		size_t n = len < PRECOMPILED_BLOCK_BYTES ? (size_t)len : PRECOMPILED_BLOCK_BYTES;
		int r = pread_exact(from, block, n, off);

		if (r >= 0 && to >= 0)
			r = write_all(to, block, n);
		if (r < 0)
			return r;
		*crc = crc32_mpeg2(*crc, block, n);
		off += n;
		len -= n;
	}
	return 0;
}

int precompiled_copy_content(const struct precompiled *p, const struct precompiled_file *f, int to,
			     struct err *e)
{
	uint32_t crc = CRC32_MPEG2_INIT;
	int r;

	r = precompiled_copy(p->fd, f->content_offset, f->size_bytes, to, &crc);
	if (r < 0)
		return err_errno(e, r, "copying %s out of %s", f->name, p->path);
	/* The vendor's writer stores 0 for an empty file although the CRC of nothing is the start value. */
	if (crc != f->crc && !(f->size_bytes == 0 && f->crc == 0))
		return err_set(e, -ERR_PRECOMPILED_CRC, "%s in %s: CRC %u, recorded %u", f->name, p->path,
			       crc, f->crc);
	return 0;
}

static int check_embedded_signature(const struct precompiled *p, const struct precompiled_file *f,
				    struct err *e)
{
	struct modsig sig;
	int r;

	if (!(f->attributes & PRECOMPILED_EMBEDDED_SIGNATURE))
		return 0;
	r = modsig_detect_range(p->fd, f->content_offset, f->size_bytes, &sig);
	if (r == -EBADMSG || (r >= 0 && !sig.is_signed))
		return err_set(e, -ERR_PRECOMPILED_FIELD,
			       "%s is said to be signed and carries no module signature", f->name);
	return r < 0 ? err_errno(e, r, "reading %s", p->path) : 0;
}

static int verify_contents(const struct precompiled *p, struct err *e)
{
	for (uint32_t i = 0; i < p->n_files; i++) {
		int r = precompiled_copy_content(p, &p->files[i], -EBADF, e);

		if (r >= 0)
			r = check_embedded_signature(p, &p->files[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* -- opening ---------------------------------------------------------------------------------------------- */

void precompiled_freep(struct precompiled **pp)
{
	struct precompiled *p = *pp;

	if (!p)
		return;
	for (uint32_t i = 0; p->files && i < p->n_files; i++) {
		free(p->files[i].name);
		free(p->files[i].linked_name);
		free(p->files[i].core_name);
		free(p->files[i].target_dir);
	}
	free(p->files);
	free(p->path);
	free(p->version);
	free(p->description);
	free(p->proc_version);
	close_fdp(&p->fd);
	free(p);
	*pp = NULL;
}

static int read_package(struct precompiled *p, int fd, unsigned flags, struct err *e)
{
	struct cursor c = { .fd = fd, .path = p->path };
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(e, -errno, "reading %s", p->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -ERR_PRECOMPILED_NOT_A_PACKAGE, "%s is not a regular file", p->path);
	c.size = p->size_bytes = (uint64_t)st.st_size;
	r = read_header(p, &c, e);
	if (r < 0 || (flags & PRECOMPILED_READ_HEADER))
		return r;
	return read_records(p, &c, (flags & PRECOMPILED_LENIENT) != 0, e);
}

int precompiled_open_fd(int fd, const char *path, unsigned flags, struct precompiled **ret, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_oom(e);
	p->fd = -EBADF;
	p->path = strdup(path);
	if (!p->path)
		return err_oom(e);
	r = read_package(p, fd, flags, e);
	if (r < 0)
		return err_object(e, "%s", path);
	p->fd = fd;
	if (flags & PRECOMPILED_VERIFY) {
		r = verify_contents(p, e);
		if (r < 0) {
			p->fd = -EBADF;
			return err_object(e, "%s", path);
		}
	}
	*ret = TAKE_PTR(p);
	return 0;
}

int precompiled_open(int dirfd, const char *path, unsigned flags, struct precompiled **ret, struct err *e)
{
	/* O_NONBLOCK: opening a FIFO must not wait; a regular file does not notice. */
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0) {
		err_errno(e, -errno, "cannot open %s", path);
		return err_object(e, "%s", path);
	}
	r = precompiled_open_fd(fd, path, flags, ret, e);
	if (r >= 0)
		(void)TAKE_FD(fd);
	return r;
}

/* -- questions -------------------------------------------------------------------------------------------- */

int precompiled_banner(int proc_dirfd, char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r;

	/* The text is NUL-terminated, so a NUL inside cuts it as it should. */
	r = read_file_at(proc_dirfd, "version", BANNER_MAX_BYTES, &text, NULL);
	if (r < 0) {
		err_errno(e, r, "cannot read the kernel's version file");
		return err_object(e, "version");
	}
	text[strcspn(text, "\n")] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

int precompiled_match(const struct precompiled *p, const char *driver_version, const char *proc_version,
		      struct err *e)
{
	if (driver_version && strcmp(p->version, driver_version) != 0)
		return err_set(e, -ERR_PRECOMPILED_MISMATCH, "%s is for driver %s, not %s", p->path,
			       p->version, driver_version);
	if (strcmp(p->proc_version, proc_version) != 0)
		return err_set(e, -ERR_PRECOMPILED_MISMATCH, "%s is for kernel \"%s\", not \"%s\"", p->path,
			       p->proc_version, proc_version);
	return 0;
}

static const char *const attribute_names[] = { "detached signature", "linked module crc",
					       "embedded signature" };

static void info_attributes(const struct precompiled_file *f, struct strbuf *b)
{
	const char *separator = "";

	(void)strbuf_puts(b, "  attributes: ");
	for (unsigned bit = 0; bit < 32; bit++) {
		if (!(f->attributes & (1u << bit)))
			continue;
		(void)strbuf_printf(b, "%s%s", separator,
				    bit < ARRAY_LEN(attribute_names) ? attribute_names[bit]
								     : "unknown attribute");
		separator = ", ";
	}
	(void)strbuf_putc(b, '\n');
}

static void info_file(const struct precompiled_file *f, uint32_t number, struct strbuf *b)
{
	static const char *const types[] = { "precompiled kernel interface", "precompiled kernel module" };

	(void)strbuf_printf(b, "file %u:\n  name: '%s'\n  type: %s\n", number, f->name, types[f->type]);
	info_attributes(f, b);
	(void)strbuf_printf(b, "  size: %u bytes\n  crc: %u\n  target directory: %s\n", f->size_bytes, f->crc,
			    f->target_dir);
	if (f->type == PRECOMPILED_INTERFACE)
		(void)strbuf_printf(b, "  core object name: %s\n  linked module name: %s\n", f->core_name,
				    f->linked_name);
	if (f->attributes & PRECOMPILED_DETACHED_SIGNATURE)
		(void)strbuf_printf(b, "  linked module crc: %u\n  signature size: %u\n", f->linked_crc,
				    f->signature_size);
	(void)strbuf_putc(b, '\n');
}

int precompiled_info_text(const struct precompiled *p, char **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(INFO_MAX_BYTES);
	int r;

	(void)strbuf_printf(&b, "description: %s\nversion: %s\nproc version: %s\nnumber of files: %u\n\n",
			    p->description, p->version, p->proc_version, p->n_files);
	for (uint32_t i = 0; i < p->n_files; i++)
		info_file(&p->files[i], i + 1, &b);
	r = strbuf_steal(&b, ret);
	return r < 0 ? err_errno(e, r, "listing %s", p->path) : 0;
}

static int unpack_file(const struct precompiled *p, const struct precompiled_file *f, int dirfd,
		       struct err *e)
{
	_cleanup_free_ char *target = precompiled_target(f->target_dir, f->name);
	_cleanup_close_ int parent_fd = -EBADF;
	const char *name;
	int r;

	if (!target)
		return err_oom(e);
	parent_fd = path_open_parent(dirfd, target, true, PATH_NO_SYMLINKS, &name);
	if (parent_fd == -ELOOP || parent_fd == -EXDEV)
		return err_set(e, -ERR_PATH_ESCAPE, "the directory of %s leads through a link", target);
	if (parent_fd < 0)
		return err_errno(e, parent_fd, "cannot make the directory of %s", target);

	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(parent_fd);
	r = tmpname_open(&t, 0644);
	if (r < 0)
		return err_errno(e, r, "cannot write %s", target);
	r = precompiled_copy_content(p, f, t.fd, e);
	if (r < 0)
		return r;
	r = publish_tmp(&t, name, true);
	return r < 0 ? err_errno(e, r, "cannot write %s", target) : 0;
}

int precompiled_unpack(const struct precompiled *p, int dirfd, struct err *e)
{
	int r;

	/* All contents first, so that a package damaged near its end leaves nothing of its beginning behind. */
	r = verify_contents(p, e);
	for (uint32_t i = 0; r >= 0 && i < p->n_files; i++)
		r = unpack_file(p, &p->files[i], dirfd, e);
	return r < 0 ? err_object(e, "%s", p->path) : 0;
}

int precompiled_signature(const struct precompiled *p, const struct precompiled_file *f, uint8_t **ret)
{
	_cleanup_free_ uint8_t *sig = NULL;
	int r;

	if (!(f->attributes & PRECOMPILED_DETACHED_SIGNATURE))
		return -ENODATA;
	sig = malloc(f->signature_size);
	if (!sig)
		return -ENOMEM;
	r = pread_exact(p->fd, sig, f->signature_size, f->signature_offset);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(sig);
	return 0;
}

/* -- which files ------------------------------------------------------------------------------------------ */

static const struct {
	const char *module, *file, *linked, *core;
} interfaces[] = {
	{ "nvidia", "nv-linux.o", "nvidia.ko", "nvidia/nv-kernel.o_binary" },
	{ "nvidia-modeset", "nv-modeset-linux.o", "nvidia-modeset.ko",
	  "nvidia-modeset/nv-modeset-kernel.o_binary" },
};

int precompiled_file_name(const char *module, char *ret, size_t size)
{
	int n = -1;

	for (size_t i = 0; n < 0 && i < ARRAY_LEN(interfaces); i++) {
		if (strcmp(interfaces[i].module, module) == 0)
			n = snprintf(ret, size, "%s", interfaces[i].file);
	}
	if (n < 0)
		n = snprintf(ret, size, "%s.ko", module);
	return (size_t)n >= size ? -ENAMETOOLONG : 0;
}

bool precompiled_interface_of(const char *file_name, const char **ret_linked, const char **ret_core)
{
	for (size_t i = 0; i < ARRAY_LEN(interfaces); i++) {
		if (strcmp(interfaces[i].file, file_name) == 0) {
			*ret_linked = interfaces[i].linked;
			*ret_core = interfaces[i].core;
			return true;
		}
	}
	return false;
}

static bool holds_file(const struct precompiled *p, const char *name)
{
	for (uint32_t i = 0; i < p->n_files; i++) {
		if (strcmp(p->files[i].name, name) == 0)
			return true;
	}
	return false;
}

int precompiled_covers(const struct precompiled *p, char *const *modules, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf missing = STRBUF_INIT(STRBUF_TEXT_MAX);
	char name[NAME_MAX + 1];

	for (; *modules; modules++) {
		if (precompiled_file_name(*modules, name, sizeof(name)) < 0 || !holds_file(p, name))
			(void)strbuf_printf(&missing, "%s%s", missing.len ? ", " : "", *modules);
	}
	if (missing.len || strbuf_error(&missing) < 0) {
		err_set(e, -ERR_PRECOMPILED_INCOMPLETE, "no file for %s", strbuf_str(&missing));
		return err_object(e, "%s", p->path);
	}
	return 0;
}

char *precompiled_package_name(const char *release, const char *identity_hex)
{
	return str_printf("nvidia-modules-%s-%.8s", release, identity_hex);
}
