/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-ops.h"

#include "digest.h"
#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "log.h"
#include "lxc-enter.h"
#include "lxc-installer.h"
#include "lxc-live.h"
#include "lxc-toolkit-step.h"
#include "lxc-verify.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES_TIMEOUT_S 600
#define POLL_MS		200

/* -- from arguments back to a container -- */

void lxc_subject_done(struct lxc_subject *s)
{
	lxc_backend_freep(&s->b);
	lxc_settings_done(&s->set);
}

static const char *arg_text(const json_t *args, const char *key)
{
	return json_string_value(json_object_get(args, key));
}

static int text_take(char **to, const json_t *args, const char *key)
{
	const char *s = arg_text(args, key);

	if (!s)
		return 0;
	*to = strdup(s);
	return *to ? 0 : -ENOMEM;
}

/* Which limits travel with an operation: they hold for its undo by a later run too. */
static const struct {
	const char *key;
	size_t offset;
} limits[] = {
	{ "start_timeout_s", offsetof(struct lxc_settings, start_timeout_s) },
	{ "exec_wait_s", offsetof(struct lxc_settings, exec_wait_s) },
	{ "exec_timeout_s", offsetof(struct lxc_settings, exec_timeout_s) },
	{ "install_timeout_s", offsetof(struct lxc_settings, install_timeout_s) },
	{ "node_wait_s", offsetof(struct lxc_settings, node_wait_s) },
	{ "node_poll_ms", offsetof(struct lxc_settings, node_poll_ms) },
	{ "lock_wait_s", offsetof(struct lxc_settings, lock_wait_s) },
	{ "file_lock_wait_s", offsetof(struct lxc_settings, file_lock_wait_s) },
	{ "smi_timeout_s", offsetof(struct lxc_settings, smi_timeout_s) },
	{ "attempts", offsetof(struct lxc_settings, attempts) },
	{ "pause_s", offsetof(struct lxc_settings, pause_s) },
};

static unsigned *limit_at(const struct lxc_settings *set, size_t i)
{
	return (unsigned *)((char *)(uintptr_t)set + limits[i].offset);
}

static void numbers_take(struct lxc_settings *set, const json_t *args)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		*limit_at(set, i) = (unsigned)json_integer_value(json_object_get(args, limits[i].key));
}

int lxc_subject_open(const struct plan_ctx *c, const json_t *args, struct lxc_subject *s, struct err *e)
{
	const char *backend = arg_text(args, "backend"), *state_dir = arg_text(args, "state_dir");

	*s = (struct lxc_subject){ .id = arg_text(args, "id") };
	if (!s->id || !name_is_safe(s->id) || !backend || !state_dir)
		return err_set(e, -EINVAL, "the arguments of a container operation are not valid");
	numbers_take(&s->set, args);
	if (text_take(&s->set.pct, args, "pct") < 0 || text_take(&s->set.lxcpath, args, "lxcpath") < 0 ||
	    text_take(&s->set.incus, args, "incus") < 0 || text_take(&s->set.style, args, "style") < 0 ||
	    lxc_settings_default(c->host, &s->set) < 0)
		return err_oom(e);
	return lxc_backend_open(backend, c->host, &s->set, state_dir, &s->b, e);
}

#define _cleanup_subject_ _cleanup_(lxc_subject_done)

json_t *lxc_op_args(const struct lxc_ct *ct)
{
	const struct lxc *x = ct->x;
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "id", ct->id, "backend",
			      x->backend->ops->name, "lxcpath", x->set->lxcpath, "pct", x->set->pct, "incus",
			      x->set->incus, "style", x->set->style, "state_dir", x->state_dir, "live_dir",
			      x->live_dir);

	for (size_t i = 0; o && i < ARRAY_LEN(limits); i++)
		if (json_object_set_new(o, limits[i].key, json_integer(*limit_at(x->set, i))) < 0) {
			json_decref(o);
			return NULL;
		}
	return o;
}

int lxc_stage_nothing(const struct plan_ctx *c _unused_, const json_t *args _unused_, json_t **ret_undo,
		      struct err *e)
{
	*ret_undo = json_object();
	return *ret_undo ? 0 : err_oom(e);
}

int lxc_undo_nothing(const struct plan_ctx *c _unused_, const json_t *args _unused_,
		     const json_t *undo _unused_, struct err *e _unused_)
{
	return 0;
}

static int place_of(struct lxc_subject *s, struct lxc_place *ret, struct err *e)
{
	return s->b->ops->place(s->b, s->id, ret, e);
}

