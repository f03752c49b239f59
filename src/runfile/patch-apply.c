/* SPDX-License-Identifier: Apache-2.0
 *
 * Placing hunks. Files are read into memory once, changed there by every patch in turn, and written only when
 * everything found its place. */
#include "patch-internal.h"

#include "fd.h"
#include "manifest.h"
#include "path.h"
#include "publish.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES ((size_t)512 << 20)
#define STRIP_MAX      8
#define SHOWN_BYTES    60

/* A file as it will be. */
struct work {
	char *path; /* owned; clean */
	char *bytes; /* owned; NULL while absent */
	size_t len;
	mode_t mode;
	bool existed, exists, changed;
};

struct plan {
	int dirfd; /* borrowed */
	const struct patch_options *o;
	struct work *works; /* owned */
	size_t n_works;
	struct patch_report *report; /* borrowed */
	const struct patch *patch; /* the one being placed */
	struct err *e;
};

struct file_line {
	struct span text;
	bool has_lf;
};

struct lines {
	struct file_line *v; /* owned */
	size_t n;
};

/* ---- report ---- */

void patch_report_freep(struct patch_report **r)
{
	struct patch_report *old = *r;

	*r = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->n_files; i++)
		free(old->files[i].path);
	free(old->files);
	free(old->hunks);
	strv_freep(&old->notes);
	free(old);
}

static int report_file(struct plan *pl, const char *path, enum patch_action action)
{
	struct patch_report *r = pl->report;
	struct patch_file_result *more = reallocarray(r->files, r->n_files + 1, sizeof(*more));

	if (!more)
		return err_oom(pl->e);
	r->files = more;
	more[r->n_files].action = action;
	more[r->n_files].path = strdup(path);
	if (!more[r->n_files].path)
		return err_oom(pl->e);
	r->n_files++;
	return 0;
}

static int report_hunk(struct plan *pl, struct patch_hunk_result result)
{
	struct patch_report *r = pl->report;
	struct patch_hunk_result *more = reallocarray(r->hunks, r->n_hunks + 1, sizeof(*more));

	if (!more)
		return err_oom(pl->e);
	r->hunks = more;
	result.file = r->n_files; /* the file is reported after its hunks */
	more[r->n_hunks++] = result;
	return 0;
}

/* ---- files ---- */

static struct work *find_work(struct plan *pl, const char *path)
{
	for (size_t i = 0; i < pl->n_works; i++)
		if (strcmp(pl->works[i].path, path) == 0)
			return &pl->works[i];
	return NULL;
}

