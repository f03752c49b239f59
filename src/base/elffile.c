/* SPDX-License-Identifier: Apache-2.0 */
#include "elffile.h"
#include "cleanup.h"
#include "fd.h"
#include "strbuf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define DYNAMIC_MAX	((size_t)1 << 20)
#define DYNSTR_NAME_MAX 4096

static int read_at(const struct elf *elf, void *buf, size_t len, uint64_t off)
{
	int r;

	if (off > elf->size || len > elf->size - off)
		return -EBADMSG;
	r = pread_exact(elf->fd, buf, len, elf->base + off);
	return r == -ENODATA ? -EBADMSG : r;
}

static bool table_fits(const struct elf *elf, uint64_t off, uint64_t count, uint64_t entsize)
{
	uint64_t bytes;

	return !__builtin_mul_overflow(count, entsize, &bytes) && off <= elf->size &&
	       bytes <= elf->size - off;
}

static bool is_known(const unsigned char *ident, uint16_t machine)
{
	if (ident[EI_DATA] != ELFDATA2LSB)
		return false;
	if (ident[EI_CLASS] == ELFCLASS32)
		return machine == EM_386;
	return ident[EI_CLASS] == ELFCLASS64 && (machine == EM_X86_64 || machine == EM_AARCH64);
}

/* The two header layouts differ in widths only. */
#define TAKE_HEADER(elf, h)                                                                                  \
	do {                                                                                                 \
		(elf)->type = (h)->e_type;                                                                   \
		(elf)->machine = (h)->e_machine;                                                             \
		(elf)->shoff = (h)->e_shoff;                                                                 \
		(elf)->phoff = (h)->e_phoff;                                                                 \
		(elf)->shnum = (h)->e_shnum;                                                                 \
		(elf)->phnum = (h)->e_phnum;                                                                 \
		(elf)->shstrndx = (h)->e_shstrndx;                                                           \
		(elf)->shentsize = (h)->e_shentsize;                                                         \
		(elf)->phentsize = (h)->e_phentsize;                                                         \
	} while (0)

static int take_header(struct elf *elf, const Elf64_Ehdr *raw)
{
	Elf32_Ehdr small;

	elf->class_bits = raw->e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64;
	if (elf->class_bits == 32) {
		memcpy(&small, raw, sizeof(small));
		TAKE_HEADER(elf, &small);
	} else {
		TAKE_HEADER(elf, raw);
	}
	if (elf->shoff && elf->shentsize != (elf->class_bits == 32 ? sizeof(Elf32_Shdr) : sizeof(Elf64_Shdr)))
		return -EBADMSG;
	if (elf->phnum && elf->phentsize != (elf->class_bits == 32 ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr)))
		return -EBADMSG;
	return 0;
}

static void take_section(struct elf_section *s, const Elf64_Shdr *h)
{
	*s = (struct elf_section){ .offset = h->sh_offset,
				   .size = h->sh_size,
				   .flags = h->sh_flags,
				   .addr = h->sh_addr,
				   .addralign = h->sh_addralign,
				   .entsize = h->sh_entsize,
				   .type = h->sh_type,
				   .link = h->sh_link,
				   .info = h->sh_info };
}

static int read_section_header(const struct elf *elf, uint32_t index, Elf64_Shdr *ret)
{
	uint64_t off = elf->shoff + (uint64_t)index * elf->shentsize;
	Elf32_Shdr small;
	int r;

	if (elf->class_bits == 64)
		return read_at(elf, ret, sizeof(*ret), off);
	r = read_at(elf, &small, sizeof(small), off);
	if (r == 0)
		*ret = (Elf64_Shdr){ .sh_name = small.sh_name,
				     .sh_type = small.sh_type,
				     .sh_flags = small.sh_flags,
				     .sh_addr = small.sh_addr,
				     .sh_offset = small.sh_offset,
				     .sh_size = small.sh_size,
				     .sh_link = small.sh_link,
				     .sh_info = small.sh_info,
				     .sh_addralign = small.sh_addralign,
				     .sh_entsize = small.sh_entsize };
	return r;
}

/* More than 65279 sections: the counts are in section 0 (gABI, "Sections"). */
static int take_extended_counts(struct elf *elf)
{
	Elf64_Shdr zero;
	int r;

	if (!elf->shoff || (elf->shnum != 0 && elf->shstrndx != SHN_XINDEX))
		return 0;
	r = read_section_header(elf, 0, &zero);
	if (r < 0)
		return r;
	if (elf->shnum == 0) {
		if (zero.sh_size > UINT32_MAX)
			return -EBADMSG;
		elf->shnum = (uint32_t)zero.sh_size;
	}
	if (elf->shstrndx == SHN_XINDEX)
		elf->shstrndx = zero.sh_link;
	return 0;
}

