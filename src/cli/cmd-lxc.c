/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "config.h"
#include "log.h"
#include "lxc-boot.h"
#include "lxc-current.h"
#include "lxc-live.h"
#include "lxc-log.h"
#include "lxc-state.h"
#include "lxc-workflow.h"
#include "ui.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct lxc_opts {
	const char *backend, *delivery, *order, *policy, *cuda, *restart, *lxc_config, *hypervisor_config,
	    *level, *cache_dir, *style, *container_tmp, *nvcc, *prepare, *snapshot;
	uint64_t jobs;
	bool all, no_toolkit, container_toolkit, keep_runfile, apt_clean, replace_packages, graphics, mig,
	    compat32, imex, nvswitch, sockets, no_extras;
	bool allow_no_host_driver, allow_missing_devices, rollback, no_rollback, force, debug, fix, cuda_init,
	    boot, wait, compat, no_compat;
};

#define O(field) offsetof(struct lxc_opts, field)
#define COMMON_OPTIONS                                                                                         \
	{ "all", 0, NULL, "all containers the configuration enables", OPT_FLAG, O(all) },                      \
	    { "backend",                                                                                       \
	      0,                                                                                               \
	      "NAME",                                                                                          \
	      "container manager: auto, pct, lxc or incus",                                                    \
	      OPT_STRING,                                                                                      \
	      O(backend),                                                                                      \
	      "auto pct lxc incus" },                                                                          \
	    { "lxc-config", 0, "FILE", "container configuration", OPT_STRING, O(lxc_config), "file" },         \
	    { "hypervisor-config",  0,	   "FILE", "hypervisor configuration", OPT_STRING,                     \
	      O(hypervisor_config), "file" },                                                                  \
	    { "version-policy",		  0, "POLICY", "strict, follow-host or config", OPT_STRING, O(policy), \
	      "strict follow-host config" },                                                                   \
	    { "allow-no-host-driver", 0, NULL, "go on without a loaded driver, to build a template", OPT_FLAG, \
	      O(allow_no_host_driver) },                                                                       \
	    { "graphics", 0, NULL, "graphics files and nodes too", OPT_FLAG, O(graphics) },                    \
	    { "mig", 0, NULL, "capability nodes for MIG too", OPT_FLAG, O(mig) },                              \
	    { "imex", 0, NULL, "the host's channels of memory exchange (IMEX) too", OPT_FLAG, O(imex) },       \
	    { "nvswitch", 0, NULL, "nodes of NVSwitch and NVLink too", OPT_FLAG, O(nvswitch) },                \
	    { "sockets", 0,                                                                                    \
	      NULL,	 "sockets of the host's persistence daemon, fabric manager and MPS too",               \
	      OPT_FLAG,	 O(sockets) },                                                                         \
	    { "no-extras", 0, NULL, "forget graphics, mig, imex … of earlier runs", OPT_FLAG, O(no_extras) },  \
	{                                                                                                      \
		"debug", 0, NULL, "as -v", OPT_FLAG, O(debug), NULL, true                                      \
	}
