/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The key pair nvdriver makes on request, kept in the store's keys/ (0700). */

#include "store.h"

/* Paths of the pair in keys/ (the first by name, when there are several); -ENOENT silently when there is none.
 * Both owned by the caller. */
int keys_find(struct store *s, char **ret_key_path, char **ret_cert_path, struct err *e);

/* Make a pair (RSA-2048, ten years) unless there is one; *ret_made says which. On disk afterwards: the pair in
 * keys/, private key 0600. */
int keys_ensure(struct store *s, char **ret_key_path, char **ret_cert_path, bool *ret_made, struct err *e);
