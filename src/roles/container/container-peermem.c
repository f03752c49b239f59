/* SPDX-License-Identifier: Apache-2.0 */
#include "container-peermem.h"

#include "container-prepare.h"

#include "fd.h"
#include "interrupt.h"
#include "kmods.h"
#include "log.h"
#include "modparams.h"
#include "path.h"
#include "strbuf.h"
#include "err-container.h"

#include <fcntl.h>
#include <string.h>

#define PEERMEM		 "nvidia_peermem"
#define OPTIONS_MAX	 ((size_t)64 << 10)
#define MODULE_PLACE	 "kernel/drivers/video"
#define MODPROBE_OPTIONS "etc/modprobe.d/nvidia-peermem.conf"

/* From sysfs rather than proc/modules: one small file instead of a page per hundred modules. Built-in modules have no
 * refcnt, and one that is on its way in or out does not count. */
static bool is_live(const struct host *h, const char *name)
{
	_cleanup_free_ char *count = NULL, *state = NULL;

	if (kmod_attr(h, name, "refcnt", &count) < 0)
		return false;
	return kmod_attr(h, name, "initstate", &state) < 0 || strcmp(state, "live") == 0;
}

int container_peermem_probe(const struct host *h, const char **ret_text, struct err *e)
{
	if (!is_live(h, "mlx5_core")) {
		*ret_text = "mlx5_core is not loaded: no network driver to serve";
		return 0;
	}
	if (!is_live(h, PEERMEM))
		return err_set(e, ERR_PEERMEM_ABSENT, "mlx5_core is loaded and nvidia-peermem is not");
	*ret_text = "nvidia-peermem is loaded";
	return 0;
}

/* What is still missing, NULL when nothing is. */
static const char *waits_for(const struct host *h, bool host_mofed)
{
	if (host_mofed && !is_live(h, "mlx5_core"))
		return "the host's network driver (module mlx5_core)";
	if (!host_mofed && !path_exists(h->root_fd, CONTAINER_MOFED_FLAG))
		return "the network driver container (/" CONTAINER_MOFED_FLAG ")";
	if (!path_exists(h->root_fd, CONTAINER_READY_FLAG))
		return "the GPU driver container (/" CONTAINER_READY_FLAG ")";
	return NULL;
}

static void say(const struct container_peermem_ops *ops, const char *fmt, const char *what)
{
	_cleanup_free_ char *text = str_printf("%s%s", fmt, what);

	if (!text)
		return;
	if (ops->say)
		ops->say(ops->arg, text);
	else
		log_info("%s", text);
}

/* True = stop. */
static bool pause_between(const struct container_peermem_ops *ops)
{
	return ops->sleep ? ops->sleep(ops->arg, CONTAINER_PEERMEM_POLL_S * 1000)
			  : interrupt_sleep(CONTAINER_PEERMEM_POLL_S * 1000);
}

/* True = stop. Every look is reported, so the container's log shows that it lives and what it lacks. */
static bool wait_until_ready(const struct host *h, bool host_mofed, const struct container_peermem_ops *ops)
{
	const char *missing;

	while ((missing = waits_for(h, host_mofed))) {
		say(ops, "waiting for ", missing);
		if (pause_between(ops))
			return true;
	}
	return false;
}

int container_peermem_reload(const struct host *h, bool host_mofed, const struct container_peermem_ops *ops,
			     struct err *e)
{
	while (!interrupt_pending()) {
		int r;

		if (wait_until_ready(h, host_mofed, ops))
			return 0;
		if (is_live(h, PEERMEM)) {
			say(ops, "nvidia-peermem is loaded already", "");
		} else {
			r = ops->load(ops->arg, e);
			if (r == -ERR_INTERRUPTED)
				return 0;
			if (r == 0 && !is_live(h, PEERMEM))
				r = err_set(e, ERR_PEERMEM_ABSENT,
					    "the kernel does not list it after loading");
			if (r < 0)
				return err_wrap(e, "loading nvidia-peermem");
			say(ops, "nvidia-peermem loaded", "");
		}
		while (is_live(h, PEERMEM))
			if (pause_between(ops))
				return 0;
		say(ops, "nvidia-peermem has gone", "");
	}
	return 0;
}

