/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(process_done) struct process p = PROCESS_INIT;

	(void)process_parse_stat((const char *)data, size, &p);
	return 0;
}
