/* SPDX-License-Identifier: Apache-2.0
 *
 * The same on the nodes of a cluster, over the cluster's own SSH: one after the other, looked at in between. */
#include "cmd-vgpu.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "spawn.h"
#include "strbuf.h"
#include "ui.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <string.h>

#define NODES	       "etc/pve/nodes"
#define MEMBERS	       "etc/pve/.members"
#define MEMBERS_MAX    ((size_t)1 << 20)
#define STEP_TIMEOUT_S (3 * 3600)
#define LOOK_TIMEOUT_S 120

struct cluster_opts {
	char **nodes;
	const char *branch, *answers;
};

#define O(field) offsetof(struct cluster_opts, field)
static const struct opt cluster_options[] = {
	{ "node", 0, "NAME", "this node (may be repeated, in this order); default: every node of the cluster",
	  OPT_LIST, O(nodes) },
	{ "branch", 0, "BRANCH", "the vGPU branch for all of them", OPT_STRING, O(branch) },
	{ "answers", 0, "FILE", "answers file, as each node names it; /etc/pve is the same on all",
	  OPT_STRING, O(answers) },
	{ 0 },
};
#undef O

struct cluster {
	struct app *app;
	const struct cluster_opts *o;
	char **nodes; /* owned, in order */
	json_t *members; /* owned; NULL = the cluster does not say */
	json_t *list; /* owned; a row for each node that was asked */
};

static void cluster_done(struct cluster *c)
{
	strv_freep(&c->nodes);
	json_decref(c->members);
	json_decref(c->list);
}

/* -- nodes -- */

static int all_nodes(struct cluster *c, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = path_names(c->app->engine->host->root_fd, NODES, &names);

	if (r < 0 && r != -ENOMEM)
		return err_set(e, ERR_VGPU_CLUSTER, "there is no /" NODES);
	for (char **n = names; r >= 0 && n && *n; n++)
		if (**n != '.')
			r = strv_push(&c->nodes, *n);
	return r < 0 ? err_oom(e) : 0;
}

