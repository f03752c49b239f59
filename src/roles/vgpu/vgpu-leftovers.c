/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-leftovers.h"

#include "fd.h"
#include "path.h"
#include "strbuf.h"
#include "vgpu-ops.h"
#include "vgpu-unlock.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define DKMS_TREE "var/lib/dkms/nvidia"

/* The module build's entries, for all kernels: where the uninstaller forgot them, or is gone itself. */
static int add_dkms(struct engine *en, struct plan *p)
{
	int fd = path_open_at(en->host->root_fd, DKMS_TREE, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		close_fdp(&fd);
		return 0;
	}
	for (struct dirent *entry; r >= 0 && (entry = readdir(d));) {
		_cleanup_free_ char *module = NULL;

		if (!version_is_valid(entry->d_name))
			continue;
		module = str_printf("nvidia/%s", entry->d_name);
		r = module ? vgpu_add_command(p, WORDS("dkms", "remove", module, "--all"), NULL,
					      VGPU_TOOL_TIMEOUT_S, true, "remove its kernel modules")
			   : -ENOMEM;
	}
	(void)closedir(d);
	return r;
}

static int add_driver(struct engine *en, struct plan *p)
{
	int r =
	    vgpu_add_command(p, WORDS("systemctl", "stop", "nvidia-vgpud.service", "nvidia-vgpu-mgr.service"),
			     NULL, VGPU_TOOL_TIMEOUT_S, true, "stop its daemons");

	if (r >= 0 && path_exists(en->host->root_fd, "usr/bin/nvidia-uninstall"))
		r = vgpu_add_command(p, WORDS("nvidia-uninstall", "-s"), NULL, VGPU_APT_TIMEOUT_S, true,
				     "run its uninstaller");
	return r < 0 ? r : add_dkms(en, p);
}

/* The script's drop-ins point below /opt: without the library there they keep the daemons from starting. */
static int add_unlock(struct engine *en, struct plan *p)
{
	static const char *const drop_ins[] = {
		"etc/systemd/system/nvidia-vgpud.service.d/vgpu_unlock.conf",
		"etc/systemd/system/nvidia-vgpu-mgr.service.d/vgpu_unlock.conf",
	};
	_cleanup_(text_files_done) struct text_files files = { 0 };
	_cleanup_(text_edits_done) struct text_edits edits = { 0 };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(drop_ins); i++) {
		const struct text_file *f;

		r = text_files_read(&files, en->host, drop_ins[i], NULL);
		f = text_files_find(&files, drop_ins[i]);
		if (r >= 0 && f && strstr(f->bytes, "/opt/vgpu_unlock-rs/"))
			r = text_edits_drop(&edits, f, "remove /%s", drop_ins[i]);
	}
	if (r >= 0)
		r = vgpu_add_command(p, WORDS("rm", "-rf", "/opt/vgpu_unlock-rs"), NULL, VGPU_TOOL_TIMEOUT_S,
				     false, "remove /opt/vgpu_unlock-rs");
	return r < 0 ? r
		     : vgpu_add_edits(p, &edits, WORDS("systemctl", "daemon-reload"),
				      "have systemd read its files again");
}

static int add_server(struct engine *en _unused_, struct plan *p)
{
	/* Its keys below /opt/docker stay: tokens of guests are signed with them. */
	return vgpu_add_command(p, WORDS("docker", "rm", "-f", "-v", "wvthoog-fastapi-dls"), NULL,
				VGPU_TOOL_TIMEOUT_S, false, "remove the licence server's container");
}

const struct leftover leftovers[] = {
	{ "old_driver", "Uninstall the NVIDIA driver that this program did not install? ",
	  WORDS("usr/bin/nvidia-uninstall", DKMS_TREE), WORDS("driver"), add_driver, true },
	{ "old_unlock", "Remove the unlock library below /opt? ", WORDS("opt/vgpu_unlock-rs"), WORDS("-"),
	  add_unlock, true },
	{ "old_server", "Remove the script's licence server (its keys stay)? ",
	  WORDS("root/fastapi-dls/docker-compose.yml"), WORDS("license_server"), add_server, false },
	{ 0 },
};

/* 1 when it stands there and none of our deployments owns it. */
static int is_there(struct engine *en, const struct leftover *l, struct err *e)
{
	bool found = false;
	int r = 0;

	for (const char *const *p = l->paths; !found && *p; p++)
		found = path_exists(en->host->root_fd, *p);
	for (const char *const *g = l->records; found && r >= 0 && *g; g++) {
		json_t *meta = NULL;

		r = vgpu_deployed(en, *g, &meta, e);
		found = meta == NULL;
		json_decref(meta);
	}
	return r < 0 ? r : found;
}

int leftover_plan(struct engine *en, const struct leftover *l, struct plan **ret, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = vgpu_plan_new(en, l->name, "remove what nobody recorded", &p, e);

	/* Not a group of ours: there is nothing to take back. */
	if (r >= 0 && (json_object_del(p->meta, "group") < 0 ||
		       json_object_set_new(p->meta, "leftover", json_string(l->name)) < 0))
		r = err_oom(e);
	if (r >= 0)
		r = is_there(en, l, e);
	if (r > 0 && l->add(en, p) < 0)
		r = err_oom(e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}
