/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc.h"

#include "fd.h"
#include "log.h"
#include "lxc-enter.h"
#include "lxc-ownnodes.h"
#include "lxc-state.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static const char *const deliveries[] = { "auto", "shared", "tree", "run" };

const char *lxc_delivery_name(enum lxc_delivery d)
{
	return (size_t)d < ARRAY_LEN(deliveries) ? deliveries[d] : "auto";
}

int lxc_delivery_parse(const char *s, enum lxc_delivery *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(deliveries); i++)
		if (strcmp(s, deliveries[i]) == 0) {
			*ret = (enum lxc_delivery)i;
			return 0;
		}
	return -EINVAL;
}

static const struct {
	enum lxc_extra bit;
	const char *name;
} extras[] = { { LXC_EXTRA_GRAPHICS, "graphics" }, { LXC_EXTRA_COMPAT32, "compat32" },
	       { LXC_EXTRA_MIG, "mig" },	   { LXC_EXTRA_IMEX, "imex" },
	       { LXC_EXTRA_NVSWITCH, "nvswitch" }, { LXC_EXTRA_SOCKETS, "sockets" } };

json_t *lxc_extras_json(unsigned wanted)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < ARRAY_LEN(extras); i++)
		if (wanted & extras[i].bit)
			(void)json_array_append_new(list, json_string(extras[i].name));
	return list;
}

unsigned lxc_extras_take(const json_t *list)
{
	const json_t *o;
	unsigned found = 0;
	size_t i;

	json_array_foreach (list, i, o)
		for (size_t k = 0; k < ARRAY_LEN(extras); k++)
			if (json_is_string(o) && strcmp(json_string_value(o), extras[k].name) == 0)
				found |= extras[k].bit;
	return found;
}

void lxc_freep(struct lxc **x)
{
	if (!*x)
		return;
	lxc_config_freep(&(*x)->cfg);
	lxc_host_done(&(*x)->host);
	lxc_backend_freep(&(*x)->backend);
	free((*x)->state_dir);
	free((*x)->live_dir);
	freep(x);
}

static char *state_dir(const struct engine *en)
{
	_cleanup_free_ char *real = en->store ? realpath(en->store->path, NULL) : NULL;

	return str_printf("%s/targets", real ? real : "/var/lib/nvdriver");
}

int lxc_open(struct engine *en, const struct lxc_options *opt, const struct lxc_settings *set,
	     struct lxc **ret, struct err *e)
{
	_cleanup_(lxc_freep) struct lxc *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return err_oom(e);
	x->en = en;
	x->opt = opt;
	x->set = set;
	x->state_dir = state_dir(en);
	x->live_dir = lxc_host_path(en->host, "/run/nvdriver/live");
	if (!x->state_dir || !x->live_dir)
		return err_oom(e);
	r = lxc_config_load(en->host, &opt->paths, &x->cfg, e);
	if (r >= 0)
		r = lxc_host_read(en->host, &x->host, e);
	if (r >= 0)
		r = lxc_backend_open(opt->backend ? opt->backend : "auto", en->host, set, x->state_dir,
				     &x->backend, e);
	if (r < 0)
		return r;
	for (char **p = x->cfg->warnings; p && *p; p++)
		log_warn("%s", *p);
	*ret = TAKE_PTR(x);
	return 0;
}

/* -- one container -- */

void lxc_ct_done(struct lxc_ct *ct)
{
	lxc_ct_config_done(&ct->conf);
	lxc_nodes_done(&ct->nodes);
	lxc_facts_done(&ct->facts);
	lxc_place_done(&ct->place);
	json_decref(ct->record);
	free(ct->clone_of);
	*ct = (struct lxc_ct){ 0 };
}

static int version_wanted(struct lxc_ct *ct, struct err *e)
{
	const struct lxc *x = ct->x;

	if (lxc_host_reboot_pending(&x->host) && x->opt->policy == LXC_POLICY_STRICT && !ct->conf.version)
		log_warn("the host waits for a reboot: using the loaded driver %s", x->host.version);
	return lxc_version_choose(&x->host, x->opt->policy, ct->conf.version, x->opt->allow_no_host_driver,
				  &ct->want, e);
}

struct lxc_node_wants lxc_extras_nodes(unsigned wanted)
{
	return (struct lxc_node_wants){ .graphics = wanted & LXC_EXTRA_GRAPHICS,
					.mig = wanted & LXC_EXTRA_MIG,
					.imex = wanted & LXC_EXTRA_IMEX,
					.nvswitch = wanted & LXC_EXTRA_NVSWITCH };
}

/* What an earlier run was asked for is still wanted. */
static int record_take(struct lxc_ct *ct, struct err *e)
{
	const struct lxc_options *o = ct->x->opt;
	int r = lxc_record_read(ct->x, ct->target, &ct->record, e);

	ct->extras = o->extras;
	if (r >= 0 && !o->no_extras)
		ct->extras |= lxc_extras_take(json_object_get(ct->record, "extras"));
	return r;
}

