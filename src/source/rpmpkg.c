/* SPDX-License-Identifier: Apache-2.0
 *
 * An .rpm is a 96-byte lead, a signature header (padded to 8), a header, and a compressed cpio archive. A header is
 * 8 bytes of magic, two big-endian counts, index entries of 16 bytes (tag, type, offset, count) and a data area.
 * The signature header says what the header must be, the header what the archive must be (rpm: lib/rpmtag.h). */
#include "pkg.h"

#include "digest.h"
#include "fd.h"
#include "interrupt.h"

#include <archive.h>
#include <string.h>
#include <strings.h>
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
#define TAG_PAYLOAD	 5092u
#define TAG_PAYLOAD_HASH 5093u
#define SIGTAG_SHA1	 269u
#define SIGTAG_SHA256	 273u
#define SIGTAG_MD5	 1004u
#define TYPE_INT32	 4u
#define TYPE_STRING	 6u
#define TYPE_BIN	 7u
#define TYPE_ARRAY	 8u
#define TYPE_I18N_STRING 9u
#define HASH_SHA256	 8u /* OpenPGP's number; what an absent TAG_PAYLOAD_HASH means */

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

/* The value of a tag and the bytes up to the end of the data area. */
static bool header_find(struct span header, uint32_t tag, uint32_t *ret_type, struct span *ret)
{
	const uint8_t *h = (const uint8_t *)header.p, *data;
	size_t n = be32(h + 8), data_size;

	data = h + HEADER_START + n * INDEX_ENTRY;
	data_size = header.len - HEADER_START - n * INDEX_ENTRY;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *en = h + HEADER_START + i * INDEX_ENTRY;
		uint32_t offset = be32(en + 8);

		if (be32(en) != tag || offset >= data_size)
			continue;
		*ret_type = be32(en + 4);
		*ret = (struct span){ (const char *)data + offset, data_size - offset };
		return true;
	}
	return false;
}

/* Text, or the first of several; borrowed from the header. */
static const char *header_text(struct span header, uint32_t tag)
{
	struct span value;
	uint32_t type;

	if (!header_find(header, tag, &type, &value) ||
	    (type != TYPE_STRING && type != TYPE_I18N_STRING && type != TYPE_ARRAY) ||
	    !memchr(value.p, 0, value.len))
		return NULL;
	return value.p;
}

static char *header_string(struct span header, uint32_t tag)
{
	const char *text = header_text(header, tag);

	return text ? strdup(text) : NULL;
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
	struct span header;

	if (!at || !size || size > len || size <= at + HEADER_START)
		return err_set(e, -ERR_SOURCE_PACKAGE, "its header is damaged");
	header = (struct span){ (const char *)p + at, size - at };
	f.name = header_string(header, TAG_NAME);
	f.version = header_string(header, TAG_VERSION);
	f.arch = header_string(header, TAG_ARCH);
	if (!f.name || !f.version || !f.arch)
		return err_set(e, -ERR_SOURCE_PACKAGE,
			       "its header does not name package, version and machine");
	file = header_string(header, TAG_SOURCERPM);
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

/* -- digests -- */

static int digest_wrong(const char *label, const char *part, const char *algorithm, struct err *e)
{
	(void)err_set(e, -ERR_SOURCE_PACKAGE, "%s: the %s does not have the %s digest the package gives it",
		      label, part, algorithm);
	return err_object(e, "%s", label);
}

/* Feeds the file from `offset` to its end. */
static int digest_file(struct digest *d, int fd, uint64_t offset)
{
	_cleanup_free_ uint8_t *buf = malloc(256 << 10);
	ssize_t n;
	int r = 0;

	if (!buf)
		return -ENOMEM;
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	while (r >= 0 && !interrupt_pending() && (n = read_upto(fd, buf, 256 << 10)) != 0)
		r = n < 0 ? (int)n : digest_update(d, buf, (size_t)n);
	return r;
}

/* Digest of `bytes`, then of the file from `offset` on when fd is open. */
static int digest_of(const char *algorithm, struct span bytes, int fd, uint64_t offset, char ret_hex[129],
		     struct err *e)
{
	_cleanup_(digest_freep) struct digest *d = NULL;
	uint8_t out[64];
	size_t len;
	int r = digest_new(algorithm, &d);

	if (r >= 0)
		r = digest_update(d, bytes.p, bytes.len);
	if (r >= 0 && fd >= 0)
		r = digest_file(d, fd, offset);
	if (r >= 0)
		r = digest_final(d, out, sizeof(out), &len);
	if (r < 0)
		return err_errno(e, r, "computing the %s digest of a package", algorithm);
	hex_encode(out, len, ret_hex);
	return interrupt_check(e);
}

/* 1 when the signature header gives the header a digest and it is that, 0 when it gives none. */
static int check_header(struct span signature, struct span header, const char *label, struct err *e)
{
	static const struct {
		uint32_t tag;
		const char *algorithm;
	} digests[] = { { SIGTAG_SHA256, "sha256" }, { SIGTAG_SHA1, "sha1" } };
	int found = 0;

	for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
		const char *want = header_text(signature, digests[i].tag);
		char hex[129];
		int r;

		if (!want)
			continue;
		r = digest_of(digests[i].algorithm, header, -EBADF, 0, hex, e);
		if (r < 0)
			return r;
		if (strcasecmp(want, hex) != 0)
			return digest_wrong(label, "header", digests[i].algorithm, e);
		found = 1;
	}
	return found;
}

