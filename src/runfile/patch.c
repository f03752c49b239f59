/* SPDX-License-Identifier: Apache-2.0 */
#include "patch-internal.h"

#include "digest.h"
#include "fd.h"
#include "path.h"

#include <string.h>

#define LINE_NUMBER_MAX ((uint64_t)1 << 31)

struct reader {
	struct patch *p;
	struct span rest;
	unsigned line; /* of the line last read */
	struct err *e;
};

static int bad(struct reader *r, const char *what)
{
	return err_set(r->e, -ERR_PATCH_FORMAT, "%s line %u: %s", r->p->name, r->line, what);
}

/* Next line without its LF; *ret_lf says whether it had one. */
static bool next_line(struct reader *r, struct span *ret)
{
	if (!span_line(&r->rest, ret))
		return false;
	r->line++;
	return true;
}

static bool peek_line(const struct reader *r, struct span *ret)
{
	struct span copy = r->rest;

	return span_line(&copy, ret);
}

/* ---- growth ---- */

static struct patch_file *push_file(struct patch *p)
{
	struct patch_file *more = reallocarray(p->files, p->n_files + 1, sizeof(*more));

	if (!more)
		return NULL;
	p->files = more;
	memset(&more[p->n_files], 0, sizeof(*more));
	return &more[p->n_files++];
}

static struct patch_hunk *push_hunk(struct patch_file *f)
{
	struct patch_hunk *more = reallocarray(f->hunks, f->n_hunks + 1, sizeof(*more));

	if (!more)
		return NULL;
	f->hunks = more;
	memset(&more[f->n_hunks], 0, sizeof(*more));
	return &more[f->n_hunks++];
}

static struct patch_line *push_line(struct patch_hunk *h)
{
	if (h->n_lines == h->n_allocated) {
		size_t n = h->n_allocated ? 2 * h->n_allocated : 16;
		struct patch_line *more = reallocarray(h->lines, n, sizeof(*more));

		if (!more)
			return NULL;
		h->lines = more;
		h->n_allocated = n;
	}
	return &h->lines[h->n_lines++];
}

/* ---- hunks ---- */

/* "<start>[,<count>]" up to a blank. */
static int read_range(struct span *s, char sign, uint64_t *ret_start, uint64_t *ret_count)
{
	size_t n = 0, comma;
	struct span number;

	if (s->len == 0 || s->p[0] != sign)
		return -EINVAL;
	while (n < s->len && s->p[n] != ' ')
		n++;
	number = (struct span){ s->p + 1, n - 1 };
	for (comma = 0; comma < number.len && number.p[comma] != ','; comma++)
		;
	*ret_count = 1;
	if (comma < number.len && parse_u64((struct span){ number.p + comma + 1, number.len - comma - 1 },
					    LINE_NUMBER_MAX, ret_count) < 0)
		return -EINVAL;
	if (parse_u64((struct span){ number.p, comma }, LINE_NUMBER_MAX, ret_start) < 0)
		return -EINVAL;
	n = n < s->len ? n + 1 : n;
	s->p += n;
	s->len -= n;
	return 0;
}

/* "@@ -a,b +c,d @@" and then anything at all. */
static int read_hunk_header(struct reader *r, struct span line, struct patch_hunk *h)
{
	line.p += 3;
	line.len -= 3;
	if (read_range(&line, '-', &h->old_start, &h->old_count) < 0 ||
	    read_range(&line, '+', &h->new_start, &h->new_count) < 0 || !span_starts(line, "@@"))
		return bad(r, "not a hunk header");
	h->line = r->line;
	return 0;
}

static int add_line(struct reader *r, struct patch_hunk *h, char kind, struct span text)
{
	struct patch_line *l = push_line(h);

	if (!l)
		return err_oom(r->e);
	*l = (struct patch_line){ .kind = kind, .has_lf = true, .text = text };
	return 0;
}

/* "\ No newline at end of file" speaks about the line before it. */
static void take_no_newline(struct reader *r, struct patch_hunk *h)
{
	struct span line;

	if (h->n_lines > 0 && peek_line(r, &line) && line.len > 0 && line.p[0] == '\\') {
		h->lines[h->n_lines - 1].has_lf = false;
		(void)next_line(r, &line);
	}
}

static int read_hunk_lines(struct reader *r, struct patch_hunk *h)
{
	uint64_t old_left = h->old_count, new_left = h->new_count;

	while (old_left > 0 || new_left > 0) {
		struct span line;
		char kind;
		int e;

		if (!next_line(r, &line))
			return bad(r, "the patch ends in the middle of a hunk");
		/* An editor that strips blanks at line ends leaves nothing of an empty context line. */
		kind = line.len == 0 ? ' ' : line.p[0];
		if (kind != ' ' && kind != '-' && kind != '+')
			return bad(r, "a hunk line that begins with neither a blank nor + nor -");
		if ((kind != '+' && old_left == 0) || (kind != '-' && new_left == 0))
			return bad(r, "the hunk holds more lines than its header says");
		old_left -= kind != '+';
		new_left -= kind != '-';
		e = add_line(r, h, kind, line.len ? (struct span){ line.p + 1, line.len - 1 } : line);
		if (e < 0)
			return e;
		take_no_newline(r, h);
	}
	return 0;
}

