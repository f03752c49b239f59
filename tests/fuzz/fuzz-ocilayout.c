/* SPDX-License-Identifier: Apache-2.0
 *
 * The archive a bundle is: its index by headers, and every blob a bundle names, read to its end. */
#include "bundle-internal.h"

#include "fd.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	_cleanup_close_ int fd = -EBADF;
	char path[64];

	snprintf(path, sizeof(path), "/dev/shm/fuzz-ocilayout-%d", getpid());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && write_all(fd, data, size) == 0 && bundle_open(path, &b, NULL) == 0)
		(void)bundle_verify(b, NULL, NULL);
	(void)unlink(path);
	return 0;
}