static int load_bytes(struct plan *pl, struct work *w)
{
	struct stat st;
	_cleanup_close_ int fd = path_open_at(pl->dirfd, w->path, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	int r;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (fd < 0)
		return fd == -ELOOP
			   ? err_set(pl->e, -ERR_PATH_ESCAPE, "%s leads through a symbolic link", w->path)
			   : err_errno(pl->e, fd, "cannot open %s", w->path);
	if (fstat(fd, &st) < 0)
		return err_errno(pl->e, -errno, "cannot look at %s", w->path);
	if (!S_ISREG(st.st_mode))
		return err_set(pl->e, -ERR_PATCH_HUNK, "%s is not a regular file", w->path);
	r = read_fd(fd, FILE_MAX_BYTES, &w->bytes, &w->len);
	if (r < 0)
		return err_errno(pl->e, r, "cannot read %s", w->path);
	w->mode = st.st_mode & 0777;
	w->existed = w->exists = true;
	return 0;
}

static int get_work(struct plan *pl, const char *path, struct work **ret)
{
	struct work *w = find_work(pl, path), *more;
	int r;

	if (!w) {
		more = reallocarray(pl->works, pl->n_works + 1, sizeof(*more));
		if (!more)
			return err_oom(pl->e);
		pl->works = more;
		w = &more[pl->n_works];
		*w = (struct work){ .path = strdup(path), .mode = 0644 };
		if (!w->path)
			return err_oom(pl->e);
		pl->n_works++;
		r = load_bytes(pl, w);
		if (r < 0)
			return r;
	}
	*ret = w;
	return 0;
}

static bool is_there(struct plan *pl, const char *path)
{
	const struct work *w = find_work(pl, path);

	return w ? w->exists : path_exists(pl->dirfd, path);
}

/* ---- names ---- */

/* The name with `strip` components dropped; NULL when it has too few. */
static const char *stripped(const char *name, int strip)
{
	while (name && name[0] == '.' && name[1] == '/')
		name += 2;
	for (; name && strip > 0; strip--) {
		name = strchr(name, '/');
		name = name ? name + strspn(name, "/") : NULL;
	}
	return name && *name ? name : NULL;
}

static bool fits(struct plan *pl, const struct patch_file *f, int strip)
{
	const char *old_name = stripped(f->old_name, strip), *new_name = stripped(f->new_name, strip);
	char top[3] = "";

	if (f->creates) {
		/* Nothing to look for; only git's own prefixes tell. */
		if (!new_name || (new_name[0] != 'a' && new_name[0] != 'b') || new_name[1] != '/')
			return new_name;
		memcpy(top, new_name, 1);
		return is_there(pl, top);
	}
	return (new_name && path_name_is_clean(new_name) && is_there(pl, new_name)) ||
	       (old_name && path_name_is_clean(old_name) && is_there(pl, old_name)) ||
	       (f->may_create && (new_name || old_name));
}

static int choose_strip(struct plan *pl)
{
	for (int strip = 0; strip <= STRIP_MAX; strip++) {
		size_t i = 0;

		while (i < pl->patch->n_files && fits(pl, &pl->patch->files[i], strip))
			i++;
		if (i == pl->patch->n_files)
			return strip;
	}
	return 0;
}

/* The file a diff is about: the new name when it is there or made, else the old. */
static int target_path(struct plan *pl, const struct patch_file *f, int strip, char **ret)
{
	const char *old_name = stripped(f->old_name, strip), *new_name = stripped(f->new_name, strip);
	const char *pick = f->deletes || !new_name ? old_name : new_name;
	_cleanup_free_ char *clean = NULL;

	for (int i = 0; i < 2; i++) {
		const char *name = i ? old_name : new_name;

		if (name && path_clean(name, &clean) < 0)
			return err_set(pl->e, -ERR_PATH_ESCAPE, "%s line %u: %s leads outside the directory",
				       pl->patch->name, f->line, name);
		freep(&clean);
	}
	if (!pick)
		return err_set(pl->e, -ERR_PATCH_FORMAT, "%s line %u: the name has fewer than %d directories",
			       pl->patch->name, f->line, strip);
	if (!f->creates && old_name && new_name && !is_there(pl, new_name) && is_there(pl, old_name))
		pick = old_name;
	return path_clean(pick, ret) < 0 ? err_oom(pl->e) : 0;
}

/* ---- placing ---- */

static int split_lines(const struct work *w, struct lines *ret)
{
	struct span rest = { w->bytes, w->len }, line;
	size_t n = 0, allocated = 0;
	struct file_line *v = NULL;

	while (rest.len > 0 && span_line(&rest, &line)) {
		if (n == allocated) {
			struct file_line *more = reallocarray(v, allocated ? 2 * allocated : 256, sizeof(*v));

			if (!more) {
				free(v);
				return -ENOMEM;
			}
			v = more;
			allocated = allocated ? 2 * allocated : 256;
		}
		v[n++] = (struct file_line){ line, line.p + line.len < w->bytes + w->len };
	}
	*ret = (struct lines){ v, n };
	return 0;
}

static void lines_done(struct lines *l)
{
	free(l->v);
}

/* A hunk seen from one side: the lines that must be in the file. */
struct pattern {
	const struct patch_line **v; /* owned */
	size_t n, lead, trail; /* context lines at both ends */
	uint64_t start; /* 0-based place it claims */
};

static void pattern_done(struct pattern *p)
{
	free(p->v);
}

static int make_pattern(const struct patch_hunk *h, char absent, struct pattern *ret)
{
	uint64_t start = absent == '+' ? h->old_start : h->new_start;
	uint64_t count = absent == '+' ? h->old_count : h->new_count;
	struct pattern p = { .v = calloc(h->n_lines + 1, sizeof(*p.v)) };

	if (!p.v)
		return -ENOMEM;
	for (size_t i = 0; i < h->n_lines; i++)
		if (h->lines[i].kind != absent)
			p.v[p.n++] = &h->lines[i];
	while (p.lead < h->n_lines && h->lines[p.lead].kind == ' ')
		p.lead++;
	while (p.trail < h->n_lines - p.lead && h->lines[h->n_lines - 1 - p.trail].kind == ' ')
		p.trail++;
	/* With no old line, the number names the line before. */
	p.start = count == 0 || start == 0 ? start : start - 1;
	*ret = p;
	return 0;
}

static bool same_line(const struct file_line *a, const struct patch_line *b)
{
	return a->has_lf == b->has_lf && a->text.len == b->text.len &&
	       (a->text.len == 0 || memcmp(a->text.p, b->text.p, a->text.len) == 0);
}

static bool matches(const struct lines *l, const struct pattern *p, uint64_t at, unsigned fuzz)
{
	size_t skip = fuzz < p->lead ? fuzz : p->lead, drop = fuzz < p->trail ? fuzz : p->trail;

	if (at > l->n || p->n > l->n - at)
		return false;
	for (size_t i = skip; i + drop < p->n; i++)
		if (!same_line(&l->v[at + i], p->v[i]))
			return false;
	return true;
}

struct place {
	uint64_t at;
	unsigned fuzz;
};

/* Shorter context at one end says that the file begins or ends there; then no other place is looked at. */
static int scan(const struct lines *l, const struct pattern *p, uint64_t first, uint64_t guess, unsigned fuzz,
		struct place *ret)
{
	/* A place behind the end is nearest to the end, however far off the hunk says it is. */
	guess = guess < l->n ? guess : l->n;
	ret->fuzz = fuzz;
	ret->at = guess;
	if (guess >= first && matches(l, p, guess, fuzz))
		return 0;
	if (p->trail < p->lead && fuzz == 0) {
		ret->at = l->n >= p->n ? l->n - p->n : UINT64_MAX;
		return ret->at != UINT64_MAX && ret->at >= first && matches(l, p, ret->at, fuzz) ? 0
												 : -ENOENT;
	}
	if (p->lead < p->trail && p->start == 0 && fuzz == 0) {
		ret->at = 0;
		return first == 0 && matches(l, p, 0, fuzz) ? 0 : -ENOENT;
	}
	for (uint64_t d = 1; d <= l->n + guess; d++) {
		ret->at = guess + d;
		if (ret->at >= first && ret->at <= l->n && matches(l, p, ret->at, fuzz))
			return 0;
		ret->at = guess - d;
		if (d <= guess && ret->at >= first && matches(l, p, ret->at, fuzz))
			return 0;
		if (guess + d > l->n && d > guess)
			break;
	}
	return -ENOENT;
}

static int find_place(const struct lines *l, const struct pattern *p, uint64_t first, int64_t drift,
		      bool binary, unsigned max_fuzz, struct place *ret)
{
	int64_t guess = (int64_t)p->start + drift;

	if (binary) {
		*ret = (struct place){ p->start, 0 };
		return p->start >= first && matches(l, p, p->start, 0) ? 0 : -ENOENT;
	}
	for (unsigned fuzz = 0; fuzz <= max_fuzz; fuzz++)
		if (scan(l, p, first, guess < 0 ? 0 : (uint64_t)guess, fuzz, ret) == 0)
			return 0;
	return -ENOENT;
}

/* ---- failing well ---- */

static void escape(struct span s, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len && i < SHOWN_BYTES && n + 5 < size; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x20 && c < 0x7f && c != '\\')
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
	}
	out[n] = '\0';
}

