/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs in the runtime's name-spaces with the container's mounts made and its root not yet changed to. The root is somebody
 * else's: an image may hold any link anywhere. */
#include "cdi.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_MAX ((size_t)8 << 20)
#define CONF_PATH  "etc/ld.so.conf.d/00-nvdriver.conf"
#define CURRENT	   CDI_MOUNT "/current"
#define TIMEOUT_S  60

/* Programs are linked below usr/bin by name, where the image has none of that name. */
static const char *const programs[] = { "nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control",
					"nvidia-cuda-mps-server" };

/* <bundle>/config.json says where the root is; relative names are the bundle's. */
static int root_find(struct span state, char **ret, struct err *e)
{
	_cleanup_json_ json_t *s = NULL, *config = NULL;
	_cleanup_close_ int bundle_fd = -EBADF;
	const char *bundle, *path;
	json_t *root;
	int r = jparse(state, &s, e);

	if (r >= 0)
		r = jget_str(s, "bundle", &bundle, e);
	if (r < 0)
		return err_wrap(e, "the runtime's state");
	bundle_fd = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (bundle_fd < 0)
		return err_errno(e, -errno, "cannot open the bundle %s", bundle);
	r = jload_at(bundle_fd, "config.json", CONFIG_MAX, &config, e);
	if (r >= 0)
		r = jget_object(config, "root", &root, e);
	if (r >= 0)
		r = jget_str(root, "path", &path, e);
	if (r < 0)
		return err_wrap(e, "%s/config.json", bundle);
	*ret = path[0] == '/' ? strdup(path) : str_printf("%s/%s", bundle, path);
	return *ret ? 0 : err_oom(e);
}

/* glibc's loader reads the directory only when its main file says so; most distributions' does. */
static bool has_glibc(int root_fd)
{
	return path_exists(root_fd, "etc/ld.so.conf") || path_exists(root_fd, "etc/ld.so.cache") ||
	       path_exists(root_fd, "sbin/ldconfig");
}

static int conf_write(int root_fd, struct err *e)
{
	static const char text[] = CURRENT "/lib\n" CURRENT "/lib32\n";
	const char *name;
	_cleanup_close_ int dir = path_open_parent(root_fd, CONF_PATH, true, PATH_IN_ROOT, &name);
	int r = dir < 0 ? dir : publish_bytes(dir, name, text, sizeof(text) - 1, 0644);

	return r < 0 ? err_errno(e, r, "writing /" CONF_PATH) : 0;
}

/* An image whose main file does not include the directory gets the line. */
static int conf_include(int root_fd, struct err *e)
{
	static const char line[] = "include /etc/ld.so.conf.d/*.conf\n";
	_cleanup_close_ int fd =
	    path_open_at(root_fd, "etc/ld.so.conf", O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_close_ int etc = path_open_at(root_fd, "etc", O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(CONFIG_MAX);
	_cleanup_free_ char *have = NULL;
	size_t len = 0;
	struct stat st;
	int r;

	if (etc < 0)
		return err_errno(e, etc, "opening /etc");
	if (fd >= 0 &&
	    (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || read_fd(fd, CONFIG_MAX, &have, &len) < 0))
		return 0;
	if (have && strstr(have, "ld.so.conf.d"))
		return 0;
	(void)strbuf_puts(&text, line);
	(void)strbuf_append(&text, have, len);
	r = strbuf_error(&text);
	if (r >= 0)
		r = publish_bytes(etc, "ld.so.conf", strbuf_str(&text), text.len, 0644);
	return r < 0 ? err_errno(e, r, "writing /etc/ld.so.conf") : 0;
}

static void link_programs(int root_fd)
{
	_cleanup_close_ int bin = path_open_at(root_fd, "usr/bin", O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);

	for (size_t i = 0; bin >= 0 && i < ARRAY_LEN(programs); i++) {
		_cleanup_free_ char *target = str_printf(CURRENT "/bin/%s", programs[i]);

		if (target && path_exists(root_fd, target) && symlinkat(target, bin, programs[i]) < 0 &&
		    errno != EEXIST)
			log_warn("linking /usr/bin/%s: %s", programs[i], strerror(errno));
	}
}

/* The host's own program, so none of the container's runs. */
static int cache_make(const char *root, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("ldconfig");
	_cleanup_free_ char *program = NULL;

	if (spawn_find("ldconfig.real", &program) < 0 && spawn_find("ldconfig", &program) < 0)
		return err_set(e, ERR_TOOL_MISSING, "ldconfig");
	(void)spawn_argv(&s, program, "-X", "-r", root, NULL);
	s.timeout_s = TIMEOUT_S;
	return spawn_check(&s, e);
}

int cdi_hook_run(struct span state, struct err *e)
{
	_cleanup_free_ char *root = NULL;
	_cleanup_close_ int root_fd = -EBADF;
	int r = root_find(state, &root, e);

	if (r < 0)
		return r;
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_errno(e, -errno, "cannot open the container's root %s", root);
	if (!has_glibc(root_fd)) {
		log_warn(
		    "the container's C library has no loader cache; it finds the driver only by its path");
		return 0;
	}
	r = conf_write(root_fd, e);
	if (r >= 0)
		r = conf_include(root_fd, e);
	if (r < 0)
		return r;
	link_programs(root_fd);
	return cache_make(root, e);
}
