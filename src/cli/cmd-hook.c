/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "cmd-container.h"
#include "container-hook.h"
#include "fd.h"
#include "log.h"

#define ENVIRON_MAX ((size_t)4 << 20)

/* The hook is started with nothing of the container's environment: it is read from the instance that runs. */
static int instance_environment(const struct host *h, char ***ret, struct err *e)
{
	_cleanup_free_ char *bytes = NULL;
	char path[64];
	size_t len;
	int pid, r = container_lock_holder(h, &pid);

	if (r < 0)
		return 0;
	snprintf(path, sizeof(path), "%d/environ", pid);
	r = read_file_at(h->proc_fd, path, ENVIRON_MAX, &bytes, &len);
	if (r == 0)
		r = container_hook_environment(bytes, len, ret);
	return r < 0 ? err_errno(e, r, "environment of process %d", pid) : 1;
}

static int hook_kernel(struct app *app, void *opts, int argc _unused_, char **argv, struct err *e)
{
	struct container_opts o = *(struct container_opts *)opts;
	_cleanup_strv_ char **environment = NULL;
	int r = instance_environment(app->engine->host, &environment, e);

	if (r == 0) {
		log_info("no driver container is running: nothing to prepare for kernel %s", argv[0]);
		return 0;
	}
	o.kernel = argv[0];
	return r < 0 ? r : container_cmd_run(app, &o, environment, CONTAINER_UPDATE, e);
}

const struct cmd cmd_hook_kernel = {
	.name = "hook",
	.sub = "kernel",
	.summary = "called by a kernel installation: prepare the driver's modules for it",
	.args = "RELEASE",
	.min_args = 1,
	.max_args = 1,
	.description = "Installed hooks only call this, inside the mount namespace of the running driver "
		       "container. The environment the "
		       "driver container was started with is read from its process; then it is container "
		       "update for that kernel. Without "
		       "a running instance there is nothing to do.",
	.opts_size = sizeof(struct container_opts),
	.default_store = container_opts_store,
	.run = hook_kernel,
};
