/* SPDX-License-Identifier: Apache-2.0 */
/* Incus and LXD, through their client: `query` for looking, its verbs for changing. One answer of the daemon costs some
 * milliseconds. */
#include "lxc-backend.h"

#include "jutil.h"
#include "lxc-edit.h"
#include "lxc-incus.h"
#include "lxc-native.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *root_of(const struct lxc_backend *b)
{
	return b->host->is_running ? "" : b->host->root;
}

static void command(const struct lxc_backend *b, struct spawn *s, const char *verb)
{
	(void)spawn_argv(s, b->set->incus, verb, NULL);
	(void)spawn_env(s, "HOME", "/root");
	s->capture = s->merge = true;
	s->timeout_s = b->set->exec_timeout_s;
}

static int unknown(const char *id, struct err *e)
{
	(void)err_set(e, ERR_LXC_UNKNOWN, "there is no container %s", id);
	return err_object(e, "%s", id);
}

/* What the client said, told apart; `code` for what is nothing special. */
static int failed(const char *id, const struct spawn *s, int code, struct err *e)
{
	const char *out = s->out ? s->out : "";

	if (strstr(out, "Instance not found") || strstr(out, "not found"))
		return unknown(id, e);
	if (strstr(out, "is not running"))
		code = ERR_LXC_STOPPED;
	(void)err_set(e, code, "container %s: %s", id, *out ? out : "the client gave no reason");
	return err_object(e, "%s", id);
}

static int check(struct spawn *s, const char *id, int code, struct err *e)
{
	int r = spawn_run(s, e);

	if (r < 0)
		return err_recode(e, r == -ERR_TIMEOUT ? code : ERR_LXC_BACKEND);
	return s->status == 0 ? 0 : failed(id, s, code, e);
}

static int query(const struct lxc_backend *b, const char *id, const char *path, json_t **ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("asking the container manager");
	int r;

	command(b, &s, "query");
	(void)spawn_argv(&s, path, NULL);
	s.merge = false;
	r = spawn_run(&s, e);
	if (r < 0)
		return err_recode(e, ERR_LXC_BACKEND);
	if (s.status != 0 && s.tail && strstr(s.tail, "not found") && id)
		return unknown(id, e);
	if (s.status != 0)
		return err_set(e, ERR_LXC_BACKEND, "%s query %s ended with status %d: %s", b->set->incus,
			       path, s.status, s.tail ? s.tail : "");
	return jparse((struct span){ s.out, s.out_len }, ret, e) < 0 ? err_recode(e, ERR_LXC_BACKEND) : 0;
}

static int instance(const struct lxc_backend *b, const char *id, const char *what, json_t **ret,
		    struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (!incus_name_is_valid(id))
		return unknown(id, e);
	path = str_printf("/1.0/instances/%s%s", id, what);
	return path ? query(b, id, path, ret, e) : err_oom(e);
}

static int incus_open(struct lxc_backend *b, struct err *e)
{
	_cleanup_json_ json_t *server = NULL;

	b->dev_keys = true;
	return query(b, NULL, "/1.0", &server, e);
}

static int incus_list(struct lxc_backend *b, char ***ret, struct err *e)
{
	_cleanup_json_ json_t *all = NULL;
	int r = query(b, NULL, "/1.0/instances?recursion=1", &all, e);

	return r < 0 ? r : incus_names(all, ret) < 0 ? err_oom(e) : 0;
}

static int facts_take(const struct lxc_backend *b, const json_t *o, struct lxc_facts *ret)
{
	_cleanup_(lxc_facts_done) struct lxc_facts f = { 0 };
	_cleanup_(lxc_host_done) struct lxc_host gpus = { 0 };
	int r = incus_facts(o, lxc_host_path, b->host, &f);

	if (r >= 0)
		r = lxc_gpus_read(b->host, &gpus);
	if (r >= 0)
		r = incus_gpus_expand(&f.lines, gpus.gpus, gpus.n_gpus, lxc_host_path, b->host);
	if (r < 0)
		return r;
	*ret = f;
	f = (struct lxc_facts){ 0 };
	return 0;
}

static int incus_facts_of(struct lxc_backend *b, const char *id, struct lxc_facts *ret, struct err *e)
{
	_cleanup_json_ json_t *o = NULL;
	int r = instance(b, id, "", &o, e);

	if (r < 0)
		return r;
	r = facts_take(b, o, ret);
	return r == -EINVAL ? err_set(e, ERR_LXC_BACKEND, "container %s: an answer without a name", id)
	       : r < 0	    ? err_oom(e)
			    : 0;
}

