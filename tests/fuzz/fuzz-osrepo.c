/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-osrepo.h"
#include "lxc-toolkit.h"

#include <stdlib.h>

#define URL "https://mirror/debian12/x86_64/"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A source file in a container: switched off once is switched off, and what does not concern us stays byte for byte. */
static void disable(struct span text, bool is_deb822)
{
	_cleanup_(strbuf_done) struct strbuf once = STRBUF_INIT(STRBUF_TEXT_MAX),
					     twice = STRBUF_INIT(STRBUF_TEXT_MAX);
	bool changed;

	if (osrepo_apt_disable(text, is_deb822, URL, &once, &changed) < 0)
		return;
	if (!changed && (once.len != text.len || (text.len && memcmp(once.buf, text.p, text.len) != 0)))
		abort();
	if (osrepo_apt_disable((struct span){ strbuf_str(&once), once.len }, is_deb822, URL, &twice,
			       &changed) < 0)
		return;
	if (changed || once.len != twice.len)
		abort();
}

static void answers(struct span text)
{
	static const enum osrepo_tool tools[] = { OSREPO_APT, OSREPO_DNF, OSREPO_ZYPPER };
	_cleanup_strv_ char **unmet = NULL;
	_cleanup_free_ char *nvcc = NULL;
	uint64_t fetch, disk;

	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		_cleanup_strv_ char **plan = NULL;

		(void)toolkit_plan_parse(tools[i], text, &plan);
	}
	(void)toolkit_unmet_parse(text, &unmet);
	(void)toolkit_nvcc_parse(text, &nvcc);
	toolkit_space_parse(text, &fetch, &disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };

	if (size > 65536)
		return 0;
	disable(text, false);
	disable(text, true);
	answers(text);
	return 0;
}
