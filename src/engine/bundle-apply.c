/* SPDX-License-Identifier: Apache-2.0
 *
 * From a bundle into the store. Each object is unpacked into a private stage, its blob's digest compared, then what its
 * kind promises about itself, and only then it is published and named. */
#include "bundle-internal.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "modset.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TIMEOUT_S 3600

static int liar(const struct bundle_object *o, struct err *e, const char *what)
{
	return err_set(e, -ERR_BUNDLE_DAMAGED, "%s %.12s %s", bundle_kind_word(o->kind), o->id, what);
}

static bool record_is(const struct bundle_object *o, const char *key, const char *want)
{
	const char *have = json_string_value(json_object_get(o->record, key));

	return have && strcmp(have, want) == 0;
}

/* -- trees -- */

static int tree_name(struct store *s, const struct bundle_object *o, struct err *e)
{
	_cleanup_free_ char *ref = str_printf("driver/%s-%s", o->driver, o->arch);

	return ref ? store_ref_set(s, ref, STORE_TREE, o->id, e) : err_oom(e);
}

static int tree_present(struct store *s, const struct bundle_object *o, struct err *e)
{
	int r;

	if (!store_has(s, STORE_TREE, o->id))
		return 0;
	if (store_tree_verify(s, o->id, STORE_VERIFY_QUICK, NULL, NULL) < 0) {
		r = store_remove(s, STORE_TREE, o->id, e);
		return r < 0 ? r : 0;
	}
	r = tree_name(s, o, e);
	return r < 0 ? r : 1;
}

static int tree_apply(struct store *s, struct bundle *b, const struct bundle_object *o, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_close_ int root = -EBADF;
	char id[65];
	int r = store_stage_begin_root(s, &st, &root, e);

	if (!record_is(o, "version", o->driver) || !record_is(o, "arch", o->arch))
		return liar(o, e, "is described in two ways");
	if (r == 0)
		r = bundle_object_read(b, o, root, e);
	if (r == 0)
		r = store_tree_add(&st, o->record, id, e);
	if (r < 0)
		return r;
	/* What was published is a tree under its true name; nothing refers to it. */
	if (strcmp(id, o->id) != 0)
		return liar(o, e, "has another identity");
	return tree_name(s, o, e);
}

/* -- kernel build trees -- */

static int kernel_names(struct store *s, const struct bundle_object *o, struct err *e)
{
	_cleanup_free_ char *ref = str_printf("kernels/%s/%s", o->arch, o->release);
	const json_t *alias;
	size_t i;
	int r = ref ? store_ref_set(s, ref, STORE_KERNEL, o->id, e) : err_oom(e);

	json_array_foreach ((json_t *)o->aliases, i, alias) {
		_cleanup_free_ char *name = str_printf("kernel/%s", json_string_value(alias));

		if (r < 0)
			break;
		r = name ? store_ref_set(s, name, STORE_KERNEL, o->id, e) : err_oom(e);
	}
	return r;
}

static int kernel_present(struct store *s, const struct bundle_object *o, struct err *e)
{
	int r;

	if (!store_has(s, STORE_KERNEL, o->id))
		return 0;
	r = kernel_names(s, o, e);
	return r < 0 ? r : 1;
}

/* The tree's identity before it is published: the claim is worth nothing. */
static int kernel_check(const struct store_stage *st, const struct bundle_object *o, const char *source,
			const char *build, struct err *e)
{
	_cleanup_close_ int root = dir_open_at(st->dir_fd, "root");
	_cleanup_(ktree_freep) struct ktree *t = NULL;
	int r = root < 0 ? err_errno(e, root, "staged kernel tree")
			 : ktree_open_at(root, source, build, o->release, o->arch, &t, e);

	if (r < 0)
		return r;
	return strcmp(t->identity, o->id) == 0 ? 0 : liar(o, e, "has another identity");
}

static int kernel_apply(struct store *s, struct bundle *b, const struct bundle_object *o, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_close_ int root = -EBADF;
	const char *source = NULL, *build = NULL;
	char id[65];
	int r = jget_str(o->record, "source_rel", &source, e);

	if (r == 0)
		r = jget_str(o->record, "build_rel", &build, e);
	if (r < 0)
		return liar(o, e, "does not say where its sources lie");
	r = store_stage_begin_root(s, &st, &root, e);
	if (r == 0)
		r = bundle_object_read(b, o, root, e);
	if (r == 0)
		r = kernel_check(&st, o, source, build, e);
	if (r == 0)
		r = ktree_import(&st, o->release, source, build, o->record, id, e);
	return r < 0 ? r : kernel_names(s, o, e);
}

/* -- configure answers -- */

