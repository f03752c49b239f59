/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* OpenPGP public keys as package repositories publish them: armour taken off, fingerprints computed. No signature is
 * checked here; the package tool does that with the key once its fingerprint is known to be the publisher's. */

#include "err.h"
#include "parse.h"

#include <stdint.h>

#define PGP_KEY_MAX ((size_t)256 << 10)

/* The binary key ring in `text`: ASCII armour (RFC 4880, checksum compared when there is one) or binary packets, which are
 * copied. Only packets that belong to public keys are accepted. *ret caller frees. -ERR_FORMAT. */
int pgpkey_binary(struct span text, uint8_t **ret, size_t *ret_len, struct err *e);
/* Fingerprints of the primary keys of version 4 in a binary ring: 40 upper-case hex digits each. *ret caller frees (strv);
 * NULL when it holds none. -ERR_FORMAT. */
int pgpkey_fingerprints(struct span ring, char ***ret, struct err *e);
/* One of the fingerprints ends in `tail` (a whole fingerprint or a key id). */
bool pgpkey_matches(char *const *fingerprints, const char *tail);
