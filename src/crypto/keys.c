/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates and private keys. Key material is read into libcrypto's secure heap (locked, guarded, left out of
 * core files, wiped on release), and libcrypto keeps the numbers of the parsed key there as well. */
#include "cms.h"

#include "crypto-internal.h"
#include "fd.h"
#include "log.h"
#include "parse.h"
#include "publish.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509v3.h>

#define CERT_MAX_BYTES	     ((size_t)64 << 10)
#define KEY_MAX_BYTES	     ((size_t)64 << 10)
#define ASN1_SEQUENCE	     0x30 /* what DER begins with; PEM is text */
#define PASSPHRASE_MAX_BYTES ((size_t)1024)
/* Room for one key file, its pass phrase and the numbers of an RSA-16384 key; a power of two as libcrypto wants. */
#define SECURE_HEAP_BYTES ((size_t)256 << 10)

CRYPTO_CLEANUP(BIO, bio_freep, BIO_free_all);
CRYPTO_CLEANUP(EVP_PKEY, pkey_freep, EVP_PKEY_free);
CRYPTO_CLEANUP(X509, x509_freep, X509_free);

/* -- text ------------------------------------------------------------------------------------------------- */

void crypto_common_name(const X509_NAME *name, char *out, size_t size)
{
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	int len;

	out[0] = '\0';
	if (at < 0)
		return;
	len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (len < 0) {
		ERR_clear_error();
		return;
	}
	/* Names come from outside and go to terminals: control bytes become '?'. */
	if ((size_t)len >= size)
		len = (int)size - 1;
	for (int i = 0; i < len; i++)
		out[i] = utf8[i] < 0x20 || utf8[i] == 0x7f ? '?' : (char)utf8[i];
	out[len] = '\0';
	OPENSSL_free(utf8);
}

void crypto_hex_pairs(const uint8_t *bytes, size_t len, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < len && at + 4 <= size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%02X", i ? ":" : "", bytes[i]);
}

void crypto_serial_text(const ASN1_INTEGER *serial, char *out, size_t size)
{
	/* The stored bytes are the magnitude; a sign octet of the encoding is not among them, and the module tools print
	 * one, so a serial number with its top bit set gets it back. */
	const uint8_t *bytes = ASN1_STRING_get0_data(serial);
	size_t len = (size_t)ASN1_STRING_length(serial);
	uint8_t with_sign[128] = { 0 };

	if (len && (bytes[0] & 0x80) && len < sizeof(with_sign)) {
		memcpy(with_sign + 1, bytes, len);
		bytes = with_sign;
		len++;
	}
	crypto_hex_pairs(bytes, len, out, size);
}

/* -- certificates ----------------------------------------------------------------------------------------- */

void cert_freep(struct cert **c)
{
	if (!*c)
		return;
	X509_free((*c)->x509);
	free(*c);
	*c = NULL;
}

static int cert_wrap(X509 *x509, struct cert **ret, struct err *e)
{
	struct cert *c = calloc(1, sizeof(*c));

	if (!c) {
		X509_free(x509);
		return err_oom(e);
	}
	c->x509 = x509;
	*ret = c;
	return 0;
}

int cert_parse(const void *bytes, size_t len, struct cert **ret, struct err *e)
{
	_cleanup_(bio_freep) BIO *bio = NULL;
	const uint8_t *p = bytes;
	X509 *x509;

	if (len > CERT_MAX_BYTES)
		return err_set(e, -ERR_CERT_INVALID, "%zu bytes is too long for a certificate", len);
	/* DER begins with a SEQUENCE of long length; nothing in PEM does. */
	if (len >= 2 && p[0] == 0x30 && p[1] >= 0x81 && p[1] <= 0x84) {
		x509 = d2i_X509(NULL, &p, (long)len);
	} else {
		bio = BIO_new_mem_buf(bytes, (int)len);
		if (!bio)
			return err_oom(e);
		x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	}
	if (!x509)
		return crypto_err(e, ERR_CERT_INVALID, "neither a DER nor a PEM certificate");
	return cert_wrap(x509, ret, e);
}

