/* SPDX-License-Identifier: Apache-2.0
 *
 * Fewer module sets. Names are taken away and the store collects what nothing else leads to; what it keeps (because a pin, a
 * target, another set or a run under way holds it) gets its name back. */
#include "modset-internal.h"

#include "jutil.h"
#include "strbuf.h"

#include <stdlib.h>
#include <string.h>

struct set {
	const json_t *record;
	bool stays;
};

struct name {
	char *ref, *id; /* owned */
	enum store_kind kind;
};

struct names {
	struct name *v; /* owned */
	size_t n;
};

static void names_done(struct names *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].ref);
		free(l->v[i].id);
	}
	free(l->v);
}

/* Takes both strings. */
static int names_add(struct names *l, enum store_kind kind, char *ref, char *id)
{
	struct name *v = ref && id ? reallocarray(l->v, l->n + 1, sizeof(*v)) : NULL;

	if (!v) {
		free(ref);
		free(id);
		return -ENOMEM;
	}
	l->v = v;
	l->v[l->n++] = (struct name){ ref, id, kind };
	return 0;
}

/* -- which go -- */

static const char *text_of(const struct set *s, const char *key)
{
	return json_string_value(json_object_get(s->record, key)) ?: "";
}

static bool is(const struct set *s, const char *key, const char *want)
{
	return want && strcmp(text_of(s, key), want) == 0;
}

static int by_worth(const void *a, const void *b)
{
	const struct set *x = a, *y = b;
	json_int_t tx = json_integer_value(json_object_get(x->record, "created_unix_s"));
	json_int_t ty = json_integer_value(json_object_get(y->record, "created_unix_s"));

	if (x->stays != y->stays)
		return x->stays ? -1 : 1;
	return tx < ty ? 1 : tx > ty ? -1 : strcmp(text_of(x, "key"), text_of(y, "key"));
}

static size_t choose(struct set *v, size_t n, const struct modset_limit *l)
{
	size_t stay = 0;

	for (size_t i = 0; i < n; i++)
		v[i].stays = is(&v[i], "key", l->key) ||
			     (is(&v[i], "release", l->release) && is(&v[i], "driver", l->driver));
	qsort(v, n, sizeof(*v), by_worth);
	for (size_t i = 0; i < n; i++)
		stay += v[i].stays |= i < l->keep;
	return stay;
}

static bool kernel_stays(const struct set *v, size_t n, const struct set *gone)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].stays && is(&v[i], "release", text_of(gone, "release")) &&
		    is(&v[i], "arch", text_of(gone, "arch")))
			return true;
	return false;
}

/* A build tree is bigger than the sets made with it. */
static int add_kernel(struct store *s, const struct set *gone, struct names *l)
{
	char *ref = str_printf("kernels/%s/%s", text_of(gone, "arch"), text_of(gone, "release")), *id = NULL;
	enum store_kind kind = STORE_KERNEL;
	int r = ref ? store_ref_get(s, ref, &kind, &id) : -ENOMEM;

	if (r == 0)
		return names_add(l, kind, ref, id);
	free(ref);
	return r == -ENOMEM ? r : 0;
}

static int list_names(struct store *s, const struct set *v, size_t n, struct names *l)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (v[i].stays)
			continue;
		r = names_add(l, STORE_MODULE, modset_ref(v[i].record, text_of(&v[i], "key")),
			      strdup(text_of(&v[i], "key")));
		if (r == 0 && !kernel_stays(v, n, &v[i]))
			r = add_kernel(s, &v[i], l);
	}
	return r;
}

/* -- going -- */

static int collect(struct store *s, const struct names *l, struct err *e)
{
	struct store_gc_result res;
	int r = 0, gone = 0;

	for (size_t i = 0; r >= 0 && i < l->n; i++)
		r = store_ref_remove(s, l->v[i].ref, e);
	if (r >= 0)
		r = store_gc(s, false, NULL, &res, e);
	for (size_t i = 0; i < l->n; i++) {
		if (!store_has(s, l->v[i].kind, l->v[i].id))
			gone += l->v[i].kind == STORE_MODULE;
		else if (r >= 0)
			r = store_ref_set(s, l->v[i].ref, l->v[i].kind, l->v[i].id, e);
		else
			(void)store_ref_set(s, l->v[i].ref, l->v[i].kind, l->v[i].id, NULL);
	}
	return r < 0 ? r : gone;
}

int modset_limit(struct store *s, const struct modset_limit *l, struct err *e)
{
	_cleanup_(names_done) struct names names = { 0 };
	_cleanup_free_ struct set *v = NULL;
	_cleanup_json_ json_t *list = NULL;
	size_t n;
	int r = modset_list(s, NULL, NULL, &list, e);

	if (r < 0)
		return r;
	n = json_array_size(list);
	if (n <= l->keep)
		return 0;
	v = calloc(n, sizeof(*v));
	if (!v)
		return err_oom(e);
	for (size_t i = 0; i < n; i++)
		v[i].record = json_array_get(list, i);
	if (choose(v, n, l) == n)
		return 0;
	r = list_names(s, v, n, &names);
	return r < 0 ? err_oom(e) : collect(s, &names, e);
}
