/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include "elffile.h"
#include "jutil.h"
#include "libdir.h"
#include "parallel.h"
#include "path.h"
#include "record.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static int read_record(const struct host *h, json_t **ret, struct err *e)
{
	int r = record_read(h->root_fd, ret, e);

	if (r != 0)
		return r;
	(void)err_set(e, ERR_INSTALL_NOT_FOUND, "no record in %s", h->root);
	return err_object(e, "%s", h->root);
}

static int add_difference(json_t *list, const char *path, const char *problem)
{
	json_t *d = json_pack("{s:s,s:s}", "path", path, "problem", problem);

	return d && json_array_append_new(list, d) == 0 ? 0 : -ENOMEM;
}

static bool is_our_dir(const json_t *record, const char *path)
{
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(record, "dirs"), i, item)
		if (strcmp(json_string_value(item), path) == 0)
			return true;
	return false;
}

static int list_extras(const struct host *h, const json_t *record, const char *dir, json_t *list)
{
	_cleanup_strv_ char **names = NULL;
	int r = path_names(h->root_fd, dir, &names) == -ENOMEM ? -ENOMEM : 0;

	for (char **p = names; r >= 0 && p && *p; p++) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, *p);

		if (!path)
			r = -ENOMEM;
		else if (!record_find(record, path) && !is_our_dir(record, path))
			r = add_difference(list, path, "extra");
	}
	return r;
}

/* A directory others share is theirs to fill; in one that holds only our files a stranger stands out. */
static bool is_driver_dir(const char *dir)
{
	return strstr(dir, "nvidia") != NULL;
}

struct comparison {
	int root_fd;
	const json_t *files;
	int *states; /* one for each file */
};

static int compare_one(size_t i, void *arg)
{
	struct comparison *c = arg;

	c->states[i] = record_compare(c->root_fd, json_array_get(c->files, i));
	return c->states[i] < 0 ? c->states[i] : 0;
}

static int compare_files(const struct host *h, const json_t *files, json_t *list)
{
	_cleanup_free_ int *states = calloc(json_array_size(files) + 1, sizeof(*states));
	struct comparison c = { h->root_fd, files, states };
	int r = states ? parallel_for(json_array_size(files), compare_one, &c) : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < json_array_size(files); i++)
		if (states[i] != RECORD_SAME)
			r = add_difference(list, text_of(json_array_get(files, i), "path"),
					   record_state_name(states[i]));
	return r;
}

static int compare_all(const struct host *h, const json_t *record, json_t *list)
{
	int r = compare_files(h, json_object_get(record, "files"), list);
	json_t *item;
	size_t i;

	json_array_foreach (json_object_get(record, "dirs"), i, item) {
		if (r >= 0 && is_driver_dir(json_string_value(item)))
			r = list_extras(h, record, json_string_value(item), list);
	}
	return r;
}

int userspace_verify(const struct host *h, json_t *differences, json_t **ret_record, struct err *e)
{
	size_t before = json_array_size(differences);
	json_t *record = NULL;
	int r;

	r = read_record(h, &record, e);
	if (r < 0)
		return r;
	r = compare_all(h, record, differences);
	if (r < 0) {
		json_decref(record);
		return err_errno(e, r, "comparing %s with its record", h->root);
	}
	if (ret_record)
		*ret_record = record;
	else
		json_decref(record);
	return (int)(json_array_size(differences) - before);
}

int userspace_drift(const struct host *h, char **ret_version, unsigned *ret_n, struct err *e)
{
	_cleanup_json_ json_t *record = NULL;
	const json_t *file;
	char *version;
	unsigned n = 0;
	size_t i;
	int r = read_record(h, &record, e);

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(record, "files"), i, file) {
		r = record_compare_quick(h->root_fd, file);
		if (r < 0)
			return err_errno(e, r, "comparing %s with its record", h->root);
		n += r != RECORD_SAME;
	}
	version = strdup(text_of(record, "version"));
	if (!version)
		return err_oom(e);
	*ret_version = version;
	*ret_n = n;
	return 0;
}

