/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Container managers behind one table of functions. Everything above this file works with any of them.
 *
 * Two ways into a container:
 *   exec    a program inside, through the manager
 *   inside  a function of ours, run by a child process that entered the container's user and mount name-spaces as the
 *           container's root (lxc-enter.h): no program of the container runs, and the kernel keeps us inside
 * Reading without a child goes through lxc_place_open(): an O_PATH descriptor of the container's root, beneath which
 * every name is resolved by path.h with PATH_IN_ROOT. */

#include "err.h"
#include "host.h"
#include "lxc-settings.h"

#include <jansson.h>
#include <sys/types.h>

enum lxc_state { LXC_STOPPED, LXC_RUNNING, LXC_FROZEN, LXC_OTHER };
const char *lxc_state_name(enum lxc_state s); /* "stopped", … */

struct lxc_backend {
	const struct lxc_backend_ops *ops;
	const struct host *host; /* borrowed */
	const struct lxc_settings *set; /* borrowed */
	const char *state_dir; /* borrowed; absolute: where devices.conf files live ("<store>/targets") */
	bool dev_keys; /* devices are "dev = PATH,…" lines instead of pairs of raw ones */
	void *priv; /* owned by the backend */
};

/* A command inside the container. The environment is PATH, HOME=/root, LC_ALL=C.UTF-8,
 * DEBIAN_FRONTEND=noninteractive and `env`; nothing is inherited. */
struct lxc_exec {
	const char *what; /* for messages */
	char *const *argv; /* borrowed; argv[0] looked for in PATH inside */
	char *const *env; /* further "NAME=value"; NULL = none */
	int stdin_fd; /* -EBADF = /dev/null */
	int log_fd; /* whole output appended; -EBADF = none */
	unsigned timeout_s; /* 0 = the settings' default */
	/* results */
	int status; /* of the command; 127 not found, 128 + n signal */
	char *out; /* owned: stdout and stderr together, last 16 MiB at most */
	size_t out_len;
};
#define LXC_EXEC_INIT(text)                                                                                  \
	{                                                                                                    \
		.what = (text), .stdin_fd = -EBADF, .log_fd = -EBADF                                         \
	}
void lxc_exec_done(struct lxc_exec *x);

/* Where a container's root file system is and who its root user is. */
struct lxc_place {
	pid_t init_pid; /* > 0 while it runs */
	char *rootfs; /* owned; directory on the host; NULL when only a running container has one */
	uid_t root_uid; /* host ids of the container's uid 0 and gid 0 on disk or in its name-space */
	gid_t root_gid;
	bool has_userns;
	bool on_disk_shifted; /* files of the stopped root belong to root_uid, not to 0 */
};
void lxc_place_done(struct lxc_place *p);
/* O_PATH|O_DIRECTORY descriptor of the root, running or not; -ENOENT when it cannot be reached from here. */
int lxc_place_open(const struct lxc_place *p);

struct lxc_facts {
	enum lxc_state state;
	char *name; /* owned; host name */
	bool unprivileged;
	char *lock; /* owned; another task owns it: its name */
	bool has_own_driver; /* the manager brings the driver itself (nvidia.runtime): we only look */
	char **lines; /* owned; "key = value" of the current configuration that concern us (lxc-edit.h) */
};
void lxc_facts_done(struct lxc_facts *f);

struct lxc_backend_ops {
	const char *name; /* "pct", "lxc", "incus" */
	bool is_pve; /* ids are numbers */
	bool has_raw_lines; /* its configurations take any "lxc.…" line */
	int (*open)(struct lxc_backend *b, struct err *e); /* may be NULL */
	void (*close)(struct lxc_backend *b);
	/* All ids, sorted. */
	int (*list)(struct lxc_backend *b, char ***ret, struct err *e);
	/* ERR_LXC_UNKNOWN for an id there is none of. Starts no child process where that is possible. */
	int (*facts)(struct lxc_backend *b, const char *id, struct lxc_facts *ret, struct err *e);
	int (*place)(struct lxc_backend *b, const char *id, struct lxc_place *ret, struct err *e);
	/* Return when the container is in that state; being there already is success. ERR_LXC_START with the end of
	 * the container's log, ERR_LXC_LOCKED. */
	int (*start)(struct lxc_backend *b, const char *id, struct err *e);
	int (*stop)(struct lxc_backend *b, const char *id, struct err *e);
	/* 0 with x->status filled whatever it is; ERR_LXC_STOPPED, ERR_TIMEOUT (the command's group is killed). */
	int (*exec)(struct lxc_backend *b, const char *id, struct lxc_exec *x, struct err *e);
	/* One transaction under the manager's lock: `remove` taken out, `add` put in. *ret_undo (caller decrefs) holds
	 * {"added": [], "removed": []}: what really changed. With dry_run only *ret_undo is made. */
	int (*config_apply)(struct lxc_backend *b, const char *id, char *const *add, char *const *remove,
			    bool dry_run, json_t **ret_undo, struct err *e);
	/* Give a running container access to one device number now; -ENOTSUP where only a restart helps. */
	int (*allow_device)(struct lxc_backend *b, const char *id, const char *rule, struct err *e);
	/* Take it away again; NULL where access is the manager's own matter. */
	int (*deny_device)(struct lxc_backend *b, const char *id, const char *rule, struct err *e);
	/* A snapshot of this name, taken by the manager; NULL where it has none. ERR_LXC_BACKEND with its words. */
	int (*snapshot)(struct lxc_backend *b, const char *id, const char *name, struct err *e);
	/* A very large file into a container through the manager (`run` delivery). path absolute. There is no way out of one:
	 * what is read is read beneath lxc_place_open() or by lxc-enter.h. */
	int (*push)(struct lxc_backend *b, const char *id, int fd, const char *path, mode_t mode,
		    struct err *e);
};

extern const struct lxc_backend_ops lxc_backend_pct, lxc_backend_lxc, lxc_backend_incus;

/* "auto", "pct", "lxc", "incus". auto: pct when etc/pve and its program are there; incus when the daemon of Incus or LXD has its
 * socket, its client is there and LXC itself has no container; else lxc. ERR_LXC_BACKEND when it cannot be used here. */
int lxc_backend_open(const char *name, const struct host *h, const struct lxc_settings *set,
		     const char *state_dir, struct lxc_backend **ret, struct err *e);
void lxc_backend_freep(struct lxc_backend **b);

/* exec through the manager, and a note of it in the container's log (lxc-log.h). What calls exec otherwise leaves no trace. */
int lxc_exec_noted(struct lxc_backend *b, const char *id, struct lxc_exec *x, struct err *e);
/* exec that fails unless the status is 0 (ERR_LXC_EXEC with the last lines). argv ends with NULL. */
int lxc_run(struct lxc_backend *b, const char *id, const char *what, char *const *argv, unsigned timeout_s,
	    char **ret_out, struct err *e);
/* What every command inside gets as environment, NULL-terminated. */
extern const char *const lxc_exec_env[];
