/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-newkernel.h"

#include "base64.h"
#include "fd.h"
#include "path.h"
#include "strbuf.h"
#include "vgpu-choice.h"
#include "vgpu-machine.h"

#include <fcntl.h>
#include <string.h>

#define HOOK_MAX ((size_t)64 << 10)

const char *newkernel_verdict_word(enum newkernel_verdict v)
{
	static const char *const words[] = { "none", "fits", "too-new", "not-built" };

	return words[v];
}

void newkernel_done(struct newkernel *k)
{
	free(k->text);
	free(k->hold);
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

/* What the register says of the branch on that kernel: why not, or NULL. *ret_reason caller frees. */
static int register_says(const json_t *installed, const char *release, char **ret_reason, struct err *e)
{
	_cleanup_(catalog_freep) struct catalog *c = NULL;
	_cleanup_(choices_done) struct choices l = { 0 };
	struct choice_request q = { NULL, card_support_parse(text_of(installed, "support")), 0, release };
	const struct choice *pick;
	int r = catalog_load(NULL, &c, e);

	if (r < 0)
		return r;
	if (choices_make(c, &q, &l) < 0)
		return err_oom(e);
	pick = choices_find(&l, text_of(installed, "branch"));
	if (!pick || pick->verdict != CHOICE_KERNEL)
		return 0;
	*ret_reason = strdup(pick->reason);
	return *ret_reason ? 0 : err_oom(e);
}

static int judge(const struct vgpu_machine *m, const json_t *installed, const char *release,
		 const char *reason, struct newkernel *k)
{
	const char *version = text_of(installed, "version"), *branch = text_of(installed, "branch");

	if (reason) {
		k->verdict = NEWKERNEL_TOO_NEW;
		k->text =
		    str_printf("kernel %s: vGPU branch %s (driver %s) %s", release, branch, version, reason);
	} else if (!vgpu_machine_has_dkms(m, release, "nvidia")) {
		k->verdict = NEWKERNEL_NOT_BUILT;
		k->text = str_printf("kernel %s: no module of vGPU driver %s was built for it; see "
				     "/var/lib/dkms/nvidia/%s/build/make.log",
				     release, version, version);
	} else {
		k->verdict = NEWKERNEL_FITS;
		k->text = str_printf("kernel %s: vGPU driver %s is built for it", release, version);
	}
	if (k->verdict != NEWKERNEL_FITS && !m->pinned && strcmp(m->kernel, release) != 0) {
		k->hold = strdup(m->kernel);
		if (!k->hold)
			return -ENOMEM;
	}
	return k->text ? 0 : -ENOMEM;
}

int newkernel_look(struct engine *en, const char *release, struct newkernel *ret, struct err *e)
{
	_cleanup_(vgpu_machine_done) struct vgpu_machine m = { 0 };
	_cleanup_(newkernel_done) struct newkernel k = { .verdict = NEWKERNEL_NONE };
	_cleanup_free_ char *reason = NULL;
	json_auto_t *installed = NULL;
	int r = vgpu_deployed(en, "driver", &installed, e);

	if (r >= 0 && !installed) {
		k.text = strdup("no vGPU driver is installed here");
		r = k.text ? 0 : err_oom(e);
	} else if (r >= 0) {
		r = vgpu_machine_read(en->host, &m, e);
		if (r >= 0)
			r = register_says(installed, release, &reason, e);
		if (r >= 0 && judge(&m, installed, release, reason, &k) < 0)
			r = err_oom(e);
	}
	if (r < 0)
		return r;
	*ret = k;
	k = (struct newkernel){ .verdict = NEWKERNEL_NONE };
	return 0;
}

int newkernel_add_hold(const struct newkernel *k, struct plan *p)
{
	_cleanup_free_ char *what = str_printf("go on booting kernel %s", k->hold);

	return what ? vgpu_add_command(p, WORDS("proxmox-boot-tool", "kernel", "pin", k->hold),
				       WORDS("proxmox-boot-tool", "kernel", "unpin"), VGPU_TOOL_TIMEOUT_S,
				       false, what)
		    : -ENOMEM;
}

/* Never fails the kernel's installation. */
static char *hook_text(bool hold)
{
	return str_printf("#!/bin/sh\n"
			  "# Made by nvdriver: says when the vGPU driver does not go with a new kernel.\n"
			  "command -v nvdriver >/dev/null || exit 0\n"
			  "nvdriver vgpu kernel %s\"$1\" || :\n",
			  hold ? "--hold " : "");
}

static bool is_there(const struct host *h, const char *text)
{
	_cleanup_close_ int fd =
	    path_open_at(h->root_fd, NEWKERNEL_HOOK, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_free_ char *old = NULL;

	return fd >= 0 && read_fd(fd, HOOK_MAX, &old, NULL) == 0 && strcmp(old, text) == 0;
}

int newkernel_add_hook(const struct host *h, bool hold, struct plan *p)
{
	_cleanup_free_ char *text = hook_text(hold), *holding = hook_text(true), *base64 = NULL;

	if (!text || !holding)
		return -ENOMEM;
	/* One that holds stays so until somebody takes it away. */
	if (is_there(h, text) || is_there(h, holding))
		return 0;
	if (base64_encode((const uint8_t *)text, strlen(text), &base64) < 0)
		return -ENOMEM;
	return plan_add(p, &op_files,
			json_pack("{s:[{s:s, s:s, s:i, s:s}]}", "entries", "path", NEWKERNEL_HOOK, "type",
				  "file", "mode", 0755, "bytes_base64", base64),
			"have new kernels compared with the driver: /" NEWKERNEL_HOOK);
}
