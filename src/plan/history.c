/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include "fd.h"
#include "jutil.h"
#include "livedir.h"

#include <stdlib.h>
#include <string.h>

#define HISTORY_FILE_MAX ((size_t)256 << 20)

/* One deployment as history shows it. -ENOENT: gone meanwhile. */
static int item_load(int dir, const char *file, const char *target, const char *id, const char *state,
		     json_t *list)
{
	_cleanup_free_ char *text = NULL;
	json_auto_t *head = NULL, *sentences = json_array();
	const json_t *op;
	json_t *item;
	size_t len, i;
	int r;

	r = read_file_at(dir, file, HISTORY_FILE_MAX, &text, &len);
	if (r < 0)
		return r;
	r = jloadb((struct span){ text, len }, &head, NULL);
	if (r < 0)
		return r;
	if (!json_is_object(head))
		return -EINVAL;
	json_array_foreach (json_object_get(head, "operations"), i, op)
		if (json_array_append(sentences, json_object_get(op, "sentence")) < 0)
			return -EINVAL;
	item = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:O*, s:O}", "target", target, "id", id, "state",
			 state, "title", json_text(head, "title"), "time", json_text(head, "time"),
			 "sequence", json_integer_value(json_object_get(head, "sequence")), "root",
			 json_object_get(head, "root"), "operations", sentences);
	if (!item || json_array_append_new(list, item) < 0)
		return -ENOMEM;
	return json_object_set(item, "meta",
			       json_object_get(head, "meta") ? json_object_get(head, "meta") : json_null()) <
		       0
		   ? -ENOMEM
		   : 0;
}

static int applied_load(int target_fd, const char *target, json_t *list)
{
	_cleanup_close_ int history = dir_open_at(target_fd, "history");
	_cleanup_strv_ char **ids = NULL;
	int r;

	if (history < 0)
		return history == -ENOENT ? 0 : history;
	r = livedir_list(history, &ids);
	for (char **id = ids; r >= 0 && id && *id; id++) {
		_cleanup_close_ int dir = -EBADF;

		if (!journal_id_is_valid(*id))
			continue;
		dir = dir_open_at(history, *id);
		r = dir < 0 ? dir : item_load(dir, "plan.json", target, *id, "applied", list);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

static int undone_load(int target_fd, const char *target, json_t *list)
{
	_cleanup_close_ int undone = dir_open_at(target_fd, "undone");
	_cleanup_strv_ char **names = NULL;
	int r;

	if (undone < 0)
		return undone == -ENOENT ? 0 : undone;
	r = livedir_list(undone, &names);
	for (char **name = names; r >= 0 && name && *name; name++) {
		char id[17];

		(void)snprintf(id, sizeof(id), "%.16s", *name);
		if (!journal_id_is_valid(id) || strcmp(*name + 16, ".json") != 0)
			continue;
		r = item_load(undone, *name, target, id, "undone", list);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

static int by_target_and_sequence(const void *a, const void *b)
{
	const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
	json_int_t sx = json_integer_value(json_object_get(x, "sequence"));
	json_int_t sy = json_integer_value(json_object_get(y, "sequence"));
	int order = strcmp(json_text(x, "target"), json_text(y, "target"));

	return order ? order : sx < sy ? -1 : sx > sy;
}

static int sorted(const json_t *list, json_t **ret)
{
	size_t n = json_array_size(list);
	_cleanup_free_ json_t **v = calloc(n + 1, sizeof(*v));
	json_auto_t *out = json_array();

	if (!v || !out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		v[i] = json_array_get(list, i);
	qsort(v, n, sizeof(*v), by_target_and_sequence);
	for (size_t i = 0; i < n; i++)
		if (json_array_append(out, v[i]) < 0)
			return -ENOMEM;
	*ret = json_incref(out);
	return 0;
}

int plan_history(const struct plan_state *st, const char *target, json_t **ret_list, struct err *e)
{
	_cleanup_strv_ char **targets = NULL;
	json_auto_t *list = json_array();
	int r;

	r = list ? livedir_list(st->targets_fd, &targets) : -ENOMEM;
	for (char **name = targets; r >= 0 && name && *name; name++) {
		_cleanup_close_ int fd = -EBADF;

		if (target && strcmp(*name, target) != 0)
			continue;
		fd = dir_open_at(st->targets_fd, *name);
		r = fd == -ENOTDIR ? 0 : fd;
		if (fd >= 0)
			r = undone_load(fd, *name, list);
		if (fd >= 0 && r >= 0)
			r = applied_load(fd, *name, list);
		if (r < 0)
			return err_errno(e, r, "cannot read the history of target %s", *name);
	}
	if (r >= 0)
		r = sorted(list, ret_list);
	return r < 0 ? err_errno(e, r, "cannot read the history") : 0;
}
