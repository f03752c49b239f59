/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Load and unload kernel modules, and say why not. Kernel calls go through struct modload_ops, so tests inject any
 * answer the kernel can give. After every change /proc/modules is read again; no status is trusted. */

#include "err.h"
#include "firmware.h"
#include "host.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The kernel as the engine sees it. arg is passed back. All return 0 or -errno. */
struct modload_ops {
	int (*insert)(void *arg, int module_fd, const char *params);
	int (*remove)(void *arg, const char *name); /* never forces, never waits */
	/* Kernel log: everything written since the last call (first call: positions at the end and answers ""). */
	int (*klog)(void *arg, char **ret_text);
	/* Load a module of the running kernel (drm, …) with all it needs, by name, from its own module tree. -ENOENT = no such module. */
	int (*insert_kernel)(void *arg, const char *name);
	void *arg;
};
/* The real one, over libkmod. The object lives until modload_ops_done(). */
int modload_ops_real(const struct host *h, const char *release, struct modload_ops *ret, struct err *e);
/* The same with the kernel's own modules in another directory than /lib/modules/<release> (a container takes its host's). */
int modload_ops_real_dir(const struct host *h, const char *dir, struct modload_ops *ret, struct err *e);
void modload_ops_done(struct modload_ops *ops);

struct modload_module {
	const char *name; /* "nvidia-uvm" */
	const char *params; /* "NVreg_X=1 NVreg_Y=2" added to those of modprobe.d; may be NULL */
	bool optional; /* a failure is reported in the result but does not stop the rest */
};

struct modload_request {
	int dir_fd; /* directory holding <name>.ko (a verified module set, or below /lib/modules) */
	const struct modload_module *modules;
	size_t n_modules; /* wanted, in the order of manifest line 4 */
	/* NULL = the search path is left alone. Files and parameters, when NULL, are those of the request's module nvidia. */
	const struct firmware_want *firmware;
};

struct modload_report {
	json_t *loaded; /* names, in order of loading */
	json_t *present; /* were loaded before */
	json_t *removed; /* names, in order of removal (unload) */
	json_t *failed; /* optional ones: {"module","slug","reason"} */
};
#define MODLOAD_REPORT_INIT                                                                                  \
	{                                                                                                    \
		NULL, NULL, NULL, NULL                                                                       \
	}
void modload_report_done(struct modload_report *r);

/* Loads what is not loaded yet, dependencies first. On failure of a required module everything this call loaded is
 * removed again and the firmware search path is what it was. Errors: the load codes of errcodes.def, object = module. */
int modload_load(const struct host *h, const struct modload_ops *ops, const struct modload_request *q,
		 struct modload_report *ret, struct err *e);

/* Unload these modules and whatever of `names` holds them, in holders order. NULL names = every NVIDIA module. A holder that is not
 * an NVIDIA module, a process with an open device node or a running daemon is ERR_MODULE_IN_USE and named; nothing is removed then
 * when it can be seen beforehand. */
int modload_unload(const struct host *h, const struct modload_ops *ops, const char *const *names,
		   struct modload_report *ret, struct err *e);

/* What load/unload would do, as sentences (for --dry-run). */
int modload_plan(const struct host *h, const struct modload_request *q, json_t **ret_steps, struct err *e);
int modunload_plan(const struct host *h, const char *const *names, json_t **ret_steps, struct err *e);

/* Pure: what a failed insert means. klog: what the kernel said meanwhile. */
int modload_explain(int error, const char *module, const char *klog, struct err *e);