/* A stopped container's volume may be mounted nowhere: only a running one is looked into. */
static int incus_place(struct lxc_backend *b, const char *id, struct lxc_place *ret, struct err *e)
{
	_cleanup_json_ json_t *o = NULL;
	int r = instance(b, id, "/state", &o, e);
	pid_t pid = r < 0 ? 0 : (pid_t)json_integer_value(json_object_get(o, "pid"));

	if (r < 0)
		return r;
	*ret = (struct lxc_place){ 0 };
	if (pid > 0)
		lxc_native_place_of(pid, ret);
	return 0;
}

static int state_of(struct lxc_backend *b, const char *id, enum lxc_state *ret, struct err *e)
{
	_cleanup_json_ json_t *o = NULL;
	int r = instance(b, id, "/state", &o, e);

	if (r < 0)
		return r;
	*ret = incus_state(json_string_value(json_object_get(o, "status")));
	return 0;
}

static int incus_start(struct lxc_backend *b, const char *id, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("starting the container");
	enum lxc_state state;
	int r = state_of(b, id, &state, e);

	if (r < 0 || state == LXC_RUNNING)
		return r;
	command(b, &s, "start");
	(void)spawn_argv(&s, id, NULL);
	s.timeout_s = b->set->start_timeout_s;
	r = check(&s, id, ERR_LXC_START, e);
	if (r >= 0)
		r = state_of(b, id, &state, e);
	if (r >= 0 && state != LXC_RUNNING)
		r = err_set(e, ERR_LXC_START, "container %s ended right after its start", id);
	return r;
}

static int incus_stop(struct lxc_backend *b, const char *id, struct err *e)
{
	_cleanup_(spawn_done) struct spawn gentle = SPAWN_INIT("shutting the container down");
	_cleanup_(spawn_done) struct spawn hard = SPAWN_INIT("stopping the container");
	enum lxc_state state;
	int r = state_of(b, id, &state, e);

	if (r < 0 || state == LXC_STOPPED)
		return r;
	command(b, &gentle, "stop");
	(void)spawn_argv(&gentle, id, "--timeout", NULL);
	(void)spawn_arg(&gentle, "%u", b->set->start_timeout_s);
	gentle.timeout_s = b->set->start_timeout_s + 10;
	if (spawn_run(&gentle, NULL) >= 0 && gentle.status == 0)
		return 0;
	command(b, &hard, "stop");
	(void)spawn_argv(&hard, id, "--force", NULL);
	hard.timeout_s = b->set->start_timeout_s;
	return check(&hard, id, ERR_LXC_START, e);
}

static int incus_exec(struct lxc_backend *b, const char *id, struct lxc_exec *x, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(x->what);
	enum lxc_state state;
	int r = state_of(b, id, &state, e);

	if (r >= 0 && state != LXC_RUNNING) {
		(void)err_set(e, ERR_LXC_STOPPED, "container %s is %s", id, lxc_state_name(state));
		return err_object(e, "%s", id);
	}
	if (r < 0)
		return r;
	command(b, &s, "exec");
	(void)spawn_argv(&s, id, "--mode=non-interactive", "--", "env", "-i", NULL);
	for (const char *const *p = lxc_exec_env; *p; p++)
		(void)spawn_argv(&s, *p, NULL);
	for (char *const *p = x->env; p && *p; p++)
		(void)spawn_argv(&s, *p, NULL);
	for (char *const *p = x->argv; *p; p++)
		(void)spawn_argv(&s, *p, NULL);
	s.stdin_fd = x->stdin_fd;
	s.log_fd = x->log_fd;
	s.timeout_s = x->timeout_s ? x->timeout_s : b->set->exec_timeout_s;
	r = spawn_run(&s, e);
	if (r < 0)
		return r;
	x->status = s.status;
	x->out_len = s.out_len;
	x->out = TAKE_PTR(s.out);
	return 0;
}

/* -- configuration -- */

static json_t *difference(const json_t *o, char *const *have, char *const *add, char *const *remove,
			  const char *root)
{
	json_t *added = json_array(), *removed = json_array();

	/* What a profile or a whole GPU gives is there too, whatever its mode: two devices of one name would fight. */
	for (; add && *add && added; add++)
		if (!incus_device_find(o, *add, root) && !lxc_lines_find(have, *add))
			(void)json_array_append_new(added, json_string(*add));
	for (; remove && *remove && removed; remove++)
		if (incus_device_find(o, *remove, root))
			(void)json_array_append_new(removed, json_string(*remove));
	return json_pack("{s:o, s:o}", "added", added, "removed", removed);
}

