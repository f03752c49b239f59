/* SPDX-License-Identifier: Apache-2.0 */
#include "container-daemons.h"

#include "container-fabric.h"
#include "container-kin.h"
#include "container-licence.h"
#include "fd.h"
#include "interrupt.h"
#include "kmods.h"
#include "log.h"
#include "path.h"
#include "process.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-container.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define START_LIMIT_S  120
#define STOP_LIMIT_MS  5000
#define STOP_POLL_MS   100
#define STOP_MANY      16 /* processes of one daemon */
#define RESTART_MS     1000
#define FABRIC_POLL_MS 10000
#define FABRIC_WAIT_S  600
#define FABRIC_CONFIG  "usr/share/nvidia/nvswitch/fabricmanager.cfg"
#define SUBNET_CONFIG  "usr/share/nvidia/nvlsm/nvlsm.conf"
#define FABRIC_START   "/usr/bin/nvidia-fabricmanager-start.sh"
#define FABRIC_PID     "var/run/nvidia-fabricmanager/nv-fabricmanager.pid"
#define SUBNET_PID     "var/run/nvidia-fabricmanager/nvlsm.pid"
#define IMEX_CONFIG    "etc/nvidia-imex/nodes_config.cfg"
#define CONFIG_MAX     ((size_t)4 << 20)

struct daemon {
	const char *name; /* its command name: the executable's */
	const char *pid_file;
	bool (*wanted)(const struct container *c);
	int (*start)(struct container *c, struct err *e);
};

static bool always(const struct container *c _unused_)
{
	return true;
}

static bool is_guest(const struct container *c)
{
	return c->env->vgpu;
}

static bool is_guest_with_topology(const struct container *c)
{
	return c->env->vgpu && path_exists(c->h->root_fd, "usr/bin/nvidia-topologyd");
}

static bool has_fabric(const struct container *c)
{
	return container_fabric_detect(c->h) != FABRIC_NONE;
}

static bool has_subnet(const struct container *c)
{
	return container_fabric_detect(c->h) == FABRIC_NVLINK5;
}

/* Only where somebody configured a domain; without one it has nothing to do. */
static bool has_imex(const struct container *c)
{
	return path_exists(c->h->root_fd, IMEX_CONFIG) && path_exists(c->h->root_fd, "usr/bin/nvidia-imex");
}

static int run_argv(const char *what, const char *const *argv, const char *library_path, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(what);
	int r;

	for (; *argv; argv++)
		(void)spawn_arg(&s, "%s", *argv);
	if (library_path)
		(void)spawn_env(&s, "LD_LIBRARY_PATH", library_path);
	s.timeout_s = START_LIMIT_S;
	r = spawn_check(&s, e);
	if (r == -ERR_INTERRUPTED)
		return r;
	return r < 0 ? err_recode(e, ERR_DAEMON) : 0;
}

static int start_persistence(struct container *c _unused_, struct err *e)
{
	static const char *const argv[] = { "nvidia-persistenced", "--persistence-mode", NULL };

	return run_argv("persistence daemon", argv, NULL, e);
}

static int start_licence(struct container *c, struct err *e)
{
	static const char *const argv[] = { "nvidia-gridd", NULL };
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r = container_plan_new("licensing files put where the licence daemon looks", &p, e);

	if (r == 0)
		r = container_licence_plan(c->h, c->env->license_nls, p, e);
	if (r == 0)
		r = container_apply(c, p, e);
	return r < 0 ? r : run_argv("licence daemon", argv, "/usr/lib64/nvidia/gridd", e);
}

static int start_topology(struct container *c _unused_, struct err *e)
{
	static const char *const argv[] = { "nvidia-topologyd", NULL };

	return run_argv("topology daemon", argv, NULL, e);
}

static int start_imex(struct container *c _unused_, struct err *e)
{
	static const char *const argv[] = { "nvidia-imex", NULL };

	return run_argv("IMEX daemon", argv, NULL, e);
}

/* -- fabric -- */

