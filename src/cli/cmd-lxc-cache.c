/* SPDX-License-Identifier: Apache-2.0
 *
 * The run-file cache by hand. No container manager is needed for it. */
#include "cmd.h"
#include "jutil.h"
#include "lxc-cache.h"
#include "lxc-live.h"
#include "lxc-state.h"
#include "ui.h"
#include "err-lxc.h"

#include <stdlib.h>
#include <string.h>

struct cache_opts {
	const char *cache_dir, *lxc_config, *hypervisor_config, *sha256;
};

#define O(field) offsetof(struct cache_opts, field)
static const struct opt cache_options[] = {
	{ "cache-dir", 0, "DIR", "where run files are kept on the host", OPT_STRING, O(cache_dir), "dir" },
	{ "lxc-config", 0, "FILE", "container configuration", OPT_STRING, O(lxc_config), "file" },
	{ "hypervisor-config", 0, "FILE", "hypervisor configuration", OPT_STRING, O(hypervisor_config),
	  "file" },
	{ "sha256", 0, "DIGEST", "what the added file must have", OPT_STRING, O(sha256) },
	{ 0 },
};

/* As much of a run as the cache needs. */
struct cache_run {
	struct lxc_options opt;
	struct lxc_settings set;
	struct lxc x; /* cfg and host owned */
	struct cachedir cache;
};

static void cache_run_done(struct cache_run *r)
{
	lxc_config_freep(&r->x.cfg);
	lxc_host_done(&r->x.host);
	freep(&r->x.live_dir);
	cachedir_done(&r->cache);
	lxc_settings_done(&r->set);
}

static int cache_run_open(struct app *app, const struct cache_opts *o, bool create, struct cache_run *ret,
			  struct err *e)
{
	const struct host *h = app->engine->host;
	int r;

	if (lxc_settings_copy(&ret->set, app->lxc_settings) < 0)
		return err_oom(e);
	if (o->cache_dir) {
		free(ret->set.cache_dir);
		ret->set.cache_dir = strdup(o->cache_dir);
	}
	if ((o->cache_dir && !ret->set.cache_dir) || lxc_settings_default(h, &ret->set) < 0)
		return err_oom(e);
	ret->opt.paths = (struct lxc_config_paths){ o->lxc_config, o->hypervisor_config };
	ret->x = (struct lxc){ .en = app->engine, .opt = &ret->opt, .set = &ret->set };
	ret->x.live_dir = lxc_host_path(h, LXC_LIVE_DIR);
	if (!ret->x.live_dir)
		return err_oom(e);
	r = lxc_config_load(h, &ret->opt.paths, &ret->x.cfg, e);
	if (r >= 0)
		r = lxc_host_read(h, &ret->x.host, e);
	return r < 0 ? r : lxc_cache_open(&ret->x, create, &ret->cache, e);
}

/* -- list, verify -- */

static int list_show(const struct app *app, const char *word, json_t *list)
{
	const json_t *o;
	size_t i;

	if (app->json)
		return out_json(word, json_pack("{s:o}", "entries", list));
	json_array_foreach (list, i, o) {
		out_text("%s  %s  %s%s%s\n", ui_str(o, "name", "?"),
			 ui_size((unsigned long long)json_integer_value(json_object_get(o, "size_bytes"))),
			 ui_str(o, "state", "?"), json_object_get(o, "reason") ? ": " : "",
			 ui_str(o, "reason", ""));
	}
	json_decref(list);
	return 0;
}

static int list_cmd(struct app *app, const struct cache_run *run, bool full, struct err *e)
{
	json_t *list = NULL;
	unsigned wrong = 0;
	int r = cachedir_list(&run->cache, full, &list, &wrong, e);

	if (r >= 0)
		r = list_show(app, full ? "lxc-cache-verify" : "lxc-cache-list", list);
	return r < 0 ? r : full && wrong > 0 ? 6 : 0;
}

/* -- fetch -- */

