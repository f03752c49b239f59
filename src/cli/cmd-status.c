/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"
#include "container.h"
#include "jutil.h"
#include "lxc-live.h"
#include "metrics.h"
#include "path.h"
#include "report.h"
#include "ui.h"
#include "publish.h"

#include <fcntl.h>
#include <string.h>

static void status_text(const json_t *status)
{
	const json_t *host = json_object_get(status, "host"), *running = json_object_get(status, "running");
	const json_t *mods = json_object_get(running, "modules"), *m, *d;
	size_t i;

	out_text("machine      %s, kernel %s, %s (%s)\n", ui_str(host, "os", "unknown system"),
		 ui_str(host, "kernel", "unknown"), ui_str(host, "machine", "unknown"),
		 ui_str(host, "root", "/"));
	out_text("signatures   Secure Boot %s, enforced %s, lockdown %s\n",
		 ui_str(host, "secure_boot", "unknown"), ui_str(host, "sig_enforce", "unknown"),
		 *ui_str(host, "lockdown", "") ? ui_str(host, "lockdown", "") : "unknown");
	out_text("running      driver %s\n", ui_str(running, "driver_version", "none"));
	json_array_foreach (mods, i, m)
		out_text("             module %s, used by %d\n", ui_str(m, "name", "?"),
			 (int)json_integer_value(json_object_get(m, "refcount")));
	ui_store(json_object_get(status, "store"));
	json_array_foreach (json_object_get(status, "deployments"), i, d)
		out_text("%-12s %s  %s\n", i ? "" : "installed", ui_str(d, "time", ""),
			 ui_str(d, "title", "?"));
}

#define CONTAINER_STATUS_MAX ((size_t)1 << 20)

struct status_opts {
	bool metrics;
	const char *metrics_file;
};
#define O(field) offsetof(struct status_opts, field)
static const struct opt status_options[] = {
	{ "metrics", 0, NULL, "print gauges as Prometheus reads them", OPT_FLAG, O(metrics) },
	{ "metrics-file", 0, "FILE", "replace this file with them, for node_exporter's textfile collector",
	  OPT_STRING, O(metrics_file), "file" },
	{ 0 },
};
#undef O

/* What the roles leave on a machine for others to read. Absent is normal. */
static void container_metrics(const struct host *h, struct strbuf *out)
{
	_cleanup_json_ json_t *last = NULL;
	const char *labels[][2] = { { "state", NULL }, { "error", NULL } };

	if (jload_at(h->root_fd, CONTAINER_RUN_DIR "/" CONTAINER_STATUS_FILE, CONTAINER_STATUS_MAX, &last,
		     NULL) < 0)
		return;
	labels[0][1] = ui_str(last, "state", "unknown");
	labels[1][1] = ui_str(json_object_get(last, "error"), "slug", "");
	metrics_family(out, "container_info", "What the driver container says of itself.");
	metrics_sample(out, "container_info", labels, ARRAY_LEN(labels), 1);
}

static void lxc_metrics(const struct host *h, struct strbuf *out)
{
	_cleanup_free_ char *loaded = report_running_version(h), *version = NULL;
	_cleanup_close_ int dir =
	    path_open_at(h->root_fd, LXC_LIVE_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	const char *labels[][2] = { { "version", NULL } };
	char target[256];
	ssize_t n = dir < 0 ? -1 : readlinkat(dir, "current", target, sizeof(target) - 1);

	if (n < 0)
		return;
	target[n] = 0;
	if (lxc_live_version(target, &version) < 0)
		return;
	labels[0][1] = version;
	metrics_family(out, "lxc_shared_info", "The driver containers share.");
	metrics_sample(out, "lxc_shared_info", labels, ARRAY_LEN(labels), 1);
	metrics_family(out, "lxc_shared_mismatch",
		       "1 when containers share another driver than the loaded one.");
	metrics_sample(out, "lxc_shared_mismatch", NULL, 0, !loaded || strcmp(loaded, version) != 0);
}

/* A reader sees the old file or the new one. */
static int write_metrics(const struct app *app, const char *path, const struct strbuf *text, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (app->dry_run) {
		out_text("would write %s\n", path);
		return 0;
	}
	fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	r = fd < 0 ? (dir ? -errno : -ENOMEM) : publish_bytes(fd, name, strbuf_str(text), text->len, 0644);
	return r < 0 ? err_errno(e, r, "writing %s", path) : 0;
}

static int metrics(struct app *app, const struct status_opts *o, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(STRBUF_TEXT_MAX);
	int r;

	if (app->json)
		return err_set(e, ERR_USAGE, "--metrics has a format of its own: leave out --json");
	r = report_metrics(app->engine, &text, e);
	container_metrics(app->engine->host, &text);
	lxc_metrics(app->engine->host, &text);
	if (r >= 0 && strbuf_error(&text) < 0)
		r = err_oom(e);
	if (r < 0 || o->metrics_file)
		return r < 0 ? r : write_metrics(app, o->metrics_file, &text, e);
	out_text("%s", strbuf_str(&text));
	return 0;
}

static int status_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct status_opts *o = opts;
	json_t *status = NULL;
	int r;

	if (o->metrics || o->metrics_file)
		return metrics(app, o, e);
	r = report_status(app->engine, &status, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("status", status);
	status_text(status);
	json_decref(status);
	return 0;
}

const struct cmd cmd_status = {
	.name = "status",
	.summary = "show the machine, its running driver, the store and what is installed",
	.max_args = 0,
	.description =
	    "Shows the machine (or the --root given), what it demands of kernel modules, the driver that "
	    "runs there, the "
	    "store's content and the deployments into this root. Starts no program and changes nothing.\n\n"
	    "--metrics tells the same and what doctor finds as gauges for Prometheus; docs/metrics.md lists "
	    "them.",
	.examples = "nvdriver status --metrics-file /var/lib/prometheus/node-exporter/nvdriver.prom\n"
		    "  for a timer: a reader sees the old file or the new one, never half of it\n",
	.options = status_options,
	.opts_size = sizeof(struct status_opts),
	.flags = CMD_STORE_READ,
	.run = status_cmd,
};