static int hunk_failed(struct plan *pl, const char *path, size_t number, const struct patch_hunk *h,
		       const struct lines *l, const struct pattern *p)
{
	char want[8 * SHOWN_BYTES] = "", have[8 * SHOWN_BYTES] = "";
	uint64_t at = p->start;

	(void)err_set(pl->e, -ERR_PATCH_HUNK, "%s: hunk %zu (%s line %u): the file has only %zu lines", path,
		      number, pl->patch->name, h->line, l->n);
	for (size_t i = 0; i < p->n && at + i < l->n; i++) {
		if (same_line(&l->v[at + i], p->v[i]))
			continue;
		escape(p->v[i]->text, want, sizeof(want));
		escape(l->v[at + i].text, have, sizeof(have));
		(void)err_set(
		    pl->e, -ERR_PATCH_HUNK,
		    "%s: hunk %zu (%s line %u) fits nowhere: line %llu should be \"%s\"%s but is \"%s\"%s",
		    path, number, pl->patch->name, h->line, (unsigned long long)(at + i + 1), want,
		    p->v[i]->has_lf ? "" : " without line end", have,
		    l->v[at + i].has_lf ? "" : " without line end");
		break;
	}
	return err_object(pl->e, "%s", path);
}

/* True when every hunk fits the other way round. */
static bool is_applied(const struct patch_file *f, const struct lines *l, bool binary)
{
	uint64_t first = 0;
	int64_t drift = 0;

	for (size_t i = 0; i < f->n_hunks; i++) {
		_cleanup_(pattern_done) struct pattern p = { 0 };
		struct place at;

		if (make_pattern(&f->hunks[i], '-', &p) < 0 ||
		    find_place(l, &p, first, drift, binary, 0, &at) < 0)
			return false;
		first = at.at + p.n;
		drift = (int64_t)at.at - (int64_t)p.start;
	}
	return f->n_hunks > 0;
}

