/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi.h"

#include "fd.h"
#include "jutil.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Device names that begin with a digit are allowed from this version on. */
#define CDI_VERSION  "0.5.0"
#define CDI_TEXT_MAX ((size_t)4 << 20)
#define DEPTH_MAX    32

/* -- the specification -- */

static json_t *node(const char *path)
{
	return json_pack("{s:s, s:s}", "path", path, "permissions", "rw");
}

static json_t *common_nodes(const struct cdi_want *w)
{
	static const char *const always[] = { "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools" };
	json_t *list = json_array();
	int r = list ? 0 : -1;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(always); i++)
		r = json_array_append_new(list, node(always[i]));
	if (r == 0 && w->modeset)
		r = json_array_append_new(list, node("/dev/nvidia-modeset"));
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *common_edits(const struct cdi_want *w)
{
	json_t *hooks = w->hook ? json_pack("[{s:s, s:s, s:[s, s, s]}]", "hookName", "createContainer",
					    "path", w->hook, "args", "nvdriver", "hook", "cdi")
				: NULL;

	/* "void" keeps the vendor's own runtime hook, where there is one, from injecting another driver. */
	return json_pack("{s:[s], s:o, s:[{s:s, s:s, s:[s, s, s, s, s]}], s:o*}", "env",
			 "NVIDIA_VISIBLE_DEVICES=void", "deviceNodes", common_nodes(w), "mounts", "hostPath",
			 w->tree, "containerPath", CDI_MOUNT, "options", "ro", "nosuid", "nodev", "rbind",
			 "rslave", "hooks", hooks);
}

static json_t *device(const char *name, json_t *nodes)
{
	return json_pack("{s:s, s:{s:o}}", "name", name, "containerEdits", "deviceNodes", nodes);
}

