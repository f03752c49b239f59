/* SPDX-License-Identifier: Apache-2.0 */
#include "rpmrepo.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is offered can be fetched below the repository and checked. */
static void check_href(const char *href, const char *sha256)
{
	if (!href || href[0] == '/' || !*href || strstr(href, "..") || strlen(sha256) != 64)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(rpmrepo_packages_done) struct rpmrepo_packages l = { 0 };
	_cleanup_(rpmrepo_index_done) struct rpmrepo_index index = { 0 };
	struct span xml = { (const char *)data, size };

	if (rpmrepo_parse_index(xml, &index, NULL) == 0)
		check_href(index.href, index.sha256);
	if (rpmrepo_parse_packages(xml, &l, NULL) == 0)
		for (size_t i = 0; i < l.n; i++)
			check_href(l.v[i].href, l.v[i].sha256);
	return 0;
}