/* A file the user named: links are theirs to use; only regular files, and opening never waits for a FIFO. */
static int user_file_open(const char *path, struct stat *ret_st)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (fstat(fd, ret_st) < 0)
		return -errno;
	if (!S_ISREG(ret_st->st_mode))
		return -EINVAL;
	return TAKE_FD(fd);
}

int cert_load(const char *path, struct cert **ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *bytes = NULL;
	struct stat st;
	size_t len;
	int r;

	fd = user_file_open(path, &st);
	r = fd < 0 ? fd : read_fd(fd, CERT_MAX_BYTES, &bytes, &len);
	if (r < 0) {
		err_set(e, -ERR_CERT_INVALID, "cannot read certificate %s: %s", path, strerror(-r));
		return err_object(e, "%s", path);
	}
	r = cert_parse(bytes, len, ret, e);
	if (r < 0) {
		err_object(e, "%s", path);
		return err_wrap(e, "%s", path);
	}
	return 0;
}

int cert_fingerprint(const struct cert *c, char ret_hex[SHA256_HEX_SIZE])
{
	uint8_t raw[SHA256_SIZE];

	if (X509_digest(c->x509, EVP_sha256(), raw, NULL) != 1)
		return -ENOMEM;
	hex_encode(raw, sizeof(raw), ret_hex);
	return 0;
}

int cert_der(const struct cert *c, uint8_t **ret, size_t *ret_len)
{
	unsigned char *p;
	uint8_t *der;
	int len = i2d_X509(c->x509, NULL);

	if (len <= 0)
		return -ENOMEM;
	p = der = malloc((size_t)len);
	if (!der)
		return -ENOMEM;
	(void)i2d_X509(c->x509, &p);
	*ret = der;
	*ret_len = (size_t)len;
	return 0;
}

int cert_key_id(const struct cert *c, char ret_hex[CERT_KEY_ID_SIZE])
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(c->x509);
	const uint8_t *bytes =
	    id ? ASN1_STRING_get0_data(id) : ASN1_STRING_get0_data(X509_get0_serialNumber(c->x509));
	int len = id ? ASN1_STRING_length(id) : ASN1_STRING_length(X509_get0_serialNumber(c->x509));

	if (len <= 0 || 2 * (size_t)len + 1 > CERT_KEY_ID_SIZE)
		return -EINVAL;
	/* The kernel leaves a leading zero octet out of what it lists. */
	if (len > 1 && bytes[0] == 0) {
		bytes++;
		len--;
	}
	hex_encode(bytes, (size_t)len, ret_hex);
	return 0;
}

void cert_describe(const struct cert *c, struct cert_info *ret)
{
	struct cert_info info = { 0 };

	crypto_common_name(X509_get_subject_name(c->x509), info.subject_cn, sizeof(info.subject_cn));
	crypto_common_name(X509_get_issuer_name(c->x509), info.issuer_cn, sizeof(info.issuer_cn));
	crypto_serial_text(X509_get0_serialNumber(c->x509), info.serial, sizeof(info.serial));
	info.is_expired = X509_cmp_current_time(X509_get0_notAfter(c->x509)) < 0;
	/* UINT32_MAX stands for "no such extension", which allows everything. */
	info.may_sign_code = (X509_get_extended_key_usage(c->x509) & XKU_CODE_SIGN) != 0;
	*ret = info;
}

/* -- private keys ----------------------------------------------------------------------------------------- */

struct secret {
	char *bytes; /* owned; secure heap, wiped on release */
	size_t len, size;
};

static void secret_done(struct secret *s)
{
	OPENSSL_secure_clear_free(s->bytes, s->size);
	s->bytes = NULL;
}

