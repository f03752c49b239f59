/* SPDX-License-Identifier: Apache-2.0 */
#include "container-run.h"

#include "container-daemons.h"
#include "container-export.h"
#include "container-fast.h"
#include "container-headers.h"
#include "container-hook.h"
#include "container-limit.h"
#include "container-load.h"
#include "container-nodes.h"
#include "container-prepare.h"
#include "container-shipped.h"
#include "container-status.h"
#include "container-unload.h"
#include "container-update.h"
#include "interrupt.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "err-container.h"

#include <string.h>
#include <unistd.h>

#define WATCH_MS	 10000
#define RETRY_MS	 1000
#define GRACE_S		 30
#define GRACE_RESERVED_S 5

/* -- steps -- */

static int step_not_ready(struct container *c, struct err *e)
{
	return container_daemons_status(c, false, e);
}

static int step_decide(struct container *c, struct err *e)
{
	c->fast = container_fast_applies(c);
	container_status_set(c, "fast_path", json_boolean(c->fast));
	if (!c->fast)
		return container_unload_check(c, e);
	log_info("the loaded driver is the wanted one: its modules are kept");
	return 0;
}

static int step_check(struct container *c, struct err *e)
{
	return container_unload_check(c, e);
}

static int step_unload(struct container *c, struct err *e)
{
	return c->fast ? 0 : container_unload(c, e);
}

static int step_unexport(struct container *c, struct err *e)
{
	int r = container_unexport(c, e);

	return r < 0 ? r : 0;
}

/* With the loaded modules kept, a set is only needed for those that are missing; load says so if one is. */
static int step_build(struct container *c, struct err *e)
{
	int r = c->fast ? container_find_modules(c, e) : container_build_modules(c, e);

	if (r == 0 && *c->set_key)
		container_status_set(c, "module_set", json_string(c->set_key));
	return r < 0 ? r : 0;
}

static int step_find(struct container *c, struct err *e)
{
	int r = container_take_modules(c, e);

	if (r != 0)
		return r < 0 ? r : 0;
	err_set(e, ERR_MODSET_MISSING, "no modules of driver %s for kernel %s", c->version, c->release);
	return err_next(e, "run build first, or init, which builds what is missing");
}

static int step_install(struct container *c, struct err *e)
{
	return *c->set_key ? container_install_modules(c, e) : 0;
}

static int step_load(struct container *c, struct err *e)
{
	return c->fast && !*c->set_key ? 0 : container_load(c, e);
}

static int step_ready(struct container *c, struct err *e)
{
	container_status_set(c, "daemons", container_daemons_to_json(c));
	return container_daemons_status(c, true, e);
}

/* "latest" and the beginning of a release are accepted too. */
static int step_kernel(struct container *c, struct err *e)
{
	struct container_ktree_options o = container_ktree_wishes(c);
	char *release = NULL;
	int r = container_update_release(c->h, c->env, c->o.kernel, &o, &release, e);

	if (r < 0)
		return r;
	free(c->release);
	c->release = release;
	log_info("kernel %s", release);
	return 0;
}

/* Beside a running instance the root may be shared with it, and what it needs is there. */
static int fill_root(struct container *c, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r = container_lock_take(c->h, (int)getpid(), &c->lock, &why);

	if (r == -ERR_LOCKED) {
		log_info("user space not installed: %s", why.reason ? why.reason : err_sentence(r));
		return 0;
	}
	if (r < 0) {
		err_move(e, &why);
		return r;
	}
	r = container_prepare_userspace(c, e);
	if (r == 0)
		r = container_prepare_sources(c, e);
	container_lock_remove(c->h, &c->lock);
	return r;
}

/* Where no other command was run yet; which driver a vGPU guest gets is known when it starts. */
static int step_fill_root(struct container *c, struct err *e)
{
	_cleanup_free_ char *plain = container_plain_version(c->version);
	_cleanup_free_ char *mark = plain ? str_printf("usr/src/nvidia-%s/mkprecompiled", plain) : NULL;
	struct stat st;

	if (!mark)
		return err_oom(e);
	return c->env->vgpu || path_stat(c->h->root_fd, mark, &st, PATH_IN_ROOT) == 0 ? 0 : fill_root(c, e);
}

static int step_hook(struct container *c, struct err *e _unused_)
{
	container_hook_write(c);
	return 0;
}

static int step_shutdown(struct container *c, struct err *e)
{
	return container_shutdown(c, e);
}

struct step {
	const char *name; /* of the status file */
	const char *sentence; /* for --dry-run */
	int (*run)(struct container *, struct err *);
};