static int fetch_one(struct app *app, const struct cache_run *run, const struct lxc_ct_config *conf,
		     const char *version, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (app->dry_run) {
		out_text("would have %s in %s\n", conf->runfile ? conf->runfile : version, run->cache.path);
		return 0;
	}
	r = lxc_cache_ensure(&run->x, conf, version, &path, e);
	if (r >= 0 && !app->json)
		out_text("%s\n", path);
	return r;
}

static int fetch_word(struct app *app, const struct cache_run *run, const char *word, struct err *e)
{
	_cleanup_(lxc_ct_config_done) struct lxc_ct_config conf = { 0 };
	const struct lxc_ct_config none = { 0 };
	int r;

	if (lxc_version_is_valid(word))
		return fetch_one(app, run, &none, word, e);
	r = lxc_config_container(run->x.cfg, word, run->x.host.machine, false, &conf, e);
	if (r < 0)
		return r;
	if (!conf.version && !run->x.host.version)
		return err_set(e, ERR_LXC_NO_DRIVER,
			       "no version is configured for %s, and no driver is loaded", word);
	return fetch_one(app, run, &conf, conf.version ? conf.version : run->x.host.version, e);
}

static int fetch_cmd(struct app *app, const struct cache_run *run, int argc, char **argv, struct err *e)
{
	_cleanup_strv_ char **ids = NULL;
	int r = 0;

	for (int i = 0; r >= 0 && i < argc; i++)
		r = fetch_word(app, run, argv[i], e);
	if (r < 0 || argc > 0)
		return r;
	if (lxc_config_ids(run->x.cfg, true, &ids) < 0)
		return err_oom(e);
	if (!ids && !run->x.host.version)
		return err_set(e, ERR_USAGE, "nothing is configured and no driver is loaded: name a version");
	if (!ids)
		return fetch_word(app, run, run->x.host.version, e);
	for (char **p = ids; r >= 0 && *p; p++)
		r = fetch_word(app, run, *p, e);
	return r;
}

/* -- prune -- */

static int keep_configured(const struct cache_run *run, char ***keep, struct err *e)
{
	_cleanup_strv_ char **ids = NULL;
	int r = lxc_config_ids(run->x.cfg, false, &ids);

	for (char **p = ids; r >= 0 && p && *p; p++) {
		_cleanup_(lxc_ct_config_done) struct lxc_ct_config conf = { 0 };

		r = lxc_config_container(run->x.cfg, *p, run->x.host.machine, false, &conf, e);
		if (r < 0)
			return r; /* what cannot be read might be needed */
		if (conf.version)
			r = strv_push(keep, conf.version);
	}
	return r < 0 ? err_oom(e) : 0;
}

static int keep_recorded(const struct cache_run *run, char ***keep, struct err *e)
{
	_cleanup_strv_ char **ids = NULL;
	int r = lxc_record_ids(&run->x, &ids, e);

	for (char **p = ids; r >= 0 && p && *p; p++) {
		_cleanup_free_ char *target = str_printf("lxc-%s", *p);
		_cleanup_json_ json_t *record = NULL;
		const char *version;

		if (!target)
			return err_oom(e);
		r = lxc_record_read(&run->x, target, &record, e);
		version = r < 0 ? NULL : json_string_value(json_object_get(record, "version"));
		if (version && strv_push(keep, version) < 0)
			return err_oom(e);
	}
	return r;
}

static int keep_host(const struct cache_run *run, char ***keep)
{
	static const char *const links[] = { "current", "previous" };
	int r = run->x.host.version ? strv_push(keep, run->x.host.version) : 0;

	if (r >= 0 && run->x.host.user_version)
		r = strv_push(keep, run->x.host.user_version);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(links); i++) {
		_cleanup_free_ char *name = lxc_live_link(&run->x, links[i]), *version = NULL;

		if (name && lxc_live_version(name, &version) >= 0)
			r = strv_push(keep, version);
	}
	return r;
}

