/* SPDX-License-Identifier: Apache-2.0
 *
 * The arguments of "files", and what stands at a place. */
#include "files.h"

#include "base64.h"
#include "digest.h"
#include "fd.h"
#include "path.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ENTRIES_MAX	1000000
#define XATTR_LIST_MAX	65536
#define XATTR_VALUE_MAX 65536

static const char *const type_words[] = {
	[ENTRY_FILE] = "file",
	[ENTRY_LINK] = "link",
	[ENTRY_DIR] = "dir",
	[ENTRY_ABSENT] = "absent",
};

const char *json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool sha256_is_valid(const char *s)
{
	return s && strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static int inline_digest(struct entry *en)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t raw[SHA256_SIZE];
	size_t len;
	int r;

	r = base64_decode(SPAN(en->base64), &bytes, &len);
	if (r >= 0)
		r = sha256_bytes(bytes, len, raw);
	if (r < 0)
		return r;
	hex_encode(raw, sizeof(raw), en->own_sha256);
	en->size = len;
	return 0;
}

/* Both or neither. */
static int entry_owner(const json_t *j, struct entry *en)
{
	const json_t *uid = json_object_get(j, "uid"), *gid = json_object_get(j, "gid");

	en->uid = en->gid = -1;
	if (!uid && !gid)
		return 0;
	if (!json_is_integer(uid) || !json_is_integer(gid))
		return -EINVAL;
	en->uid = json_integer_value(uid);
	en->gid = json_integer_value(gid);
	return en->uid < 0 || en->uid >= UINT32_MAX || en->gid < 0 || en->gid >= UINT32_MAX ? -EINVAL : 0;
}

static int entry_file(const json_t *j, struct entry *en, bool has_base)
{
	const json_t *size = json_object_get(j, "size");

	en->from = json_string_value(json_object_get(j, "from"));
	en->sha256 = json_string_value(json_object_get(j, "sha256"));
	en->base64 = json_string_value(json_object_get(j, "bytes_base64"));
	en->keep_owner = json_is_true(json_object_get(j, "keep_owner"));
	if (entry_owner(j, en) < 0)
		return -EINVAL;
	if (en->base64)
		return en->from ? -EINVAL : inline_digest(en);
	if (!has_base || !en->from || !path_name_is_clean(en->from) || !sha256_is_valid(en->sha256) ||
	    !json_is_integer(size) || json_integer_value(size) < 0)
		return -EINVAL;
	en->size = (uint64_t)json_integer_value(size);
	return 0;
}