static int override_config(struct container *c, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(2 * CONFIG_MAX);
	_cleanup_(plan_freep) struct plan *p = NULL;
	_cleanup_strv_ char **warnings = NULL;
	_cleanup_free_ char *old = NULL;
	size_t len = 0;
	_cleanup_close_ int fd =
	    path_open_at(c->h->root_fd, FABRIC_CONFIG, O_RDONLY | O_NOFOLLOW, 0, PATH_IN_ROOT);
	int r;

	if (!c->env->fabric_config)
		return 0;
	if (fd < 0) {
		log_warn("/" FABRIC_CONFIG " is not there: the NVFM_CONFIG_ settings have no effect");
		return 0;
	}
	r = read_fd(fd, CONFIG_MAX, &old, &len);
	if (r == 0)
		r = container_fabric_override((struct span){ old, len }, c->env->fabric_config, &text,
					      &warnings);
	if (r < 0)
		return err_errno(e, r, "/" FABRIC_CONFIG);
	for (char **w = warnings; w && *w; w++)
		log_warn("%s", *w);
	if (text.len == len && memcmp(strbuf_str(&text), old, len) == 0)
		return 0;
	r = container_plan_new("fabric manager settings applied", &p, e);
	if (r == 0 && plan_add_edit(p, FABRIC_CONFIG, old, len, strbuf_str(&text), text.len, 0644,
				    "apply the NVFM_CONFIG_ settings") < 0)
		r = err_oom(e);
	if (r == 0)
		r = container_apply(c, p, e);
	return r < 0 ? r : 0;
}

