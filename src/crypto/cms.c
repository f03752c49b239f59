/* SPDX-License-Identifier: Apache-2.0
 *
 * CMS SignedData in the one shape the kernel reads (crypto/asymmetric_keys/pkcs7.asn1 in its sources), made and
 * checked by libcrypto. Content never passes through memory as a whole: blocks go into libcrypto's digest chain. */
#include "cms.h"

#include "crypto-internal.h"
#include "parse.h"

#include <stdarg.h>
#include <string.h>

#include <openssl/cms.h>
#include <openssl/err.h>

#define SIGN_BLOCK_BYTES  ((size_t)256 << 10)
#define CMS_DER_MAX_BYTES ((size_t)1 << 20)

CRYPTO_CLEANUP(CMS_ContentInfo, cms_info_freep, CMS_ContentInfo_free);
CRYPTO_CLEANUP(BIO, bio_chain_freep, BIO_free_all);

int crypto_err(struct err *e, int code, const char *fmt, ...)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	code = why ? err_set(e, code, "%s: %s", text, why) : err_set(e, code, "%s", text);
	ERR_clear_error();
	return code;
}

/* What kernels can check; the strings are also libcrypto's names. */
static const struct {
	const char *name;
	int nid;
} cms_hashes[] = {
	{ "sha1", NID_sha1 },	      { "sha224", NID_sha224 },	    { "sha256", NID_sha256 },
	{ "sha384", NID_sha384 },     { "sha512", NID_sha512 },	    { "sha3-256", NID_sha3_256 },
	{ "sha3-384", NID_sha3_384 }, { "sha3-512", NID_sha3_512 },
};

static const EVP_MD *hash_by_name(const char *hash)
{
	for (size_t i = 0; i < ARRAY_LEN(cms_hashes); i++) {
		if (strcmp(cms_hashes[i].name, hash) == 0)
			return EVP_get_digestbynid(cms_hashes[i].nid);
	}
	return NULL;
}

static const char *hash_name_by_nid(int nid)
{
	for (size_t i = 0; i < ARRAY_LEN(cms_hashes); i++) {
		if (cms_hashes[i].nid == nid)
			return cms_hashes[i].name;
	}
	return NULL;
}

bool cms_hash_is_known(const char *hash)
{
	return hash_by_name(hash) != NULL;
}

