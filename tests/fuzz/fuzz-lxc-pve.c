/* SPDX-License-Identifier: Apache-2.0
 *
 * Proxmox VE's container configuration: whatever the text is, an edit leaves everything from the first section on byte
 * for byte, adding twice changes nothing the second time, and what was added can be taken out again. */
#include "lxc-edit.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool truth)
{
	if (!truth)
		abort();
}

static size_t section_start(struct span text)
{
	struct span rest = text, line;

	while (span_line(&rest, &line))
		if (line.len > 2 && line.p[0] == '[' && memchr(line.p, ']', line.len))
			return (size_t)(line.p - text.p);
	return text.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(strbuf_done) struct strbuf once = STRBUF_INIT((size_t)8 << 20),
					     twice = STRBUF_INIT((size_t)8 << 20),
					     back = STRBUF_INIT((size_t)8 << 20);
	char *lines[] = { (char *)"lxc.cgroup2.devices.allow = c 195:0 rw", NULL };
	struct span text = { (const char *)data, size }, tail;
	_cleanup_strv_ char **all = NULL;
	size_t at = section_start(text);
	bool present;
	unsigned n;

	if (size > (1 << 20))
		return 0;
	must(lxc_pve_lines(text, &all) == 0);
	(void)lxc_pve_dev_number(text, "/dev/nvidia0", &n, &present);
	must(lxc_pve_edit(text, lines, NULL, &once) >= 0);
	tail = (struct span){ text.p + at, size - at };
	must(once.len >= tail.len);
	must(tail.len == 0 || memcmp(once.buf + once.len - tail.len, tail.p, tail.len) == 0);
	must(lxc_pve_edit((struct span){ strbuf_str(&once), once.len }, lines, NULL, &twice) >= 0);
	must(once.len == twice.len && memcmp(strbuf_str(&once), strbuf_str(&twice), once.len) == 0);
	must(lxc_pve_edit((struct span){ strbuf_str(&twice), twice.len }, NULL, lines, &back) >= 0);
	must(back.len <= twice.len);
	return 0;
}