static int read_hunks(struct reader *r, struct patch_file *f)
{
	struct span line;

	while (peek_line(r, &line) && span_starts(line, "@@ ")) {
		struct patch_hunk *h = push_hunk(f);
		int e;

		if (!h)
			return err_oom(r->e);
		(void)next_line(r, &line);
		e = read_hunk_header(r, line, h);
		if (e == 0)
			e = read_hunk_lines(r, h);
		if (e < 0)
			return e;
	}
	return 0;
}

/* ---- file headers ---- */

/* The name on a "--- " or "+++ " line: up to a tab (a time stamp follows), NULL for /dev/null. */
static int read_name(struct reader *r, struct span line, char **ret)
{
	const char *tab;
	char *name;

	line.p += 4;
	line.len -= 4;
	tab = memchr(line.p, '\t', line.len);
	if (tab)
		line.len = (size_t)(tab - line.p);
	while (line.len > 0 && (line.p[line.len - 1] == '\r' || line.p[line.len - 1] == ' '))
		line.len--;
	if (line.len == 0 || line.p[0] == '"' || memchr(line.p, '\0', line.len))
		return bad(r, "a file name that is empty, quoted or holds NUL");
	if (span_eq(line, "/dev/null"))
		return 0;
	name = span_dup(line);
	if (!name)
		return err_oom(r->e);
	free(*ret);
	*ret = name;
	return 0;
}

/* "diff --git a/x b/x": both halves are alike, so the middle is where they part. */
static int read_git_names(struct reader *r, struct span line, struct patch_file *f)
{
	size_t half;

	line.p += strlen("diff --git ");
	line.len -= strlen("diff --git ");
	half = line.len / 2;
	if (line.len < 5 || line.len % 2 == 0 || line.p[half] != ' ')
		return bad(r, "a git header with two different names");
	f->old_name = span_dup((struct span){ line.p, half });
	f->new_name = span_dup((struct span){ line.p + half + 1, half });
	return f->old_name && f->new_name ? 0 : err_oom(r->e);
}

static int read_git_mode(struct reader *r, struct span line, struct patch_file *f)
{
	const char *blank = memrchr(line.p, ' ', line.len);
	uint32_t mode;

	if (!blank || parse_octal((struct span){ blank + 1, (size_t)(line.p + line.len - blank - 1) },
				  0177777, &mode) < 0)
		return bad(r, "a mode that is not octal");
	if ((mode & 0170000) != 0100000 || (mode & 07000))
		return bad(r, "a mode that is no plain file's");
	f->mode = mode & 0777;
	f->has_mode = true;
	return 0;
}

/* The lines between "diff --git" and the hunks. 1 when `line` is none of them. */
static int read_git_line(struct reader *r, struct span line, struct patch_file *f)
{
	static const char *const refused[] = { "rename ", "copy ", "similarity ", "GIT binary patch",
					       "Binary files " };

	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (span_starts(line, refused[i]))
			return bad(r, "renames, copies and git's binary form are not understood");
	if (span_starts(line, "index ") || span_starts(line, "old mode "))
		return 0;
	if (span_starts(line, "deleted file mode ")) {
		f->deletes = true;
		return 0;
	}
	if (span_starts(line, "new file mode ")) {
		f->creates = true;
		return read_git_mode(r, line, f);
	}
	return span_starts(line, "new mode ") ? read_git_mode(r, line, f) : 1;
}

static int read_git_header(struct reader *r, struct span line, struct patch_file *f)
{
	int e = read_git_names(r, line, f);

	while (e == 0 && peek_line(r, &line)) {
		r->line++;
		e = read_git_line(r, line, f);
		r->line--;
		if (e == 0)
			(void)next_line(r, &line);
	}
	return e < 0 ? e : 0;
}

/* "--- " and "+++ " lines, when they are next. */
static int read_plain_header(struct reader *r, struct patch_file *f)
{
	char *old_name = NULL, *new_name = NULL;
	struct span line;
	int e;

	if (!peek_line(r, &line) || !span_starts(line, "--- "))
		return 0;
	(void)next_line(r, &line);
	e = read_name(r, line, &old_name);
	if (e == 0 && (!next_line(r, &line) || !span_starts(line, "+++ ")))
		e = bad(r, "no +++ line after ---");
	if (e == 0)
		e = read_name(r, line, &new_name);
	free(f->old_name);
	free(f->new_name);
	f->old_name = old_name;
	f->new_name = new_name;
	if (e < 0)
		return e;
	f->creates = f->creates || !old_name;
	f->deletes = f->deletes || !new_name;
	return old_name || new_name ? 0 : bad(r, "both names are /dev/null");
}

