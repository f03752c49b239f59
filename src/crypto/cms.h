/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Detached CMS (PKCS#7) signatures as the kernel's module loader reads them: SignedData with one signer, no
 * certificates, no signed attributes, definite lengths. RSA signatures are deterministic, so the same key, hash
 * and bytes give the same signature as the kernel's own signing program. */

#include "digest.h"
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- certificates -- */

struct cert;

/* X.509 from a DER or PEM file (at most 64 KiB). ERR_CERT_INVALID names the file. */
int cert_load(const char *path, struct cert **ret, struct err *e);
int cert_parse(const void *bytes, size_t len, struct cert **ret, struct err *e);
void cert_freep(struct cert **c);

/* SHA-256 over the DER form, lower-case hex: the "certificate fingerprint" of a module set's key. */
int cert_fingerprint(const struct cert *c, char ret_hex[SHA256_HEX_SIZE]);

/* The DER form; caller frees. 0 or -ENOMEM. */
int cert_der(const struct cert *c, uint8_t **ret, size_t *ret_len);
/* What the kernel lists the key under, lower-case hex: the subject key identifier, else the serial number. */
#define CERT_KEY_ID_SIZE 129
int cert_key_id(const struct cert *c, char ret_hex[CERT_KEY_ID_SIZE]);

struct cert_info {
	char subject_cn[128], issuer_cn[128]; /* "" when the name has no common name */
	char serial[128]; /* upper-case hex pairs joined by colons, as the module tools print it */
	bool is_expired; /* by the clock now; the kernel does not look at it */
	bool may_sign_code; /* extended key usage absent or containing codeSigning */
};
void cert_describe(const struct cert *c, struct cert_info *ret);

/* -- keys -- */

struct signer; /* a private key in locked memory (wiped when freed) and its certificate */

/* `key`: PEM file, or "pkcs11:" URI (needs the OpenSSL pkcs11 provider). `passphrase_fd`: descriptor whose first
 * line is the pass phrase or PIN, -EBADF for none; it is never asked for on a terminal. Warns when the key file can
 * be read by group or others, and when the certificate has expired. Errors: ERR_KEY_UNREADABLE, ERR_KEY_PASSPHRASE,
 * ERR_KEY_PKCS11, ERR_KEY_MISMATCH (the two do not belong together), ERR_CERT_INVALID. */
int signer_load(const char *key, const char *cert_path, int passphrase_fd, struct signer **ret,
		struct err *e);
void signer_freep(struct signer **s);
const struct cert *signer_cert(const struct signer *s); /* borrowed */

enum keygen_algorithm { KEYGEN_RSA_2048, KEYGEN_RSA_4096 };
struct keygen_names {
	char key[64], cert[64]; /* "nvidia-modsign-key-<8 hex>.key", "nvidia-modsign-crt-<8 hex>.der" */
};
/* Make a key pair in directory `dirfd`: PEM key with mode 0600, self-signed DER certificate (codeSigning, not a CA) with
 * mode 0644. The eight digits are the start of the certificate's SHA-1. Existing files are never replaced. On failure
 * at most the key file is left, which nothing refers to. */
int keygen_create(int dirfd, const char *common_name, enum keygen_algorithm algorithm, unsigned valid_days,
		  struct keygen_names *ret, struct err *e);

/* -- signatures -- */

/* Hash names the kernel knows: sha1 sha224 sha256 sha384 sha512 sha3-256 sha3-384 sha3-512. */
bool cms_hash_is_known(const char *hash);

enum cms_flags {
	CMS_SIGN_KEYID = 1
}; /* name the signer by subjectKeyIdentifier instead of issuer and serial number */

/* Sign bytes [0, len) of fd (read once, streamed). *ret_der caller frees. ERR_HASH_UNKNOWN, ERR_SIGN_FAILED. */
int cms_sign_fd(const struct signer *s, const char *hash, unsigned flags, int fd, uint64_t len,
		uint8_t **ret_der, size_t *ret_der_len, struct err *e);

struct cms_info {
	char signer[128]; /* common name of the issuer in the signer's identifier; "" with a key id */
	char key_id[256]; /* serial number (or key id), upper-case hex pairs joined by colons */
	char hash[16]; /* one of the names above */
	char algorithm[16]; /* "rsa" or "ecdsa" */
	bool by_key_id;
	bool has_attributes; /* signed attributes present: not written by us, accepted by the kernel */
};
/* Read a signature without judging it. ERR_CMS_INVALID when it is not the shape described at the top. */
int cms_parse(const void *der, size_t der_len, struct cms_info *ret, struct err *e);

/* Does `der` sign bytes [0, len) of fd with the certificate's key? ERR_CMS_INVALID, ERR_CMS_FOREIGN (made by another
 * key), ERR_CMS_MISMATCH (the bytes were changed). Validity dates are not looked at: the kernel does not either. */
int cms_verify_fd(const struct cert *c, const void *der, size_t der_len, int fd, uint64_t len, struct err *e);
