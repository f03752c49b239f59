/* SPDX-License-Identifier: Apache-2.0
 *
 * What nothing reaches. Roots are refs (pins among them), the records of targets and the journals; from there every
 * record reaches the objects whose ids it mentions. Ids are looked for in all strings of a record, also as part
 * of a path: keeping an object too many is harmless, losing one is not. */
#include "store-internal.h"

#include "fd.h"
#include "jutil.h"
#include "parse.h"
#include "tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_SIZE_MAX ((size_t)256 << 20)

#define MARK_TRIES    1000
#define LOCKS_AT_ONCE 256

static const enum store_kind swept[] = { STORE_PACKAGE, STORE_TREE,   STORE_IMAGE, STORE_KERNEL,
					 STORE_PROBE,	STORE_OBJECT, STORE_MODULE };

struct object {
	enum store_kind kind;
	char *id; /* owned */
	bool marked, held;
	struct lock lock;
};

struct heap {
	struct store *s;
	struct object *v; /* owned */
	size_t n, cap;
	enum store_kind kind; /* of the listing under way */
	struct err *e;
};

static void heap_done(struct heap *h)
{
	for (size_t i = 0; i < h->n; i++) {
		lock_release(&h->v[i].lock);
		free(h->v[i].id);
	}
	free(h->v);
}

static int object_add(const char *id, void *arg)
{
	struct heap *h = arg;
	char *copy = strdup(id);

	if (copy && h->n == h->cap) {
		struct object *v = reallocarray(h->v, h->cap ? 2 * h->cap : 64, sizeof(*v));

		if (v) {
			h->v = v;
			h->cap = h->cap ? 2 * h->cap : 64;
		}
	}
	if (!copy || h->n == h->cap) {
		free(copy);
		return -ENOMEM;
	}
	h->v[h->n++] = (struct object){ h->kind, copy, false, false, LOCK_INIT };
	return 0;
}

static int record_mark(struct heap *h, const json_t *j);

static int file_mark(struct heap *h, int dirfd, const char *name)
{
	json_auto_t *record = NULL;
	int r;

	r = jload_at(dirfd, name, RECORD_SIZE_MAX, &record, h->e);
	/* A record that cannot be read could name anything: nothing is collected then. */
	return r == -ENOENT ? 0 : r < 0 ? r : record_mark(h, record);
}

static int object_mark(struct heap *h, struct object *o)
{
	_cleanup_close_ int dir = -EBADF;

	if (o->marked)
		return 0;
	o->marked = true;
	if (o->kind == STORE_IMAGE)
		return 0;
	dir = store_object_open(h->s, o->kind, o->id);
	return dir < 0 ? 0 : file_mark(h, dir, "record.json");
}

/* One word of a string: an image and its tree share their id. */
static int word_mark(struct heap *h, struct span word)
{
	for (size_t i = 0; i < h->n; i++)
		if (span_eq(word, h->v[i].id)) {
			int r = object_mark(h, &h->v[i]);

			if (r < 0)
				return r;
		}
	return 0;
}

static int text_mark(struct heap *h, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "/ \n");
		int r = len ? word_mark(h, (struct span){ text, len }) : 0;

		if (r < 0)
			return r;
		text += len + (text[len] != '\0');
	}
	return 0;
}

static int record_mark(struct heap *h, const json_t *j)
{
	const json_t *item;
	const char *key;
	size_t i;
	int r = 0;

	if (json_is_string(j))
		return text_mark(h, json_string_value(j));
	/* The list of a tree's files names no objects, and is long. */
	if (json_is_object(j)) {
		json_object_foreach ((json_t *)j, key, item) {
			if (r >= 0 && strcmp(key, "files") != 0 && strcmp(key, "entries") != 0)
				r = record_mark(h, item);
		}
	}
	json_array_foreach (j, i, item)
		if (r >= 0)
			r = record_mark(h, item);
	return r;
}

static int ref_mark(const char *name _unused_, enum store_kind kind, const char *id, void *arg)
{
	struct heap *h = arg;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < h->n; i++)
		if (h->v[i].kind == kind && strcmp(h->v[i].id, id) == 0)
			r = object_mark(h, &h->v[i]);
	return r;
}

static int state_mark(const struct tree_entry *entry, void *arg)
{
	struct heap *h = arg;
	const char *end = strrchr(entry->name, '.');

	if (!S_ISREG(entry->st.st_mode) || !end || strcmp(end, ".json") != 0 || entry->name[0] == '.')
		return 0;
	/* What was undone needs nothing any more. */
	if (strstr(entry->path, "/undone/"))
		return 0;
	return file_mark(h, entry->dirfd, entry->name);
}

