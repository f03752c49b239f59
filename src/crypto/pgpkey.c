/* SPDX-License-Identifier: Apache-2.0 */
#include "pgpkey.h"

#include "digest.h"
#include "strbuf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ARMOUR_BEGIN "-----BEGIN PGP PUBLIC KEY BLOCK-----"
#define ARMOUR_END   "-----END PGP PUBLIC KEY BLOCK-----"
#define CRC24_INIT   0xB704CEu
#define CRC24_POLY   0x1864CFBu

enum packet_tag {
	PACKET_SIGNATURE = 2,
	PACKET_KEY = 6,
	PACKET_TRUST = 12,
	PACKET_USER_ID = 13,
	PACKET_SUBKEY = 14,
	PACKET_ATTRIBUTE = 17
};

/* -- armour -- */

static uint32_t crc24(const uint8_t *p, size_t n)
{
	uint32_t crc = CRC24_INIT;

	for (; n > 0; n--, p++) {
		crc ^= (uint32_t)*p << 16;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc << 1) ^ (crc & 0x800000 ? CRC24_POLY : 0);
	}
	return crc & 0xFFFFFF;
}

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Digits of one line; padding ends the text. -EINVAL. */
static int base64_line(struct span line, uint32_t *bits, unsigned *n_bits, struct strbuf *out)
{
	for (size_t i = 0; i < line.len; i++) {
		int v;

		if (line.p[i] == '=')
			continue;
		v = base64_value(line.p[i]);
		if (v < 0)
			return -EINVAL;
		*bits = *bits << 6 | (uint32_t)v;
		*n_bits += 6;
		if (*n_bits < 8)
			continue;
		*n_bits -= 8;
		if (strbuf_putc(out, (char)(*bits >> *n_bits)) < 0)
			return strbuf_error(out);
	}
	return 0;
}

static int checksum_matches(struct span line, const struct strbuf *ring)
{
	_cleanup_(strbuf_done) struct strbuf sum = STRBUF_INIT(16);
	uint32_t bits = 0;
	unsigned n_bits = 0;
	const uint8_t *b;

	line.p++;
	line.len--;
	if (base64_line(line, &bits, &n_bits, &sum) < 0 || sum.len != 3)
		return -EINVAL;
	b = (const uint8_t *)strbuf_str(&sum);
	return ((uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2]) ==
		       crc24((const uint8_t *)strbuf_str(ring), ring->len)
		   ? 0
		   : -EINVAL;
}

/* Header lines up to the first empty one. */
static bool skip_headers(struct span *rest)
{
	struct span line;

	while (span_line(rest, &line)) {
		line = span_trim(line);
		if (line.len == 0)
			return true;
		if (!memchr(line.p, ':', line.len))
			return false;
	}
	return false;
}

static int unarmour_block(struct span *rest, struct strbuf *out)
{
	_cleanup_(strbuf_done) struct strbuf block = STRBUF_INIT(PGP_KEY_MAX);
	uint32_t bits = 0;
	unsigned n_bits = 0;
	struct span line;

	if (!skip_headers(rest))
		return -EINVAL;
	while (span_line(rest, &line)) {
		int r;

		line = span_trim(line);
		if (span_eq(line, ARMOUR_END))
			return strbuf_append(out, strbuf_str(&block), block.len);
		r = line.len == 5 && line.p[0] == '=' ? checksum_matches(line, &block)
						      : base64_line(line, &bits, &n_bits, &block);
		if (r < 0)
			return r;
	}
	return -EINVAL;
}

static int unarmour(struct span text, struct strbuf *out)
{
	struct span line;
	int r = -EINVAL;

	while (span_line(&text, &line)) {
		if (!span_eq(span_trim(line), ARMOUR_BEGIN))
			continue;
		r = unarmour_block(&text, out);
		if (r < 0)
			return r;
	}
	return r;
}

/* -- packets -- */

struct packet {
	unsigned tag;
	const uint8_t *body; /* borrowed */
	size_t len;
};

static uint32_t big_endian(const uint8_t *p, unsigned n)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* Length of a packet in the newer form; partial lengths do not occur in keys. */
static int length_new(const uint8_t *p, size_t n, size_t *ret_used, size_t *ret_len)
{
	if (n >= 1 && p[0] < 192) {
		*ret_used = 1;
		*ret_len = p[0];
	} else if (n >= 2 && p[0] < 224) {
		*ret_used = 2;
		*ret_len = ((size_t)(p[0] - 192) << 8) + p[1] + 192;
	} else if (n >= 5 && p[0] == 255) {
		*ret_used = 5;
		*ret_len = big_endian(p + 1, 4);
	} else {
		return -EINVAL;
	}
	return 0;
}

