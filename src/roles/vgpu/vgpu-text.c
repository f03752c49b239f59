/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-text.h"

#include "fd.h"
#include "path.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define TEXT_FILE_MAX ((size_t)1 << 20)

void text_files_done(struct text_files *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].path);
		free(f->v[i].bytes);
	}
	free(f->v);
	*f = (struct text_files){ 0 };
}

int text_files_add(struct text_files *f, const char *path, const void *bytes, size_t len)
{
	struct text_file *v = reallocarray(f->v, f->n + 1, sizeof(*v));
	struct text_file *new;

	if (!v)
		return -ENOMEM;
	f->v = v;
	new = &f->v[f->n];
	*new = (struct text_file){ strdup(path), calloc(1, len + 1), len };
	if (new->path &&new->bytes) {
		memcpy(new->bytes, bytes, len);
		f->n++;
		return 0;
	}
	free(new->path);
	free(new->bytes);
	return -ENOMEM;
}

int text_files_read(struct text_files *f, const struct host *h, const char *path, struct err *e)
{
	_cleanup_close_ int fd = path_open_at(h->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_free_ char *bytes = NULL;
	size_t len = 0;
	int r;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	r = fd < 0 ? fd : read_fd(fd, TEXT_FILE_MAX, &bytes, &len);
	if (r < 0)
		return err_errno(e, r, "cannot read /%s", path);
	/* An edit would cut it off there. */
	if (memchr(bytes, '\0', len)) {
		(void)err_set(e, ERR_FORMAT, "/%s is not a text file: it holds a NUL byte", path);
		return err_object(e, "/%s", path);
	}
	r = text_files_add(f, path, bytes, len);
	return r < 0 ? err_oom(e) : 0;
}

static bool has_suffix(const char *name, const char *const *suffixes)
{
	for (; *suffixes; suffixes++)
		if (span_ends(SPAN(name), *suffixes) && name[0] != '.')
			return true;
	return false;
}

static int dir_names(const struct host *h, const char *dir, const char *const *suffixes, char ***ret)
{
	int fd = path_open_at(h->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int r = 0;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (!d) {
		close_fdp(&fd);
		return -ENOMEM;
	}
	for (struct dirent *entry; r == 0 && (entry = readdir(d));)
		if (has_suffix(entry->d_name, suffixes))
			r = strv_push(ret, entry->d_name);
	(void)closedir(d);
	if (*ret)
		strv_sort(*ret);
	return r;
}

int text_files_read_dir(struct text_files *f, const struct host *h, const char *dir,
			const char *const *suffixes, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = dir_names(h, dir, suffixes, &names);

	if (r < 0)
		return err_errno(e, r, "cannot read directory /%s", dir);
	for (char **name = names; r >= 0 && name && *name; name++) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, *name);

		r = path ? text_files_read(f, h, path, e) : err_oom(e);
	}
	return r;
}

const struct text_file *text_files_find(const struct text_files *f, const char *path)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->v[i].path, path) == 0)
			return &f->v[i];
	return NULL;
}

void text_edits_done(struct text_edits *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].path);
		free(l->v[i].sentence);
		free(l->v[i].bytes);
		free(l->v[i].old);
	}
	free(l->v);
	strv_freep(&l->notes);
	*l = (struct text_edits){ 0 };
}

static char *copy(const char *bytes, size_t len)
{
	char *c = calloc(1, len + 1);

	if (c && len)
		memcpy(c, bytes, len);
	return c;
}

/* Takes the sentence. bytes.p NULL = the file goes. */
static int edits_add(struct text_edits *l, const char *path, const struct text_file *old, struct span bytes,
		     char *sentence)
{
	struct text_edit *v = reallocarray(l->v, l->n + 1, sizeof(*v));
	struct text_edit *new;

	if (!v || !sentence) {
		free(sentence);
		l->v = v ? v : l->v;
		return -ENOMEM;
	}
	l->v = v;
	new = &l->v[l->n++];
	*new = (struct text_edit){ strdup(path),
				   sentence,
				   bytes.p ? copy(bytes.p, bytes.len) : NULL,
				   bytes.len,
				   old ? copy(old->bytes, old->len) : NULL,
				   old ? old->len : 0 };
	return new->path && (new->bytes || !bytes.p) && (new->old || !old) ? 0 : -ENOMEM;
}

int text_edits_set(struct text_edits *l, const char *path, const struct text_file *old, struct span bytes,
		   const char *sentence_fmt, ...)
{
	va_list ap;
	int r;

	if (old && old->len == bytes.len && memcmp(old->bytes, bytes.p, bytes.len) == 0)
		return 0;
	va_start(ap, sentence_fmt);
	r = edits_add(l, path, old, bytes, str_vprintf(sentence_fmt, ap));
	va_end(ap);
	return r;
}

int text_edits_drop(struct text_edits *l, const struct text_file *old, const char *sentence_fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, sentence_fmt);
	r = edits_add(l, old->path, old, SPAN_NULL, str_vprintf(sentence_fmt, ap));
	va_end(ap);
	return r;
}

int text_edits_note(struct text_edits *l, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = str_vprintf(fmt, ap);
	va_end(ap);
	return text ? strv_push(&l->notes, text) : -ENOMEM;
}

int text_edits_to_plan(const struct text_edits *l, struct plan *p)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < l->n; i++) {
		const struct text_edit *d = &l->v[i];

		if (d->bytes)
			r = plan_add_edit(p, d->path, d->old, d->old_len, d->bytes, d->len, 0644,
					  d->sentence);
		else
			r = plan_add(
			    p, &op_files,
			    json_pack("{s:[{s:s, s:s}]}", "entries", "path", d->path, "type", "absent"), "%s",
			    d->sentence);
	}
	return r;
}
