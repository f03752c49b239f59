/* SPDX-License-Identifier: Apache-2.0
 *
 * Every mount point found lies at or below the path that was asked for, those above before those below. */
#include "container-export.h"
#include "strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char path[] = "/run/nvidia/driver";
	_cleanup_strv_ char **points = NULL;

	if (container_mounts_below((struct span){ (const char *)data, size }, path, &points) < 0)
		return 0;
	for (char **p = points; p && *p; p++)
		if (strncmp(*p, path, strlen(path)) != 0 ||
		    ((*p)[strlen(path)] != '\0' && (*p)[strlen(path)] != '/'))
			abort();
	return 0;
}
