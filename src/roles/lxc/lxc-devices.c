/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-devices.h"

#include "jutil.h"
#include "log.h"
#include "lxc-edit.h"
#include "lxc-include.h"
#include "lxc-ops.h"
#include "lxc-state.h"
#include "lxc-verify.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <stdlib.h>
#include <string.h>

static int push_line(char ***v, char *line)
{
	int r = line ? (lxc_lines_contain(*v, line) ? 0 : strv_push(v, line)) : -ENOMEM;

	free(line);
	return r;
}

static char *rule_text(const struct lxc_node *n, const char *key)
{
	if (n->kind == LXC_NODE_UVM || n->kind == LXC_NODE_UVM_TOOLS)
		return str_printf("%s = c %u:* rw", key, n->major);
	return str_printf("%s = c %u:%u rw", key, n->major, n->minor);
}

static int raw_lines(const struct lxc_node *n, const char *source, bool unified, char ***v)
{
	const char *key = unified ? "lxc.cgroup2.devices.allow" : "lxc.cgroup.devices.allow";
	int r = push_line(
	    v, str_printf("lxc.mount.entry = %s %s none bind,optional,create=file 0 0", source, n->path));

	return r < 0 ? r : push_line(v, rule_text(n, key));
}

int lxc_device_lines(const struct lxc_nodes *nodes, bool dev_keys, bool unified,
		     char *(*host_path)(const struct host *h, const char *absolute), const struct host *h,
		     char ***ret)
{
	_cleanup_strv_ char **v = NULL;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < nodes->n; i++) {
		const struct lxc_node *n = &nodes->v[i];
		_cleanup_free_ char *absolute = lxc_node_source(nodes, n), *source = NULL;

		/* An optional node the host lacks would make a start fail, or leave a regular file of its name. */
		if (!n->exists && !n->required)
			continue;
		source = absolute ? host_path(h, absolute) : NULL;
		if (!source)
			r = -ENOMEM;
		else if (dev_keys)
			r = push_line(&v, str_printf("dev = %s,mode=0666", source));
		else
			r = raw_lines(n, source, unified, &v);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

/* -- sockets of the host's daemons --
 * LXC sets the other flags of a bind mount only together with "ro", which keeps nobody from talking through a socket. Clients
 * of MPS make files of their own. */

#define RUN_LINE "lxc.mount.entry = tmpfs run tmpfs rw,nosuid,nodev,mode=755,create=dir 0 0"

static const struct {
	const char *path;
	const char *options;
} sockets[] = { { "/run/nvidia-persistenced/socket", "ro,nosuid,nodev,noexec,create=file" },
		{ "/run/nvidia-fabricmanager/socket", "ro,nosuid,nodev,noexec,create=file" },
		{ "/tmp/nvidia-mps", "nosuid,nodev,noexec,create=dir" } };

/* Does a line that is not ours mount something on run/? */
static bool has_run(char *const *lines)
{
	for (; lines && *lines; lines++) {
		struct span rest = SPAN(*lines), word = SPAN_NULL;

		if (strncmp(*lines, "lxc.mount.entry = ", 18) != 0 || lxc_line_equal(*lines, RUN_LINE))
			continue;
		for (unsigned i = 0; i < 4 && span_word(&rest, &word); i++)
			;
		if (span_eq(word, "run") || span_eq(word, "/run"))
			return true;
	}
	return false;
}

/* One whose daemon does not run at the moment stays: at boot none does yet. */
static bool is_recorded(const struct lxc_ct *ct, const char *path)
{
	const json_t *line;
	size_t i;

	json_array_foreach (json_object_get(ct->record, "lines"), i, line)
		if (json_is_string(line) && strstr(json_string_value(line), path))
			return true;
	return false;
}

static int socket_lines(const struct lxc_ct *ct, char ***v)
{
	const struct host *h = ct->x->en->host;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(sockets); i++) {
		const char *path = sockets[i].path;
		_cleanup_free_ char *source = lxc_host_path(h, path);

		if (!source)
			return -ENOMEM;
		if (!path_exists(h->root_fd, path) && !is_recorded(ct, path))
			continue;
		if (strncmp(path, "/run/", 5) == 0 && !has_run(ct->facts.lines))
			r = push_line(v, strdup(RUN_LINE));
		if (r >= 0)
			r = push_line(v, str_printf("lxc.mount.entry = %s %s none bind,optional,%s 0 0",
						    source, path + 1, sockets[i].options));
	}
	return r;
}

