/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-incus.h"

#include "lxc-edit.h"
#include "strbuf.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 63
#define DRIVER_NAME  "nvd-driver"
#define DRIVER_PATH  "/usr/lib/nvdriver"
#define MOUNT_KEY    "lxc.mount.entry = "
#define GPU_KEY	     "gpu = "

bool incus_name_is_valid(const char *id)
{
	size_t n = strlen(id);

	if (n == 0 || n > NAME_MAX_LEN || !isalpha((unsigned char)*id))
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && *id != '-')
			return false;
	return true;
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

int incus_names(const json_t *instances, char ***ret)
{
	_cleanup_strv_ char **v = NULL;
	const json_t *o;
	size_t i;

	json_array_foreach (instances, i, o) {
		const char *name = text(o, "name"), *type = text(o, "type");

		if (!name || !incus_name_is_valid(name) || (type && strcmp(type, "container") != 0))
			continue;
		if (strv_push(&v, name) < 0)
			return -ENOMEM;
	}
	if (v)
		strv_sort(v);
	*ret = TAKE_PTR(v);
	return 0;
}

enum lxc_state incus_state(const char *status)
{
	static const struct {
		const char *status;
		enum lxc_state state;
	} words[] = { { "Running", LXC_RUNNING }, { "Stopped", LXC_STOPPED }, { "Frozen", LXC_FROZEN } };

	for (size_t i = 0; status && i < ARRAY_LEN(words); i++)
		if (strcmp(status, words[i].status) == 0)
			return words[i].state;
	return LXC_OTHER;
}

/* -- devices as lines -- */

static char *mount_line(const char *source)
{
	return str_printf(MOUNT_KEY "%s %s none rbind,rslave,ro,create=dir 0 0", source, &DRIVER_PATH[1]);
}

static char *device_line(const json_t *device, char *(*host_path)(const struct host *h, const char *absolute),
			 const struct host *h)
{
	const char *type = text(device, "type"), *source = text(device, "source"),
		   *path = text(device, "path");
	const char *mode = text(device, "mode"), *pci = text(device, "pci");
	_cleanup_free_ char *here = NULL;

	if (type && strcmp(type, "gpu") == 0)
		return str_printf(GPU_KEY "%s,mode=%s", pci ? pci : "*", mode ? mode : "0660");
	if (type && source && path && strcmp(type, "disk") == 0 && strcmp(path, DRIVER_PATH) == 0)
		return mount_line(source);
	source = source ? source : path;
	if (!type || !source || strcmp(type, "unix-char") != 0)
		return NULL;
	here = host_path(h, source);
	return here ? str_printf("dev = %s,mode=%s", here, mode ? mode : "0660") : NULL;
}

static bool is_true(const char *s)
{
	return s && (strcmp(s, "true") == 0 || strcmp(s, "1") == 0 || strcmp(s, "yes") == 0 ||
		     strcmp(s, "on") == 0);
}

int incus_facts(const json_t *instance, char *(*host_path)(const struct host *h, const char *absolute),
		const struct host *h, struct lxc_facts *ret)
{
	const json_t *config = json_object_get(instance, "expanded_config"), *device;
	_cleanup_(lxc_facts_done) struct lxc_facts f = { 0 };
	const char *name = text(instance, "name"), *key;

	if (!name)
		return -EINVAL;
	f.name = strdup(name);
	f.state = incus_state(text(instance, "status"));
	f.unprivileged = !is_true(text(config, "security.privileged"));
	f.has_own_driver = is_true(text(config, "nvidia.runtime"));
	json_object_foreach ((json_t *)(uintptr_t)json_object_get(instance, "expanded_devices"), key,
			     device) {
		_cleanup_free_ char *line = device_line(device, host_path, h);

		if (line && strv_push(&f.lines, line) < 0)
			return -ENOMEM;
	}
	if (!f.name)
		return -ENOMEM;
	*ret = f;
	f = (struct lxc_facts){ 0 };
	return 0;
}

static int node_push(char ***v, const char *node, const char *options,
		     char *(*host_path)(const struct host *h, const char *absolute), const struct host *h)
{
	_cleanup_free_ char *absolute = str_printf("/dev/%s", node), *here = NULL, *line = NULL;

	here = absolute ? host_path(h, absolute) : NULL;
	line = here ? str_printf("dev = %s%s", here, options) : NULL;
	return line ? strv_push(v, line) : -ENOMEM;
}