/* 2: the memory is there, but RLIMIT_MEMLOCK or a missing capability let it be swapped. Said once: the heap is made
 * once. */
void crypto_secure_heap_start(void)
{
	if (CRYPTO_secure_malloc_initialized())
		return;
	if (CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, 16) != 1)
		log_debug("memory for key material could not be locked: it may reach the swap device");
}

static int secret_alloc(struct secret *s, size_t size)
{
	crypto_secure_heap_start();
	s->bytes = OPENSSL_secure_zalloc(size);
	s->size = size;
	s->len = 0;
	return s->bytes ? 0 : -ENOMEM;
}

/* Fill from a descriptor; -E2BIG when there is more than fits. */
static int secret_read(struct secret *s, int fd)
{
	ssize_t n = read_upto(fd, s->bytes, s->size);

	if (n < 0)
		return (int)n;
	if ((size_t)n == s->size)
		return -E2BIG;
	s->len = (size_t)n;
	return 0;
}

/* libcrypto asks for the pass phrase through this; it never gets to ask a terminal. */
struct passphrase {
	int fd;
	bool asked;
	struct secret text;
};

static int passphrase_answer(char *buf, int size, int for_writing _unused_, void *arg)
{
	struct passphrase *p = arg;
	const char *eol;

	p->asked = true;
	if (p->fd < 0)
		return -1;
	if (!p->text.bytes) {
		if (secret_alloc(&p->text, PASSPHRASE_MAX_BYTES) < 0 || secret_read(&p->text, p->fd) < 0)
			return -1;
		eol = memchr(p->text.bytes, '\n', p->text.len);
		if (eol)
			p->text.len = (size_t)(eol - p->text.bytes);
	}
	if (p->text.len > (size_t)size)
		return -1;
	memcpy(buf, p->text.bytes, p->text.len);
	return (int)p->text.len;
}

static int key_error(const char *key, const struct passphrase *p, struct err *e)
{
	if (p->asked && p->fd < 0)
		(void)err_set(e, -ERR_KEY_PASSPHRASE, "%s needs a pass phrase and none was given", key);
	else if (p->asked)
		(void)crypto_err(e, ERR_KEY_PASSPHRASE, "the pass phrase does not open %s", key);
	else
		(void)crypto_err(e, ERR_KEY_UNREADABLE, "%s holds no usable private key", key);
	ERR_clear_error();
	return err_object(e, "%s", key);
}

/* As it is, or behind a pass phrase. */
static EVP_PKEY *key_from_der(BIO *bio, struct passphrase *p)
{
	EVP_PKEY *key = d2i_PrivateKey_bio(bio, NULL);

	if (key || BIO_reset(bio) < 0)
		return key;
	ERR_clear_error();
	return d2i_PKCS8PrivateKey_bio(bio, NULL, passphrase_answer, p);
}

static int key_from_file(const char *path, struct passphrase *p, EVP_PKEY **ret, struct err *e)
{
	_cleanup_(secret_done) struct secret pem = { 0 };
	_cleanup_(bio_freep) BIO *bio = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	fd = user_file_open(path, &st);
	r = fd < 0 ? fd : secret_alloc(&pem, KEY_MAX_BYTES);
	if (r >= 0)
		r = secret_read(&pem, fd);
	if (r < 0) {
		err_set(e, -ERR_KEY_UNREADABLE, "cannot read private key %s: %s", path, strerror(-r));
		return err_object(e, "%s", path);
	}
	if (st.st_mode & (S_IRGRP | S_IROTH))
		log_warn("private key %s can be read by others (mode %04o); chmod 600 it", path,
			 (unsigned)st.st_mode & 07777);
	bio = BIO_new_mem_buf(pem.bytes, (int)pem.len);
	if (!bio)
		return err_oom(e);
	*ret = pem.len && pem.bytes[0] == ASN1_SEQUENCE
		   ? key_from_der(bio, p)
		   : PEM_read_bio_PrivateKey(bio, NULL, passphrase_answer, p);
	return *ret ? 0 : key_error(path, p, e);
}