static int applied(struct plan *pl, const char *path)
{
	(void)err_set(pl->e, -ERR_PATCH_APPLIED, "%s: %s is already applied", path, pl->patch->name);
	return err_object(pl->e, "%s", path);
}

/* ---- changing ---- */

static void put_line(struct strbuf *out, struct span text, bool has_lf)
{
	(void)strbuf_append(out, text.p, text.len);
	if (has_lf)
		(void)strbuf_putc(out, '\n');
}

static void put_hunk(struct strbuf *out, const struct patch_hunk *h, const struct lines *l, uint64_t at)
{
	for (size_t i = 0; i < h->n_lines; i++) {
		const struct patch_line *pl = &h->lines[i];

		if (pl->kind == '+')
			put_line(out, pl->text, pl->has_lf);
		else if (pl->kind == ' ') /* the file's own line: with fuzz it may differ from the patch's */
			put_line(out, l->v[at].text, l->v[at].has_lf);
		at += pl->kind != '+';
	}
}

static int place_hunks(struct plan *pl, const struct patch_file *f, const struct work *w,
		       const struct lines *l, struct strbuf *out)
{
	bool binary = w->len > 0 && memchr(w->bytes, '\0', w->len);
	uint64_t copied = 0;
	int64_t drift = 0;

	for (size_t i = 0; i < f->n_hunks; i++) {
		_cleanup_(pattern_done) struct pattern p = { 0 };
		struct place at;
		int r;

		if (make_pattern(&f->hunks[i], '+', &p) < 0)
			return err_oom(pl->e);
		if (find_place(l, &p, copied, drift, binary, pl->o->fuzz, &at) < 0)
			return is_applied(f, l, binary)
				   ? applied(pl, w->path)
				   : hunk_failed(pl, w->path, i + 1, &f->hunks[i], l, &p);
		drift = (int64_t)at.at - (int64_t)p.start;
		for (; copied < at.at; copied++)
			put_line(out, l->v[copied].text, l->v[copied].has_lf);
		put_hunk(out, &f->hunks[i], l, at.at);
		copied = at.at + p.n;
		r = report_hunk(pl,
				(struct patch_hunk_result){ 0, (unsigned)i + 1, at.at + 1, drift, at.fuzz });
		if (r < 0)
			return r;
	}
	for (; copied < l->n; copied++)
		put_line(out, l->v[copied].text, l->v[copied].has_lf);
	return 0;
}

static int change_bytes(struct plan *pl, const struct patch_file *f, struct work *w)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(FILE_MAX_BYTES);
	_cleanup_(lines_done) struct lines l = { 0 };
	char *bytes;
	size_t len;
	int r;

	if (split_lines(w, &l) < 0)
		return err_oom(pl->e);
	r = place_hunks(pl, f, w, &l, &out);
	if (r < 0)
		return r;
	len = out.len;
	r = strbuf_steal(&out, &bytes);
	if (r < 0)
		return err_errno(pl->e, r, "patching %s", w->path);
	free(w->bytes);
	w->bytes = bytes;
	w->len = len;
	return 0;
}

