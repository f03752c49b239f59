/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include "cmd-container.h"
#include "container-run.h"
#include "container-status.h"
#include "log.h"
#include "ui.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define O(field) offsetof(struct container_opts, field)

/* Options of one kind, so that each verb's table below says only which it takes. */
#define OPT_LICENSE                                                                                          \
	{                                                                                                    \
		"accept-license", 'a', NULL, "the driver's licence is accepted", OPT_FLAG, O(accept_license) \
	}
#define OPT_THREADS                                                                                          \
	{ "max-threads", 'm', "N", "at most so many compiler jobs", OPT_U64, O(max_threads) },               \
	{                                                                                                    \
		.name = "jobs", .arg = "N", .help = "the same", .type = OPT_U64, .offset = O(max_threads),   \
		.hidden = true                                                                               \
	}
#define OPT_TAG                                                                                              \
	{                                                                                                    \
		"tag", 't', "TAG", "builtin: leave the package manager alone", OPT_STRING, O(tag)            \
	}
#define OPT_KERNEL                                                                                           \
	{                                                                                                    \
		"kernel", 'k', "RELEASE", "the kernel the modules are for; default: the running one",        \
		    OPT_STRING, O(kernel)                                                                    \
	}
#define OPT_SIGN                                                                                             \
	{ "sign", 's', "KEY", "sign the modules with this private key", OPT_STRING, O(key), "file" },        \
	    { .name = "key",                                                                                 \
	      .arg = "KEY",                                                                                  \
	      .help = "the same",                                                                            \
	      .type = OPT_STRING,                                                                            \
	      .offset = O(key),                                                                              \
	      .hidden = true },                                                                              \
	{                                                                                                    \
		"cert", 0, "CERT", "the certificate of that key", OPT_STRING, O(cert), "file"                \
	}
#define OPT_TREE                                                                                             \
	{                                                                                                    \
		"kernel-source", 0, "DIR", "build tree of the kernel, instead of finding it", OPT_STRING,    \
		    O(kernel_source), "dir"                                                                  \
	}
#define OPT_HOST                                                                                             \
	{                                                                                                    \
		"host-root", 0, "DIR", "the node's root; default: /proc/1/root", OPT_STRING, O(host_root),   \
		    "dir"                                                                                    \
	}
#define OPT_STAY                                                                                              \
	{ "grace",	0,	   "TIME", "from the signal to the kill, as the pod has it; default 30 s",    \
	  OPT_DURATION, O(grace_s) },                                                                         \
	    { "fabric-wait", 0,                                                                               \
	      "TIME",	     "how long to wait for the network driver of an NVLink 5 fabric; default 10m",    \
	      OPT_DURATION,  O(fabric_wait_s) },                                                              \
	    { "detach", 0,                                                                                    \
	      NULL,	"when leaving with the driver in use, take the export away all the same",             \
	      OPT_FLAG, O(detach) },                                                                          \
	    { "drm", 0, NULL, "load nvidia-drm too", OPT_FLAG, O(with_drm) },                                 \
	    { "device-nodes", 0, NULL, "make the driver's nodes in /dev from what the kernel says", OPT_FLAG, \
	      O(device_nodes) },                                                                              \
	{                                                                                                     \
		"iommu-identity", 0, NULL,                                                                    \
		    "ask for the IOMMU group type identity for the GPUs before loading", OPT_FLAG,            \
		    O(iommu_identity)                                                                         \
	}

static const struct opt build_options[] = { OPT_LICENSE, OPT_THREADS, OPT_TAG,	OPT_KERNEL,
					    OPT_SIGN,	 OPT_TREE,    OPT_HOST, { 0 } };
static const struct opt init_options[] = { OPT_LICENSE, OPT_THREADS, OPT_TAG,  OPT_KERNEL, OPT_SIGN,
					   OPT_TREE,	OPT_HOST,    OPT_STAY, { 0 } };