/* The container of an operation and where it is now. Both are released by the caller, whatever comes of it. */
static int placed_open(const struct plan_ctx *c, const json_t *args, struct lxc_subject *s,
		       struct lxc_place *place, struct err *e)
{
	int r = lxc_subject_open(c, args, s, e);

	return r < 0 ? r : place_of(s, place, e);
}

/* -- configuration -- */

static int config_change(const struct plan_ctx *c, const json_t *args, const json_t *add,
			 const json_t *remove, bool dry_run, json_t **ret_undo, struct err *e)
{
	_cleanup_subject_ struct lxc_subject s = { 0 };
	_cleanup_json_ json_t *both = json_pack("{s:O?, s:O?}", "add", add, "remove", remove);
	_cleanup_strv_ char **a = NULL, **r = NULL;
	int rc;

	rc = lxc_subject_open(c, args, &s, e);
	if (rc < 0)
		return rc;
	if (!both || jopt_strv(both, "add", &a, e) < 0 || jopt_strv(both, "remove", &r, e) < 0)
		return err_oom(e);
	return s.b->ops->config_apply(s.b, s.id, a, r, dry_run, ret_undo, e);
}

static int config_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_json_ json_t *undo = NULL;
	int r = config_change(c, args, json_object_get(args, "add"), json_object_get(args, "remove"), true,
			      &undo, e);

	if (r < 0)
		return r;
	return json_array_size(json_object_get(undo, "added")) +
		   json_array_size(json_object_get(undo, "removed")) ==
	       0;
}

static int config_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e)
{
	return config_change(c, args, json_object_get(args, "add"), json_object_get(args, "remove"), true,
			     ret_undo, e);
}

static int config_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			struct err *e)
{
	return config_change(c, args, json_object_get(args, "add"), json_object_get(args, "remove"), false,
			     NULL, e);
}

/* The empty file a node was bound over. */
static int node_file_remove(int root_fd, void *arg, json_t **ret _unused_, struct err *e _unused_)
{
	const char *path = arg, *name;
	_cleanup_close_ int parent = path_open_parent(root_fd, path, false, PATH_IN_ROOT, &name);
	struct stat st;

	if (parent >= 0 && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size == 0)
		(void)unlinkat(parent, name, 0);
	return 0;
}

static void node_take_away(const struct lxc_place *place, const char *path)
{
	if (!lxc_live_is_placed(place, path))
		return;
	(void)lxc_live_unplace(place, path, NULL);
	(void)lxc_inside(place, 0, 30, node_file_remove, (void *)path, NULL, NULL);
}

/* "lxc.cgroup2.devices.allow = c 511:* rw": nodes may have been allowed one by one too, while it ran. */
static void rule_take_away(struct lxc_subject *s, const char *rule)
{
	static const char *const minors[] = { ":* ", ":0 ", ":1 " };
	const char *any = strstr(rule, minors[0]);

	(void)s->b->ops->deny_device(s->b, s->id, rule, NULL);
	for (size_t i = 1; any && i < ARRAY_LEN(minors); i++) {
		_cleanup_free_ char *one =
		    str_printf("%.*s%s%s", (int)(any - rule), rule, minors[i], any + strlen(minors[0]));

		if (one)
			(void)s->b->ops->deny_device(s->b, s->id, one, NULL);
	}
}

/* A running container had the line's device since its start. */
static void line_take_away(struct lxc_subject *s, const struct lxc_place *place, const char *line)
{
	static const char mount[] = "lxc.mount.entry = ";
	const char *rule = strstr(line, ".devices.allow = ");
	struct span rest = SPAN(line), word;
	_cleanup_free_ char *path = NULL;

	if (rule && !place->has_userns && s->b->ops->deny_device)
		rule_take_away(s, rule + strlen(".devices.allow = "));
	if (strncmp(line, mount, strlen(mount)) != 0)
		return;
	for (unsigned i = 0; i < 4 && span_word(&rest, &word); i++)
		path = i == 3 ? span_dup(word) : NULL;
	if (path && strncmp(path, "dev/", 4) == 0)
		node_take_away(place, path);
}

static void lines_take_away(const struct plan_ctx *c, const json_t *args, const json_t *lines)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };
	const json_t *line;
	size_t i;

	if (placed_open(c, args, &s, &place, NULL) < 0 || place.init_pid <= 0)
		return;
	json_array_foreach (lines, i, line)
		if (json_is_string(line))
			line_take_away(&s, &place, json_string_value(line));
}

