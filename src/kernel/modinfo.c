/* SPDX-License-Identifier: Apache-2.0
 *
 * What modules say about themselves: the .modinfo section and the signature. Files come from anywhere, so all offsets go
 * through the checked ELF reader and every count and size has a ceiling. */
#include "modinfo.h"

#include "elffile.h"
#include "fd.h"
#include "parse.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>

#define MODULE_UNPACKED_MAX ((uint64_t)512 << 20)
#define MODINFO_SECTION_MAX ((size_t)4 << 20)
#define MODINFO_ENTRIES_MAX 16384u
#define UNPACK_BLOCK_BYTES  ((size_t)256 << 10)

/* -- opening ---------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *magic;
	size_t len;
} compressions[] = {
	{ "xz",
	  "\xfd"
	  "7zXZ\0",
	  6 },
	{ "zstd", "\x28\xb5\x2f\xfd", 4 },
	{ "gzip", "\x1f\x8b", 2 },
};

const char *module_compression(int fd)
{
	char head[6] = { 0 };
	ssize_t n = pread(fd, head, sizeof(head), 0);

	for (size_t i = 0; i < ARRAY_LEN(compressions); i++) {
		if (n >= (ssize_t)compressions[i].len &&
		    memcmp(head, compressions[i].magic, compressions[i].len) == 0)
			return compressions[i].name;
	}
	return NULL;
}

static void archive_donep(struct archive **a)
{
	(void)archive_read_free(*a);
	*a = NULL;
}

static int unpack_data(struct archive *a, int to, struct err *e)
{
	_cleanup_free_ uint8_t *block = malloc(UNPACK_BLOCK_BYTES);
	uint64_t total = 0;

	if (!block)
		return err_oom(e);
	for (;;) {
		la_ssize_t n = archive_read_data(a, block, UNPACK_BLOCK_BYTES);
		int r;

		if (n == 0)
			return 0;
		if (n < 0)
			return err_set(e, -ERR_MODULE_COMPRESSION, "%s", archive_error_string(a));
		total += (uint64_t)n;
		if (total > MODULE_UNPACKED_MAX)
			return err_set(e, -ERR_TOO_LARGE, "the module unpacks to more than %llu bytes",
				       (unsigned long long)MODULE_UNPACKED_MAX);
		r = write_all(to, block, (size_t)n);
		if (r < 0)
			return err_errno(e, r, "unpacking the module");
	}
}

/* The raw "format" hands out the decompressed stream as the one member of an archive. */
static int unpack_to_memory(int fd, struct err *e)
{
	_cleanup_(archive_donep) struct archive *a = archive_read_new();
	_cleanup_close_ int memory = memfd_create("module", MFD_CLOEXEC);
	struct archive_entry *entry;
	int r;

	if (!a)
		return err_oom(e);
	if (memory < 0)
		return err_errno(e, -errno, "cannot make room to unpack the module");
	(void)archive_read_support_filter_xz(a);
	(void)archive_read_support_filter_zstd(a);
	(void)archive_read_support_filter_gzip(a);
	(void)archive_read_support_format_raw(a);
	if (archive_read_open_fd(a, fd, UNPACK_BLOCK_BYTES) != ARCHIVE_OK ||
	    archive_read_next_header(a, &entry) != ARCHIVE_OK)
		return err_set(e, -ERR_MODULE_COMPRESSION, "%s", archive_error_string(a));
	r = unpack_data(a, memory, e);
	return r < 0 ? r : TAKE_FD(memory);
}

int module_open(int dirfd, const char *path, const char **ret_compression, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *compression;
	struct stat st;
	int r;

	if (fd < 0) {
		err_errno(e, -errno, "cannot open %s", path);
		return err_object(e, "%s", path);
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		err_set(e, -ERR_MODULE_NOT_ELF, "%s is not a regular file", path);
		return err_object(e, "%s", path);
	}
	compression = module_compression(fd);
	if (compression) {
		r = unpack_to_memory(fd, e);
		if (r < 0) {
			err_wrap(e, "unpacking %s", path);
			return err_object(e, "%s", path);
		}
		close_fdp(&fd);
		fd = r;
	}
	if (ret_compression)
		*ret_compression = compression ? compression : "none";
	return TAKE_FD(fd);
}

/* -- ELF -------------------------------------------------------------------------------------------------- */

