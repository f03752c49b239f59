/* SPDX-License-Identifier: Apache-2.0 */
#include "conflict.h"

#include "elffile.h"
#include "path.h"
#include "pkgowner.h"
#include "record.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

struct search {
	const struct conflict_known *k;
	const struct dest_list *l;
	char **paths; /* owned; those whose owner matters */
	json_t *kinds; /* owned object: path -> "dest" or "soname" */
	json_t *conflicts, *notes; /* borrowed */
};

static void search_done(struct search *s)
{
	strv_freep(&s->paths);
	json_decref(s->kinds);
}

static int add_conflict(struct search *s, const char *path, const char *kind, const char *owner,
			const char *text)
{
	json_t *c = json_pack("{s:s,s:s,s:s?,s:s}", "path", path, "kind", kind, "owner", owner, "text", text);

	return c && json_array_append_new(s->conflicts, c) == 0 ? 0 : -ENOMEM;
}

static bool is_known(const struct search *s, const char *path)
{
	if (s->k->record && record_find(s->k->record, path))
		return true;
	for (size_t i = 0; s->k->vendor && i < s->k->vendor->n; i++)
		if (s->k->vendor->entries[i].kind < VENDOR_BACKUP_LINK &&
		    strcmp(s->k->vendor->entries[i].path, path) == 0)
			return true;
	return false;
}

static int add_candidate(struct search *s, const char *path, const char *kind)
{
	if (json_object_get(s->kinds, path))
		return 0;
	if (json_object_set_new(s->kinds, path, json_string(kind)) < 0)
		return -ENOMEM;
	return strv_push(&s->paths, path);
}

static int look_at_destination(struct search *s, const struct dest_op *op)
{
	struct stat st;
	int r = path_stat(s->k->root_fd, op->path, &st, PATH_IN_ROOT);

	if (r == -ENOENT)
		return 0;
	if (r == -ENOTDIR || r == -ELOOP)
		return add_conflict(s, op->path, "kind", NULL, "a directory above it is none");
	if (r < 0)
		return r;
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return add_conflict(s, op->path, "kind", NULL,
				    S_ISDIR(st.st_mode) ? "a directory stands there"
							: "a device, pipe or socket stands there");
	return is_known(s, op->path) ? 0 : add_candidate(s, op->path, "dest");
}

static int dir_stat(int root_fd, const char *path, struct stat *ret)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);

	if (fd < 0)
		return fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

/* Does the loader see an object of this class under the name? */
static bool is_object(int root_fd, const char *path, unsigned class_bits)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	struct elf elf;

	return fd >= 0 && elf_open(fd, &elf) >= 0 && elf.class_bits == class_bits;
}

static int look_for_soname(struct search *s, const struct dest_op *op, char *const *dirs)
{
	_cleanup_free_ char *own_dir = strndup(op->path, (size_t)(strrchr(op->path, '/') - op->path));
	struct stat own = { 0 }, st;
	int r = 0;

	if (!own_dir)
		return -ENOMEM;
	if (dir_stat(s->k->root_fd, own_dir, &own) < 0)
		own.st_ino = 0;
	for (; r >= 0 && *dirs; dirs++) {
		_cleanup_free_ char *path = str_printf("%s/%s", *dirs, op->soname);

		if (!path)
			return -ENOMEM;
		if (dir_stat(s->k->root_fd, *dirs, &st) < 0 ||
		    (st.st_ino == own.st_ino && st.st_dev == own.st_dev))
			continue;
		if (dest_list_find(s->l, path) || is_known(s, path) ||
		    !is_object(s->k->root_fd, path, op->class_bits))
			continue;
		r = add_candidate(s, path, "soname");
	}
	return r;
}

static int look_for_sonames(struct search *s, unsigned class_bits)
{
	_cleanup_strv_ char **dirs = NULL;
	int r = libdir_loader_dirs(s->k->root_fd, s->k->machine, class_bits, &dirs);

	for (size_t i = 0; r >= 0 && dirs && i < s->l->n; i++)
		if (s->l->ops[i].soname && s->l->ops[i].class_bits == class_bits &&
		    strchr(s->l->ops[i].path, '/'))
			r = look_for_soname(s, &s->l->ops[i], dirs);
	return r;
}

static int judge(struct search *s, const char *path, const char *owner)
{
	const char *kind = json_string_value(json_object_get(s->kinds, path));
	_cleanup_free_ char *text = NULL;

	if (strcmp(kind, "soname") == 0) {
		text = owner ? str_printf("the loader may take it for the driver's; it belongs to %s", owner)
			     : strdup("the loader may take it for the driver's; no package owns it");
		return text ? add_conflict(s, path, "soname", owner, text) : -ENOMEM;
	}
	text = owner ? str_printf("it belongs to %s", owner)
		     : str_printf("/%s is replaced; undo brings it back", path);
	if (!text)
		return -ENOMEM;
	if (owner)
		return add_conflict(s, path, "owned", owner, text);
	return json_array_append_new(s->notes, json_string(text)) < 0 ? -ENOMEM : 0;
}

int conflict_find(const struct conflict_known *k, const struct dest_list *l, json_t *conflicts, json_t *notes,
		  struct err *e)
{
	_cleanup_(search_done) struct search s = {
		.k = k,
		.l = l,
		.kinds = json_object(),
		.conflicts = conflicts,
		.notes = notes,
	};
	json_t *owners = NULL;
	int r = s.kinds ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < l->n; i++)
		r = look_at_destination(&s, &l->ops[i]);
	if (r >= 0)
		r = look_for_sonames(&s, 64);
	if (r >= 0)
		r = look_for_sonames(&s, 32);
	if (r < 0)
		return err_errno(e, r, "looking for files in the way");
	if (!s.paths)
		return 0;
	r = pkgowner_find(k->root_fd, s.paths, &owners, notes, e);
	if (r < 0)
		return r;
	for (char **p = s.paths; r >= 0 && *p; p++)
		r = judge(&s, *p, json_string_value(json_object_get(owners, *p)));
	json_decref(owners);
	return r < 0 ? err_errno(e, r, "looking for files in the way") : 0;
}
