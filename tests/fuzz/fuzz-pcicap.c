/* SPDX-License-Identifier: Apache-2.0 */
#include "container-pcicap.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1); /* its own allocation: a read past the end is seen */
	struct pcicap_host host = { "", "" };
	int r;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	r = pcicap_vgpu(copy, size, &host);
	if ((size < 256) != (r == -EINVAL) || r > 1)
		abort();
	if (strlen(host.version) > PCICAP_TEXT_MAX || strlen(host.branch) > PCICAP_TEXT_MAX)
		abort();
	free(copy);
	return 0;
}