static int section_find(const struct elf *elf, const char *name, struct elf_section *ret, bool *ret_found,
			struct err *e)
{
	int r = elf_section(elf, name, ret);

	*ret_found = r >= 0;
	if (r < 0 && r != -ENOENT)
		return err_set(e, -ERR_MODULE_NOT_ELF, "its section table is damaged");
	return 0;
}

static int shape_read(int fd, struct elf *elf, struct module_shape *shape, struct err *e)
{
	struct elf_section s;
	int r = elf_open(fd, elf);

	if (r == -ENOTSUP)
		return err_set(e, -ERR_MODULE_NOT_ELF, "an ELF file of another kind of machine");
	if (r < 0)
		return err_set(e, -ERR_MODULE_NOT_ELF, "%s",
			       r == -ENOEXEC ? "no ELF file" : "a damaged ELF file");
	shape->machine = elf->machine;
	shape->type = elf->type;
	r = section_find(elf, ".gnu.linkonce.this_module", &s, &shape->has_this_module, e);
	if (r >= 0)
		r = section_find(elf, ".modinfo", &s, &shape->has_modinfo, e);
	if (r < 0)
		return r;
	if (shape->has_modinfo) {
		shape->modinfo_offset = s.offset;
		shape->modinfo_size = s.size;
	}
	return 0;
}

int module_shape_fd(int fd, struct module_shape *ret, struct err *e)
{
	struct module_shape shape = { 0 };
	struct elf elf;
	int r = shape_read(fd, &elf, &shape, e);

	if (r >= 0)
		*ret = shape;
	return r;
}

/* -- .modinfo --------------------------------------------------------------------------------------------- */

void modinfo_done(struct modinfo *m)
{
	char **const texts[] = { &m->name,    &m->vermagic,   &m->version,
				 &m->license, &m->srcversion, &m->description };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(*texts[i]);
	strv_freep(&m->depends);
	strv_freep(&m->firmware);
	strv_freep(&m->alias);
	for (size_t i = 0; i < m->n_params; i++) {
		free(m->params[i].name);
		free(m->params[i].type);
		free(m->params[i].description);
	}
	free(m->params);
	*m = (struct modinfo)MODINFO_INIT;
}

static int set_text(char **field, struct span value)
{
	/* The kernel takes the first of several; so do we. */
	if (*field)
		return 0;
	*field = span_dup(value);
	return *field ? 0 : -ENOMEM;
}

static int push_text(char ***list, struct span value)
{
	_cleanup_free_ char *s = span_dup(value);

	return s ? strv_push(list, s) : -ENOMEM;
}

static int push_depends(char ***list, struct span value)
{
	while (value.len) {
		const char *comma = memchr(value.p, ',', value.len);
		struct span one = { value.p, comma ? (size_t)(comma - value.p) : value.len };
		int r = one.len ? push_text(list, one) : 0;

		if (r < 0)
			return r;
		value.p += one.len + (comma != NULL);
		value.len -= one.len + (comma != NULL);
	}
	return 0;
}

static struct modinfo_param *param_get(struct modinfo *m, struct span name)
{
	struct modinfo_param *grown;

	for (size_t i = 0; i < m->n_params; i++) {
		if (span_eq(name, m->params[i].name))
			return &m->params[i];
	}
	grown = reallocarray(m->params, m->n_params + 1, sizeof(*m->params));
	if (!grown)
		return NULL;
	m->params = grown;
	grown[m->n_params] = (struct modinfo_param){ .name = span_dup(name) };
	return grown[m->n_params].name ? &grown[m->n_params++] : NULL;
}

/* "name:text" of parm= and parmtype=. */
static int set_param(struct modinfo *m, struct span value, bool is_type)
{
	const char *colon = memchr(value.p, ':', value.len);
	struct span name, text;
	struct modinfo_param *p;

	if (!colon)
		return -EBADMSG;
	name = (struct span){ value.p, (size_t)(colon - value.p) };
	text = (struct span){ colon + 1, value.len - name.len - 1 };
	p = param_get(m, name);
	if (!p)
		return -ENOMEM;
	return set_text(is_type ? &p->type : &p->description, text);
}

