/* SPDX-License-Identifier: Apache-2.0 */
#include "keyring.h"

#include "fd.h"
#include "log.h"
#include "parse.h"
#include "strbuf.h"

#include <string.h>

#define KEYS_MAX ((size_t)4 << 20)
#define LIST_MAX ((size_t)1 << 20)

void signing_preflight_done(struct signing_preflight *p)
{
	free(p->text);
	*p = (struct signing_preflight){ 0 };
}

/* "…: asymmetri Some CA: 6cce…: X509.rsa bb419ea1 []": the id stands between colons. */
enum tristate keyring_lists(const char *proc_keys, const char *key_id)
{
	_cleanup_free_ char *needle = str_printf(": %s: X509.", key_id);
	struct span rest = SPAN(proc_keys), line;
	enum tristate answer = TRI_UNKNOWN;

	while (needle && span_line(&rest, &line)) {
		if (!memmem(line.p, line.len, " asymmetri ", strlen(" asymmetri ")))
			continue;
		if (memmem(line.p, line.len, needle, strlen(needle)))
			return TRI_YES;
		answer = TRI_NO;
	}
	return answer;
}

static enum tristate ask_kernel(const struct host *h, const struct cert *c)
{
	_cleanup_free_ char *text = NULL;
	char id[CERT_KEY_ID_SIZE];

	if (h->proc_fd < 0 || cert_key_id(c, id) < 0 ||
	    read_file_at(h->proc_fd, "keys", KEYS_MAX, &text, NULL) < 0)
		return TRI_UNKNOWN;
	return keyring_lists(text, id);
}

/* A list is a chain of records with whole certificates in them; a certificate is found by its own bytes. */
static enum tristate ask_firmware(const struct host *h, const struct cert *c)
{
	static const char *const places[] = {
		"firmware/efi/mok-variables/MokListRT",
		"firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23",
	};
	_cleanup_free_ uint8_t *der = NULL;
	enum tristate answer = TRI_UNKNOWN;
	size_t der_len;

	if (h->sys_fd < 0 || cert_der(c, &der, &der_len) < 0)
		return TRI_UNKNOWN;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		_cleanup_free_ char *list = NULL;
		size_t len;

		if (read_file_at(h->sys_fd, places[i], LIST_MAX, &list, &len) < 0)
			continue;
		if (memmem(list, len, der, der_len))
			return TRI_YES;
		answer = TRI_NO;
	}
	return answer;
}

enum tristate keyring_has(const struct host *h, const struct cert *c)
{
	enum tristate kernel = ask_kernel(h, c), firmware;

	if (kernel == TRI_YES)
		return TRI_YES;
	firmware = ask_firmware(h, c);
	/* The kernel's word that it has no such key counts: an enrolled one appears there with the next boot. */
	return kernel == TRI_NO ? TRI_NO : firmware;
}

static const char *reason_required(const struct secureboot *s, const struct ktree *tree)
{
	if (s->sig_enforce == TRI_YES)
		return "module.sig_enforce is on";
	if (secureboot_modules_must_be_signed(s))
		return "the kernel is locked down";
	if (tree && ktree_config_enabled(tree, "MODULE_SIG_FORCE"))
		return "it is built with CONFIG_MODULE_SIG_FORCE";
	return NULL;
}

static const char *enrolled_text(enum tristate enrolled)
{
	return enrolled == TRI_YES  ? "the kernel knows the certificate"
	       : enrolled == TRI_NO ? "the kernel does not know the certificate"
				    : "whether the kernel knows the certificate cannot be told from here";
}

static int check_certificate(const struct host *h, const char *cert_path, struct signing_preflight *p,
			     struct err *e)
{
	_cleanup_(cert_freep) struct cert *c = NULL;
	int r = cert_load(cert_path, &c, e);

	if (r < 0)
		return r;
	p->enrolled = keyring_has(h, c);
	if (p->required && p->enrolled == TRI_NO)
		log_warn("the kernel does not know the certificate %s: modules signed with it will be "
			 "refused until it "
			 "is enrolled (mokutil --import) and the machine was restarted",
			 cert_path);
	return 0;
}

int signing_preflight(const struct host *h, const struct ktree *tree, const char *cert_path,
		      struct signing_preflight *ret, struct err *e)
{
	struct signing_preflight p = { .enrolled = TRI_UNKNOWN };
	const char *why;
	int r;

	/* Whether the firmware's variables can be read is no matter of the kernel's demands. */
	(void)secureboot_read(h, &p.state);
	why = reason_required(&p.state, tree);
	p.required = why != NULL;
	if (p.required && !cert_path)
		return err_set(e, ERR_SIGNING_REQUIRED, "the kernel loads signed modules only: %s", why);
	if (cert_path) {
		r = check_certificate(h, cert_path, &p, e);
		if (r < 0)
			return r;
	}
	p.text = str_printf("signatures are %s%s%s%s%s", p.required ? "required: " : "not required",
			    p.required ? why : "", cert_path ? "; " : "",
			    cert_path ? enrolled_text(p.enrolled) : "",
			    !cert_path && p.state.secure_boot == TRI_YES ? " (Secure Boot is on)" : "");
	if (!p.text)
		return err_oom(e);
	*ret = p;
	return 0;
}
