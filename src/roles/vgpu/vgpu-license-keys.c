/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-license-keys.h"

#include "fetch.h"
#include "jutil.h"
#include "path.h"
#include "pgpkey.h"
#include "publish.h"
#include "recorded.h"
#include "strbuf.h"
#include "tlskeys.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BITS  2048
#define CERT_DAYS 3650

/* -- key files -- */

struct key_args {
	const char *dir, *common_name, *names; /* borrowed */
};

static int key_args_read(const json_t *args, struct key_args *ret, struct err *e)
{
	int r = jget_str(args, "dir", &ret->dir, e);

	if (r >= 0)
		r = jget_str(args, "common_name", &ret->common_name, e);
	return r < 0 ? r : jget_str(args, "names", &ret->names, e);
}

static int make_instance_key(int dirfd, const struct key_args *a _unused_, struct err *e)
{
	return rsakey_create(dirfd, LICENSE_INSTANCE_KEY, KEY_BITS, e);
}

static int make_instance_public(int dirfd, const struct key_args *a _unused_, struct err *e)
{
	return rsakey_public(dirfd, LICENSE_INSTANCE_KEY, LICENSE_INSTANCE_PUBLIC, e);
}

static int make_web_key(int dirfd, const struct key_args *a _unused_, struct err *e)
{
	return rsakey_create(dirfd, LICENSE_WEB_KEY, KEY_BITS, e);
}

static int make_web_cert(int dirfd, const struct key_args *a, struct err *e)
{
	return servercert_create(dirfd, LICENSE_WEB_KEY, LICENSE_WEB_CERT, a->common_name, a->names,
				 CERT_DAYS, e);
}

/* In the order they are made. */
static const struct key_file {
	const char *name;
	const char *needs; /* cannot be there without this one */
	int (*make)(int dirfd, const struct key_args *a, struct err *e);
} files[] = {
	{ LICENSE_INSTANCE_KEY, NULL, make_instance_key },
	{ LICENSE_INSTANCE_PUBLIC, LICENSE_INSTANCE_KEY, make_instance_public },
	{ LICENSE_WEB_KEY, NULL, make_web_key },
	{ LICENSE_WEB_CERT, LICENSE_WEB_KEY, make_web_cert },
};

static bool is_there(const struct plan_ctx *c, const char *dir, const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);

	return path && path_exists(c->host->root_fd, path);
}

static int keys_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	struct key_args a;
	int r = key_args_read(args, &a, e), all = 1;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(files); i++) {
		if (!is_there(c, a.dir, files[i].name)) {
			all = 0;
		} else if (files[i].needs && !is_there(c, a.dir, files[i].needs)) {
			(void)err_set(e, ERR_VGPU_LICENSE_KEYS, "/%s has %s without %s", a.dir, files[i].name,
				      files[i].needs);
			r = err_object(e, "/%s/%s", a.dir, files[i].name);
		}
	}
	return r < 0 ? r : all;
}

/* Every directory on the way that is not there yet, the outermost first. */
static int missing_dirs(const struct plan_ctx *c, const char *dir, json_t *list)
{
	for (const char *p = dir; p; p = *p ? p : NULL) {
		_cleanup_free_ char *part = NULL;

		p += strcspn(p, "/");
		part = strndup(dir, (size_t)(p - dir));
		if (!part || (!path_exists(c->host->root_fd, part) &&
			      json_array_append_new(list, json_string(part)) < 0))
			return -ENOMEM;
		p += *p == '/';
	}
	return 0;
}

/* One with other people's files in it stays. */
static void remove_dirs(const struct plan_ctx *c, const json_t *dirs)
{
	for (size_t i = json_array_size(dirs); i-- > 0;) {
		const char *path = json_string_value(json_array_get(dirs, i)), *last;
		_cleanup_close_ int parent =
		    path ? path_open_parent(c->host->root_fd, path, false, PATH_IN_ROOT, &last) : -EBADF;

		if (parent >= 0)
			(void)unlinkat(parent, last, AT_REMOVEDIR);
	}
}

static int keys_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e)
{
	json_t *made = json_array(), *dirs = json_array();
	struct key_args a;
	int r = keys_check(c, args, e);

	if (r >= 0)
		r = key_args_read(args, &a, e);
	if (r >= 0 && (!made || !dirs || missing_dirs(c, a.dir, dirs) < 0))
		r = err_oom(e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(files); i++)
		if (!is_there(c, a.dir, files[i].name) &&
		    json_array_append_new(made, json_string(files[i].name)) < 0)
			r = err_oom(e);
	*ret_undo = r >= 0 ? json_pack("{s:O, s:O}", "made", made, "dirs", dirs) : NULL;
	json_decref(made);
	json_decref(dirs);
	return r < 0 ? r : *ret_undo ? 0 : err_oom(e);
}

static int keys_dir(const struct plan_ctx *c, const char *dir, bool create, struct err *e)
{
	int r = create ? path_mkdirs(c->host->root_fd, dir, 0755, PATH_IN_ROOT) : 0;

	if (r >= 0)
		r = path_open_at(c->host->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	return r == -ENOENT && !create ? r : r < 0 ? err_errno(e, r, "cannot open /%s", dir) : r;
}

static int keys_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		      struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct key_args a;
	int r = key_args_read(args, &a, e);

	if (r >= 0)
		r = fd = keys_dir(c, a.dir, true, e);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(files); i++)
		if (!is_there(c, a.dir, files[i].name))
			r = files[i].make(fd, &a, e);
	return r < 0 ? err_wrap(e, "key files of the licence server") : 0;
}

