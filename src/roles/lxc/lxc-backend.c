/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-backend.h"

#include "log.h"
#include "lxc-log.h"
#include "path.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TAIL_LINES 50

const char *const lxc_exec_env[] = {
	"PATH=" SAFE_PATH, "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", NULL,
};

const char *lxc_state_name(enum lxc_state s)
{
	static const char *const names[] = { "stopped", "running", "frozen", "other" };

	return (size_t)s < ARRAY_LEN(names) ? names[s] : "other";
}

void lxc_exec_done(struct lxc_exec *x)
{
	freep(&x->out);
	x->out_len = 0;
}

void lxc_place_done(struct lxc_place *p)
{
	freep(&p->rootfs);
}

void lxc_facts_done(struct lxc_facts *f)
{
	freep(&f->name);
	freep(&f->lock);
	strv_freep(&f->lines);
}

void lxc_backend_freep(struct lxc_backend **b)
{
	if (!*b)
		return;
	if ((*b)->ops->close)
		(*b)->ops->close(*b);
	freep(b);
}

static bool has_pct(const struct host *h, const struct lxc_settings *set)
{
	_cleanup_free_ char *found = NULL;

	if (!path_exists(h->root_fd, "etc/pve"))
		return false;
	return strchr(set->pct, '/') ? access(set->pct, X_OK) == 0 : spawn_find(set->pct, &found) == 0;
}

static const char *const incus_sockets[] = {
	"var/lib/incus/unix.socket",
	"run/incus/unix.socket",
	"var/lib/lxd/unix.socket",
	"var/snap/lxd/common/lxd/unix.socket",
};

static bool has_containers(const char *lxcpath)
{
	DIR *d = opendir(lxcpath);
	const struct dirent *de;
	bool found = false;

	while (d && !found && (de = readdir(d))) {
		_cleanup_free_ char *config = str_printf("%s/config", de->d_name);

		found = de->d_name[0] != '.' && config && faccessat(dirfd(d), config, F_OK, 0) == 0;
	}
	if (d)
		(void)closedir(d);
	return found;
}

static bool has_incus(const struct host *h, const struct lxc_settings *set)
{
	_cleanup_free_ char *found = NULL;
	bool socket = false;

	for (size_t i = 0; i < ARRAY_LEN(incus_sockets) && !socket; i++)
		socket = path_exists(h->root_fd, incus_sockets[i]);
	if (!socket || has_containers(set->lxcpath))
		return false;
	return strchr(set->incus, '/') ? access(set->incus, X_OK) == 0 : spawn_find(set->incus, &found) == 0;
}

static const struct lxc_backend_ops *choose(const char *name, const struct host *h,
					    const struct lxc_settings *set)
{
	static const struct lxc_backend_ops *const all[] = { &lxc_backend_pct, &lxc_backend_lxc,
							     &lxc_backend_incus };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (strcmp(name, all[i]->name) == 0)
			return all[i];
	if (strcmp(name, "auto") != 0)
		return NULL;
	if (has_pct(h, set))
		return &lxc_backend_pct;
	return has_incus(h, set) ? &lxc_backend_incus : &lxc_backend_lxc;
}

int lxc_backend_open(const char *name, const struct host *h, const struct lxc_settings *set,
		     const char *state_dir, struct lxc_backend **ret, struct err *e)
{
	_cleanup_(lxc_backend_freep) struct lxc_backend *b = NULL;
	const struct lxc_backend_ops *ops = choose(name, h, set);

	if (!ops)
		return err_set(e, ERR_USAGE, "--backend %s: auto, pct, lxc or incus", name);
	b = calloc(1, sizeof(*b));
	if (!b)
		return err_oom(e);
	b->ops = ops;
	b->host = h;
	b->set = set;
	b->state_dir = state_dir;
	if (ops->open && ops->open(b, e) < 0)
		return err_wrap(e, "using %s", ops->name);
	*ret = TAKE_PTR(b);
	return 0;
}

/* The last lines, for the reason of an error. */
static const char *last_lines(const char *out, size_t len, unsigned lines)
{
	while (len > 0 && out[len - 1] == '\n')
		len--;
	while (len > 0 && (out[len - 1] != '\n' || --lines > 0))
		len--;
	return out + len;
}

int lxc_exec_noted(struct lxc_backend *b, const char *id, struct lxc_exec *x, struct err *e)
{
	struct timespec from, to;
	int r;

	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	r = b->ops->exec(b, id, x, e);
	(void)clock_gettime(CLOCK_MONOTONIC, &to);
	if (b->host)
		lxc_log_command(
		    b->host, id, x, r,
		    (uint64_t)((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000));
	return r;
}

int lxc_run(struct lxc_backend *b, const char *id, const char *what, char *const *argv, unsigned timeout_s,
	    char **ret_out, struct err *e)
{
	_cleanup_(lxc_exec_done) struct lxc_exec x = LXC_EXEC_INIT(what);
	int r;

	x.argv = argv;
	x.timeout_s = timeout_s;
	r = lxc_exec_noted(b, id, &x, e);
	if (r < 0)
		return err_wrap(e, "%s", what);
	if (x.status != 0) {
		(void)err_set(e, ERR_LXC_EXEC, "%s: %s ended with status %d in container %s%s%s", what,
			      argv[0], x.status, id, x.out_len ? "\n" : "",
			      x.out ? last_lines(x.out, x.out_len, TAIL_LINES) : "");
		return err_object(e, "%s", id);
	}
	if (ret_out) {
		*ret_out = x.out ? TAKE_PTR(x.out) : strdup("");
		if (!*ret_out)
			return err_oom(e);
	}
	return 0;
}