static const char *payload_algorithm(struct span header)
{
	static const char *const names[] = { [HASH_SHA256] = "sha256", "sha384", "sha512" };
	struct span value;
	uint32_t type, number = HASH_SHA256;

	if (header_find(header, TAG_PAYLOAD_HASH, &type, &value) && type == TYPE_INT32 && value.len >= 4)
		number = be32((const uint8_t *)value.p);
	return number < ARRAY_LEN(names) ? names[number] : NULL;
}

/* The archive as it lies in the file; 1 or 0 as above. */
static int check_payload(struct span header, int fd, uint64_t offset, const char *label, struct err *e)
{
	const char *want = header_text(header, TAG_PAYLOAD), *algorithm = payload_algorithm(header);
	char hex[129];
	int r;

	if (!want)
		return 0;
	if (!algorithm)
		return err_set(e, -ERR_SOURCE_PACKAGE, "%s: its payload digest is of an unknown kind", label);
	r = digest_of(algorithm, (struct span){ "", 0 }, fd, offset, hex, e);
	if (r < 0)
		return r;
	return strcasecmp(want, hex) == 0 ? 1 : digest_wrong(label, "payload", algorithm, e);
}

/* rpm before 4.14 (EL7) has nothing but this over header and archive together. */
static int check_whole(struct span signature, struct span header, int fd, uint64_t offset, const char *label,
		       struct err *e)
{
	struct span want;
	char hex[129], want_hex[2 * MD5_SIZE + 1];
	uint32_t type;
	int r;

	if (!header_find(signature, SIGTAG_MD5, &type, &want) || type != TYPE_BIN || want.len < MD5_SIZE)
		return 0;
	r = digest_of("md5", header, fd, offset, hex, e);
	if (r < 0)
		return r;
	hex_encode((const uint8_t *)want.p, MD5_SIZE, want_hex);
	return strcmp(want_hex, hex) == 0 ? 1 : digest_wrong(label, "content", "md5", e);
}

/* Both parts must have a digest and be what it says. */
static int rpm_check(int fd, const char *label, const uint8_t *head, size_t len, struct err *e)
{
	size_t at = main_header_offset(head, len), signature_size;
	struct span signature, header;
	int r;

	signature_size = header_size(head + LEAD_SIZE, len - LEAD_SIZE);
	signature = (struct span){ (const char *)head + LEAD_SIZE, signature_size };
	header = (struct span){ (const char *)head + at, len - at };
	r = check_header(signature, header, label, e);
	if (r > 0)
		r = check_payload(header, fd, len, label, e);
	if (r == 0)
		r = check_whole(signature, header, fd, len, label, e);
	if (r != 0)
		return r < 0 ? r : 0;
	(void)err_set(e, -ERR_SOURCE_PACKAGE, "%s carries no digests it could be checked against", label);
	return err_object(e, "%s", label);
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
	_cleanup_(pkg_archive_freep) struct archive *a = NULL;
	_cleanup_free_ uint8_t *head = NULL;
	size_t len = 0;
	int r = pkg_archive_new(&a, e);

	if (r >= 0)
		r = read_head(fd, label, &head, &len, e);
	if (r >= 0)
		r = rpm_check(fd, label, head, len, e);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "reading %s", label);
	if (archive_read_open_fd(a, fd, 256 << 10) != ARCHIVE_OK)
		return pkg_archive_error(a, label, e);
	return pkg_walk(a, label, budget, fn, arg, e);
}