static const struct opt load_options[] = { OPT_HOST, OPT_STAY, { 0 } };
static const struct opt host_options[] = { OPT_HOST, { 0 } };

char *container_opts_store(const struct app *app, const void *opts)
{
	const struct container_opts *o = opts;

	return container_default_store(app->root, o->host_root);
}

/* For those that may build; a dry run leaves the mounts alone too. */
static char *work_store(const struct app *app, const void *opts)
{
	const struct container_opts *o = opts;

	return app->dry_run ? container_opts_store(app, opts) : container_work_store(app->root, o->host_root);
}

static struct container_options options_of(const struct container_opts *o)
{
	return (struct container_options){
		.accept_license = o->accept_license,
		.kernel = o->kernel,
		.kernel_source = o->kernel_source,
		.key = o->key,
		.cert = o->cert,
		.tag = o->tag,
		.host_root = o->host_root,
		.max_threads = o->max_threads > UINT_MAX ? UINT_MAX : (unsigned)o->max_threads,
		.grace_s = o->grace_s,
		.fabric_wait_s = o->fabric_wait_s,
		.detach = o->detach,
		.with_drm = o->with_drm,
		.device_nodes = o->device_nodes,
		.iommu_identity = o->iommu_identity,
	};
}

/* The kernel's own modules come from the node; the container's image has none, or another kernel's. */
static int open_ops(const struct container *c, struct container_ops *ops, struct err *e)
{
	_cleanup_free_ char *dir = str_printf("%s/lib/modules/%s", c->node->root, c->release);

	return dir ? container_ops_real(c->h, dir, ops, e) : err_oom(e);
}

static int show_plan(struct container *c, enum container_command command, bool json, struct err *e)
{
	json_t *steps, *s;
	size_t i;
	int r = container_run_plan(c, command, &steps, e);

	if (r < 0)
		return r;
	if (json)
		return out_json("container", json_pack("{s:b,s:o}", "dry_run", 1, "steps", steps));
	json_array_foreach (steps, i, s)
		out_text("%-12s %s\n", ui_str(s, "step", "?"), ui_str(s, "text", "?"));
	json_decref(steps);
	return 0;
}

int container_cmd_run(struct app *app, const struct container_opts *o, char *const *environment,
		      enum container_command command, struct err *e)
{
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(container_ops_done) struct container_ops ops = { 0 };
	_cleanup_(container_done) struct container c = { .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT };
	struct container_options options = options_of(o);
	int r = container_env_read(environment, &env, e);

	container_options_fill(&options, &env.defaults);
	container_options_fill(&options, app->container_defaults);
	if (r == 0 && command != CONTAINER_UNLOAD)
		r = container_env_require_driver(&env, e);
	if (r == 0 && !!options.key != !!options.cert)
		r = err_set(e, ERR_USAGE, "--sign and --cert go together");
	if (r == 0)
		r = container_init(app->engine, &env, &options, &ops, &c, e);
	if (r < 0)
		return r;
	if (app->dry_run)
		return show_plan(&c, command, app->json, e);
	r = open_ops(&c, &ops, e);
	return r < 0 ? r : container_run(&c, command, e);
}

#define VERB(verb, COMMAND)                                                                                  \
	static int verb##_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_,          \
			      struct err *e)                                                                 \
	{                                                                                                    \
		return container_cmd_run(app, opts, environ, COMMAND, e);                                    \
	}
VERB(init, CONTAINER_INIT)
VERB(build, CONTAINER_BUILD)
VERB(load, CONTAINER_LOAD)
VERB(unload, CONTAINER_UNLOAD)

/* -- update -- */

