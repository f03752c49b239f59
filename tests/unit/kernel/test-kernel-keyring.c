/* SPDX-License-Identifier: Apache-2.0 */
#include "fakedriver.h"

#include "keyring.h"
#include "strbuf.h"

static void reads_the_kernels_list(void **state _unused_)
{
	static const char keys[] =
	    "0a1b2c3d I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid.0: 1\n"
	    "1a2b3c4d I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: "
	    "6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1: X509.rsa bb419ea1 []\n";

	assert_int_equal(keyring_lists(keys, "6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1"), TRI_YES);
	assert_int_equal(keyring_lists(keys, "cece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1"), TRI_NO);
	assert_int_equal(keyring_lists(keys, "bb419ea1"), TRI_NO);
	assert_int_equal(keyring_lists("0a1b2c3d I--Q--- 1 perm 1f3f0000 0 65534 keyring _uid.0: 1\n", "aa"),
			 TRI_UNKNOWN);
	assert_int_equal(keyring_lists("", "aa"), TRI_UNKNOWN);
}

struct bed {
	struct testdir t;
	struct host *h;
	struct cert *cert;
	char *cert_path;
	struct err e;
};

static void bed_make(struct bed *b)
{
	struct keygen_names names;

	*b = (struct bed){ 0 };
	testdir_make(&b->t);
	assert_ok(keygen_create(b->t.fd, "one", KEYGEN_RSA_2048, 10, &names, &b->e), &b->e);
	b->cert_path = str_printf("%s/%s", b->t.path, names.cert);
	assert_ok(cert_load(b->cert_path, &b->cert, &b->e), &b->e);
	testdir_puts(&b->t, "proc/version", "");
	testdir_puts(&b->t, "sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
	assert_ok(host_open(b->t.path, &b->h, &b->e), &b->e);
}

static void bed_done(struct bed *b)
{
	cert_freep(&b->cert);
	host_freep(&b->h);
	free(b->cert_path);
	err_done(&b->e);
	testdir_done(&b->t);
}

static void write_keys(struct bed *b, const char *id)
{
	_cleanup_free_ char *line =
	    str_printf("1 I--- 1 perm 1f030000 0 0 asymmetri one: %s: X509.rsa 12345678 []\n", id);

	testdir_puts(&b->t, "proc/keys", line);
}

static void write_firmware(struct bed *b, bool with_cert)
{
	_cleanup_free_ uint8_t *der = NULL;
	char list[8192] = "\x06";
	size_t len;

	assert_int_equal(cert_der(b->cert, &der, &len), 0);
	assert_true(len < sizeof(list) - 64);
	if (with_cert)
		memcpy(list + 48, der, len);
	testdir_write(&b->t, "sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23", list,
		      len + 48, 0644);
}

/* The kernel's own list, and the firmware's where the kernel's cannot be seen. */
static void finds_a_certificate(void **state _unused_)
{
	char id[CERT_KEY_ID_SIZE];
	struct bed b;

	bed_make(&b);
	assert_int_equal(keyring_has(b.h, b.cert), TRI_UNKNOWN);
	assert_int_equal(cert_key_id(b.cert, id), 0);
	assert_true(strlen(id) >= 16);
	write_keys(&b, id);
	assert_int_equal(keyring_has(b.h, b.cert), TRI_YES);
	write_keys(&b, "00112233");
	assert_int_equal(keyring_has(b.h, b.cert), TRI_NO);
	/* enrolled, but not before the next boot */
	write_firmware(&b, true);
	assert_int_equal(keyring_has(b.h, b.cert), TRI_NO);
	testdir_puts(&b.t, "proc/keys", "");
	assert_int_equal(keyring_has(b.h, b.cert), TRI_YES);
	write_firmware(&b, false);
	assert_int_equal(keyring_has(b.h, b.cert), TRI_NO);
	bed_done(&b);
}

static void asks_for_a_key_before_anything_is_built(void **state _unused_)
{
	static const struct {
		const char *enforce, *lockdown, *config;
		bool required;
	} rows[] = {
		{ "N", "[none] integrity confidentiality", "", false },
		{ "Y", "[none] integrity confidentiality", "", true },
		{ "N", "none [integrity] confidentiality", "", true },
		{ "N", "none integrity [confidentiality]", "", true },
		{ "N", "[none] integrity confidentiality", "CONFIG_MODULE_SIG_FORCE=y\n", true },
		{ "N", "[none] integrity confidentiality", "# CONFIG_MODULE_SIG_FORCE is not set\n", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(signing_preflight_done) struct signing_preflight p = { 0 }, with = { 0 };
		struct ktree tree = { .config = (char *)rows[i].config };
		struct bed b;
		int r;

		bed_make(&b);
		testdir_puts(&b.t, "sys/module/module/parameters/sig_enforce", rows[i].enforce);
		testdir_puts(&b.t, "sys/kernel/security/lockdown", rows[i].lockdown);
		r = signing_preflight(b.h, &tree, NULL, &p, &b.e);
		assert_int_equal(r, rows[i].required ? -ERR_SIGNING_REQUIRED : 0);
		if (r < 0)
			assert_slug(&b.e, "signing-required");
		else
			assert_string_equal(p.text, "signatures are not required");
		assert_ok(signing_preflight(b.h, &tree, b.cert_path, &with, &b.e), &b.e);
		assert_int_equal(with.required, rows[i].required);
		assert_non_null(strstr(with.text, "cannot be told"));
		bed_done(&b);
	}
}

TEST_MAIN(cmocka_unit_test(reads_the_kernels_list), cmocka_unit_test(finds_a_certificate),
	  cmocka_unit_test(asks_for_a_key_before_anything_is_built))
