/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Key files of a small TLS server, one at a time, so that what is there already is never replaced. PEM, because the servers
 * that read them want it. Key material stays in libcrypto's secure heap. */

#include "cms.h"

/* A new RSA key as PKCS #8, mode 0600. -EEXIST when the name is taken; -ERR_KEY_GENERATE. */
int rsakey_create(int dirfd, const char *name, unsigned bits, struct err *e);

/* The public half of the key in `key_name`, mode 0644. -EEXIST; -ERR_KEY_UNREADABLE. */
int rsakey_public(int dirfd, const char *key_name, const char *name, struct err *e);

/* A self-signed server certificate of that key, mode 0644. `names`: subject alternative names as libcrypto writes them
 * ("IP:192.0.2.1,DNS:pve"). -EEXIST; -ERR_KEY_UNREADABLE, -ERR_KEY_GENERATE. */
int servercert_create(int dirfd, const char *key_name, const char *name, const char *common_name,
		      const char *names, unsigned valid_days, struct err *e);

/* Is the certificate good for that host name or address? */
bool cert_names_host(const struct cert *c, const char *host);
/* Its last day, "2035-11-19". */
#define CERT_DAY_SIZE 16
int cert_last_day(const struct cert *c, char ret[CERT_DAY_SIZE]);