static int config_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	int r = config_change(c, args, json_object_get(undo, "removed"), json_object_get(undo, "added"),
			      false, NULL, e);

	if (r >= 0)
		lines_take_away(c, args, json_object_get(undo, "added"));
	if (r != -ERR_LXC_UNKNOWN)
		return r;
	if (e)
		err_done(e);
	return 0; /* the container was destroyed: its configuration went with it */
}

static void show_lines(struct strbuf *out, const char *sign, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach (lines, i, line)
		(void)strbuf_printf(out, "  %s %s\n", sign, json_string_value(line));
}

static int config_show(const struct plan_ctx *c _unused_, const json_t *args, struct strbuf *out)
{
	show_lines(out, "-", json_object_get(args, "remove"));
	show_lines(out, "+", json_object_get(args, "add"));
	return strbuf_error(out);
}

const struct op_type lxc_op_config = {
	.name = "lxc-config",
	.check = config_check,
	.stage = config_stage,
	.apply = config_apply,
	.undo = config_undo,
	.show = config_show,
};

/* -- power -- */

static int power_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		       struct err *e)
{
	const char *want = arg_text(args, "want");
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = lxc_subject_open(c, args, &s, e);

	if (r >= 0 && want && strcmp(want, "restarted") == 0)
		r = s.b->ops->stop(s.b, s.id, e);
	return r < 0 ? r : s.b->ops->start(s.b, s.id, e);
}

/* The configuration is taken back after this: an interrupted run leaves the container running, which harms nobody. */
const struct op_type lxc_op_power = {
	.name = "lxc-power",
	.stage = lxc_stage_nothing,
	.apply = power_apply,
	.undo = lxc_undo_nothing,
};

/* -- files inside -- */

enum files_call { FILES_STAGE, FILES_APPLY, FILES_UNDO, FILES_CHANGED };

struct files_job {
	const struct plan_ctx *c;
	const json_t *args, *undo;
	enum files_call call;
	int base_fd;
};

static int files_inside(int root_fd, void *arg, json_t **ret, struct err *e)
{
	const struct files_job *j = arg;
	struct host inside = { root_fd, -EBADF, -EBADF, -EBADF, (char *)"the container", false };
	struct plan_ctx c = *j->c;
	_cleanup_close_ int root = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return err_errno(e, -errno, "cannot open the container's root");
	inside.root_fd = root;
	c.host = &inside;
	c.base_fd = j->base_fd >= 0 ? &j->base_fd : NULL;
	switch (j->call) {
	case FILES_STAGE:
		return op_files.stage(&c, j->args, ret, e);
	case FILES_APPLY:
		return op_files.apply(&c, j->args, j->undo, e);
	case FILES_UNDO:
		return op_files.undo(&c, j->args, j->undo, e);
	case FILES_CHANGED:
		*ret = json_array();
		return *ret ? op_files.changed(&c, j->args, j->undo, *ret, e) : err_oom(e);
	}
	return -EINVAL;
}

static int files_run(struct files_job *j, json_t **ret, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	const char *base = arg_text(j->args, "base");
	_cleanup_close_ int base_fd = -EBADF;
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = lxc_subject_open(j->c, j->args, &s, e);

	if (r >= 0)
		r = place_of(&s, &place, e);
	if (r < 0)
		return r;
	if (base && j->call == FILES_APPLY) {
		base_fd = dir_open_at(AT_FDCWD, base);
		if (base_fd < 0)
			return err_errno(e, base_fd, "cannot open %s", base);
	}
	j->base_fd = base_fd;
	r = lxc_inside(&place, 0, FILES_TIMEOUT_S, files_inside, j, ret, e);
	if (r == -ENOSPC || r == -EDQUOT)
		return err_recode(e, ERR_LXC_NO_SPACE);
	return r;
}

/* Kind, size and mode of each: whole trees are not read again at every run; `lxc verify` reads what matters. */
static int files_look(int root, const json_t *entries)
{
	const json_t *o;
	size_t i;

	json_array_foreach (entries, i, o) {
		const char *path = json_string_value(json_object_get(o, "path"));
		const char *type = json_string_value(json_object_get(o, "type"));
		struct stat st;

		if (!path || !type || path_stat(root, path, &st, PATH_IN_ROOT) < 0)
			return 0;
		if (strcmp(type, "dir") == 0 ? !S_ISDIR(st.st_mode)
		    : strcmp(type, "link") == 0
			? !S_ISLNK(st.st_mode)
			: !S_ISREG(st.st_mode) ||
			      st.st_size != json_integer_value(json_object_get(o, "size")))
			return 0;
	}
	return 1;
}