static int take_entry(struct modinfo *m, struct span key, struct span value)
{
	const struct {
		const char *key;
		char **field;
	} texts[] = {
		{ "name", &m->name },
		{ "vermagic", &m->vermagic },
		{ "version", &m->version },
		{ "license", &m->license },
		{ "srcversion", &m->srcversion },
		{ "description", &m->description },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (span_eq(key, texts[i].key))
			return set_text(texts[i].field, value);
	}
	if (span_eq(key, "depends"))
		return push_depends(&m->depends, value);
	if (span_eq(key, "firmware"))
		return push_text(&m->firmware, value);
	if (span_eq(key, "alias"))
		return push_text(&m->alias, value);
	if (span_eq(key, "parm") || span_eq(key, "parmtype"))
		return set_param(m, value, key.len > 4);
	return 0;
}

/* One NUL-terminated string of the section. */
static int parse_entry(struct modinfo *m, struct span entry, struct err *e)
{
	const char *eq = memchr(entry.p, '=', entry.len);
	struct span key, value;
	int r;

	if (!eq)
		return err_set(e, -ERR_MODINFO_INVALID, "an entry without '='");
	key = (struct span){ entry.p, (size_t)(eq - entry.p) };
	value = (struct span){ eq + 1, entry.len - key.len - 1 };
	r = take_entry(m, key, value);
	if (r == -EBADMSG)
		return err_set(e, -ERR_MODINFO_INVALID, "a parameter without a name");
	return r < 0 ? err_errno(e, r, "reading .modinfo") : 0;
}

int modinfo_parse(const char *section, size_t len, struct modinfo *ret, struct err *e)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	const char *end = section + len;
	unsigned entries = 0;

	while (section < end) {
		const char *nul = memchr(section, '\0', (size_t)(end - section));
		struct span entry = { section, nul ? (size_t)(nul - section) : 0 };
		int r;

		if (!nul)
			return err_set(e, -ERR_MODINFO_INVALID, "its last entry does not end");
		section = nul + 1;
		if (!entry.len)
			continue; /* alignment between entries */
		if (++entries > MODINFO_ENTRIES_MAX)
			return err_set(e, -ERR_MODINFO_INVALID, "more than %u entries", MODINFO_ENTRIES_MAX);
		r = parse_entry(&m, entry, e);
		if (r < 0)
			return r;
	}
	*ret = m;
	m = (struct modinfo)MODINFO_INIT;
	return 0;
}

static int read_section(const struct elf *elf, struct modinfo *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct elf_section s;
	size_t len;
	int r = elf_section(elf, ".modinfo", &s);

	if (r >= 0)
		r = elf_section_read(elf, &s, MODINFO_SECTION_MAX, &text, &len);
	if (r < 0)
		return err_errno(e, r, "reading .modinfo");
	return modinfo_parse(text, len, ret, e);
}

static int read_signature(int fd, struct modinfo *m, struct err *e)
{
	struct modsig sig;
	int r = modsig_detect_fd(fd, &sig);

	if (r == -EBADMSG)
		return err_set(e, -ERR_MODSIG_TRAILER, "its fields or its length make no sense");
	if (r < 0)
		return err_errno(e, r, "reading the end of the module");
	m->is_signed = sig.is_signed;
	return sig.is_signed ? modsig_info_fd(fd, &m->signature, e) : 0;
}

int modinfo_read_fd(int fd, struct modinfo *ret, struct err *e)
{
	_cleanup_(modinfo_done) struct modinfo m = MODINFO_INIT;
	struct module_shape shape = { 0 };
	struct elf elf;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(e, -errno, "reading the module");
	r = shape_read(fd, &elf, &shape, e);
	if (r >= 0 && (shape.type != ELF_TYPE_REL || !shape.has_modinfo))
		r = err_set(e, -ERR_MODULE_NOT_ELF, "an ELF file without .modinfo, or not a relocatable one");
	if (r >= 0)
		r = read_section(&elf, &m, e);
	if (r >= 0)
		r = read_signature(fd, &m, e);
	if (r < 0)
		return r;
	m.compression = "none";
	m.size_bytes = (uint64_t)st.st_size;
	*ret = m;
	m = (struct modinfo)MODINFO_INIT;
	return 0;
}

int modinfo_read_at(int dirfd, const char *path, struct modinfo *ret, struct err *e)
{
	const char *compression = NULL;
	_cleanup_close_ int fd = module_open(dirfd, path, &compression, e);
	int r;

	if (fd < 0)
		return fd;
	r = modinfo_read_fd(fd, ret, e);
	if (r < 0) {
		err_wrap(e, "%s", path);
		return err_object(e, "%s", path);
	}
	ret->compression = compression;
	return 0;
}
