/* SPDX-License-Identifier: Apache-2.0 */
#include "vendor-record.h"

#include "digest.h"
#include "fd.h"
#include "path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_MAX_BYTES ((size_t)16 << 20)
#define ENTRIES_MAX   200000u
#define BACKUP_FIRST  100u
#define BACKUP_LAST   999999u

static void entry_done(struct vendor_entry *en)
{
	free(en->path);
	free(en->target);
}

void vendor_record_done(struct vendor_record *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		entry_done(&r->entries[i]);
	free(r->entries);
	free(r->version);
	free(r->description);
	strv_freep(&r->dirs);
	*r = (struct vendor_record){ 0 };
}

struct reader {
	struct span rest;
	unsigned line;
};

static bool next_line(struct reader *rd, struct span *ret)
{
	if (!span_line(&rd->rest, ret))
		return false;
	rd->line++;
	return true;
}

static int damaged(const struct reader *rd, const char *what, struct err *e)
{
	return err_set(e, ERR_VENDOR_RECORD, "line %u: %s", rd->line, what);
}

/* "1.0-53526103 (535.261.03)" */
static int parse_version(struct reader *rd, struct vendor_record *rec, struct err *e)
{
	struct span line;
	const char *open;
	size_t len;

	if (!next_line(rd, &line))
		return damaged(rd, "empty", e);
	open = memchr(line.p, '(', line.len);
	if (!span_starts(line, "1.0-") || !open || !span_ends(line, ")"))
		return damaged(rd, "no version in parentheses", e);
	len = (size_t)(line.p + line.len - open) - 2;
	rec->version = strndup(open + 1, len);
	if (!rec->version)
		return err_oom(e);
	if (!version_is_valid(rec->version))
		return damaged(rd, "not a driver version", e);
	if (!next_line(rd, &line))
		return damaged(rd, "no description", e);
	rec->description = span_dup(line);
	return rec->description ? 0 : err_oom(e);
}

static int take_path(const struct reader *rd, struct span text, char **ret, struct err *e)
{
	_cleanup_free_ char *copy = NULL;
	int r;

	if (!text.len || text.p[0] != '/')
		return damaged(rd, "not an absolute path", e);
	while (text.len && text.p[0] == '/')
		text.p++, text.len--;
	if (memchr(text.p, '\0', text.len))
		return damaged(rd, "a NUL in a path", e);
	copy = span_dup(text);
	if (!copy)
		return err_oom(e);
	r = path_clean(copy, ret);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return err_set(e, ERR_PATH_ESCAPE, "line %u: /%s", rd->line, copy);
	if (!**ret)
		return damaged(rd, "the root directory itself", e);
	return 0;
}

static int parse_owner(struct span *rest, struct vendor_entry *en)
{
	struct span mode, uid, gid, more;
	uint64_t u, g;

	if (!span_word(rest, &mode) || !span_word(rest, &uid) || !span_word(rest, &gid) ||
	    span_word(rest, &more))
		return -EINVAL;
	if (parse_octal(mode, 0177777, &en->mode) < 0 || parse_u64(uid, UINT32_MAX, &u) < 0 ||
	    parse_u64(gid, UINT32_MAX, &g) < 0)
		return -EINVAL;
	en->uid = (uint32_t)u;
	en->gid = (uint32_t)g;
	return 0;
}

static int parse_crc(struct span *rest, struct vendor_entry *en)
{
	struct span word;
	uint64_t crc;

	if (!span_word(rest, &word) || parse_u64(word, UINT32_MAX, &crc) < 0)
		return -EINVAL;
	en->crc = (uint32_t)crc;
	return 0;
}

static int parse_file(struct reader *rd, struct vendor_entry *en, struct err *e)
{
	struct span line, more;

	if (!next_line(rd, &line) || parse_crc(&line, en) < 0)
		return damaged(rd, "no checksum", e);
	if (en->kind == VENDOR_BACKUP_FILE)
		return parse_owner(&line, en) < 0 ? damaged(rd, "no mode and owner", e) : 0;
	return span_word(&line, &more) ? damaged(rd, "more than a checksum", e) : 0;
}

static int parse_link(struct reader *rd, struct vendor_entry *en, struct err *e)
{
	struct span line;

	if (!next_line(rd, &line) || !line.len || memchr(line.p, '\0', line.len))
		return damaged(rd, "no link text", e);
	en->target = span_dup(line);
	if (!en->target)
		return err_oom(e);
	if (en->kind == VENDOR_LINK)
		return 0;
	if (!next_line(rd, &line) || parse_owner(&line, en) < 0)
		return damaged(rd, "no mode and owner", e);
	return 0;
}

