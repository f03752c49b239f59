/* SPDX-License-Identifier: Apache-2.0 */
#include "container-fabric.h"

#include "fd.h"
#include "kmods.h"
#include "path.h"
#include "pci.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define VENDOR_MELLANOX 0x15b3
#define VPD_MAX		32768 /* the whole address range vital product data can have */
#define SWITCH_MANAGER	"SW_MNG"

const char *const container_fabric_modules[] = { "mlx5_core", "ib_umad", NULL };

/* The kernel gives what it can read and an error at the end of it. */
static bool vpd_names_manager(const struct host *h, const char *path)
{
	_cleanup_close_ int fd =
	    path_open_at(h->sys_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	char bytes[VPD_MAX];
	size_t len = 0;

	while (fd >= 0 && len < sizeof(bytes)) {
		ssize_t n = read(fd, bytes + len, sizeof(bytes) - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return memmem(bytes, len, SWITCH_MANAGER, strlen(SWITCH_MANAGER)) != NULL;
}

static bool pci_names_manager(const struct host *h)
{
	struct pci_list l = { NULL, 0 };
	bool found = false;

	if (pci_list_read(h, &l, NULL) < 0)
		return false;
	for (size_t i = 0; i < l.n && !found; i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "bus/pci/devices/%s/vpd", l.v[i].address);
		found = l.v[i].vendor == VENDOR_MELLANOX && vpd_names_manager(h, path);
	}
	pci_list_done(&l);
	return found;
}

static DIR *open_entries(int dirfd, const char *path)
{
	int fd = dirfd < 0 ? -EBADF : path_open_at(dirfd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close_fdp(&fd);
	return d;
}

static bool infiniband_names_manager(const struct host *h)
{
	DIR *d = open_entries(h->sys_fd, "class/infiniband");
	struct dirent *de;
	bool found = false;

	while (d && !found && (de = readdir(d))) {
		_cleanup_free_ char *path = str_printf("class/infiniband/%s/device/vpd", de->d_name);

		found = de->d_name[0] != '.' && path && vpd_names_manager(h, path);
	}
	if (d)
		(void)closedir(d);
	return found;
}

static bool has_nvswitches(const struct host *h)
{
	DIR *d = open_entries(h->proc_fd, "driver/nvidia-nvswitch/devices");
	struct dirent *de;
	bool found = false;

	while (d && !found && (de = readdir(d)))
		found = de->d_name[0] != '.';
	if (d)
		(void)closedir(d);
	return found;
}

enum fabric_kind container_fabric_detect(const struct host *h)
{
	if (infiniband_names_manager(h) || pci_names_manager(h))
		return FABRIC_NVLINK5;
	return has_nvswitches(h) ? FABRIC_NVSWITCH : FABRIC_NONE;
}

const char *container_fabric_missing(const struct host *h)
{
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;

	(void)kmods_read(h, &k);
	for (const char *const *m = container_fabric_modules; *m; m++)
		if (!kmods_find(&k, *m))
			return *m;
	return NULL;
}

/* -- settings -- */

static struct span key_of(const char *setting)
{
	return (struct span){ setting, strcspn(setting, "=") };
}

static bool is_key(struct span key)
{
	for (size_t i = 0; i < key.len; i++)
		if (!(key.p[i] == '_' || (key.p[i] >= '0' && key.p[i] <= '9') ||
		      ((key.p[i] | 0x20) >= 'a' && (key.p[i] | 0x20) <= 'z')))
			return false;
	return key.len > 0;
}

static bool is_usable(const char *setting)
{
	return is_key(key_of(setting)) && strchr(setting, '=') && !strpbrk(setting, "\r\n");
}

static bool line_sets(struct span line, struct span key)
{
	return line.len > key.len && memcmp(line.p, key.p, key.len) == 0 && line.p[key.len] == '=';
}

/* The last setting wins, as the last assignment would in an environment. */
static const char *setting_for_line(struct span line, char *const *settings)
{
	const char *found = NULL;

	for (; settings && *settings; settings++)
		if (is_usable(*settings) && line_sets(line, key_of(*settings)))
			found = *settings;
	return found;
}

static bool is_set_in(struct span text, struct span key)
{
	struct span line;

	while (span_line(&text, &line))
		if (line_sets(line, key))
			return true;
	return false;
}

/* Every line, those that are set anew replaced; of several that set one key the first stays. */
static void replace_lines(struct span text, char *const *settings, struct strbuf *out)
{
	struct span rest = text, line;
	const char *start = text.p;

	while (span_line(&rest, &line)) {
		const char *setting = setting_for_line(line, settings);
		struct span before = { text.p, (size_t)(start - text.p) };
		size_t whole = (size_t)(rest.p - start);

		if (!setting)
			(void)strbuf_append(out, start, whole);
		else if (!is_set_in(before, key_of(setting)))
			(void)strbuf_printf(out, "%s\n", setting);
		start = rest.p;
	}
}

int container_fabric_override(struct span text, char *const *settings, struct strbuf *out,
			      char ***ret_warnings)
{
	replace_lines(text, settings, out);
	for (char *const *s = settings; s && *s; s++) {
		_cleanup_free_ char *warning = NULL;

		if (is_usable(*s)) {
			if (is_set_in((struct span){ strbuf_str(out), out->len }, key_of(*s)))
				continue;
			if (out->len && out->buf[out->len - 1] != '\n')
				(void)strbuf_putc(out, '\n');
			(void)strbuf_printf(out, "%s\n", setting_for_line(SPAN(*s), settings));
			continue;
		}
		warning = key_of(*s).len == 0 ? strdup("NVFM_CONFIG_ names no key and is ignored")
					      : str_printf("NVFM_CONFIG_" SPAN_FMT
							   " is no setting of one line and is ignored",
							   SPAN_ARG(key_of(*s)));
		if (!warning || strv_push(ret_warnings, warning) < 0)
			return -ENOMEM;
	}
	return strbuf_error(out);
}

bool container_fabric_resets_gpus(char *const *settings)
{
	const char *found = setting_for_line(SPAN("FABRIC_MODE="), settings);

	return found && strcmp(found, "FABRIC_MODE=1") == 0;
}