/* Push bytes [0, len) of fd through a digest chain. -ENODATA when the file is shorter. */
static int chain_feed(BIO *chain, int fd, uint64_t len)
{
	_cleanup_free_ uint8_t *block = malloc(SIGN_BLOCK_BYTES);
	uint64_t off = 0;

	if (!block)
		return -ENOMEM;
	while (off < len) {
		size_t want = len - off < SIGN_BLOCK_BYTES ? (size_t)(len - off) : SIGN_BLOCK_BYTES;
		ssize_t n = pread(fd, block, want, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		if (BIO_write(chain, block, (int)n) != (int)n)
			return -EIO;
		off += (uint64_t)n;
	}
	return BIO_flush(chain) == 1 ? 0 : -EIO;
}

/* The same flags, in the same two steps, as the kernel's program: that is what makes the result byte-identical. */
static CMS_ContentInfo *sign_prepare(const struct signer *s, const EVP_MD *md, unsigned flags)
{
	unsigned signer_flags = CMS_NOCERTS | CMS_BINARY | CMS_NOSMIMECAP | CMS_NOATTR;
	_cleanup_(cms_info_freep) CMS_ContentInfo *cms = NULL;

	cms = CMS_sign(NULL, NULL, NULL, NULL,
		       CMS_NOCERTS | CMS_PARTIAL | CMS_BINARY | CMS_DETACHED | CMS_STREAM);
	if (!cms)
		return NULL;
	if (flags & CMS_SIGN_KEYID)
		signer_flags |= CMS_USE_KEYID;
	if (!CMS_add1_signer(cms, s->cert->x509, s->key, md, signer_flags))
		return NULL;
	return TAKE_PTR(cms);
}

static int sign_encode(CMS_ContentInfo *cms, uint8_t **ret_der, size_t *ret_der_len, struct err *e)
{
	_cleanup_free_ uint8_t *der = NULL;
	int len = i2d_CMS_ContentInfo(cms, NULL);
	uint8_t *end;

	if (len <= 0)
		return crypto_err(e, ERR_SIGN_FAILED, "cannot encode the signature");
	der = malloc((size_t)len);
	if (!der)
		return err_oom(e);
	end = der;
	if (i2d_CMS_ContentInfo(cms, &end) != len)
		return crypto_err(e, ERR_SIGN_FAILED, "cannot encode the signature");
	*ret_der = TAKE_PTR(der);
	*ret_der_len = (size_t)len;
	return 0;
}

int cms_sign_fd(const struct signer *s, const char *hash, unsigned flags, int fd, uint64_t len,
		uint8_t **ret_der, size_t *ret_der_len, struct err *e)
{
	_cleanup_(cms_info_freep) CMS_ContentInfo *cms = NULL;
	_cleanup_(bio_chain_freep) BIO *chain = NULL;
	const EVP_MD *md = hash_by_name(hash);
	int r;

	if (!md)
		return err_set(e, -ERR_HASH_UNKNOWN, "%s", hash);
	cms = sign_prepare(s, md, flags);
	if (!cms)
		return crypto_err(e, ERR_SIGN_FAILED, "cannot prepare a %s signature", hash);
	chain = CMS_dataInit(cms, NULL);
	if (!chain)
		return crypto_err(e, ERR_SIGN_FAILED, "cannot prepare the digest");
	r = chain_feed(chain, fd, len);
	if (r < 0)
		return err_errno(e, r, "reading the content to sign");
	if (!CMS_dataFinal(cms, chain))
		return crypto_err(e, ERR_SIGN_FAILED, "the key refused to sign");
	return sign_encode(cms, ret_der, ret_der_len, e);
}

/* -- reading ---------------------------------------------------------------------------------------------- */

/* Step into (or, for a primitive or with `skip`, over) the next element when it has this tag. */
static bool der_step(const uint8_t **p, const uint8_t *end, int tag, bool skip, long *ret_len)
{
	int got_tag, got_class;
	const uint8_t *at = *p;

	if ((ASN1_get_object(&at, ret_len, &got_tag, &got_class, end - at) & 0x80) || got_tag != tag)
		return false;
	*p = skip ? at + *ret_len : at;
	return true;
}

/* Value of a one-byte INTEGER; -1 for anything else. */
static int der_small_integer(const uint8_t **p, const uint8_t *end)
{
	long len;

	if (!der_step(p, end, V_ASN1_INTEGER, true, &len) || len != 1)
		return -1;
	return (*p)[-1];
}

/* The two version numbers: outside of what is signed and not shown by libcrypto, but the kernel insists on them: 1 with
 * issuer and serial number, 3 with a key id. The message has been decoded before, so only the way there is walked. */
static bool versions_fit(const uint8_t *der, size_t der_len, int want)
{
	static const struct {
		int tag;
		bool skip;
	} to_message[] = { { V_ASN1_SEQUENCE, false },
			   { V_ASN1_OBJECT, true },
			   { 0, false },
			   { V_ASN1_SEQUENCE, false } },
	  to_signer[] = { { V_ASN1_SET, true },
			  { V_ASN1_SEQUENCE, true },
			  { V_ASN1_SET, false },
			  { V_ASN1_SEQUENCE, false } };
	const uint8_t *p = der, *end = der + der_len;
	long len;

	for (size_t i = 0; i < ARRAY_LEN(to_message); i++) {
		if (!der_step(&p, end, to_message[i].tag, to_message[i].skip, &len))
			return false;
	}
	if (der_small_integer(&p, end) != want)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(to_signer); i++) {
		if (!der_step(&p, end, to_signer[i].tag, to_signer[i].skip, &len))
			return false;
	}
	return der_small_integer(&p, end) == want;
}

/* Parse and check the shape; *ret_si is borrowed from the result. */
static int cms_decode(const void *der, size_t der_len, CMS_ContentInfo **ret, CMS_SignerInfo **ret_si,
		      struct err *e)
{
	_cleanup_(cms_info_freep) CMS_ContentInfo *cms = NULL;
	const uint8_t *p = der, *end = p + der_len;
	STACK_OF(CMS_SignerInfo) * signers;
	ASN1_OCTET_STRING **content, *key_id = NULL;

	if (der_len > CMS_DER_MAX_BYTES)
		return err_set(e, -ERR_CMS_INVALID, "%zu bytes is too long for a signature", der_len);
	cms = d2i_CMS_ContentInfo(NULL, &p, (long)der_len);
	if (!cms)
		return crypto_err(e, ERR_CMS_INVALID, "not a CMS message");
	if (p != end)
		return err_set(e, -ERR_CMS_INVALID, "%zu bytes follow the CMS message", (size_t)(end - p));
	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
		return err_set(e, -ERR_CMS_INVALID, "the CMS message is not SignedData");
	if (OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data)
		return err_set(e, -ERR_CMS_INVALID, "the signed content is not of type data");
	content = CMS_get0_content(cms);
	if (!content || *content)
		return crypto_err(e, ERR_CMS_INVALID, "the signature carries content of its own");
	signers = CMS_get0_SignerInfos(cms);
	if (!signers || sk_CMS_SignerInfo_num(signers) != 1)
		return err_set(e, -ERR_CMS_INVALID, "%d signers instead of one",
			       signers ? sk_CMS_SignerInfo_num(signers) : 0);
	*ret_si = sk_CMS_SignerInfo_value(signers, 0);
	if (CMS_SignerInfo_get0_signer_id(*ret_si, &key_id, NULL, NULL) != 1 ||
	    !versions_fit(der, der_len, key_id ? 3 : 1))
		return crypto_err(e, ERR_CMS_INVALID,
				  "version numbers or order of fields are not the kernel's");
	*ret = TAKE_PTR(cms);
	return 0;
}

