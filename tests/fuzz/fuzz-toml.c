/* SPDX-License-Identifier: Apache-2.0 */
#include "jutil.h"
#include "toml.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is read is a value other programs can be given; every refusal names its line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	json_t *got = NULL;
	int r = toml_parse((struct span){ (const char *)data, size }, &got, &e);

	if (r == -ERR_FORMAT && (!e.reason || strncmp(e.reason, "line ", 5) != 0))
		abort();
	if (r >= 0 && jdump(got, &text) < 0)
		abort();
	json_decref(got);
	return 0;
}