static EVP_PKEY *store_first_key(OSSL_STORE_CTX *ctx)
{
	EVP_PKEY *key = NULL;

	while (!key && !OSSL_STORE_eof(ctx)) {
		OSSL_STORE_INFO *info = OSSL_STORE_load(ctx);

		if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
			key = OSSL_STORE_INFO_get1_PKEY(info);
		OSSL_STORE_INFO_free(info);
		if (!info && OSSL_STORE_error(ctx))
			break;
	}
	return key;
}

static int key_from_token(const char *uri, struct passphrase *p, EVP_PKEY **ret, struct err *e)
{
	UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(passphrase_answer, 0);
	OSSL_STORE_CTX *ctx = NULL;
	EVP_PKEY *key = NULL;
	int r = 0;

	/* The provider stays loaded for the life of the process: the key lives in it. */
	if (ui && OSSL_PROVIDER_try_load(NULL, "pkcs11", 1))
		ctx = OSSL_STORE_open(uri, ui, p, NULL, NULL);
	if (ctx) {
		(void)OSSL_STORE_expect(ctx, OSSL_STORE_INFO_PKEY);
		key = store_first_key(ctx);
	}
	if (key)
		*ret = key;
	else
		r = crypto_err(e, ERR_KEY_PKCS11, "no private key from the token");
	OSSL_STORE_close(ctx);
	UI_destroy_method(ui);
	return r;
}

void signer_freep(struct signer **s)
{
	if (!*s)
		return;
	EVP_PKEY_free((*s)->key);
	cert_freep(&(*s)->cert);
	free(*s);
	*s = NULL;
}

const struct cert *signer_cert(const struct signer *s)
{
	return s->cert;
}

int signer_load(const char *key, const char *cert_path, int passphrase_fd, struct signer **ret, struct err *e)
{
	_cleanup_(signer_freep) struct signer *s = calloc(1, sizeof(*s));
	struct passphrase p = { .fd = passphrase_fd };
	struct cert_info info;
	int r;

	if (!s)
		return err_oom(e);
	r = cert_load(cert_path, &s->cert, e);
	if (r < 0)
		return r;
	if (strncmp(key, "pkcs11:", 7) == 0)
		r = key_from_token(key, &p, &s->key, e);
	else
		r = key_from_file(key, &p, &s->key, e);
	secret_done(&p.text);
	if (r < 0)
		return r;
	if (X509_check_private_key(s->cert->x509, s->key) != 1) {
		ERR_clear_error();
		err_set(e, -ERR_KEY_MISMATCH, "certificate %s has another public key than the private key",
			cert_path);
		return err_object(e, "%s", cert_path);
	}
	cert_describe(s->cert, &info);
	if (info.is_expired)
		log_warn("certificate %s has expired; kernels accept it for modules, enrolment tools may not",
			 cert_path);
	*ret = TAKE_PTR(s);
	return 0;
}

/* -- key pairs -------------------------------------------------------------------------------------------- */

static const struct crypto_extension keygen_extensions[] = {
	{ NID_basic_constraints, "critical,CA:FALSE" }, { NID_key_usage, "digitalSignature" },
	{ NID_ext_key_usage, "codeSigning" },		{ NID_subject_key_identifier, "hash" },
	{ NID_authority_key_identifier, "keyid" },	{ 0, NULL },
};

bool crypto_extend(X509 *x, const struct crypto_extension *extensions)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	for (; extensions->value; extensions++) {
		X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, extensions->nid, extensions->value);
		int added = ext ? X509_add_ext(x, ext, -1) : 0;

		X509_EXTENSION_free(ext);
		if (!added)
			return false;
	}
	return true;
}

