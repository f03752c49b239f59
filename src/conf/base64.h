/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* RFC 4648 section 4, with padding; decoding accepts exactly what encoding writes. */

#include "parse.h"

#include <stddef.h>
#include <stdint.h>

int base64_encode(const uint8_t *bytes, size_t len, char **ret); /* caller frees; 0 or -ENOMEM */
int base64_decode(struct span text, uint8_t **ret,
		  size_t *ret_len); /* caller frees; a NUL follows. -EINVAL */
