/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Detached OpenPGP signatures, checked by gpgv with the given keys and no others. */

#include "err.h"
#include "parse.h"

/* Was `data` signed by one of the keys in these files (armoured or binary, each may hold several; NULL-terminated)? `what` is its
 * name for messages. ERR_REPOSITORY_SIGNATURE, ERR_FORMAT for a file that holds no key, ERR_TOOL_MISSING, -errno. Works
 * in a private directory that is gone afterwards. */
int gpgv_check(const char *what, struct span data, struct span signature, char *const *key_files,
	       struct err *e);

/* Pure: what gpgv reports on its status descriptor. Good is a signature of a key that is neither expired nor revoked, and
 * no bad one beside it. */
bool gpgv_is_good(struct span status);
