/* SPDX-License-Identifier: Apache-2.0 */
#include "testcert.h"

#include "cms.h"
#include "log.h"

#include <openssl/cms.h>

#define CONTENT_BYTES 300001 /* more than one block, and not a multiple of it */

struct fixture {
	struct testdir dir;
	struct testcert rsa, other, twin, ec, expired;
	struct signer *signer;
	char key[320], cert[320];
	int content_fd, fds;
};

static const char *in_dir(const struct fixture *f, const char *name)
{
	static char path[4][320];
	static unsigned at;

	at = (at + 1) % 4;
	snprintf(path[at], sizeof(path[at]), "%s/%s", f->dir.path, name);
	return path[at];
}

static int load(const struct fixture *f, const char *key, const char *cert, int passphrase_fd,
		struct signer **ret, struct err *e)
{
	return signer_load(in_dir(f, key), in_dir(f, cert), passphrase_fd, ret, e);
}

static int setup(void **state)
{
	static struct fixture f;
	struct err e = ERR_INIT;
	uint8_t *content = malloc(CONTENT_BYTES);

	f.fds = testdir_open_fds();
	testdir_make(&f.dir);
	testcert_make(&f.rsa, &(struct testcert_spec){ .cn = "nvdriver test signer 024" });
	testcert_make(&f.other, &(struct testcert_spec){ .cn = "somebody else" });
	/* Same name and serial number, another key: only the arithmetic tells it apart. */
	testcert_make(&f.twin, &(struct testcert_spec){ .cn = "nvdriver test signer 024" });
	testcert_make(&f.ec, &(struct testcert_spec){ .cn = "curve", .curve = "P-256" });
	testcert_make(&f.expired,
		      &(struct testcert_spec){ .cn = "old", .not_before_s = -7200, .not_after_s = -60 });
	testcert_write(&f.rsa, &f.dir, "rsa");
	testcert_write(&f.other, &f.dir, "other");
	testcert_write(&f.twin, &f.dir, "twin");
	testcert_write(&f.ec, &f.dir, "ec");
	testcert_write(&f.expired, &f.dir, "expired");
	testcert_write_cert(&f.rsa, &f.dir, "rsa.pem", true);
	for (size_t i = 0; i < CONTENT_BYTES; i++)
		content[i] = (uint8_t)(i * 7 + i / 251);
	testdir_write(&f.dir, "content", content, CONTENT_BYTES, 0644);
	free(content);
	f.content_fd = openat(f.dir.fd, "content", O_RDWR | O_CLOEXEC);
	assert_ok(load(&f, "rsa.key", "rsa.der", -EBADF, &f.signer, &e), &e);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	signer_freep(&f->signer);
	close(f->content_fd);
	testcert_done(&f->rsa);
	testcert_done(&f->other);
	testcert_done(&f->twin);
	testcert_done(&f->ec);
	testcert_done(&f->expired);
	testdir_done(&f->dir);
	return testdir_open_fds() == f->fds ? 0 : -1;
}

static uint8_t *sign(struct fixture *f, const struct signer *s, const char *hash, unsigned flags,
		     size_t *ret_len)
{
	struct err e = ERR_INIT;
	uint8_t *der = NULL;

	assert_ok(cms_sign_fd(s, hash, flags, f->content_fd, CONTENT_BYTES, &der, ret_len, &e), &e);
	return der;
}

static void shape_is_the_kernels(void **state)
{
	static const uint8_t head[] = { 0x30, 0x82, 0x01, 0x9A, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86,
					0xF7, 0x0D, 0x01, 0x07, 0x02, 0xA0, 0x82, 0x01, 0x8B, 0x30,
					0x82, 0x01, 0x87, 0x02, 0x01, 0x01, 0x31, 0x0D, 0x30, 0x0B,
					0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
					0x03, 0x30, 0x0B, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7,
					0x0D, 0x01, 0x07, 0x01, 0x31, 0x82, 0x01, 0x64 };
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct cms_info info;
	uint8_t *der, *again;
	size_t len, again_len;

	der = sign(f, f->signer, "sha512", 0, &len);
	again = sign(f, f->signer, "sha512", 0, &again_len);
	assert_int_equal(len, 414);
	assert_memory_equal(der, head, sizeof(head));
	assert_int_equal(again_len, len);
	assert_memory_equal(der, again, len);
	assert_ok(cms_parse(der, len, &info, &e), &e);
	assert_string_equal(info.signer, "nvdriver test signer 024");
	assert_string_equal(info.key_id, "61:9E:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:AB");
	assert_string_equal(info.hash, "sha512");
	assert_string_equal(info.algorithm, "rsa");
	assert_false(info.by_key_id);
	assert_false(info.has_attributes);
	free(der);
	free(again);
}

