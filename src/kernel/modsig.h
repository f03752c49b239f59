/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The signature at the end of a kernel module: DER, twelve bytes of trailer, a 28-byte magic. Files are read
 * through descriptors and streamed; a compressed module is refused here (its signature is inside, see module_open()). */

#include "cms.h"
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODSIG_MAGIC	    "~Module signature appended~\n"
#define MODSIG_MAGIC_SIZE   28u
#define MODSIG_TRAILER_SIZE 12u
#define MODSIG_OVERHEAD	    (MODSIG_MAGIC_SIZE + MODSIG_TRAILER_SIZE)

struct modsig {
	bool is_signed;
	uint64_t content_size; /* bytes before the signature: the whole file when not signed */
	uint64_t der_offset;
	uint32_t der_size;
};

/* Look at the last bytes of a file (or of a buffer). 0 with ret->is_signed; -EBADMSG when the magic is there but the
 * trailer is not one a kernel accepts; -errno. */
int modsig_detect_fd(int fd, struct modsig *ret);
int modsig_detect(const void *buf, size_t len, struct modsig *ret);
/* The same for a module that is bytes [offset, offset + size) of a file; offsets in ret count from `offset`. */
int modsig_detect_range(int fd, uint64_t offset, uint64_t size, struct modsig *ret);

/* The DER part of a signed file; caller frees. */
int modsig_read_der(int fd, const struct modsig *sig, uint8_t **ret_der);

struct modsig_options {
	const struct signer *signer;
	const char *hash; /* "sha256" */
	bool use_key_id;
	bool resign; /* an existing signature is replaced instead of refused */
	const char *tool; /* external signing program with the kernel tool's interface; NULL = in-process */
	const char *key_path, *cert_path; /* for `tool` only; absolute */
};

/* Sign from_dirfd/from into to_dirfd/to (both may be the same: in place). A copy is written, synced, signed, verified
 * with the signer's certificate and then renamed to `to` with the source's permission bits; on any failure `to` is
 * as before. Errors: ERR_MODSIG_PRESENT, ERR_MODULE_NOT_ELF, ERR_MODULE_COMPRESSED, ERR_MODSIG_TRAILER, those of cms.h. */
int modsig_sign_file(int from_dirfd, const char *from, int to_dirfd, const char *to,
		     const struct modsig_options *o, struct err *e);

/* Is the file signed by the certificate's key, over exactly its content? ERR_MODSIG_MISSING, ERR_MODSIG_TRAILER,
 * ERR_CMS_INVALID, ERR_CMS_FOREIGN, ERR_CMS_MISMATCH. ret_info may be NULL. */
int modsig_verify_fd(int fd, const struct cert *c, struct cms_info *ret_info, struct err *e);
int modsig_verify_at(int dirfd, const char *path, const struct cert *c, struct cms_info *ret_info,
		     struct err *e);

/* Who signed it, without judging. ERR_MODSIG_MISSING and the format errors. */
int modsig_info_fd(int fd, struct cms_info *ret, struct err *e);

/* Detached signature (DER, trailer and magic) of `signed_fd`, which must start with exactly the bytes of `linked_fd`:
 * ERR_MODSIG_PREFIX otherwise. Caller frees. */
int modsig_detach(int linked_fd, int signed_fd, uint8_t **ret, size_t *ret_len, struct err *e);

/* A detached signature as the kernel's sign-file -d writes it (DER alone) with trailer and magic behind it; one that has
 * them is copied. Caller frees. -ENOMEM. */
int modsig_complete(const void *signature, size_t len, uint8_t **ret, size_t *ret_len);

/* Append a detached signature to from_dirfd/from and publish the result as to_dirfd/to. The bytes are checked to be one
 * whole signature, and, when `c` is given, to sign that content with its key; the file must not be signed already. */
int modsig_attach(int from_dirfd, const char *from, int to_dirfd, const char *to, const void *signature,
		  size_t len, const struct cert *c, struct err *e);
