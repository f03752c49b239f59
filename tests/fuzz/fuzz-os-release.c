/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct os_release o = { 0 };
	int r = os_release_parse((const char *)data, size, &o, &e);

	/* Success has an id, failure has left nothing. */
	if ((r == 0) != (o.id != NULL) || (r < 0) != (e.code != 0))
		abort();
	os_release_done(&o);
	return 0;
}
