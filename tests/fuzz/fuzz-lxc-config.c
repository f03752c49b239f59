/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypervisor's JSON files: the first half of the input is one, the rest behind a NUL the other. */
#include "lxc-config.h"
#include "strbuf.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	struct span lxc = { (const char *)data, zero ? (size_t)(zero - data) : size };
	struct span hyp =
	    zero ? (struct span){ (const char *)zero + 1, size - lxc.len - 1 } : (struct span){ "", 0 };
	_cleanup_(lxc_config_freep) struct lxc_config *c = NULL;
	_cleanup_strv_ char **ids = NULL;

	if (lxc_config_parse(lxc, "a", hyp, "b", &c, NULL) < 0)
		return 0;
	(void)lxc_config_ids(c, true, &ids);
	for (char **p = ids; p && *p; p++) {
		_cleanup_(lxc_ct_config_done) struct lxc_ct_config ct = { 0 };

		(void)lxc_config_container(c, *p, "x86_64", true, &ct, NULL);
	}
	return 0;
}
