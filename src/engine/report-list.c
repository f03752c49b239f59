/* SPDX-License-Identifier: Apache-2.0 */
#include "modset.h"
#include "report.h"

#include <string.h>
#include <sys/stat.h>

/* Objects of one kind with every ref that names them. */
struct named {
	struct engine *en;
	json_t *by_id; /* id -> array of names */
	enum store_kind kind;
	json_t *rows; /* of images */
};

static int named_add(const char *name, enum store_kind kind, const char *id, void *arg)
{
	struct named *n = arg;
	json_t *names;

	if (kind != n->kind)
		return 0;
	names = json_object_get(n->by_id, id);
	if (!names) {
		names = json_array();
		if (!names || json_object_set_new(n->by_id, id, names) < 0)
			return -ENOMEM;
	}
	return json_array_append_new(names, json_string(name)) < 0 ? -ENOMEM : 0;
}

/* The record of an object: trees keep it beside root/, the others inside. New reference; empty when unreadable. */
static json_t *object_record(struct store *s, enum store_kind kind, const char *id)
{
	_cleanup_close_ int fd = store_object_open(s, kind, id);
	json_t *record = NULL;

	if (fd < 0 || store_record_read(fd, "record.json", &record, NULL) < 0)
		return json_object();
	return record;
}

static int named_row(struct named *n, const char *id, json_t *names, const char *const *fields, json_t *rows)
{
	_cleanup_free_ char *path = store_object_path(n->en->store, n->kind, id);
	json_t *record = object_record(n->en->store, n->kind, id);
	json_t *row = json_pack("{s:s,s:s?,s:O,s:b}", "id", id, "path", path, "names", names, "present",
				store_has(n->en->store, n->kind, id));

	for (size_t i = 0; row && fields[i]; i++)
		if (json_object_get(record, fields[i]))
			(void)json_object_set(row, fields[i], json_object_get(record, fields[i]));
	json_decref(record);
	return !row || json_array_append_new(rows, row) < 0 ? -ENOMEM : 0;
}

static int list_kind(struct engine *en, enum store_kind kind, const char *const *fields, json_t **ret)
{
	struct named n = { en, json_object(), kind, NULL };
	json_t *rows = json_array(), *names;
	const char *id;
	int r = 0;

	if (!n.by_id || !rows)
		r = -ENOMEM;
	if (r == 0 && en->store)
		r = store_ref_list(en->store, "", named_add, &n);
	if (r == 0)
		json_object_foreach (n.by_id, id, names)
			if ((r = named_row(&n, id, names, fields, rows)) < 0)
				break;
	json_decref(n.by_id);
	if (r < 0)
		json_decref(rows);
	else
		*ret = rows;
	return r;
}

/* One row per image, with the names its tree goes by. */
static int image_row(const char *id, void *arg)
{
	struct named *n = arg;
	_cleanup_free_ char *path = store_object_path(n->en->store, STORE_IMAGE, id);
	struct stat st;
	json_t *names = json_object_get(n->by_id, id), *row;

	/* A record without its image: being built, or removed. */
	if (!path || stat(path, &st) < 0)
		return path ? 0 : -ENOMEM;
	row = json_pack("{s:s,s:s,s:I,s:o}", "id", id, "path", path, "size_bytes", (json_int_t)st.st_size,
			"names", names ? json_incref(names) : json_array());
	return json_array_append_new(n->rows, row) < 0 ? -ENOMEM : 0;
}

static int list_images(struct engine *en, json_t **ret)
{
	struct named n = { en, json_object(), STORE_TREE, json_array() };
	int r = n.by_id && n.rows ? 0 : -ENOMEM;

	if (r == 0 && en->store)
		r = store_ref_list(en->store, "", named_add, &n);
	if (r == 0 && en->store)
		r = store_list(en->store, STORE_IMAGE, image_row, &n);
	json_decref(n.by_id);
	if (r < 0)
		json_decref(n.rows);
	else
		*ret = n.rows;
	return r;
}

/* Views are trees made from a driver's tree, not drivers. */
static int split_views(json_t *trees, json_t **ret_views)
{
	json_t *views = json_array(), *row;
	size_t i = 0;

	while (views && (row = json_array_get(trees, i))) {
		if (!json_object_get(row, "view_of")) {
			i++;
			continue;
		}
		if (json_array_append(views, row) < 0 || json_array_remove(trees, i) < 0) {
			json_decref(views);
			return -ENOMEM;
		}
	}
	*ret_views = views;
	return views ? 0 : -ENOMEM;
}

int report_list(struct engine *en, json_t **ret, struct err *e)
{
	static const char *const tree_fields[] = { "version",	 "arch",    "kind",    "source", "trust",
						   "size_bytes", "view_of", "profile", "mount",	 NULL };
	static const char *const kernel_fields[] = { "release", "arch", "vermagic", NULL };
	static const char *const none[] = { NULL };
	json_t *drivers = NULL, *kernels = NULL, *packages = NULL, *images = NULL, *sets = NULL,
	       *views = NULL;
	int r;

	r = list_kind(en, STORE_TREE, tree_fields, &drivers);
	if (r == 0)
		r = split_views(drivers, &views);
	if (r == 0)
		r = list_kind(en, STORE_KERNEL, kernel_fields, &kernels);
	if (r == 0)
		r = list_kind(en, STORE_PACKAGE, none, &packages);
	if (r == 0)
		r = list_images(en, &images);
	if (r < 0)
		r = err_errno(e, r, "cannot list the store");
	else if (en->store)
		r = modset_list(en->store, NULL, NULL, &sets, e);
	if (r == 0)
		*ret =
		    json_pack("{s:s?,s:o,s:o,s:o,s:o,s:o,s:o}", "store", en->store ? en->store->path : NULL,
			      "drivers", drivers, "views", views, "module_sets", sets ? sets : json_array(),
			      "kernels", kernels, "packages", packages, "images", images);
	if (r < 0) {
		json_decref(drivers);
		json_decref(kernels);
		json_decref(packages);
		json_decref(images);
		json_decref(views);
		return r;
	}
	return *ret ? 0 : err_oom(e);
}