/* Options the driver container wrote for its own modprobe. */
static int options_of_export(int export_fd, struct strbuf *out)
{
	_cleanup_close_ int fd =
	    path_open_at(export_fd, MODPROBE_OPTIONS, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (fd == -ENOENT)
		return 0;
	r = fd < 0 ? fd : read_fd(fd, OPTIONS_MAX, &text, &len);
	return r < 0 ? r : modprobe_options(text, len, "nvidia-peermem", out);
}

static int open_modules(const struct host *h, int export_fd, struct err *e)
{
	_cleanup_free_ char *release = NULL, *path = NULL;
	int fd = host_kernel_release(h, &release);

	if (fd < 0)
		return err_errno(e, fd, "the running kernel's release");
	path = str_printf("lib/modules/%s/" MODULE_PLACE, release);
	if (!path)
		return err_oom(e);
	fd = path_open_at(export_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (fd >= 0)
		return fd;
	(void)err_set(e, ERR_MODULE_MISSING, "the driver container shows no modules at /%s/%s: %s",
		      CONTAINER_EXPORT, path, strerror(-fd));
	return err_object(e, "nvidia-peermem");
}

/* set_fd: a module set, or -EBADF for the modules the exported root has. */
static int load_from(const struct host *h, const struct modload_ops *ops, int set_fd, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf params = STRBUF_INIT(OPTIONS_MAX);
	_cleanup_(modload_report_done) struct modload_report report = MODLOAD_REPORT_INIT;
	struct modload_module module = { .name = "nvidia-peermem" };
	_cleanup_close_ int export_fd =
	    path_open_at(h->root_fd, CONTAINER_EXPORT, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	_cleanup_close_ int dir_fd = -EBADF;
	struct modload_request q = { .dir_fd = set_fd, .modules = &module, .n_modules = 1 };
	int r;

	if (export_fd < 0)
		return err_set(e, ERR_MODULE_MISSING, "/%s: %s", CONTAINER_EXPORT, strerror(-export_fd));
	r = options_of_export(export_fd, &params);
	if (r < 0)
		return err_errno(e, r, "/%s/%s", CONTAINER_EXPORT, MODPROBE_OPTIONS);
	if (set_fd < 0)
		q.dir_fd = dir_fd = open_modules(h, export_fd, e);
	if (q.dir_fd < 0)
		return q.dir_fd;
	module.params = params.len ? strbuf_str(&params) : NULL;
	r = modload_load(h, ops, &q, &report, e);
	/* The peer-memory interface of the running network driver is not the one it was built against. */
	return r == -ERR_MODULE_START_REFUSED ? err_recode(e, ERR_PEERMEM_ABI) : r;
}

int container_peermem_load(const struct host *h, const struct modload_ops *ops, struct err *e)
{
	return load_from(h, ops, -EBADF, e);
}

int container_peermem_rebuild(struct container *c, struct err *e)
{
	_cleanup_close_ int set_fd = -EBADF;
	int r = container_env_require_driver(c->env, e);

	c->set_key[0] = '\0';
	if (r == 0)
		r = container_choose_version(c, e);
	if (r == 0)
		r = container_prepare_tree(c, e);
	if (r == 0)
		r = container_prepare_flavour(c, e);
	if (r == 0)
		r = container_modules_for_network(c, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ERR_PEERMEM_ABI, "the network driver's symbols were not found");
	set_fd = store_object_open(c->en->store, STORE_MODULE, c->set_key);
	return set_fd < 0 ? err_errno(e, set_fd, "module set %.12s", c->set_key)
			  : load_from(c->h, &c->ops->kernel, set_fd, e);
}
