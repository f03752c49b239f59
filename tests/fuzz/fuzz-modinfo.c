/* SPDX-License-Identifier: Apache-2.0 */
#include "modinfo.h"

#include <stdint.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a whole module, and as the bytes of its .modinfo section. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(modinfo_done) struct modinfo file = MODINFO_INIT, section = MODINFO_INIT;
	_cleanup_(err_done) struct err e = ERR_INIT;
	int fd = memfd_create("module", MFD_CLOEXEC);

	if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size))
		abort();
	(void)modinfo_read_fd(fd, &file, &e);
	(void)modinfo_parse((const char *)data, size, &section, &e);
	close(fd);
	return 0;
}