int lxc_ct_lines(const struct lxc_ct *ct, char ***ret)
{
	const struct lxc *x = ct->x;
	_cleanup_strv_ char **v = NULL;
	int r = lxc_device_lines(&ct->nodes, x->backend->dev_keys, x->host.unified, lxc_host_path,
				 x->en->host, &v);

	if (r >= 0 && (ct->extras & LXC_EXTRA_SOCKETS) && x->backend->ops->has_raw_lines)
		r = socket_lines(ct, &v);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

int lxc_device_stale(const json_t *record, char *const *have, char *const *wanted, char ***ret)
{
	_cleanup_strv_ char **v = NULL;
	const json_t *line;
	size_t i;
	int r = 0;

	json_array_foreach (json_object_get(record, "lines"), i, line) {
		const char *text = json_string_value(line);

		if (r >= 0 && text && lxc_lines_contain(have, text) && !lxc_lines_contain(wanted, text))
			r = strv_push(&v, text);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

int lxc_device_foreign(const char *state_dir, const char *target, char *const *have, char ***ret)
{
	_cleanup_free_ char *head = str_printf("lxc.include = %s/lxc-", state_dir),
			    *own = str_printf("lxc.include = %s/%s/devices.conf", state_dir, target);
	int r = head && own ? 0 : -ENOMEM;

	for (; r >= 0 && have && *have; have++)
		if (strncmp(*have, head, strlen(head)) == 0 && strcmp(*have, own) != 0)
			r = strv_push(ret, *have);
	return r;
}

/* A clone has the lines of what it was made from, and no record of its own yet. */
static int stale_lines(const struct lxc_ct *ct, char *const *wanted, char ***ret)
{
	const struct lxc *x = ct->x;
	_cleanup_free_ char *origin = ct->clone_of ? str_printf("lxc-%s", ct->clone_of) : NULL;
	_cleanup_json_ json_t *record = NULL;
	int r;

	if (!ct->record && origin)
		(void)lxc_record_read(x, origin, &record, NULL);
	r = lxc_device_stale(ct->record ? ct->record : record, ct->facts.lines, wanted, ret);
	return r < 0 ? r : lxc_device_foreign(x->state_dir, ct->target, ct->facts.lines, ret);
}

static int add_config(struct lxc_ct *ct, struct plan *p, char *const *add, char *const *remove, struct err *e)
{
	json_t *args = lxc_op_args(ct), *a = jstrv(add), *r = jstrv(remove);

	if (!args || !a || !r || json_object_set_new(args, "add", a) < 0 ||
	    json_object_set_new(args, "remove", r) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_config, args, "let container %s have %zu GPU%s", ct->id, ct->gpus.n,
			ct->gpus.n == 1 ? "" : "s") < 0
		   ? err_oom(e)
		   : 0;
}

static int add_nodes(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	json_t *args = lxc_op_args(ct), *nodes = lxc_nodes_json(&ct->nodes);

	if (!args || !nodes || json_object_set_new(args, "nodes", nodes) < 0 ||
	    json_object_set_new(args, "covered", json_boolean(lxc_record_covers(ct))) < 0 ||
	    json_object_set_new(args, "restart",
				json_string(ct->x->opt->restart == LXC_RESTART_NEVER ? "never" : "auto")) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_nodes, args, "make the devices appear in container %s", ct->id) < 0
		   ? err_oom(e)
		   : 0;
}

static int add_power(struct lxc_ct *ct, struct plan *p, const char *want, struct err *e)
{
	json_t *args = lxc_op_args(ct);

	if (!args || json_object_set_new(args, "want", json_string(want)) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_power, args, "%s container %s",
			strcmp(want, "running") == 0 ? "start" : "restart", ct->id) < 0
		   ? err_oom(e)
		   : 0;
}

static int add_ready(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	json_t *args = lxc_op_args(ct), *nodes = lxc_nodes_json(&ct->nodes);

	if (!args || !nodes || json_object_set_new(args, "nodes", nodes) < 0 ||
	    json_object_set_new(args, "ignore_devices", json_boolean(ct->x->opt->allow_missing_devices)) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_ready, args, "wait until container %s and its devices are ready", ct->id) <
		       0
		   ? err_oom(e)
		   : 0;
}

int lxc_power_plan(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	int r = ct->facts.state == LXC_RUNNING ? 0 : add_power(ct, p, "running", e);

	return r < 0 ? r : add_ready(ct, p, e);
}

/* The line that sets LXC's hook, wherever the configuration takes it from; an empty value takes back what stands before it. */
static const char *nvidia_hook(char *const *lines)
{
	static const char key[] = "lxc.hook.mount =", tail[] = "/hooks/nvidia";
	const char *found = NULL;

	for (; lines && *lines; lines++) {
		const char *value = *lines + sizeof(key) - 1;

		if (strncmp(*lines, key, sizeof(key) - 1) != 0)
			continue;
		value += strspn(value, " ");
		if (!*value)
			found = NULL;
		else if (span_ends(SPAN(value), tail))
			found = *lines;
	}
	return found;
}

/* LXC's hook brings its own choice of libraries and nodes: with both, nobody knows which driver a program gets. */
static int lxc_nvidia_hook_check(const struct lxc_ct *ct, struct err *e)
{
	_cleanup_strv_ char **all = NULL;
	const char *hook;

	if (lxc_lines_follow(ct->x->en->host->root_fd, ct->facts.lines, &all) < 0)
		return err_oom(e);
	hook = nvidia_hook(all);
	if (!hook)
		return 0;
	(void)err_set(e, ERR_LXC_CONFIG,
		      "container %s has LXC's own hook for NVIDIA GPUs (%s); only one of the two may be set",
		      ct->id, hook);
	(void)err_next(
	    e, "take that line out of its configuration and of the files that includes, then run again");
	return err_object(e, "%s", ct->id);
}

int lxc_devices_plan(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	const struct lxc *x = ct->x;
	_cleanup_strv_ char **wanted = NULL, **stale = NULL;
	int r;

	if (!x->host.version)
		return 0;
	r = lxc_nvidia_hook_check(ct, e);
	if (r < 0)
		return r;
	if ((ct->extras & LXC_EXTRA_SOCKETS) && !x->backend->ops->has_raw_lines)
		log_warn("container %s: %s has no way to pass sockets on", ct->id, x->backend->ops->name);
	if (lxc_ct_lines(ct, &wanted) < 0 || stale_lines(ct, wanted, &stale) < 0)
		return err_oom(e);
	/* The line of the shared directory belongs to the driver step. */
	for (char **s = stale; s && *s; s++)
		if (strstr(*s, " usr/lib/nvdriver ")) {
			char **to = s;

			free(*s);
			while ((to[0] = to[1]))
				to++;
			break;
		}
	r = add_config(ct, p, wanted, stale, e);
	if (r >= 0 && ct->facts.state == LXC_RUNNING)
		r = x->opt->restart == LXC_RESTART_ALWAYS ? add_power(ct, p, "restarted", e)
							  : add_nodes(ct, p, e);
	return r;
}