#define PREPARE_STEPS                                                                                        \
	{ "version", "choose the driver version (a vGPU guest's from the catalog)",                          \
	  container_choose_version },                                                                        \
	    { "driver", "find the driver in the store, else unpack its run file", container_prepare_tree },  \
	    { "firmware", "copy the firmware an image for one kernel carries to where the node sees it",     \
	      container_shipped_firmware },                                                                  \
	    { "user-space", "install the user space into the container unless it is there",                  \
	      container_prepare_userspace },                                                                 \
	    { "module-type", "choose open or proprietary modules", container_prepare_flavour },              \
	{                                                                                                    \
		"sources", "put the module sources into /usr/src", container_prepare_sources                 \
	}
#define LIMIT_STEP                                                                                           \
	{                                                                                                    \
		"limit", "take the oldest module sets out of the store", container_limit_sets                \
	}
#define UP_STEPS                                                                                             \
	{ "load", "write module options, set the firmware path, load the modules", step_load },              \
	    { "nodes", "make the driver's device nodes, if asked for", container_nodes_make },               \
	    { "kernel-tree", "show the kernel's build tree at /usr/src/kernels", container_headers_show },   \
	    { "export", "show the container's root at /run/nvidia/driver", container_export },               \
	    { "daemons", "start the driver's daemons", container_daemons_start },                            \
	    { "ready", "tell the startup probe", step_ready },                                               \
	    { "digest", "keep the digest of the configuration", container_fast_store },                      \
	    { "hook", "write the kernel update hook where the node runs such hooks", step_hook }, LIMIT_STEP

static const struct step init_steps[] = {
	{ "not-ready", "tell the startup probe to wait", step_not_ready },
	{ "check", "see whether the loaded driver can stay, else whether it can be unloaded", step_decide },
	PREPARE_STEPS,
	{ "unload", "stop the daemons and unload the driver", step_unload },
	{ "unexport", "take an old export away", step_unexport },
	{ "build", "find the modules for this kernel in the store, else build them", step_build },
	{ "install", "put the modules into /lib/modules", step_install },
	UP_STEPS,
	{ 0 },
};
static const struct step load_steps[] = {
	{ "check", "see whether the driver can be unloaded", step_check },
	PREPARE_STEPS,
	{ "modules", "find the modules for this kernel in the store, a bundle or a package", step_find },
	{ "unload", "stop the daemons and unload the driver", step_unload },
	{ "unexport", "take an old export away", step_unexport },
	{ "install", "put the modules into /lib/modules", step_install },
	UP_STEPS,
	{ 0 },
};
static const struct step build_steps[] = {
	PREPARE_STEPS,
	{ "build", "find the modules for this kernel in the store, else build them", step_build },
	{ "install", "put the modules into /lib/modules", step_install },
	LIMIT_STEP,
	{ 0 },
};
static const struct step update_steps[] = {
	{ "kernel", "find out which kernel is meant", step_kernel },
	{ "version", "choose the driver version (a vGPU guest's from the catalog)",
	  container_choose_version },
	{ "driver", "find the driver in the store, else unpack its run file", container_prepare_tree },
	{ "module-type", "choose open or proprietary modules", container_prepare_flavour },
	{ "user-space", "install user space and module sources where the container has neither",
	  step_fill_root },
	{ "build", "find the modules for that kernel in the store, else build them", step_build },
	LIMIT_STEP,
	{ 0 },
};
static const struct step unload_steps[] = {
	{ "unload", "stop the daemons, unload the driver, take the export away", step_shutdown },
	{ 0 },
};

static const struct command {
	const char *name;
	const struct step *steps;
	bool locks; /* changes what only one instance may change */
	bool loads; /* needs the running kernel */
	bool stays; /* takes everything back when it ends */
	bool needs_driver; /* DRIVER_VERSION and TARGETARCH */
} commands[] = {
	[CONTAINER_INIT] = { "init", init_steps, true, true, true, true },
	[CONTAINER_BUILD] = { "build", build_steps, true, false, false, true },
	[CONTAINER_LOAD] = { "load", load_steps, true, true, true, true },
	[CONTAINER_UPDATE] = { "update", update_steps, false, false, false, true },
	[CONTAINER_UNLOAD] = { "unload", unload_steps, true, true, false, false },
};