int incus_gpus_expand(char ***lines, const struct lxc_gpu *gpus, size_t n,
		      char *(*host_path)(const struct host *h, const char *absolute), const struct host *h)
{
	static const char *const common[] = { "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools",
					      "nvidia-modeset" };
	_cleanup_strv_ char **v = NULL;
	int r = 0;

	for (char **p = *lines; r >= 0 && p && *p; p++) {
		const char *pci = *p + sizeof(GPU_KEY) - 1, *options;

		if (strncmp(*p, GPU_KEY, sizeof(GPU_KEY) - 1) != 0) {
			r = strv_push(&v, *p);
			continue;
		}
		options = strchrnul(pci, ',');
		for (size_t i = 0; r >= 0 && i < n; i++) {
			char node[32];

			snprintf(node, sizeof(node), "nvidia%u", gpus[i].minor);
			if (*pci == '*' || ((size_t)(options - pci) == strlen(gpus[i].pci) &&
					    strncasecmp(pci, gpus[i].pci, strlen(gpus[i].pci)) == 0))
				r = node_push(&v, node, options, host_path, h);
		}
		for (size_t i = 0; r >= 0 && i < ARRAY_LEN(common); i++)
			r = node_push(&v, common[i], options, host_path, h);
	}
	if (r < 0)
		return r;
	strv_freep(lines);
	*lines = TAKE_PTR(v);
	return 0;
}

/* -- lines as devices -- */

/* Source of our mount line, or SPAN_NULL. */
static struct span mount_source(const char *line)
{
	struct span rest = SPAN(line), word, dest;

	if (!span_starts(rest, MOUNT_KEY))
		return SPAN_NULL;
	rest = (struct span){ line + sizeof(MOUNT_KEY) - 1, strlen(line) - (sizeof(MOUNT_KEY) - 1) };
	if (!span_word(&rest, &word) || !span_word(&rest, &dest) || !span_eq(dest, &DRIVER_PATH[1]))
		return SPAN_NULL;
	return word;
}

/* The node's path on the machine ("/dev/nvidia0"), or NULL. Caller frees. */
static char *node_path(const char *line, const char *root)
{
	_cleanup_free_ char *path = NULL;
	struct span dev = lxc_line_dev_path(line);
	size_t n = strlen(root);

	path = dev.p ? span_dup(dev) : NULL;
	if (!path || strncmp(path, root, n) != 0 || strncmp(path + n, "/dev/", 5) != 0)
		return NULL;
	return strdup(path + n);
}

char *incus_device_name(const char *line)
{
	struct span dev = lxc_line_dev_path(line);
	_cleanup_free_ char *path = dev.p ? span_dup(dev) : NULL;
	const char *at = path ? strstr(path, "/dev/") : NULL;
	char *name;

	if (mount_source(line).p)
		return strdup(DRIVER_NAME);
	if (!at)
		return NULL;
	name = str_printf("nvd-%s", at + 5);
	for (char *p = name; p && *p; p++)
		if (!isalnum((unsigned char)*p))
			*p = '-';
	return name;
}

const char *incus_device_find(const json_t *instance, const char *line, const char *root)
{
	_cleanup_free_ char *path = node_path(line, root);
	struct span source = mount_source(line);
	const json_t *device;
	const char *key;

	json_object_foreach ((json_t *)(uintptr_t)json_object_get(instance, "devices"), key, device) {
		const char *from = text(device, "source") ? text(device, "source") : text(device, "path");
		const char *type = text(device, "type");

		if (!type || !from)
			continue;
		if (path && strcmp(type, "unix-char") == 0 && strcmp(from, path) == 0)
			return key;
		if (source.p && strcmp(type, "disk") == 0 && span_eq(source, from))
			return key;
	}
	return NULL;
}

static int push_printf(char ***v, const char *fmt, const char *value)
{
	_cleanup_free_ char *s = str_printf("%s%s", fmt, value);

	return s ? strv_push(v, s) : -ENOMEM;
}

int incus_device_args(const char *line, const char *root, char ***ret)
{
	_cleanup_free_ char *name = incus_device_name(line), *path = node_path(line, root), *source = NULL;
	struct span from = mount_source(line);
	_cleanup_strv_ char **v = NULL;
	int r;

	if (!name || (!path && !from.p))
		return -EINVAL;
	source = from.p ? span_dup(from) : NULL;
	r = strv_push(&v, name);
	r = r < 0 ? r : strv_push(&v, path ? "unix-char" : "disk");
	r = r < 0 ? r : push_printf(&v, "source=", path ? path : source ? source : "");
	r = r < 0 ? r : push_printf(&v, "path=", path ? path : DRIVER_PATH);
	if (path) {
		/* One that is missing appears when the host has it, and keeps nobody from starting. */
		r = r < 0 ? r : strv_push(&v, "mode=0666");
		r = r < 0 ? r : strv_push(&v, "required=false");
	} else {
		/* Not readonly: that is refused together with recursive, and what is mounted is read-only by itself. */
		r = r < 0 ? r : strv_push(&v, "recursive=true");
		r = r < 0 ? r : strv_push(&v, "propagation=rslave");
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}