/* The signature algorithm is either the bare key type (RSA) or a pair of key type and hash. */
static const char *algorithm_name(const X509_ALGOR *sig)
{
	int nid = OBJ_obj2nid(sig->algorithm), key_nid = NID_undef;

	if (nid == NID_rsaEncryption)
		return "rsa";
	if (!OBJ_find_sigid_algs(nid, NULL, &key_nid))
		return NULL;
	return key_nid == NID_rsaEncryption ? "rsa" : key_nid == NID_X9_62_id_ecPublicKey ? "ecdsa" : NULL;
}

/* Parameters may be missing or NULL; writers differ and the kernel reads neither. */
static bool is_without_parameters(const X509_ALGOR *a)
{
	int type;

	X509_ALGOR_get0(NULL, &type, NULL, a);
	return type == V_ASN1_UNDEF || type == V_ASN1_NULL;
}

static int describe_algorithms(CMS_SignerInfo *si, struct cms_info *info, struct err *e)
{
	X509_ALGOR *digest = NULL, *sig = NULL;
	const char *hash, *algorithm;

	CMS_SignerInfo_get0_algs(si, NULL, NULL, &digest, &sig);
	hash = digest ? hash_name_by_nid(OBJ_obj2nid(digest->algorithm)) : NULL;
	if (!hash)
		return err_set(e, -ERR_CMS_INVALID, "the signature uses a hash kernels do not know");
	algorithm = sig ? algorithm_name(sig) : NULL;
	if (!algorithm)
		return err_set(e, -ERR_CMS_INVALID, "the signature is neither RSA nor ECDSA");
	if (!is_without_parameters(digest) || !is_without_parameters(sig))
		return err_set(e, -ERR_CMS_INVALID, "an algorithm has parameters");
	(void)snprintf(info->hash, sizeof(info->hash), "%s", hash);
	(void)snprintf(info->algorithm, sizeof(info->algorithm), "%s", algorithm);
	return 0;
}

static int describe_signer(CMS_SignerInfo *si, struct cms_info *info, struct err *e)
{
	ASN1_OCTET_STRING *key_id = NULL;
	X509_NAME *issuer = NULL;
	ASN1_INTEGER *serial = NULL;

	if (!CMS_SignerInfo_get0_signer_id(si, &key_id, &issuer, &serial))
		return crypto_err(e, ERR_CMS_INVALID, "the signer is not named");
	info->by_key_id = key_id != NULL;
	if (key_id) {
		crypto_hex_pairs(ASN1_STRING_get0_data(key_id), (size_t)ASN1_STRING_length(key_id),
				 info->key_id, sizeof(info->key_id));
		return 0;
	}
	crypto_common_name(issuer, info->signer, sizeof(info->signer));
	crypto_serial_text(serial, info->key_id, sizeof(info->key_id));
	return 0;
}

static int describe(CMS_SignerInfo *si, struct cms_info *ret, struct err *e)
{
	struct cms_info info = { 0 };
	int r;

	r = describe_algorithms(si, &info, e);
	if (r < 0)
		return r;
	r = describe_signer(si, &info, e);
	if (r < 0)
		return r;
	info.has_attributes = CMS_signed_get_attr_count(si) >= 0;
	*ret = info;
	return 0;
}

int cms_parse(const void *der, size_t der_len, struct cms_info *ret, struct err *e)
{
	_cleanup_(cms_info_freep) CMS_ContentInfo *cms = NULL;
	CMS_SignerInfo *si;
	int r;

	r = cms_decode(der, der_len, &cms, &si, e);
	if (r < 0)
		return r;
	return describe(si, ret, e);
}

int cms_verify_fd(const struct cert *c, const void *der, size_t der_len, int fd, uint64_t len, struct err *e)
{
	_cleanup_(cms_info_freep) CMS_ContentInfo *cms = NULL;
	_cleanup_(bio_chain_freep) BIO *chain = NULL;
	struct cms_info info;
	CMS_SignerInfo *si;
	int r;

	r = cms_decode(der, der_len, &cms, &si, e);
	if (r < 0)
		return r;
	r = describe(si, &info, e);
	if (r < 0)
		return r;
	if (CMS_SignerInfo_cert_cmp(si, c->x509) != 0)
		return err_set(e, -ERR_CMS_FOREIGN, "it names signer \"%s\", key %s", info.signer,
			       info.key_id);
	CMS_SignerInfo_set1_signer_cert(si, c->x509);
	chain = CMS_dataInit(cms, NULL);
	if (!chain)
		return crypto_err(e, ERR_CMS_INVALID, "cannot prepare the digest");
	r = chain_feed(chain, fd, len);
	if (r < 0)
		return err_errno(e, r, "reading the signed content");
	if (info.has_attributes && CMS_SignerInfo_verify(si) != 1)
		return crypto_err(e, ERR_CMS_MISMATCH, "the signed attributes do not verify");
	if (CMS_SignerInfo_verify_content(si, chain) != 1)
		return crypto_err(e, ERR_CMS_MISMATCH, "signer \"%s\", hash %s", info.signer, info.hash);
	return 0;
}
