/* SPDX-License-Identifier: Apache-2.0
 *
 * Module signatures: the trailer the kernel looks for (kernel/module/signing.c, struct module_signature) and the
 * signing of whole files. A module is never signed where it lies: a finished, verified copy takes its place. */
#include "modsig.h"

#include "elffile.h"
#include "fd.h"
#include "modinfo.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DER_MAX_BYTES	    (1u << 20)
#define TOOL_TIMEOUT_S	    120
#define COMPARE_BLOCK_BYTES ((size_t)64 << 10)

enum { TRAILER_ID_TYPE = 2, TRAILER_SIG_LEN = 8 }; /* offsets */
enum { ID_TYPE_PKCS7 = 2 };

/* -- trailer ---------------------------------------------------------------------------------------------- */

static void trailer_write(uint8_t out[MODSIG_OVERHEAD], uint32_t der_size)
{
	memset(out, 0, MODSIG_TRAILER_SIZE);
	out[TRAILER_ID_TYPE] = ID_TYPE_PKCS7;
	for (unsigned i = 0; i < 4; i++)
		out[TRAILER_SIG_LEN + i] = (uint8_t)(der_size >> (24 - 8 * i));
	memcpy(out + MODSIG_TRAILER_SIZE, MODSIG_MAGIC, MODSIG_MAGIC_SIZE);
}

/* `tail`: the last MODSIG_OVERHEAD bytes of a file of `size` bytes. */
static int trailer_read(const uint8_t *tail, uint64_t size, struct modsig *ret)
{
	uint32_t der_size = 0;

	*ret = (struct modsig){ .content_size = size };
	if (memcmp(tail + MODSIG_TRAILER_SIZE, MODSIG_MAGIC, MODSIG_MAGIC_SIZE) != 0)
		return 0;
	for (unsigned i = 0; i < TRAILER_SIG_LEN; i++) {
		if (tail[i] != (i == TRAILER_ID_TYPE ? ID_TYPE_PKCS7 : 0))
			return -EBADMSG;
	}
	for (unsigned i = 0; i < 4; i++)
		der_size = der_size << 8 | tail[TRAILER_SIG_LEN + i];
	if (der_size == 0 || der_size > size - MODSIG_OVERHEAD)
		return -EBADMSG;
	ret->is_signed = true;
	ret->der_size = der_size;
	ret->der_offset = ret->content_size = size - MODSIG_OVERHEAD - der_size;
	return 0;
}

int modsig_detect(const void *buf, size_t len, struct modsig *ret)
{
	if (len < MODSIG_OVERHEAD) {
		*ret = (struct modsig){ .content_size = len };
		return 0;
	}
	return trailer_read((const uint8_t *)buf + len - MODSIG_OVERHEAD, len, ret);
}

int modsig_detect_range(int fd, uint64_t offset, uint64_t size, struct modsig *ret)
{
	uint8_t tail[MODSIG_OVERHEAD];
	int r;

	if (size < sizeof(tail)) {
		*ret = (struct modsig){ .content_size = size };
		return 0;
	}
	r = pread_exact(fd, tail, sizeof(tail), offset + size - sizeof(tail));
	return r < 0 ? r : trailer_read(tail, size, ret);
}

int modsig_detect_fd(int fd, struct modsig *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return modsig_detect_range(fd, 0, (uint64_t)st.st_size, ret);
}

int modsig_read_der(int fd, const struct modsig *sig, uint8_t **ret_der)
{
	_cleanup_free_ uint8_t *der = NULL;
	int r;

	if (!sig->is_signed)
		return -ENODATA;
	if (sig->der_size > DER_MAX_BYTES)
		return -E2BIG;
	der = malloc(sig->der_size);
	if (!der)
		return -ENOMEM;
	r = pread_exact(fd, der, sig->der_size, sig->der_offset);
	if (r < 0)
		return r;
	*ret_der = TAKE_PTR(der);
	return 0;
}

/* -- judging ---------------------------------------------------------------------------------------------- */