static int length_old(unsigned type, const uint8_t *p, size_t n, size_t *ret_used, size_t *ret_len)
{
	unsigned size = 1u << type;

	if (type > 2 || n < size)
		return -EINVAL;
	*ret_used = size;
	*ret_len = big_endian(p, size);
	return 0;
}

/* 1 = one packet, 0 = the end. */
static int packet_next(const uint8_t **p, size_t *n, struct packet *ret)
{
	size_t used, len;
	uint8_t head;
	int r;

	if (*n == 0)
		return 0;
	head = **p;
	if (!(head & 0x80))
		return -EINVAL;
	r = head & 0x40 ? length_new(*p + 1, *n - 1, &used, &len)
			: length_old(head & 3, *p + 1, *n - 1, &used, &len);
	if (r < 0 || len > *n - 1 - used)
		return -EINVAL;
	*ret = (struct packet){ head & 0x40 ? head & 0x3f : (head >> 2) & 0xf, *p + 1 + used, len };
	*p += 1 + used + len;
	*n -= 1 + used + len;
	return 1;
}

static bool belongs_to_key(unsigned tag)
{
	return tag == PACKET_SIGNATURE || tag == PACKET_KEY || tag == PACKET_TRUST || tag == PACKET_USER_ID ||
	       tag == PACKET_SUBKEY || tag == PACKET_ATTRIBUTE;
}

static int fingerprint(const struct packet *k, char ret[41])
{
	_cleanup_(digest_freep) struct digest *d = NULL;
	const uint8_t head[3] = { 0x99, (uint8_t)(k->len >> 8), (uint8_t)k->len };
	uint8_t sum[20];
	size_t len;
	int r = digest_new("sha1", &d);

	if (r >= 0)
		r = digest_update(d, head, sizeof(head));
	if (r >= 0)
		r = digest_update(d, k->body, k->len);
	if (r >= 0)
		r = digest_final(d, sum, sizeof(sum), &len);
	if (r < 0)
		return r;
	hex_encode(sum, sizeof(sum), ret);
	for (char *c = ret; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	return 0;
}

static int not_a_key(struct err *e, const char *why)
{
	return err_set(e, ERR_FORMAT, "this is not an OpenPGP public key: %s", why);
}

int pgpkey_fingerprints(struct span ring, char ***ret, struct err *e)
{
	_cleanup_strv_ char **list = NULL;
	const uint8_t *p = (const uint8_t *)ring.p;
	size_t n = ring.len;
	struct packet k;
	char hex[41];
	int r;

	while ((r = packet_next(&p, &n, &k)) > 0) {
		if (!belongs_to_key(k.tag))
			return not_a_key(e, "it holds something else besides");
		if (k.tag != PACKET_KEY || k.len < 6 || k.len > UINT16_MAX || k.body[0] != 4)
			continue;
		r = fingerprint(&k, hex);
		if (r >= 0)
			r = strv_push(&list, hex);
		if (r < 0)
			return err_errno(e, r, "computing a fingerprint");
	}
	if (r < 0)
		return not_a_key(e, "its packets are damaged");
	*ret = TAKE_PTR(list);
	return 0;
}

int pgpkey_binary(struct span text, uint8_t **ret, size_t *ret_len, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(PGP_KEY_MAX);
	_cleanup_strv_ char **found = NULL;
	char *bytes;
	size_t len;
	int r;

	if (text.len > 0 && ((uint8_t)text.p[0] & 0x80))
		r = strbuf_append(&out, text.p, text.len);
	else
		r = unarmour(text, &out);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0 || out.len == 0)
		return not_a_key(e, r == -E2BIG ? "it is too long" : "no complete armoured block");
	r = pgpkey_fingerprints((struct span){ out.buf, out.len }, &found, e);
	if (r < 0)
		return r;
	if (!found)
		return not_a_key(e, "it holds no key of version 4");
	len = out.len;
	r = strbuf_steal(&out, &bytes);
	if (r < 0)
		return err_oom(e);
	*ret = (uint8_t *)bytes;
	*ret_len = len;
	return 0;
}

bool pgpkey_matches(char *const *fingerprints, const char *tail)
{
	size_t n = strlen(tail);

	for (; fingerprints && *fingerprints; fingerprints++) {
		size_t len = strlen(*fingerprints);

		if (n <= len && n >= 8 && strcasecmp(*fingerprints + len - n, tail) == 0)
			return true;
	}
	return false;
}