static int prune_cmd(struct app *app, const struct cache_run *run, struct err *e)
{
	_cleanup_strv_ char **keep = NULL;
	_cleanup_json_ json_t *gone = NULL;
	const json_t *o;
	size_t i;
	int r = keep_configured(run, &keep, e);

	if (r >= 0)
		r = keep_recorded(run, &keep, e);
	if (r >= 0 && keep_host(run, &keep) < 0)
		r = err_oom(e);
	if (r >= 0)
		r = cachedir_prune(&run->cache, keep, app->dry_run, &gone, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("lxc-cache-prune",
				json_pack("{s:O, s:b}", "removed", gone, "dry_run", (int)app->dry_run));
	json_array_foreach (gone, i, o)
		out_text("%s %s\n", app->dry_run ? "would remove" : "removed", ui_str(o, "name", "?"));
	return 0;
}

static int add_cmd(struct app *app, const struct cache_run *run, const struct cache_opts *o, const char *file,
		   struct err *e)
{
	int r;

	if (app->dry_run) {
		out_text("would add %s to %s\n", file, run->cache.path);
		return 0;
	}
	r = cachedir_add(&run->cache, file, o->sha256, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("lxc-cache-add", json_pack("{s:s, s:b}", "file", file, "added", r));
	out_text(r ? "%s added\n" : "%s is there already\n", file);
	return 0;
}

static int cache_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	static const struct {
		const char *word;
		int min_args, max_args;
		bool create;
	} rows[] = { { "list", 0, 0, false },
		     { "verify", 0, 0, false },
		     { "fetch", 0, 1000, true },
		     { "add", 1, 1, true },
		     { "prune", 0, 0, false } };
	_cleanup_(cache_run_done) struct cache_run run = { .cache = { -EBADF, NULL } };
	size_t i = 0;
	int r;

	while (i < ARRAY_LEN(rows) && strcmp(rows[i].word, argv[0]) != 0)
		i++;
	if (i == ARRAY_LEN(rows))
		return err_set(e, ERR_USAGE,
			       "lxc cache does not know '%s': list, add, fetch, verify or prune", argv[0]);
	if (argc - 1 < rows[i].min_args || argc - 1 > rows[i].max_args)
		return err_set(e, ERR_USAGE, "lxc cache %s takes %s", argv[0],
			       rows[i].max_args ? "the name of a file" : "no further words");
	r = cache_run_open(app, opts, rows[i].create && !app->dry_run, &run, e);
	if (r < 0)
		return r;
	switch (i) {
	case 0:
	case 1:
		return list_cmd(app, &run, i == 1, e);
	case 2:
		return fetch_cmd(app, &run, argc - 1, argv + 1, e);
	case 3:
		return add_cmd(app, &run, opts, argv[1], e);
	default:
		return prune_cmd(app, &run, e);
	}
}

const struct cmd cmd_lxc_cache = {
	.name = "lxc",
	.sub = "cache",
	.summary = "the run files kept for containers: list, add, fetch, verify, prune",
	.args = "ACTION [FILE|ID|VERSION]...",
	.min_args = 1,
	.max_args = -1,
	.description = "The directory of run files the hypervisor shares with its containers. list says what "
		       "is there and whether "
		       "it may be used; verify reads every byte and compares it with the record, status 6 "
		       "when something is wrong. "
		       "fetch has the run files of these containers or versions there (without words: of "
		       "every configured "
		       "container, else of the loaded driver). add takes a file brought by hand, for hosts "
		       "without a network, with "
		       "the same checks. prune removes what no container, the host, or the way back needs, "
		       "and what was moved "
		       "aside.",
	.examples = "nvdriver lxc cache add /mnt/usb/NVIDIA-Linux-x86_64-535.261.03.run\n  on a host without "
		    "a network\n",
	.options = cache_options,
	.opts_size = sizeof(struct cache_opts),
	.run = cache_cmd,
};
