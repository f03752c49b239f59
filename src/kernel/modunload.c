/* SPDX-License-Identifier: Apache-2.0
 *
 * Unloading: whoever holds a module goes first. Everything that can be known beforehand is looked at before the
 * first module is touched, and the kernel's list is read again after every step: the status of a removal says little. */
#include "modload.h"

#include "devholders.h"
#include "kmods.h"
#include "log.h"
#include "strbuf.h"

#include <errno.h>
#include <string.h>

/* The driver's modules and those made for it. The order only decides between modules nobody holds. */
static const char *const nvidia_modules[] = { "gdrdrv",		"nvidia_fs",	    "nv_peer_mem",
					      "nvidia_peermem", "nvidia_vgpu_vfio", "nvidia_drm",
					      "nvidia_modeset", "nvidia_uvm",	    "nvidia",
					      "nvidia_frontend" };

static size_t rank(const char *name)
{
	size_t i = 0;

	while (i < ARRAY_LEN(nvidia_modules) && !kmod_name_eq(nvidia_modules[i], name))
		i++;
	return i;
}

static bool is_nvidia(const char *name)
{
	return rank(name) < ARRAY_LEN(nvidia_modules);
}

/* Loaded modules to remove: the named ones and the driver's modules that hold them. */
static int add_target(const struct kmods *k, const char *name, char ***targets, struct err *e)
{
	const struct kmod_info *m = kmods_find(k, name);
	int r;

	if (!m || (*targets && strv_contains(*targets, m->name)))
		return 0;
	r = strv_push(targets, m->name);
	if (r < 0)
		return err_oom(e);
	for (char **u = m->holders; r == 0 && u && *u; u++)
		if (is_nvidia(*u))
			r = add_target(k, *u, targets, e);
	return r;
}

static int find_targets(const struct kmods *k, const char *const *names, char ***targets, struct err *e)
{
	int r = 0;

	if (names)
		for (; r == 0 && *names; names++)
			r = add_target(k, *names, targets, e);
	else
		for (size_t i = 0; r == 0 && i < ARRAY_LEN(nvidia_modules); i++)
			r = add_target(k, nvidia_modules[i], targets, e);
	return r;
}

/* -- in use: by whom -- */

static void name_processes(const struct host *h, struct strbuf *out, bool *ret_daemon)
{
	_cleanup_(devholders_done) struct devholders d = DEVHOLDERS_INIT;

	if (devholders_find(h, "/dev/nvidia", &d) < 0)
		return;
	for (size_t i = 0; i < d.n; i++) {
		(void)strbuf_printf(out, "%s%s %s (pid %d, %s)", out->len ? ", " : "",
				    d.v[i].daemon ? "daemon" : "process", d.v[i].comm, d.v[i].pid,
				    d.v[i].nodes[0]);
		*ret_daemon |= d.v[i].daemon;
	}
}

static int in_use(const struct host *h, const char *name, const char *holders, int refcount, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf who = STRBUF_INIT(65536);
	bool daemon = false;

	if (!holders)
		name_processes(h, &who, &daemon);
	if (holders)
		err_set(e, ERR_MODULE_IN_USE, "%s is used by module %s", name, holders);
	else if (who.len)
		err_set(e, ERR_MODULE_IN_USE, "%s is used by %s", name, strbuf_str(&who));
	else
		err_set(e, ERR_MODULE_IN_USE,
			"%s has %d users the kernel does not name (a console, a mount, or another container)",
			name, refcount);
	(void)err_object(e, "%s", name);
	if (daemon)
		(void)err_next(
		    e,
		    "stop the daemon's service (systemctl stop nvidia-persistenced, …), then unload again");
	return -ERR_MODULE_IN_USE;
}

/* What can be seen without touching anything: foreign holders, and more users than holders. */
static int check_free(const struct host *h, const struct kmods *k, char *const *targets, struct err *e)
{
	for (; targets && *targets; targets++) {
		const struct kmod_info *m = kmods_find(k, *targets);
		size_t holders = strv_len(m->holders);

		for (char **u = m->holders; u && *u; u++)
			if (!is_nvidia(*u))
				return in_use(h, m->name, *u, m->refcount, e);
		if (m->refcount < 0)
			return err_set(e, ERR_MODULE_LOAD, "%s: this kernel cannot unload modules", m->name);
		if ((size_t)m->refcount > holders)
			return in_use(h, m->name, NULL, m->refcount, e);
	}
	return 0;
}

/* -- removal -- */

/* The next target nobody holds, first in the written order; NULL when all that are left are held. */
static const struct kmod_info *next_free(const struct kmods *k, char *const *targets)
{
	const struct kmod_info *best = NULL;

	for (; targets && *targets; targets++) {
		const struct kmod_info *m = kmods_find(k, *targets);

		if (m && !strv_len(m->holders) && (!best || rank(m->name) < rank(best->name)))
			best = m;
	}
	return best;
}