/* By this process, reading only: no child when nothing is to do. A root that cannot be reached is one to do. */
static int lxc_files_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };
	struct host inside = { -EBADF, -EBADF, -EBADF, -EBADF, (char *)"the container", false };
	_cleanup_close_ int root = -EBADF;
	struct plan_ctx inner = *c;
	int r = placed_open(c, args, &s, &place, e);

	if (r < 0)
		return r;
	root = lxc_place_open(&place);
	if (root < 0)
		return 0;
	inside.root_fd = root;
	inner.host = &inside;
	if (json_is_true(json_object_get(args, "quick")))
		return files_look(root, json_object_get(args, "entries"));
	r = op_files.check(&inner, args, NULL);
	return r > 0;
}

static int lxc_files_stage(const struct plan_ctx *c, const json_t *args, json_t **ret_undo, struct err *e)
{
	struct files_job j = { c, args, NULL, FILES_STAGE, -EBADF };

	return files_run(&j, ret_undo, e);
}

static int lxc_files_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	struct files_job j = { c, args, undo, FILES_APPLY, -EBADF };

	return files_run(&j, NULL, e);
}

static int lxc_files_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	struct files_job j = { c, args, undo, FILES_UNDO, -EBADF };
	int r = files_run(&j, NULL, e);

	if (r != -ERR_LXC_UNKNOWN)
		return r;
	if (e)
		err_done(e);
	return 0;
}

static bool is_covered(const struct plan_ctx *c, const json_t *args)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };

	return lxc_subject_open(c, args, &s, NULL) >= 0 && place_of(&s, &place, NULL) >= 0 &&
	       lxc_live_is_placed(&place, LXC_LIVE_DEST);
}

/* The shared directory may be mounted over a copy that was taken out for it: what is seen there is not the copy's. */
static int lxc_files_changed(const struct plan_ctx *c, const json_t *args, const json_t *undo, json_t *list,
			     struct err *e)
{
	struct files_job j = { c, args, undo, FILES_CHANGED, -EBADF };
	_cleanup_json_ json_t *found = NULL;
	int r = files_run(&j, &found, e);
	bool covered = r >= 0 && json_array_size(found) && is_covered(c, args);
	json_t *o;
	size_t i;

	if (r < 0)
		return r;
	json_array_foreach (found, i, o) {
		const char *path = json_string_value(o);

		if (covered && path &&
		    strncmp(path, "/" LXC_LIVE_DEST "/", strlen("/" LXC_LIVE_DEST "/")) == 0)
			continue;
		if (json_array_append(list, o) < 0)
			return err_oom(e);
	}
	return 0;
}

static int lxc_files_show(const struct plan_ctx *c, const json_t *args, struct strbuf *out)
{
	return op_files.show(c, args, out);
}

const struct op_type lxc_op_files = {
	.name = "lxc-files",
	.check = lxc_files_check,
	.stage = lxc_files_stage,
	.apply = lxc_files_apply,
	.undo = lxc_files_undo,
	.changed = lxc_files_changed,
	.show = lxc_files_show,
};

static int entry_add(json_t *entries, json_t *entry)
{
	return json_array_append_new(entries, entry) < 0 ? -ENOMEM : 0;
}

int lxc_entry_text(json_t *entries, const char *path, const char *text, mode_t mode)
{
	json_t *bytes = jbytes((const uint8_t *)text, strlen(text));

	return bytes
		   ? entry_add(entries, json_pack("{s:s, s:s, s:i, s:o, s:b}", "path", path, "type", "file",
						  "mode", (int)mode, "bytes_base64", bytes, "keep_owner", 0))
		   : -ENOMEM;
}

int lxc_entry_link(json_t *entries, const char *path, const char *target)
{
	return entry_add(entries,
			 json_pack("{s:s, s:s, s:s}", "path", path, "type", "link", "target", target));
}

int lxc_entry_dir(json_t *entries, const char *path, mode_t mode)
{
	return entry_add(entries,
			 json_pack("{s:s, s:s, s:i}", "path", path, "type", "dir", "mode", (int)mode));
}

int lxc_entry_absent(json_t *entries, const char *path)
{
	return entry_add(entries, json_pack("{s:s, s:s}", "path", path, "type", "absent"));
}

/* -- commands inside -- */

static int exec_key(const struct plan_ctx *c, const json_t *args, const char *key, struct err *e)
{
	json_int_t timeout_s = json_integer_value(json_object_get(args, "timeout_s"));
	const json_t *list = json_object_get(args, key);
	_cleanup_strv_ char **argv = NULL;
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return 0;
	r = jopt_strv(args, key, &argv, e);
	if (r >= 0)
		r = lxc_subject_open(c, args, &s, e);
	if (r < 0)
		return r;
	return lxc_run(s.b, s.id, arg_text(args, "what") ? arg_text(args, "what") : argv[0], argv,
		       timeout_s > 0 ? (unsigned)timeout_s : 0, NULL, e);
}