#define CHANGE_OPTIONS                                                                                            \
	{                                                                                                         \
		"delivery",                                                                                       \
		0,                                                                                                \
		"HOW",                                                                                            \
		"shared, tree, run, or auto",                                                                     \
		OPT_STRING,                                                                                       \
		O(delivery),                                                                                      \
		"auto shared tree run"                                                                            \
	},                                                                                                        \
	    { "restart",                                                                                          \
	      0,                                                                                                  \
	      "WHEN",                                                                                             \
	      "restart a container whose devices cannot be added: auto, never, always",                           \
	      OPT_STRING,                                                                                         \
	      O(restart),                                                                                         \
	      "auto never always" },                                                                              \
	    { "jobs",                                                                                             \
	      'j',                                                                                                \
	      "N",                                                                                                \
	      "containers at a time; default: processors, 8 times as many where only records are written",        \
	      OPT_U64,                                                                                            \
	      O(jobs) },                                                                                          \
	    { "snapshot", 0,	      "NAME", "first take a snapshot of each container that will be changed",     \
	      OPT_STRING, O(snapshot) },                                                                          \
	    { "rollback", 0, NULL, "take everything back after a failure", OPT_FLAG, O(rollback) },               \
	    { "no-rollback", 0, NULL, "keep what was finished before a failure", OPT_FLAG, O(no_rollback) },      \
	    { "replace-packages",                                                                                 \
	      0,                                                                                                  \
	      NULL,                                                                                               \
	      "purge packages of the container's distribution that bring a driver",                               \
	      OPT_FLAG,                                                                                           \
	      O(replace_packages) },                                                                              \
	    { "keep-runfile", 0, NULL, "leave the pushed run file in the container", OPT_FLAG, O(keep_runfile) }, \
	    { "compat32", 0, NULL, "the 32-bit libraries too", OPT_FLAG, O(compat32) },                           \
	    { "compat", 0,                                                                                        \
	      NULL,	"leave CUDA's compatibility libraries to the loader; the check reports them",             \
	      OPT_FLAG, O(compat) },                                                                              \
	    { "no-compat", 0,		NULL, "keep CUDA's compatibility libraries from the loader (default)",    \
	      OPT_FLAG,	   O(no_compat) },                                                                        \
	    { "level",                                                                                            \
	      0,                                                                                                  \
	      "LEVEL",                                                                                            \
	      "check up to: static, device, live",                                                                \
	      OPT_STRING,                                                                                         \
	      O(level),                                                                                           \
	      "static device live" },                                                                             \
	    { "container-tmp", 0, "DIR", "where the run file is put in the container", OPT_STRING,                \
	      O(container_tmp) },                                                                                 \
	    { "cache-dir", 0, "DIR", "where run files are kept on the host", OPT_STRING, O(cache_dir), "dir" },   \
	    { "style",	  0,	    "STYLE",	     "LXC configuration: include or inline",                      \
	      OPT_STRING, O(style), "include inline" },                                                           \
	{                                                                                                         \
		"allow-missing-devices", 0, NULL, "go on although a device is not usable inside", OPT_FLAG,       \
		    O(allow_missing_devices)                                                                      \
	}
#define TOOLKIT_OPTIONS                                                                                           \
	{ "no-toolkit", 0, NULL, "leave the CUDA toolkit alone", OPT_FLAG, O(no_toolkit) },                       \
	    { "cuda", 0, "VERSION", "CUDA toolkit version", OPT_STRING, O(cuda) },                                \
	    { "order",                                                                                            \
	      0,                                                                                                  \
	      "ORDER",                                                                                            \
	      "driver-first or toolkit-first",                                                                    \
	      OPT_STRING,                                                                                         \
	      O(order),                                                                                           \
	      "driver-first toolkit-first" },                                                                     \
	    { "container-toolkit",                                                                                \
	      0,                                                                                                  \
	      NULL,                                                                                               \
	      "NVIDIA's container tools too, for containers that run containers",                                 \
	      OPT_FLAG,                                                                                           \
	      O(container_toolkit) },                                                                             \
	    { "nvcc", 0, "HOW", "fail or warn when nvcc is missing or wrong", OPT_STRING, O(nvcc), "fail warn" }, \
	{                                                                                                         \
		"apt-clean", 0, NULL, "drop what the package manager downloaded", OPT_FLAG, O(apt_clean)          \
	}

static const struct opt install_options[] = { COMMON_OPTIONS, CHANGE_OPTIONS, TOOLKIT_OPTIONS, { 0 } };
static const struct opt devices_options[] = { COMMON_OPTIONS, CHANGE_OPTIONS, { 0 } };
static const struct opt look_options[] = {
	COMMON_OPTIONS,
	{ "level", 0, "LEVEL", "static, device, live; default: all that apply", OPT_STRING, O(level),
	  "static device live" },
	{ 0 },
};
static const struct opt verify_options[] = {
	COMMON_OPTIONS,
	{ "level", 0, "LEVEL", "static, device, live; default: all that apply", OPT_STRING, O(level),
	  "static device live" },
	{ "cuda-init", 0, NULL, "also run a small program inside that starts CUDA", OPT_FLAG, O(cuda_init) },
	{ "fix", 0, NULL, "repair what install would", OPT_FLAG, O(fix) },
	{ "jobs", 'j', "N",
	  "containers at a time; default: processors, 8 times as many where only records are written",
	  OPT_U64, O(jobs) },
	{ 0 },
};
static const struct opt sync_options[] = {
	COMMON_OPTIONS,
	CHANGE_OPTIONS,
	{ "prepare", 0, "VERSION", "only fetch, unpack and mount this version, for a planned upgrade",
	  OPT_STRING, O(prepare) },
	{ "boot", 0, NULL,
	  "before containers start: modules, nodes, mounts, configurations; starts and fetches nothing",
	  OPT_FLAG, O(boot) },
	{ "wait", 0, NULL, "first wait until the driver that is being loaded has started", OPT_FLAG,
	  O(wait) },
	{ 0 },
};
static const struct opt undo_options[] = {
	COMMON_OPTIONS,
	{ "force", 0, NULL, "leave files somebody changed as they are and take back the rest", OPT_FLAG,
	  O(force) },
	{ 0 },
};