/* -- resolving -- */

struct resolver {
	int root_fd;
	char **dirs[2]; /* owned; loader directories of 32 and 64 bit objects */
	json_t *known[2]; /* owned; name -> true or false */
	json_t *missing; /* borrowed */
};

static void resolver_done(struct resolver *v)
{
	for (int i = 0; i < 2; i++) {
		strv_freep(&v->dirs[i]);
		json_decref(v->known[i]);
	}
}

static bool is_object_at(struct resolver *v, const char *dir, const char *name, unsigned class_bits)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);
	_cleanup_close_ int fd = -EBADF;
	struct elf elf;

	if (!path)
		return false;
	fd = path_open_at(v->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	return fd >= 0 && elf_open(fd, &elf) >= 0 && elf.class_bits == class_bits;
}

static int resolves(struct resolver *v, const char *name, unsigned class_bits)
{
	int c = class_bits == 64;
	const json_t *known = json_object_get(v->known[c], name);
	bool found = false;

	if (known)
		return json_is_true(known);
	for (char **d = v->dirs[c]; !found && d && *d; d++)
		found = is_object_at(v, *d, name, class_bits);
	return json_object_set_new(v->known[c], name, json_boolean(found)) < 0 ? -ENOMEM : found;
}

/* Parts of a driver name each other by these; no distribution ships others of such a name. */
static bool is_driver_library(const char *name)
{
	return strstr(name, "nvidia") || strncmp(name, "libcuda.", 8) == 0 || strncmp(name, "libnv", 5) == 0;
}

static int resolve_needed(struct resolver *v, const char *path, char *const *needed, unsigned class_bits)
{
	_cleanup_free_ char *own_dir = strndup(path, (size_t)((strrchr(path, '/') ?: path) - path));
	int r = own_dir ? 0 : -ENOMEM;

	for (; r >= 0 && needed && *needed; needed++) {
		json_t *m;

		r = resolves(v, *needed, class_bits);
		/* Objects of a private directory name it as their run path. */
		if (r == 0)
			r = is_object_at(v, own_dir, *needed, class_bits);
		if (r != 0)
			continue;
		m = json_pack("{s:s,s:s,s:b}", "path", path, "needs", *needed, "own",
			      is_driver_library(*needed));
		r = m && json_array_append_new(v->missing, m) == 0 ? 0 : -ENOMEM;
	}
	return r < 0 ? r : 0;
}

static int resolve_file(struct resolver *v, const char *path)
{
	_cleanup_close_ int fd = path_open_at(v->root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_strv_ char **needed = NULL;
	struct elf elf;
	int r;

	if (fd < 0 || elf_open(fd, &elf) < 0)
		return 0;
	r = elf_dynamic(&elf, NULL, &needed);
	return r < 0 ? r : resolve_needed(v, path, needed, elf.class_bits);
}

int userspace_check_resolves(const struct host *h, json_t *missing, struct err *e)
{
	_cleanup_(resolver_done) struct resolver v = { .root_fd = h->root_fd, .missing = missing };
	size_t before = json_array_size(missing), i;
	json_t *record = NULL, *file;
	int r;

	r = read_record(h, &record, e);
	if (r < 0)
		return r;
	r = 0;
	for (int c = 0; r >= 0 && c < 2; c++) {
		v.known[c] = json_object();
		r = v.known[c]
			? libdir_loader_dirs(h->root_fd, text_of(record, "arch"), c ? 64 : 32, &v.dirs[c])
			: -ENOMEM;
	}
	json_array_foreach (json_object_get(record, "files"), i, file) {
		if (r >= 0 && strcmp(text_of(file, "type"), "file") == 0)
			r = resolve_file(&v, text_of(file, "path"));
	}
	json_decref(record);
	if (r < 0)
		return err_errno(e, r, "looking for what the installed objects need");
	return (int)(json_array_size(missing) - before);
}