int elf_open_range(int fd, uint64_t base, uint64_t size, struct elf *ret)
{
	struct elf elf = { .fd = fd, .base = base, .size = size };
	Elf64_Ehdr h = { 0 };
	int r;

	if (size < sizeof(Elf32_Ehdr))
		return -ENOEXEC;
	r = read_at(&elf, &h, size < sizeof(h) ? (size_t)size : sizeof(h), 0);
	if (r < 0)
		return r;
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	/* e_machine has the same place in both layouts. */
	if (!is_known(h.e_ident, h.e_machine))
		return -ENOTSUP;
	if (h.e_ident[EI_CLASS] == ELFCLASS64 && size < sizeof(h))
		return -EBADMSG;
	r = take_header(&elf, &h);
	if (r < 0)
		return r;
	r = take_extended_counts(&elf);
	if (r < 0)
		return r;
	if (!elf.shoff)
		elf.shnum = 0;
	if (!table_fits(&elf, elf.shoff, elf.shnum, elf.shentsize) ||
	    !table_fits(&elf, elf.phoff, elf.phnum, elf.phentsize))
		return -EBADMSG;
	if (elf.shnum && elf.shstrndx >= elf.shnum)
		return -EBADMSG;
	*ret = elf;
	return 0;
}

int elf_open(int fd, struct elf *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return elf_open_range(fd, 0, (uint64_t)st.st_size, ret);
}

static int section_name(const struct elf *elf, uint32_t offset, char *out, size_t size)
{
	Elf64_Shdr strings;
	size_t n;
	int r;

	out[0] = '\0';
	if (elf->shstrndx == SHN_UNDEF)
		return 0;
	r = read_section_header(elf, elf->shstrndx, &strings);
	if (r < 0)
		return r;
	if (offset >= strings.sh_size)
		return strings.sh_size == 0 && offset == 0 ? 0 : -EBADMSG;
	n = strings.sh_size - offset < size - 1 ? (size_t)(strings.sh_size - offset) : size - 1;
	if (strings.sh_offset > elf->size)
		return -EBADMSG;
	r = read_at(elf, out, n, strings.sh_offset + offset);
	out[r < 0 ? 0 : n] = '\0';
	return r;
}

int elf_section_at(const struct elf *elf, uint32_t index, struct elf_section *ret)
{
	struct elf_section s;
	Elf64_Shdr h;
	int r;

	if (index >= elf->shnum)
		return -ENOENT;
	r = read_section_header(elf, index, &h);
	if (r < 0)
		return r;
	take_section(&s, &h);
	s.index = index;
	if (s.type != SHT_NOBITS && s.type != SHT_NULL && !table_fits(elf, s.offset, s.size, 1))
		return -EBADMSG;
	r = section_name(elf, h.sh_name, s.name, sizeof(s.name));
	if (r < 0)
		return r;
	*ret = s;
	return 0;
}

int elf_section(const struct elf *elf, const char *name, struct elf_section *ret)
{
	for (uint32_t i = 1; i < elf->shnum; i++) {
		struct elf_section s;
		int r = elf_section_at(elf, i, &s);

		if (r < 0)
			return r;
		if (strcmp(s.name, name) == 0) {
			*ret = s;
			return 0;
		}
	}
	return -ENOENT;
}

static int read_block(const struct elf *elf, uint64_t off, uint64_t size, size_t max_bytes, char **ret)
{
	_cleanup_free_ char *buf = NULL;
	int r;

	if (size > max_bytes)
		return -E2BIG;
	if (!table_fits(elf, off, size, 1))
		return -EBADMSG;
	buf = malloc((size_t)size + 1);
	if (!buf)
		return -ENOMEM;
	r = read_at(elf, buf, (size_t)size, off);
	if (r < 0)
		return r;
	buf[size] = '\0';
	*ret = TAKE_PTR(buf);
	return 0;
}

int elf_section_read(const struct elf *elf, const struct elf_section *s, size_t max_bytes, char **ret,
		     size_t *ret_len)
{
	int r;

	if (s->type == SHT_NOBITS)
		return -EBADMSG;
	r = read_block(elf, s->offset, s->size, max_bytes, ret);
	if (r == 0 && ret_len)
		*ret_len = (size_t)s->size;
	return r;
}

static int read_segment(const struct elf *elf, unsigned index, Elf64_Phdr *ret)
{
	uint64_t off = elf->phoff + (uint64_t)index * elf->phentsize;
	Elf32_Phdr small;
	int r;

	if (elf->class_bits == 64)
		return read_at(elf, ret, sizeof(*ret), off);
	r = read_at(elf, &small, sizeof(small), off);
	if (r == 0)
		*ret = (Elf64_Phdr){ .p_type = small.p_type,
				     .p_offset = small.p_offset,
				     .p_vaddr = small.p_vaddr,
				     .p_filesz = small.p_filesz };
	return r;
}