/* -- from words to options -- */

struct lxc_run {
	struct lxc_options opt;
	struct lxc_settings set; /* borrowed strings of the configuration file are copied in */
	struct lxc *x; /* owned */
};

static void run_done(struct lxc_run *r)
{
	lxc_freep(&r->x);
	lxc_settings_done(&r->set);
}

static int word(const char *option, const char *value, const char *const *words, int *ret, struct err *e)
{
	*ret = 0;
	for (int i = 0; value && words[i]; i++)
		if (strcmp(value, words[i]) == 0) {
			*ret = i;
			return 0;
		}
	return value ? err_set(e, ERR_USAGE, "--%s does not know '%s'", option, value) : 0;
}

static unsigned extras_of(const struct lxc_opts *o)
{
	return (o->graphics ? LXC_EXTRA_GRAPHICS : 0) | (o->compat32 ? LXC_EXTRA_COMPAT32 : 0) |
	       (o->mig ? LXC_EXTRA_MIG : 0) | (o->imex ? LXC_EXTRA_IMEX : 0) |
	       (o->nvswitch ? LXC_EXTRA_NVSWITCH : 0) | (o->sockets ? LXC_EXTRA_SOCKETS : 0);
}

/* What every manager takes, and none for an option. */
static bool snapshot_name_is_valid(const char *name)
{
	return isalpha((unsigned char)*name) && strlen(name) <= 40 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
		   strlen(name);
}

static int options_take(const struct lxc_opts *o, struct lxc_options *opt, struct err *e)
{
	static const char *const deliveries[] = { "auto", "shared", "tree", "run", NULL };
	static const char *const policies[] = { "strict", "follow-host", "config", NULL };
	static const char *const restarts[] = { "auto", "never", "always", NULL };
	static const char *const levels[] = { "static", "device", "live", NULL };
	static const char *const orders[] = { "driver-first", "toolkit-first", NULL };
	static const char *const nvccs[] = { "fail", "warn", NULL };
	int d, p, r, l, k, n, rc;

	rc = word("delivery", o->delivery, deliveries, &d, e);
	rc = rc < 0 ? rc : word("version-policy", o->policy, policies, &p, e);
	rc = rc < 0 ? rc : word("restart", o->restart, restarts, &r, e);
	rc = rc < 0 ? rc : word("level", o->level, levels, &l, e);
	rc = rc < 0 ? rc : word("order", o->order, orders, &k, e);
	rc = rc < 0 ? rc : word("nvcc", o->nvcc, nvccs, &n, e);
	if (rc < 0)
		return rc;
	if (o->snapshot && !snapshot_name_is_valid(o->snapshot))
		return err_set(e, ERR_USAGE, "--snapshot %s: a letter, then letters, digits, - and _",
			       o->snapshot);
	if (o->cuda && !lxc_cuda_version_is_valid(o->cuda))
		return err_set(e, ERR_USAGE, "--cuda %s: a CUDA version such as 12.8", o->cuda);
	*opt = (struct lxc_options){ .backend = o->backend,
				     .delivery = (enum lxc_delivery)d,
				     .policy = (enum lxc_policy)p,
				     .restart = (enum lxc_restart)r,
				     .level = o->level ? (enum lxc_level)l : LXC_LEVEL_ALL,
				     .toolkit_first = k == 1,
				     .nvcc_warn = n == 1,
				     .snapshot = o->snapshot,
				     .cuda = o->cuda,
				     .jobs = (unsigned)o->jobs,
				     .no_toolkit = o->no_toolkit,
				     .container_toolkit = o->container_toolkit,
				     .keep_runfile = o->keep_runfile,
				     .apt_clean = o->apt_clean,
				     .replace_packages = o->replace_packages,
				     .extras = extras_of(o),
				     .no_extras = o->no_extras,
				     .compat = o->compat && !o->no_compat,
				     .allow_no_host_driver = o->allow_no_host_driver,
				     .allow_missing_devices = o->allow_missing_devices,
				     .rollback = !o->no_rollback,
				     .force = o->force,
				     .cuda_init = o->cuda_init,
				     .paths = { o->lxc_config, o->hypervisor_config } };
	return 0;
}

