/* SPDX-License-Identifier: Apache-2.0
 *
 * A ref is a file refs/<name> with one line "<kind dir>/<id>". */
#include "store-internal.h"

#include "fd.h"
#include "livedir.h"
#include "parse.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REF_SIZE_MAX  512
#define REF_DEPTH_MAX 8

bool store_ref_name_is_valid(const char *name)
{
	_cleanup_free_ char *copy = strdup(name);
	char *save = NULL;
	unsigned depth = 0;

	if (!copy || !path_name_is_clean(name))
		return false;
	for (char *c = strtok_r(copy, "/", &save); c; c = strtok_r(NULL, "/", &save))
		if (++depth > REF_DEPTH_MAX || c[0] == '.' || !name_is_safe(c))
			return false;
	return depth > 0;
}

int store_ref_parse(const char *text, size_t len, enum store_kind *ret_kind, char **ret_id)
{
	struct span line, rest = { text, len };
	_cleanup_free_ char *copy = NULL;
	enum store_kind kind;
	char *slash;

	if (!span_line(&rest, &line) || rest.len || line.len + 1 != len || memchr(line.p, '\0', line.len))
		return -EINVAL;
	copy = span_dup(line);
	if (!copy)
		return -ENOMEM;
	slash = strchr(copy, '/');
	if (!slash)
		return -EINVAL;
	*slash++ = '\0';
	if (store_kind_parse(copy, &kind) < 0 || slash[0] == '.' || !name_is_safe(slash))
		return -EINVAL;
	slash = strdup(slash);
	if (!slash)
		return -ENOMEM;
	*ret_kind = kind;
	*ret_id = slash;
	return 0;
}

static int refs_open(struct store *s)
{
	return dir_open_at(s->dir_fd, "refs");
}

/* Held for the moment of a write, so that recover can tell a temporary nobody needs. */
static int refs_lock(struct store *s, struct lock *ret, struct err *e)
{
	int r;

	if (s->read_only)
		return err_errno(e, -EROFS, "the store %s cannot be written", s->path);
	r = lock_byte(s->format_fd, "refs", 10000, ret);
	return r < 0 ? err_errno(e, r, "cannot lock the references in %s", s->path) : 0;
}

static int sweep_dir(int dir, unsigned depth)
{
	_cleanup_strv_ char **names = NULL;
	int n = publish_sweep(dir), r;

	r = n < 0 ? n : depth > REF_DEPTH_MAX ? -ELOOP : livedir_list(dir, &names);
	for (char **name = names; r >= 0 && name && *name; name++) {
		_cleanup_close_ int sub = dir_open_at(dir, *name);

		r = sub == -ENOTDIR ? 0 : sub < 0 ? sub : sweep_dir(sub, depth + 1);
		n += r > 0 ? r : 0;
	}
	return r < 0 ? r : n;
}

int store_refs_recover(struct store *s)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_close_ int refs = refs_open(s);

	if (lock_byte(s->format_fd, "refs", 0, &lock) < 0)
		return 0; /* somebody is writing: the next recover will do */
	return refs < 0 ? refs : sweep_dir(refs, 0);
}

/* The directories above a reference may be new: their own names have to reach the disk too. */
static int sync_above(int refs, const char *name)
{
	for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *above = strndup(name, (size_t)(slash - name));
		_cleanup_close_ int dir = -EBADF;
		char *last = above ? strrchr(above, '/') : NULL;

		if (!above)
			return -ENOMEM;
		if (last)
			*last = '\0';
		dir = last ? path_open_at(refs, above, O_RDONLY | O_DIRECTORY, 0, PATH_NO_SYMLINKS)
			   : dir_open_at(refs, ".");
		if (dir < 0 || fsync(dir) < 0)
			return dir < 0 ? dir : -errno;
	}
	return 0;
}