static int entry_parse(const json_t *j, struct entry *en, bool has_base)
{
	const json_t *mode = json_object_get(j, "mode");
	json_int_t bits = json_is_integer(mode) ? json_integer_value(mode) : -1;
	const char *type = json_text(j, "type");
	size_t t = 0;

	while (t < ARRAY_LEN(type_words) && strcmp(type, type_words[t]) != 0)
		t++;
	en->path = json_text(j, "path");
	if (t == ARRAY_LEN(type_words) || !*en->path || !path_name_is_clean(en->path))
		return -EINVAL;
	en->type = (enum entry_type)t;
	if (en->type == ENTRY_FILE || en->type == ENTRY_DIR) {
		if (bits < 0 || bits > 07777)
			return -EINVAL;
		en->mode = (mode_t)bits;
	}
	if (en->type == ENTRY_LINK) {
		en->target = json_text(j, "target");
		return *en->target && strlen(en->target) < PATH_MAX ? 0 : -EINVAL;
	}
	return en->type == ENTRY_FILE ? entry_file(j, en, has_base) : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int entries_unique(const struct entries *l, const char **ret_twice)
{
	_cleanup_free_ const char **names = calloc(l->n + 1, sizeof(*names));

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		names[i] = l->v[i].path;
	qsort(names, l->n, sizeof(*names), by_path);
	for (size_t i = 1; i < l->n; i++)
		if (strcmp(names[i - 1], names[i]) == 0) {
			*ret_twice = names[i];
			return -EEXIST;
		}
	return 0;
}

int entries_load(const json_t *args, const json_t *undo, struct entries *ret, struct err *e)
{
	_cleanup_(entries_done) struct entries l = { .base =
							 json_string_value(json_object_get(args, "base")) };
	const json_t *list = json_object_get(args, "entries"), *was = json_object_get(undo, "was"), *j;
	const char *twice = "";
	size_t i;
	int r;

	if (!json_is_array(list) || json_array_size(list) > ENTRIES_MAX || (l.base && l.base[0] != '/'))
		return err_set(e, -EINVAL, "the arguments of a files operation are not valid");
	if (undo && json_array_size(was) != json_array_size(list))
		return err_set(e, ERR_JOURNAL_DAMAGED, "the undo data does not fit the plan");
	l.v = calloc(json_array_size(list) + 1, sizeof(*l.v));
	if (!l.v)
		return err_oom(e);
	json_array_foreach (list, i, j) {
		r = entry_parse(j, &l.v[i], l.base);
		if (r < 0)
			return err_errno(e, r, "entry %zu (%s) of a files operation is not valid", i,
					 json_text(j, "path"));
		l.v[i].was = json_array_get(was, i);
		l.n++;
	}
	r = entries_unique(&l, &twice);
	if (r < 0)
		return err_errno(e, r, "%s appears twice in a files operation", twice);
	*ret = l;
	l.v = NULL;
	l.n = 0;
	return 0;
}

void entries_done(struct entries *l)
{
	freep(&l->v);
	l->n = 0;
}

const char *entry_sha256(const struct entry *en)
{
	return en->base64 ? en->own_sha256 : en->sha256;
}

bool was_same(const struct entry *en)
{
	return json_is_true(json_object_get(en->was, "same"));
}

int place_open(int root_fd, const char *path, struct place *ret)
{
	_cleanup_(place_done) struct place p = PLACE_INIT;
	char text[PATH_MAX];
	ssize_t n;

	p.parent_fd = path_open_parent(root_fd, path, false, PATH_IN_ROOT, &p.name);
	if (p.parent_fd == -ENOENT) {
		*ret =
		    (struct place){ -EBADF, strrchr(path, '/') ? strrchr(path, '/') + 1 : path, { 0 }, NULL };
		return 0;
	}
	if (p.parent_fd < 0)
		return p.parent_fd;
	if (fstatat(p.parent_fd, p.name, &p.st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return -errno;
		p.st = (struct stat){ 0 };
	}
	if (S_ISLNK(p.st.st_mode)) {
		n = readlinkat(p.parent_fd, p.name, text, sizeof(text));
		if (n < 0 || n == sizeof(text))
			return n < 0 ? -errno : -ENAMETOOLONG;
		p.target = strndup(text, (size_t)n);
		if (!p.target)
			return -ENOMEM;
	}
	*ret = p;
	p = (struct place)PLACE_INIT;
	return 0;
}

void place_done(struct place *p)
{
	close_fdp(&p->parent_fd);
	freep(&p->target);
}

static int place_has_content(const struct place *p, const struct entry *en)
{
	char found[SHA256_HEX_SIZE];
	int r;

	if (!S_ISREG(p->st.st_mode) || (p->st.st_mode & 07777) != en->mode ||
	    (uint64_t)p->st.st_size != en->size)
		return 0;
	r = sha256_file_at(p->parent_fd, p->name, found);
	return r < 0 ? r : strcmp(found, entry_sha256(en)) == 0;
}

int place_is_wanted(int root_fd, const struct place *p, const struct entry *en)
{
	switch (en->type) {
	case ENTRY_FILE:
		if (en->uid >= 0 && S_ISREG(p->st.st_mode) &&
		    (p->st.st_uid != (uid_t)en->uid || p->st.st_gid != (gid_t)en->gid))
			return 0;
		return place_has_content(p, en);
	case ENTRY_LINK:
		return p->target && strcmp(p->target, en->target) == 0;
	case ENTRY_ABSENT:
		return p->st.st_mode == 0;
	case ENTRY_DIR: {
		/* A link to a directory (lib -> usr/lib) serves as well. */
		_cleanup_close_ int fd =
		    path_open_at(root_fd, en->path, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);

		return fd >= 0;
	}
	}
	return 0;
}

char *files_backup_dir(const struct plan_ctx *c)
{
	return str_printf("var/lib/nvdriver/undo-%s-%u", c->txid, c->index);
}

int files_backup_name(size_t i, char out[32])
{
	return snprintf(out, 32, "%zu", i) < 32 ? 0 : -ENAMETOOLONG;
}

int files_copy_name(const struct plan_ctx *c, size_t i, char out[48])
{
	return snprintf(out, 48, "old-%u-%zu", c->index, i) < 48 ? 0 : -ENAMETOOLONG;
}

int files_tmp_name(const struct plan_ctx *c, size_t i, char out[64])
{
	return snprintf(out, 64, ".nvdriver-%s-%u-%zu", c->txid, c->index, i) < 64 ? 0 : -ENAMETOOLONG;
}

/* An attribute the file system or our rights refuse is done without. */
static int xattr_copy(int from_fd, int to_fd, const char *name)
{
	_cleanup_free_ char *value = malloc(XATTR_VALUE_MAX);
	ssize_t n;

	if (!value)
		return -ENOMEM;
	n = fgetxattr(from_fd, name, value, XATTR_VALUE_MAX);
	if (n < 0)
		return errno == ENODATA ? 0 : -errno;
	(void)fsetxattr(to_fd, name, value, (size_t)n, 0);
	return 0;
}

static int xattrs_copy(int from_fd, int to_fd)
{
	_cleanup_free_ char *names = malloc(XATTR_LIST_MAX);
	ssize_t n;
	int r = 0;

	if (!names)
		return -ENOMEM;
	n = flistxattr(from_fd, names, XATTR_LIST_MAX);
	if (n < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (char *p = names; r >= 0 && p < names + n; p += strlen(p) + 1)
		r = xattr_copy(from_fd, to_fd, p);
	return r;
}

int attributes_copy(int from_fd, int to_fd, const struct stat *st, bool times)
{
	const struct timespec t[] = { st->st_atim, st->st_mtim };
	int r;

	(void)!fchown(to_fd, st->st_uid, st->st_gid);
	r = xattrs_copy(from_fd, to_fd);
	if (r < 0)
		return r;
	/* After the owner: a change of owner takes set-id bits away. */
	if (fchmod(to_fd, st->st_mode & 07777) < 0)
		return -errno;
	return times && futimens(to_fd, t) < 0 ? -errno : 0;
}
