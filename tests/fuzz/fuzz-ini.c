/* SPDX-License-Identifier: Apache-2.0 */
#include "ini.h"
#include "strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
	char *text;
	char **words;
	bool flag;
	uint64_t number, bytes;
	unsigned seconds;
};

static const struct ini_key keys[] = {
	{ "", "text", ini_take_string, offsetof(struct settings, text), "text" },
	{ "", "flag", ini_take_bool, offsetof(struct settings, flag), "yes or no" },
	{ "a", "words", ini_take_strv, offsetof(struct settings, words), "words" },
	{ "a", "number", ini_take_u64, offsetof(struct settings, number), "a number" },
	{ "b", "bytes", ini_take_size, offsetof(struct settings, bytes), "a size" },
	{ "b", "seconds", ini_take_duration, offsetof(struct settings, seconds), "a time" },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct settings s = { 0 };
	int r = ini_parse((struct span){ (const char *)data, size }, "x", keys, ARRAY_LEN(keys), &s, &e);

	/* Every refusal names the place. */
	if (r < 0 && (!e.reason || strncmp(e.reason, "x:", 2) != 0))
		abort();
	free(s.text);
	strv_freep(&s.words);
	return 0;
}
