/* SPDX-License-Identifier: Apache-2.0 */
#include "header.h"

#include "fd.h"

#include <string.h>

#define VALUE_MAX_BYTES	 4096
#define SCAN_BLOCK_BYTES ((size_t)16 << 10)
#define MAGIC_BYTES	 263 /* "ustar" lies at 257 */

static const char *const compression_names[COMPRESSION_COUNT] = { "none", "gzip", "bzip2",
								  "lzma", "xz",	  "zstd" };

const char *compression_name(enum compression c)
{
	return compression_names[c];
}

int compression_parse(const char *name, enum compression *ret)
{
	for (size_t i = 0; i < COMPRESSION_COUNT; i++)
		if (strcmp(name, compression_names[i]) == 0) {
			*ret = (enum compression)i;
			return 0;
		}
	return -EINVAL;
}

int compression_detect(const void *bytes, size_t len, enum compression *ret)
{
	static const struct {
		const char *magic;
		size_t len, at;
		enum compression c;
	} rows[] = {
		{ "\xfd"
		  "7zXZ\0",
		  6, 0, COMPRESSION_XZ },
		{ "\x28\xb5\x2f\xfd", 4, 0, COMPRESSION_ZSTD },
		{ "\x1f\x8b", 2, 0, COMPRESSION_GZIP },
		{ "BZh", 3, 0, COMPRESSION_BZIP2 },
		{ "\x5d\0\0", 3, 0, COMPRESSION_LZMA },
		{ "ustar", 5, 257, COMPRESSION_NONE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (len >= rows[i].at + rows[i].len &&
		    memcmp((const char *)bytes + rows[i].at, rows[i].magic, rows[i].len) == 0) {
			*ret = rows[i].c;
			return 0;
		}
	return -EINVAL;
}

void runfile_header_freep(struct runfile_header **h)
{
	struct runfile_header *old = *h;

	*h = NULL;
	if (!old)
		return;
	free(old->label);
	free(old->version);
	free(old->pkg_version);
	free(old->script);
	free(old->targetdir);
	free(old->scriptargs);
	free(old->target_os);
	free(old->target_arch);
	free(old->generator);
	free(old->compression_text);
	free(old->date_text);
	free(old);
}

/* ---- assignments ---- */

static int damaged(struct err *e, const char *name, const char *what)
{
	return err_set(e, -ERR_RUNFILE_HEADER, "%s: %s", name, what);
}

/* The lines up to the first empty one: where assignments are looked for. */
static struct span assignment_area(struct span head)
{
	const char *end = memmem(head.p, head.len, "\n\n", 2);

	return (struct span){ head.p, end ? (size_t)(end - head.p) + 1 : head.len };
}

/* First line NAME=…; the line number goes to ret_line. -ENOENT. */
static int find_value(struct span area, const char *name, struct span *ret, unsigned *ret_line)
{
	size_t n = strlen(name);
	unsigned number = 0;
	struct span line;

	while (span_line(&area, &line)) {
		number++;
		if (line.len <= n || memcmp(line.p, name, n) != 0 || line.p[n] != '=')
			continue;
		*ret = (struct span){ line.p + n + 1, line.len - n - 1 };
		*ret_line = number;
		return 0;
	}
	return -ENOENT;
}

static int unquote(const char *name, struct span *v, struct err *e)
{
	if (v->len > 0 && v->p[0] == '"') {
		if (v->len < 2 || v->p[v->len - 1] != '"')
			return damaged(e, name, "the closing quote is missing");
		v->p++;
		v->len -= 2;
	}
	if (v->len > VALUE_MAX_BYTES)
		return damaged(e, name, "longer than 4096 bytes");
	for (size_t i = 0; i < v->len; i++)
		if ((unsigned char)v->p[i] < 0x20 || v->p[i] == 0x7f || v->p[i] == '"')
			return damaged(e, name, "control bytes or quotes in the value");
	return 0;
}

/* 1 found, 0 absent and optional. */
static int get_value(struct span area, const char *name, bool mandatory, struct span *ret, unsigned *ret_line,
		     struct err *e)
{
	if (find_value(area, name, ret, ret_line) < 0)
		return mandatory ? damaged(e, name, "no such line") : 0;
	return unquote(name, ret, e) < 0 ? -ERR_RUNFILE_HEADER : 1;
}

static int read_texts(struct span area, struct runfile_header *h, struct err *e)
{
	const struct {
		const char *name;
		char **field;
		bool mandatory;
	} rows[] = {
		{ "label", &h->label, true },
		{ "version_string", &h->version, false },
		{ "pkg_version", &h->pkg_version, false },
		{ "script", &h->script, false },
		{ "targetdir", &h->targetdir, true },
		{ "scriptargs", &h->scriptargs, false },
		{ "TARGET_OS", &h->target_os, false },
		{ "TARGET_ARCH", &h->target_arch, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		unsigned line;
		struct span v;
		int r = get_value(area, rows[i].name, rows[i].mandatory, &v, &line, e);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		*rows[i].field = span_dup(v);
		if (!*rows[i].field)
			return err_oom(e);
	}
	return 0;
}

static int read_number(struct span area, const char *name, uint64_t max, uint64_t *out, struct err *e)
{
	unsigned line;
	struct span v;
	int r = get_value(area, name, false, &v, &line, e);

	if (r <= 0)
		return r;
	if (parse_u64(v, max, out) < 0)
		return err_set(e, -ERR_RUNFILE_HEADER, "%s=" SPAN_FMT " is not a number up to %llu", name,
			       SPAN_ARG(v), (unsigned long long)max);
	return 1;
}

static int read_lines(struct span area, struct runfile_header *h, struct err *e)
{
	int r = read_number(area, "skip", RUNFILE_SKIP_MAX, &h->skip, e);

	if (r <= 0)
		return r < 0 ? r : damaged(e, "skip", "no such line");
	r = read_number(area, "skip_decompress", RUNFILE_SKIP_MAX, &h->skip_decompress, e);
	if (r < 0)
		return r;
	if (r == 0)
		h->skip_decompress = h->skip;
	r = read_number(area, "size_decompress", RUNFILE_SKIP_MAX, &h->size_decompress, e);
	if (r < 0)
		return r;
	if (h->skip_decompress < 2 || h->skip < h->skip_decompress ||
	    h->skip - h->skip_decompress != h->size_decompress)
		return damaged(e, "skip", "skip, skip_decompress and size_decompress contradict each other");
	return 0;
}

static int read_sums(struct span area, struct runfile_header *h, struct err *e)
{
	unsigned crc_line, md5_line, last;
	uint64_t crc;
	struct span v;
	int r;

	r = get_value(area, "CRCsum", true, &v, &crc_line, e);
	if (r < 0)
		return r;
	if (parse_u64(v, UINT32_MAX, &crc) < 0)
		return damaged(e, "CRCsum", "not a number of 32 bits");
	h->crc = (uint32_t)crc;
	r = get_value(area, "MD5", true, &v, &md5_line, e);
	if (r < 0)
		return r;
	if (parse_hexbytes(v, h->md5, sizeof(h->md5)) < 0)
		return damaged(e, "MD5", "not 32 hexadecimal digits");
	for (size_t i = 0; i < sizeof(h->md5); i++)
		h->has_md5 = h->has_md5 || h->md5[i];
	/* Before 2012 skip came first and the sums one line later; they can never cover themselves. */
	last = crc_line > md5_line ? crc_line : md5_line;
	h->sums_from_line = last + 1;
	return 0;
}

static int default_version(struct runfile_header *h, struct err *e)
{
	struct span rest = SPAN(h->label), w, last = SPAN_NULL;

	if (h->version)
		goto check;
	while (span_word(&rest, &w))
		last = w;
	h->version = last.p ? span_dup(last) : strdup("");
	if (!h->version)
		return err_oom(e);
check:
	return version_is_valid(h->version) ? 0 : damaged(e, "version_string", "not a driver version");
}

/* ---- what the stub says about itself ---- */

static int find_hint(struct span head, const char *label, char **ret)
{
	const char *at = memmem(head.p, head.len, label, strlen(label)), *colon, *end;
	size_t left;

	if (!at)
		return 0;
	at += strlen(label);
	left = head.len - (size_t)(at - head.p);
	left = left > 200 ? 200 : left;
	end = memchr(at, '"', left);
	colon = end ? memchr(at, ':', (size_t)(end - at)) : NULL;
	if (!colon || memchr(at, '\n', (size_t)(end - at)))
		return 0;
	*ret = span_dup(span_trim((struct span){ colon + 1, (size_t)(end - colon - 1) }));
	return *ret ? 0 : -ENOMEM;
}

static int read_generator(struct span head, struct runfile_header *h)
{
	static const char label[] = "# Generated by ";
	const char *at = memmem(head.p, head.len, label, sizeof(label) - 1);
	struct span rest, line;

	if (!at)
		return 0;
	at += sizeof(label) - 1;
	rest = (struct span){ at, head.len - (size_t)(at - head.p) };
	if (!span_line(&rest, &line) || line.len > VALUE_MAX_BYTES)
		return 0;
	h->generator = span_dup(span_trim(line));
	return h->generator ? 0 : -ENOMEM;
}

static int read_hints(struct span head, struct runfile_header *h, struct err *e)
{
	_cleanup_free_ char *size = NULL;
	uint64_t kb;

	if (find_hint(head, "Uncompressed size", &size) < 0 ||
	    find_hint(head, "Compression", &h->compression_text) < 0 ||
	    find_hint(head, "Date of packaging", &h->date_text) < 0 || read_generator(head, h) < 0)
		return err_oom(e);
	if (size && parse_u64((struct span){ size, strspn(size, "0123456789") }, UINT64_MAX >> 10, &kb) == 0)
		h->uncompressed_kb = kb;
	return 0;
}

static bool is_toolkit(struct span head)
{
	static const char mark[] = "\noffset=`head -n ";
	const char *at = memmem(head.p, head.len, mark, sizeof(mark) - 1);

	return at && (size_t)(at - head.p) + sizeof(mark) - 1 < head.len && at[sizeof(mark) - 1] >= '0' &&
	       at[sizeof(mark) - 1] <= '9';
}

static int fill_header(struct span head, struct runfile_header *h, struct err *e)
{
	struct span area = assignment_area(head);
	int r;

	if ((r = read_texts(area, h, e)) < 0 || (r = read_lines(area, h, e)) < 0 ||
	    (r = read_sums(area, h, e)) < 0 || (r = default_version(h, e)) < 0 ||
	    (r = read_hints(head, h, e)) < 0)
		return r;
	if (!name_is_safe(h->targetdir))
		return err_set(e, -ERR_PATH_ESCAPE, "the target directory \"%s\" is not a plain name",
			       h->targetdir);
	return 0;
}

int runfile_header_parse(struct span head, struct runfile_header **ret, struct err *e)
{
	_cleanup_(runfile_header_freep) struct runfile_header *h = calloc(1, sizeof(*h));
	unsigned line;
	struct span v;
	int r;

	if (!h)
		return err_oom(e);
	if (head.len > RUNFILE_HEADER_MAX_BYTES)
		head.len = RUNFILE_HEADER_MAX_BYTES;
	if (!span_starts(head, "#!"))
		return err_set(e, -ERR_RUNFILE_NOT_A_PACKAGE, "it does not begin as a shell script does");
	if (find_value(assignment_area(head), "skip", &v, &line) < 0) {
		if (is_toolkit(head))
			return err_set(e, -ERR_RUNFILE_TOOLKIT, "not a driver package (toolkit bundle)");
		if (find_value(assignment_area(head), "CRCsum", &v, &line) < 0)
			return err_set(e, -ERR_RUNFILE_NOT_A_PACKAGE,
				       "a shell script, but without the package's header");
	}
	r = fill_header(head, h, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

/* ---- regions ---- */

struct line_scan {
	uint64_t wanted[3]; /* ascending line numbers, 1-based */
	uint64_t offset[3]; /* first byte of each */
	size_t found;
	uint64_t line;
};

static void scan_block(struct line_scan *s, const char *block, size_t len, uint64_t at)
{
	const char *p = block;

	while (s->found < ARRAY_LEN(s->wanted)) {
		const char *lf;

		while (s->found < ARRAY_LEN(s->wanted) && s->wanted[s->found] == s->line)
			s->offset[s->found++] = at + (uint64_t)(p - block);
		if (s->found == ARRAY_LEN(s->wanted))
			return;
		lf = memchr(p, '\n', len - (size_t)(p - block));
		if (!lf)
			return;
		s->line++;
		p = lf + 1;
	}
}

static int scan_lines(int fd, uint64_t file_size, struct line_scan *s, struct err *e)
{
	_cleanup_free_ char *block = malloc(SCAN_BLOCK_BYTES);
	uint64_t limit = file_size < RUNFILE_PAYLOAD_OFFSET_MAX ? file_size : RUNFILE_PAYLOAD_OFFSET_MAX;

	if (!block)
		return err_oom(e);
	s->line = 1;
	for (uint64_t at = 0; at < limit && s->found < ARRAY_LEN(s->wanted);) {
		size_t n = limit - at < SCAN_BLOCK_BYTES ? (size_t)(limit - at) : SCAN_BLOCK_BYTES;
		int r = pread_exact(fd, block, n, at);

		if (r < 0)
			return err_errno(e, r, "reading the header");
		scan_block(s, block, n, at);
		at += n;
	}
	if (s->found == ARRAY_LEN(s->wanted))
		return 0;
	if (limit == file_size)
		return err_set(e, -ERR_RUNFILE_TRUNCATED,
			       "the file ends at byte %llu, before line %llu where the payload begins",
			       (unsigned long long)file_size, (unsigned long long)s->wanted[s->found]);
	return err_set(e, -ERR_RUNFILE_HEADER, "the payload would begin after byte %llu",
		       (unsigned long long)RUNFILE_PAYLOAD_OFFSET_MAX);
}

static int check_region_ends(int fd, const struct runfile_header *h, const struct runfile_layout *l,
			     struct err *e)
{
	static const char mark[] = RUNFILE_STUB_END;
	char got[sizeof(mark) - 1];
	char pad;

	if (l->decompressor_offset < sizeof(got) ||
	    pread_exact(fd, got, sizeof(got), l->decompressor_offset - sizeof(got)) < 0 ||
	    memcmp(got, mark, sizeof(got)) != 0)
		return damaged(e, "skip_decompress", "the line before it is not the end of the stub");
	if (h->size_decompress > 0 && (pread_exact(fd, &pad, 1, l->payload_offset - 1) < 0 || pad != '\n'))
		return damaged(e, "size_decompress", "the decompressor does not end before the payload");
	return 0;
}

int runfile_header_locate(const struct runfile_header *h, int fd, uint64_t file_size,
			  struct runfile_layout *ret, struct err *e)
{
	struct line_scan s = { .wanted = { h->sums_from_line, h->skip_decompress, h->skip } };
	struct runfile_layout l = { .file_size = file_size };
	char magic[MAGIC_BYTES];
	size_t n;
	int r;

	if (h->sums_from_line > h->skip_decompress)
		return damaged(e, "skip_decompress", "the stub would end before its checksums");
	r = scan_lines(fd, file_size, &s, e);
	if (r < 0)
		return r;
	l.sums_offset = s.offset[0];
	l.decompressor_offset = s.offset[1];
	l.payload_offset = s.offset[2];
	l.decompressor_size = h->size_decompress ? l.payload_offset - l.decompressor_offset - 1 : 0;
	r = check_region_ends(fd, h, &l, e);
	if (r < 0)
		return r;
	if (l.payload_offset >= file_size)
		return err_set(e, -ERR_RUNFILE_TRUNCATED, "the file ends where its payload should begin");
	n = file_size - l.payload_offset < sizeof(magic) ? (size_t)(file_size - l.payload_offset)
							 : sizeof(magic);
	r = pread_exact(fd, magic, n, l.payload_offset);
	if (r < 0)
		return err_errno(e, r, "reading the payload's first bytes");
	if (compression_detect(magic, n, &l.compression) < 0)
		return err_set(e, -ERR_RUNFILE_HEADER,
			       "the payload at byte %llu begins as no known format does",
			       (unsigned long long)l.payload_offset);
	*ret = l;
	return 0;
}

enum package_kind runfile_header_kind(const struct runfile_header *h)
{
	struct span name = SPAN(h->targetdir);

	if (span_ends(name, "-custom"))
		name.len -= strlen("-custom");
	if (span_ends(name, "-vgpu-kvm"))
		return PACKAGE_VGPU_KVM;
	return span_ends(name, "-grid") ? PACKAGE_GRID : PACKAGE_PASSTHROUGH;
}