static int roots_mark_once(struct heap *h)
{
	static const char *const dirs[] = { "targets", "journal" };
	int r;

	for (size_t i = 0; i < h->n; i++)
		h->v[i].marked = false;
	r = store_ref_list(h->s, NULL, ref_mark, h);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(dirs); i++) {
		_cleanup_close_ int dir = dir_open_at(h->s->dir_fd, dirs[i]);

		r = dir < 0 ? dir : tree_walk(dir, TREE_AS_READ, state_mark, h);
	}
	return r;
}

/* Others work on their targets meanwhile: where something went away under the walk, it may stand elsewhere now. */
static int roots_mark(struct heap *h)
{
	int r = -ENOENT;

	for (unsigned i = 0; r == -ENOENT && i < MARK_TRIES; i++)
		r = roots_mark_once(h);
	return r < 0 ? err_errno(h->e, r, "cannot tell what is in use in %s", h->s->path) : 0;
}

static int objects_list(struct heap *h)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(swept); i++) {
		h->kind = swept[i];
		r = store_list(h->s, swept[i], object_add, h);
	}
	return r < 0 ? err_errno(h->e, r, "cannot list the objects of %s", h->s->path) : 0;
}

/* Objects somebody is working on stay. */
static void candidates_lock(struct heap *h, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (!h->v[i].marked)
			h->v[i].held =
			    store_lock(h->s, h->v[i].kind, h->v[i].id, 0, &h->v[i].lock, NULL) >= 0;
}

static void candidates_release(struct heap *h, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		lock_release(&h->v[i].lock);
		h->v[i].held = false;
	}
}

static int object_collect(struct heap *h, struct object *o, bool dry_run, json_t *list,
			  struct store_gc_result *res)
{
	_cleanup_free_ char *name = store_object_name(o->kind, o->id);
	uint64_t bytes = 0;
	int r;

	if (!name)
		return err_oom(h->e);
	(void)tree_usage(h->s->dir_fd, name, &bytes, NULL);
	r = dry_run ? 0 : store_remove(h->s, o->kind, o->id, h->e);
	if (r < 0)
		return r;
	if (json_array_append_new(
		list, json_pack("{s:s, s:I}", "object", name, "size_bytes", (json_int_t)bytes)) < 0)
		return err_oom(h->e);
	res->objects++;
	res->bytes += bytes;
	return 0;
}

/* Looked at again under the locks: what was named between is kept. */
static int batch_collect(struct heap *h, size_t from, size_t to, bool dry_run, json_t *list,
			 struct store_gc_result *res)
{
	int r;

	candidates_lock(h, from, to);
	r = roots_mark(h);
	for (size_t i = from; r >= 0 && i < to; i++)
		if (!h->v[i].marked && h->v[i].held)
			r = object_collect(h, &h->v[i], dry_run, list, res);
	candidates_release(h, from, to);
	return r;
}

int store_gc(struct store *s, bool dry_run, json_t **ret_list, struct store_gc_result *ret, struct err *e)
{
	_cleanup_(heap_done) struct heap h = { .s = s, .e = e };
	struct store_gc_result res = { 0, 0 };
	json_auto_t *list = json_array();
	int r;

	if (!list)
		return err_oom(e);
	r = objects_list(&h);
	if (r >= 0)
		r = roots_mark(&h);
	if (r < 0)
		return r;
	/* A batch at a time, since the kernel looks through all locks of a file for each new one. */
	for (size_t at = 0; r >= 0 && at < h.n; at += LOCKS_AT_ONCE)
		r = batch_collect(&h, at, at + LOCKS_AT_ONCE < h.n ? at + LOCKS_AT_ONCE : h.n, dry_run, list,
				  &res);
	if (r < 0)
		return r;
	*ret = res;
	if (ret_list)
		*ret_list = json_incref(list);
	return 0;
}

int store_target_forget(struct store *s, const char *target, bool dry_run, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	struct plan_state st = { -EBADF, -EBADF };
	int r;

	r = store_state_open(s, &st, e);
	if (r >= 0)
		r = plan_target_abandon(&st, target, dry_run, &lock, e);
	store_state_close(&st);
	return r < 0 || dry_run ? r : store_remove(s, STORE_TARGET, target, e);
}
