/* SPDX-License-Identifier: Apache-2.0 */
#include "fd.h"
#include "install.h"
#include "kmods.h"
#include "parse.h"
#include "report.h"
#include "secureboot.h"
#include "strbuf.h"

#include <string.h>

char *report_target_name(const struct host *h)
{
	char *name = NULL;

	return userspace_target_name(h, &name, NULL) < 0 ? NULL : name;
}

static const char *tristate_text(enum tristate t)
{
	return t == TRI_YES ? "yes" : t == TRI_NO ? "no" : "unknown";
}

static json_t *status_host(const struct host *h)
{
	_cleanup_(os_release_done) struct os_release os = { 0 };
	_cleanup_free_ char *release = NULL, *machine = NULL;
	struct secureboot sb = { .secure_boot = TRI_UNKNOWN, .sig_enforce = TRI_UNKNOWN };

	(void)host_os_release(h, &os, NULL);
	(void)host_kernel_release(h, &release);
	(void)host_machine(h, &machine);
	(void)secureboot_read(h, &sb);
	return json_pack("{s:s,s:s?,s:s?,s:s?,s:s,s:s,s:s,s:b}", "root", h->root, "os", os.pretty_name,
			 "kernel", release, "machine", machine, "secure_boot", tristate_text(sb.secure_boot),
			 "sig_enforce", tristate_text(sb.sig_enforce), "lockdown", sb.lockdown,
			 "modules_must_be_signed", secureboot_modules_must_be_signed(&sb));
}

/* proc/driver/nvidia/version: "NVRM version: NVIDIA UNIX … Kernel Module  535.261.03  <date>": the first word that is
 * a version. */
char *report_running_version(const struct host *h)
{
	_cleanup_free_ char *line = NULL;
	struct span rest, word;

	if (h->proc_fd < 0 || read_line_at(h->proc_fd, "driver/nvidia/version", &line) < 0)
		return NULL;
	rest = SPAN(line);
	while (span_word(&rest, &word)) {
		_cleanup_free_ char *w = span_dup(word);

		if (w && version_is_valid(w))
			return TAKE_PTR(w);
	}
	return NULL;
}

static json_t *status_running(const struct host *h)
{
	_cleanup_(kmods_done) struct kmods mods = KMODS_INIT;
	_cleanup_free_ char *version = report_running_version(h);
	json_t *list = json_array();

	if (!list)
		return NULL;
	(void)kmods_read(h, &mods);
	for (size_t i = 0; i < mods.n; i++) {
		json_t *holders;

		if (strncmp(mods.v[i].name, "nvidia", 6) != 0 && strcmp(mods.v[i].name, "nouveau") != 0)
			continue;
		holders = json_array();
		for (char **w = mods.v[i].holders; holders && w && *w; w++)
			(void)json_array_append_new(holders, json_string(*w));
		(void)json_array_append_new(list,
					    json_pack("{s:s,s:i,s:o}", "name", mods.v[i].name, "refcount",
						      mods.v[i].refcount, "holders", holders));
	}
	return json_pack("{s:s?,s:o}", "driver_version", version, "modules", list);
}

int report_status(struct engine *en, json_t **ret, struct err *e)
{
	_cleanup_free_ char *target = report_target_name(en->host);
	json_t *store = NULL, *history = NULL;
	int r;

	if (!target)
		return err_oom(e);
	r = report_list(en, &store, e);
	if (r == 0 && en->store)
		r = plan_history(&en->state, target, &history, e);
	if (r < 0) {
		json_decref(store);
		return r;
	}
	*ret = json_pack("{s:o,s:o,s:o,s:s,s:o}", "host", status_host(en->host), "running",
			 status_running(en->host), "store", store, "target", target, "deployments",
			 history ? history : json_array());
	return *ret ? 0 : err_oom(e);
}