/* What `openssl cms -verify -binary -content … -noverify -certfile …` does, through the library. */
static bool generic_verify(const struct fixture *f, const uint8_t *der, size_t len)
{
	STACK_OF(X509) *certs = sk_X509_new_null();
	BIO *content = BIO_new_file(in_dir(f, "content"), "rb");
	const uint8_t *p = der;
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &p, (long)len);
	bool good;

	sk_X509_push(certs, f->rsa.x509);
	good = CMS_verify(cms, certs, NULL, content, NULL,
			  CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY | CMS_NOINTERN) == 1;
	CMS_ContentInfo_free(cms);
	BIO_free(content);
	sk_X509_free(certs);
	return good;
}

static void every_hash_signs_and_verifies(void **state)
{
	static const char *const hashes[] = { "sha1",	"sha224",   "sha256",	"sha384",
					      "sha512", "sha3-256", "sha3-384", "sha3-512" };
	struct fixture *f = *state;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
		struct cms_info info;
		size_t len;
		uint8_t *der = sign(f, f->signer, hashes[i], 0, &len);

		assert_true(cms_hash_is_known(hashes[i]));
		assert_ok(cms_verify_fd(signer_cert(f->signer), der, len, f->content_fd, CONTENT_BYTES, &e),
			  &e);
		assert_ok(cms_parse(der, len, &info, &e), &e);
		assert_string_equal(info.hash, hashes[i]);
		assert_true(generic_verify(f, der, len));
		free(der);
	}
	assert_false(cms_hash_is_known("md5"));
}

static void unknown_hash_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	uint8_t *der = NULL;
	size_t len;

	assert_true(cms_sign_fd(f->signer, "md5", 0, f->content_fd, 10, &der, &len, &e) < 0);
	assert_slug(&e, "signature-hash-unknown");
	assert_null(der);
	err_done(&e);
}

static void key_id_form(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct keygen_names names;
	struct signer *s = NULL;
	struct cms_info info;
	uint8_t *der;
	size_t len;

	/* A key id needs a certificate that has one: ours does. */
	assert_ok(keygen_create(f->dir.fd, "with id", KEYGEN_RSA_2048, 10, &names, &e), &e);
	assert_ok(load(f, names.key, names.cert, -EBADF, &s, &e), &e);
	der = sign(f, s, "sha256", CMS_SIGN_KEYID, &len);
	assert_ok(cms_parse(der, len, &info, &e), &e);
	assert_true(info.by_key_id);
	assert_int_equal(strlen(info.key_id), 59);
	assert_string_equal(info.signer, "");
	assert_ok(cms_verify_fd(signer_cert(s), der, len, f->content_fd, CONTENT_BYTES, &e), &e);
	free(der);
	signer_freep(&s);
}

static void elliptic_curve(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct signer *s = NULL;
	struct cms_info info;
	uint8_t *der;
	size_t len;

	assert_ok(load(f, "ec.key", "ec.der", -EBADF, &s, &e), &e);
	der = sign(f, s, "sha256", 0, &len);
	assert_ok(cms_parse(der, len, &info, &e), &e);
	assert_string_equal(info.algorithm, "ecdsa");
	assert_ok(cms_verify_fd(signer_cert(s), der, len, f->content_fd, CONTENT_BYTES, &e), &e);
	free(der);
	signer_freep(&s);
}

static void verify_tells_apart(void **state)
{
	struct fixture *f = *state;
	struct cert *other = NULL, *twin = NULL;
	struct err e = ERR_INIT;
	size_t len;
	uint8_t *der = sign(f, f->signer, "sha256", 0, &len), byte;

	assert_ok(cert_load(in_dir(f, "other.der"), &other, &e), &e);
	assert_ok(cert_load(in_dir(f, "twin.der"), &twin, &e), &e);
	assert_true(cms_verify_fd(other, der, len, f->content_fd, CONTENT_BYTES, &e) < 0);
	assert_slug(&e, "signature-foreign");
	assert_true(cms_verify_fd(twin, der, len, f->content_fd, CONTENT_BYTES, &e) < 0);
	assert_slug(&e, "signature-mismatch");
	/* One byte less, one byte changed. */
	assert_true(cms_verify_fd(signer_cert(f->signer), der, len, f->content_fd, CONTENT_BYTES - 1, &e) <
		    0);
	assert_slug(&e, "signature-mismatch");
	assert_int_equal(pread(f->content_fd, &byte, 1, 280000), 1);
	byte ^= 1;
	assert_int_equal(pwrite(f->content_fd, &byte, 1, 280000), 1);
	assert_true(cms_verify_fd(signer_cert(f->signer), der, len, f->content_fd, CONTENT_BYTES, &e) < 0);
	assert_slug(&e, "signature-mismatch");
	byte ^= 1;
	assert_int_equal(pwrite(f->content_fd, &byte, 1, 280000), 1);
	assert_true(cms_verify_fd(signer_cert(f->signer), der, len, f->content_fd, CONTENT_BYTES + 1, &e) ==
		    -ENODATA);
	err_done(&e);
	cert_freep(&other);
	cert_freep(&twin);
	free(der);
}