static int kind_of_number(uint64_t number, struct vendor_entry *en)
{
	static const enum vendor_kind low[] = { VENDOR_LINK, VENDOR_FILE, VENDOR_BACKUP_LINK };

	if (number >= ARRAY_LEN(low) && number < BACKUP_FIRST)
		return -EINVAL;
	en->kind = number < ARRAY_LEN(low) ? low[number] : VENDOR_BACKUP_FILE;
	en->number = (unsigned)number;
	return 0;
}

static int parse_entry(struct reader *rd, struct span line, struct vendor_entry *en, struct err *e)
{
	const char *colon = memchr(line.p, ':', line.len);
	struct span number, path;
	uint64_t n;
	int r;

	if (!colon)
		return damaged(rd, "no record number", e);
	number = (struct span){ line.p, (size_t)(colon - line.p) };
	path = (struct span){ colon + 1, (size_t)(line.p + line.len - colon - 1) };
	if (parse_u64(number, BACKUP_LAST, &n) < 0 || kind_of_number(n, en) < 0 || !span_starts(path, " "))
		return damaged(rd, "no record number", e);
	path.p++, path.len--;
	r = take_path(rd, path, &en->path, e);
	if (r < 0)
		return r;
	return en->kind == VENDOR_LINK || en->kind == VENDOR_BACKUP_LINK ? parse_link(rd, en, e)
									 : parse_file(rd, en, e);
}

static int push_entry(struct vendor_record *rec, struct vendor_entry *en)
{
	if (rec->n == rec->cap) {
		size_t cap = rec->cap ? rec->cap * 2 : 128;
		struct vendor_entry *v =
		    cap > 2 * ENTRIES_MAX ? NULL : reallocarray(rec->entries, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		rec->entries = v;
		rec->cap = cap;
	}
	rec->entries[rec->n++] = *en;
	*en = (struct vendor_entry){ 0 };
	return 0;
}

int vendor_record_parse(struct span text, struct vendor_record *ret, struct err *e)
{
	_cleanup_(vendor_record_done) struct vendor_record rec = { 0 };
	struct reader rd = { .rest = text };
	struct span line;
	int r;

	r = parse_version(&rd, &rec, e);
	if (r < 0)
		return r;
	while (next_line(&rd, &line)) {
		_cleanup_(entry_done) struct vendor_entry en = { 0 };

		if (!line.len)
			continue;
		r = parse_entry(&rd, line, &en, e);
		if (r < 0)
			return r;
		if (push_entry(&rec, &en) < 0)
			return err_oom(e);
	}
	*ret = rec;
	rec = (struct vendor_record){ 0 };
	return 0;
}

int vendor_record_parse_dirs(struct span text, struct vendor_record *rec, struct err *e)
{
	struct reader rd = { .rest = text };
	struct span line;

	while (next_line(&rd, &line)) {
		_cleanup_free_ char *path = NULL;
		int r;

		if (!line.len)
			continue;
		r = take_path(&rd, line, &path, e);
		if (r < 0)
			return r;
		if (strv_push(&rec->dirs, path) < 0)
			return err_oom(e);
	}
	return 0;
}

static void emit_entry(const struct vendor_entry *en, struct strbuf *out)
{
	strbuf_printf(out, "%u: /%s\n", en->number, en->path);
	if (en->target)
		strbuf_printf(out, "%s\n", en->target);
	if (en->kind == VENDOR_FILE)
		strbuf_printf(out, "%u\n", en->crc);
	else if (en->kind == VENDOR_BACKUP_FILE)
		strbuf_printf(out, "%u %04o %u %u\n", en->crc, en->mode, en->uid, en->gid);
	else if (en->kind == VENDOR_BACKUP_LINK)
		strbuf_printf(out, "%04o %u %u\n", en->mode, en->uid, en->gid);
}

int vendor_record_emit(const struct vendor_record *rec, struct strbuf *out)
{
	strbuf_puts(out, "1.0-");
	for (const char *p = rec->version; *p; p++)
		if (*p != '.')
			strbuf_putc(out, *p);
	strbuf_printf(out, " (%s)\n%s\n", rec->version, rec->description);
	for (size_t i = 0; i < rec->n; i++)
		emit_entry(&rec->entries[i], out);
	return strbuf_error(out);
}

static int read_in_root(int root_fd, const char *path, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);

	return fd < 0 ? fd : read_fd(fd, LOG_MAX_BYTES, ret, ret_len);
}

