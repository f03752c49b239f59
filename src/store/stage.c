/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects are put together below tmp/ and appear under their name by one rename. The stage is a live directory
 * (livedir.h): if its maker dies, recover removes it. */
#include "store-internal.h"

#include "fd.h"
#include "livedir.h"
#include "publish.h"
#include "strbuf.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* From this many files on one flush of the file system costs less than a flush of each. */
#define SYNCFS_FROM_FILES 64

static int tmp_open(const struct store *s)
{
	return dir_open_at(s->dir_fd, "tmp");
}

int store_stage_begin(struct store *s, struct store_stage *ret, struct err *e)
{
	_cleanup_close_ int tmp = tmp_open(s);
	struct store_stage st = { s, -EBADF, "" };
	char random[64];
	int r;

	if (s->read_only)
		return err_errno(e, -EROFS, "the store %s cannot be written", s->path);
	if (tmp < 0)
		return err_errno(e, tmp, "cannot open %s/tmp", s->path);
	r = tmpname_random(random, sizeof(random));
	if (r < 0)
		return err_errno(e, r, "cannot choose a name below %s/tmp", s->path);
	/* Without the dot of the prefix: an ordinary name that recover lists. */
	(void)snprintf(st.name, sizeof(st.name), "%s", random + (random[0] == '.'));
	st.dir_fd = livedir_create(tmp, st.name);
	if (st.dir_fd < 0)
		return err_errno(e, st.dir_fd, "cannot create a directory below %s/tmp", s->path);
	*ret = st;
	return 0;
}

int store_stage_begin_root(struct store *s, struct store_stage *st, int *ret_root_fd, struct err *e)
{
	int r = store_stage_begin(s, st, e);

	if (r < 0)
		return r;
	if (mkdirat(st->dir_fd, "root", 0755) < 0)
		return err_errno(e, -errno, "cannot stage below %s", s->path);
	r = dir_open_at(st->dir_fd, "root");
	if (r < 0)
		return err_errno(e, r, "cannot stage below %s", s->path);
	*ret_root_fd = r;
	return 0;
}

void store_stage_done(struct store_stage *st)
{
	_cleanup_close_ int tmp = -EBADF;

	if (!st->store)
		return;
	if (st->name[0]) {
		tmp = tmp_open(st->store);
		if (tmp >= 0)
			(void)tree_remove(tmp, st->name);
	}
	close_fdp(&st->dir_fd);
	*st = (struct store_stage)STORE_STAGE_INIT;
}

char *store_stage_path(const struct store_stage *st)
{
	return str_printf("%s/tmp/%s", st->store->path, st->name);
}

static int sync_stage(const struct store_stage *st, int tmp)
{
	uint64_t bytes, files;
	int r;

	r = tree_usage(tmp, st->name, &bytes, &files);
	if (r < 0)
		return r;
	if (files < SYNCFS_FROM_FILES)
		return tree_sync(tmp, st->name);
	return syncfs(st->dir_fd) < 0 ? -errno : 0;
}

/* The entry of tmp/ that becomes the object: the stage itself, or for an image the one file in it. */
static int publish_what(struct store_stage *st, enum store_kind kind, int tmp, int to, const char *name)
{
	if (kind == STORE_IMAGE)
		return publish_rename(st->dir_fd, STORE_STAGED_IMAGE, to, name, false);
	if (fchmod(st->dir_fd, 0755) < 0)
		return -errno;
	return publish_rename(tmp, st->name, to, name, false);
}

int store_publish(struct store_stage *st, enum store_kind kind, const char *id, struct err *e)
{
	_cleanup_close_ int tmp = tmp_open(st->store), to = -EBADF;
	_cleanup_free_ char *name = store_object_name(kind, id);
	int r;

	if (!name)
		return err_set(e, -EINVAL, "%s is no name for an object", id);
	to = dir_open_at(st->store->dir_fd, store_kind_dir(kind));
	r = tmp < 0 ? tmp : to < 0 ? to : sync_stage(st, tmp);
	if (r < 0)
		return err_errno(e, r, "cannot complete %s in %s", name, st->store->path);
	r = publish_what(st, kind, tmp, to, strchr(name, '/') + 1);
	if (r == -EEXIST) {
		store_stage_done(st);
		return 0;
	}
	if (r < 0)
		return err_errno(e, r, "cannot publish %s in %s", name, st->store->path);
	if (kind != STORE_IMAGE)
		st->name[0] = '\0';
	store_stage_done(st);
	return 1;
}

int store_remove(struct store *s, enum store_kind kind, const char *id, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_free_ char *name = store_object_name(kind, id);
	_cleanup_close_ int dir = -EBADF;
	int r;

	if (!name)
		return err_set(e, -EINVAL, "%s is no name for an object", id);
	r = store_stage_begin(s, &st, e);
	if (r < 0)
		return r;
	dir = dir_open_at(s->dir_fd, store_kind_dir(kind));
	if (dir < 0)
		return err_errno(e, dir, "cannot open %s/%s", s->path, store_kind_dir(kind));
	/* Gone from its place in one step; taken apart where only recover looks. */
	r = publish_rename(dir, strchr(name, '/') + 1, st.dir_fd, "removed", false);
	if ((r >= 0 || r == -ENOENT) && kind == STORE_IMAGE)
		r = image_record_remove(dir, id);
	if (r < 0 && r != -ENOENT)
		return err_errno(e, r, "cannot remove %s from %s", name, s->path);
	return 0;
}
