/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-state.h"

#include "fd.h"
#include "jutil.h"
#include "publish.h"
#include "report.h"
#include "err-vgpu.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define STATE_FILE "vgpu.json"
#define LOCK_FILE  "vgpu.lock"
#define STATE_MAX  ((size_t)1 << 20)

void vgpu_state_done(struct vgpu_state *s)
{
	json_decref(s->values);
	json_decref(s->steps);
	free(s->target);
	lock_release(&s->lock);
	*s = (struct vgpu_state){ .lock = LOCK_INIT };
}

static int target_dir(struct engine *en, const char *target, bool create)
{
	if (en->state.targets_fd < 0)
		return -ENOENT;
	if (create && mkdirat(en->state.targets_fd, target, 0755) < 0 && errno != EEXIST)
		return -errno;
	return dir_open_at(en->state.targets_fd, target);
}

static int take_lock(struct vgpu_state *s, int dir, struct err *e)
{
	int r = lock_file_at(dir, LOCK_FILE, 0, &s->lock);

	if (r == -EAGAIN)
		return err_set(e, ERR_LOCKED, "another run sets up vGPU on %s", s->target);
	return r < 0 ? err_errno(e, r, "cannot lock the state of %s", s->target) : 0;
}

static int load(struct vgpu_state *s, int dir, struct err *e)
{
	json_auto_t *all = NULL;
	json_t *values = NULL, *steps = NULL;
	int r = jload_at(dir, STATE_FILE, STATE_MAX, &all, e);

	if (r == -ENOENT) {
		err_done(e);
		return 0;
	}
	if (r >= 0)
		r = jget_object(all, "values", &values, e);
	if (r >= 0)
		r = jget_array(all, "steps", &steps, e);
	if (r < 0) {
		(void)err_wrap(e, "targets/%s/" STATE_FILE, s->target);
		return err_recode(e, ERR_VGPU_STATE);
	}
	json_decref(s->values);
	json_decref(s->steps);
	s->values = json_incref(values);
	s->steps = json_incref(steps);
	return 0;
}

int vgpu_state_open(struct engine *en, bool write, struct vgpu_state *ret, struct err *e)
{
	_cleanup_(vgpu_state_done) struct vgpu_state s = { json_object(), json_array(),
							   report_target_name(en->host), LOCK_INIT };
	_cleanup_close_ int dir = -EBADF;
	int r = 0;

	if (!s.values || !s.steps || !s.target)
		return err_oom(e);
	dir = target_dir(en, s.target, write);
	if (dir < 0 && dir != -ENOENT)
		return err_errno(e, dir, "cannot open targets/%s", s.target);
	if (dir >= 0 && write)
		r = take_lock(&s, dir, e);
	if (r >= 0 && dir >= 0)
		r = load(&s, dir, e);
	if (r < 0)
		return r;
	*ret = s;
	s = (struct vgpu_state){ .lock = LOCK_INIT };
	return 0;
}

const char *vgpu_state_get(const struct vgpu_state *s, const char *key)
{
	return json_string_value(json_object_get(s->values, key));
}

int vgpu_state_set(struct vgpu_state *s, const char *key, const char *value)
{
	if (!value) {
		(void)json_object_del(s->values, key);
		return 0;
	}
	return json_object_set_new(s->values, key, json_string(value)) < 0 ? -ENOMEM : 0;
}

int vgpu_state_step(struct vgpu_state *s, const char *step, const char *result)
{
	time_t now = time(NULL);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_array_append_new(
		   s->steps, json_pack("{s:s, s:s, s:s}", "step", step, "time", text, "result", result)) < 0
		   ? -ENOMEM
		   : 0;
}

int vgpu_state_save(struct engine *en, const struct vgpu_state *s, struct err *e)
{
	_cleanup_close_ int dir = target_dir(en, s->target, true);
	json_auto_t *all = json_pack("{s:O, s:O}", "values", s->values, "steps", s->steps);
	_cleanup_free_ char *text = NULL;
	int r = dir;

	if (r >= 0)
		r = all ? jdump(all, &text) : -ENOMEM;
	if (r >= 0)
		r = publish_bytes(dir, STATE_FILE, text, strlen(text), 0600);
	return r < 0 ? err_errno(e, r, "cannot keep the state of %s", s->target) : 0;
}

int vgpu_state_remove(struct engine *en, struct vgpu_state *s, struct err *e)
{
	json_auto_t *imported = json_incref(json_object_get(s->values, VGPU_IMPORTED));
	_cleanup_close_ int dir = target_dir(en, s->target, false);
	int r;

	(void)json_object_clear(s->values);
	(void)json_array_clear(s->steps);
	if (imported && json_object_set(s->values, VGPU_IMPORTED, imported) == 0)
		return vgpu_state_save(en, s, e);
	r = dir < 0 ? dir : publish_unlink(dir, STATE_FILE);
	return r < 0 && r != -ENOENT ? err_errno(e, r, "cannot remove the state of %s", s->target) : 0;
}

static const struct {
	const char *key;
	const char *values; /* blank-separated words */
} known[] = {
	{ "STEP", "1 2" },
	{ "VGPU_SUPPORT", "Native Yes No Unknown" },
	{ "VGPU_HELPER_STATUS", "done" },
	{ "SECURE_BOOT_PENDING", "0 1" },
	{ "SECURE_BOOT_READY", "0 1" },
	{ "FASTAPI_WARNING", "0 1" },
	{ "KERNEL_DOWNGRADED", "0 1" },
};

static bool value_is_good(const char *key, struct span value)
{
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct span rest = SPAN(known[i].values), w;

		if (strcmp(known[i].key, key) != 0)
			continue;
		while (span_word(&rest, &w))
			if (w.len == value.len && memcmp(w.p, value.p, w.len) == 0)
				return true;
		return value.len == 0;
	}
	return true;
}

static int import_line(struct vgpu_state *s, struct span line, unsigned number, struct err *e)
{
	const char *eq = memchr(line.p, '=', line.len);
	struct span key = { line.p, eq ? (size_t)(eq - line.p) : 0 }, value;
	_cleanup_free_ char *name = NULL, *text = NULL;

	if (key.len == 0 || memchr(key.p, ' ', key.len))
		return err_set(e, ERR_VGPU_STATE, "line %u is not KEY=VALUE", number);
	value = span_trim((struct span){ eq + 1, line.len - key.len - 1 });
	name = span_dup(key);
	text = span_dup(value);
	if (!name || !text)
		return err_oom(e);
	if (!value_is_good(name, value))
		return err_set(e, ERR_VGPU_STATE, "line %u: %s cannot be \"" SPAN_FMT "\"", number, name,
			       SPAN_ARG(value));
	return vgpu_state_set(s, name, *text ? text : NULL) < 0 ? err_oom(e) : 0;
}

int vgpu_state_import(struct vgpu_state *s, struct span text, struct err *e)
{
	struct span line;
	unsigned number = 0;
	int r = 0;

	while (r == 0 && span_line(&text, &line)) {
		number++;
		if (span_trim(line).len > 0)
			r = import_line(s, span_trim(line), number, e);
	}
	return r;
}