static int keys_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	json_t *made = json_object_get(undo, "made"), *name;
	_cleanup_close_ int fd = -EBADF;
	struct key_args a;
	size_t i;
	int r = key_args_read(args, &a, e);

	if (r < 0)
		return r;
	r = fd = keys_dir(c, a.dir, false, e);
	if (r >= 0)
		(void)publish_sweep(fd);
	if (r >= 0)
		json_array_foreach (made, i, name)
			if (publish_unlink(fd, json_string_value(name)) < 0)
				r = err_errno(e, -EIO, "cannot remove %s", json_string_value(name));
	remove_dirs(c, json_object_get(undo, "dirs"));
	return r < 0 && r != -ENOENT ? r : 0;
}

static int keys_show(const struct plan_ctx *c, const json_t *args, struct strbuf *out)
{
	struct key_args a;

	if (key_args_read(args, &a, NULL) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (!is_there(c, a.dir, files[i].name))
			(void)strbuf_printf(out, "  make    /%s/%s\n", a.dir, files[i].name);
	return strbuf_error(out);
}

const struct op_type license_op_keys = {
	.name = "vgpu-license-keys",
	.check = keys_check,
	.stage = keys_stage,
	.apply = keys_apply,
	.undo = keys_undo,
	.show = keys_show,
};

/* -- a repository's key -- */

struct apt_key_args {
	const char *url, *path, *fingerprint; /* borrowed */
};

static int apt_key_args_read(const json_t *args, struct apt_key_args *ret, struct err *e)
{
	int r = jget_str(args, "url", &ret->url, e);

	if (r >= 0)
		r = jget_str(args, "path", &ret->path, e);
	return r < 0 ? r : jget_str(args, "fingerprint", &ret->fingerprint, e);
}

static int apt_key_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	struct apt_key_args a;
	int r = apt_key_args_read(args, &a, e);

	return r < 0 ? r : path_exists(c->host->root_fd, a.path);
}

static int apt_key_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e)
{
	_cleanup_free_ char *dir = NULL;
	json_t *dirs = json_array();
	struct apt_key_args a;
	int r = apt_key_check(c, args, e), was_there = r > 0;

	if (r >= 0)
		r = apt_key_args_read(args, &a, e);
	if (r >= 0)
		dir = strdup(a.path);
	if (dir && strrchr(dir, '/'))
		*strrchr(dir, '/') = '\0';
	if (r >= 0 && (!dir || !dirs || missing_dirs(c, dir, dirs) < 0))
		r = err_oom(e);
	*ret_undo = r >= 0 ? json_pack("{s:b, s:O}", "was_there", was_there, "dirs", dirs) : NULL;
	json_decref(dirs);
	return r < 0 ? r : *ret_undo ? 0 : err_oom(e);
}

static int is_that_key(struct span text, const char *fingerprint, struct err *e)
{
	_cleanup_free_ uint8_t *ring = NULL;
	_cleanup_strv_ char **found = NULL;
	size_t len = 0;
	int r = pgpkey_binary(text, &ring, &len, e);

	if (r >= 0)
		r = pgpkey_fingerprints((struct span){ (const char *)ring, len }, &found, e);
	if (r < 0)
		return r;
	if (strv_len(found) == 1 && strcmp(found[0], fingerprint) == 0)
		return 0;
	return err_set(e, ERR_FETCH_DIGEST, "the key has fingerprint %s, not %s", found ? found[0] : "none",
		       fingerprint);
}

static int apt_key_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			 struct err *e)
{
	struct fetch_request q = FETCH_REQUEST_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int dir = -EBADF;
	struct apt_key_args a;
	const char *name;
	size_t len = 0;
	int r = apt_key_check(c, args, e);

	if (r != 0 || recorded_is(c->host))
		return r < 0 ? r : 0;
	r = apt_key_args_read(args, &a, e);
	q.url = a.url;
	q.offline = c->offline;
	if (r >= 0)
		r = fetch_text(&q, PGP_KEY_MAX, &text, &len, e);
	if (r >= 0)
		r = is_that_key((struct span){ text, len }, a.fingerprint, e);
	if (r < 0)
		return err_wrap(e, "%s", a.url);
	dir = path_open_parent(c->host->root_fd, a.path, true, PATH_IN_ROOT, &name);
	r = dir < 0 ? dir : publish_bytes(dir, name, text, len, 0644);
	return r < 0 ? err_errno(e, r, "cannot write /%s", a.path) : 0;
}

static int apt_key_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	struct apt_key_args a;
	const char *name;
	int r = apt_key_args_read(args, &a, e);

	if (r < 0 || json_is_true(json_object_get(undo, "was_there")))
		return r;
	dir = path_open_parent(c->host->root_fd, a.path, false, PATH_IN_ROOT, &name);
	if (dir < 0)
		return 0;
	r = publish_unlink(dir, name);
	remove_dirs(c, json_object_get(undo, "dirs"));
	return r < 0 ? err_errno(e, r, "cannot remove /%s", a.path) : 0;
}

static int apt_key_show(const struct plan_ctx *c _unused_, const json_t *args, struct strbuf *out)
{
	struct apt_key_args a;

	if (apt_key_args_read(args, &a, NULL) < 0)
		return 0;
	return strbuf_printf(out, "  fetch   %s, whose fingerprint has to be %s, to /%s\n", a.url,
			     a.fingerprint, a.path);
}

const struct op_type license_op_apt_key = {
	.name = "vgpu-license-apt-key",
	.check = apt_key_check,
	.stage = apt_key_stage,
	.apply = apt_key_apply,
	.undo = apt_key_undo,
	.show = apt_key_show,
};
