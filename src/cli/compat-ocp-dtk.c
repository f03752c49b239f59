/* SPDX-License-Identifier: Apache-2.0
 *
 * Under the name "ocp_dtk_entrypoint": the two containers of an OpenShift pod that build the modules with the driver toolkit's
 * image. What each does is container-dtk's; the commands it ends in are those of nvidia-driver, with the environment that
 * crossed between the two. */
#include "compat.h"

#include "container-dtk.h"
#include "container-fast.h"
#include "datadir.h"
#include "log.h"
#include "strbuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char ocp_dtk_usage[] =
    "usage: ocp_dtk_entrypoint nv-ctr-run-with-dtk [OPTION OF nvidia-driver init...]\n"
    "       ocp_dtk_entrypoint dtk-build-driver\n";

struct ocp_dtk {
	int argc;
	char **argv; /* borrowed: further options, for init alone */
};

/* The process takes this environment over: the command reads it as its own. */
static int use_environment(char *const *environment)
{
	_cleanup_strv_ char **copy = NULL;

	for (char *const *v = environment; v && *v; v++)
		if (strv_push(&copy, *v) < 0)
			return -ENOMEM;
	if (clearenv() != 0)
		return -ENOMEM;
	for (char **v = copy; v && *v; v++) {
		char *eq = strchr(*v, '=');

		if (!eq)
			continue;
		*eq = '\0';
		if (setenv(*v, eq + 1, 1) < 0)
			return -errno;
	}
	return 0;
}

static int run_command(void *arg, const char *command, char *const *environment)
{
	const struct ocp_dtk *o = arg;
	_cleanup_strv_ char **argv = NULL;
	int r = strv_push(&argv, "nvidia-driver");

	if (r == 0)
		r = strv_push(&argv, command);
	if (r == 0 && strcmp(command, "build") == 0)
		r = strv_push(&argv, "--tag=builtin");
	for (int i = 0; r == 0 && strcmp(command, "init") == 0 && i < o->argc; i++)
		r = strv_push(&argv, o->argv[i]);
	if (r == 0)
		r = use_environment(environment);
	if (r < 0) {
		log_error("%s: %s", command, strerror(-r));
		return 1;
	}
	return compat_nvidia_driver((int)strv_len(argv), argv);
}

static bool is_fast(void *arg _unused_, const struct host *h, char *const *environment)
{
	_cleanup_(container_env_done) struct container_env env = { 0 };
	struct container c = { .h = h, .env = &env };

	if (container_env_read(environment, &env, NULL) < 0 || !env.driver_version)
		return false;
	c.version = env.driver_version;
	return container_fast_applies(&c);
}

/* The directory of one data file that is always there. */
static char *data_directory(void)
{
	char *path = datadir_path("patches");
	char *slash = path ? strrchr(path, '/') : NULL;

	if (slash)
		*slash = '\0';
	return path;
}

static int run_side(bool builder, struct ocp_dtk *o)
{
	const struct container_dtk_ops ops = { .run = run_command, .is_fast = is_fast, .arg = o };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_(host_freep) struct host *h = NULL;
	_cleanup_free_ char *data = data_directory();
	struct container_dtk d = {
		.environment = environ, .self = "/proc/self/exe", .data = data, .ops = &ops
	};
	int status = 0, r = host_open("/", &h, &e);

	d.h = h;
	if (r == 0)
		r = builder ? container_dtk_builder(&d, &status, &e) : container_dtk_driver(&d, &status, &e);
	if (r == 0)
		return status;
	log_error("%s; next: %s", e.reason ? e.reason : err_sentence(e.code),
		  e.next ? e.next : err_next_step(e.code));
	return 1;
}

int compat_ocp_dtk(int argc, char **argv)
{
	struct ocp_dtk o = { argc - 2, argv + 2 };
	bool builder = argc == 2 && strcmp(argv[1], "dtk-build-driver") == 0;

	log_setup(&(struct log_config){ .fd = 2, .file_fd = -1, .level = LOG_INFO_LEVEL });
	if (!builder && (argc < 2 || strcmp(argv[1], "nv-ctr-run-with-dtk") != 0)) {
		(void)fputs(ocp_dtk_usage, stderr);
		return 1;
	}
	return run_side(builder, &o);
}
