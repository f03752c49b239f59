/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-rollback.h"

#include "strbuf.h"
#include "vgpu-plan.h"
#include "vgpu-services.h"
#include "vgpu-text.h"

#define UNIT_FILE "etc/systemd/system/" ROLLBACK_UNIT

char *rollback_unit_text(unsigned seconds)
{
	return str_printf(
	    "[Unit]\n"
	    "Description=Take back kernel and boot words of the vGPU set-up unless the network works\n"
	    "After=network.target\n"
	    "\n"
	    "[Service]\n"
	    "Type=exec\n"
	    "ExecStart=/usr/bin/env nvdriver vgpu rollback --wait %us\n"
	    "\n"
	    "[Install]\n"
	    "WantedBy=multi-user.target\n",
	    seconds);
}

int rollback_add(const struct host *h, unsigned seconds, struct plan *p, struct err *e)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	_cleanup_free_ char *text = rollback_unit_text(seconds);
	int r = text ? text_files_read(&files, h, UNIT_FILE, e) : err_oom(e);

	if (r < 0)
		return r;
	r = text_edits_set(
	    &edits, UNIT_FILE, text_files_find(&files, UNIT_FILE), SPAN(text),
	    "have the next boots take the kernel and its words back without a network: /" UNIT_FILE);
	if (r >= 0)
		r = vgpu_add_edits(p, &edits, WORDS("systemctl", "daemon-reload"),
				   "have systemd read its files again");
	if (r >= 0 && edits.n > 0 && !unit_is_enabled(h, ROLLBACK_UNIT))
		r = vgpu_add_command(p, WORDS("systemctl", "enable", ROLLBACK_UNIT),
				     WORDS("systemctl", "disable", ROLLBACK_UNIT), VGPU_TOOL_TIMEOUT_S, false,
				     "start it at boot");
	return r < 0 ? err_oom(e) : 0;
}