static size_t left(const struct kmods *k, char *const *targets)
{
	size_t n = 0;

	for (; targets && *targets; targets++)
		n += kmods_find(k, *targets) != NULL;
	return n;
}

static int read_modules(const struct host *h, struct kmods *k, struct err *e)
{
	int r = kmods_read(h, k);

	if (r == -ENOENT)
		return err_set(e, ERR_UNSUPPORTED, "this kernel has no loadable modules (no %s/proc/modules)",
			       h->is_running ? "" : h->root);
	return r < 0 ? err_errno(e, r, "reading the list of loaded modules") : 0;
}

static int remove_one(const struct host *h, const struct modload_ops *ops, const char *name, json_t *removed,
		      struct err *e)
{
	_cleanup_(kmods_done) struct kmods after = KMODS_INIT;
	const struct kmod_info *m;
	int r = ops->remove(ops->arg, name), again = read_modules(h, &after, e);

	if (again < 0)
		return again;
	m = kmods_find(&after, name);
	if (!m)
		return json_array_append_new(removed, json_string(name)) < 0 ? err_oom(e) : 0;
	if (r == -EPERM) {
		err_set(e, ERR_MODULE_PERMISSION, "%s: this process may not remove modules", name);
		return err_object(e, "%s", name);
	}
	if (r == 0 || r == -EAGAIN || r == -EBUSY || r == -EWOULDBLOCK)
		return in_use(h, name, strv_len(m->holders) ? m->holders[0] : NULL, m->refcount, e);
	return modload_explain(r, name, "", e);
}

static int remove_all(const struct host *h, const struct modload_ops *ops, char *const *targets,
		      json_t *removed, struct err *e)
{
	for (;;) {
		_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
		_cleanup_free_ char *name = NULL;
		const struct kmod_info *m;
		int r = read_modules(h, &k, e);

		if (r < 0)
			return r;
		if (!left(&k, targets))
			return 0;
		m = next_free(&k, targets);
		if (!m)
			return err_set(e, ERR_MODULE_IN_USE, "every module left is held by another");
		name = strdup(m->name);
		if (!name)
			return err_oom(e);
		log_debug("removing %s", name);
		r = remove_one(h, ops, name, removed, e);
		if (r < 0)
			return r;
	}
}

int modload_unload(const struct host *h, const struct modload_ops *ops, const char *const *names,
		   struct modload_report *ret, struct err *e)
{
	_cleanup_(modload_report_done) struct modload_report report = { json_array(), json_array(),
									json_array(), json_array() };
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	_cleanup_strv_ char **targets = NULL;
	int r = read_modules(h, &k, e);

	if (!report.loaded || !report.present || !report.removed || !report.failed)
		return err_oom(e);
	if (r < 0)
		return r;
	r = find_targets(&k, names, &targets, e);
	if (r == 0)
		r = check_free(h, &k, targets, e);
	if (r == 0)
		r = remove_all(h, ops, targets, report.removed, e);
	if (r < 0)
		return r;
	*ret = report;
	report = (struct modload_report)MODLOAD_REPORT_INIT;
	return 0;
}

static bool is_target(char *const *targets, const char *name)
{
	return targets && strv_contains(targets, name);
}

/* The order an undisturbed run would take, worked out on a copy of the holders. */
static int plan_order(const struct kmods *k, char **targets, json_t *steps)
{
	_cleanup_strv_ char **gone = NULL;
	size_t n = strv_len(targets);

	while (strv_len(gone) < n) {
		const char *best = NULL;

		for (char **t = targets; *t; t++) {
			const struct kmod_info *m = kmods_find(k, *t);
			bool held = false;

			for (char **u = m->holders; u && *u; u++)
				held |= is_target(targets, *u) && !is_target(gone, *u);
			if (!held && !is_target(gone, *t) && (!best || rank(*t) < rank(best)))
				best = *t;
		}
		if (!best)
			return -ELOOP;
		if (strv_push(&gone, best) < 0 ||
		    json_array_append_new(steps, json_sprintf("unload %s", best)) < 0)
			return -ENOMEM;
	}
	return 0;
}

int modunload_plan(const struct host *h, const char *const *names, json_t **ret_steps, struct err *e)
{
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	_cleanup_strv_ char **targets = NULL;
	json_t *steps;
	int r = read_modules(h, &k, e);

	if (r < 0)
		return r;
	r = find_targets(&k, names, &targets, e);
	if (r == 0)
		r = check_free(h, &k, targets, e);
	if (r < 0)
		return r;
	steps = json_array();
	r = steps ? plan_order(&k, targets, steps) : -ENOMEM;
	if (r < 0) {
		json_decref(steps);
		return err_errno(e, r, "order of unloading");
	}
	*ret_steps = steps;
	return 0;
}