static int create_file(struct plan *pl, const struct patch_file *f, struct work *w)
{
	_cleanup_(lines_done) struct lines l = { 0 };
	int r;

	if (w->exists) {
		if (split_lines(w, &l) < 0)
			return err_oom(pl->e);
		if (is_applied(f, &l, w->len > 0 && memchr(w->bytes, '\0', w->len)))
			return applied(pl, w->path);
		(void)err_set(pl->e, -ERR_PATCH_HUNK, "%s: the patch creates it, but it exists", w->path);
		return err_object(pl->e, "%s", w->path);
	}
	r = change_bytes(pl, f, w);
	w->mode = f->has_mode ? f->mode : 0644;
	w->exists = true;
	return r < 0 ? r : report_file(pl, w->path, PATCH_CREATED);
}

static int delete_file(struct plan *pl, const struct patch_file *f, struct work *w)
{
	int r;

	if (!w->exists)
		return applied(pl, w->path);
	r = change_bytes(pl, f, w);
	if (r < 0)
		return r;
	if (w->len > 0) {
		(void)err_set(pl->e, -ERR_PATCH_HUNK, "%s: the patch deletes it, but something would be left",
			      w->path);
		return err_object(pl->e, "%s", w->path);
	}
	w->exists = false;
	return report_file(pl, w->path, PATCH_DELETED);
}

static int modify_file(struct plan *pl, const struct patch_file *f, struct work *w)
{
	int r;

	if (!w->exists) {
		(void)err_set(pl->e, -ERR_PATCH_HUNK, "%s line %u: no file %s to patch", pl->patch->name,
			      f->line, w->path);
		return err_object(pl->e, "%s", w->path);
	}
	r = change_bytes(pl, f, w);
	if (f->has_mode)
		w->mode = f->mode;
	return r < 0 ? r : report_file(pl, w->path, PATCH_MODIFIED);
}

static int place_file(struct plan *pl, const struct patch_file *f, int strip)
{
	_cleanup_free_ char *path = NULL;
	struct work *w;
	int r = target_path(pl, f, strip, &path);

	if (r < 0)
		return r;
	r = get_work(pl, path, &w);
	if (r < 0)
		return r;
	w->changed = true;
	if (strcmp(path, MANIFEST_NAME) == 0 &&
	    strv_push(&pl->report->notes, "the patch changes the package's own list of files") < 0)
		return err_oom(pl->e);
	if (f->creates || (f->may_create && !w->exists))
		return create_file(pl, f, w);
	return f->deletes ? delete_file(pl, f, w) : modify_file(pl, f, w);
}

static int place_patch(struct plan *pl, const struct patch *p)
{
	int strip, r = 0;

	pl->patch = p;
	strip = pl->o->strip == PATCH_STRIP_AUTO ? choose_strip(pl) : pl->o->strip;
	for (size_t i = 0; i < p->n_files && r == 0; i++)
		r = place_file(pl, &p->files[i], strip);
	return r;
}

/* ---- the package's list ---- */

static const char *const precompiled_dirs[] = { "kernel/precompiled", "kernel-open/precompiled" };

static bool is_below(struct span name, const char *dir)
{
	size_t n = strlen(dir);

	return name.len > n && memcmp(name.p, dir, n) == 0 && name.p[n] == '/';
}

static bool is_dropped(struct plan *pl, struct span line)
{
	struct span rest = line, name;

	if (!span_word(&rest, &name))
		return false;
	while (span_starts(name, "./")) {
		name.p += 2;
		name.len -= 2;
	}
	for (size_t i = 0; i < ARRAY_LEN(precompiled_dirs); i++)
		if (is_below(name, precompiled_dirs[i]))
			return true;
	for (size_t i = 0; i < pl->n_works; i++)
		if (pl->works[i].existed && !pl->works[i].exists && span_eq(name, pl->works[i].path))
			return true;
	return false;
}

static bool is_new_source(const struct work *w)
{
	return !w->existed && w->exists &&
	       (is_below(SPAN(w->path), "kernel") || is_below(SPAN(w->path), "kernel-open"));
}

