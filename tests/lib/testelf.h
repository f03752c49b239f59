/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The smallest relocatable ELF file that passes for a kernel module: .modinfo, .gnu.linkonce.this_module, names. */

#include "testlib.h"

#include <elf.h>

struct testelf {
	uint8_t bytes[8192];
	size_t len;
};

struct testelf_spec {
	const char *modinfo; /* NULL = no such section */
	size_t modinfo_len;
	bool no_this_module;
	uint16_t type, machine; /* 0 = ET_REL, x86_64 */
};

static inline void testelf_make(struct testelf *out, const struct testelf_spec *spec)
{
	static const char names[] = "\0.modinfo\0.gnu.linkonce.this_module\0.shstrtab";
	Elf64_Shdr sections[4] = { 0 };
	Elf64_Ehdr head = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			    .e_type = spec->type ? spec->type : ET_REL,
			    .e_machine = spec->machine ? spec->machine : EM_X86_64,
			    .e_version = EV_CURRENT,
			    .e_ehsize = sizeof(head),
			    .e_shentsize = sizeof(Elf64_Shdr),
			    .e_shnum = 4,
			    .e_shstrndx = 3 };
	size_t at = sizeof(head);

	assert_true(spec->modinfo_len < 4096);
	memset(out, 0, sizeof(*out));
	sections[1] = (Elf64_Shdr){ .sh_name = spec->modinfo ? 1 : 0,
				    .sh_type = SHT_PROGBITS,
				    .sh_offset = at,
				    .sh_size = spec->modinfo_len };
	if (spec->modinfo)
		memcpy(out->bytes + at, spec->modinfo, spec->modinfo_len);
	at += spec->modinfo_len;
	sections[2] = (Elf64_Shdr){ .sh_name = spec->no_this_module ? 0 : 10,
				    .sh_type = SHT_PROGBITS,
				    .sh_offset = at,
				    .sh_size = 64 };
	at += 64;
	sections[3] =
	    (Elf64_Shdr){ .sh_name = 36, .sh_type = SHT_STRTAB, .sh_offset = at, .sh_size = sizeof(names) };
	memcpy(out->bytes + at, names, sizeof(names));
	at = (at + sizeof(names) + 7) & ~(size_t)7;
	head.e_shoff = at;
	memcpy(out->bytes + at, sections, sizeof(sections));
	memcpy(out->bytes, &head, sizeof(head));
	out->len = at + sizeof(sections);
}

#define TESTELF_MODINFO                                                                                      \
	"version=535.261.03\0license=NVIDIA\0srcversion=ABC\0depends=drm,i2c-core\0name=nvidia\0"            \
	"vermagic=6.1.0-56-amd64 SMP preempt mod_unload modversions "                                        \
	"\0firmware=nvidia/a.bin\0firmware=nvidia/b.bin\0"                                                   \
	"alias=pci:v000010DE*\0parm=NVreg_X:what x does\0parmtype=NVreg_X:int\0parmtype=NVreg_Y:charp\0"

static inline void testelf_module(struct testelf *out)
{
	testelf_make(out, &(struct testelf_spec){ .modinfo = TESTELF_MODINFO,
						  .modinfo_len = sizeof(TESTELF_MODINFO) - 1 });
}
