/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of a licence client and server as somebody else left them: gridd.conf, a token, a compose file, the kernel's list of
 * sockets, what nvidia-smi says. An edit is done once: the second one changes nothing. */
#include "vgpu-license.h"

#include "cleanup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void edit_twice(struct span text)
{
	_cleanup_free_ char *once = NULL, *twice = NULL;

	if (gridd_conf_edit(text, 2, "/etc/nvidia/ClientConfigToken", &once) < 0)
		return;
	if (gridd_conf_edit(SPAN(once), 2, "/etc/nvidia/ClientConfigToken", &twice) == 0 &&
	    strcmp(once, twice) != 0)
		abort();
	if (gridd_conf_feature(SPAN(once)) != 2)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct license_compose_facts facts = { 0 };
	_cleanup_free_ char *lines = NULL;
	bool licensed;

	if (memchr(data, 0, size))
		return 0; /* refused when read */
	edit_twice(text);
	(void)gridd_conf_is_legacy(text);
	(void)license_token_check(text, NULL);
	if (license_compose_read(text, &facts) == 0)
		license_compose_facts_done(&facts);
	(void)license_port_is_taken(text, 443);
	(void)license_smi_lines(text, &lines, &licensed);
	return 0;
}
