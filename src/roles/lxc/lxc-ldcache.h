/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The loader's cache (etc/ld.so.cache) of a root somebody else controls: what the loader finds a name at, without
 * running anything. Every offset is checked against the bytes given. */

#include "parse.h"

struct lxc_ldcache {
	struct span text; /* borrowed */
	size_t base; /* where offsets of strings count from */
	size_t entries; /* offset of the first entry */
	uint32_t n;
};

/* -EINVAL for bytes that are no cache of glibc 2.2 or later. */
int lxc_ldcache_open(struct span bytes, struct lxc_ldcache *ret);
/* The i-th path of a SONAME for 64-bit programs of the machine ("x86_64", "aarch64"), in the loader's order;
 * SPAN_NULL behind the last. The span is NUL-terminated inside the bytes. */
struct span lxc_ldcache_find(const struct lxc_ldcache *c, const char *machine, const char *soname, size_t i);