/* They become words of a command on another machine. */
static int check_words(const struct cluster *c, struct err *e)
{
	for (char **n = c->nodes; n && *n; n++)
		if (!name_is_safe(*n) || **n == '-')
			return err_set(e, ERR_USAGE, "%s is no name of a node", *n);
	if (c->o->branch && (!name_is_safe(c->o->branch) || *c->o->branch == '-'))
		return err_set(e, ERR_USAGE, "%s is no branch", c->o->branch);
	if (c->o->answers &&
	    strspn(c->o->answers, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") !=
		strlen(c->o->answers))
		return err_set(e, ERR_USAGE,
			       "the path of the answers file may have letters, digits and ._/- only");
	return 0;
}

static int open_cluster(struct cluster *c, struct err *e)
{
	_cleanup_(err_done) struct err ignored = ERR_INIT;
	int r = 0;

	for (char **n = c->o->nodes; r >= 0 && n && *n; n++)
		r = strv_push(&c->nodes, *n) < 0 ? err_oom(e) : 0;
	if (r >= 0 && !c->nodes)
		r = all_nodes(c, e);
	if (r >= 0)
		r = check_words(c, e);
	c->list = json_array();
	if (r >= 0 && !c->list)
		r = err_oom(e);
	if (r >= 0)
		(void)jload_at(c->app->engine->host->root_fd, MEMBERS, MEMBERS_MAX, &c->members, &ignored);
	return r;
}

/* -- asking one -- */

static const char *address_of(const struct cluster *c, const char *node)
{
	const json_t *list = json_object_get(c->members, "nodelist");
	const char *ip = json_string_value(json_object_get(json_object_get(list, node), "ip"));

	return ip && *ip != '-' ? ip : node;
}

/* The words Proxmox VE itself calls ssh with: the host key is the cluster's, whatever address the node has. */
static int ssh(const struct cluster *c, const char *node, struct spawn *s)
{
	_cleanup_free_ char *known = str_printf("/" NODES "/%s/ssh_known_hosts", node);

	if (!known)
		return -ENOMEM;
	(void)spawn_argv(s, "ssh", "-e", "none", "-o", "BatchMode=yes", NULL);
	(void)spawn_arg(s, "-oHostKeyAlias=%s", node);
	if (path_exists(c->app->engine->host->root_fd, known + 1)) {
		(void)spawn_arg(s, "-oUserKnownHostsFile=%s", known);
		(void)spawn_argv(s, "-o", "GlobalKnownHostsFile=none", NULL);
	}
	return spawn_arg(s, "root@%s", address_of(c, node));
}

/* What nvdriver answers there, as JSON; *ret_status is its exit status, ssh's 255 where the node was not reached. */
static int ask_node(const struct cluster *c, const char *node, const char *const *words, unsigned timeout_s,
		    json_t **ret, int *ret_status, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(node);
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r = ssh(c, node, &s);

	(void)spawn_argv(&s, "nvdriver", "--json", "vgpu", NULL);
	for (; *words; words++)
		(void)spawn_argv(&s, *words, NULL);
	s.capture = true;
	s.timeout_s = timeout_s;
	r = r < 0 ? err_oom(e) : tools_run(c->app->engine->host, &s, &own);
	if (r < 0 && r != -ERR_SPAWN) {
		if (e && own.code)
			err_move(e, &own);
		return r;
	}
	*ret_status = s.status;
	*ret = json_loads(s.out ? s.out : "", JSON_REJECT_DUPLICATES, NULL);
	return 0;
}

static int unreached(const char *node, int status, const json_t *answer, struct err *e)
{
	const char *reason =
	    ui_str(json_object_get(answer, "error"), "reason", ui_str(answer, "reason", NULL));

	(void)err_set(e, ERR_VGPU_CLUSTER,
		      status == 255 ? "%s is not reached by ssh%s%s"
				    : "%s: it ended there with a failure%s%s",
		      node, reason ? ": " : "", reason ? reason : "");
	return err_object(e, "%s", node);
}

/* -- what is wanted of all -- */

static int look(struct cluster *c, const char *node, json_t **ret, struct err *e)
{
	static const char *const words[] = { "status", NULL };
	int status = 0, r = ask_node(c, node, words, LOOK_TIMEOUT_S, ret, &status, e);

	if (r < 0 || (status == 0 && *ret))
		return r;
	r = unreached(node, status, *ret, e);
	json_decref(*ret);
	*ret = NULL;
	return r;
}

static int keep_row(struct cluster *c, const char *node, const json_t *s)
{
	const char *driver = json_string_value(json_object_get(s, "driver_version"));

	if (!c->app->json)
		out_text("%-16s Proxmox VE %s, kernel %s, branch %s, driver %s\n", node,
			 ui_str(s, "pve_version", "?"), ui_str(s, "kernel", "?"), ui_str(s, "branch", "none"),
			 driver ? driver : "not loaded");
	return json_array_append_new(
	    c->list, json_pack("{s:s, s:s?, s:s?, s:s?, s:s?}", "node", node, "pve_version",
			       json_string_value(json_object_get(s, "pve_version")), "kernel",
			       json_string_value(json_object_get(s, "kernel")), "branch",
			       json_string_value(json_object_get(s, "branch")), "driver_version", driver));
}

/* A running machine moves between nodes of one driver version only. */
static bool versions_differ(const struct cluster *c)
{
	const char *first = NULL;
	const json_t *row;
	size_t i;

	json_array_foreach (c->list, i, row) {
		const char *v = json_string_value(json_object_get(row, "driver_version"));

		if (i > 0 && strcmp(v ? v : "", first ? first : "") != 0)
			return true;
		first = v;
	}
	return false;
}

static int step_node(struct cluster *c, const char *node, const char *step, struct err *e)
{
	const char *words[] = { "step", step, "--yes", NULL, NULL, NULL, NULL, NULL };
	size_t n = 3;
	json_auto_t *answer = NULL;
	int status = 0, r;

	if (c->o->branch) {
		words[n++] = "--branch";
		words[n++] = c->o->branch;
	}
	if (c->o->answers) {
		words[n++] = "--answers";
		words[n++] = c->o->answers;
	}
	if (c->app->dry_run)
		words[n++] = "--dry-run";
	log_info("%s: step %s", node, step);
	r = ask_node(c, node, words, STEP_TIMEOUT_S, &answer, &status, e);
	if (r < 0)
		return r;
	if (!c->app->json && json_is_true(json_object_get(answer, "reboot_required")))
		out_text("%-16s needs a reboot\n", node);
	return status == 0 ? 0 : unreached(node, status, answer, e);
}

static int finish(struct cluster *c, const char *action)
{
	bool differ = versions_differ(c);
	int r = 0;

	if (c->app->json)
		r = out_json("vgpu-cluster",
			     json_pack("{s:b, s:s, s:O, s:b}", "dry_run", (int)c->app->dry_run, "action",
				       action, "nodes", c->list, "versions_equal", (int)!differ));
	else if (differ)
		out_text("the drivers differ: a running machine with a vGPU moves between equal ones only\n");
	return r < 0 ? r : differ && strcmp(action, "status") == 0 ? err_exit_status(ERR_FINDING) : 0;
}

/* "1" and "2" are a step on each node; the next one is touched only when the one before is well. NULL: only looked at. */
static int each_node(struct cluster *c, const char *step, struct err *e)
{
	int r = 0;

	for (char **node = c->nodes; r >= 0 && node && *node; node++) {
		json_auto_t *status = NULL;

		r = step ? step_node(c, *node, step, e) : 0;
		if (r >= 0)
			r = look(c, *node, &status, e);
		if (r >= 0 && keep_row(c, *node, status) < 0)
			r = err_oom(e);
		if (r < 0 && step && node[1])
			log_warn("the nodes from %s on were not touched", node[1]);
	}
	return r;
}

static const struct {
	const char *action, *step;
} actions[] = { { "status", NULL }, { "step1", "1" }, { "step2", "2" } };

static int cluster_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_(cluster_done) struct cluster c = { .app = app, .o = opts };
	const char *action = argc ? argv[0] : "status";

	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		int r;

		if (strcmp(actions[i].action, action) != 0)
			continue;
		r = open_cluster(&c, e);
		if (r >= 0)
			r = each_node(&c, actions[i].step, e);
		return r < 0 ? r : finish(&c, action);
	}
	return err_set(e, ERR_USAGE, "vgpu cluster does status, step1 or step2, not '%s'", action);
}

const struct cmd cmd_vgpu_cluster = {
	.name = "vgpu",
	.sub = "cluster",
	.summary = "the same step on the nodes of a Proxmox VE cluster, one after the other",
	.args = "[status|step1|step2]",
	.max_args = 1,
	.description = "status (or nothing) shows the driver of every node: a running machine with a vGPU "
		       "moves only between nodes of one "
		       "driver version, so that different ones are a finding (status 10).\n\n"
		       "step1 and step2 run that step with --yes on one node after the other, over the "
		       "cluster's own SSH, and look at each "
		       "before the next is touched; the first failure ends it. nvdriver has to be installed "
		       "on every node. Nothing reboots: "
		       "nodes that need it are named.",
	.examples = "nvdriver vgpu cluster step1 --node pve1 --node pve2 --answers /etc/pve/priv/vgpu.json\n"
		    "  two nodes, with the answers the cluster shares\n",
	.options = cluster_options,
	.opts_size = sizeof(struct cluster_opts),
	.flags = CMD_STORE_READ,
	.run = cluster_cmd,
};
