/* SPDX-License-Identifier: Apache-2.0
 *
 * After a change of the host's driver. */
#include "lxc-workflow.h"

#include "devholders.h"
#include "log.h"
#include "lxc-live.h"
#include "lxc-state.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <stdlib.h>
#include <string.h>

/* Processes that opened the old libraries keep them until they end, and their driver calls fail. */
static int holders_report(const struct lxc *x, json_t *report)
{
	struct devholders d = DEVHOLDERS_INIT;
	json_t *list = json_array();
	int r = devholders_find(x->en->host, "/dev/nvidia", &d);

	for (size_t i = 0; r >= 0 && list && i < d.n; i++)
		(void)json_array_append_new(list, json_pack("{s:i, s:o}", "pid", d.v[i].pid, "text",
							    json_sprintf("%d %s", d.v[i].pid, d.v[i].comm)));
	devholders_done(&d);
	return list ? json_object_set_new(report, "holders", list) : -ENOMEM;
}

int lxc_host_nodes_make(const struct lxc *x, struct err *e)
{
	const struct lxc_node_wants wants = { .graphics = x->opt->graphics, .mig = x->opt->mig };
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
	int r = lxc_live_prepare(x, &none, version, view_id, e);

	if (r >= 0)
		r = lxc_live_mount(x, version, view_id, &name, e);
	if (r >= 0 && !only_prepare)
		r = lxc_live_switch(x, name, e);
	if (r < 0)
		return r;
	(void)json_object_set_new(report, "current", json_string(name));
	(void)json_object_set_new(report, "result",
				  json_string(only_prepare ? "prepared"
					      : r	   ? "switched to"
							   : "current already:"));
	return r;
}

static bool has_own_files(const json_t *record)
{
	const char *d = json_string_value(json_object_get(record, "delivery"));

	return d && strcmp(d, "shared") != 0 && strcmp(d, "auto") != 0;
}

/* Containers with files of their own are installed again, one after another. */
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

		if (!target || lxc_record_read(x, target, &record, NULL) < 0 || !has_own_files(record))
			continue;
		(void)lxc_delivery_parse(json_string_value(json_object_get(record, "delivery")),
					 &opt.delivery);
		one.opt = &opt;
		status |= lxc_install(&one, id, 1, LXC_STEP_DEVICES | LXC_STEP_DRIVER, &result, NULL);
		(void)json_array_append(list, result.report);
		lxc_result_done(&result);
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
		r = shared_switch(x, version, prepare_version != NULL, report, e);
	if (r < 0 || prepare_version)
		return r < 0 ? r : 0;
	if (r > 0 && holders_report(x, report) < 0)
		return err_oom(e);
	if (lxc_live_prune(x, NULL) > 0)
		log_info("earlier drivers nobody uses were unmounted");
	return reinstall(x, report, e);
}
