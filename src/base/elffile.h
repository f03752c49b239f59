/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What we need to know of an ELF file somebody else made, read through a descriptor with every offset, size and
 * count checked against the file. Little-endian x86_64, i386 and aarch64 only. */

#include <stdint.h>
#include <stddef.h>

enum elf_machine { ELF_MACHINE_I386 = 3, ELF_MACHINE_X86_64 = 62, ELF_MACHINE_AARCH64 = 183 };
enum elf_type { ELF_TYPE_REL = 1, ELF_TYPE_EXEC = 2, ELF_TYPE_DYN = 3 };

struct elf {
	int fd; /* borrowed */
	uint64_t base, size; /* where the ELF image begins in the file and how long it may be at most */
	unsigned class_bits; /* 32 or 64 */
	uint16_t machine; /* enum elf_machine */
	uint16_t type; /* enum elf_type */
	uint64_t shoff, phoff;
	uint32_t shnum, shstrndx;
	uint16_t phnum, shentsize, phentsize;
};

/* Reads the header of the regular file `fd`. -ENOEXEC: no ELF file; -ENOTSUP: another machine or byte order;
 * -EBADMSG: an ELF file whose tables lie outside it; -EINVAL: no regular file. */
int elf_open(int fd, struct elf *ret);

/* Same for an image that begins at `base` and has `size` bytes, for a file inside another. */
int elf_open_range(int fd, uint64_t base, uint64_t size, struct elf *ret);

struct elf_section {
	uint64_t offset, size; /* from the start of the image; inside it unless type is 8 (no bits) */
	uint64_t flags, addr, addralign, entsize;
	uint32_t type, link, info, index;
	char name[64]; /* cut if longer */
};

/* Section by number or by name. -ENOENT: no such section; -EBADMSG: damaged. */
int elf_section_at(const struct elf *elf, uint32_t index, struct elf_section *ret);
int elf_section(const struct elf *elf, const char *name, struct elf_section *ret);

/* Whole contents of a section, with a NUL behind them. -E2BIG over max_bytes. Caller frees. */
int elf_section_read(const struct elf *elf, const struct elf_section *s, size_t max_bytes, char **ret,
		     size_t *ret_len);

/* DT_SONAME (NULL when there is none) and DT_NEEDED of a dynamic object; caller frees both (strv_freep). An object
 * without a dynamic segment has neither. Either pointer may be NULL. -EBADMSG: damaged. */
int elf_dynamic(const struct elf *elf, char **ret_soname, char ***ret_needed);

/* "x86_64", "aarch64", "i386". */
const char *elf_machine_name(uint16_t machine);