static int run_steps(struct container *c, const struct step *s, struct err *e)
{
	for (; s->name; s++) {
		int r = interrupt_check(e);

		if (r == 0) {
			container_status_step(c, s->name);
			r = s->run(c, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* -- staying -- */

/* Tried again each second until the grace period is nearly over: whoever holds the driver may let go meanwhile. */
static int end_in_order(struct container *c, struct err *e)
{
	unsigned grace_s = c->o.grace_s ? c->o.grace_s : GRACE_S;
	uint64_t now = c->ops->now_ms(c->ops->arg);
	uint64_t until = now + (uint64_t)(grace_s > GRACE_RESERVED_S ? grace_s - GRACE_RESERVED_S : 0) * 1000;
	_cleanup_free_ char *said = NULL;

	for (;;) {
		_cleanup_(err_done) struct err why = ERR_INIT;
		int r = container_shutdown(c, &why);

		if (r == 0)
			return 0;
		if (!said || strcmp(said, why.reason ? why.reason : "") != 0) {
			log_warn("cannot end yet: %s", why.reason ? why.reason : err_sentence(r));
			container_status_failed(c, &why);
			free(said);
			said = strdup(why.reason ? why.reason : "");
		}
		if (c->ops->now_ms(c->ops->arg) >= until) {
			err_move(e, &why);
			return r;
		}
		(void)c->ops->wait(c->ops->arg, RETRY_MS);
	}
}

/* The driver stays with whoever uses it; the next start takes it over. */
static int leave(struct container *c, int r, struct err *e)
{
	if (c->o.detach)
		(void)container_unexport(c, NULL);
	log_warn("leaving the driver as it is: it is still in use; export %s, lock released",
		 c->o.detach ? "taken away" : "kept");
	c->refused = true;
	container_status_set(c, "left_in_use", json_true());
	container_status_failed(c, e);
	return r;
}

static int wait_for_signal(struct container *c)
{
	int sig = c->kept_signal;

	c->kept_signal = 0;
	return sig ? sig : c->ops->wait(c->ops->arg, WATCH_MS);
}

static int stay(struct container *c, struct err *e)
{
	int sig, r;

	c->staying = true;
	container_status_state(c, "ready");
	log_info("driver %s is ready; waiting for a signal", c->version);
	while (!(sig = wait_for_signal(c)))
		container_daemons_supervise(c);
	log_info("signal %d (%s): shutting down", sig, strsignal(sig));
	container_status_state(c, "stopping");
	r = end_in_order(c, e);
	if (r < 0)
		return leave(c, r, e);
	container_status_state(c, "stopped");
	return 0;
}

/* A start that did not get to its end takes back what it did, as far as that is possible. */
static void take_back(struct container *c, const struct err *failure)
{
	_cleanup_(err_done) struct err why = ERR_INIT;

	container_status_failed(c, failure);
	c->staying = true;
	interrupt_set(0);
	if (container_shutdown(c, &why) == 0)
		return;
	c->refused = true;
	log_warn("not taken back: %s", why.reason ? why.reason : err_sentence(why.code));
}

static int run_locked(struct container *c, const struct command *cmd, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r;

	container_status_set(c, "command", json_string(cmd->name));
	container_status_set(c, "kernel", json_string(c->release));
	container_status_set(c, "driver", c->version ? json_string(c->version) : NULL);
	container_status_state(c, cmd->stays ? "starting" : "working");
	r = run_steps(c, cmd->steps, &why);
	if (r == 0 && cmd->stays)
		return stay(c, e);
	if (r == 0) {
		container_status_state(c, "done");
		return 0;
	}
	if (cmd->stays)
		take_back(c, &why);
	else
		container_status_failed(c, &why);
	err_move(e, &why);
	return r;
}

int container_run(struct container *c, enum container_command command, struct err *e)
{
	const struct command *cmd = &commands[command];
	int r = cmd->needs_driver ? container_env_require_driver(c->env, e) : 0;

	if (r == 0 && cmd->loads && !c->ops->kernel.insert)
		r = err_set(e, ERR_USAGE, "%s works on the running kernel; --root names another machine",
			    cmd->name);
	if (r == 0 && cmd->locks)
		r = container_lock_take(c->h, (int)getpid(), &c->lock, e);
	if (r < 0)
		return r;
	if (cmd->needs_driver)
		log_info("driver %s, kernel %s: %s", c->version, c->release, cmd->name);
	r = run_locked(c, cmd, e);
	if (cmd->locks && !c->refused)
		container_lock_remove(c->h, &c->lock);
	container_lock_drop(&c->lock);
	return r;
}

int container_run_plan(struct container *c, enum container_command command, json_t **ret_steps, struct err *e)
{
	const struct command *cmd = &commands[command];
	json_t *steps = json_array();
	int r = steps ? 0 : -ENOMEM;

	for (const struct step *s = cmd->steps; r == 0 && s->name; s++)
		r = json_array_append_new(steps,
					  json_pack("{s:s,s:s}", "step", s->name, "text", s->sentence));
	if (r < 0) {
		json_decref(steps);
		return err_oom(e);
	}
	*ret_steps = steps;
	(void)c;
	return 0;
}
