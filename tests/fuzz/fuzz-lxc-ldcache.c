/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-ldcache.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = { (const char *)data, size };
	struct lxc_ldcache c;

	if (lxc_ldcache_open(bytes, &c) < 0)
		return 0;
	for (size_t i = 0; i < 4; i++) {
		struct span path = lxc_ldcache_find(&c, "x86_64", "libcuda.so.1", i);

		if (path.p && (path.p < bytes.p || path.p + path.len >= bytes.p + bytes.len))
			abort();
	}
	return 0;
}