int store_ref_set(struct store *s, const char *name, enum store_kind kind, const char *id, struct err *e)
{
	_cleanup_close_ int refs = refs_open(s), dir = -EBADF;
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_free_ char *text = NULL;
	const char *last;
	int r;

	if (!store_ref_name_is_valid(name))
		return err_set(e, -EINVAL, "%s cannot be the name of a reference", name);
	if (!name_is_safe(id) || id[0] == '.')
		return err_set(e, -EINVAL, "%s is no name for an object", id);
	text = str_printf("%s/%s\n", store_kind_dir(kind), id);
	if (!text)
		return err_oom(e);
	r = refs_lock(s, &lock, e);
	if (r < 0)
		return r;
	dir = refs < 0 ? refs : path_open_parent(refs, name, true, PATH_NO_SYMLINKS, &last);
	r = dir < 0 ? dir : publish_bytes(dir, last, text, strlen(text), 0644);
	if (r >= 0)
		r = sync_above(refs, name);
	if (r < 0)
		return err_errno(e, r, "cannot write the reference %s in %s", name, s->path);
	return 0;
}

int store_ref_get(struct store *s, const char *name, enum store_kind *ret_kind, char **ret_id)
{
	_cleanup_close_ int refs = refs_open(s), dir = -EBADF;
	_cleanup_free_ char *text = NULL;
	const char *last;
	size_t len;
	int r;

	if (!store_ref_name_is_valid(name))
		return -EINVAL;
	dir = refs < 0 ? refs : path_open_parent(refs, name, false, PATH_NO_SYMLINKS, &last);
	r = dir < 0 ? dir : read_file_at(dir, last, REF_SIZE_MAX, &text, &len);
	if (r < 0)
		return r == -ENOTDIR ? -ENOENT : r;
	return store_ref_parse(text, len, ret_kind, ret_id);
}

int store_ref_remove(struct store *s, const char *name, struct err *e)
{
	_cleanup_close_ int refs = refs_open(s), dir = -EBADF;
	const char *last;
	int r;

	if (!store_ref_name_is_valid(name))
		return err_set(e, -EINVAL, "%s cannot be the name of a reference", name);
	dir = refs < 0 ? refs : path_open_parent(refs, name, false, PATH_NO_SYMLINKS, &last);
	r = dir < 0 ? dir : publish_unlink(dir, last);
	if (r < 0 && r != -ENOENT)
		return err_errno(e, r, "cannot remove the reference %s in %s", name, s->path);
	return 0;
}

struct ref_walk {
	const char *prefix;
	store_ref_fn fn;
	void *arg;
};

static int ref_visit(int dir, const char *last, const char *name, const struct ref_walk *w)
{
	_cleanup_free_ char *text = NULL, *id = NULL;
	enum store_kind kind;
	size_t len;
	int r;

	r = read_file_at(dir, last, REF_SIZE_MAX, &text, &len);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* removed meanwhile */
	r = store_ref_parse(text, len, &kind, &id);
	return r < 0 ? r : w->fn(name, kind, id, w->arg);
}

static int refs_walk(int dir, const char *above, unsigned depth, const struct ref_walk *w)
{
	_cleanup_strv_ char **names = NULL;
	int r;

	r = depth > REF_DEPTH_MAX ? -ELOOP : livedir_list(dir, &names);
	for (char **n = names; r >= 0 && n && *n; n++) {
		_cleanup_free_ char *name = str_printf("%s%s%s", above, *above ? "/" : "", *n);
		struct stat st;

		if (!name)
			return -ENOMEM;
		if (fstatat(dir, *n, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			_cleanup_close_ int sub = dir_open_at(dir, *n);

			r = sub < 0 ? sub : refs_walk(sub, name, depth + 1, w);
		} else if (S_ISREG(st.st_mode) && strncmp(name, w->prefix, strlen(w->prefix)) == 0) {
			r = ref_visit(dir, *n, name, w);
		}
	}
	return r < 0 ? r : 0;
}

int store_ref_list(struct store *s, const char *prefix, store_ref_fn fn, void *arg)
{
	_cleanup_close_ int refs = refs_open(s);

	return refs < 0 ? refs : refs_walk(refs, "", 0, &(struct ref_walk){ prefix ? prefix : "", fn, arg });
}
