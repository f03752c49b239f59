/* SPDX-License-Identifier: Apache-2.0 */
#include "container-catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pcicap_device gpu = { "0000:01:00.0", 0x20b5, 0x1533, { "535.129.03", "R535" } };
	char *const available[] = { (char[]){ "535.129.03" }, (char[]){ "525.147.05" }, NULL };
	_cleanup_(catalog_done) struct catalog c = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT, no = ERR_INIT;
	const struct catalog_entry *best = NULL;
	int r = catalog_parse((struct span){ (const char *)data, size }, &c, &e);

	if ((r < 0) != (e.code != 0))
		abort();
	/* What is chosen is a guest that is at hand. */
	if (r == 0 && catalog_match(&c, &gpu, available, &best, &no) == 0 &&
	    (!best || best->is_host ||
	     (strcmp(best->version, available[0]) != 0 && strcmp(best->version, available[1]) != 0)))
		abort();
	return 0;
}