static int setting(char **to, const char *value)
{
	if (!value)
		return 0;
	free(*to);
	*to = strdup(value);
	return *to ? 0 : -ENOMEM;
}

static bool environment_is_true(const char *name)
{
	const char *value = getenv(name);

	return value && strcmp(value, "true") == 0;
}

/* Unless another was named. What only looks may not be allowed to, which is fine. */
static void role_log(struct app *app)
{
	int fd = app->dry_run || app->log_fd >= 0 ? -1 : lxc_log_open(app->engine->host);

	if (fd < 0)
		return;
	app->log_fd = fd;
	log_role(fd, "lxc");
}

/* ids: how many were given, -1 where that says nothing. */
static int run_open(struct app *app, const struct lxc_opts *o, int ids, struct lxc_run *ret, struct err *e)
{
	int r = options_take(o, &ret->opt, e);

	if (r >= 0 && ids >= 0 && o->all == (ids > 0))
		r = err_set(e, ERR_USAGE,
			    o->all ? "give ids or --all, not both" : "name a container, or --all");

	if (r < 0)
		return r;
	if (environment_is_true("PHOENIX_DRY_RUN"))
		app->dry_run = app->engine->dry_run = true;
	role_log(app);
	if (lxc_settings_copy(&ret->set, app->lxc_settings) < 0 ||
	    setting(&ret->set.cache_dir, o->cache_dir) < 0 || setting(&ret->set.style, o->style) < 0 ||
	    setting(&ret->set.container_tmp, o->container_tmp) < 0 ||
	    lxc_settings_default(app->engine->host, &ret->set) < 0)
		return err_oom(e);
	r = lxc_open(app->engine, &ret->opt, &ret->set, &ret->x, e);
	if (r < 0)
		return r;
	if (o->debug || environment_is_true("PHOENIX_DEBUG") ||
	    lxc_config_flag(ret->x->cfg, "debug_mode", false))
		log_raise(LOG_DEBUG_LEVEL);
	if (!o->rollback && !o->no_rollback)
		ret->opt.rollback = lxc_config_flag(ret->x->cfg, "rollback_on_failure", true);
	return 0;
}

/* -- which containers -- */

static int ids_take(const struct lxc_run *run, int argc, char **argv, char ***ret, struct err *e)
{
	for (int i = 0; i < argc; i++)
		if (strv_push(ret, argv[i]) < 0)
			return err_oom(e);
	if (argc > 0)
		return 0;
	if (lxc_config_ids(run->x->cfg, true, ret) < 0)
		return err_oom(e);
	/* Without a configuration: those that were installed by hand. */
	return *ret ? 0 : lxc_record_ids(run->x, ret, e);
}

/* -- results -- */

static void print_list(const char *label, const json_t *list, const char *key)
{
	const json_t *o;
	size_t i;

	json_array_foreach (list, i, o)
		out_text("  %s%s\n", label, key ? ui_str(o, key, "?") : json_string_value(o));
}

static void print_result(const json_t *r)
{
	const json_t *error = json_object_get(r, "error");

	out_text("%s%s%s%s: %s", ui_str(r, "id", "?"), json_object_get(r, "name") ? " (" : "",
		 ui_str(r, "name", ""), json_object_get(r, "name") ? ")" : "", ui_str(r, "result", "?"));
	if (json_object_get(r, "version"))
		out_text(", driver %s", ui_str(r, "version", "?"));
	out_text("\n");
	print_list("done: ", json_object_get(r, "steps"), NULL);
	print_list("problem: ", json_object_get(r, "problems"), "problem");
	if (error)
		out_text("  %s [%s]\n  next: %s\n", ui_str(error, "reason", "?"), ui_str(error, "slug", "?"),
			 ui_str(error, "next_step", "?"));
}

