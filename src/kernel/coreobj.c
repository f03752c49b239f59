/* SPDX-License-Identifier: Apache-2.0 */
#include "coreobj.h"

#include "digest.h"
#include "fd.h"
#include "parse.h"
#include "spawn.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int object_id(const struct toolchain *t, const char *path, const char *sha256, char out[65])
{
	_cleanup_free_ char *text =
	    str_printf("core object 1\n%s\n%s\n%s\nstrip-debug\n", base_name(path), sha256, t->ld_version);
	uint8_t digest[SHA256_SIZE];

	if (!text)
		return -ENOMEM;
	if (sha256_bytes(text, strlen(text), digest) < 0)
		return -EIO;
	hex_encode(digest, sizeof(digest), out);
	return 0;
}

static int copy_out(int from_dirfd, const char *path, int to_dirfd, const char *to)
{
	_cleanup_close_ int in = openat(from_dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_close_ int out = -EBADF;

	if (in < 0)
		return -errno;
	out = openat(to_dirfd, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (out < 0)
		return -errno;
	return copy_fd(in, out, NULL);
}

/* The object as kept: its bytes and a record with their digest, which is compared before every use. */
static int strip_into_store(struct store *s, const struct toolchain *t, int from_dirfd, const char *path,
			    const char *id, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(spawn_done) struct spawn strip = SPAWN_INIT("strip of the core object");
	const char *name = base_name(path);
	char sha256[SHA256_HEX_SIZE];
	json_t *record;
	int r = store_stage_begin(s, &st, e);

	if (r < 0)
		return r;
	r = copy_out(from_dirfd, path, st.dir_fd, name);
	if (r < 0)
		return err_errno(e, r, "copying %s", path);
	spawn_argv(&strip, t->strip, "--strip-debug", name, NULL);
	strip.cwd_fd = st.dir_fd;
	strip.timeout_s = 300;
	r = spawn_check(&strip, e);
	if (r < 0)
		return r;
	r = sha256_file_at(st.dir_fd, name, sha256);
	if (r < 0)
		return err_errno(e, r, "reading %s", name);
	record =
	    json_pack("{s:s, s:s, s:s}", "schema", "nvdriver.core-object/1", "name", name, "sha256", sha256);
	if (!record)
		return err_oom(e);
	r = store_record_write(st.dir_fd, "record.json", record, 0644, e);
	json_decref(record);
	if (r < 0)
		return r;
	r = store_publish(&st, STORE_OBJECT, id, e);
	return r < 0 ? r : 0;
}

/* 1 = there and intact, 0 = absent or damaged. */
static int object_intact(int dir, const char *name)
{
	char have[SHA256_HEX_SIZE];
	json_t *record = NULL;
	const char *want;
	int ok;

	if (store_record_read(dir, "record.json", &record, NULL) < 0)
		return 0;
	want = json_string_value(json_object_get(record, "sha256"));
	ok = want && sha256_file_at(dir, name, have) == 0 && strcmp(want, have) == 0;
	json_decref(record);
	return ok;
}

static int open_intact(struct store *s, const char *id, const char *name)
{
	_cleanup_close_ int dir = store_object_open(s, STORE_OBJECT, id);

	if (dir < 0)
		return dir;
	return object_intact(dir, name) ? TAKE_FD(dir) : -ENOENT;
}

int coreobj_place(struct store *s, const struct toolchain *t, int from_dirfd, const char *path,
		  const char *sha256, int to_dirfd, const char *to, bool *ret_made, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_close_ int dir = -EBADF;
	const char *name = base_name(path);
	bool made = false;
	char id[65];
	int r = object_id(t, path, sha256, id);

	if (r < 0)
		return err_errno(e, r, "key of %s", path);
	dir = open_intact(s, id, name);
	if (dir < 0) {
		r = store_lock(s, STORE_OBJECT, id, 600, &lock, e);
		if (r < 0)
			return r;
		dir = open_intact(s, id, name);
	}
	if (dir < 0) {
		r = store_has(s, STORE_OBJECT, id) ? store_remove(s, STORE_OBJECT, id, e) : 0;
		if (r < 0)
			return r;
		r = strip_into_store(s, t, from_dirfd, path, id, e);
		if (r < 0)
			return r;
		made = true;
		dir = store_object_open(s, STORE_OBJECT, id);
		if (dir < 0)
			return err_errno(e, dir, "objects/%s", id);
	}
	if (linkat(dir, name, to_dirfd, to, 0) < 0) {
		r = copy_out(dir, name, to_dirfd, to);
		if (r < 0)
			return err_errno(e, r, "placing %s", to);
	}
	if (ret_made)
		*ret_made = made;
	return 0;
}
