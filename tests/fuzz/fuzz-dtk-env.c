/* SPDX-License-Identifier: Apache-2.0
 *
 * What is read is written again byte for byte: the reader takes nothing but the writer's own form. */
#include "container-dtk.h"

#include "strbuf.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_strv_ char **environment = NULL;
	_cleanup_free_ char *text = NULL;

	if (dtk_env_parse((struct span){ (const char *)data, size }, &environment, &e) < 0)
		return 0;
	if (dtk_env_write(environment, &text) < 0)
		return 0;
	if (strlen(text) != size || memcmp(text, data, size) != 0)
		abort();
	return 0;
}
