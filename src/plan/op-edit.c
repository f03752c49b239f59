/* SPDX-License-Identifier: Apache-2.0
 *
 * "edit": one file of a person's, replaced whole by the result of a pure transformation. It is a files operation
 * of one entry with a condition: the file must still be the one the transformation saw. */
#include "files.h"

#include "base64.h"
#include "digest.h"
#include "fd.h"
#include "path.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define EDIT_SIZE_MAX ((size_t)16 << 20)

static json_t *files_args(const json_t *args, json_int_t mode)
{
	return json_pack("{s:[{s:s, s:s, s:I, s:s, s:b}]}", "entries", "path", json_text(args, "path"),
			 "type", "file", "mode", mode, "bytes_base64", json_text(args, "bytes_base64"),
			 "keep_owner", 1);
}

/* The file as it is: its digest ("" when absent) and mode. */
static int edit_look(const struct plan_ctx *c, const json_t *args, char ret_sha256[65], mode_t *ret_mode,
		     struct err *e)
{
	_cleanup_(place_done) struct place p = PLACE_INIT;
	const char *path = json_text(args, "path");
	int r;

	if (!*path || !path_name_is_clean(path))
		return err_set(e, -EINVAL, "the arguments of an edit are not valid");
	r = place_open(c->host->root_fd, path, &p);
	if (r < 0)
		return err_errno(e, r, "cannot look at /%s", path);
	if (p.st.st_mode && !S_ISREG(p.st.st_mode)) {
		(void)err_set(e, ERR_PLAN_CONFLICT, "/%s is not a regular file", path);
		return err_object(e, "/%s", path);
	}
	ret_sha256[0] = '\0';
	*ret_mode = p.st.st_mode ? p.st.st_mode & 07777
				 : (mode_t)json_integer_value(json_object_get(args, "mode")) & 07777;
	r = p.st.st_mode ? sha256_file_at(p.parent_fd, p.name, ret_sha256) : 0;
	return r < 0 ? err_errno(e, r, "cannot read /%s", path) : 0;
}

static int edit_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_(entries_done) struct entries l = { 0 };
	json_auto_t *as_files = files_args(args, 0);
	char sha256[65];
	mode_t mode;
	int r;

	if (!as_files)
		return err_oom(e);
	r = edit_look(c, args, sha256, &mode, e);
	if (r >= 0)
		r = entries_load(as_files, NULL, &l, e);
	return r < 0 ? r : strcmp(entry_sha256(&l.v[0]), sha256) == 0;
}

static int edit_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e)
{
	json_auto_t *as_files = NULL, *undo = NULL;
	const char *path = json_text(args, "path");
	char sha256[65];
	mode_t mode;
	int r;

	r = edit_look(c, args, sha256, &mode, e);
	if (r < 0)
		return r;
	if (strcmp(sha256, json_text(args, "old_sha256")) != 0) {
		(void)err_set(e, ERR_EDIT_STALE, "/%s changed after the plan was made", path);
		return err_object(e, "/%s", path);
	}
	as_files = files_args(args, (json_int_t)mode);
	r = as_files ? files_stage(c, as_files, &undo, e) : err_oom(e);
	if (r >= 0 && json_object_set_new(undo, "mode", json_integer((json_int_t)mode)) < 0)
		r = err_oom(e);
	if (r >= 0)
		*ret_undo = json_incref(undo);
	return r;
}

static json_t *staged_args(const json_t *args, const json_t *undo)
{
	return files_args(args, json_integer_value(json_object_get(undo, "mode")));
}

static int edit_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	json_auto_t *as_files = staged_args(args, undo);

	return as_files ? files_apply(c, as_files, undo, e) : err_oom(e);
}

static int edit_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	json_auto_t *as_files = staged_args(args, undo);

	return as_files ? files_undo(c, as_files, undo, e) : err_oom(e);
}

static int edit_changed(const struct plan_ctx *c, const json_t *args, const json_t *undo, json_t *list,
			struct err *e)
{
	json_auto_t *as_files = staged_args(args, undo);

	return as_files ? files_changed(c, as_files, undo, list, e) : err_oom(e);
}

static int edit_show(const struct plan_ctx *c, const json_t *args, struct strbuf *out)
{
	_cleanup_free_ char *name = str_printf("/%s", json_text(args, "path")), *old = NULL;
	_cleanup_(place_done) struct place p = PLACE_INIT;
	const char *base64 = json_text(args, "bytes_base64");
	_cleanup_free_ uint8_t *new = NULL;
	size_t old_len = 0, new_len;
	int r;

	r = base64_decode(SPAN(base64), &new, &new_len);
	if (r >= 0)
		r = name ? place_open(c->host->root_fd, json_text(args, "path"), &p) : -ENOMEM;
	if (r >= 0 && S_ISREG(p.st.st_mode))
		r = read_file_at(p.parent_fd, p.name, EDIT_SIZE_MAX, &old, &old_len);
	if (r < 0)
		return r;
	return diff_unified(name, (struct span){ old ? old : "", old_len },
			    (struct span){ (char *)new, new_len }, out);
}

const struct op_type op_edit = {
	.name = "edit",
	.check = edit_check,
	.stage = edit_stage,
	.apply = edit_apply,
	.undo = edit_undo,
	.changed = edit_changed,
	.show = edit_show,
};

static int old_digest(const void *old, size_t len, json_t **ret)
{
	uint8_t raw[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	int r;

	if (old) {
		r = sha256_bytes(old, len, raw);
		if (r < 0)
			return r;
		hex_encode(raw, sizeof(raw), hex);
	}
	*ret = old ? json_string(hex) : json_null();
	return *ret ? 0 : -ENOMEM;
}

int plan_add_edit(struct plan *p, const char *path, const void *old, size_t old_len, const void *bytes,
		  size_t len, mode_t mode, const char *sentence)
{
	_cleanup_free_ char *base64 = NULL;
	json_t *digest = NULL, *args;
	int r;

	if (len > EDIT_SIZE_MAX)
		return -E2BIG;
	r = base64_encode(bytes, len, &base64);
	if (r >= 0)
		r = old_digest(old, old_len, &digest);
	if (r < 0)
		return r;
	args = json_pack("{s:s, s:o, s:s, s:i}", "path", path, "old_sha256", digest, "bytes_base64", base64,
			 "mode", (int)mode);
	return args ? plan_add(p, &op_edit, args, "%s", sentence) : -ENOMEM;
}