static int exec_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		      struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r = exec_key(c, args, "argv", &own);

	if (r < 0 && json_is_true(json_object_get(args, "tolerate"))) {
		log_warn("%s", own.reason ? own.reason : "a command in the container failed");
		return 0;
	}
	if (r < 0 && json_is_integer(json_object_get(args, "code")))
		(void)err_recode(&own, (int)json_integer_value(json_object_get(args, "code")));
	if (r < 0) {
		r = -own.code;
		err_move(e, &own);
	}
	return r;
}

/* Never stops an undo: what it did cannot be looked at. */
static int exec_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		     struct err *e _unused_)
{
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (exec_key(c, args, "undo_argv", &own) < 0)
		log_debug("%s", own.reason ? own.reason : "taking back a command in the container failed");
	return 0;
}

int lxc_show_inside(const struct plan_ctx *c _unused_, const json_t *args, struct strbuf *out)
{
	const json_t *arg;
	size_t i;

	(void)strbuf_puts(out, "  inside ");
	json_array_foreach (json_object_get(args, "argv"), i, arg)
		(void)strbuf_printf(out, " %s", json_string_value(arg));
	return strbuf_putc(out, '\n');
}

const struct op_type lxc_op_exec = {
	.name = "lxc-exec",
	.stage = lxc_stage_nothing,
	.apply = exec_apply,
	.undo = exec_undo,
	.show = lxc_show_inside,
};

/* -- the shared directory and devices, now -- */

static int live_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		      struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = placed_open(c, args, &s, &place, e);

	if (r < 0 || place.init_pid <= 0)
		return r;
	return lxc_live_place(arg_text(args, "live_dir"), &place, arg_text(args, "dest"), e);
}

static int live_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		     struct err *e _unused_)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = placed_open(c, args, &s, &place, &own);

	if (r >= 0 && place.init_pid > 0)
		r = lxc_live_unplace(&place, arg_text(args, "dest"), &own);
	if (r < 0)
		log_warn("%s",
			 own.reason ? own.reason : "the driver's mount stays until the container stops");
	return 0;
}

/* A stopped container gets it with its start. */
static int live_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = placed_open(c, args, &s, &place, e);

	return r < 0 ? r : place.init_pid <= 0 || lxc_live_is_whole(&place, arg_text(args, "dest"));
}

const struct op_type lxc_op_live = {
	.name = "lxc-live",
	.check = live_check,
	.stage = lxc_stage_nothing,
	.apply = live_apply,
	.undo = live_undo,
};

static int unlive_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = placed_open(c, args, &s, &place, e);

	if (r < 0 || place.init_pid <= 0)
		return r;
	return lxc_live_unplace(&place, arg_text(args, "dest"), e);
}

static int unlive_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (live_apply(c, args, undo, &own) < 0)
		log_warn("%s",
			 own.reason ? own.reason : "the shared driver is back with the next start only");
	(void)e;
	return 0;
}

static int unlive_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = placed_open(c, args, &s, &place, e);

	return r < 0 ? r : place.init_pid <= 0 || !lxc_live_is_placed(&place, arg_text(args, "dest"));
}

const struct op_type lxc_op_unlive = {
	.name = "lxc-unlive",
	.check = unlive_check,
	.stage = lxc_stage_nothing,
	.apply = unlive_apply,
	.undo = unlive_undo,
};

/* An empty file for the node to be bound over, made by the container's own root. */
static int node_file(int root_fd, void *arg, json_t **ret _unused_, struct err *e)
{
	const char *path = arg, *name;
	_cleanup_close_ int parent = path_open_parent(root_fd, path, true, PATH_IN_ROOT, &name), fd = -EBADF;

	if (parent < 0)
		return err_errno(e, parent, "cannot open the directory of /%s in the container", path);
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 && errno != EEXIST ? err_errno(e, -errno, "cannot make /%s in the container", path) : 0;
}

