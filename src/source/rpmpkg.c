/* SPDX-License-Identifier: Apache-2.0
 *
 * An .rpm is a 96-byte lead, a signature header (padded to 8), a header, and a compressed cpio archive. A header is
 * 8 bytes of magic, two big-endian counts, index entries of 16 bytes (tag, type, offset, count) and a data area. */
#include "pkg.h"

#include "fd.h"

#include <archive.h>
#include <string.h>
#include <unistd.h>

#define LEAD_SIZE	 96u
#define HEADER_START	 16u
#define INDEX_ENTRY	 16u
#define INDEX_MAX	 65536u
#define HEADER_DATA_MAX	 ((size_t)64 << 20)
#define TAG_NAME	 1000u
#define TAG_VERSION	 1001u
#define TAG_RELEASE	 1002u
#define TAG_ARCH	 1022u
#define TAG_SOURCERPM	 1044u
#define TYPE_STRING	 6u
#define TYPE_I18N_STRING 9u

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Size of the header at p; 0 when it is not one or too few bytes are there to tell. */
static size_t header_size(const uint8_t *p, size_t len)
{
	static const uint8_t magic[4] = { 0x8e, 0xad, 0xe8, 0x01 };
	uint32_t n, data;

	if (len < HEADER_START || memcmp(p, magic, sizeof(magic)) != 0)
		return 0;
	n = be32(p + 8);
	data = be32(p + 12);
	if (n > INDEX_MAX || data > HEADER_DATA_MAX)
		return 0;
	return HEADER_START + (size_t)n * INDEX_ENTRY + data;
}

static size_t main_header_offset(const uint8_t *p, size_t len)
{
	size_t signature;

	if (len < LEAD_SIZE + HEADER_START || memcmp(p, "\xed\xab\xee\xdb", 4) != 0)
		return 0;
	signature = header_size(p + LEAD_SIZE, len - LEAD_SIZE);
	return signature ? LEAD_SIZE + (signature + 7) / 8 * 8 : 0;
}

size_t rpm_head_size(const uint8_t *p, size_t len)
{
	size_t at = main_header_offset(p, len), size;

	if (!at)
		return 0;
	if (len < at + HEADER_START)
		return at + HEADER_START;
	size = header_size(p + at, len - at);
	return size ? at + size : 0;
}

static char *header_string(const uint8_t *h, size_t size, uint32_t tag)
{
	uint32_t n = be32(h + 8);
	const uint8_t *data = h + HEADER_START + (size_t)n * INDEX_ENTRY;
	size_t data_size = size - HEADER_START - (size_t)n * INDEX_ENTRY;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *en = h + HEADER_START + (size_t)i * INDEX_ENTRY;
		uint32_t offset = be32(en + 8), type = be32(en + 4);

		if (be32(en) != tag || (type != TYPE_STRING && type != TYPE_I18N_STRING) ||
		    offset >= data_size || !memchr(data + offset, 0, data_size - offset))
			continue;
		return strdup((const char *)data + offset);
	}
	return NULL;
}

/* "nvidia-driver-570.1-1.el9.src.rpm" -> "nvidia-driver" */
static char *source_name(const char *file)
{
	size_t n = strlen(file);

	for (int dashes = 0; n > 0; n--)
		if (file[n - 1] == '-' && ++dashes == 2)
			return strndup(file, n - 1);
	return strdup(file);
}

int rpm_parse(const uint8_t *p, size_t len, struct pkg_facts *ret, struct err *e)
{
	_cleanup_(pkg_facts_done) struct pkg_facts f = { 0 };
	_cleanup_free_ char *file = NULL;
	size_t at = main_header_offset(p, len), size = rpm_head_size(p, len);

	if (!at || !size || size > len || size <= at + HEADER_START)
		return err_set(e, -ERR_SOURCE_PACKAGE, "its header is damaged");
	f.name = header_string(p + at, size - at, TAG_NAME);
	f.version = header_string(p + at, size - at, TAG_VERSION);
	f.arch = header_string(p + at, size - at, TAG_ARCH);
	if (!f.name || !f.version || !f.arch)
		return err_set(e, -ERR_SOURCE_PACKAGE,
			       "its header does not name package, version and machine");
	file = header_string(p + at, size - at, TAG_SOURCERPM);
	f.source = file ? source_name(file) : strdup(f.name);
	if (!f.source)
		return err_oom(e);
	*ret = f;
	f = (struct pkg_facts){ 0 };
	return 0;
}

static int read_head(int fd, const char *label, uint8_t **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ uint8_t *buf = NULL;
	size_t need = LEAD_SIZE + HEADER_START;

	for (;;) {
		uint8_t *more = realloc(buf, need);
		size_t next;

		if (!more)
			return err_oom(e);
		buf = more;
		if (pread_exact(fd, buf, need, 0) < 0)
			return err_set(e, -ERR_SOURCE_PACKAGE, "%s ends inside its header", label);
		next = rpm_head_size(buf, need);
		if (!next)
			return err_set(e, -ERR_SOURCE_PACKAGE, "%s: its header is damaged", label);
		if (next <= need)
			break;
		need = next;
	}
	*ret = TAKE_PTR(buf);
	*ret_len = need;
	return 0;
}

int rpm_facts(int fd, const char *label, struct pkg_facts *ret, struct err *e)
{
	_cleanup_free_ uint8_t *head = NULL;
	size_t len = 0;
	int r = read_head(fd, label, &head, &len, e);

	if (r < 0)
		return r;
	r = rpm_parse(head, len, ret, e);
	return r < 0 ? err_wrap(e, "%s", label) : 0;
}

int rpm_members(int fd, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
		struct err *e)
{
	_cleanup_(pkg_archive_freep) struct archive *a = pkg_archive_new();

	if (!a)
		return err_oom(e);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "reading %s", label);
	if (archive_read_open_fd(a, fd, 256 << 10) != ARCHIVE_OK)
		return pkg_archive_error(a, label, e);
	return pkg_walk(a, label, budget, fn, arg, e);
}
