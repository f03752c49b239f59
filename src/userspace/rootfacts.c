/* SPDX-License-Identifier: Apache-2.0 */
#include "rootfacts.h"

#include "cleanup.h"
#include "libdir.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>

static bool any_exists(int root_fd, const char *const *paths, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int fd = path_open_at(root_fd, paths[i], O_PATH, 0, PATH_IN_ROOT);

		if (fd >= 0)
			return true;
	}
	return false;
}

bool root_has_systemd(int root_fd)
{
	static const char *const paths[] = { "usr/bin/systemctl", "bin/systemctl" };

	return any_exists(root_fd, paths, ARRAY_LEN(paths));
}

bool root_has_glvnd(int root_fd, const char *machine)
{
	static const char *const libs[] = { "libGLdispatch.so.0", "libOpenGL.so.0", "libGLX.so.0",
					    "libGL.so.1", "libEGL.so.1" };
	_cleanup_strv_ char **dirs = NULL;

	if (libdir_loader_dirs(root_fd, machine, 64, &dirs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(libs); i++) {
		bool found = false;

		for (char **d = dirs; !found && d && *d; d++) {
			_cleanup_free_ char *path = str_printf("%s/%s", *d, libs[i]);
			const char *one = path;

			found = path && any_exists(root_fd, &one, 1);
		}
		if (!found)
			return false;
	}
	return true;
}

bool root_has_x_server(int root_fd)
{
	static const char *const paths[] = { "usr/bin/Xorg", "usr/lib/xorg/Xorg", "usr/libexec/Xorg" };

	return any_exists(root_fd, paths, ARRAY_LEN(paths));
}

bool root_alternate_present(int root_fd)
{
	static const char *const paths[] = { "usr/lib/nvidia/alternate-install-present" };

	return any_exists(root_fd, paths, 1);
}

bool root_alternate_available(int root_fd)
{
	static const char *const paths[] = { "usr/lib/nvidia/alternate-install-available" };

	return any_exists(root_fd, paths, 1);
}
