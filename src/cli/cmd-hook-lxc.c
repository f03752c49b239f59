/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "log.h"
#include "lxc-boot.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* LXC says what it wants in the environment, and in older configurations (hook version 0) by arguments: name, "lxc", kind. */
static const char *said(const char *variable, int argc, char **argv, int at)
{
	const char *value = getenv(variable);

	return value && *value ? value : at < argc ? argv[at] : NULL;
}

static int pid_said(struct err *e)
{
	const char *text = getenv("LXC_PID");
	uint64_t pid;

	if (!text || parse_u64(SPAN(text), INT_MAX, &pid) < 0 || pid < 1)
		return err_set(e, ERR_USAGE, "LXC_PID is no process");
	return (int)pid;
}

static int dispatch(const struct lxc *x, const char *id, const char *kind, struct err *e)
{
	int pid;

	if (strcmp(kind, "pre-start") == 0)
		return lxc_hook_pre_start(x, id, e);
	if (strcmp(kind, "start-host") == 0) {
		pid = pid_said(e);
		return pid < 0 ? pid : lxc_hook_start_host(x, id, pid, e);
	}
	return err_set(e, ERR_USAGE,
		       "LXC's hook '%s' is none of pre-start and start-host, which run on the host", kind);
}

static int hook_lxc(struct app *app, void *opts _unused_, int argc, char **argv, struct err *e)
{
	const struct lxc_options opt = { .rollback = true };
	const char *id = said("LXC_NAME", argc, argv, 0), *kind = said("LXC_HOOK_TYPE", argc, argv, 2);
	_cleanup_(lxc_freep) struct lxc *x = NULL;
	struct lxc_settings set = { 0 };
	int r;

	if (!id || !kind)
		return err_set(e, ERR_USAGE, "LXC_NAME and LXC_HOOK_TYPE are not set: this is called by LXC");
	/* LXC's name for the container's own configuration is, elsewhere, one for the file that names all containers. */
	(void)unsetenv("LXC_CONFIG_FILE");
	app->engine->offline = true; /* a container's start does not wait for a download */
	r = lxc_settings_copy(&set, app->lxc_settings) < 0 ||
		    lxc_settings_default(app->engine->host, &set) < 0
		? err_oom(e)
		: lxc_open(app->engine, &opt, &set, &x, e);
	if (r >= 0)
		r = dispatch(x, id, kind, e);
	lxc_freep(&x);
	lxc_settings_done(&set);
	return r < 0 ? r : 0;
}

const struct cmd cmd_hook_lxc = {
	.name = "hook",
	.sub = "lxc",
	.summary = "called by LXC at the start of a container: devices and driver",
	.args = "[NAME [SECTION [TYPE]]]",
	.max_args = 16,
	.description =
	    "For lxc.hook.pre-start and lxc.hook.start-host, which run on the host, in the configuration of "
	    "a container "
	    "or of all (lxc.include). The first makes missing device nodes, mounts the host's driver in the "
	    "shared "
	    "directory, and refuses the start of a container that would run with another driver than the "
	    "host's. The "
	    "second warns about devices that are not usable. Containers that nvdriver has not installed into "
	    "are left "
	    "alone. Nothing is fetched.\n\n"
	    "LXC's own hook for NVIDIA GPUs (lxc.hook.mount = …/hooks/nvidia) must not be set beside it.",
	.examples =
	    "lxc.hook.pre-start = /usr/bin/nvdriver hook lxc\n  a line of a container's configuration\n",
	.run = hook_lxc,
};
