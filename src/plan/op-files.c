/* SPDX-License-Identifier: Apache-2.0
 *
 * "files": any number of files, links and directories beneath a root as one step.
 *
 * What makes an interruption harmless: everything recorded is a fact about the old state, names of temporaries
 * follow from the transaction id, and each place goes from old to new by one rename or unlink. So undo needs no
 * progress report: it looks at each place and, where it finds the new thing, puts the old one back. */
#include "files.h"

#include "base64.h"
#include "digest.h"
#include "fd.h"
#include "interrupt.h"
#include "path.h"
#include "publish.h"

#include <fcntl.h>
#include "parallel.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES_MAX 32
#define SMALL_FILES 8 /* copied before a thread has started */

/* -- check and show -- */

struct comparing {
	int root_fd;
	const struct entries *l;
};

#define LOOK_DIFFERS 1

static int look_at(size_t i, void *arg)
{
	const struct comparing *k = arg;
	_cleanup_(place_done) struct place p = PLACE_INIT;
	int r = place_open(k->root_fd, k->l->v[i].path, &p);

	if (r >= 0)
		r = place_is_wanted(k->root_fd, &p, &k->l->v[i]);
	/* What another run takes away while we look, for a plan that is only shown, is not as wanted. */
	if (r == -ENOENT)
		return LOOK_DIFFERS;
	return r < 0 ? r : r == 0 ? LOOK_DIFFERS : 0;
}

static int files_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_(entries_done) struct entries l = { 0 };
	struct comparing k = { c->host->root_fd, &l };
	int r;

	r = entries_load(args, NULL, &l, e);
	if (r < 0)
		return r;
	r = parallel_for(l.n, look_at, &k);
	return r < 0 ? err_errno(e, r, "cannot compare the files below %s", c->host->root) : r == 0;
}

static int files_show(const struct plan_ctx *c _unused_, const json_t *args, struct strbuf *out)
{
	_cleanup_(entries_done) struct entries l = { 0 };
	int r;

	r = entries_load(args, NULL, &l, NULL);
	for (size_t i = 0; r >= 0 && i < l.n; i++) {
		const struct entry *en = &l.v[i];

		if (en->type == ENTRY_LINK)
			r = strbuf_printf(out, "  link    /%s -> %s\n", en->path, en->target);
		else if (en->type == ENTRY_FILE)
			r = strbuf_printf(out, "  file    /%s (%llu bytes, mode %o)\n", en->path,
					  (unsigned long long)en->size, en->mode);
		else
			r = strbuf_printf(out, "  %s /%s\n", en->type == ENTRY_DIR ? "dir    " : "remove ",
					  en->path);
	}
	return r;
}

/* -- stage: look, and say what is there -- */

struct looking {
	const struct plan_ctx *c;
	json_t *created; /* array, parents before children */
	json_t *seen; /* object: directory -> its element of created, or true when it exists */
	bool backup;
	struct err *e;
};

static int dir_note(struct looking *k, const char *dir, mode_t mode)
{
	json_auto_t *item = json_pack("{s:s, s:i}", "path", dir, "mode", (int)mode);

	if (!item || json_object_set(k->seen, dir, item) < 0 || json_array_append(k->created, item) < 0)
		return err_oom(k->e);
	return 0;
}

