/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-services.h"

#include "fd.h"
#include "path.h"
#include "strbuf.h"
#include "vgpu-ops.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define OWN_UNIT_FILE "etc/systemd/system/" SERVICES_OWN_UNIT
#define VENDOR_UNIT   "pve-nvidia-sriov@"
#define WAIT_S	      60

static const char *const daemons[] = { "nvidia-vgpud.service", "nvidia-vgpu-mgr.service" };

bool unit_is_there(const struct host *h, const char *unit)
{
	static const char *const dirs[] = { "etc/systemd/system", "usr/lib/systemd/system",
					    "lib/systemd/system" };
	const char *at = strchr(unit, '@');
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		if (at)
			(void)snprintf(path, sizeof(path), "%s/%.*s@.service", dirs[i], (int)(at - unit),
				       unit);
		else
			(void)snprintf(path, sizeof(path), "%s/%s", dirs[i], unit);
		if (path_exists(h->root_fd, path))
			return true;
	}
	return false;
}

bool unit_is_enabled(const struct host *h, const char *unit)
{
	int fd = path_open_at(h->root_fd, "etc/systemd/system", O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool found = false;

	if (!d) {
		close_fdp(&fd);
		return false;
	}
	for (struct dirent *entry; !found && (entry = readdir(d));) {
		char path[PATH_MAX];

		(void)snprintf(path, sizeof(path), "%s/%s", entry->d_name, unit);
		found = (span_ends(SPAN(entry->d_name), ".wants") ||
			 span_ends(SPAN(entry->d_name), ".requires")) &&
			path_exists(dirfd(d), path);
	}
	(void)closedir(d);
	return found;
}

static int add_daemon(const char *unit, struct plan *p)
{
	_cleanup_free_ char *what = str_printf("start %s, at every boot too", unit);

	/* nvidia-vgpud ends by itself on many cards: how they fare is the verification's to say. */
	return what ? vgpu_add_command(p, WORDS("systemctl", "enable", "--now", unit),
				       WORDS("systemctl", "disable", "--now", unit), VGPU_TOOL_TIMEOUT_S,
				       true, what)
		    : -ENOMEM;
}

int services_add_daemons(const struct host *h, bool to_come, struct plan *p, char ***notes)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(daemons); i++) {
		if (!to_come && !unit_is_there(h, daemons[i]))
			r = vgpu_note(notes, "the driver brought no %s", daemons[i]);
		else if (!unit_is_enabled(h, daemons[i]))
			r = add_daemon(daemons[i], p);
	}
	return r;
}

char *services_unit_text(const char *address)
{
	return str_printf("[Unit]\n"
			  "Description=Switch on the virtual functions of NVIDIA cards\n"
			  "After=network.target nvidia-vgpud.service nvidia-vgpu-mgr.service\n"
			  "Before=pve-guests.service\n"
			  "StartLimitIntervalSec=90\n"
			  "StartLimitBurst=12\n"
			  "\n"
			  "[Service]\n"
			  "Type=oneshot\n"
			  "ExecStart=/usr/lib/nvidia/sriov-manage -e %s\n"
			  "Restart=on-failure\n"
			  "RestartSec=5\n"
			  "\n"
			  "[Install]\n"
			  "WantedBy=multi-user.target\n",
			  address);
}

/* Cards of the driver: all of them, or the chosen one alone when rules give others to passthrough. */
static int cards_with_functions(const struct host *h, const struct cards *cards, size_t chosen, char ***ret,
				const char **ret_which)
{
	bool shared = path_exists(h->root_fd, CARDS_RULES);
	int r = 0;

	*ret_which = shared ? cards->v[chosen].pci.address : "ALL";
	for (size_t i = 0; r >= 0 && i < cards->n; i++)
		if (cards->v[i].total_vfs > 0 &&
		    (i == chosen || (!shared && cards->v[i].support == CARD_NATIVE)))
			r = strv_push(ret, cards->v[i].pci.address);
	return r;
}

static int add_own_unit(const struct host *h, const char *which, struct plan *p, struct err *e)
{
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	_cleanup_free_ char *text = services_unit_text(which);
	int r = text ? text_files_read(&files, h, OWN_UNIT_FILE, e) : err_oom(e);

	if (r < 0)
		return r;
	r = text_edits_set(&edits, OWN_UNIT_FILE, text_files_find(&files, OWN_UNIT_FILE), SPAN(text),
			   "write the unit the vendor's helper would have: /" OWN_UNIT_FILE);
	if (r >= 0)
		r = vgpu_add_edits(p, &edits, WORDS("systemctl", "daemon-reload"),
				   "have systemd read its files again");
	return r < 0 ? err_oom(e) : 0;
}

int services_add_functions(const struct host *h, const struct cards *cards, size_t chosen, struct plan *p,
			   struct err *e)
{
	_cleanup_strv_ char **list = NULL;
	_cleanup_free_ char *unit = NULL;
	const char *which;
	int r;

	if (cards->v[chosen].support == CARD_UNLOCK || cards->v[chosen].total_vfs == 0)
		return 0;
	if (cards_with_functions(h, cards, chosen, &list, &which) < 0)
		return err_oom(e);
	unit = unit_is_there(h, VENDOR_UNIT ".service") ? str_printf(VENDOR_UNIT "%s.service", which)
							: strdup(SERVICES_OWN_UNIT);
	if (!unit)
		return err_oom(e);
	if (unit_is_enabled(h, unit))
		return 0;
	r = strcmp(unit, SERVICES_OWN_UNIT) == 0 ? add_own_unit(h, which, p, e) : 0;
	if (r >= 0 && vgpu_add_functions(p, unit, list, WAIT_S) < 0)
		r = err_oom(e);
	return r;
}