static int wait_for_fabric(struct container *c, struct err *e)
{
	unsigned limit_s = c->o.fabric_wait_s ? c->o.fabric_wait_s : FABRIC_WAIT_S;
	uint64_t until = c->ops->now_ms(c->ops->arg) + (uint64_t)limit_s * 1000;
	const char *missing;

	if (!container_fabric_missing(c->h))
		return 0;
	/* They may be there and not loaded; whether that helped is seen below. */
	(void)c->ops->kernel.insert_kernel(c->ops->kernel.arg, "mlx5_ib");
	(void)c->ops->kernel.insert_kernel(c->ops->kernel.arg, "ib_umad");
	while ((missing = container_fabric_missing(c->h))) {
		int r;

		if (c->ops->now_ms(c->ops->arg) >= until)
			return err_set(e, ERR_DAEMON,
				       "the fabric needs module %s, which was not loaded within %u s",
				       missing, limit_s);
		log_info("waiting for module %s of the network driver", missing);
		r = container_sleep(c, FABRIC_POLL_MS, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int start_nvlink5(struct container *c, struct err *e)
{
	static const char *const argv[] = {
		FABRIC_START,	   "--mode",	       "start",	       "--fm-config-file",
		"/" FABRIC_CONFIG, "--fm-pid-file",    "/" FABRIC_PID, "--nvlsm-config-file",
		"/" SUBNET_CONFIG, "--nvlsm-pid-file", "/" SUBNET_PID, NULL
	};
	static const char *const reset[] = { "nvidia-smi", "-r", NULL };
	int r = wait_for_fabric(c, e);

	if (r == 0)
		r = override_config(c, e);
	if (r == 0)
		r = run_argv("fabric manager", argv, NULL, e);
	if (r == 0 && container_fabric_resets_gpus(c->env->fabric_config))
		r = run_argv("GPU reset", reset, NULL, e);
	return r;
}

static int start_fabric(struct container *c, struct err *e)
{
	static const char *const argv[] = { "nv-fabricmanager", "-c", "/" FABRIC_CONFIG, NULL };
	int r;

	if (container_fabric_detect(c->h) == FABRIC_NVLINK5)
		return start_nvlink5(c, e);
	r = override_config(c, e);
	return r < 0 ? r : run_argv("fabric manager", argv, NULL, e);
}

/* The subnet manager comes with the fabric manager and is only stopped by itself. */
static const struct daemon daemons[CONTAINER_DAEMON_COUNT] = {
	[DAEMON_PERSISTENCE] = { "nvidia-persistenced", "var/run/nvidia-persistenced/nvidia-persistenced.pid",
				 always, start_persistence },
	[DAEMON_LICENCE] = { "nvidia-gridd", "var/run/nvidia-gridd/nvidia-gridd.pid", is_guest,
			     start_licence },
	[DAEMON_TOPOLOGY] = { "nvidia-topologyd", "var/run/nvidia-topologyd/nvidia-topologyd.pid",
			      is_guest_with_topology, start_topology },
	[DAEMON_FABRIC] = { "nv-fabricmanager", FABRIC_PID, has_fabric, start_fabric },
	[DAEMON_SUBNET] = { "nvlsm", SUBNET_PID, has_subnet, NULL },
	[DAEMON_IMEX] = { "nvidia-imex", "var/run/nvidia-imex/nvidia-imex.pid", has_imex, start_imex },
};

const char *container_daemon_name(enum container_daemon d)
{
	return daemons[d].name;
}

/* -- running ones -- */

static void remove_stale(struct container *c, const struct daemon *d)
{
	const char *name;
	_cleanup_close_ int dir_fd = path_open_parent(c->h->root_fd, d->pid_file, false, PATH_IN_ROOT, &name);

	if (dir_fd >= 0 && unlinkat(dir_fd, name, 0) == 0)
		log_info("removed the stale PID file /%s", d->pid_file);
}

static int find(struct container *c, const struct daemon *d, bool tidy, struct process *ret)
{
	int r = pidfile_process(c->h, d->pid_file, d->name, ret);

	if (r == -ESRCH && tidy)
		remove_stale(c, d);
	return r < 0 ? container_kin_find(c->h, d->name, container_kin_is_own, ret) : 0;
}

int container_daemon_pid(struct container *c, enum container_daemon d, bool tidy, int *ret_pid)
{
	_cleanup_(process_done) struct process p = PROCESS_INIT;

	if (find(c, &daemons[d], tidy, &p) < 0)
		return -ESRCH;
	*ret_pid = p.pid;
	return 0;
}

static const struct daemon *named(const char *comm)
{
	for (size_t d = 0; d < CONTAINER_DAEMON_COUNT; d++)
		if (process_is_called(comm, daemons[d].name))
			return &daemons[d];
	return NULL;
}

bool container_daemon_is_named(const char *comm)
{
	return named(comm);
}

bool container_daemon_is_ours(struct container *c, int pid)
{
	_cleanup_(process_done) struct process p = PROCESS_INIT, by_file = PROCESS_INIT;
	const struct daemon *d = process_read(c->h, pid, &p) < 0 ? NULL : named(p.comm);

	if (!d)
		return false;
	if (pidfile_process(c->h, d->pid_file, d->name, &by_file) == 0 && by_file.pid == pid)
		return true;
	return container_kin_is_own(c->h, &p) || container_kin_is_left(c->h, &p);
}

static bool has_ended(struct container *c, const struct process *was)
{
	_cleanup_(process_done) struct process now = PROCESS_INIT;

	return process_read(c->h, was->pid, &now) == -ESRCH || now.start_ticks != was->start_ticks;
}

static int stop_one(struct container *c, const struct daemon *d, const struct process *p, struct err *e)
{
	uint64_t until = c->ops->now_ms(c->ops->arg) + STOP_LIMIT_MS;
	int r;

	log_info("stopping %s (process %d)", d->name, p->pid);
	r = c->ops->kill(c->ops->arg, p->pid, p->start_ticks, SIGTERM);
	if (r < 0 && r != -ESRCH)
		return err_set(e, ERR_DAEMON, "cannot signal %s (process %d): %s", d->name, p->pid,
			       strerror(-r));
	while (!has_ended(c, p)) {
		if (c->ops->now_ms(c->ops->arg) >= until)
			return err_set(e, ERR_DAEMON, "%s (process %d) did not end within %d s", d->name,
				       p->pid, STOP_LIMIT_MS / 1000);
		/* A further signal does not shorten it: the daemon has its five seconds. */
		(void)container_sleep(c, STOP_POLL_MS, NULL);
	}
	return 0;
}

/* A daemon may be several processes while it starts, and one may appear while another is stopped. */
static int stop_all(struct container *c, const struct daemon *d, bool *ret_stopped, struct err *e)
{
	for (unsigned n = 0; n < STOP_MANY; n++) {
		_cleanup_(process_done) struct process p = PROCESS_INIT;
		int r;

		if (find(c, d, true, &p) < 0 &&
		    container_kin_find(c->h, d->name, container_kin_is_left, &p) < 0)
			return 0;
		r = stop_one(c, d, &p, e);
		if (r < 0)
			return r;
		*ret_stopped = true;
	}
	return 0;
}

int container_daemons_stop(struct container *c, bool stopped[CONTAINER_DAEMON_COUNT], struct err *e)
{
	for (size_t d = 0; d < CONTAINER_DAEMON_COUNT; d++) {
		int r = stop_all(c, &daemons[d], &stopped[d], e);

		if (r < 0)
			return err_object(e, "%s", daemons[d].name);
	}
	return 0;
}

/* -- starting -- */

/* With the modules kept, a dead container's daemon still runs; it answers on a socket nobody sees. */
static int start_one(struct container *c, size_t d, struct err *e)
{
	bool left = false;
	int pid, r;

	if (container_daemon_pid(c, (enum container_daemon)d, true, &pid) == 0) {
		log_info("%s is running already (process %d)", daemons[d].name, pid);
		return 0;
	}
	if (!daemons[d].start)
		return 0;
	r = stop_all(c, &daemons[d], &left, e);
	if (r < 0)
		return r;
	log_info("starting %s", daemons[d].name);
	r = daemons[d].start(c, e);
	if (r < 0)
		return err_wrap(e, "starting %s", daemons[d].name);
	return 0;
}

int container_daemons_start(struct container *c, struct err *e)
{
	for (size_t d = 0; d < CONTAINER_DAEMON_COUNT; d++) {
		int r;

		if (!daemons[d].wanted(c))
			continue;
		r = start_one(c, d, e);
		if (r < 0)
			return r;
		c->started[d] = true;
	}
	return 0;
}

/* What ran before has to run again, whatever signal has come meanwhile; the wish to end is kept for afterwards. */
static void past_interruption(struct container *c)
{
	if (c->staying && interrupt_signal())
		c->kept_signal = interrupt_signal();
	interrupt_set(0);
}

void container_daemons_restart(struct container *c, const bool which[CONTAINER_DAEMON_COUNT])
{
	for (size_t d = 0; d < CONTAINER_DAEMON_COUNT; d++) {
		_cleanup_(err_done) struct err why = ERR_INIT;

		if (!which[d] || !daemons[d].wanted(c))
			continue;
		past_interruption(c);
		if (start_one(c, d, &why) < 0)
			log_warn("%s", why.reason ? why.reason : err_sentence(why.code));
	}
}

static bool has_died(struct container *c, size_t d)
{
	int pid;

	return c->started[d] && daemons[d].start &&
	       container_daemon_pid(c, (enum container_daemon)d, false, &pid) < 0;
}

void container_daemons_supervise(struct container *c)
{
	bool died[CONTAINER_DAEMON_COUNT], any = false;

	for (size_t d = 0; d < CONTAINER_DAEMON_COUNT; d++)
		any |= died[d] = has_died(c, d);
	if (!any)
		return;
	(void)container_sleep(c, RESTART_MS, NULL);
	for (size_t d = 0; d < CONTAINER_DAEMON_COUNT; d++) {
		bool which[CONTAINER_DAEMON_COUNT] = { false };

		if (c->kept_signal || interrupt_signal())
			return;
		if (!died[d] || !has_died(c, d))
			continue;
		log_warn("%s has ended and is started again", daemons[d].name);
		which[d] = true;
		container_daemons_restart(c, which);
	}
}

json_t *container_daemons_to_json(struct container *c)
{
	json_t *o = json_object();

	for (size_t d = 0; o && d < CONTAINER_DAEMON_COUNT; d++) {
		bool runs, want = daemons[d].wanted(c);
		int pid = 0;

		runs = container_daemon_pid(c, (enum container_daemon)d, false, &pid) == 0;
		if (runs || want)
			(void)json_object_set_new(o, daemons[d].name,
						  runs ? json_pack("{s:b,s:i}", "running", 1, "pid", pid)
						       : json_pack("{s:b}", "running", 0));
	}
	return o;
}
