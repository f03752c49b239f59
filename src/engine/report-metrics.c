/* SPDX-License-Identifier: Apache-2.0
 *
 * What Prometheus is told: docs/metrics.md has the list. */
#include "jutil.h"
#include "metrics.h"
#include "report.h"
#include "tree.h"
#include "verify.h"

#include <string.h>

/* -- the text format -- */

void metrics_family(struct strbuf *out, const char *name, const char *help)
{
	(void)strbuf_printf(out, "# HELP nvdriver_%s %s\n# TYPE nvdriver_%s gauge\n", name, help, name);
}

static void label_value(struct strbuf *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n') {
			(void)strbuf_puts(out, "\\n");
			continue;
		}
		if (*value == '\\' || *value == '"')
			(void)strbuf_putc(out, '\\');
		(void)strbuf_putc(out, *value);
	}
}

void metrics_sample(struct strbuf *out, const char *name, const char *const (*labels)[2], size_t n,
		    json_int_t value)
{
	(void)strbuf_printf(out, "nvdriver_%s", name);
	for (size_t i = 0; i < n; i++) {
		(void)strbuf_printf(out, "%s%s=\"", i ? "," : "{", labels[i][0]);
		label_value(out, labels[i][1]);
		(void)strbuf_putc(out, '"');
	}
	(void)strbuf_printf(out, "%s %lld\n", n ? "}" : "", (long long)value);
}

static void one(struct strbuf *out, const char *name, const char *help, json_int_t value)
{
	metrics_family(out, name, help);
	metrics_sample(out, name, NULL, 0, value);
}

static void labelled(struct strbuf *out, const char *name, const char *label, const char *word,
		     json_int_t value)
{
	const char *const labels[][2] = { { label, word } };

	metrics_sample(out, name, labels, 1, value);
}

static const char *text_of(const json_t *o, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : otherwise;
}

/* -- what is told -- */

static void driver_metrics(struct strbuf *out, const char *loaded, const char *installed)
{
	const char *const labels[][2] = { { "loaded", loaded ? loaded : "" },
					  { "installed", installed ? installed : "" } };

	metrics_family(out, "driver_info",
		       "Version of the loaded and of the installed driver; empty when there is none.");
	metrics_sample(out, "driver_info", labels, ARRAY_LEN(labels), 1);
	one(out, "driver_loaded", "1 while the driver is in the kernel.", loaded != NULL);
	/* Nothing to compare is no agreement: the series is absent then. */
	if (loaded && installed)
		one(out, "version_mismatch", "1 when the loaded driver is not the installed one.",
		    strcmp(loaded, installed) != 0);
}

static int installation_metrics(struct engine *en, const char *loaded, struct strbuf *out, struct err *e)
{
	_cleanup_free_ char *installed = NULL;
	unsigned n = 0;
	int r = userspace_drift(en->host, &installed, &n, e);

	if (r < 0 && r != -ERR_INSTALL_NOT_FOUND)
		return r;
	driver_metrics(out, loaded, installed);
	if (r == 0)
		one(out, "changed_files",
		    "Installed files that are gone or of another kind, size, mode or link target.", n);
	err_done(e);
	return 0;
}

static void module_metrics(struct strbuf *out, const json_t *running)
{
	const json_t *m;
	size_t i;

	metrics_family(out, "module_users", "Users of a loaded kernel module of a GPU driver.");
	json_array_foreach (json_object_get(running, "modules"), i, m)
		labelled(out, "module_users", "module", text_of(m, "name", "?"),
			 json_integer_value(json_object_get(m, "refcount")));
}

static json_int_t newest_set(const json_t *sets)
{
	json_int_t newest = 0;
	const json_t *set;
	size_t i;

	json_array_foreach (sets, i, set) {
		json_int_t t = json_integer_value(json_object_get(set, "created_unix_s"));

		newest = t > newest ? t : newest;
	}
	return newest;
}

static bool has_set_for(const json_t *sets, const char *release)
{
	const json_t *set;
	size_t i;

	json_array_foreach (sets, i, set)
		if (strcmp(text_of(set, "release", ""), release) == 0)
			return true;
	return false;
}

