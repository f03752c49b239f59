/* SPDX-License-Identifier: Apache-2.0 */
#include "header.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The header, and where the payload would lie in a file of exactly these bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(runfile_header_freep) struct runfile_header *h = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct runfile_layout layout;

	if (runfile_header_parse((struct span){ (const char *)data, size }, &h, NULL) < 0)
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return 0;
	if (runfile_header_locate(h, fd, size, &layout, NULL) == 0 && layout.payload_offset >= size)
		abort();
	return 0;
}