static int node_apply(const struct plan_ctx *c, struct lxc_subject *s, const struct lxc_place *place,
		      const json_t *node, struct err *e)
{
	const char *path = json_string_value(json_object_get(node, "path"));
	int major = (int)json_integer_value(json_object_get(node, "major"));
	int minor = (int)json_integer_value(json_object_get(node, "minor"));
	const char *on_host = json_string_value(json_object_get(node, "source"));
	_cleanup_free_ char *source = NULL;
	_cleanup_free_ char *rule = str_printf("c %d:%d rw", major, minor);
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_close_ int root = lxc_place_open(place);
	int r;

	source = on_host ? lxc_host_path(c->host, on_host) : NULL;
	if (!source || !rule)
		return err_oom(e);
	if (!place->has_userns && s->b->ops->allow_device(s->b, s->id, rule, &own) < 0)
		return err_set(e, ERR_LXC_RESTART, "%s",
			       own.reason ? own.reason : "the device rule needs a restart");
	if (root >= 0 && lxc_node_look(root, path, (unsigned)major, (unsigned)minor) == LXC_NODE_OK)
		return 0;
	r = lxc_inside(place, 0, 30, node_file, (void *)path, NULL, e);
	return r < 0 ? r : lxc_node_place(source, place, path, e);
}

/* A node that is there may still be refused: somebody else wrote the lines and nobody restarted. */
static bool is_refused(const struct lxc_place *place, const json_t *nodes)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_json_ json_t *bad = NULL;
	const json_t *o;
	size_t i;

	if (lxc_device_check(place, nodes, &bad, &own) < 0)
		return false;
	json_array_foreach (bad, i, o)
		if (json_integer_value(json_object_get(o, "verdict")) == LXC_NODE_CGROUP)
			return true;
	return false;
}

/* By looking at the nodes; they are opened once per run of the container ("covered": that was done). */
static int nodes_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_subject_ struct lxc_subject s = { 0 };
	_cleanup_close_ int root = -EBADF;
	const json_t *node;
	size_t i;
	int r = placed_open(c, args, &s, &place, e);

	if (r < 0 || place.init_pid <= 0)
		return r < 0 ? r : 1;
	root = lxc_place_open(&place);
	json_array_foreach (json_object_get(args, "nodes"), i, node) {
		const char *path = json_string_value(json_object_get(node, "path"));

		if (root < 0 || !path)
			return 0;
		if (json_is_true(json_object_get(node, "required")) &&
		    lxc_node_look(root, path, (unsigned)json_integer_value(json_object_get(node, "major")),
				  (unsigned)json_integer_value(json_object_get(node, "minor"))) !=
			LXC_NODE_OK)
			return 0;
	}
	return json_is_true(json_object_get(args, "covered")) ||
	       !is_refused(&place, json_object_get(args, "nodes"));
}

static int nodes_place(const struct plan_ctx *c, struct lxc_subject *s, const json_t *args, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	const json_t *node;
	size_t i;
	int r = place_of(s, &place, e);

	if (r < 0 || place.init_pid <= 0)
		return r;
	json_array_foreach (json_object_get(args, "nodes"), i, node) {
		if (!json_is_true(json_object_get(node, "exists")))
			continue;
		r = node_apply(c, s, &place, node, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Devices are added to the running container where that is possible; else it is restarted, if that is allowed. */
static int nodes_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		       struct err *e)
{
	const char *restart = arg_text(args, "restart");
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = lxc_subject_open(c, args, &s, e);

	if (r < 0)
		return r;
	r = nodes_place(c, &s, args, &own);
	if (r >= 0)
		return 0;
	if (restart && strcmp(restart, "never") == 0) {
		(void)err_set(e, ERR_LXC_RESTART, "container %s: %s", s.id, own.reason ? own.reason : "?");
		return err_object(e, "%s", s.id);
	}
	log_info("restarting container %s: %s", s.id,
		 own.reason ? own.reason : "its devices cannot be added");
	r = s.b->ops->stop(s.b, s.id, e);
	return r < 0 ? r : s.b->ops->start(s.b, s.id, e);
}

static int nodes_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		      struct err *e _unused_)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_subject_ struct lxc_subject s = { 0 };
	const json_t *node;
	size_t i;
	int r = placed_open(c, args, &s, &place, &own);

	json_array_foreach (json_object_get(args, "nodes"), i, node)
		if (r >= 0 && place.init_pid > 0)
			node_take_away(&place, json_string_value(json_object_get(node, "path")));
	return 0;
}

const struct op_type lxc_op_nodes = {
	.name = "lxc-nodes",
	.check = nodes_check,
	.stage = lxc_stage_nothing,
	.apply = nodes_apply,
	.undo = nodes_undo,
};