/* Cut anywhere, or with rubbish behind: never anything but the one slug. A flipped bit: never accepted. */
static void damaged_signatures(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct cms_info info;
	size_t len;
	uint8_t *der = sign(f, f->signer, "sha256", 0, &len), *longer;

	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);

		memcpy(exact, der, cut);
		assert_true(cms_parse(exact, cut, &info, &e) < 0);
		assert_slug(&e, "signature-invalid");
		free(exact);
	}
	longer = calloc(1, len + 1);
	memcpy(longer, der, len);
	assert_true(cms_parse(longer, len + 1, &info, &e) < 0);
	assert_slug(&e, "signature-invalid");
	free(longer);
	for (size_t i = 0; i < len; i++) {
		der[i] ^= 0x10;
		if (cms_verify_fd(signer_cert(f->signer), der, len, f->content_fd, CONTENT_BYTES, &e) >= 0)
			fail_msg("byte %zu changed and still accepted", i);
		der[i] ^= 0x10;
	}
	err_done(&e);
	free(der);
}

/* A message with its content inside, and one with two signers. */
static void other_shapes(void **state)
{
	struct fixture *f = *state;
	BIO *in = BIO_new_mem_buf("text", 4);
	CMS_ContentInfo *attached = CMS_sign(f->rsa.x509, f->rsa.key, NULL, in, CMS_BINARY);
	CMS_ContentInfo *two =
	    CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_DETACHED | CMS_BINARY | CMS_NOCERTS);
	CMS_ContentInfo *data = CMS_data_create(in, CMS_BINARY);
	CMS_ContentInfo *const messages[] = { attached, two, data };
	struct err e = ERR_INIT;
	struct cms_info info;
	BIO *empty = BIO_new_mem_buf("", 0);

	assert_non_null(
	    CMS_add1_signer(two, f->rsa.x509, f->rsa.key, EVP_sha256(), CMS_NOCERTS | CMS_NOATTR));
	assert_non_null(CMS_add1_signer(two, f->ec.x509, f->ec.key, EVP_sha256(), CMS_NOCERTS | CMS_NOATTR));
	assert_int_equal(CMS_final(two, empty, NULL, CMS_BINARY), 1);
	for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
		uint8_t *der = NULL;
		int len = i2d_CMS_ContentInfo(messages[i], &der);

		assert_true(len > 0);
		assert_true(cms_parse(der, (size_t)len, &info, &e) < 0);
		assert_slug(&e, "signature-invalid");
		OPENSSL_free(der);
		CMS_ContentInfo_free(messages[i]);
	}
	BIO_free(in);
	BIO_free(empty);
	err_done(&e);
}

/* The kernel accepts signed attributes although its own program writes none. */
static void signed_attributes_are_accepted(void **state)
{
	struct fixture *f = *state;
	BIO *content = BIO_new_file(in_dir(f, "content"), "rb");
	CMS_ContentInfo *cms =
	    CMS_sign(f->rsa.x509, f->rsa.key, NULL, content, CMS_BINARY | CMS_DETACHED | CMS_NOCERTS);
	struct err e = ERR_INIT;
	struct cms_info info;
	uint8_t *der = NULL;
	int len = i2d_CMS_ContentInfo(cms, &der);

	assert_ok(cms_parse(der, (size_t)len, &info, &e), &e);
	assert_true(info.has_attributes);
	assert_ok(cms_verify_fd(signer_cert(f->signer), der, (size_t)len, f->content_fd, CONTENT_BYTES, &e),
		  &e);
	assert_true(cms_verify_fd(signer_cert(f->signer), der, (size_t)len, f->content_fd, 5, &e) < 0);
	assert_slug(&e, "signature-mismatch");
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	BIO_free(content);
	err_done(&e);
}

