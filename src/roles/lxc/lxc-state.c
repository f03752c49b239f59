/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-state.h"

#include "fd.h"
#include "jutil.h"
#include "lxc-enter.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INSIDE_MAX ((size_t)1 << 20)

static int target_dir(const struct lxc *x, const char *target, bool create)
{
	if (x->en->state.targets_fd < 0)
		return -ENOENT;
	if (create && mkdirat(x->en->state.targets_fd, target, 0755) < 0 && errno != EEXIST)
		return -errno;
	return dir_open_at(x->en->state.targets_fd, target);
}

int lxc_record_read(const struct lxc *x, const char *target, json_t **ret, struct err *e)
{
	_cleanup_close_ int dir = target_dir(x, target, false);
	int r = dir < 0 ? dir : store_record_read(dir, "record.json", ret, e);

	if (r == -ENOENT) {
		*ret = NULL;
		return 0;
	}
	return r < 0 ? err_wrap(e, "record of container target %s", target) : 0;
}

static bool same_but_time(const json_t *a, const json_t *b)
{
	_cleanup_json_ json_t *x = json_deep_copy(a), *y = json_deep_copy(b);

	if (!x || !y)
		return false;
	(void)json_object_del(x, "time");
	(void)json_object_del(y, "time");
	return json_equal(x, y);
}

int lxc_record_write(const struct lxc *x, const char *target, const json_t *record, struct err *e)
{
	_cleanup_json_ json_t *old = NULL, *new = json_deep_copy(record);
	_cleanup_close_ int dir = -EBADF;
	char text[32];
	struct tm tm;
	time_t now = time(NULL);

	if (!new)
		return err_oom(e);
	if (lxc_record_read(x, target, &old, NULL) >= 0 && old && same_but_time(old, new))
		return 0;
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	if (json_object_set_new(new, "time", json_string(text)) < 0 ||
	    json_object_set_new(new, "schema", json_string(LXC_RECORD_SCHEMA)) < 0)
		return err_oom(e);
	dir = target_dir(x, target, true);
	if (dir < 0)
		return err_errno(e, dir, "cannot write the record of %s", target);
	return store_record_write(dir, "record.json", new, 0644, e);
}

int lxc_record_remove(const struct lxc *x, const char *target, struct err *e)
{
	_cleanup_close_ int dir = target_dir(x, target, false);
	int r = dir < 0 ? dir : publish_unlink(dir, "record.json");

	return r < 0 && r != -ENOENT ? err_errno(e, r, "cannot remove the record of %s", target) : 0;
}

bool lxc_record_has_files(const json_t *record)
{
	const char *d = json_string_value(json_object_get(record, "delivery"));

	return d && strcmp(d, "shared") != 0 && strcmp(d, "auto") != 0;
}

int lxc_record_ids(const struct lxc *x, char ***ret, struct err *e)
{
	_cleanup_strv_ char **names = NULL, **v = NULL;
	int fd = x->en->state.targets_fd, r = fd < 0 ? 0 : path_names(fd, ".", &names);

	if (r < 0 && r != -ENOMEM)
		r = 0;
	for (char **p = names; r >= 0 && p && *p; p++) {
		_cleanup_free_ char *path = str_printf("%s/record.json", *p);

		if (!path)
			r = -ENOMEM;
		else if (strncmp(*p, "lxc-", 4) == 0 && faccessat(fd, path, F_OK, 0) == 0)
			r = strv_push(&v, *p + 4);
	}
	if (r < 0)
		return err_oom(e);
	if (v)
		strv_sort(v);
	*ret = TAKE_PTR(v);
	return 0;
}

unsigned lxc_record_extras(const struct lxc *x, const char *but_id)
{
	_cleanup_strv_ char **ids = NULL;
	unsigned found = 0;

	(void)lxc_record_ids(x, &ids, NULL);
	for (char **id = ids; id && *id; id++) {
		_cleanup_free_ char *target = str_printf("lxc-%s", *id);
		_cleanup_json_ json_t *record = NULL;

		if (target && !(but_id && strcmp(*id, but_id) == 0) &&
		    lxc_record_read(x, target, &record, NULL) >= 0)
			found |= lxc_extras_take(json_object_get(record, "extras"));
	}
	return found;
}

int lxc_record_inside_id(int root_fd, char **ret)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *o = NULL;
	const char *id;
	size_t len;
	int r = lxc_read_beneath(root_fd, LXC_RECORD_INSIDE, INSIDE_MAX, &text, &len);

	if (r < 0)
		return r;
	r = jparse((struct span){ text, len }, &o, NULL);
	id = r < 0 ? NULL : json_string_value(json_object_get(o, "id"));
	if (!id || !name_is_safe(id))
		return r == -ENOMEM ? r : -EINVAL;
	*ret = strdup(id);
	return *ret ? 0 : -ENOMEM;
}

/* -- stamps -- */

/* Field 22 of proc/<pid>/stat; the command's name before it may hold anything. */
static int start_time(pid_t pid, uint64_t *ret)
{
	_cleanup_free_ char *path = str_printf("/proc/%d/stat", (int)pid), *text = NULL;
	struct span rest, word;
	const char *close;
	size_t len;

	if (!path || read_file_at(AT_FDCWD, path, 4096, &text, &len) < 0)
		return -ENOENT;
	close = strrchr(text, ')');
	if (!close)
		return -EINVAL;
	rest = SPAN(close + 1);
	for (unsigned i = 3; span_word(&rest, &word); i++)
		if (i == 22)
			return parse_u64(word, UINT64_MAX, ret);
	return -EINVAL;
}

json_t *lxc_run_stamp(const struct lxc_place *place)
{
	uint64_t started;

	if (place->init_pid <= 0 || start_time(place->init_pid, &started) < 0)
		return NULL;
	return json_pack("{s:i, s:I}", "init_pid", (int)place->init_pid, "start_time", (json_int_t)started);
}

static json_t *full_stamp(const struct lxc_ct *ct)
{
	json_t *stamp = lxc_run_stamp(&ct->place);

	if (!stamp)
		return NULL;
	if (json_object_set_new(stamp, "version",
				ct->want.version ? json_string(ct->want.version) : json_null()) < 0 ||
	    json_object_set_new(stamp, "host",
				ct->x->host.version ? json_string(ct->x->host.version) : json_null()) < 0 ||
	    json_object_set_new(stamp, "nodes", lxc_nodes_json(&ct->nodes)) < 0) {
		json_decref(stamp);
		return NULL;
	}
	return stamp;
}

bool lxc_record_covers(const struct lxc_ct *ct)
{
	_cleanup_json_ json_t *now = full_stamp(ct);

	return now && json_equal(now, json_object_get(ct->record, "verified"));
}

int lxc_record_stamp(json_t *record, const struct lxc_ct *ct)
{
	json_t *stamp = full_stamp(ct);

	if (!stamp)
		return json_object_del(record, "verified") < 0 ? 0 : 0;
	return json_object_set_new(record, "verified", stamp) < 0 ? -ENOMEM : 0;
}
