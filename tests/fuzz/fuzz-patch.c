/* SPDX-License-Identifier: Apache-2.0 */
#include "patch.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/tmp/nvd-fuzz-patch-XXXXXX";

static void remove_directory(void)
{
	if (chdir(path) == 0)
		(void)unlink("f");
	(void)rmdir(path);
}

static int fresh_directory(void)
{
	int fd, file;

	if (!mkdtemp(path))
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	file = openat(fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (file < 0 || write(file, "1\n2\n3\n4\n5\n6\n7\n8\n9\n", 18) != 18)
		abort();
	(void)close(file);
	(void)atexit(remove_directory);
	return fd;
}

/* Parsed and placed against a small file; nothing is written. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int dirfd = -1;
	struct patch_options o = { .strip = PATCH_STRIP_AUTO, .fuzz = size % 3, .dry_run = true };
	struct patch *p = NULL;

	if (patch_parse((struct span){ (const char *)data, size }, "fuzz", &p, NULL) < 0)
		return 0;
	if (dirfd < 0)
		dirfd = fresh_directory();
	if (dirfd >= 0)
		(void)patch_apply_tree(dirfd, &p, 1, &o, NULL, NULL);
	patch_freep(&p);
	return 0;
}
