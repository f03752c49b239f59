/* SPDX-License-Identifier: Apache-2.0
 *
 * After a change of the host's driver. */
#include "lxc-workflow.h"

#include "devholders.h"
#include "fd.h"
#include "log.h"
#include "lxc-current.h"
#include "lxc-live.h"
#include "lxc-state.h"
#include "parse.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MAPS_MAX ((size_t)64 << 20)

/* -- who still uses the driver before -- */

static int holder_add(json_t *list, int pid, const char *comm)
{
	const json_t *o;
	size_t i;

	json_array_foreach (list, i, o)
		if (json_integer_value(json_object_get(o, "pid")) == pid)
			return 0;
	return json_array_append_new(
		   list, json_pack("{s:i, s:o}", "pid", pid, "text", json_sprintf("%d %s", pid, comm))) < 0
		   ? -ENOMEM
		   : 0;
}

/* A line of proc/<pid>/maps: a library of the shared directory, of another version than this. */
static bool is_other_library(struct span line, const char *version)
{
	_cleanup_free_ char *text = span_dup(line);
	const char *at = text ? strstr(text, "/" LXC_LIVE_DEST "/") : NULL;
	const char *name = at ? strrchr(at, '/') : NULL, *so = name ? strstr(name, ".so.") : NULL;

	return so && strchr(so + 4, '.') && version_is_valid(so + 4) && strcmp(so + 4, version) != 0;
}

static int process_look(const char *pid, const char *version, json_t *list)
{
	_cleanup_free_ char *maps = str_printf("/proc/%s/maps", pid),
			    *comm = str_printf("/proc/%s/comm", pid), *text = NULL, *name = NULL;
	struct span rest, line;
	size_t len;

	if (!maps || !comm)
		return -ENOMEM;
	if (read_file_at(AT_FDCWD, maps, MAPS_MAX, &text, &len) < 0)
		return 0; /* gone, or no file of anybody's */
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		if (!is_other_library(line, version))
			continue;
		if (read_file_at(AT_FDCWD, comm, 4096, &name, &len) >= 0)
			name[strcspn(name, "\n")] = '\0';
		return holder_add(list, (int)strtol(pid, NULL, 10), name ? name : "?");
	}
	return 0;
}

static int library_users(const char *version, json_t *list)
{
	DIR *d = opendir("/proc");
	const struct dirent *de;
	int r = 0;

	while (d && r >= 0 && (de = readdir(d)))
		if (de->d_name[0] >= '1' && de->d_name[0] <= '9')
			r = process_look(de->d_name, version, list);
	if (d)
		(void)closedir(d);
	return r;
}

/* Processes that opened the old libraries keep them until they end, and their driver calls fail. */
static int holders_report(const struct lxc *x, const char *version, json_t *report)
{
	struct devholders d = DEVHOLDERS_INIT;
	json_t *list = json_array();
	int r = list ? devholders_find(x->en->host, "/dev/nvidia", &d) : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < d.n; i++)
		r = holder_add(list, d.v[i].pid, d.v[i].comm);
	devholders_done(&d);
	if (list && library_users(version, list) == -ENOMEM)
		return -ENOMEM;
	return list ? json_object_set_new(report, "holders", list) : -ENOMEM;
}

int lxc_host_nodes_make(const struct lxc *x, struct err *e)
{
	const struct lxc_node_wants wants = lxc_extras_nodes(x->opt->extras | lxc_record_extras(x, NULL));
	_cleanup_(lxc_nodes_done) struct lxc_nodes nodes = { 0 };
	struct lxc_minors all;
	int r;

	if (!x->host.n_gpus)
		return 0;
	r = lxc_assign(&x->host, NULL, &all, e);
	if (r >= 0)
		r = lxc_nodes_list(x->en->host, &x->host, &all, &wants, &nodes, e);
	return r < 0 ? r : lxc_nodes_make(x->en->host, &nodes, e);
}

static int shared_switch(const struct lxc *x, const char *version, bool only_prepare, json_t *report,
			 struct err *e)
{
	const struct lxc_ct_config none = { 0 };
	_cleanup_free_ char *name = NULL;
	char view_id[65];
	int r = lxc_live_prepare(x, &none, version, x->opt->extras | lxc_record_extras(x, NULL), view_id, e);

	if (r >= 0)
		r = lxc_current_mount(x, version, view_id, &name, e);
	if (r >= 0 && !only_prepare)
		r = lxc_current_set(x, name, e);
	if (r < 0)
		return r;
	(void)json_object_set_new(report, "current", json_string(name));
	(void)json_object_set_new(report, "result",
				  json_string(only_prepare ? "prepared"
					      : r	   ? "switched to"
							   : "current already:"));
	return r;
}

