/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "err.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

struct cert {
	X509 *x509; /* owned */
};

struct signer {
	EVP_PKEY *key; /* owned */
	struct cert *cert; /* owned */
};

/* Store `code` with "<fmt>: <libcrypto's newest reason>" and empty libcrypto's queue. Returns the negative code. */
int crypto_err(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);

/* Text helpers shared by certificates and signatures; outputs are always terminated, cut when too long. */
void crypto_common_name(const X509_NAME *name, char *out, size_t size);
void crypto_hex_pairs(const uint8_t *bytes, size_t len, char *out, size_t size);
void crypto_serial_text(const ASN1_INTEGER *serial, char *out, size_t size);

/* Locked memory for key material; called before the first key is made or read. */
void crypto_secure_heap_start(void);

/* Parts of a self-signed certificate: a random serial number, subject and issuer, dates from now on; then extensions, whose
 * values are written as in openssl.cnf(5). The table ends with value NULL. False with libcrypto's queue filled. */
struct crypto_extension {
	int nid;
	const char *value;
};
bool crypto_identify(X509 *x, const char *common_name, unsigned valid_days);
bool crypto_extend(X509 *x, const struct crypto_extension *extensions);

/* Cleanup adapters for libcrypto's types. */
#define CRYPTO_CLEANUP(type, name, fn)                                                                       \
	static inline void name(type **p)                                                                    \
	{                                                                                                    \
		fn(*p);                                                                                      \
		*p = NULL;                                                                                   \
	}                                                                                                    \
	struct crypto_cleanup_swallows_semicolon_##name