static int pipe_with(const char *text)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(write(p[1], text, strlen(text)), (ssize_t)strlen(text));
	close(p[1]);
	return p[0];
}

static void pass_phrases(void **state)
{
	static const struct {
		const char *text, *slug;
	} rows[] = {
		{ NULL, "signing-key-passphrase" },
		{ "wrong\n", "signing-key-passphrase" },
		{ "", "signing-key-passphrase" },
		{ "open sesame\nsecond line", NULL },
		{ "open sesame", NULL },
	};
	struct fixture *f = *state;

	testcert_write_key(&f->rsa, &f->dir, "locked.key", "open sesame", 0600);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = rows[i].text ? pipe_with(rows[i].text) : -EBADF;
		struct err e = ERR_INIT;
		struct signer *s = NULL;
		int r = load(f, "locked.key", "rsa.der", fd, &s, &e);

		if (rows[i].slug) {
			assert_true(r < 0);
			assert_slug(&e, rows[i].slug);
		} else {
			assert_ok(r, &e);
		}
		signer_freep(&s);
		err_done(&e);
		if (fd >= 0)
			close(fd);
	}
}

static void write_der(const struct fixture *f, const char *name, const char *passphrase)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *bytes;
	long len;

	if (passphrase)
		assert_int_equal(i2d_PKCS8PrivateKey_bio(bio, f->rsa.key, EVP_aes_256_cbc(), passphrase,
							 (int)strlen(passphrase), NULL, NULL),
				 1);
	else
		assert_int_equal(i2d_PrivateKey_bio(bio, f->rsa.key), 1);
	len = BIO_get_mem_data(bio, &bytes);
	testdir_write(&f->dir, name, bytes, (size_t)len, 0600);
	BIO_free(bio);
}

/* 25.5: keys as files, PEM or DER. */
static void der_keys(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *key, *text, *slug;
	} rows[] = {
		{ "plain.der", NULL, NULL },
		{ "locked.der", "open sesame\n", NULL },
		{ "locked.der", "wrong\n", "signing-key-passphrase" },
		{ "locked.der", NULL, "signing-key-passphrase" },
		{ "rsa.der", NULL, "signing-key-unreadable" }, /* a certificate */
	};

	write_der(f, "plain.der", NULL);
	write_der(f, "locked.der", "open sesame");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = rows[i].text ? pipe_with(rows[i].text) : -EBADF;
		_cleanup_(err_done) struct err e = ERR_INIT;
		struct signer *s = NULL;
		int r = load(f, rows[i].key, "rsa.der", fd, &s, &e);

		if (rows[i].slug)
			assert_slug(&e, rows[i].slug);
		else
			assert_ok(r, &e);
		signer_freep(&s);
		if (fd >= 0)
			close(fd);
	}
}

static void unusable_inputs(void **state)
{
	static const struct {
		const char *key, *cert, *slug;
	} rows[] = {
		{ "rsa.key", "other.der", "signing-key-certificate-mismatch" },
		{ "rsa.key", "ec.der", "signing-key-certificate-mismatch" },
		{ "rsa.key", "twin.der", "signing-key-certificate-mismatch" },
		{ "absent", "rsa.der", "signing-key-unreadable" },
		{ "content", "rsa.der", "signing-key-unreadable" },
		{ "text", "rsa.der", "signing-key-unreadable" },
		{ "rsa.der", "rsa.der", "signing-key-unreadable" },
		{ ".", "rsa.der", "signing-key-unreadable" },
		{ "rsa.key", "absent", "certificate-unreadable" },
		{ "rsa.key", "content", "certificate-unreadable" },
		{ "rsa.key", "text", "certificate-unreadable" },
		{ "rsa.key", "rsa.key", "certificate-unreadable" },
		{ "rsa.key", "empty", "certificate-unreadable" },
	};
	struct fixture *f = *state;

	testdir_puts(&f->dir, "text", "not a key\n");
	testdir_puts(&f->dir, "empty", "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;
		struct signer *s = NULL;

		assert_true(load(f, rows[i].key, rows[i].cert, -EBADF, &s, &e) < 0);
		assert_slug(&e, rows[i].slug);
		assert_null(s);
		err_done(&e);
	}
}

static void token_without_provider(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct signer *s = NULL;

	assert_true(signer_load("pkcs11:token=none;object=none", in_dir(f, "rsa.der"), -EBADF, &s, &e) < 0);
	assert_slug(&e, "signing-key-pkcs11-unavailable");
	err_done(&e);
}

