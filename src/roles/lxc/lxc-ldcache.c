/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-ldcache.h"

#include <endian.h>
#include <errno.h>

#define MAGIC_NEW   "glibc-ld.so.cache1.1"
#define MAGIC_OLD   "ld.so-1.7.0"
#define HEAD_BYTES  48u
#define ROW_BYTES   24u
#define ENTRIES_MAX 200000u

static uint32_t u32_at(struct span s, size_t at)
{
	uint32_t v;

	memcpy(&v, s.p + at, sizeof(v));
	return le32toh(v);
}

static bool has_magic(struct span s, size_t at, const char *magic)
{
	size_t n = strlen(magic);

	return s.len >= at + n && memcmp(s.p + at, magic, n) == 0;
}

/* An old-format table may come first: its header is 12 bytes and a count, its entries 12 bytes each. */
static size_t new_format_at(struct span s)
{
	uint64_t at;

	if (!has_magic(s, 0, MAGIC_OLD) || s.len < 16)
		return 0;
	at = 16 + (uint64_t)u32_at(s, 12) * 12;
	at = (at + 7) & ~(uint64_t)7;
	return at < s.len ? (size_t)at : s.len;
}

int lxc_ldcache_open(struct span bytes, struct lxc_ldcache *ret)
{
	size_t at = new_format_at(bytes);
	uint32_t n;

	if (!has_magic(bytes, at, MAGIC_NEW) || bytes.len - at < HEAD_BYTES)
		return -EINVAL;
	n = u32_at(bytes, at + 20);
	if (n > ENTRIES_MAX || (bytes.len - at - HEAD_BYTES) / ROW_BYTES < n)
		return -EINVAL;
	*ret = (struct lxc_ldcache){ bytes, at, at + HEAD_BYTES, n };
	return 0;
}

static struct span string_at(const struct lxc_ldcache *c, uint32_t offset)
{
	size_t at = c->base + offset;
	const char *end;

	if (at < c->base || at >= c->text.len)
		return SPAN_NULL;
	end = memchr(c->text.p + at, '\0', c->text.len - at);
	return end ? (struct span){ c->text.p + at, (size_t)(end - c->text.p) - at } : SPAN_NULL;
}

static uint32_t flags_of(const char *machine)
{
	return strcmp(machine, "aarch64") == 0 ? 0x0a03 : 0x0303;
}

struct span lxc_ldcache_find(const struct lxc_ldcache *c, const char *machine, const char *soname, size_t i)
{
	uint32_t want = flags_of(machine);

	for (uint32_t k = 0; k < c->n; k++) {
		size_t row = c->entries + (size_t)k * ROW_BYTES;
		struct span name;

		if (u32_at(c->text, row) != want)
			continue;
		name = string_at(c, u32_at(c->text, row + 4));
		if (!name.p || !span_eq(name, soname))
			continue;
		if (i-- == 0)
			return string_at(c, u32_at(c->text, row + 8));
	}
	return SPAN_NULL;
}