/* Locate the signature; a missing one is an error here. */
static int signature_require(int fd, struct modsig *ret_sig, uint8_t **ret_der, struct err *e)
{
	int r = modsig_detect_fd(fd, ret_sig);

	if (r == -EBADMSG)
		return err_set(e, -ERR_MODSIG_TRAILER, "its fields or its length make no sense");
	if (r < 0)
		return err_errno(e, r, "reading the end of the module");
	if (!ret_sig->is_signed)
		return err_set(e, -ERR_MODSIG_MISSING, "no signature at its end");
	r = modsig_read_der(fd, ret_sig, ret_der);
	if (r == -E2BIG)
		return err_set(e, -ERR_MODSIG_TRAILER, "a signature of %u bytes", ret_sig->der_size);
	return r < 0 ? err_errno(e, r, "reading the signature") : 0;
}

int modsig_info_fd(int fd, struct cms_info *ret, struct err *e)
{
	_cleanup_free_ uint8_t *der = NULL;
	struct modsig sig;
	int r = signature_require(fd, &sig, &der, e);

	return r < 0 ? r : cms_parse(der, sig.der_size, ret, e);
}

int modsig_verify_fd(int fd, const struct cert *c, struct cms_info *ret_info, struct err *e)
{
	_cleanup_free_ uint8_t *der = NULL;
	struct cms_info info;
	struct modsig sig;
	int r;

	r = signature_require(fd, &sig, &der, e);
	if (r >= 0)
		r = cms_parse(der, sig.der_size, &info, e);
	if (r >= 0)
		r = cms_verify_fd(c, der, sig.der_size, fd, sig.content_size, e);
	if (r >= 0 && ret_info)
		*ret_info = info;
	return r;
}

int modsig_verify_at(int dirfd, const char *path, const struct cert *c, struct cms_info *ret_info,
		     struct err *e)
{
	_cleanup_close_ int fd = module_open(dirfd, path, NULL, e);
	int r;

	if (fd < 0)
		return fd;
	r = modsig_verify_fd(fd, c, ret_info, e);
	if (r < 0) {
		err_wrap(e, "%s", path);
		return err_object(e, "%s", path);
	}
	return 0;
}

/* -- writing ---------------------------------------------------------------------------------------------- */

/* A module to be changed: plain, regular, an ELF file. */
static int source_open(int dirfd, const char *path, struct stat *ret_st, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	const char *compression;
	struct elf elf;
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	if (fstat(fd, ret_st) < 0)
		return err_errno(e, -errno, "cannot read %s", path);
	if (!S_ISREG(ret_st->st_mode))
		return err_set(e, -ERR_MODULE_NOT_ELF, "%s is not a regular file", path);
	compression = module_compression(fd);
	if (compression)
		return err_set(e, -ERR_MODULE_COMPRESSED, "%s is compressed with %s", path, compression);
	r = elf_open(fd, &elf);
	if (r < 0)
		return err_set(e, -ERR_MODULE_NOT_ELF, "%s is no ELF file of a machine we know", path);
	return TAKE_FD(fd);
}

