/* SPDX-License-Identifier: Apache-2.0
 *
 * The vendor's installer as one operation. What it does cannot be foreseen, so it is taken back by its own uninstaller,
 * and the host is looked at afterwards: for what the installer's own record names and for the places where every driver
 * leaves something. */
#include "vgpu-ops.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "vendor-record.h"
#include "vgpu-tools.h"
#include "err-vgpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define INSTALL_TIMEOUT_S   3600
#define UNINSTALL_TIMEOUT_S 1800
#define UNINSTALLER	    "usr/bin/nvidia-uninstall"
#define DKMS_TREE	    "var/lib/dkms/nvidia"
#define NAMED_MAX	    10 /* leftovers said one by one */

/* Where a driver shows although its record is gone. */
static const char *const places[] = {
	UNINSTALLER,
	"usr/bin/nvidia-smi",
	"usr/bin/nvidia-vgpud",
	"usr/bin/nvidia-vgpu-mgr",
	DKMS_TREE,
	VENDOR_RECORD_DIR "/log",
	"usr/lib/systemd/system/nvidia-vgpud.service",
	"usr/lib/systemd/system/nvidia-vgpu-mgr.service",
	"lib/systemd/system/nvidia-vgpud.service",
	"lib/systemd/system/nvidia-vgpu-mgr.service",
	"usr/share/nvidia/vgpu",
};

static json_t *strings(char *const *v)
{
	return v ? jstrv(v) : json_array();
}

int vgpu_add_installer(struct plan *p, const char *file, char *const *words, const char *version,
		       char *const *headers)
{
	json_t *argv = json_pack("[s, s]", "sh", file);

	for (; argv && words && *words; words++)
		(void)json_array_append_new(argv, json_string(*words));
	return plan_add(
	    p, &op_vgpu_installer,
	    json_pack("{s:o, s:s, s:o}", "argv", argv, "version", version, "headers", strings(headers)),
	    "run the installer of driver %s", version);
}

static int run(const struct plan_ctx *c, const json_t *argv, const char *what, unsigned timeout_s,
	       struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(what);
	const json_t *word;
	size_t i;

	json_array_foreach (argv, i, word)
		(void)spawn_arg(&s, "%s", json_string_value(word) ? json_string_value(word) : "");
	s.timeout_s = timeout_s;
	return tools_run_logged(c, &s, e);
}

static json_t *present(const struct host *h)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < ARRAY_LEN(places); i++)
		if (path_exists(h->root_fd, places[i]))
			(void)json_array_append_new(list, json_string(places[i]));
	return list;
}

static int installer_stage(const struct plan_ctx *c, const json_t *args _unused_, json_t **ret_undo,
			   struct err *e)
{
	*ret_undo = json_pack("{s:o}", "before", present(c->host));
	return *ret_undo ? 0 : err_oom(e);
}

static int installer_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			   struct err *e)
{
	int r = run(c, json_object_get(args, "argv"), "the vendor's installer", INSTALL_TIMEOUT_S, e);

	/* Interrupted is interrupted, not a failure of the installer. */
	return r == -ERR_SPAWN ? err_recode(e, ERR_VGPU_INSTALL) : r;
}

/* -- taking back -- */

static bool was_before(const json_t *undo, const char *path)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(undo, "before"), i, v)
		if (strcmp(json_string_value(v) ? json_string_value(v) : "", path) == 0)
			return true;
	return false;
}

static bool is_new(const struct plan_ctx *c, const json_t *undo, const char *path)
{
	return path_exists(c->host->root_fd, path) && !was_before(undo, path);
}

/* A step of taking back: its failure is said and stops nothing. */
static bool try_run(const struct plan_ctx *c, const char *const *words, const char *what)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	json_auto_t *argv = json_array();

	for (; argv && *words; words++)
		(void)json_array_append_new(argv, json_string(*words));
	if (run(c, argv, what, UNINSTALL_TIMEOUT_S, &own) >= 0)
		return true;
	log_warn("%s: %s", what, own.reason ? own.reason : "failed");
	return false;
}
#define TRY_RUN(c, what, ...) try_run(c, (const char *const[]){ __VA_ARGS__, NULL }, what)

