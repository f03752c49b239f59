/* SPDX-License-Identifier: Apache-2.0 */
#include "gpgv.h"

#include "depot.h"
#include "fd.h"
#include "pgpkey.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"

#include <fcntl.h>

#define GPGV_LIMIT_S 60

bool gpgv_is_good(struct span status)
{
	struct span line, word;
	bool good = false;

	while (span_line(&status, &line)) {
		if (!span_word(&line, &word) || !span_eq(word, "[GNUPG:]") || !span_word(&line, &word))
			continue;
		if (span_eq(word, "BADSIG"))
			return false;
		good |= span_eq(word, "GOODSIG");
	}
	return good;
}

/* Key files become rings beside the other two files; gpgv reads binary ones alone. */
static int put_key(const struct depot *d, const char *path, unsigned n, struct spawn *s, struct err *e)
{
	_cleanup_free_ char *name = str_printf("keys-%u.gpg", n), *text = NULL;
	_cleanup_free_ uint8_t *ring = NULL;
	size_t len, ring_len;
	int r = name ? read_file_at(AT_FDCWD, path, PGP_KEY_MAX, &text, &len) : -ENOMEM;

	if (r < 0)
		return err_errno(e, r, "reading %s", path);
	r = pgpkey_binary((struct span){ text, len }, &ring, &ring_len, e);
	if (r < 0)
		return err_wrap(e, "%s", path);
	r = publish_bytes(d->dir_fd, name, ring, ring_len, 0600);
	if (r < 0)
		return err_errno(e, r, "writing a key ring");
	(void)spawn_argv(s, "--keyring", NULL);
	(void)spawn_arg(s, "%s/%s", d->dir_path, name);
	return 0;
}

static int put_files(const struct depot *d, struct span data, struct span signature, struct err *e)
{
	int r = publish_bytes(d->dir_fd, "data", data.p, data.len, 0600);

	if (r == 0)
		r = publish_bytes(d->dir_fd, "data.asc", signature.p, signature.len, 0600);
	return r < 0 ? err_errno(e, r, "writing to %s", d->dir_path) : 0;
}

int gpgv_check(const char *what, struct span data, struct span signature, char *const *key_files,
	       struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("signature check");
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	int r = depot_open(NULL, &d, e);

	if (r == 0)
		r = put_files(&d, data, signature, e);
	if (r < 0)
		return r;
	(void)spawn_argv(&s, "gpgv", "--homedir", d.dir_path, "--status-fd", "1", NULL);
	for (unsigned n = 0; r == 0 && key_files[n]; n++)
		r = put_key(&d, key_files[n], n, &s, e);
	if (r < 0)
		return r;
	(void)spawn_arg(&s, "%s/data.asc", d.dir_path);
	(void)spawn_arg(&s, "%s/data", d.dir_path);
	s.capture = true;
	s.timeout_s = GPGV_LIMIT_S;
	r = spawn_run(&s, e);
	if (r < 0)
		return r == -ERR_TOOL_MISSING ? err_next(e, "install gpgv (Debian, Ubuntu) or gnupg2 (RHEL)")
					      : r;
	if (s.status == 0 && gpgv_is_good((struct span){ s.out, s.out_len }))
		return 0;
	return err_set(e, ERR_REPOSITORY_SIGNATURE, "%s: %s", what, s.tail && *s.tail ? s.tail : "not good");
}