int vendor_record_read(int root_fd, struct vendor_record *ret, struct err *e)
{
	_cleanup_(vendor_record_done) struct vendor_record rec = { 0 };
	_cleanup_free_ char *text = NULL, *dirs = NULL;
	size_t len, dirs_len;
	int r;

	r = read_in_root(root_fd, VENDOR_RECORD_DIR "/log", &text, &len);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return err_errno(e, r, "reading /" VENDOR_RECORD_DIR "/log");
	r = vendor_record_parse((struct span){ text, len }, &rec, e);
	if (r < 0)
		return err_wrap(e, "/" VENDOR_RECORD_DIR "/log");
	r = read_in_root(root_fd, VENDOR_RECORD_DIR "/dirs", &dirs, &dirs_len);
	if (r >= 0)
		r = vendor_record_parse_dirs((struct span){ dirs, dirs_len }, &rec, e);
	else if (r == -ENOENT)
		r = 0;
	if (r < 0)
		return err_wrap(e, "/" VENDOR_RECORD_DIR "/dirs");
	*ret = rec;
	rec = (struct vendor_record){ 0 };
	return 1;
}

/* -- removal -- */

static int file_crc(int root_fd, const char *path, uint32_t *ret, struct stat *ret_st)
{
	_cleanup_close_ int fd =
	    path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, PATH_IN_ROOT);
	uint32_t crc = CRC32_MPEG2_INIT;
	char buf[65536];
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(fd, ret_st) < 0)
		return -errno;
	if (!S_ISREG(ret_st->st_mode))
		return -EINVAL;
	while ((n = read_upto(fd, buf, sizeof(buf))) > 0)
		crc = crc32_mpeg2(crc, buf, (size_t)n);
	if (n < 0)
		return (int)n;
	/* The vendor writes 0 for an empty file instead of the start value. */
	*ret = ret_st->st_size ? crc : 0;
	return 0;
}

static int link_equals(int root_fd, const char *path, const char *target)
{
	_cleanup_close_ int fd = -EBADF;
	const char *name;
	char text[4096];
	ssize_t n;

	fd = path_open_parent(root_fd, path, false, PATH_IN_ROOT, &name);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, name, text, sizeof(text));
	if (n < 0)
		return -errno;
	return (size_t)n == strlen(target) && memcmp(text, target, (size_t)n) == 0;
}

/* 1 = as the vendor left it, 0 = changed, -ENOENT = gone. */
static int is_unchanged(int root_fd, const struct vendor_entry *en)
{
	struct stat st;
	uint32_t crc;
	int r;

	if (en->kind == VENDOR_LINK)
		r = link_equals(root_fd, en->path, en->target);
	else {
		r = file_crc(root_fd, en->path, &crc, &st);
		r = r < 0 ? r : crc == en->crc;
	}
	if (r == -EINVAL || r == -ELOOP)
		return 0;
	return r == -ENOTDIR ? -ENOENT : r;
}

