/* SPDX-License-Identifier: Apache-2.0 */
#include "container-catalog.h"

#include "fd.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "ytree.h"
#include "err-container.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#define BUILDER_DRIVERS "mnt/shared-nvidia-driver-toolkit/drivers"
#define CATALOG_NAME	"vgpuDriverCatalog.yaml"
#define LOG_PLACE	"var/log/vgpu-util.log"
#define RUN_PREFIX	"NVIDIA-Linux-x86_64-"
#define GRID_SUFFIX	"-grid"
#define RUN_SUFFIX	GRID_SUFFIX ".run"

void container_vgpu_places(const struct host *h, struct container_vgpu_places *ret)
{
	*ret =
	    path_exists(h->root_fd, BUILDER_DRIVERS)
		? (struct container_vgpu_places){ "/" BUILDER_DRIVERS, "/" BUILDER_DRIVERS "/" CATALOG_NAME }
		: (struct container_vgpu_places){ "/drivers", "/drivers/" CATALOG_NAME };
}

static int write_line(const struct host *h, const char *text)
{
	const char *name = NULL;
	_cleanup_close_ int dir = path_open_parent(h->root_fd, LOG_PLACE, true, PATH_IN_ROOT, &name);
	_cleanup_close_ int fd = -EBADF;

	if (dir < 0)
		return dir;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 ? -errno : write_all(fd, text, strlen(text));
}

void container_vgpu_log(const struct host *h, const char *level, const char *message, json_t *object)
{
	static bool warned;
	_cleanup_free_ char *dump = NULL, *line = NULL;
	json_t *j = object ? object : json_object();
	time_t now = time(NULL);
	char when[32] = "";
	struct tm tm;
	int r = -ENOMEM;

	if (gmtime_r(&now, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (j && json_object_set_new(j, "time", json_string(when)) == 0 &&
	    json_object_set_new(j, "level", json_string(level)) == 0 &&
	    json_object_set_new(j, "message", json_string(message)) == 0)
		dump = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(j);
	line = dump ? str_printf("%s\n", dump) : NULL;
	if (line)
		r = write_line(h, line);
	if (r < 0 && !warned)
		log_warn("/%s cannot be written: %s", LOG_PLACE, strerror(-r));
	warned |= r < 0;
}

/* Versions of NVIDIA-Linux-x86_64-<version>-grid.run. */
static int list_available(const struct host *h, const char *path, char ***ret, struct err *e)
{
	int fd = path_open_at(h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	struct dirent *de;
	DIR *d;

	if (fd < 0)
		return err_errno(e, fd, "cannot list the guest drivers in %s", path);
	d = fdopendir(fd);
	if (!d) {
		close_fdp(&fd);
		return err_oom(e);
	}
	while (r == 0 && (de = readdir(d))) {
		struct span name = SPAN(de->d_name);
		_cleanup_free_ char *version = NULL;

		if (name.len <= strlen(RUN_PREFIX) + strlen(RUN_SUFFIX) || !span_starts(name, RUN_PREFIX) ||
		    !span_ends(name, RUN_SUFFIX))
			continue;
		version = span_dup((struct span){ name.p + strlen(RUN_PREFIX),
						  name.len - strlen(RUN_PREFIX) - strlen(RUN_SUFFIX) });
		if (version && version_is_valid(version))
			r = strv_push(ret, version);
		else if (!version)
			r = -ENOMEM;
	}
	(void)closedir(d);
	if (*ret)
		strv_sort(*ret);
	return r < 0 ? err_oom(e) : 0;
}

static int load_catalog(const struct host *h, const char *path, struct catalog *ret, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(h->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = fd < 0 ? fd : read_fd(fd, YTREE_TEXT_MAX, &text, &len);

	if (r < 0)
		r = err_set(e, ERR_VGPU_CATALOG, "cannot be read: %s", strerror(-r));
	else
		r = catalog_parse((struct span){ text, len }, ret, e);
	if (r < 0) {
		(void)err_wrap(e, "%s", path);
		(void)err_object(e, "%s", path);
	}
	return r;
}

static json_t *strv_json(char *const *v)
{
	json_t *a = json_array();

	for (; v && *v; v++)
		(void)json_array_append_new(a, json_string(*v));
	return a;
}

static int choose(const struct host *h, const struct container_vgpu_places *places,
		  const struct pcicap_device *gpu, char **ret, struct err *e)
{
	_cleanup_(catalog_done) struct catalog c = { 0 };
	_cleanup_strv_ char **available = NULL;
	const struct catalog_entry *best = NULL;
	int r = list_available(h, places->installers, &available, e);

	if (r < 0)
		return r;
	container_vgpu_log(
	    h, "info", "guest drivers",
	    json_pack("{s:s, s:o}", "directory", places->installers, "versions", strv_json(available)));
	r = load_catalog(h, places->catalog, &c, e);
	if (r == 0)
		r = catalog_match(&c, gpu, available, &best, e);
	if (r < 0)
		return r;
	container_vgpu_log(h, "info", "chosen",
			   json_pack("{s:s, s:s, s:s}", "version", best->version, "branch", best->branch,
				     "date", best->date ? best->date : ""));
	*ret = str_printf("%s" GRID_SUFFIX, best->version);
	return *ret ? 1 : err_oom(e);
}

int container_vgpu_choose(const struct host *h, const struct container_vgpu_places *places,
			  char **ret_version, struct err *e)
{
	_cleanup_(pcicap_list_done) struct pcicap_list l = { NULL, 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r = pcicap_list_read(h, &l, &own);

	for (size_t i = 0; i < l.n; i++)
		container_vgpu_log(h, "info", "virtual GPU",
				   json_pack("{s:s, s:i, s:s, s:s}", "address", l.v[i].address, "device_id",
					     (int)l.v[i].device, "host_version", l.v[i].host.version,
					     "host_branch", l.v[i].host.branch));
	if (r == 0 && l.n > 0)
		r = choose(h, places, &l.v[0], ret_version, &own);
	if (r < 0)
		container_vgpu_log(h, "error", own.reason ? own.reason : err_sentence(own.code),
				   json_pack("{s:s}", "slug", err_slug(own.code)));
	if (r < 0)
		err_move(e, &own);
	return r;
}