/* Where no image can be mounted nobody has the shared directory, and the others are served all the same. */
static bool nobody_shares(const struct lxc *x)
{
	_cleanup_strv_ char **ids = NULL;
	bool any = false;

	if (lxc_record_ids(x, &ids, NULL) < 0)
		return false;
	for (char **id = ids; id && *id; id++) {
		_cleanup_free_ char *target = str_printf("lxc-%s", *id);
		json_auto_t *record = NULL;

		if (!target || lxc_record_read(x, target, &record, NULL) < 0 || !lxc_record_has_files(record))
			return false;
		any = true;
	}
	return any;
}

static int shared_or_not(const struct lxc *x, const char *version, bool only_prepare, json_t *report,
			 struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r = shared_switch(x, version, only_prepare, report, &own);

	if ((r == -ERR_LXC_LIVE || r == -ERR_TOOL_MISSING) && !only_prepare && nobody_shares(x)) {
		log_warn("%s", own.reason ? own.reason : err_sentence(own.code));
		(void)json_object_set_new(report, "result", json_string("copied:"));
		(void)json_object_set_new(report, "current", json_string(version));
		return 0;
	}
	if (r < 0)
		err_move(e, &own);
	return r;
}

static bool is_stopped(const struct lxc *x, const char *id)
{
	_cleanup_(lxc_facts_done) struct lxc_facts facts = { 0 };

	return x->backend->ops->facts(x->backend, id, &facts, NULL) >= 0 && facts.state == LXC_STOPPED;
}

/* A module that was loaded again may have another number. What was proven or written for a container had the old one. */
static bool numbers_changed(const struct lxc *x, const char *id, const json_t *record)
{
	const json_t *nodes = json_object_get(json_object_get(record, "verified"), "nodes"), *old;
	_cleanup_(lxc_ct_done) struct lxc_ct ct = { 0 };
	size_t i;

	if (lxc_ct_open_host(x, id, &ct, NULL) < 0 || !ct.conf.enabled)
		return false;
	json_array_foreach (nodes, i, old) {
		const char *path = json_string_value(json_object_get(old, "path"));

		for (size_t k = 0; path && k < ct.nodes.n; k++)
			if (strcmp(ct.nodes.v[k].path, path) == 0 &&
			    (json_int_t)ct.nodes.v[k].major !=
				json_integer_value(json_object_get(old, "major")))
				return true;
	}
	return false;
}

static unsigned steps_needed(const struct lxc *x, const char *id, const json_t *record)
{
	if (lxc_record_has_files(record))
		return LXC_STEP_DEVICES | LXC_STEP_DRIVER;
	return numbers_changed(x, id, record) ? LXC_STEP_DEVICES : 0;
}

/* Containers with files of their own are installed again, one after another; who was stopped is stopped again. */
static int reinstall(const struct lxc *x, json_t *report, struct err *e)
{
	_cleanup_strv_ char **ids = NULL;
	json_t *list = json_array();
	int status = 0, r = lxc_record_ids(x, &ids, e);

	for (char **id = ids; r >= 0 && list && id && *id; id++) {
		_cleanup_free_ char *target = str_printf("lxc-%s", *id);
		struct lxc_options opt = *x->opt;
		json_auto_t *record = NULL;
		struct lxc one = *x;
		struct lxc_result result;
		unsigned steps;
		bool stopped;

		if (!target || lxc_record_read(x, target, &record, NULL) < 0 || !record)
			continue;
		steps = steps_needed(x, *id, record);
		if (!steps)
			continue;
		(void)lxc_delivery_parse(json_string_value(json_object_get(record, "delivery")),
					 &opt.delivery);
		one.opt = &opt;
		stopped = is_stopped(x, *id);
		status |= lxc_install(&one, id, 1, steps, &result, NULL);
		(void)json_array_append(list, result.report);
		lxc_result_done(&result);
		if (stopped && !is_stopped(x, *id))
			(void)x->backend->ops->stop(x->backend, *id, NULL);
	}
	(void)json_object_set_new(report, "containers", list);
	return r < 0 ? r : status ? 8 : 0;
}

int lxc_sync(const struct lxc *x, const char *prepare_version, json_t *report, struct err *e)
{
	const char *version = prepare_version ? prepare_version : x->host.version;
	int r;

	if (!version)
		return err_set(e, ERR_LXC_NO_DRIVER, "no NVIDIA driver is loaded on the host");
	if (x->en->dry_run) {
		(void)json_object_set_new(report, "result", json_string("would switch to"));
		(void)json_object_set_new(report, "current", json_string(version));
		return 0;
	}
	r = prepare_version ? 0 : lxc_host_nodes_make(x, e);
	if (r >= 0)
		r = shared_or_not(x, version, prepare_version != NULL, report, e);
	if (r < 0 || prepare_version)
		return r < 0 ? r : 0;
	if (r > 0 && holders_report(x, version, report) < 0)
		return err_oom(e);
	if (lxc_live_prune(x, NULL) > 0)
		log_info("earlier drivers nobody uses were unmounted");
	return reinstall(x, report, e);
}
