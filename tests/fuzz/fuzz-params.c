/* SPDX-License-Identifier: Apache-2.0
 *
 * Words that came out of a parameter file hold no line end, and modprobe's line made of them is one line. */
#include "container-params.h"
#include "strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strv_ char **words = NULL, **warnings = NULL;
	_cleanup_free_ char *text = NULL;
	unsigned lines = 0;

	if (container_params_parse((struct span){ (const char *)data, size }, &words, &warnings) < 0)
		return 0;
	if (container_params_render("nvidia", words, &text) < 0)
		return 0;
	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	if (lines != (words ? 2 : 0))
		abort();
	return 0;
}
