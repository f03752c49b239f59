/* SPDX-License-Identifier: Apache-2.0 */
#include "elffile.h"
#include "fd.h"
#include "strbuf.h"

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct elf *elf)
{
	_cleanup_free_ char *soname = NULL, *text = NULL;
	_cleanup_strv_ char **needed = NULL;
	struct elf_section s;
	size_t len;

	(void)elf_dynamic(elf, &soname, &needed);
	if (elf_section(elf, ".modinfo", &s) == 0 &&
	    elf_section_read(elf, &s, (size_t)1 << 20, &text, &len) == 0 &&
	    (len != s.size || s.offset + s.size > elf->size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("elf", MFD_CLOEXEC);
	struct elf elf;

	if (fd >= 0 && write_all(fd, data, size) == 0 && elf_open(fd, &elf) == 0)
		look(&elf);
	return 0;
}
