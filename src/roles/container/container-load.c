/* SPDX-License-Identifier: Apache-2.0 */
#include "container-load.h"

#include "container-export.h"
#include "container-iommu.h"
#include "container-params.h"
#include "container-prepare.h"
#include "container-rhel.h"
#include "fd.h"
#include "firmware.h"
#include "kmods.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "err-container.h"

#include <errno.h>
#include <string.h>

#define FIRMWARE_DIR "/" CONTAINER_EXPORT_DIR "/lib/firmware"
#define MODULES_MAX  8

int container_load_modules(const struct container *c, char ***ret)
{
	const struct {
		const char *name;
		bool wanted;
	} all[] = { { "nvidia", true },
		    { "nvidia-uvm", true },
		    { "nvidia-modeset", true },
		    { "nvidia-drm", c->o.with_drm },
		    { "nvidia-peermem", container_rdma_active(c) } };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].wanted && strv_push(ret, all[i].name) < 0)
			return -ENOMEM;
	return 0;
}

/* -- the kernel's own -- */

/* modeset uses symbols of the video module from RHEL 9.3 on. */
static bool needs_video(const struct container *c)
{
	struct rhel_facts f = { .user_version = c->env->rhel_version, .release = c->release };
	_cleanup_(os_release_done) struct os_release node = { 0 };
	struct rhel_version v;

	if (rhel_node_os_release(c->h, c->node, &node) == 0)
		f.node = &node;
	rhel_version_resolve(&f, &v);
	return v.major > 9 || (v.major == 9 && v.minor >= 3);
}

/* Absent or built in is no error: a load that really needs one names the symbol it misses. */
static void load_optional(struct container *c, const char *name)
{
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	int r;

	if (kmods_read(c->h, &k) == 0 && kmods_find(&k, name))
		return;
	r = c->ops->kernel.insert_kernel(c->ops->kernel.arg, name);
	if (r < 0 && r != -ENOENT && r != -ENOSYS && r != -EEXIST)
		log_warn("kernel module %s was not loaded: %s", name, strerror(-r));
}

static void load_kernel_modules(struct container *c)
{
	static const char *const names[] = { "i2c_core", "ipmi_msghandler", "ipmi_devintf" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		load_optional(c, names[i]);
	if (needs_video(c))
		load_optional(c, "video");
}

/* -- firmware -- */

/* "nvidia/<ver>/<file>" of the tree's firmware; none where the driver has none. */
static int firmware_files(const struct container *c, char ***ret, struct err *e)
{
	json_t *record = NULL, *entry;
	size_t i;
	int r = store_tree_open(c->en->store, c->tree_id, NULL, &record, e);
	const char *version = json_string_value(json_object_get(record, "version"));

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(record, "files"), i, entry) {
		const char *path = json_string_value(json_object_get(entry, "path"));
		_cleanup_free_ char *file = NULL;

		if (r < 0 || !path || !version || strncmp(path, "firmware/", 9) != 0 ||
		    strcmp(json_string_value(json_object_get(entry, "type")) ?: "", "file") != 0)
			continue;
		file = str_printf("nvidia/%s/%s", version, path + 9);
		r = file ? strv_push(ret, file) : -ENOMEM;
	}
	json_decref(record);
	return r < 0 ? err_oom(e) : 0;
}

static bool is_blank(const char *s)
{
	return s[strspn(s, " \t\r\n")] == '\0';
}

/* Ours is written over nothing, and over a foreign value that leads to no firmware for this driver. */
static int take_path(struct container *c, char *const *files, const char *now, struct err *e)
{
	struct firmware_want w = { .files = files, .dir = FIRMWARE_DIR, .kernel_view = c->node };
	_cleanup_free_ char *before = NULL;
	enum firmware_verdict verdict = FIRMWARE_SET;
	int r = is_blank(now) ? 0 : firmware_decide(c->node, &w, &verdict, NULL, e);

	if (r < 0)
		return r;
	if (verdict == FIRMWARE_KEEP) {
		log_warn("firmware search path kept: %s holds this driver's firmware", now);
		return 0;
	}
	w.chosen = true;
	r = firmware_take(c->node, &w, &verdict, &before, e);
	if (r == 0)
		log_info("firmware search path: " FIRMWARE_DIR);
	return r;
}

