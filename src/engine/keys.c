/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include "cms.h"
#include "fd.h"
#include "path.h"
#include "strbuf.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define KEY_PREFIX     "nvidia-modsign-key-"
#define CERT_PREFIX    "nvidia-modsign-crt-"
#define KEY_VALID_DAYS 3650

static int keys_paths(struct store *s, const char *digits, char **ret_key_path, char **ret_cert_path,
		      struct err *e)
{
	_cleanup_free_ char *key = str_printf("%s/keys/" KEY_PREFIX "%s.key", s->path, digits);
	_cleanup_free_ char *cert = str_printf("%s/keys/" CERT_PREFIX "%s.der", s->path, digits);

	if (!key || !cert)
		return err_oom(e);
	*ret_key_path = TAKE_PTR(key);
	*ret_cert_path = TAKE_PTR(cert);
	return 0;
}

/* A certificate whose key is there too; its eight digits. */
static bool pair_digits(int dir_fd, const char *cert_name, char ret_digits[9])
{
	char key_name[64];

	if (strncmp(cert_name, CERT_PREFIX, strlen(CERT_PREFIX)) != 0 ||
	    strlen(cert_name) != strlen(CERT_PREFIX) + 12 ||
	    strcmp(cert_name + strlen(CERT_PREFIX) + 8, ".der") != 0)
		return false;
	memcpy(ret_digits, cert_name + strlen(CERT_PREFIX), 8);
	ret_digits[8] = '\0';
	snprintf(key_name, sizeof(key_name), KEY_PREFIX "%s.key", ret_digits);
	return path_exists(dir_fd, key_name);
}

int keys_find(struct store *s, char **ret_key_path, char **ret_cert_path, struct err *e)
{
	_cleanup_close_ int dir_fd = dir_open_at(s->dir_fd, "keys");
	char best[9] = "", digits[9];
	struct dirent *de;
	DIR *d;

	if (dir_fd < 0)
		return -ENOENT;
	d = fdopendir(fcntl(dir_fd, F_DUPFD_CLOEXEC, 3));
	if (!d)
		return err_errno(e, -errno, "cannot list %s/keys", s->path);
	while ((de = readdir(d)))
		if (pair_digits(dir_fd, de->d_name, digits) && (!*best || strcmp(digits, best) < 0))
			memcpy(best, digits, sizeof(best));
	closedir(d);
	return *best ? keys_paths(s, best, ret_key_path, ret_cert_path, e) : -ENOENT;
}

int keys_ensure(struct store *s, char **ret_key_path, char **ret_cert_path, bool *ret_made, struct err *e)
{
	_cleanup_close_ int dir_fd = -EBADF;
	struct keygen_names names;
	int r;

	*ret_made = false;
	r = keys_find(s, ret_key_path, ret_cert_path, e);
	if (r != -ENOENT)
		return r;
	r = path_mkdirs(s->dir_fd, "keys", 0700, PATH_NO_SYMLINKS);
	dir_fd = r < 0 ? r : dir_open_at(s->dir_fd, "keys");
	if (dir_fd < 0)
		return err_errno(e, dir_fd, "cannot open %s/keys", s->path);
	r = keygen_create(dir_fd, "nvdriver module signing key", KEYGEN_RSA_2048, KEY_VALID_DAYS, &names, e);
	if (r < 0)
		return r;
	*ret_made = true;
	return keys_find(s, ret_key_path, ret_cert_path, e);
}
