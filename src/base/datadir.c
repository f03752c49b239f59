/* SPDX-License-Identifier: Apache-2.0 */
#include "datadir.h"
#include "cleanup.h"
#include "strbuf.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static bool runs_from_build_tree(void)
{
	static const char build[] = NVDRIVER_BUILD_ROOT "/";
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n < 0)
		return false;
	exe[n] = '\0';
	return strncmp(exe, build, strlen(build)) == 0;
}

char *datadir_path(const char *name)
{
	const char *named = secure_getenv("NVDRIVER_DATADIR");
	_cleanup_free_ char *built = NULL;

	if (named && *named)
		return str_printf("%s/%s", named, name);
	if (!runs_from_build_tree())
		return str_printf("%s/%s", NVDRIVER_INSTALLED_DATA, name);
	built = str_printf("%s/data/%s", NVDRIVER_BUILD_ROOT, name);
	if (!built || access(built, F_OK) == 0)
		return TAKE_PTR(built);
	return str_printf("%s/data/%s", NVDRIVER_SOURCE_ROOT, name);
}
