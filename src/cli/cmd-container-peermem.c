/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "container-env.h"
#include "container-peermem.h"
#include "interrupt.h"

#include <signal.h>
#include <unistd.h>

struct loader {
	const struct host *h;
	const struct modload_ops *ops;
};

static int load_for_real(void *arg, struct err *e)
{
	const struct loader *l = arg;

	return container_peermem_load(l->h, l->ops, e);
}

static int reload_on(const struct host *h, bool host_mofed, struct err *e)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM };
	_cleanup_(modload_ops_done) struct modload_ops kernel = { 0 };
	_cleanup_free_ char *release = NULL;
	struct loader loader = { h, &kernel };
	struct container_peermem_ops ops = { .load = load_for_real, .arg = &loader };
	int r = host_kernel_release(h, &release);

	if (r < 0)
		return err_errno(e, r, "release of the running kernel");
	r = modload_ops_real(h, release, &kernel, e);
	if (r < 0)
		return r;
	interrupt_catch(signals, ARRAY_LEN(signals));
	return container_peermem_reload(h, host_mofed, &ops, e);
}

static int reload_cmd(struct app *app, void *opts _unused_, int argc _unused_, char **argv _unused_,
		      struct err *e)
{
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(host_freep) struct host *h = NULL;
	int r = container_env_read(environ, &env, e);

	if (r == 0)
		r = host_open(app->root, &h, e);
	return r < 0 ? r : reload_on(h, env.use_host_mofed, e);
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
	.description = "Waits until the GPU driver and the network driver are ready (with "
		       "USE_HOST_MOFED=true the node's, else "
		       "the one in a container), loads nvidia-peermem from the exported root if it is "
		       "absent, then watches: "
		       "when it disappears, all over again. A signal ends it at once with status 0.",
	.flags = CMD_NO_ENGINE,
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