/* Versions the kernel module build still knows. */
static int dkms_versions(const struct host *h, char ***ret)
{
	int fd = path_open_at(h->root_fd, DKMS_TREE, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		close_fdp(&fd);
		return 0;
	}
	for (struct dirent *entry; r == 0 && (entry = readdir(d));)
		if (version_is_valid(entry->d_name))
			r = strv_push(ret, entry->d_name);
	(void)closedir(d);
	return r;
}

static void remove_dkms(const struct plan_ctx *c, const json_t *args)
{
	_cleanup_strv_ char **versions = NULL;
	json_t *package;
	size_t i;

	(void)dkms_versions(c->host, &versions);
	for (char **v = versions; v && *v; v++) {
		_cleanup_free_ char *module = str_printf("nvidia/%s", *v);

		if (module)
			(void)TRY_RUN(c, "removing the kernel modules", "dkms", "remove", module, "--all");
	}
	json_array_foreach (json_object_get(args, "headers"), i, package)
		(void)TRY_RUN(c, "installing the kernel headers again", "apt-get", "install", "--reinstall",
			      "-y", json_string_value(package));
}

static void remove_file(const struct host *h, const char *path)
{
	const char *name;
	_cleanup_close_ int dir = path_open_parent(h->root_fd, path, false, PATH_IN_ROOT, &name);

	if (dir >= 0)
		(void)unlinkat(dir, name, 0);
}

/* Files and links the record names and nobody changed. */
static void remove_recorded(const struct plan_ctx *c, const struct vendor_record *rec)
{
	json_auto_t *entries = json_array(), *notes = json_array();
	const json_t *entry;
	size_t i;

	if (!entries || !notes || vendor_record_removal(c->host->root_fd, rec, entries, notes, NULL) < 0)
		return;
	json_array_foreach (entries, i, entry) {
		const char *type = json_string_value(json_object_get(entry, "type"));
		const char *path = json_string_value(json_object_get(entry, "path"));

		if (type && path && strcmp(type, "absent") == 0)
			remove_file(c->host, path);
	}
}

static void name_leftovers(const struct plan_ctx *c, const json_t *undo, const struct vendor_record *rec)
{
	size_t left = 0;

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (is_new(c, undo, places[i]) && left++ < NAMED_MAX)
			log_warn("the driver's uninstaller left /%s", places[i]);
	for (size_t i = 0; i < rec->n; i++)
		if (path_exists(c->host->root_fd, rec->entries[i].path) && left++ < NAMED_MAX)
			log_warn("the driver's uninstaller left /%s", rec->entries[i].path);
	if (left > NAMED_MAX)
		log_warn("and %zu more", left - NAMED_MAX);
}

static int installer_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo,
			  struct err *e _unused_)
{
	_cleanup_(vendor_record_done) struct vendor_record rec = { 0 };
	bool gone, touched = is_new(c, undo, UNINSTALLER) || is_new(c, undo, DKMS_TREE) ||
			     is_new(c, undo, VENDOR_RECORD_DIR "/log");

	/* Stopped before the installer did anything, or a driver stood there that it would have replaced. */
	if (!touched)
		return 0;
	if (is_new(c, undo, VENDOR_RECORD_DIR "/log"))
		(void)vendor_record_read(c->host->root_fd, &rec, NULL);
	gone =
	    is_new(c, undo, UNINSTALLER) && TRY_RUN(c, "the driver's uninstaller", "nvidia-uninstall", "-s");
	if (!gone || is_new(c, undo, DKMS_TREE))
		remove_dkms(c, args);
	remove_recorded(c, &rec);
	name_leftovers(c, undo, &rec);
	return 0;
}

static int installer_show(const struct plan_ctx *c _unused_, const json_t *args, struct strbuf *out)
{
	const json_t *word;
	size_t i;

	(void)strbuf_puts(out, "  run    ");
	json_array_foreach (json_object_get(args, "argv"), i, word)
		(void)strbuf_printf(out, " %s", json_string_value(word));
	return strbuf_puts(out, "\n  taken back by nvidia-uninstall -s\n");
}

const struct op_type op_vgpu_installer = {
	.name = "vgpu-installer",
	.stage = installer_stage,
	.apply = installer_apply,
	.undo = installer_undo,
	.show = installer_show,
};
