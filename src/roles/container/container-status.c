/* SPDX-License-Identifier: Apache-2.0 */
#include "container-status.h"

#include "container-daemons.h"
#include "container-export.h"
#include "container-fabric.h"
#include "container-kin.h"
#include "container-licence.h"
#include "container-unload.h"
#include "devholders.h"
#include "fd.h"
#include "firmware.h"
#include "jutil.h"
#include "kmods.h"
#include "log.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"
#include "err-container.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STATUS_MAX ((size_t)1 << 20)

static const struct {
	int code;
	const char *reason;
} reasons[] = {
	{ ERR_LOCKED, "lock-held" },
	{ ERR_MODULE_IN_USE, "in-use" },
	{ ERR_KTREE_NOT_FOUND, "no-kernel-tree" },
	{ ERR_KTREE_INVALID, "no-kernel-tree" },
	{ ERR_KTREE_MISMATCH, "no-kernel-tree" },
	{ ERR_MODULE_SOURCE, "build-failed" },
	{ ERR_MODULE_COMPILE, "build-failed" },
	{ ERR_MODULE_PROBE, "build-failed" },
	{ ERR_MODULE_BUILD_TOOL, "build-failed" },
	{ ERR_MODULE_BUILD, "build-failed" },
	{ ERR_LINK_FAILED, "build-failed" },
	{ ERR_LINK_RESULT, "build-failed" },
	{ ERR_PATCHSET, "build-failed" },
	{ ERR_MODULE_KEY_UNSIGNED, "signature" },
	{ ERR_SIGNING_REQUIRED, "signature" },
	{ ERR_MODULE_KEY_UNAVAILABLE, "signature" },
	{ ERR_MODULE_CRYPTO, "signature" },
	{ ERR_MODULE_SIG_DAMAGED, "signature" },
	{ ERR_MODULE_LOCKDOWN, "signature" },
	{ ERR_SIGN_FAILED, "signature" },
	{ ERR_KEY_UNREADABLE, "signature" },
	{ ERR_CERT_INVALID, "signature" },
	{ ERR_KEY_MISMATCH, "signature" },
	{ ERR_MODULE_WRONG_KERNEL, "module-load" },
	{ ERR_MODULE_DAMAGED, "module-load" },
	{ ERR_MODULE_SYMBOL, "module-load" },
	{ ERR_MODULE_PARAMETER, "module-load" },
	{ ERR_MODULE_NO_GPU, "module-load" },
	{ ERR_MODULE_GPU_HELD, "module-load" },
	{ ERR_MODULE_GPU_UNUSABLE, "module-load" },
	{ ERR_MODULE_LOADED_OTHER, "module-load" },
	{ ERR_MODULE_LOAD, "module-load" },
	{ ERR_MODULE_MISSING, "module-load" },
	{ ERR_MODULE_PERMISSION, "module-load" },
	{ ERR_MODULE_START_REFUSED, "module-load" },
	{ ERR_PEERMEM_ABI, "module-load" },
	{ ERR_VGPU_NO_MATCH, "vgpu-no-match" },
	{ ERR_VGPU_CATALOG, "vgpu-no-match" },
	{ ERR_DAEMON, "daemon" },
	{ ERR_LICENCE_INPUT, "daemon" },
	{ ERR_USAGE, "usage" },
	{ ERR_CONFIG, "usage" },
	{ ERR_INTERRUPTED, "interrupted" },
	{ ERR_FETCH_FAILED, "network" },
	{ ERR_OFFLINE, "network" },
	{ ERR_STORE_DAMAGED, "storage" },
	{ ERR_STORE_FORMAT, "storage" },
	{ ENOSPC, "storage" },
	{ EROFS, "storage" },
	{ ERR_DRIVER_NOT_PREPARED, "no-driver" },
};

const char *container_reason(int code)
{
	code = code < 0 ? -code : code;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].code == code)
			return reasons[i].reason;
	return "other";
}

