/* SPDX-License-Identifier: Apache-2.0
 *
 * Our own install record, as it lies in a root somebody else controls. */
#include "record.h"

#include "cleanup.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *record = NULL, *again = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (record_parse((const char *)data, size, &record, NULL) < 0)
		return 0;
	(void)record_find(record, "usr/bin/nvidia-smi");
	if (record_emit(record, &text, &len) == 0 && record_parse(text, len, &again, NULL) < 0)
		abort();
	json_decref(again);
	json_decref(record);
	return 0;
}
