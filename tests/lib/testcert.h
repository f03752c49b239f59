/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Keys and certificates for tests, made on the spot: nothing secret or dated lies in the tree. */

#include "testlib.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

struct testcert {
	EVP_PKEY *key;
	X509 *x509;
};

struct testcert_spec {
	const char *cn;
	const char *curve; /* NULL = RSA-2048 */
	long not_before_s, not_after_s; /* from now; 0 = an hour */
	const uint8_t *serial; /* 20 bytes; NULL = a fixed number */
};

static inline void testcert_make(struct testcert *t, const struct testcert_spec *spec)
{
	static const uint8_t fixed[20] = { 0x61, 0x9e, 2,  3,  4,  5,  6,  7,  8,  9,
					   10,	 11,   12, 13, 14, 15, 16, 17, 18, 0xab };
	BIGNUM *bn = BN_bin2bn(spec->serial ? spec->serial : fixed, 20, NULL);

	t->key = spec->curve ? EVP_EC_gen(spec->curve) : EVP_RSA_gen(2048);
	t->x509 = X509_new();
	assert_non_null(t->key);
	assert_non_null(t->x509);
	assert_int_equal(X509_set_version(t->x509, X509_VERSION_3), 1);
	assert_non_null(BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(t->x509)));
	BN_free(bn);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(t->x509), "CN", MBSTRING_UTF8,
						    (const unsigned char *)spec->cn, -1, -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(t->x509, X509_get_subject_name(t->x509)), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(t->x509), spec->not_before_s));
	assert_non_null(
	    X509_gmtime_adj(X509_getm_notAfter(t->x509), spec->not_after_s ? spec->not_after_s : 3600));
	assert_int_equal(X509_set_pubkey(t->x509, t->key), 1);
	assert_true(X509_sign(t->x509, t->key, EVP_sha256()) > 0);
}

static inline void testcert_done(struct testcert *t)
{
	EVP_PKEY_free(t->key);
	X509_free(t->x509);
}

/* The private key as PEM, encrypted when a pass phrase is given. */
static inline void testcert_write_key(const struct testcert *t, const struct testdir *dir, const char *name,
				      const char *passphrase, mode_t mode)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *bytes;
	long len;

	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, t->key, passphrase ? EVP_aes_256_cbc() : NULL,
						       passphrase, passphrase ? (int)strlen(passphrase) : 0,
						       NULL, NULL),
			 1);
	len = BIO_get_mem_data(bio, &bytes);
	testdir_write(dir, name, bytes, (size_t)len, mode);
	BIO_free(bio);
}

static inline void testcert_write_cert(const struct testcert *t, const struct testdir *dir, const char *name,
				       bool pem)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *bytes;
	long len;

	assert_int_equal(pem ? PEM_write_bio_X509(bio, t->x509) : i2d_X509_bio(bio, t->x509), 1);
	len = BIO_get_mem_data(bio, &bytes);
	testdir_write(dir, name, bytes, (size_t)len, 0644);
	BIO_free(bio);
}

/* Key as <name>.key (0600) and certificate as <name>.der. */
static inline void testcert_write(const struct testcert *t, const struct testdir *dir, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s.key", name);
	testcert_write_key(t, dir, path, NULL, 0600);
	snprintf(path, sizeof(path), "%s.der", name);
	testcert_write_cert(t, dir, path, false);
}