static int results_print(struct app *app, const char *command, struct lxc_result *results, size_t n,
			 int status, struct err *e)
{
	json_t *list = json_array(), *o;

	for (size_t i = 0; i < n; i++) {
		if (!app->json && results[i].report)
			print_result(results[i].report);
		if (list && results[i].report)
			(void)json_array_append(list, results[i].report);
		lxc_result_done(&results[i]);
	}
	if (app->json) {
		o = list ? json_pack("{s:O, s:i}", "containers", list, "status", status) : NULL;
		json_decref(list);
		return o ? (out_json(command, o) < 0 ? 1 : status) : err_oom(e);
	}
	json_decref(list);
	return status;
}

/* A host whose containers have devices has to have them at the next boot too. That this cannot be arranged takes nothing
 * away from what was done. */
static void boot_unit(const struct lxc *x, unsigned steps, int status, struct strbuf *text)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_strv_ char **ids = NULL;

	if (status != 0 || !(steps & LXC_STEP_DEVICES) || lxc_record_ids(x, &ids, NULL) < 0 ||
	    (!ids && !x->en->dry_run))
		return;
	if (lxc_boot_unit_install(x, text, &own) < 0)
		log_warn("%s: %s", LXC_BOOT_UNIT, own.reason ? own.reason : "not installed");
}

static void boot_unit_end(const struct lxc *x)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_strv_ char **ids = NULL;

	if (lxc_record_ids(x, &ids, NULL) < 0 || ids || x->en->dry_run)
		return;
	if (lxc_boot_unit_remove(x, &own) < 0)
		log_warn("%s: %s", LXC_BOOT_UNIT, own.reason ? own.reason : "not removed");
}

static int install_run(struct app *app, const struct lxc_opts *o, int argc, char **argv, unsigned steps,
		       const char *command, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_(run_done) struct lxc_run run = { 0 };
	_cleanup_free_ struct lxc_result *results = NULL;
	_cleanup_strv_ char **ids = NULL;
	size_t n;
	int r = run_open(app, o, argc, &run, e);

	if (r >= 0)
		r = ids_take(&run, argc, argv, &ids, e);
	if (r < 0)
		return r;
	n = strv_len(ids);
	results = calloc(n ? n : 1, sizeof(*results));
	if (!results)
		return err_oom(e);
	r = lxc_install(run.x, ids, n, steps, results, app->dry_run && !app->json ? &text : NULL);
	boot_unit(run.x, steps, r, app->dry_run && !app->json ? &text : NULL);
	out_text("%s", strbuf_str(&text));
	return results_print(app, command, results, n, r, e);
}

static int install_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct lxc_opts *o = opts;

	return install_run(app, o, argc, argv, LXC_STEPS_ALL, "lxc-install", e);
}

static int plan_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct lxc_opts *o = opts;

	app->dry_run = app->engine->dry_run = true;
	return install_run(app, o, argc, argv, LXC_STEPS_ALL, "lxc-install", e);
}

static int devices_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	return install_run(app, opts, argc, argv, LXC_STEP_DEVICES, "lxc-devices", e);
}

static int toolkit_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	return install_run(app, opts, argc, argv, LXC_STEP_TOOLKIT, "lxc-toolkit", e);
}

static int look(struct app *app, const struct lxc_opts *o, int argc, char **argv, const char *command,
		struct err *e)
{
	_cleanup_(run_done) struct lxc_run run = { 0 };
	_cleanup_free_ struct lxc_result *results = NULL;
	_cleanup_strv_ char **ids = NULL;
	size_t n;
	int r = run_open(app, o, argc, &run, e);

	if (r >= 0)
		r = ids_take(&run, argc, argv, &ids, e);
	if (r < 0)
		return r;
	n = strv_len(ids);
	results = calloc(n ? n : 1, sizeof(*results));
	if (!results)
		return err_oom(e);
	r = lxc_verify_many(run.x, ids, n, results);
	if (o->fix && r != 0 && !app->dry_run) {
		for (size_t i = 0; i < n; i++)
			lxc_result_done(&results[i]);
		r = lxc_install(run.x, ids, n, LXC_STEPS_ALL, results, NULL);
	}
	return results_print(app, command, results, n, r, e);
}

static int verify_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	return look(app, opts, argc, argv, "lxc-verify", e);
}

static void status_line(const json_t *r)
{
	out_text("%-12s %-16s %-8s %-12s %-12s %-12s %-8s %-8s %3lld  %s\n", ui_str(r, "id", "?"),
		 ui_str(r, "name", "-"), ui_str(r, "state", "-"), ui_str(r, "user_version", "-"),
		 ui_str(r, "host_version", "-"), ui_str(r, "wanted_version", "-"), ui_str(r, "toolkit", "-"),
		 ui_str(r, "delivery", "-"), (long long)json_integer_value(json_object_get(r, "devices")),
		 ui_str(r, "result", "?"));
}