static int probes_present(struct store *s, const struct bundle_object *o, struct err *e _unused_)
{
	return store_has(s, STORE_PROBE, o->id);
}

static int probes_apply(struct store *s, struct bundle *b, const struct bundle_object *o, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	int r = store_stage_begin(s, &st, e);

	if (r == 0)
		r = bundle_object_read(b, o, st.dir_fd, e);
	if (r == 0)
		r = store_publish(&st, STORE_PROBE, o->id, e);
	return r < 0 ? r : 0;
}

/* -- module sets -- */

static int modules_present(struct store *s, const struct bundle_object *o, struct err *e)
{
	return modset_reuse(s, o->id, e);
}

static int modules_apply(struct store *s, struct bundle *b, const struct bundle_object *o, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_json_ json_t *record = json_deep_copy(o->record);
	int r;

	if (!record)
		return err_oom(e);
	if (!record_is(o, "driver", o->driver) || !record_is(o, "flavour", o->flavour) ||
	    !record_is(o, "release", o->release) || !record_is(o, "arch", o->arch))
		return liar(o, e, "is described in two ways");
	r = store_stage_begin(s, &st, e);
	if (r == 0)
		r = bundle_object_read(b, o, st.dir_fd, e);
	if (r == 0 && modset_stage_check(&st, record, e) < 0)
		r = err_recode(e, ERR_BUNDLE_DAMAGED);
	return r < 0 ? r : modset_publish(&st, record, o->id, e);
}

/* -- one after the other -- */

static const struct {
	enum store_kind kind;
	/* 1: there, whole and named; 0: to be made */
	int (*present)(struct store *s, const struct bundle_object *o, struct err *e);
	int (*apply)(struct store *s, struct bundle *b, const struct bundle_object *o, struct err *e);
} steps[] = {
	{ STORE_TREE, tree_present, tree_apply },
	{ STORE_KERNEL, kernel_present, kernel_apply },
	{ STORE_PROBE, probes_present, probes_apply },
	{ STORE_MODULE, modules_present, modules_apply },
};

int bundle_object_present(struct store *s, const struct bundle_object *o, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if (steps[i].kind == o->kind)
			return steps[i].present(s, o, e);
	return 0;
}

/* 1 = hit, 0 = published now. */
static int object_apply(struct store *s, struct bundle *b, const struct bundle_object *o, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	int r = store_lock(s, o->kind, o->id, LOCK_TIMEOUT_S, &lock, e);

	if (r == 0)
		r = bundle_object_present(s, o, e);
	for (size_t i = 0; i < ARRAY_LEN(steps) && r == 0; i++)
		if (steps[i].kind == o->kind)
			return steps[i].apply(s, b, o, e);
	return r;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int add_row(json_t *rows, const struct bundle_object *o, const char *action, double seconds,
		   struct err *e)
{
	_cleanup_free_ char *text = bundle_object_text(o);
	json_t *row = text ? json_pack("{s:s, s:s, s:s, s:f, s:s}", "object", bundle_kind_word(o->kind), "id",
				       o->id, "action", action, "seconds", seconds, "text", text)
			   : NULL;

	return row && json_array_append_new(rows, row) == 0 ? 0 : err_oom(e);
}

static int apply_all(struct store *s, struct bundle *b, const struct bundle_apply *how, json_t *rows,
		     struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < b->n_objects && r == 0; i++) {
		const struct bundle_object *o = &b->objects[i];
		double from = now_s();
		int hit;

		if (!bundle_object_matches(o, &how->want))
			continue;
		if (how->dry_run)
			hit = s && store_has(s, o->kind, o->id);
		else
			hit = object_apply(s, b, o, e);
		if (hit < 0)
			return err_wrap(e, "bundle %s", b->path);
		r = add_row(rows, o, hit ? "hit" : how->dry_run ? "would do" : "done", now_s() - from, e);
	}
	return r;
}

int bundle_apply(struct store *s, struct bundle *b, const struct bundle_apply *how, json_t **ret_rows,
		 struct err *e)
{
	_cleanup_json_ json_t *rows = json_array();
	int r = rows ? 0 : err_oom(e);

	if (r == 0 && how->cert_path)
		r = bundle_check_signature(b, how->cert_path, e);
	if (r == 0)
		r = apply_all(s, b, how, rows, e);
	if (r == 0 && json_array_size(rows) == 0) {
		(void)err_set(e, -ERR_BUNDLE_LACKS, "%s has nothing for that driver and kernel", b->path);
		r = err_object(e, "%s", b->path);
	}
	if (r < 0)
		return r;
	if (ret_rows)
		*ret_rows = TAKE_PTR(rows);
	return 0;
}