/* Lines that are neither dropped nor added stay as they were, byte for byte. */
static int edit_manifest(struct plan *pl, struct span text, struct strbuf *out)
{
	unsigned number = 0;
	struct span line;

	while (span_line(&text, &line)) {
		if (++number > 8 && is_dropped(pl, line))
			continue;
		put_line(out, line, true);
	}
	for (size_t i = 0; i < pl->n_works; i++)
		if (is_new_source(&pl->works[i]))
			(void)strbuf_printf(out,
					    "%s 0644 KERNEL_MODULE_SRC INHERIT_PATH_DEPTH:1 MODULE:resman\n",
					    pl->works[i].path);
	return strbuf_error(out);
}

static int update_manifest(struct plan *pl)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(MANIFEST_MAX_BYTES);
	_cleanup_(manifest_freep) struct manifest *check = NULL;
	struct work *w;
	char *bytes;
	size_t len;
	int r = get_work(pl, MANIFEST_NAME, &w);

	if (r < 0)
		return r;
	if (!w->exists)
		return err_set(pl->e, -ERR_MANIFEST_MISSING, "no %s in the payload", MANIFEST_NAME);
	r = edit_manifest(pl, (struct span){ w->bytes, w->len }, &out);
	len = out.len;
	if (r == 0)
		r = strbuf_steal(&out, &bytes);
	if (r < 0)
		return err_errno(pl->e, r, "changing %s", MANIFEST_NAME);
	w->changed = w->changed || len != w->len || memcmp(bytes, w->bytes, len) != 0;
	free(w->bytes);
	w->bytes = bytes;
	w->len = len;
	r = manifest_parse((struct span){ bytes, len }, 0, &check, pl->e);
	return r < 0 ? err_wrap(pl->e, "the patched %s", MANIFEST_NAME) : 0;
}

/* ---- writing ---- */

static int write_one(struct plan *pl, const struct work *w)
{
	_cleanup_close_ int parent = -EBADF;
	const char *name;
	int r;

	parent = path_open_parent(pl->dirfd, w->path, w->exists, PATH_NO_SYMLINKS, &name);
	if (parent < 0)
		return err_errno(pl->e, parent, "cannot open the directory of %s", w->path);
	if (w->exists) {
		_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(parent);

		r = tmpname_open(&t, w->mode);
		if (r == 0)
			r = write_all(t.fd, w->bytes, w->len);
		if (r == 0)
			r = publish_tmp(&t, name, true);
	} else {
		r = publish_unlink(parent, name);
	}
	return r < 0 ? err_errno(pl->e, r, "cannot write %s", w->path) : 0;
}

static int write_all_works(struct plan *pl)
{
	int r = 0;

	for (size_t i = 0; i < pl->n_works && r == 0; i++) {
		const struct work *w = &pl->works[i];

		if (w->changed && (w->exists || w->existed))
			r = write_one(pl, w);
	}
	for (size_t i = 0; pl->o->package && i < ARRAY_LEN(precompiled_dirs) && r == 0; i++) {
		const char *name;
		_cleanup_close_ int parent =
		    path_open_parent(pl->dirfd, precompiled_dirs[i], false, PATH_NO_SYMLINKS, &name);

		if (parent >= 0 && (r = tree_remove(parent, name)) < 0)
			return err_errno(pl->e, r, "cannot remove %s", precompiled_dirs[i]);
	}
	return r;
}

static void plan_done(struct plan *pl)
{
	for (size_t i = 0; i < pl->n_works; i++) {
		free(pl->works[i].path);
		free(pl->works[i].bytes);
	}
	free(pl->works);
}

int patch_apply_tree(int dirfd, struct patch *const *patches, size_t n_patches, const struct patch_options *o,
		     struct patch_report **ret, struct err *e)
{
	_cleanup_(patch_report_freep) struct patch_report *report = calloc(1, sizeof(*report));
	_cleanup_(plan_done) struct plan pl = { .dirfd = dirfd, .o = o, .report = report, .e = e };
	int r = 0;

	if (!report)
		return err_oom(e);
	for (size_t i = 0; i < n_patches && r == 0; i++)
		r = place_patch(&pl, patches[i]);
	if (r == 0 && o->package)
		r = update_manifest(&pl);
	if (r == 0 && !o->dry_run)
		r = write_all_works(&pl);
	if (r == 0 && ret)
		*ret = TAKE_PTR(report);
	return r;
}
