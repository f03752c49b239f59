/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* OpenShift builder mode: the driver container has the driver and no kernel tree, a second container of the pod (the vendor's
 * driver toolkit) has the kernel tree and compiler of the running kernel. They talk through a shared directory: files appear in it
 * whole, and empty-looking marker files say how far each side is. A marker's content is the generation the driver container chose
 * at its start: what an older start left, or a builder finishes for it late, is not taken for an answer. */

#include "host.h"
#include "parse.h"

#define DTK_SHARED	 "mnt/shared-nvidia-driver-toolkit"
#define DTK_PREPARED	 "dir_prepared"
#define DTK_STARTED	 "driver_build_started"
#define DTK_BUILT	 "driver_built"
#define DTK_BROKEN	 "driver_toolkit_broken"
#define DTK_FS_BUILT	 "nvidia_fs_built"
#define DTK_GDRCOPY_DONE "gdrcopy_built"
#define DTK_MODULES	 "modules"
#define DTK_ENV		 "env"

/* -- pure -- */

/* NAME='value' lines of an environment (strv), a quote in a value as '\'' and a newline as it is, so that a shell reads the same. Entries
 * whose name is no identifier are left out. Caller frees; -ENOMEM. */
int dtk_env_write(char *const *environment, char **ret);
/* Exactly what dtk_env_write() writes: -ERR_DTK_ENV with the line for anything else; nothing is expanded. Caller frees the strv. */
int dtk_env_parse(struct span text, char ***ret, struct err *e);

/* Files a load of `names` in this order needs, dependencies before what needs them, each once, as modules.dep spells them; names in
 * modules.builtin need none. A name ending in '?' may be missing; another one is -ERR_MODULE_MISSING. */
int dtk_module_files(struct span modules_dep, struct span modules_builtin, const char *const *names,
		     char ***ret, struct err *e);

/* -- both sides -- */

struct container_dtk_ops {
	/* nvidia-driver COMMAND as it is elsewhere ("init", "load"; "build" without package manager); its exit status. The
	 * environment (strv) is the command's. */
	int (*run)(void *arg, const char *command, char *const *environment);
	/* Are the loaded modules already those wanted (23.6)? */
	bool (*is_fast)(void *arg, const struct host *h, char *const *environment);
	/* Waits up to that long; true = a signal asks to stop. NULL: interrupt_sleep(). */
	bool (*sleep)(void *arg, unsigned ms);
	void *arg;
};

struct container_dtk {
	const struct host *h; /* the container's root; the running machine outside of tests */
	char *const *environment;
	const char *self; /* absolute path of the program to give to the builder */
	const char *data; /* its data directory, NULL = none */
	unsigned start_wait_s, build_wait_s; /* 0 = 600 and 3600 */
	const struct container_dtk_ops *ops;
};

/* nv-ctr-run-with-dtk: gives the builder what it needs, waits for its modules, puts them below lib/modules/<running release> and ends as
 * "load" ends; as "init" where there is no builder to wait for. *ret_status: the exit status of that command. 0 with status 0 when
 * a signal asked to stop while waiting. -ERR_DTK_TIMEOUT names what did not come. */
int container_dtk_driver(const struct container_dtk *d, int *ret_status, struct err *e);

/* dtk-build-driver: builds, hands the modules over and stays until the driver container takes its marker away (it has started anew),
 * or a signal comes. -ERR_DTK_* or -ERR_MODULE_MISSING when nothing came of it; *ret_status as above. */
int container_dtk_builder(const struct container_dtk *d, int *ret_status, struct err *e);