int container_firmware_set(struct container *c, struct err *e)
{
	_cleanup_strv_ char **files = NULL, **params = NULL;
	_cleanup_(err_done) struct err why = ERR_INIT;
	_cleanup_free_ char *now = NULL;
	int r = container_params_read(c, "nvidia", &params, e);

	if (r < 0)
		return r;
	if (container_params_no_firmware(params)) {
		log_info("the GPU firmware is switched off by a module parameter");
		return 0;
	}
	r = firmware_files(c, &files, e);
	if (r < 0)
		return r;
	r = firmware_path_get(c->node, &now, &why);
	if (r == 0 && strcmp(now, FIRMWARE_DIR) == 0)
		return 0;
	if (r == 0)
		r = take_path(c, files, now, &why);
	/* Without it the driver still loads; cards that need firmware say so when they are opened. */
	if (r < 0)
		log_warn("firmware search path not set: %s", why.reason ? why.reason : err_sentence(r));
	return 0;
}

/* -- the driver's -- */

static void report_loaded(const struct modload_report *report)
{
	_cleanup_(strbuf_done) struct strbuf loaded = STRBUF_INIT(65536), present = STRBUF_INIT(65536);
	const json_t *name;
	size_t i;

	json_array_foreach (report->loaded, i, name)
		(void)strbuf_printf(&loaded, " %s", json_string_value(name));
	json_array_foreach (report->present, i, name)
		(void)strbuf_printf(&present, " %s", json_string_value(name));
	if (loaded.len)
		log_info("modules loaded:%s", strbuf_str(&loaded));
	if (present.len)
		log_info("modules kept:%s", strbuf_str(&present));
}

static int load_modules(struct container *c, int set_fd, struct err *e)
{
	_cleanup_(modload_report_done) struct modload_report report = MODLOAD_REPORT_INIT;
	struct modload_module modules[MODULES_MAX] = { 0 };
	struct modload_request q = { .dir_fd = set_fd, .modules = modules };
	_cleanup_strv_ char **names = NULL;
	int r;

	if (container_load_modules(c, &names) < 0)
		return err_oom(e);
	for (; names && names[q.n_modules]; q.n_modules++)
		modules[q.n_modules].name = names[q.n_modules];
	r = modload_load(c->h, &c->ops->kernel, &q, &report, e);
	if (r < 0)
		return r;
	report_loaded(&report);
	return 0;
}

static int load_set(struct container *c, struct err *e)
{
	_cleanup_close_ int set_fd = store_object_open(c->en->store, STORE_MODULE, c->set_key);
	int r;

	if (set_fd < 0)
		return err_errno(e, set_fd, "module set %.12s", c->set_key);
	r = container_params_write(c, set_fd, e);
	if (r == 0)
		r = container_firmware_set(c, e);
	if (r < 0)
		return r;
	load_kernel_modules(c);
	container_iommu_identity(c);
	r = load_modules(c, set_fd, e);
	if (r < 0 && firmware_restore(c->node, NULL) < 0)
		log_warn("the firmware search path was not put back");
	return r;
}

/* Its start checks the network driver's interface: built against another one it answers "invalid argument" for ever. */
static bool is_peermem_refused(const struct err *e)
{
	return e->code == ERR_MODULE_START_REFUSED && e->object && kmod_name_eq(e->object, "nvidia-peermem");
}

static int load_for_network(struct container *c, struct err *refusal, struct err *e)
{
	int r;

	log_warn("nvidia-peermem was refused: looking at the network driver it was built against");
	r = container_modules_for_network(c, e);
	if (r < 0)
		return err_wrap(e, "modules for the present network driver");
	if (r == 0) {
		err_move(e, refusal);
		return err_recode(e, ERR_PEERMEM_ABI);
	}
	r = container_install_modules(c, e);
	if (r == 0)
		r = load_set(c, e);
	return r < 0 && is_peermem_refused(e) ? err_recode(e, ERR_PEERMEM_ABI) : r;
}

int container_load(struct container *c, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r = load_set(c, &why);

	if (r == 0)
		return 0;
	if (is_peermem_refused(&why))
		return load_for_network(c, &why, e);
	err_move(e, &why);
	return r;
}