static int note(json_t *notes, const char *fmt, ...) _printf_(2, 3);
static int note(json_t *notes, const char *fmt, ...)
{
	char text[4300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return json_array_append_new(notes, json_string(text)) < 0 ? -ENOMEM : 0;
}

static bool entry_add(json_t *entries, json_t *entry)
{
	return entry && json_array_append_new(entries, entry) == 0;
}

static bool add_absent(json_t *entries, const char *path)
{
	return entry_add(entries, json_pack("{s:s,s:s}", "path", path, "type", "absent"));
}

static int restore_file(int root_fd, const struct vendor_entry *en, json_t *entries, json_t *notes)
{
	_cleanup_free_ char *from = str_printf(VENDOR_RECORD_DIR "/%u", en->number);
	_cleanup_close_ int fd = -EBADF;
	char hex[SHA256_HEX_SIZE];
	struct stat st;
	uint32_t crc;
	int r;

	if (!from)
		return -ENOMEM;
	r = file_crc(root_fd, from, &crc, &st);
	if (r < 0 || crc != en->crc)
		return note(notes, "the vendor's backup of /%s is damaged or gone, it does not come back",
			    en->path);
	fd = path_open_at(root_fd, from, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, PATH_IN_ROOT);
	r = fd < 0 ? fd : sha256_fd_hex(fd, hex);
	if (r < 0)
		return r;
	return entry_add(entries,
			 json_pack("{s:s,s:s,s:i,s:I,s:s,s:s,s:I,s:I}", "path", en->path, "type", "file",
				   "mode", (int)(en->mode & 0777), "size", (json_int_t)st.st_size, "sha256",
				   hex, "from", from, "uid", (json_int_t)en->uid, "gid", (json_int_t)en->gid))
		   ? 0
		   : -ENOMEM;
}

static const struct vendor_entry *backup_of(const struct vendor_record *rec, const char *path)
{
	for (size_t i = 0; i < rec->n; i++)
		if (rec->entries[i].kind >= VENDOR_BACKUP_LINK && strcmp(rec->entries[i].path, path) == 0)
			return &rec->entries[i];
	return NULL;
}

static bool was_installed(const struct vendor_record *rec, const char *path)
{
	for (size_t i = 0; i < rec->n; i++)
		if (rec->entries[i].kind < VENDOR_BACKUP_LINK && strcmp(rec->entries[i].path, path) == 0)
			return true;
	return false;
}

static int bring_back(int root_fd, const struct vendor_entry *en, json_t *entries, json_t *notes)
{
	if (en->kind == VENDOR_BACKUP_FILE)
		return restore_file(root_fd, en, entries, notes);
	return entry_add(entries,
			 json_pack("{s:s,s:s,s:s}", "path", en->path, "type", "link", "target", en->target))
		   ? 0
		   : -ENOMEM;
}

static int remove_installed(int root_fd, const struct vendor_record *rec, const struct vendor_entry *en,
			    json_t *entries, json_t *notes)
{
	const struct vendor_entry *backup = backup_of(rec, en->path);
	int r = is_unchanged(root_fd, en);

	if (r == 0)
		return note(notes, "/%s was changed since the vendor's installer put it there, it stays",
			    en->path);
	if (r < 0 && r != -ENOENT)
		return r;
	if (backup)
		return bring_back(root_fd, backup, entries, notes);
	return r == -ENOENT || add_absent(entries, en->path) ? 0 : -ENOMEM;
}

/* A backup of something nothing was installed over: it was only moved out of the way. */
static int bring_back_moved(int root_fd, const struct vendor_entry *en, json_t *entries, json_t *notes)
{
	struct stat st;

	if (path_stat(root_fd, en->path, &st, PATH_IN_ROOT) >= 0)
		return note(notes, "/%s exists again, the vendor's backup of it does not come back",
			    en->path);
	return bring_back(root_fd, en, entries, notes);
}

static int remove_record(const struct vendor_record *rec, json_t *entries)
{
	for (size_t i = 0; i < rec->n; i++) {
		char path[64];

		if (rec->entries[i].kind != VENDOR_BACKUP_FILE)
			continue;
		snprintf(path, sizeof(path), VENDOR_RECORD_DIR "/%u", rec->entries[i].number);
		if (!add_absent(entries, path))
			return -ENOMEM;
	}
	return add_absent(entries, VENDOR_RECORD_DIR "/log") &&
		       add_absent(entries, VENDOR_RECORD_DIR "/dirs") &&
		       add_absent(entries, VENDOR_RECORD_DIR)
		   ? 0
		   : -ENOMEM;
}

static int by_length_descending(const void *a, const void *b)
{
	size_t x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);

	return x == y ? strcmp(*(char *const *)a, *(char *const *)b) : (x < y ? 1 : -1);
}

static int remove_dirs(const struct vendor_record *rec, json_t *entries)
{
	size_t n = strv_len(rec->dirs);
	_cleanup_free_ char **sorted = n ? calloc(n, sizeof(*sorted)) : NULL;

	if (!n)
		return 0;
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, rec->dirs, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_length_descending);
	for (size_t i = 0; i < n; i++)
		if (strcmp(sorted[i], VENDOR_RECORD_DIR) != 0 && !add_absent(entries, sorted[i]))
			return -ENOMEM;
	return 0;
}

int vendor_record_removal(int root_fd, const struct vendor_record *rec, json_t *entries, json_t *notes,
			  struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < rec->n; i++) {
		const struct vendor_entry *en = &rec->entries[i];

		if (en->kind < VENDOR_BACKUP_LINK)
			r = remove_installed(root_fd, rec, en, entries, notes);
		else if (!was_installed(rec, en->path))
			r = bring_back_moved(root_fd, en, entries, notes);
	}
	if (r >= 0)
		r = remove_record(rec, entries);
	if (r >= 0)
		r = remove_dirs(rec, entries);
	return r < 0 ? err_errno(e, r, "planning the removal of the vendor's installation") : 0;
}
