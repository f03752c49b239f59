/* SPDX-License-Identifier: Apache-2.0 */
#include "apt.h"
#include "pkg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The two texts a package source reads by itself: the head of an .rpm and a repository's package index. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apt_packages packages = { 0 };
	struct pkg_facts f = { 0 };
	struct err e = ERR_INIT;

	(void)rpm_parse(data, size, &f, &e);
	pkg_facts_done(&f);
	err_done(&e);
	(void)apt_parse_index((const char *)data, size, &packages, &e);
	apt_packages_done(&packages);
	err_done(&e);
	return 0;
}