static int status_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	struct lxc_opts *o = opts;
	_cleanup_(run_done) struct lxc_run run = { 0 };
	_cleanup_free_ struct lxc_result *results = NULL;
	_cleanup_strv_ char **ids = NULL;
	size_t n;
	int r;

	/* Nothing is started and nothing run inside unless asked for. */
	if (!o->level)
		o->level = "static";
	r = run_open(app, o, -1, &run, e);
	if (r >= 0)
		r = ids_take(&run, argc, argv, &ids, e);
	if (r < 0)
		return r;
	n = strv_len(ids);
	results = calloc(n ? n : 1, sizeof(*results));
	if (!results)
		return err_oom(e);
	(void)lxc_verify_many(run.x, ids, n, results);
	if (app->json)
		return results_print(app, "lxc-status", results, n, 0, e);
	out_text("%-12s %-16s %-8s %-12s %-12s %-12s %-8s %-8s %3s  %s\n", "ID", "NAME", "STATE", "CONTAINER",
		 "HOST", "WANTED", "CUDA", "DELIVERY", "GPU", "VERDICT");
	for (size_t i = 0; i < n; i++) {
		status_line(results[i].report);
		lxc_result_done(&results[i]);
	}
	return 0;
}

static int undo_run(struct app *app, const struct lxc_opts *o, int argc, char **argv, bool all,
		    const char *command, struct err *e)
{
	_cleanup_(run_done) struct lxc_run run = { 0 };
	_cleanup_free_ struct lxc_result *results = NULL;
	_cleanup_strv_ char **ids = NULL;
	size_t n;
	int r = run_open(app, o, argc, &run, e);

	if (r >= 0)
		r = ids_take(&run, argc, argv, &ids, e);
	if (r < 0)
		return r;
	n = strv_len(ids);
	results = calloc(n ? n : 1, sizeof(*results));
	if (!results)
		return err_oom(e);
	r = lxc_remove(run.x, ids, n, all, results);
	if (all)
		boot_unit_end(run.x);
	return results_print(app, command, results, n, r, e);
}

static int remove_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	return undo_run(app, opts, argc, argv, true, "lxc-remove", e);
}

/* With ids the target's last change is undone; with --all the shared directory turns back for everybody. */
static int rollback_cmd(struct app *app, void *opts, int argc, char **argv, struct err *e)
{
	const struct lxc_opts *o = opts;
	_cleanup_(run_done) struct lxc_run run = { 0 };
	_cleanup_free_ char *name = NULL;
	int r;

	if (!o->all)
		return undo_run(app, o, argc, argv, false, "lxc-rollback", e);
	if (argc)
		return err_set(e, ERR_USAGE, "give ids or --all, not both");
	r = run_open(app, o, -1, &run, e);
	if (r >= 0 && app->dry_run)
		name = lxc_live_link(run.x, "previous");
	else if (r >= 0)
		r = lxc_current_back(run.x, &name, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("lxc-rollback",
				json_pack("{s:s?, s:b}", "current", name, "dry_run", (int)app->dry_run));
	out_text("%s %s\n", app->dry_run ? "would turn back to" : "all containers have",
		 name ? name : "nothing");
	return 0;
}

/* A driver that was unloaded again while we waited leaves nothing to do. */
static int sync_do(const struct lxc_opts *o, struct lxc *x, json_t *report, struct err *e)
{
	int r = 1;

	if (o->boot)
		return lxc_sync_boot(x, report, e);
	if (o->wait)
		r = lxc_driver_wait(x, e);
	if (r == 0)
		(void)json_object_set_new(report, "result", json_string("no driver is loaded"));
	return r > 0 ? lxc_sync(x, o->prepare, report, e) : r;
}

static int sync_cmd(struct app *app, void *opts, int argc, char **argv _unused_, struct err *e)
{
	const struct lxc_opts *o = opts;
	_cleanup_(run_done) struct lxc_run run = { 0 };
	json_t *report = json_object(), *one;
	size_t i;
	int r;

	if (!report)
		return err_oom(e);
	r = argc ? err_set(e, ERR_USAGE, "sync takes no ids: it is for every managed container")
		 : run_open(app, o, -1, &run, e);
	if (r >= 0 && o->boot && (o->prepare || app->dry_run))
		r = err_set(e, ERR_USAGE, "--boot goes with neither --prepare nor --dry-run");
	if (o->boot)
		app->engine->offline = true;
	if (r >= 0)
		r = sync_do(o, run.x, report, e);
	if (r >= 0 && app->json)
		return out_json("lxc-sync", report) < 0 ? 1 : r;
	if (r >= 0)
		out_text("%s %s\n", ui_str(report, "result", "?"), ui_str(report, "current", ""));
	if (r >= 0)
		print_list("still using the old driver: ", json_object_get(report, "holders"), "text");
	json_array_foreach (json_object_get(report, "containers"), i, one)
		if (r >= 0)
			print_result(one);
	json_decref(report);
	return r;
}

#define CMD(ident, word_, summary_, args_, min_, max_, description_, options_, run_)                         \
	const struct cmd cmd_##ident = {                                                                     \
		.name = "lxc",                                                                               \
		.sub = word_,                                                                                \
		.summary = summary_,                                                                         \
		.args = args_,                                                                               \
		.min_args = min_,                                                                            \
		.max_args = max_,                                                                            \
		.description = description_,                                                                 \
		.options = options_,                                                                         \
		.opts_size = sizeof(struct lxc_opts),                                                        \
		.run = run_,                                                                                 \
	}