/* -- the file -- */

static int open_run_dir(const struct container *c)
{
	int r = path_mkdirs(c->h->root_fd, CONTAINER_RUN_DIR, 0755, PATH_IN_ROOT);

	return r < 0
		   ? r
		   : path_open_at(c->h->root_fd, CONTAINER_RUN_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
}

static void write_status(struct container *c)
{
	_cleanup_close_ int dir_fd = -EBADF;
	_cleanup_free_ char *text = NULL;
	int r;

	/* Whoever does not hold the lock has no business in the running instance's file. */
	if (c->lock.fd < 0)
		return;
	(void)json_object_set_new(c->status, "schema", json_string(CONTAINER_STATUS_SCHEMA));
	(void)json_object_set_new(c->status, "pid", json_integer(getpid()));
	(void)json_object_set_new(c->status, "updated_unix_s", json_integer((json_int_t)time(NULL)));
	r = jdump(c->status, &text);
	dir_fd = open_run_dir(c);
	if (r == 0)
		r = dir_fd < 0 ? dir_fd
			       : publish_bytes(dir_fd, CONTAINER_STATUS_FILE, text, strlen(text), 0644);
	if (r < 0)
		log_warn("/" CONTAINER_RUN_DIR "/" CONTAINER_STATUS_FILE " was not written: %s",
			 strerror(-r));
}

void container_status_set(struct container *c, const char *key, json_t *value)
{
	if (value)
		(void)json_object_set_new(c->status, key, value);
}

void container_status_state(struct container *c, const char *state)
{
	container_status_set(c, "state", json_string(state));
	if (strcmp(state, "ready") == 0) {
		(void)json_object_del(c->status, "step");
		(void)json_object_del(c->status, "reason");
		(void)json_object_del(c->status, "error");
	}
	write_status(c);
}

void container_status_step(struct container *c, const char *step)
{
	container_status_set(c, "step", json_string(step));
	write_status(c);
}

void container_status_failed(struct container *c, const struct err *e)
{
	container_status_set(c, "reason", json_string(container_reason(e->code)));
	container_status_set(c, "error",
			     json_pack("{s:s,s:s?,s:s,s:s}", "slug", err_slug(e->code), "object", e->object,
				       "reason", e->reason ? e->reason : err_sentence(e->code), "next_step",
				       e->next ? e->next : err_next_step(e->code)));
	container_status_state(c, "failed");
}

int container_daemons_status(struct container *c, bool ready, struct err *e)
{
	const char *text = ready ? "Ready\n" : "NotReady\n", *name;
	_cleanup_close_ int dir_fd = path_open_parent(
	    c->h->root_fd, CONTAINER_RUN_DIR "/" CONTAINER_DAEMONS_FILE, true, PATH_IN_ROOT, &name);
	int r = dir_fd < 0 ? dir_fd : publish_bytes(dir_fd, name, text, strlen(text), 0644);

	return r < 0 ? err_errno(e, r, "/" CONTAINER_RUN_DIR "/" CONTAINER_DAEMONS_FILE) : 0;
}

/* -- looked at now -- */

static json_t *modules_report(const struct container *c)
{
	static const char *const names[] = { "nvidia",	   "nvidia-uvm",     "nvidia-modeset",
					     "nvidia-drm", "nvidia-peermem", "nvidia-vgpu-vfio",
					     "nvidia-fs",  "gdrdrv" };
	_cleanup_(kmods_done) struct kmods k = KMODS_INIT;
	json_t *list = json_array();

	if (!list || kmods_read(c->h, &k) < 0)
		return list;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct kmod_info *m = kmods_find(&k, names[i]);
		_cleanup_free_ char *version = NULL;

		if (!m)
			continue;
		(void)kmod_attr(c->h, m->name, "version", &version);
		(void)json_array_append_new(list, json_pack("{s:s,s:s?,s:i,s:o}", "name", m->name, "version",
							    version, "refcount", m->refcount, "holders",
							    m->holders ? jstrv(m->holders) : json_array()));
	}
	return list;
}

