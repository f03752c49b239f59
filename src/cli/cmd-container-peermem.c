/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "cmd-container.h"
#include "container-peermem.h"
#include "interrupt.h"
#include "log.h"
#include "err-container.h"

#include <signal.h>
#include <unistd.h>

#define REBUILD_LOCK_WAIT_S 3600

struct loader {
	struct app *app;
	const struct container_env *env;
	const struct host *h;
	const struct modload_ops *ops;
};

/* The store is opened only now: as long as the module fits, the side container needs none. */
static int rebuild(const struct loader *l, struct err *e)
{
	static const struct container_options options = { 0 };
	struct container_ops ops = { .kernel = *l->ops };
	_cleanup_(container_done) struct container c = { .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT };
	_cleanup_(engine_freep) struct engine *en = NULL;
	int r = engine_open(l->app->root, l->app->store_path, ENGINE_STORE_CREATE, &en, e);

	if (r < 0)
		return r;
	en->offline = l->app->offline;
	en->lock_timeout_s = REBUILD_LOCK_WAIT_S;
	r = container_init(en, l->env, &options, &ops, &c, e);
	return r < 0 ? r : container_peermem_rebuild(&c, e);
}

static int load_for_real(void *arg, struct err *e)
{
	const struct loader *l = arg;
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r = container_peermem_load(l->h, l->ops, &why);

	if (r == -ERR_PEERMEM_ABI && l->env->driver_version) {
		log_warn("nvidia-peermem was built against another network driver: building it again");
		return rebuild(l, e);
	}
	if (r < 0)
		err_move(e, &why);
	return r;
}

static int reload_on(struct app *app, const struct host *h, const struct container_env *env, struct err *e)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM };
	_cleanup_(modload_ops_done) struct modload_ops kernel = { 0 };
	_cleanup_free_ char *release = NULL;
	struct loader loader = { app, env, h, &kernel };
	struct container_peermem_ops ops = { .load = load_for_real, .arg = &loader };
	int r = host_kernel_release(h, &release);

	if (r < 0)
		return err_errno(e, r, "release of the running kernel");
	r = modload_ops_real(h, release, &kernel, e);
	if (r < 0)
		return r;
	interrupt_catch(signals, ARRAY_LEN(signals));
	return container_peermem_reload(h, env->use_host_mofed, &ops, e);
}

static int reload_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(host_freep) struct host *h = NULL;
	int r = container_env_read(environ, &env, e);

	if (r == 0)
		r = host_open(app->root, &h, e);
	/* Why else would we be here: only the driver container is told. */
	env.rdma_wanted = true;
	return r < 0 ? r : reload_on(app, h, &env, e);
}

static int probe_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		     struct err *e)
{
	_cleanup_(host_freep) struct host *h = NULL;
	const char *text = NULL;
	int r = host_open(app->root, &h, e);

	if (r == 0)
		r = container_peermem_probe(h, &text, e);
	if (r < 0)
		return r;
	if (app->json)
		return out_json("container-probe", json_pack("{s:s}", "text", text));
	out_text("%s\n", text);
	return 0;
}

const struct cmd cmd_container_reload_nvidia_peermem = {
	.name = "container",
	.sub = "reload_nvidia_peermem",
	.summary = "peer-memory side container: keep nvidia-peermem loaded",
	.description =
	    "Waits until the GPU driver and the network driver are ready (with "
	    "USE_HOST_MOFED=true the node's, else "
	    "the one in a container), loads nvidia-peermem from the exported root if it is "
	    "absent, then watches: "
	    "when it disappears, all over again. When the module refuses to start because it was built "
	    "against another network driver, it is built once more against the present one, in the "
	    "node's store. A signal ends it at once with status 0.",
	.opts_size = sizeof(struct container_opts),
	.flags = CMD_NO_ENGINE,
	.default_store = container_opts_store,
	.run = reload_cmd,
};
const struct cmd cmd_container_probe_nvidia_peermem = {
	.name = "container",
	.sub = "probe_nvidia_peermem",
	.summary = "peer-memory side container: is nvidia-peermem loaded where it should be",
	.description = "Succeeds when nvidia-peermem is loaded, and when there is no network driver to be a "
		       "peer of. Three looks "
		       "at /sys, no process, no network.",
	.flags = CMD_NO_ENGINE,
	.run = probe_cmd,
};