/* One of the running instance's own streams; -1 when there is none to be had. */
static int instance_stream(const struct host *h, int pid, int stream)
{
	char path[64];

	snprintf(path, sizeof(path), "%d/fd/%d", pid, stream);
	return openat(h->proc_fd, path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* An update is made beside a running instance, often by a hook nobody watches: the instance's log shows it too. Until the end of
 * the process, for the failure that ends us is a message as well. */
static int update_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	const struct host *h = app->engine->host;
	int pid;

	if (h->proc_fd >= 0 && container_lock_holder(h, &pid) == 0)
		log_also(instance_stream(h, pid, STDOUT_FILENO), instance_stream(h, pid, STDERR_FILENO));
	return container_cmd_run(app, opts, environ, CONTAINER_UPDATE, e);
}

/* -- status -- */

static void print_status(const json_t *s)
{
	const json_t *last = json_object_get(s, "last"), *m, *v;
	const char *name;
	size_t i;

	out_text("state      %s\n", ui_str(last, "state", "no driver container has run here"));
	if (json_is_integer(json_object_get(s, "instance_pid")))
		out_text("instance   process %lld\n",
			 (long long)json_integer_value(json_object_get(s, "instance_pid")));
	if (json_object_get(last, "step"))
		out_text("step       %s\n", ui_str(last, "step", "?"));
	if (json_object_get(last, "error"))
		out_text("failed     %s: %s\n", ui_str(last, "reason", "?"),
			 ui_str(json_object_get(last, "error"), "reason", "?"));
	json_array_foreach (json_object_get(s, "modules"), i, m)
		out_text("module     %s %s, %lld users\n", ui_str(m, "name", "?"), ui_str(m, "version", ""),
			 (long long)json_integer_value(json_object_get(m, "refcount")));
	json_array_foreach (json_object_get(s, "users"), i, m)
		out_text("user       %s (process %lld%s%s)\n", ui_str(m, "command", "?"),
			 (long long)json_integer_value(json_object_get(m, "pid")),
			 json_is_string(json_object_get(m, "container")) ? ", container " : "",
			 ui_str(m, "container", ""));
	json_object_foreach ((json_t *)json_object_get(s, "daemons"), name, v)
		out_text("daemon     %s %s\n", name,
			 json_is_true(json_object_get(v, "running")) ? "running" : "not running");
	out_text("export     %s\n", json_is_true(json_object_get(s, "exported")) ? "shown" : "not shown");
	out_text("fabric     %s", ui_str(s, "fabric", "?"));
	if (json_is_string(json_object_get(s, "fabric_state")))
		out_text(", %s", ui_str(s, "fabric_state", "?"));
	out_text("\n");
	if (json_is_string(json_object_get(s, "licence")))
		out_text("licence    %s\n", ui_str(s, "licence", "?"));
}

static int status_cmd(struct app *app, void *opts, int argc _unused_, char **argv _unused_, struct err *e)
{
	_cleanup_(container_env_done) struct container_env env = { 0 };
	_cleanup_(container_done) struct container c = { .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT };
	struct container_options options = options_of(opts);
	json_t *status;
	int r = container_env_read(environ, &env, e);

	if (r == 0)
		r = container_init(app->engine, &env, &options, NULL, &c, e);
	if (r < 0)
		return r;
	status = container_status_report(&c);
	if (!status)
		return err_oom(e);
	if (app->json)
		return out_json("container-status", status);
	print_status(status);
	json_decref(status);
	return 0;
}

#define CONTAINER(verb, text, table, store_flags)                                                            \
	.name = "container", .sub = #verb, .summary = text, .options = table,                                \
	.opts_size = sizeof(struct container_opts), .flags = store_flags,                                    \
	.default_store = (store_flags)&CMD_STORE_READ ? container_opts_store : work_store, .run = verb##_cmd

const struct cmd cmd_container_init = {
	CONTAINER(init, "driver container: from nothing to a ready driver, until a signal", init_options, 0),
	.description =
	    "The command the GPU operator starts. Reads the container's environment (DRIVER_VERSION, "
	    "TARGETARCH, "
	    "KERNEL_MODULE_TYPE and the others the operator sets), takes the lock, and then: user space into "
	    "the "
	    "container unless the image has it, an old driver out, modules for the running kernel from the "
	    "store or built, "
	    "module options, firmware path, modules in, the container's root shown at /run/nvidia/driver, "
	    "the daemons. "
	    "Then it waits, restarts daemons that die, and on a signal takes everything back.\n\n"
	    "The store is the node's /var/lib/nvdriver, reached through the node's root, so that the next "
	    "container finds the "
	    "modules of this one: with them a start needs no compiler and no network. When "
	    "DRIVER_CONFIG_DIGEST equals "
	    "the one kept by the last start and the loaded driver is the wanted version, loaded modules are "
	    "kept.\n\n"
	    "A driver in use is never torn down: the start stops before its first change and names who has "
	    "it. A signal "
	    "while it is in use is tried again each second until the grace period is nearly over.\n\n"
	    "--grace, --fabric-wait, --detach, --drm, --device-nodes and --iommu-identity can be said in the "
	    "environment too, where only the pod's template is at hand (NVDRIVER_GRACE=60, "
	    "NVDRIVER_FABRIC_WAIT=20m, NVDRIVER_DETACH=true, NVDRIVER_DRM=true, NVDRIVER_DEVICE_NODES=true, "
	    "NVDRIVER_IOMMU_IDENTITY=true), and in section [container] of /etc/nvdriver/nvdriver.conf by the "
	    "options' names. The command line wins over the environment, the environment over the file. The "
	    "grace period has to be the one of the pod's template; of it 5 seconds are kept for leaving in "
	    "order. Device nodes are those of /proc/devices and /proc/driver/nvidia; they go again with the "
	    "driver. An IOMMU group whose type cannot be changed is a warning.\n\n"
	    "What happens can be read in /run/nvidia/nvidia-driver.status.json. Under the name nvidia-driver "
	    "the binary takes "
	    "these commands with the options its callers know, and any failure is exit status 1.",
	.examples = "nvdriver container init --accept-license\n  as the container's command\n",
};
const struct cmd cmd_container_build = {
	CONTAINER(build, "driver container: prepare everything for a kernel and return", build_options, 0),
	.description =
	    "What init does up to the point where modules would be loaded: user space, module sources, and "
	    "the modules in the store and below /lib/modules. Nothing is loaded or shown.",
};
const struct cmd cmd_container_load = {
	CONTAINER(load, "driver container: load what was built, until a signal", load_options, 0),
	.description = "Like init, but modules must be in the store already; nothing is built.",
};
const struct cmd cmd_container_update = {
	CONTAINER(update, "driver container: prepare the modules of another kernel", build_options, 0),
	.description =
	    "Puts the modules for the kernel named with --kernel into the store, beside a running "
	    "instance, so "
	    "that the start after the reboot finds them. Nothing is loaded. In a container where no "
	    "other command has run "
	    "the driver's user space and module sources are installed too, unless it is a vGPU guest's.",
	.examples = "nvdriver container update --kernel 5.14.0-284.30.1.el9_2.x86_64\n  before the reboot\n",
};
const struct cmd cmd_container_unload = {
	CONTAINER(unload, "driver container: stop daemons, unload the driver, take the export away",
		  host_options, 0),
	.description =
	    "For a node on which a container ended without doing so. Refused while an instance runs, and "
	    "while "
	    "somebody uses the driver; the users are named and daemons that were stopped run again.",
};
const struct cmd cmd_container_status = {
	CONTAINER(status, "driver container: what it does, what is loaded, who uses it", host_options,
		  CMD_STORE_READ),
	.description = "The running instance's step or the last failure, loaded modules with versions and "
		       "users, processes "
		       "with device nodes open and their containers, daemons, export, how far the fabric is. "
		       "Looks only. In a vGPU guest (DRIVER_TYPE=vgpu) with its driver loaded nvidia-smi is "
		       "asked for the licence's state; otherwise no process is started.",
};