static void store_metrics(struct strbuf *out, const json_t *list, const char *release)
{
	static const char *const kinds[][2] = { { "drivers", "driver" },
						{ "module_sets", "module_set" },
						{ "kernels", "kernel" },
						{ "packages", "package" },
						{ "images", "image" } };
	const json_t *sets = json_object_get(list, "module_sets");

	metrics_family(out, "store_objects", "Objects in the store, by kind.");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		labelled(out, "store_objects", "kind", kinds[i][1],
			 (json_int_t)json_array_size(json_object_get(list, kinds[i][0])));
	one(out, "kernel_prepared", "1 when the store has modules for the running kernel.",
	    release && has_set_for(sets, release));
	if (json_array_size(sets))
		one(out, "last_prepare_timestamp_seconds", "When the newest kernel modules were made.",
		    newest_set(sets));
}

static int size_metrics(struct engine *en, struct strbuf *out, struct err *e)
{
	uint64_t bytes = 0, files = 0;
	int r = tree_usage(en->store->dir_fd, ".", &bytes, &files);

	if (r < 0)
		return err_errno(e, r, "adding up %s", en->store->path);
	one(out, "store_size_bytes", "Lengths of all files in the store.", (json_int_t)bytes);
	return 0;
}

/* Every target, so that containers and the vGPU host's groups are among them. */
static int deployment_metrics(struct engine *en, struct strbuf *out, struct err *e)
{
	_cleanup_json_ json_t *list = NULL, *count = json_object();
	const char *target;
	json_t *d, *n;
	size_t i;
	int r = plan_history(&en->state, NULL, &list, e);

	if (r < 0)
		return r;
	json_array_foreach (list, i, d) {
		target = text_of(d, "target", "?");
		if (strcmp(text_of(d, "state", ""), "applied") == 0 &&
		    json_object_set_new(
			count, target, json_integer(json_integer_value(json_object_get(count, target)) + 1)) <
			0)
			return err_oom(e);
	}
	metrics_family(out, "deployments", "Recorded changes that can be undone, by target.");
	json_object_foreach (count, target, n)
		labelled(out, "deployments", "target", target, json_integer_value(n));
	return 0;
}

static int doctor_metrics(struct engine *en, struct strbuf *out, struct err *e)
{
	_cleanup_json_ json_t *checks = NULL;
	unsigned findings;
	const json_t *c;
	size_t i;
	int r = report_doctor(en, &checks, &findings, e);

	if (r < 0)
		return r;
	metrics_family(out, "check",
		       "Checks of nvdriver doctor: 0 ok, 1 warning, 2 failure, -1 cannot be told.");
	json_array_foreach (checks, i, c) {
		const char *result = text_of(c, "result", "");

		labelled(out, "check", "check", text_of(c, "check", "?"),
			 strcmp(result, "ok") == 0     ? 0
			 : strcmp(result, "warn") == 0 ? 1
			 : strcmp(result, "fail") == 0 ? 2
						       : -1);
	}
	return 0;
}

int report_metrics(struct engine *en, struct strbuf *out, struct err *e)
{
	_cleanup_json_ json_t *status = NULL;
	const json_t *running, *host;
	int r = report_status(en, &status, e);

	if (r < 0)
		return r;
	running = json_object_get(status, "running");
	host = json_object_get(status, "host");
	metrics_family(out, "build_info", "The program that tells.");
	labelled(out, "build_info", "version", NVDRIVER_VERSION, 1);
	r = installation_metrics(en, text_of(running, "driver_version", NULL), out, e);
	module_metrics(out, running);
	one(out, "modules_must_be_signed", "1 when the kernel loads signed modules alone.",
	    json_is_true(json_object_get(host, "modules_must_be_signed")));
	store_metrics(out, json_object_get(status, "store"), text_of(host, "kernel", NULL));
	if (r >= 0 && en->store)
		r = size_metrics(en, out, e);
	if (r >= 0 && en->store)
		r = deployment_metrics(en, out, e);
	if (r >= 0)
		r = doctor_metrics(en, out, e);
	return r < 0 ? r : strbuf_error(out) < 0 ? err_oom(e) : 0;
}
