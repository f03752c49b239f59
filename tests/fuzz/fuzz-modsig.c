/* SPDX-License-Identifier: Apache-2.0 */
#include "modsig.h"

#include <stdint.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The trailer of a file, the DER in it, and the input taken as DER itself. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	int fd = memfd_create("module", MFD_CLOEXEC);
	struct modsig by_bytes, by_file;
	struct cms_info info;
	int a, b;

	if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size))
		abort();
	a = modsig_detect(data, size, &by_bytes);
	b = modsig_detect_fd(fd, &by_file);
	if (a != b || (a >= 0 && by_bytes.content_size != by_file.content_size))
		abort();
	(void)modsig_info_fd(fd, &info, &e);
	(void)cms_parse(data, size, &info, &e);
	close(fd);
	return 0;
}