static int devices_wanted(struct lxc_ct *ct, struct err *e)
{
	const struct lxc *x = ct->x;
	const struct lxc_node_wants wants = lxc_extras_nodes(ct->extras);
	int r;

	if (!x->host.version)
		return 0; /* a template: there is nothing to pass through yet */
	r = lxc_assign(&x->host, ct->conf.assignment, &ct->gpus, e);
	if (r >= 0)
		r = lxc_nodes_list(x->en->host, &x->host, &ct->gpus, &wants, &ct->nodes, e);
	/* A manager with device keys makes nodes of its own with the mode it is told. */
	if (r >= 0 && !x->backend->dev_keys && lxc_ownnodes_needed(&ct->nodes))
		r = lxc_ownnodes_use(&ct->nodes, ct->id) < 0 ? err_oom(e) : 0;
	return r;
}

static void origin_look(struct lxc_ct *ct)
{
	_cleanup_close_ int root = lxc_place_open(&ct->place);
	_cleanup_free_ char *id = NULL;

	freep(&ct->clone_of);
	if (root >= 0 && lxc_record_inside_id(root, &id) >= 0 && strcmp(id, ct->id) != 0)
		ct->clone_of = TAKE_PTR(id);
}

int lxc_ct_refresh(struct lxc_ct *ct, struct err *e)
{
	struct lxc_backend *b = ct->x->backend;
	int r;

	lxc_facts_done(&ct->facts);
	lxc_place_done(&ct->place);
	ct->facts = (struct lxc_facts){ 0 };
	ct->place = (struct lxc_place){ 0 };
	r = b->ops->facts(b, ct->conf.id, &ct->facts, e);
	if (r >= 0)
		r = b->ops->place(b, ct->conf.id, &ct->place, e);
	if (r >= 0)
		origin_look(ct);
	return r;
}

int lxc_ct_open_host(const struct lxc *x, const char *id, struct lxc_ct *ret, struct err *e)
{
	_cleanup_(lxc_ct_done) struct lxc_ct ct = { .x = x };
	int r = lxc_config_container(x->cfg, id, x->host.machine, x->backend->ops->is_pve, &ct.conf, e);

	if (r < 0)
		return r;
	snprintf(ct.target, sizeof(ct.target), "lxc-%s", id);
	ct.id = ct.conf.id;
	if (ct.conf.enabled) {
		r = version_wanted(&ct, e);
		if (r >= 0)
			r = record_take(&ct, e);
		if (r >= 0)
			r = devices_wanted(&ct, e);
	}
	if (r < 0)
		return r;
	*ret = ct;
	ct = (struct lxc_ct){ 0 };
	return 0;
}

int lxc_ct_open(const struct lxc *x, const char *id, struct lxc_ct *ret, struct err *e)
{
	_cleanup_(lxc_ct_done) struct lxc_ct ct = { 0 };
	int r = lxc_ct_open_host(x, id, &ct, e);

	if (r >= 0 && ct.conf.enabled)
		r = lxc_ct_refresh(&ct, e);
	if (r < 0)
		return r;
	*ret = ct;
	ct = (struct lxc_ct){ 0 };
	return 0;
}

int lxc_ct_nodes_make(struct lxc_ct *ct, struct err *e)
{
	const struct host *h = ct->x->en->host;
	int r = lxc_nodes_make(h, &ct->nodes, e);

	return r < 0 ? r : lxc_ownnodes_make(h, &ct->nodes, ct->place.root_uid, ct->place.root_gid, e);
}

int lxc_ct_run(const struct lxc_ct *ct, const char *what, char *const *argv, unsigned timeout_s,
	       char **ret_out, struct err *e)
{
	return lxc_run(ct->x->backend, ct->id, what, argv, timeout_s, ret_out, e);
}

/* -- its operating system -- */

#define OS_RELEASE_MAX ((size_t)64 << 10)

static bool is_musl(int root)
{
	return path_exists(root, "etc/alpine-release") || path_exists(root, "lib/ld-musl-x86_64.so.1") ||
	       path_exists(root, "lib/ld-musl-aarch64.so.1");
}

static int os_from_root(int root, struct os_release *ret, struct err *e)
{
	static const char *const files[] = { "etc/os-release", "usr/lib/os-release" };
	_cleanup_free_ char *text = NULL;
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (lxc_read_beneath(root, files[i], OS_RELEASE_MAX, &text, &len) >= 0)
			return os_release_parse(text, len, ret, e);
	return -ENOENT;
}

int lxc_ct_os(const struct lxc_ct *ct, struct os_release *ret, struct err *e)
{
	_cleanup_close_ int root = lxc_place_open(&ct->place);
	int r = root < 0 ? root : os_from_root(root, ret, e);

	if (r < 0 && r != -ENOENT)
		return err_recode(e, ERR_LXC_OS);
	if (r < 0 && ct->conf.os_id) {
		*ret = (struct os_release){ .id = strdup(ct->conf.os_id),
					    .version_id = strdup(ct->conf.os_version) };
		return ret->id && ret->version_id ? 0 : err_oom(e);
	}
	if (r < 0)
		return err_set(e, ERR_LXC_OS, "container %s does not say what system it is", ct->id);
	if (is_musl(root) || (ret->id && strcmp(ret->id, "alpine") == 0)) {
		(void)err_set(e, ERR_LXC_OS, "container %s is %s %s, whose C library the driver cannot use",
			      ct->id, ret->id ? ret->id : "?", ret->version_id ? ret->version_id : "");
		os_release_done(ret);
		return err_object(e, "%s", ct->id);
	}
	return 0;
}