/* -- ready -- */

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int wait_exec(struct lxc_subject *s, struct err *e)
{
	char *const argv[] = { (char *)"true", NULL };
	uint64_t deadline = now_ms() + (uint64_t)s->set.exec_wait_s * 1000;

	for (;;) {
		_cleanup_(err_done) struct err own = ERR_INIT;
		int r =
		    lxc_run(s->b, s->id, "waiting for the container", argv, s->set.exec_wait_s, NULL, &own);

		if (r >= 0)
			return 0;
		if (now_ms() >= deadline || interrupt_pending()) {
			err_move(e, &own);
			return err_recode(e, ERR_LXC_START);
		}
		(void)interrupt_sleep(POLL_MS);
	}
}

static void log_dev(struct lxc_subject *s)
{
	char *const argv[] = { (char *)"ls", (char *)"-l", (char *)"/dev", NULL };
	_cleanup_free_ char *out = NULL;

	if (lxc_run(s->b, s->id, "listing /dev", argv, 30, &out, NULL) >= 0)
		log_info("container %s: /dev:\n%s", s->id, out);
}

static int device_error(struct lxc_subject *s, const json_t *bad, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT((size_t)64 << 10);
	const json_t *o;
	size_t i;

	json_array_foreach (bad, i, o)
		(void)strbuf_printf(&text, "%s/%s: %s", i ? "; " : "",
				    json_string_value(json_object_get(o, "path")),
				    json_string_value(json_object_get(o, "text")));
	log_dev(s);
	(void)err_set(e, ERR_LXC_DEVICE, "container %s: %s", s->id, strbuf_str(&text));
	return err_object(e, "%s", s->id);
}

static int wait_devices(struct lxc_subject *s, const json_t *nodes, struct err *e)
{
	uint64_t deadline = now_ms() + (uint64_t)s->set.node_wait_s * 1000;

	for (;;) {
		_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
		_cleanup_json_ json_t *bad = NULL;
		int r = place_of(s, &place, e);

		if (r >= 0)
			r = lxc_device_check(&place, nodes, &bad, e);
		if (r <= 0)
			return r;
		if (now_ms() >= deadline || interrupt_pending())
			return device_error(s, bad, e);
		(void)interrupt_sleep(s->set.node_poll_ms);
	}
}

static int ready_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		       struct err *e)
{
	_cleanup_subject_ struct lxc_subject s = { 0 };
	int r = lxc_subject_open(c, args, &s, e);

	if (r >= 0)
		r = wait_exec(&s, e);
	if (r >= 0 && !json_is_true(json_object_get(args, "ignore_devices")))
		r = wait_devices(&s, json_object_get(args, "nodes"), e);
	return r;
}

const struct op_type lxc_op_ready = {
	.name = "lxc-ready",
	.stage = lxc_stage_nothing,
	.apply = ready_apply,
	.undo = lxc_undo_nothing,
};

/* -- push -- */

static int push_digest_check(struct lxc_subject *s, const char *path, int fd, struct err *e)
{
	char *const argv[] = { (char *)"sha256sum", (char *)path, NULL };
	_cleanup_free_ char *out = NULL;
	char want[SHA256_HEX_SIZE];
	int r = sha256_fd_hex(fd, want);

	if (r < 0)
		return err_errno(e, r, "cannot read the pushed file");
	r = lxc_run(s->b, s->id, "checking the pushed file", argv, 0, &out, e);
	if (r >= 0 && strncmp(out, want, SHA256_HEX_SIZE - 1) != 0)
		r = err_set(e, ERR_LXC_PUSH, "%s arrived in container %s with another content", path, s->id);
	return r;
}

static int push_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		      struct err *e)
{
	const char *from = arg_text(args, "from"), *to = arg_text(args, "to");
	mode_t mode = (mode_t)json_integer_value(json_object_get(args, "mode"));
	_cleanup_subject_ struct lxc_subject s = { 0 };
	_cleanup_close_ int fd = -EBADF;
	int r = lxc_subject_open(c, args, &s, e);

	if (r < 0 || !from || !to)
		return r < 0 ? r : err_set(e, -EINVAL, "the arguments of a push are not valid");
	fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(e, -errno, "cannot open %s", from);
	r = s.b->ops->push(s.b, s.id, fd, to, mode, e);
	return r < 0 ? r : push_digest_check(&s, to, fd, e);
}

/* The file and what a killed push left under another name. */
static int push_take_away(int root_fd, void *arg, json_t **ret _unused_, struct err *e)
{
	const char *to = arg, *name;
	_cleanup_close_ int parent = path_open_parent(root_fd, to, false, PATH_IN_ROOT, &name);

	if (parent < 0)
		return 0;
	(void)publish_sweep(parent);
	return unlinkat(parent, name, 0) < 0 && errno != ENOENT
		   ? err_errno(e, -errno, "cannot remove %s in the container", to)
		   : 0;
}