static void warnings(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct signer *s = NULL;
	struct cert_info info;
	char *log;
	int fd = openat(f->dir.fd, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	log_setup(&(struct log_config){ .fd = fd, .file_fd = -1, .level = LOG_WARN_LEVEL });
	assert_ok(load(f, "rsa.key", "rsa.pem", -EBADF, &s, &e), &e);
	signer_freep(&s);
	log = testdir_read(&f->dir, "log", NULL);
	assert_string_equal(log, "");
	free(log);
	testcert_write_key(&f->rsa, &f->dir, "open.key", NULL, 0640);
	assert_ok(load(f, "open.key", "rsa.der", -EBADF, &s, &e), &e);
	signer_freep(&s);
	assert_ok(load(f, "expired.key", "expired.der", -EBADF, &s, &e), &e);
	cert_describe(signer_cert(s), &info);
	assert_true(info.is_expired);
	signer_freep(&s);
	log_setup(&(struct log_config){ .fd = -1, .file_fd = -1 });
	log = testdir_read(&f->dir, "log", NULL);
	assert_non_null(strstr(log, "can be read by others (mode 0640)"));
	assert_non_null(strstr(log, "has expired"));
	free(log);
	close(fd);
}

static void generated_pair(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct keygen_names names;
	struct signer *s = NULL;
	struct cert_info info;
	struct stat st;
	char *before, *after, fp[SHA256_HEX_SIZE];

	assert_ok(keygen_create(f->dir.fd, "nvdriver module signing", KEYGEN_RSA_2048, 3650, &names, &e), &e);
	assert_int_equal(strncmp(names.key, "nvidia-modsign-key-", 19), 0);
	assert_string_equal(names.key + 27, ".key");
	assert_int_equal(strncmp(names.cert, "nvidia-modsign-crt-", 19), 0);
	assert_string_equal(names.cert + 27, ".der");
	assert_memory_equal(names.key + 19, names.cert + 19, 8);
	assert_int_equal(fstatat(f->dir.fd, names.key, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fstatat(f->dir.fd, names.cert, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_ok(load(f, names.key, names.cert, -EBADF, &s, &e), &e);
	cert_describe(signer_cert(s), &info);
	assert_string_equal(info.subject_cn, "nvdriver module signing");
	assert_string_equal(info.issuer_cn, "nvdriver module signing");
	assert_int_equal(strlen(info.serial), 59);
	assert_false(info.is_expired);
	assert_true(info.may_sign_code);
	assert_int_equal(cert_fingerprint(signer_cert(s), fp), 0);
	assert_int_equal(strlen(fp), 64);
	signer_freep(&s);
	/* A directory that cannot be written: an error and nothing new. */
	before = testdir_snapshot(&f->dir);
	assert_true(keygen_create(-EBADF, "x", KEYGEN_RSA_2048, 1, &names, &e) < 0);
	after = testdir_snapshot(&f->dir);
	assert_string_equal(before, after);
	free(before);
	free(after);
	err_done(&e);
}

static void fingerprint_is_of_the_der_form(void **state)
{
	struct fixture *f = *state;
	struct cert *der = NULL, *pem = NULL;
	struct err e = ERR_INIT;
	char a[SHA256_HEX_SIZE], b[SHA256_HEX_SIZE], file[SHA256_HEX_SIZE];

	assert_ok(cert_load(in_dir(f, "rsa.der"), &der, &e), &e);
	assert_ok(cert_load(in_dir(f, "rsa.pem"), &pem, &e), &e);
	assert_int_equal(cert_fingerprint(der, a), 0);
	assert_int_equal(cert_fingerprint(pem, b), 0);
	assert_int_equal(sha256_file_at(f->dir.fd, "rsa.der", file), 0);
	assert_string_equal(a, b);
	assert_string_equal(a, file);
	cert_freep(&der);
	cert_freep(&pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shape_is_the_kernels),
		cmocka_unit_test(every_hash_signs_and_verifies),
		cmocka_unit_test(unknown_hash_is_refused),
		cmocka_unit_test(key_id_form),
		cmocka_unit_test(elliptic_curve),
		cmocka_unit_test(verify_tells_apart),
		cmocka_unit_test(damaged_signatures),
		cmocka_unit_test(other_shapes),
		cmocka_unit_test(signed_attributes_are_accepted),
		cmocka_unit_test(der_keys),
		cmocka_unit_test(pass_phrases),
		cmocka_unit_test(unusable_inputs),
		cmocka_unit_test(token_without_provider),
		cmocka_unit_test(warnings),
		cmocka_unit_test(generated_pair),
		cmocka_unit_test(fingerprint_is_of_the_der_form),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
