/* SPDX-License-Identifier: Apache-2.0 */
#include "base64.h"
#include "cleanup.h"

#include <errno.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(const uint8_t *bytes, size_t len, char **ret)
{
	char *out, *p;

	if (len > SIZE_MAX / 2)
		return -ENOMEM;
	out = p = malloc((len + 2) / 3 * 4 + 1);
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)bytes[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)bytes[i + 1] << 8;
		if (i + 2 < len)
			v |= bytes[i + 2];
		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < len ? digits[v & 63] : '=';
	}
	*p = '\0';
	*ret = out;
	return 0;
}

static int value_of(char c)
{
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* Four characters to `3 - pad` bytes. */
static int decode_quad(const char *text, unsigned pad, uint8_t *out)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++) {
		int digit = i >= 4 - pad ? (text[i] == '=' ? 0 : -1) : value_of(text[i]);

		if (digit < 0)
			return -EINVAL;
		v = v << 6 | (uint32_t)digit;
	}
	/* Bits that no byte takes must be zero, or two texts would mean the same bytes. */
	if (v & ((1u << (8 * pad)) - 1))
		return -EINVAL;
	for (unsigned i = 0; i < 3 - pad; i++)
		out[i] = (uint8_t)(v >> (16 - 8 * i));
	return 0;
}

int base64_decode(struct span text, uint8_t **ret, size_t *ret_len)
{
	_cleanup_free_ uint8_t *out = NULL;
	unsigned pad = span_ends(text, "==") ? 2 : span_ends(text, "=") ? 1 : 0;
	size_t n;

	if (text.len % 4)
		return -EINVAL;
	n = text.len / 4 * 3;
	out = malloc(n + 1);
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < text.len; i += 4) {
		int r = decode_quad(text.p + i, i + 4 == text.len ? pad : 0, out + i / 4 * 3);

		if (r < 0)
			return r;
	}
	n -= text.len ? pad : 0;
	out[n] = 0;
	*ret = TAKE_PTR(out);
	*ret_len = n;
	return 0;
}