/* Whatever is stripped later, a name that is absolute or climbs is not taken apart to find a harmless rest. */
static int check_name(struct reader *r, const char *name)
{
	_cleanup_free_ char *clean = NULL;
	int e = name ? path_clean(name, &clean) : 0;

	if (e == -ENOMEM)
		return err_oom(r->e);
	return e < 0 ? err_set(r->e, -ERR_PATH_ESCAPE, "%s line %u: %s leads outside the directory",
			       r->p->name, r->line, name)
		     : 0;
}

static int check_file(struct reader *r, struct patch_file *f)
{
	int e = check_name(r, f->old_name);

	if (e == 0)
		e = check_name(r, f->new_name);
	if (e < 0)
		return e;
	if (f->creates && f->deletes)
		return bad(r, "a file both created and deleted");
	if (f->n_hunks == 0 && !f->creates && !f->deletes && !f->has_mode)
		return bad(r, "a file without a hunk");
	/* A diff may say "create" by its ranges alone. */
	if (f->n_hunks == 1 && f->hunks[0].old_count == 0 && f->hunks[0].old_start == 0 && !f->deletes)
		f->may_create = true;
	return 0;
}

static int read_file(struct reader *r, struct span line, bool git)
{
	struct patch_file *f = push_file(r->p);
	int e;

	if (!f)
		return err_oom(r->e);
	f->line = r->line + !git;
	e = git ? read_git_header(r, line, f) : 0;
	if (e == 0)
		e = read_plain_header(r, f);
	if (e == 0)
		e = read_hunks(r, f);
	return e < 0 ? e : check_file(r, f);
}

/* "--- x" begins a file only when "+++ " follows: text before a diff may hold such lines. */
static bool begins_plain(const struct reader *r)
{
	struct span copy = r->rest, first, second;

	return span_line(&copy, &first) && span_starts(first, "--- ") && span_line(&copy, &second) &&
	       span_starts(second, "+++ ");
}

static int read_all(struct reader *r)
{
	struct span line;
	int e = 0;

	while (e == 0 && r->rest.len > 0) {
		if (begins_plain(r)) {
			e = read_file(r, SPAN_NULL, false);
			continue;
		}
		if (!next_line(r, &line))
			break;
		if (span_starts(line, "diff --git "))
			e = read_file(r, line, true);
		else if (span_starts(line, "@@ -"))
			e = bad(r, "a hunk without a file");
	}
	if (e == 0 && r->p->n_files == 0)
		return err_set(r->e, -ERR_PATCH_FORMAT, "%s: no unified diff in it", r->p->name);
	return e;
}

static int patch_fill(struct patch *p, struct span text, const char *name, struct err *e)
{
	struct reader r = { .p = p, .e = e };
	uint8_t sum[SHA256_SIZE];

	p->name = strdup(name);
	p->text = malloc(text.len ? text.len : 1);
	if (!p->name || !p->text)
		return err_oom(e);
	if (text.len)
		memcpy(p->text, text.p, text.len);
	if (sha256_bytes(p->text, text.len, sum) < 0)
		return err_oom(e);
	hex_encode(sum, sizeof(sum), p->sha256);
	r.rest = (struct span){ p->text, text.len };
	return read_all(&r);
}

int patch_parse(struct span text, const char *name, struct patch **ret, struct err *e)
{
	_cleanup_(patch_freep) struct patch *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_oom(e);
	if (text.len > PATCH_MAX_BYTES)
		return err_set(e, -ERR_TOO_LARGE, "%s is larger than 64 MiB", name);
	r = patch_fill(p, text, name, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

int patch_read_at(int dirfd, const char *path, struct patch **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file_at(dirfd, path, PATCH_MAX_BYTES, &text, &len);

	if (r < 0) {
		(void)err_errno(e, r, "cannot read the patch %s", path);
		return err_object(e, "%s", path);
	}
	return patch_parse((struct span){ text, len }, path, ret, e);
}

void patch_freep(struct patch **pp)
{
	struct patch *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	for (size_t i = 0; i < p->n_files; i++) {
		for (size_t k = 0; k < p->files[i].n_hunks; k++)
			free(p->files[i].hunks[k].lines);
		free(p->files[i].hunks);
		free(p->files[i].old_name);
		free(p->files[i].new_name);
	}
	free(p->files);
	free(p->name);
	free(p->text);
	free(p);
}

const char *patch_name(const struct patch *p)
{
	const char *slash = strrchr(p->name, '/');

	return slash ? slash + 1 : p->name;
}

const char *patch_sha256_hex(const struct patch *p)
{
	return p->sha256;
}

size_t patch_file_count(const struct patch *p)
{
	return p->n_files;
}