/* Fill `t` with the first `content_size` bytes of `from`; the write position is left at the end. */
static int copy_content(int from, uint64_t content_size, struct tmpname *t, mode_t mode, struct err *e)
{
	int r = tmpname_open(t, mode & 0777);

	if (r >= 0)
		r = copy_fd(from, t->fd, NULL);
	if (r >= 0 && ftruncate(t->fd, (off_t)content_size) < 0)
		r = -errno;
	if (r >= 0 && lseek(t->fd, (off_t)content_size, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? err_errno(e, r, "copying the module") : 0;
}

static int sign_here(struct tmpname *t, uint64_t content_size, const struct modsig_options *o, struct err *e)
{
	_cleanup_free_ uint8_t *der = NULL;
	uint8_t trailer[MODSIG_OVERHEAD];
	size_t der_len;
	int r;

	r = cms_sign_fd(o->signer, o->hash, o->use_key_id ? CMS_SIGN_KEYID : 0, t->fd, content_size, &der,
			&der_len, e);
	if (r < 0)
		return r;
	trailer_write(trailer, (uint32_t)der_len);
	r = write_all(t->fd, der, der_len);
	if (r >= 0)
		r = write_all(t->fd, trailer, sizeof(trailer));
	return r < 0 ? err_errno(e, r, "writing the signature") : 0;
}

/* The kernel's tool replaces the file it is given by rename, so the descriptor is opened again by name. */
static int sign_with_tool(struct tmpname *t, mode_t mode, const struct modsig_options *o, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("module signing tool");
	_cleanup_free_ char *leftover = str_printf("%s.~signed~", t->name);
	int r;

	if (!leftover)
		return err_oom(e);
	(void)spawn_argv(&s, o->tool, o->hash, o->key_path, o->cert_path, t->name, NULL);
	s.cwd_fd = t->dirfd;
	s.timeout_s = TOOL_TIMEOUT_S;
	r = spawn_check(&s, e);
	(void)unlinkat(t->dirfd, leftover, 0);
	if (r < 0)
		return r;
	close_fdp(&t->fd);
	t->fd = openat(t->dirfd, t->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (t->fd < 0 || fchmod(t->fd, mode & 0777) < 0)
		return err_errno(e, -errno, "reading what %s wrote", o->tool);
	return 0;
}

static int check_signed(const struct tmpname *t, uint64_t content_size, const struct modsig_options *o,
			struct err *e)
{
	struct modsig sig;
	int r;

	r = modsig_verify_fd(t->fd, signer_cert(o->signer), NULL, e);
	if (r < 0)
		return err_wrap(e, "the new signature does not verify");
	if (modsig_detect_fd(t->fd, &sig) < 0 || sig.content_size != content_size)
		return err_set(e, -ERR_SIGN_FAILED, "the signing tool changed the module's content");
	return 0;
}

static int sign_copy(int from_fd, const struct stat *st, int to_dirfd, const char *to,
		     const struct modsig_options *o, struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(to_dirfd);
	struct modsig old;
	int r;

	r = modsig_detect_fd(from_fd, &old);
	if (r == -EBADMSG)
		return err_set(e, -ERR_MODSIG_TRAILER, "a damaged signature cannot be replaced safely");
	if (r < 0)
		return err_errno(e, r, "reading the module");
	if (old.is_signed && !o->resign)
		return err_set(e, -ERR_MODSIG_PRESENT, "it has %u bytes of signature", old.der_size);
	r = copy_content(from_fd, old.content_size, &t, st->st_mode, e);
	if (r >= 0)
		r = o->tool ? sign_with_tool(&t, st->st_mode, o, e) : sign_here(&t, old.content_size, o, e);
	if (r >= 0)
		r = check_signed(&t, old.content_size, o, e);
	if (r < 0)
		return r;
	r = publish_tmp(&t, to, true);
	return r < 0 ? err_errno(e, r, "cannot write %s", to) : 0;
}

int modsig_sign_file(int from_dirfd, const char *from, int to_dirfd, const char *to,
		     const struct modsig_options *o, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	fd = source_open(from_dirfd, from, &st, e);
	r = fd < 0 ? fd : sign_copy(fd, &st, to_dirfd, to, o, e);
	if (r < 0) {
		err_wrap(e, "signing %s", from);
		return err_object(e, "%s", from);
	}
	return 0;
}

/* -- detached --------------------------------------------------------------------------------------------- */

/* 0 when the first `size` bytes of both are the same, -EILSEQ when not. */
static int same_content(int a, int b, uint64_t size)
{
	_cleanup_free_ uint8_t *blocks = malloc(2 * COMPARE_BLOCK_BYTES);
	uint64_t off = 0;

	if (!blocks)
		return -ENOMEM;
	while (off < size) {
		size_t n = size - off < COMPARE_BLOCK_BYTES ? (size_t)(size - off) : COMPARE_BLOCK_BYTES;
		int r = pread_exact(a, blocks, n, off);

		if (r >= 0)
			r = pread_exact(b, blocks + COMPARE_BLOCK_BYTES, n, off);
		if (r < 0)
			return r;
		if (memcmp(blocks, blocks + COMPARE_BLOCK_BYTES, n) != 0)
			return -EILSEQ;
		off += n;
	}
	return 0;
}

int modsig_detach(int linked_fd, int signed_fd, uint8_t **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ uint8_t *sig = NULL;
	_cleanup_free_ uint8_t *der = NULL;
	struct modsig parsed;
	struct stat st;
	size_t len;
	int r;

	if (fstat(linked_fd, &st) < 0)
		return err_errno(e, -errno, "reading the linked module");
	r = signature_require(signed_fd, &parsed, &der, e);
	if (r < 0)
		return r;
	if (parsed.content_size != (uint64_t)st.st_size)
		return err_set(e, -ERR_MODSIG_PREFIX, "%llu bytes are signed, the linked module has %lld",
			       (unsigned long long)parsed.content_size, (long long)st.st_size);
	r = same_content(linked_fd, signed_fd, parsed.content_size);
	if (r == -EILSEQ)
		return err_set(e, -ERR_MODSIG_PREFIX, "their contents differ");
	if (r < 0)
		return err_errno(e, r, "comparing linked and signed module");
	len = (size_t)parsed.der_size + MODSIG_OVERHEAD;
	sig = malloc(len);
	if (!sig)
		return err_oom(e);
	memcpy(sig, der, parsed.der_size);
	trailer_write(sig + parsed.der_size, parsed.der_size);
	*ret = TAKE_PTR(sig);
	*ret_len = len;
	return 0;
}

int modsig_complete(const void *signature, size_t len, uint8_t **ret, size_t *ret_len)
{
	bool is_whole =
	    len >= MODSIG_MAGIC_SIZE && memcmp((const uint8_t *)signature + len - MODSIG_MAGIC_SIZE,
					       MODSIG_MAGIC, MODSIG_MAGIC_SIZE) == 0;
	uint8_t *out = malloc(len + MODSIG_OVERHEAD);

	if (!out)
		return -ENOMEM;
	memcpy(out, signature, len);
	if (!is_whole)
		trailer_write(out + len, (uint32_t)len);
	*ret = out;
	*ret_len = is_whole ? len : len + MODSIG_OVERHEAD;
	return 0;
}

static int attach_copy(int from_fd, const struct stat *st, int to_dirfd, const char *to,
		       const void *signature, size_t len, const struct cert *c, struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(to_dirfd);
	struct modsig parsed;
	int r;

	if (modsig_detect(signature, len, &parsed) < 0 || !parsed.is_signed || parsed.content_size != 0)
		return err_set(e, -ERR_MODSIG_DETACHED, "%zu bytes", len);
	r = modsig_detect_fd(from_fd, &parsed);
	if (r < 0 || parsed.is_signed)
		return err_set(e, -ERR_MODSIG_PRESENT, "it ends with a signature");
	r = copy_content(from_fd, (uint64_t)st->st_size, &t, st->st_mode, e);
	if (r < 0)
		return r;
	r = write_all(t.fd, signature, len);
	if (r < 0)
		return err_errno(e, r, "writing the signature");
	if (c) {
		r = modsig_verify_fd(t.fd, c, NULL, e);
		if (r < 0)
			return r;
	}
	r = publish_tmp(&t, to, true);
	return r < 0 ? err_errno(e, r, "cannot write %s", to) : 0;
}

int modsig_attach(int from_dirfd, const char *from, int to_dirfd, const char *to, const void *signature,
		  size_t len, const struct cert *c, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	fd = source_open(from_dirfd, from, &st, e);
	r = fd < 0 ? fd : attach_copy(fd, &st, to_dirfd, to, signature, len, c, e);
	if (r < 0) {
		err_wrap(e, "attaching the signature to %s", from);
		return err_object(e, "%s", from);
	}
	return 0;
}