static int device_add(struct lxc_backend *b, const char *id, const char *line, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("adding a device to the container");
	_cleanup_strv_ char **args = NULL;
	int r = incus_device_args(line, root_of(b), &args);

	if (r == -EINVAL)
		return err_set(e, ERR_LXC_BACKEND, "container %s: '%s' cannot be a device of this manager",
			       id, line);
	if (r < 0)
		return err_oom(e);
	command(b, &s, "config");
	(void)spawn_argv(&s, "device", "add", id, NULL);
	for (char **p = args; *p; p++)
		(void)spawn_argv(&s, *p, NULL);
	return check(&s, id, ERR_LXC_BACKEND, e);
}

static int device_remove(struct lxc_backend *b, const char *id, const char *name, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("taking a device from the container");

	command(b, &s, "config");
	(void)spawn_argv(&s, "device", "remove", id, name, NULL);
	return check(&s, id, ERR_LXC_BACKEND, e);
}

/* A change of a running container takes effect at once: the daemon makes nodes and mounts there itself. */
static int changes_make(struct lxc_backend *b, const char *id, const json_t *o, const json_t *undo,
			struct err *e)
{
	const json_t *line;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(undo, "removed"), i, line)
		if (r >= 0)
			r = device_remove(b, id, incus_device_find(o, json_string_value(line), root_of(b)),
					  e);
	json_array_foreach (json_object_get(undo, "added"), i, line)
		if (r >= 0)
			r = device_add(b, id, json_string_value(line), e);
	return r;
}

static int incus_config_apply(struct lxc_backend *b, const char *id, char *const *add, char *const *remove,
			      bool dry_run, json_t **ret_undo, struct err *e)
{
	_cleanup_(lxc_facts_done) struct lxc_facts have = { 0 };
	_cleanup_json_ json_t *o = NULL, *undo = NULL;
	int r = instance(b, id, "", &o, e);

	if (r < 0)
		return r;
	if (facts_take(b, o, &have) < 0)
		return err_oom(e);
	undo = difference(o, have.lines, add, remove, root_of(b));
	if (!undo)
		return err_oom(e);
	if (!dry_run)
		r = changes_make(b, id, o, undo, e);
	if (r >= 0 && ret_undo)
		*ret_undo = TAKE_PTR(undo);
	return r;
}

/* A device comes with its permission. */
static int incus_allow_device(struct lxc_backend *b _unused_, const char *id _unused_,
			      const char *rule _unused_, struct err *e _unused_)
{
	return 0;
}

/* LXD: "snapshot INSTANCE NAME"; Incus has a verb below it. */
static int incus_snapshot(struct lxc_backend *b, const char *id, const char *name, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("taking a snapshot");

	if (!incus_name_is_valid(id))
		return unknown(id, e);
	command(b, &s, "snapshot");
	if (span_ends(SPAN(b->set->incus), "incus"))
		(void)spawn_argv(&s, "create", NULL);
	(void)spawn_argv(&s, id, name, NULL);
	s.timeout_s = b->set->install_timeout_s;
	return check(&s, id, ERR_LXC_BACKEND, e);
}

static int incus_push(struct lxc_backend *b, const char *id, int fd, const char *path, mode_t mode,
		      struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("pushing a file");

	if (!incus_name_is_valid(id))
		return unknown(id, e);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "cannot read the file");
	command(b, &s, "file");
	(void)spawn_argv(&s, "push", "--uid", "0", "--gid", "0", "--create-dirs", "--mode", NULL);
	(void)spawn_arg(&s, "%04o", mode);
	(void)spawn_argv(&s, "-", NULL);
	(void)spawn_arg(&s, "%s%s", id, path);
	s.stdin_fd = fd;
	s.timeout_s = b->set->install_timeout_s;
	return check(&s, id, ERR_LXC_PUSH, e);
}

const struct lxc_backend_ops lxc_backend_incus = {
	.name = "incus",
	.open = incus_open,
	.list = incus_list,
	.facts = incus_facts_of,
	.place = incus_place,
	.start = incus_start,
	.stop = incus_stop,
	.exec = incus_exec,
	.config_apply = incus_config_apply,
	.allow_device = incus_allow_device,
	.snapshot = incus_snapshot,
	.push = incus_push,
};
