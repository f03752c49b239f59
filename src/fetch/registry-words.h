/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What registries, their clients' files and people write: pure readers. Private to this directory. */

#include "err.h"
#include "parse.h"

#include <stdbool.h>

/* One challenge of a WWW-Authenticate header. */
struct registry_challenge {
	bool is_bearer; /* else basic */
	char *realm, *service, *scope; /* owned; service and scope may be NULL */
};
void registry_challenge_done(struct registry_challenge *c);
/* -EINVAL for other schemes and broken text, -ENOMEM. */
int registry_challenge_parse(struct span header, struct registry_challenge *ret);

/* "user:password" for a repository from the text of a credentials file: the longest key that is "host/name", a part of
 * it up to a slash, or "host" (also written as an address). *ret caller frees; NULL when there is none. ERR_AUTH_FILE. */
int registry_auth_find(struct span text, const char *host, const char *name, char **ret, struct err *e);

/* Where a Location header leads from `base` ("https://host"); *ret_is_same: still that host. -EINVAL for other schemes, a
 * step down from TLS, blanks and control bytes. */
int registry_location(const char *base, struct span location, char **ret, bool *ret_is_same);

/* "0-99" of a Range header: how many bytes are there. -EINVAL. */
int registry_range_end(struct span range, uint64_t *ret);

/* A query parameter's value as URLs want it; caller frees. */
char *registry_quote(const char *s);