CMD(lxc_install, "install", "give containers the host's driver", "[ID]...", 0, -1,
    "Reads the container configuration (or works without one), passes the assigned GPUs through, puts the "
    "user space that "
    "matches the host's loaded driver into each container and checks it. A second run finds nothing to do. A "
    "failure takes "
    "everything of the run back.\n\n"
    "With the default delivery all containers share one read-only image of the driver; `tree` copies it, "
    "`run` executes "
    "the vendor's installer.",
    install_options, install_cmd);
CMD(lxc_plan, "plan", "show what install would do", "[ID]...", 0, -1, "The same as lxc install --dry-run.",
    install_options, plan_cmd);
CMD(lxc_devices, "devices", "pass GPUs through to containers", "[ID]...", 0, -1,
    "Only the devices: the container's configuration, and the nodes of a running container at once where "
    "that is possible.",
    devices_options, devices_cmd);
CMD(lxc_toolkit, "toolkit", "put the CUDA toolkit into containers", "[ID]...", 0, -1,
    "Only the CUDA toolkit, of the version the configuration or --cuda names: sets up the CUDA package "
    "repository of "
    "the container's system, keeps every package out that would bring a second driver, and lets the "
    "container's own "
    "package tool install the rest. What would be installed is looked at first; the package tool is never "
    "given a "
    "plan that has a driver in it. Packages stay when the rest of a run is taken back.",
    install_options, toolkit_cmd);
CMD(lxc_verify, "verify", "check the driver in containers", "[ID]...", 0, -1,
    "Compares what the loader of each container would load with the configuration and with the host, opens "
    "every device "
    "inside, and asks nvidia-smi. Ends with 0 healthy, 8 mismatch, 10 drift.",
    verify_options, verify_cmd);
CMD(lxc_status, "status", "one line per container", "[ID]...", 0, -1,
    "Nothing is started and no program runs inside a container unless --level asks for it.", look_options,
    status_cmd);
CMD(lxc_sync, "sync", "bring every managed container to the host's driver", NULL, 0, 0,
    "After a change of the host's driver: mounts the new user space and switches all containers to it, "
    "running ones "
    "included, by one rename. The earlier one stays for rollback.\n\n"
    "lxc install writes a unit, nvidia-gpu-init.service, that calls it with --boot before containers start: "
    "what a boot "
    "takes away (nodes, mounts, numbers of devices) is there again then. With udev a second one, "
    "nvidia-gpu-sync.service, calls it with --wait whenever the driver's module was loaded.",
    sync_options, sync_cmd);
CMD(lxc_rollback, "rollback", "undo the last change of containers", "[ID]...", 0, -1,
    "With ids the last installation into each is taken back. With --all the shared directory turns back to "
    "the driver "
    "before.",
    undo_options, rollback_cmd);
CMD(lxc_remove, "remove", "take everything out of containers again", "[ID]...", 0, -1,
    "Undoes every installation, newest first: files, links and configuration lines are as before. What "
    "somebody changed "
    "since is reported and left with --force.",
    undo_options, remove_cmd);