/* Where the loader's address `addr` lies in the file: the load segments tell. */
static int address_offset(const struct elf *elf, uint64_t addr, uint64_t *ret_off, uint64_t *ret_left)
{
	for (unsigned i = 0; i < elf->phnum; i++) {
		Elf64_Phdr p;
		int r = read_segment(elf, i, &p);

		if (r < 0)
			return r;
		if (p.p_type != PT_LOAD || addr < p.p_vaddr || addr - p.p_vaddr >= p.p_filesz)
			continue;
		if (!table_fits(elf, p.p_offset, p.p_filesz, 1))
			return -EBADMSG;
		*ret_off = p.p_offset + (addr - p.p_vaddr);
		*ret_left = p.p_filesz - (addr - p.p_vaddr);
		return 0;
	}
	return -EBADMSG;
}

struct dynamic {
	char *entries; /* owned */
	size_t count;
	unsigned class_bits;
	uint64_t strtab, strsz; /* file offset and length */
};

static void dynamic_done(struct dynamic *d)
{
	free(d->entries);
}

static Elf64_Dyn dynamic_at(const struct dynamic *d, size_t i)
{
	Elf64_Dyn wide;
	Elf32_Dyn small;

	if (d->class_bits == 64) {
		memcpy(&wide, d->entries + i * sizeof(wide), sizeof(wide));
		return wide;
	}
	memcpy(&small, d->entries + i * sizeof(small), sizeof(small));
	return (Elf64_Dyn){ .d_tag = small.d_tag, .d_un.d_val = small.d_un.d_val };
}

/* 0 with count 0 when the object has no dynamic segment. */
static int dynamic_load(const struct elf *elf, struct dynamic *d)
{
	size_t entsize = elf->class_bits == 64 ? sizeof(Elf64_Dyn) : sizeof(Elf32_Dyn);
	Elf64_Phdr p = { 0 };
	int r;

	d->class_bits = elf->class_bits;
	for (unsigned i = 0; i < elf->phnum && p.p_type != PT_DYNAMIC; i++) {
		r = read_segment(elf, i, &p);
		if (r < 0)
			return r;
	}
	if (p.p_type != PT_DYNAMIC)
		return 0;
	r = read_block(elf, p.p_offset, p.p_filesz, DYNAMIC_MAX, &d->entries);
	if (r < 0)
		return r == -E2BIG ? -EBADMSG : r;
	d->count = (size_t)p.p_filesz / entsize;
	for (size_t i = 0; i < d->count; i++)
		if (dynamic_at(d, i).d_tag == DT_NULL)
			d->count = i;
	return 0;
}

static int dynamic_strings(const struct elf *elf, struct dynamic *d)
{
	uint64_t addr = 0, size = 0, left;
	int r;

	for (size_t i = 0; i < d->count; i++) {
		Elf64_Dyn entry = dynamic_at(d, i);

		if (entry.d_tag == DT_STRTAB)
			addr = entry.d_un.d_ptr;
		else if (entry.d_tag == DT_STRSZ)
			size = entry.d_un.d_val;
	}
	if (d->count == 0)
		return 0;
	r = address_offset(elf, addr, &d->strtab, &left);
	if (r < 0)
		return r;
	d->strsz = size < left ? size : left;
	return 0;
}

static int dynamic_string(const struct elf *elf, const struct dynamic *d, uint64_t at, char **ret)
{
	_cleanup_free_ char *text = NULL;
	uint64_t left;
	int r;

	if (at >= d->strsz)
		return -EBADMSG;
	left = d->strsz - at;
	if (left > DYNSTR_NAME_MAX)
		left = DYNSTR_NAME_MAX;
	r = read_block(elf, d->strtab + at, left, DYNSTR_NAME_MAX, &text);
	if (r < 0)
		return r;
	if (strnlen(text, (size_t)left) == left)
		return -EBADMSG;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

int elf_dynamic(const struct elf *elf, char **ret_soname, char ***ret_needed)
{
	_cleanup_(dynamic_done) struct dynamic d = { 0 };
	_cleanup_free_ char *soname = NULL;
	_cleanup_strv_ char **needed = NULL;
	int r = dynamic_load(elf, &d);

	if (r == 0)
		r = dynamic_strings(elf, &d);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d.count; i++) {
		Elf64_Dyn entry = dynamic_at(&d, i);
		_cleanup_free_ char *text = NULL;

		if (entry.d_tag != DT_SONAME && entry.d_tag != DT_NEEDED)
			continue;
		r = dynamic_string(elf, &d, entry.d_un.d_val, &text);
		if (r < 0)
			return r;
		if (entry.d_tag == DT_NEEDED && (r = strv_push(&needed, text)) < 0)
			return r;
		if (entry.d_tag == DT_SONAME && !soname)
			soname = TAKE_PTR(text);
	}
	if (ret_soname)
		*ret_soname = TAKE_PTR(soname);
	if (ret_needed)
		*ret_needed = TAKE_PTR(needed);
	return 0;
}

const char *elf_machine_name(uint16_t machine)
{
	return machine == EM_X86_64    ? "x86_64"
	       : machine == EM_AARCH64 ? "aarch64"
	       : machine == EM_386     ? "i386"
				       : "unknown";
}