bool crypto_identify(X509 *x, const char *common_name, unsigned valid_days)
{
	uint8_t serial[20];
	BIGNUM *bn = NULL;
	bool ok;

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] =
	    (serial[0] & 0x3f) | 0x40; /* positive and always twenty bytes: the longest RFC 5280 allows */
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) && X509_set_version(x, X509_VERSION_3) &&
	     X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
					(const unsigned char *)common_name, -1, -1, 0) &&
	     X509_set_issuer_name(x, X509_get_subject_name(x)) &&
	     X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
	     X509_time_adj_ex(X509_getm_notAfter(x), (int)valid_days, 0, NULL);
	BN_free(bn);
	return ok;
}

static int keygen_certify(EVP_PKEY *key, const char *common_name, unsigned valid_days, X509 **ret,
			  struct err *e)
{
	_cleanup_(x509_freep) X509 *x = X509_new();

	if (!x)
		return err_oom(e);
	if (!crypto_identify(x, common_name, valid_days) || !X509_set_pubkey(x, key) ||
	    !crypto_extend(x, keygen_extensions) || !X509_sign(x, key, EVP_sha256()))
		return crypto_err(e, ERR_KEY_GENERATE, "cannot make a certificate for \"%s\"", common_name);
	*ret = TAKE_PTR(x);
	return 0;
}

/* publish_tmp() instead of publish_bytes(): these two files must never replace anything. */
static int keygen_publish(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode,
			  struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dirfd);
	int r;

	r = tmpname_open(&t, mode);
	if (r >= 0)
		r = write_all(t.fd, bytes, len);
	if (r >= 0)
		r = publish_tmp(&t, name, false);
	return r < 0 ? err_errno(e, r, "writing %s", name) : 0;
}

static int keygen_write_key(int dirfd, const char *name, EVP_PKEY *key, struct err *e)
{
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
	char *pem;
	long len;

	if (!bio)
		return err_oom(e);
	if (PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return crypto_err(e, ERR_KEY_GENERATE, "cannot encode the private key");
	len = BIO_get_mem_data(bio, &pem);
	return keygen_publish(dirfd, name, pem, (size_t)len, 0600, e);
}

static int keygen_write(int dirfd, EVP_PKEY *key, X509 *x, struct keygen_names *ret, struct err *e)
{
	struct keygen_names names;
	uint8_t sha1[20], *der = NULL;
	char hex[9];
	int len, r;

	len = i2d_X509(x, &der);
	if (len <= 0 || X509_digest(x, EVP_sha1(), sha1, NULL) != 1) {
		OPENSSL_free(der);
		return crypto_err(e, ERR_KEY_GENERATE, "cannot encode the certificate");
	}
	hex_encode(sha1, 4, hex);
	(void)snprintf(names.key, sizeof(names.key), "nvidia-modsign-key-%s.key", hex);
	(void)snprintf(names.cert, sizeof(names.cert), "nvidia-modsign-crt-%s.der", hex);
	r = keygen_write_key(dirfd, names.key, key, e);
	if (r >= 0)
		r = keygen_publish(dirfd, names.cert, der, (size_t)len, 0644, e);
	OPENSSL_free(der);
	if (r < 0)
		return r;
	*ret = names;
	return 0;
}

int keygen_create(int dirfd, const char *common_name, enum keygen_algorithm algorithm, unsigned valid_days,
		  struct keygen_names *ret, struct err *e)
{
	static const size_t bits[] = { [KEYGEN_RSA_2048] = 2048, [KEYGEN_RSA_4096] = 4096 };
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;
	_cleanup_(x509_freep) X509 *x = NULL;
	int r;

	crypto_secure_heap_start();
	key = EVP_RSA_gen(bits[algorithm]);
	if (!key)
		return crypto_err(e, ERR_KEY_GENERATE, "cannot make an RSA-%zu key", bits[algorithm]);
	r = keygen_certify(key, common_name, valid_days, &x, e);
	if (r < 0)
		return r;
	return keygen_write(dirfd, key, x, ret, e);
}