static json_t *gpu_nodes(const struct cdi_want *w, size_t first, size_t n)
{
	json_t *list = json_array();
	char path[32];

	for (size_t i = first; list && i < first + n; i++) {
		(void)snprintf(path, sizeof(path), "/dev/nvidia%u", w->gpus[i].minor);
		if (json_array_append_new(list, node(path)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *devices(const struct cdi_want *w)
{
	json_t *list = json_array();
	int r = list ? 0 : -1;
	char name[24];

	for (size_t i = 0; r == 0 && i < w->n_gpus; i++) {
		(void)snprintf(name, sizeof(name), "%zu", i);
		r = json_array_append_new(list, device(name, gpu_nodes(w, i, 1)));
		if (r == 0 && w->gpus[i].uuid)
			r = json_array_append_new(list, device(w->gpus[i].uuid, gpu_nodes(w, i, 1)));
	}
	if (r == 0)
		r = json_array_append_new(list, device("all", gpu_nodes(w, 0, w->n_gpus)));
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}

int cdi_spec_make(const struct cdi_want *w, json_t **ret)
{
	json_t *spec = json_pack("{s:s, s:s, s:o, s:o}", "cdiVersion", CDI_VERSION, "kind", CDI_KIND,
				 "devices", devices(w), "containerEdits", common_edits(w));

	if (!spec)
		return -ENOMEM;
	*ret = spec;
	return 0;
}

/* -- as YAML -- */

/* A JSON string is a YAML string in double quotes. */
static void yaml_scalar(const json_t *v, struct strbuf *out)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

	(void)strbuf_puts(out, text ? text : "null");
	(void)strbuf_putc(out, '\n');
	free(text);
}

static void yaml_value(const json_t *v, int depth, bool in_list, struct strbuf *out);

static void yaml_child(const json_t *v, int depth, struct strbuf *out)
{
	bool nested =
	    (json_is_object(v) && json_object_size(v) > 0) || (json_is_array(v) && json_array_size(v) > 0);

	(void)strbuf_putc(out, nested ? '\n' : ' ');
	if (nested)
		yaml_value(v, depth + 1, false, out);
	else
		yaml_scalar(v, out);
}

/* in_list: the first key stands behind "- ". */
static void yaml_value(const json_t *v, int depth, bool in_list, struct strbuf *out)
{
	const char *key;
	json_t *child;
	size_t i;

	if (depth > DEPTH_MAX)
		return;
	if (json_is_array(v)) {
		json_array_foreach (v, i, child) {
			(void)strbuf_printf(out, "%*s- ", depth * 2, "");
			if (json_is_object(child) && json_object_size(child) > 0)
				yaml_value(child, depth + 1, true, out);
			else
				yaml_scalar(child, out);
		}
		return;
	}
	json_object_foreach ((json_t *)(uintptr_t)v, key, child) {
		_cleanup_json_ json_t *name = json_string(key);
		char *quoted = name ? json_dumps(name, JSON_ENCODE_ANY) : NULL;

		(void)strbuf_printf(out, "%*s%s:", in_list ? 0 : depth * 2, "", quoted ? quoted : "");
		free(quoted);
		yaml_child(child, depth, out);
		in_list = false;
	}
}

int cdi_yaml(const json_t *spec, struct strbuf *out)
{
	if (json_is_object(spec) || json_is_array(spec))
		yaml_value(spec, 0, false, out);
	else
		yaml_scalar(spec, out);
	return strbuf_error(out);
}

/* -- other specifications -- */

static bool has_device(const json_t *spec, struct span name)
{
	const json_t *list = json_object_get(spec, "devices"), *d;
	size_t i;

	json_array_foreach (list, i, d)
		if (span_eq(name, json_string_value(json_object_get(d, "name"))))
			return true;
	return false;
}

static int taken_json(const json_t *spec, struct span text, char **ret)
{
	_cleanup_json_ json_t *other = NULL;
	const char *kind;
	const json_t *d;
	size_t i;

	if (jloadb(text, &other, NULL) < 0)
		return 0;
	kind = json_string_value(json_object_get(other, "kind"));
	if (!kind || strcmp(kind, CDI_KIND) != 0)
		return 0;
	json_array_foreach (json_object_get(other, "devices"), i, d) {
		const char *name = json_string_value(json_object_get(d, "name"));

		if (name && has_device(spec, SPAN(name))) {
			*ret = strdup(name);
			return *ret ? 1 : -ENOMEM;
		}
	}
	return 0;
}

/* Value of "key: value" with quotes and the "- " of a list taken off. */
static bool yaml_line(struct span line, const char *key, struct span *ret)
{
	size_t n = strlen(key);

	line = span_trim(line);
	if (span_starts(line, "- "))
		line = span_trim((struct span){ line.p + 2, line.len - 2 });
	if (line.len < n + 1 || memcmp(line.p, key, n) != 0 || line.p[n] != ':')
		return false;
	line = span_trim((struct span){ line.p + n + 1, line.len - n - 1 });
	if (line.len >= 2 && (line.p[0] == '"' || line.p[0] == '\'') && line.p[line.len - 1] == line.p[0])
		line = (struct span){ line.p + 1, line.len - 2 };
	*ret = line;
	return true;
}

/* Specifications are written by programs, one key a line; to find a name no more is needed, and a form nobody writes only
 * means that the engine finds the clash instead of us. */
static int taken_yaml(const json_t *spec, struct span text, char **ret)
{
	struct span line, value, rest = text;
	bool same_kind = false;

	while (span_line(&rest, &line))
		if (yaml_line(line, "kind", &value))
			same_kind |= span_eq(value, CDI_KIND);
	while (same_kind && span_line(&text, &line))
		if (yaml_line(line, "name", &value) && has_device(spec, value)) {
			*ret = span_dup(value);
			return *ret ? 1 : -ENOMEM;
		}
	return 0;
}

int cdi_taken(const json_t *spec, struct span text, bool is_yaml, char **ret)
{
	return is_yaml ? taken_yaml(spec, text, ret) : taken_json(spec, text, ret);
}

static bool ends_with(const char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);

	return n > t && strcmp(name + n - t, tail) == 0;
}

static int conflict_in(int dirfd, const char *dir, const char *name, const json_t *spec, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	_cleanup_free_ char *text = NULL, *device_name = NULL;
	struct stat st;
	size_t len;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    read_fd(fd, CDI_TEXT_MAX, &text, &len) < 0)
		return 0;
	r = cdi_taken(spec, (struct span){ text, len }, !ends_with(name, ".json"), &device_name);
	if (r <= 0)
		return r < 0 ? err_oom(e) : 0;
	(void)err_set(e, ERR_CDI_TAKEN,
		      "/%s/%s has a device %s=%s already, and an engine refuses a name that two files have",
		      dir, name, CDI_KIND, device_name);
	return err_object(e, "/%s/%s", dir, name);
}

static bool is_spec(const char *name)
{
	return ends_with(name, ".json") || ends_with(name, ".yaml") || ends_with(name, ".yml");
}

static int conflicts_below(const struct host *h, const char *dir, const json_t *spec, const char *own,
			   struct err *e)
{
	_cleanup_close_ int fd = path_open_at(h->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	_cleanup_strv_ char **names = NULL;
	int r = 0;

	if (fd >= 0 && path_names(fd, ".", &names) == -ENOMEM)
		return err_oom(e);
	for (char **p = names; r >= 0 && p && *p; p++) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, *p);

		if (!path)
			r = err_oom(e);
		else if (is_spec(*p) && strcmp(path, own) != 0)
			r = conflict_in(fd, dir, *p, spec, e);
	}
	return r;
}

int cdi_conflicts(const struct host *h, const json_t *spec, const char *own, struct err *e)
{
	int r = conflicts_below(h, "etc/cdi", spec, own, e);

	return r < 0 ? r : conflicts_below(h, "var/run/cdi", spec, own, e);
}

int cdi_plan(const char *path, const char *text, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	json_t *args = json_pack("{s:[{s:s, s:s, s:i, s:o}]}", "entries", "path", path, "type", "file",
				 "mode", 0644, "bytes_base64", jbytes((const uint8_t *)text, strlen(text)));

	if (!args)
		return err_oom(e);
	if (plan_new("CDI specification of the GPUs", "cdi", &p) < 0) {
		json_decref(args);
		return err_oom(e);
	}
	if (plan_add(p, &op_files, args, "write /%s", path) < 0)
		return err_oom(e);
	*ret = TAKE_PTR(p);
	return 0;
}
