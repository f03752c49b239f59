/* SPDX-License-Identifier: Apache-2.0 */
#include "precompiled.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the reader accepts, the writer writes again, and that reads as the same listing. */
static void check_fixpoint(const struct precompiled *p, const char *listing)
{
	_cleanup_close_ int dir_fd = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(precompiled_freep) struct precompiled *again = NULL;
	_cleanup_free_ char *text = NULL;
	char name[64];

	(void)snprintf(name, sizeof(name), "nvdriver-fuzz-%d", (int)getpid());
	if (dir_fd < 0 || precompiled_write(dir_fd, name, &(struct precompiled_header){ .mode = 0600 }, p,
					    NULL, 0, false, NULL) < 0)
		return;
	if (precompiled_open(dir_fd, name, PRECOMPILED_VERIFY, &again, NULL) < 0 ||
	    precompiled_info_text(again, &text, NULL) < 0 || strcmp(text, listing) != 0)
		abort();
	(void)unlinkat(dir_fd, name, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned modes[] = { PRECOMPILED_READ_HEADER, 0,
					  PRECOMPILED_VERIFY | PRECOMPILED_LENIENT, PRECOMPILED_VERIFY };
	int fd = memfd_create("package", MFD_CLOEXEC);

	if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size))
		abort();
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		_cleanup_(precompiled_freep) struct precompiled *p = NULL;
		_cleanup_(err_done) struct err e = ERR_INIT;
		_cleanup_free_ char *listing = NULL;
		int again = dup(fd);

		if (precompiled_open_fd(again, "fuzz", modes[i], &p, &e) < 0) {
			close(again);
			continue;
		}
		(void)precompiled_match(p, "535.261.03", "P", NULL);
		if (p->files && precompiled_info_text(p, &listing, NULL) >= 0 &&
		    modes[i] == PRECOMPILED_VERIFY)
			check_fixpoint(p, listing);
	}
	close(fd);
	return 0;
}
