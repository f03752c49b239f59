/* SPDX-License-Identifier: Apache-2.0 */
#include "tlskeys.h"

#include "crypto-internal.h"
#include "fd.h"
#include "publish.h"

#include <fcntl.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

CRYPTO_CLEANUP(BIO, bio_freep, BIO_free_all);
CRYPTO_CLEANUP(EVP_PKEY, pkey_freep, EVP_PKEY_free);
CRYPTO_CLEANUP(X509, x509_freep, X509_free);

/* What stands there is never replaced. */
static int publish_new(int dirfd, const char *name, BIO *bio, mode_t mode, struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dirfd);
	char *pem;
	long len = BIO_get_mem_data(bio, &pem);
	int r = tmpname_open(&t, mode);

	if (r >= 0)
		r = write_all(t.fd, pem, (size_t)len);
	if (r >= 0)
		r = publish_tmp(&t, name, false);
	return r < 0 ? err_errno(e, r, "writing %s", name) : 0;
}

int rsakey_create(int dirfd, const char *name, unsigned bits, struct err *e)
{
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;
	_cleanup_(bio_freep) BIO *bio = NULL;

	crypto_secure_heap_start();
	key = EVP_RSA_gen(bits);
	if (!key)
		return crypto_err(e, ERR_KEY_GENERATE, "cannot make an RSA-%u key", bits);
	bio = BIO_new(BIO_s_secmem());
	if (!bio)
		return err_oom(e);
	if (PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return crypto_err(e, ERR_KEY_GENERATE, "cannot encode the private key");
	return publish_new(dirfd, name, bio, 0600, e);
}

/* No pass phrase: a server starts without anybody there to type it. */
static int no_passphrase(char *buf _unused_, int size _unused_, int writing _unused_, void *arg _unused_)
{
	return -1;
}

static int key_read(int dirfd, const char *name, EVP_PKEY **ret, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_(bio_freep) BIO *bio = NULL;

	if (fd < 0) {
		(void)err_errno(e, -errno, "cannot read private key %s", name);
		return err_recode(e, ERR_KEY_UNREADABLE);
	}
	crypto_secure_heap_start();
	bio = BIO_new_fd(fd, BIO_NOCLOSE);
	if (!bio)
		return err_oom(e);
	*ret = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	return *ret ? 0 : crypto_err(e, ERR_KEY_UNREADABLE, "%s holds no usable private key", name);
}

int rsakey_public(int dirfd, const char *key_name, const char *name, struct err *e)
{
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	int r = bio ? key_read(dirfd, key_name, &key, e) : err_oom(e);

	if (r < 0)
		return r;
	if (PEM_write_bio_PUBKEY(bio, key) != 1)
		return crypto_err(e, ERR_KEY_GENERATE, "cannot encode the public key");
	return publish_new(dirfd, name, bio, 0644, e);
}

static int certify(EVP_PKEY *key, const char *common_name, const char *names, unsigned valid_days, X509 *x,
		   struct err *e)
{
	const struct crypto_extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, "digitalSignature,keyEncipherment" },
		{ NID_ext_key_usage, "serverAuth" },
		{ NID_subject_alt_name, names },
		{ NID_subject_key_identifier, "hash" },
		{ 0, NULL },
	};

	if (!crypto_identify(x, common_name, valid_days) || !X509_set_pubkey(x, key) ||
	    !crypto_extend(x, extensions) || !X509_sign(x, key, EVP_sha256()))
		return crypto_err(e, ERR_KEY_GENERATE, "cannot make a certificate for \"%s\"", common_name);
	return 0;
}

int servercert_create(int dirfd, const char *key_name, const char *name, const char *common_name,
		      const char *names, unsigned valid_days, struct err *e)
{
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;
	_cleanup_(x509_freep) X509 *x = X509_new();
	_cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	int r = x && bio ? key_read(dirfd, key_name, &key, e) : err_oom(e);

	if (r >= 0)
		r = certify(key, common_name, names, valid_days, x, e);
	if (r < 0)
		return r;
	if (PEM_write_bio_X509(bio, x) != 1)
		return crypto_err(e, ERR_KEY_GENERATE, "cannot encode the certificate");
	return publish_new(dirfd, name, bio, 0644, e);
}

bool cert_names_host(const struct cert *c, const char *host)
{
	bool fits =
	    X509_check_ip_asc(c->x509, host, 0) == 1 || X509_check_host(c->x509, host, 0, 0, NULL) == 1;

	ERR_clear_error();
	return fits;
}

int cert_last_day(const struct cert *c, char ret[CERT_DAY_SIZE])
{
	struct tm day;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(c->x509), &day) != 1)
		return -EINVAL;
	return strftime(ret, CERT_DAY_SIZE, "%Y-%m-%d", &day) > 0 ? 0 : -EINVAL;
}
