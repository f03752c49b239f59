/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-plan.h"

#include "path.h"
#include "report.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>

int vgpu_note(char ***notes, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = str_vprintf(fmt, ap);
	va_end(ap);
	if (!text)
		return -ENOMEM;
	return strv_contains(*notes, text) ? 0 : strv_push(notes, text);
}

static json_t *argv(const char *const *words)
{
	json_t *a = json_array();

	for (; a && *words; words++)
		if (json_array_append_new(a, json_string(*words)) < 0) {
			json_decref(a);
			return NULL;
		}
	return a;
}

int vgpu_add_command(struct plan *p, const char *const *run, const char *const *undo, int timeout_s,
		     bool tolerate, const char *what)
{
	json_t *args = json_pack("{s:o, s:o, s:s, s:i, s:b}", "argv", run ? argv(run) : json_null(),
				 "undo_argv", undo ? argv(undo) : json_null(), "what", what, "timeout_s",
				 timeout_s, "tolerate", (int)tolerate);

	return args ? plan_add(p, &op_command, args, "%s%s", run ? "" : "(when taken back) ", what) : -ENOMEM;
}

int vgpu_add_edits(struct plan *p, const struct text_edits *edits, const char *const *after, const char *what)
{
	int r = 0;

	if (edits->n == 0)
		return 0;
	if (after)
		r = vgpu_add_command(p, NULL, after, VGPU_TOOL_TIMEOUT_S, false, what);
	if (r >= 0)
		r = text_edits_to_plan(edits, p);
	if (r >= 0 && after)
		r = vgpu_add_command(p, after, NULL, VGPU_TOOL_TIMEOUT_S, false, what);
	return r;
}

int vgpu_plan_new(struct engine *en, const char *group, const char *title, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_free_ char *target = report_target_name(en->host);

	if (!target || plan_new(title, target, &p) < 0 ||
	    json_object_set_new(p->meta, "role", json_string("vgpu")) < 0 ||
	    json_object_set_new(p->meta, "group", json_string(group)) < 0)
		return err_oom(e);
	*ret = TAKE_PTR(p);
	return 0;
}

static bool says(const json_t *o, const char *key, const char *want)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && strcmp(text, want) == 0;
}

int vgpu_deployed(struct engine *en, const char *group, json_t **ret, struct err *e)
{
	_cleanup_free_ char *target = report_target_name(en->host);
	json_auto_t *list = NULL;
	int r = target ? 0 : err_oom(e);

	*ret = NULL;
	if (r < 0 || !en->store)
		return r;
	r = plan_history(&en->state, target, &list, e);
	for (size_t i = json_array_size(list); r >= 0 && !*ret && i-- > 0;) {
		const json_t *item = json_array_get(list, i);
		json_t *meta = json_object_get(item, "meta");

		if (says(item, "state", "applied") && says(meta, "role", "vgpu") &&
		    says(meta, "group", group))
			*ret = json_incref(meta);
	}
	return r < 0 ? r : 0;
}

int vgpu_dir_open(const struct host *h, bool create, struct err *e)
{
	int r = create ? path_mkdirs(h->root_fd, VGPU_DIR, 0755, PATH_IN_ROOT) : 0;

	if (r >= 0)
		r = path_open_at(h->root_fd, VGPU_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (r == -ENOENT && !create)
		return r;
	return r < 0 ? err_errno(e, r, "cannot open /" VGPU_DIR) : r;
}

void vgpu_dir_drop(const struct host *h)
{
	static const char *const dirs[] = { VGPU_DIR, "var/lib/nvdriver" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		const char *name;
		_cleanup_close_ int dir = path_open_parent(h->root_fd, dirs[i], false, PATH_IN_ROOT, &name);

		if (dir >= 0)
			(void)unlinkat(dir, name, AT_REMOVEDIR);
	}
}
