/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that is there already as part of a plan: a download continues where it was cut, so it is no operation itself;
 * having it is, and undo removes it. */
#include "vgpu-ops.h"

#include "digest.h"
#include "path.h"
#include "publish.h"

#include <fcntl.h>
#include <string.h>

static const char *text(const json_t *args, const char *key)
{
	const char *s = json_string_value(json_object_get(args, key));

	return s ? s : "";
}

int vgpu_add_file(struct plan *p, const char *path, const char *sha256)
{
	return plan_add(p, &op_vgpu_file, json_pack("{s:s, s:s}", "path", path, "sha256", sha256),
			"keep /%s until it is taken back", path);
}

/* 1 it is there and unchanged, 0 changed, -ENOENT, other errors. */
static int look(const struct plan_ctx *c, const json_t *args)
{
	_cleanup_close_ int fd =
	    path_open_at(c->host->root_fd, text(args, "path"), O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	char sha256[SHA256_HEX_SIZE];
	int r = fd < 0 ? fd : sha256_fd_hex(fd, sha256);

	return r < 0 ? r : strcmp(sha256, text(args, "sha256")) == 0;
}

static int file_stage(const struct plan_ctx *c _unused_, const json_t *args _unused_, json_t **ret_undo,
		      struct err *e)
{
	*ret_undo = json_object();
	return *ret_undo ? 0 : err_oom(e);
}

static int file_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		      struct err *e)
{
	int r = look(c, args);

	if (r > 0)
		return 0;
	return r < 0 ? err_errno(e, r, "cannot read /%s", text(args, "path"))
		     : err_set(e, ERR_CONTENT_MISMATCH, "/%s changed meanwhile", text(args, "path"));
}

static int file_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	const char *name;
	int r = look(c, args);

	if (r <= 0)
		return r == -ENOENT || r >= 0 ? 0 : err_errno(e, r, "cannot read /%s", text(args, "path"));
	dir = path_open_parent(c->host->root_fd, text(args, "path"), false, PATH_NO_SYMLINKS, &name);
	r = dir < 0 ? dir : publish_unlink(dir, name);
	return r < 0 ? err_errno(e, r, "cannot remove /%s", text(args, "path")) : 0;
}

static int file_changed(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			json_t *list, struct err *e)
{
	if (look(c, args) != 0)
		return 0;
	return json_array_append_new(list, json_string(text(args, "path"))) < 0 ? err_oom(e) : 0;
}

const struct op_type op_vgpu_file = {
	.name = "vgpu-file",
	.stage = file_stage,
	.apply = file_apply,
	.undo = file_undo,
	.changed = file_changed,
};