static int push_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		     struct err *e _unused_)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_subject_ struct lxc_subject s = { 0 };
	const char *to = arg_text(args, "to");
	int r = to ? lxc_subject_open(c, args, &s, &own) : -EINVAL;

	if (r >= 0)
		r = place_of(&s, &place, &own);
	if (r >= 0)
		r = lxc_inside(&place, 0, FILES_TIMEOUT_S, push_take_away, (void *)to, NULL, &own);
	if (r < 0)
		log_warn("%s", own.reason ? own.reason : "the pushed file stays");
	return 0;
}

const struct op_type lxc_op_push = {
	.name = "lxc-push",
	.stage = lxc_stage_nothing,
	.apply = push_apply,
	.undo = push_undo,
};

/* -- check -- */

static int check_failed(const char *id, const json_t *problems, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT((size_t)64 << 10);
	int code = ERR_LXC_DRIVER;
	const json_t *o;
	size_t i;

	json_array_foreach (problems, i, o) {
		const char *slug = json_string_value(json_object_get(o, "slug"));

		(void)strbuf_printf(&text, "%s%s", i ? "; " : "",
				    json_string_value(json_object_get(o, "problem")));
		if (slug && strcmp(slug, err_slug(ERR_LXC_MISMATCH)) == 0)
			code = ERR_LXC_MISMATCH;
		else if (slug && code == ERR_LXC_DRIVER && strcmp(slug, err_slug(ERR_LXC_DEVICE)) == 0)
			code = ERR_LXC_DEVICE;
	}
	(void)err_set(e, code, "container %s: %s", id, strbuf_str(&text));
	return err_object(e, "%s", id);
}

static int check_run(const struct plan_ctx *c, const json_t *args, enum lxc_level level, json_t *problems,
		     struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_(lxc_facts_done) struct lxc_facts facts = { 0 };
	const char *live_dir = arg_text(args, "live_dir");
	_cleanup_close_ int live = live_dir ? dir_open_at(AT_FDCWD, live_dir) : -EBADF;
	_cleanup_subject_ struct lxc_subject s = { 0 };
	struct lxc_check k = { .place = &place,
			       .want = arg_text(args, "want"),
			       .host = arg_text(args, "host"),
			       .machine = arg_text(args, "machine"),
			       .nodes = json_object_get(args, "nodes"),
			       .n_gpus = (size_t)json_integer_value(json_object_get(args, "gpus")),
			       .level = level,
			       .allow_missing_devices = json_is_true(json_object_get(args, "ignore_devices")),
			       .live_fd = live };
	int r = lxc_subject_open(c, args, &s, e);

	if (r >= 0)
		r = s.b->ops->facts(s.b, s.id, &facts, e);
	if (r >= 0)
		r = place_of(&s, &place, e);
	if (r < 0)
		return r;
	k.backend = s.b;
	k.id = s.id;
	k.state = facts.state;
	return lxc_check_run(&k, problems, NULL, e);
}

/* Static only, and by this process alone; a root that is out of reach has to be looked at another way. */
static int check_check(const struct plan_ctx *c, const json_t *args, struct err *e)
{
	_cleanup_json_ json_t *problems = json_array();
	int r = problems ? check_run(c, args, LXC_LEVEL_STATIC, problems, e) : err_oom(e);

	return r < 0 ? r : r == 0;
}

static int check_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		       struct err *e)
{
	_cleanup_json_ json_t *problems = json_array();
	enum lxc_level level = (enum lxc_level)json_integer_value(json_object_get(args, "level"));
	int r = problems ? check_run(c, args, level, problems, e) : err_oom(e);

	return r <= 0 ? r : check_failed(arg_text(args, "id"), problems, e);
}

const struct op_type lxc_op_check = {
	.name = "lxc-check",
	.check = check_check,
	.stage = lxc_stage_nothing,
	.apply = check_apply,
	.undo = lxc_undo_nothing,
};

int lxc_register_ops(void)
{
	static const struct op_type *const all[] = { &lxc_op_config, &lxc_op_power, &lxc_op_files,
						     &lxc_op_exec,   &lxc_op_live,  &lxc_op_nodes,
						     &lxc_op_ready,  &lxc_op_push,  &lxc_op_check,
						     &lxc_op_unlive, &lxc_op_space, &lxc_op_installer,
						     &lxc_op_toolkit };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (op_type_register(all[i]) < 0)
			return -ENOMEM;
	return 0;
}