static json_t *users_report(const struct container *c)
{
	_cleanup_(devholders_done) struct devholders l = DEVHOLDERS_INIT;
	json_t *list = json_array();

	if (!list || devholders_find(c->h, "/dev/nvidia", &l) < 0)
		return list;
	for (size_t i = 0; i < l.n; i++) {
		char id[13];
		bool known = container_id_of(c->h, l.v[i].pid, id);

		(void)json_array_append_new(list,
					    json_pack("{s:i,s:s,s:o,s:b,s:s?}", "pid", l.v[i].pid, "command",
						      l.v[i].comm, "nodes", jstrv(l.v[i].nodes), "daemon",
						      l.v[i].daemon, "container", known ? id : NULL));
	}
	return list;
}

static const char *fabric_text(const struct container *c)
{
	static const char *const texts[] = {
		[FABRIC_NONE] = "none", [FABRIC_NVSWITCH] = "nvswitch", [FABRIC_NVLINK5] = "nvlink5"
	};

	return texts[container_fabric_detect(c->h)];
}

/* In one sentence how far the fabric is; null where there is none. */
static json_t *fabric_state(struct container *c)
{
	enum fabric_kind kind = container_fabric_detect(c->h);
	const char *missing = kind == FABRIC_NVLINK5 ? container_fabric_missing(c->h) : NULL;
	int pid;

	if (kind == FABRIC_NONE)
		return json_null();
	if (missing)
		return json_sprintf("waits for module %s", missing);
	return json_string(container_daemon_pid(c, DAEMON_FABRIC, false, &pid) == 0 ? "managed"
										    : "manager not running");
}

/* Of a vGPU guest with its driver loaded; null elsewhere, and where nobody answers. */
static json_t *licence_state(const struct container *c)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	_cleanup_free_ char *loaded = NULL, *state = NULL;

	if (!c->env->vgpu || kmod_attr(c->h, "nvidia", "refcnt", &loaded) < 0)
		return json_null();
	if (container_licence_ask(c->h, &state, &why) < 0)
		log_warn("licence state: %s", why.reason ? why.reason : err_sentence(why.code));
	return state ? json_string(state) : json_null();
}

static json_t *export_report(const struct container *c)
{
	_cleanup_free_ char *target = container_path(c, CONTAINER_EXPORT_DIR), *text = NULL;
	_cleanup_strv_ char **points = NULL;
	size_t len;

	if (!target || c->h->proc_fd < 0 ||
	    read_file_at(c->h->proc_fd, "self/mountinfo", (size_t)16 << 20, &text, &len) < 0 ||
	    container_mounts_below((struct span){ text, len }, target, &points) < 0)
		return json_null();
	return json_boolean(points != NULL);
}

json_t *container_status_report(struct container *c)
{
	_cleanup_free_ char *path = NULL, *daemons = NULL;
	json_t *last = NULL;
	int pid = 0;

	(void)jload_at(c->h->root_fd, CONTAINER_RUN_DIR "/" CONTAINER_STATUS_FILE, STATUS_MAX, &last, NULL);
	(void)read_line_at(c->h->root_fd, CONTAINER_RUN_DIR "/" CONTAINER_DAEMONS_FILE, &daemons);
	(void)firmware_path_get(c->node, &path, NULL);
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:s?,s:s?,s:s,s:o,s:o,s:s}", "last",
			 last ? last : json_null(), "instance_pid",
			 container_lock_holder(c->h, &pid) == 0 ? json_integer(pid) : json_null(), "modules",
			 modules_report(c), "users", users_report(c), "daemons", container_daemons_to_json(c),
			 "exported", export_report(c), "daemons_status", daemons, "firmware_path", path,
			 "fabric", fabric_text(c), "fabric_state", fabric_state(c), "licence",
			 licence_state(c), "kernel", c->release);
}