/* One directory: there already, or to be created. */
static int dir_look(struct looking *k, const char *dir, mode_t mode)
{
	_cleanup_close_ int fd = -EBADF;

	if (json_object_get(k->seen, dir))
		return 0;
	fd = path_open_at(k->c->host->root_fd, dir, O_PATH | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (fd >= 0)
		return json_object_set_new(k->seen, dir, json_true()) < 0 ? err_oom(k->e) : 0;
	if (fd == -ENOTDIR) {
		(void)err_set(k->e, ERR_PLAN_CONFLICT, "/%s has to be a directory and is something else",
			      dir);
		return err_object(k->e, "/%s", dir);
	}
	if (fd != -ENOENT)
		return err_errno(k->e, fd, "cannot open /%s", dir);
	return dir_note(k, dir, mode);
}

static int parents_look(struct looking *k, const char *path)
{
	_cleanup_free_ char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	int r;

	if (!dir)
		return err_oom(k->e);
	if (slash)
		*slash = '\0';
	if (!slash || json_object_get(k->seen, dir))
		return 0;
	r = parents_look(k, dir);
	return r < 0 ? r : dir_look(k, dir, 0755);
}

static json_int_t mtime_ns(const struct stat *st)
{
	return (json_int_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static json_t *place_json(const struct place *p, bool same)
{
	const char *kind = p->st.st_mode == 0	    ? "absent"
			   : S_ISREG(p->st.st_mode) ? "file"
			   : S_ISLNK(p->st.st_mode) ? "link"
			   : S_ISDIR(p->st.st_mode) ? "dir"
						    : "other";
	json_t *j = json_pack("{s:s, s:b}", "kind", kind, "same", (int)same);

	if (!j || same || p->st.st_mode == 0)
		return j;
	if (json_object_set_new(j, "mode", json_integer(p->st.st_mode & 07777)) < 0 ||
	    json_object_set_new(j, "uid", json_integer(p->st.st_uid)) < 0 ||
	    json_object_set_new(j, "gid", json_integer(p->st.st_gid)) < 0 ||
	    json_object_set_new(j, "size", json_integer(p->st.st_size)) < 0 ||
	    json_object_set_new(j, "inode", json_integer((json_int_t)p->st.st_ino)) < 0 ||
	    json_object_set_new(j, "mtime_ns", json_integer(mtime_ns(&p->st))) < 0 ||
	    (p->target && json_object_set_new(j, "target", json_string(p->target)) < 0)) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static bool conflicts(const struct place *p, const struct entry *en)
{
	mode_t m = p->st.st_mode;

	if (en->type == ENTRY_DIR)
		return m != 0;
	if (en->type == ENTRY_ABSENT)
		return m && !S_ISREG(m) && !S_ISLNK(m) && !S_ISDIR(m);
	return m && !S_ISREG(m) && !S_ISLNK(m);
}

static int entry_look(struct looking *k, const struct entry *en, json_t *was)
{
	_cleanup_(place_done) struct place p = PLACE_INIT;
	int r, same;

	r = place_open(k->c->host->root_fd, en->path, &p);
	same = r < 0 ? r : place_is_wanted(k->c->host->root_fd, &p, en);
	if (same < 0)
		return err_errno(k->e, same, "cannot look at /%s", en->path);
	if (!same && conflicts(&p, en)) {
		(void)err_set(k->e, ERR_PLAN_CONFLICT, "something of another kind stands at /%s", en->path);
		return err_object(k->e, "/%s", en->path);
	}
	if (!same && en->type != ENTRY_ABSENT) {
		r = parents_look(k, en->path);
		if (r >= 0 && en->type == ENTRY_DIR && !json_object_get(k->seen, en->path))
			r = dir_note(k, en->path, en->mode);
		else if (r >= 0 && en->type == ENTRY_DIR &&
			 json_is_object(json_object_get(k->seen, en->path)) &&
			 json_object_set_new(json_object_get(k->seen, en->path), "mode",
					     json_integer(en->mode)) < 0)
			r = err_oom(k->e);
		if (r < 0)
			return r;
	}
	k->backup |= !same && S_ISREG(p.st.st_mode);
	return json_array_append_new(was, place_json(&p, same)) < 0 ? err_oom(k->e) : 0;
}

int files_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e)
{
	json_auto_t *created = json_array(), *seen = json_object(), *was = json_array(), *undo = NULL;
	_cleanup_(entries_done) struct entries l = { 0 };
	_cleanup_free_ char *backup = files_backup_dir(c);
	struct looking k = { c, created, seen, false, e };
	int r;

	if (!created || !seen || !was || !backup)
		return err_oom(e);
	r = entries_load(args, NULL, &l, e);
	for (size_t i = 0; r >= 0 && i < l.n; i++)
		r = entry_look(&k, &l.v[i], was);
	if (r >= 0 && k.backup) {
		r = parents_look(&k, backup);
		if (r >= 0)
			r = dir_look(&k, backup, 0700);
	}
	if (r < 0)
		return r;
	undo = json_pack("{s:O, s:O}", "created", created, "was", was);
	if (!undo)
		return err_oom(e);
	*ret_undo = json_incref(undo);
	return 0;
}

/* -- apply -- */

static int dirs_create(const struct plan_ctx *c, const json_t *undo, struct err *e)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(undo, "created"), i, item) {
		const char *path = json_text(item, "path"), *name;
		_cleanup_close_ int parent =
		    path_open_parent(c->host->root_fd, path, false, PATH_IN_ROOT, &name);
		mode_t mode = (mode_t)json_integer_value(json_object_get(item, "mode")) & 07777;

		if (parent < 0)
			return err_errno(e, parent, "cannot create the directory /%s", path);
		if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
			return err_errno(e, -errno, "cannot create the directory /%s", path);
		if (fchmodat(parent, name, mode, 0) < 0)
			return err_errno(e, -errno, "cannot set the mode of /%s", path);
	}
	return 0;
}

/* A copy into the transaction's directory, for what cannot be linked: another file system or mount, a file with
 * too many links, a file system without any. */
static int backup_copy(const struct plan_ctx *c, const struct place *p, size_t i)
{
	_cleanup_close_ int from = -EBADF, to = -EBADF;
	struct stat st;
	char name[48];
	int r;

	r = files_copy_name(c, i, name);
	if (r < 0)
		return r;
	from = openat(p->parent_fd, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return -errno;
	to = openat(c->undo_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	r = copy_fd(from, to, NULL);
	if (r >= 0)
		r = attributes_copy(from, to, &st, true);
	if (r < 0)
		return r;
	return fsync(to) < 0 || fsync(c->undo_fd) < 0 ? -errno : 0;
}

static int backups_make(const struct plan_ctx *c, const struct entries *l, struct err *e)
{
	_cleanup_free_ char *dir = files_backup_dir(c);
	_cleanup_close_ int to = -EBADF;
	char name[32];
	int r;

	if (!dir)
		return err_oom(e);
	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(place_done) struct place p = PLACE_INIT;

		if (was_same(&l->v[i]) || strcmp(json_text(l->v[i].was, "kind"), "file") != 0)
			continue;
		if (to < 0)
			to = path_open_at(c->host->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
		r = to < 0 ? to : place_open(c->host->root_fd, l->v[i].path, &p);
		if (r >= 0)
			r = files_backup_name(i, name);
		if (r >= 0 && linkat(p.parent_fd, p.name, to, name, 0) < 0 && errno != EEXIST)
			r = errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP
				? backup_copy(c, &p, i)
				: -errno;
		if (r < 0)
			return err_errno(e, r, "cannot keep the old /%s", l->v[i].path);
	}
	return 0;
}

/* The bytes of one new file into `to`, checked after they were written. */
static int content_write(const struct entry *en, int base_fd, int to, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_close_ int from = -EBADF;
	char found[SHA256_HEX_SIZE];
	size_t len;
	int r;

	if (en->base64) {
		r = base64_decode(SPAN(en->base64), &bytes, &len);
		if (r >= 0)
			r = write_all(to, bytes, len);
		return r < 0 ? err_errno(e, r, "cannot write /%s", en->path) : 0;
	}
	from = path_open_at(base_fd, en->from, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	if (from < 0)
		return err_errno(e, from, "cannot open %s", en->from);
	r = copy_fd(from, to, NULL);
	if (r >= 0)
		r = sha256_fd_hex(to, found);
	if (r < 0)
		return err_errno(e, r, "cannot copy %s to /%s", en->from, en->path);
	if (strcmp(found, en->sha256) == 0)
		return 0;
	(void)err_set(e, ERR_CONTENT_MISMATCH, "%s does not have the recorded content", en->from);
	return err_object(e, "%s", en->from);
}

static int owner_keep(const struct place *p, int to)
{
	_cleanup_close_ int old = -EBADF;
	struct stat st;

	if (!S_ISREG(p->st.st_mode))
		return 0;
	old = openat(p->parent_fd, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (old < 0 || fstat(old, &st) < 0)
		return -errno;
	return attributes_copy(old, to, &st, false);
}

static int file_stage(const struct place *p, const struct entry *en, const char *tmp, int base_fd,
		      struct err *e)
{
	_cleanup_close_ int to = -EBADF;
	int r;

	to = openat(p->parent_fd, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_errno(e, -errno, "cannot create a file beside /%s", en->path);
	r = content_write(en, base_fd, to, e);
	if (r < 0)
		return r;
	r = en->keep_owner ? owner_keep(p, to) : 0;
	if (r >= 0 && en->uid >= 0 && fchown(to, (uid_t)en->uid, (gid_t)en->gid) < 0)
		r = -errno;
	if (r >= 0 && fchmod(to, en->mode) < 0)
		r = -errno;
	return r < 0 ? err_errno(e, r, "cannot set the mode of /%s", en->path) : 0;
}

static int entry_stage(const struct plan_ctx *c, const struct entry *en, size_t i, int base_fd, struct err *e)
{
	_cleanup_(place_done) struct place p = PLACE_INIT;
	char tmp[64];
	int r;

	if (was_same(en) || en->type == ENTRY_DIR || en->type == ENTRY_ABSENT)
		return 0;
	r = files_tmp_name(c, i, tmp);
	if (r >= 0)
		r = place_open(c->host->root_fd, en->path, &p);
	if (r >= 0 && p.parent_fd < 0)
		r = -ENOENT;
	if (r >= 0 && unlinkat(p.parent_fd, tmp, 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r < 0)
		return err_errno(e, r, "cannot write beside /%s", en->path);
	if (en->type == ENTRY_FILE)
		return file_stage(&p, en, tmp, base_fd, e);
	if (symlinkat(en->target, p.parent_fd, tmp) < 0)
		return err_errno(e, -errno, "cannot create a link beside /%s", en->path);
	return 0;
}

struct staging {
	const struct plan_ctx *c;
	const struct entries *l;
	int base_fd;
	pthread_mutex_t lock;
	struct err err; /* the first; under lock */
	int result; /* its code */
};

static int stage_one(size_t i, void *arg)
{
	struct staging *s = arg;
	_cleanup_(err_done) struct err e = ERR_INIT;
	int r = interrupt_check(&e);

	if (r >= 0)
		r = entry_stage(s->c, &s->l->v[i], i, s->base_fd, &e);
	if (r >= 0)
		return 0;
	(void)pthread_mutex_lock(&s->lock);
	if (!s->result) {
		err_move(&s->err, &e);
		s->result = r;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

/* All new contents beside their destinations, on as many threads as help: copying waits for memory and disk,
 * hashing for the processor. */
static int entries_stage(const struct plan_ctx *c, const struct entries *l, struct err *e)
{
	struct staging s = {
		.c = c, .l = l, .base_fd = -EBADF, .lock = PTHREAD_MUTEX_INITIALIZER, .err = ERR_INIT
	};

	if (l->base) {
		s.base_fd =
		    c->base_fd ? fcntl(*c->base_fd, F_DUPFD_CLOEXEC, 3) : dir_open_at(AT_FDCWD, l->base);
		if (s.base_fd < 0)
			return err_errno(e, s.base_fd, "cannot open %s", l->base);
	}
	(void)parallel_for_grain(l->n, SMALL_FILES, stage_one, &s);
	close_fdp(&s.base_fd);
	if (s.result < 0 && e)
		err_move(e, &s.err);
	err_done(&s.err);
	return s.result;
}

int files_sync(const struct plan_ctx *c, const struct entries *l)
{
	dev_t done[DEVICES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(place_done) struct place p = PLACE_INIT;
		struct stat st;
		size_t k = 0;
		int r;

		if (was_same(&l->v[i]))
			continue;
		r = place_open(c->host->root_fd, l->v[i].path, &p);
		if (r < 0)
			return r;
		if (p.parent_fd < 0)
			continue;
		if (fstat(p.parent_fd, &st) < 0)
			return -errno;
		while (k < n && done[k] != st.st_dev)
			k++;
		if (k < n)
			continue;
		if (syncfs(p.parent_fd) < 0)
			return -errno;
		if (n < DEVICES_MAX)
			done[n++] = st.st_dev;
	}
	/* The root's own file system besides: created and removed directories, backups. */
	return syncfs(c->host->root_fd) < 0 ? -errno : 0;
}

static int entry_publish(const struct plan_ctx *c, const struct entry *en, size_t i)
{
	_cleanup_(place_done) struct place p = PLACE_INIT;
	char tmp[64];
	int r;

	if (was_same(en) || en->type == ENTRY_DIR)
		return 0;
	r = place_open(c->host->root_fd, en->path, &p);
	if (r < 0)
		return r;
	if (en->type == ENTRY_ABSENT) {
		if (p.parent_fd < 0 || p.st.st_mode == 0)
			return 0;
		if (unlinkat(p.parent_fd, p.name, S_ISDIR(p.st.st_mode) ? AT_REMOVEDIR : 0) == 0)
			return 0;
		return S_ISDIR(p.st.st_mode) && (errno == ENOTEMPTY || errno == EEXIST) ? 0 : -errno;
	}
	r = files_tmp_name(c, i, tmp);
	return r < 0 ? r : publish_rename_batch(p.parent_fd, tmp, p.parent_fd, p.name);
}

int files_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	_cleanup_(entries_done) struct entries l = { 0 };
	int r;

	r = entries_load(args, undo, &l, e);
	if (r >= 0)
		r = dirs_create(c, undo, e);
	if (r >= 0)
		r = backups_make(c, &l, e);
	if (r >= 0)
		r = entries_stage(c, &l, e);
	if (r < 0)
		return r;
	r = files_sync(c, &l);
	if (r < 0)
		return err_errno(e, r, "cannot write the new files to disk");
	for (size_t i = 0; i < l.n; i++) {
		r = entry_publish(c, &l.v[i], i);
		if (r < 0)
			return err_errno(e, r, "cannot put /%s in its place", l.v[i].path);
	}
	r = files_sync(c, &l);
	return r < 0 ? err_errno(e, r, "cannot write the new files to disk") : 0;
}

const struct op_type op_files = {
	.name = "files",
	.check = files_check,
	.stage = files_stage,
	.apply = files_apply,
	.undo = files_undo,
	.changed = files_changed,
	.show = files_show,
};
