/* SPDX-License-Identifier: Apache-2.0
 *
 * Proxmox VE. Looking is done by reading its files and asking LXC below it: every call of pct costs about half a
 * second. Changing is done by pct, except for raw keys, for which it has no command. */
#include "lxc-backend.h"

#include "digest.h"
#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "lock.h"
#include "log.h"
#include "lxc-edit.h"
#include "lxc-native.h"
#include "path.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define CONF_DIR   "etc/pve/lxc"
#define LOCK_DIR   "run/lock/lxc"
#define CONF_MAX   ((size_t)4 << 20)
#define STATUS_MAX ((size_t)64 << 20)
#define DEV_SINCE  "5.0.10" /* pve-container with dev keys that can be set */

/* Version of an installed package in the text of dpkg's status file, epoch and revision left out. */
static char *dpkg_version(struct span text, const char *package)
{
	_cleanup_free_ char *head = str_printf("Package: %s", package);
	bool inside = false;
	struct span line;

	while (head && span_line(&text, &line)) {
		if (span_starts(line, "Package: "))
			inside = span_eq(span_trim(line), head);
		else if (inside && span_starts(line, "Version: ")) {
			struct span v = span_trim((struct span){ line.p + 9, line.len - 9 });
			const char *colon = memchr(v.p, ':', v.len);

			if (colon)
				v = (struct span){ colon + 1, (size_t)(v.p + v.len - colon - 1) };
			v.len = strspn(v.p, "0123456789.") < v.len ? strspn(v.p, "0123456789.") : v.len;
			return span_dup(v);
		}
	}
	return NULL;
}

static int pct_open(struct lxc_backend *b, struct err *e)
{
	_cleanup_free_ char *text = NULL, *version = NULL;
	_cleanup_close_ int fd =
	    path_open_at(b->host->root_fd, "var/lib/dpkg/status", O_RDONLY, 0, PATH_IN_ROOT);
	size_t len;

	if (!path_exists(b->host->root_fd, "etc/pve"))
		return err_set(e, ERR_LXC_BACKEND, "this is no Proxmox VE host: %s/etc/pve is not there",
			       b->host->root);
	if (fd >= 0 && read_fd(fd, STATUS_MAX, &text, &len) >= 0)
		version = dpkg_version((struct span){ text, len }, "pve-container");
	b->dev_keys = version && version_compare(version, DEV_SINCE) >= 0;
	return 0;
}

static void command(const struct lxc_backend *b, struct spawn *s, const char *verb, const char *id)
{
	(void)spawn_argv(s, b->set->pct, verb, NULL);
	if (id)
		(void)spawn_argv(s, id, NULL);
	s->timeout_s = b->set->exec_timeout_s;
}

/* -- looking -- */

static char *conf_name(const char *id)
{
	return str_printf(CONF_DIR "/%s.conf", id);
}

static int conf_read(const struct lxc_backend *b, const char *id, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ char *name = conf_name(id);
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (!name)
		return err_oom(e);
	fd = path_open_at(b->host->root_fd, name, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	r = fd < 0 ? fd : read_fd(fd, CONF_MAX, ret, ret_len);
	if (r == -ENOENT) {
		(void)err_set(e, ERR_LXC_UNKNOWN, "there is no container %s: no /%s", id, name);
		return err_object(e, "%s", id);
	}
	return r < 0 ? err_errno(e, r, "cannot read /%s", name) : 0;
}

static int pct_list(struct lxc_backend *b, char ***ret, struct err *e)
{
	_cleanup_strv_ char **names = NULL, **v = NULL;
	int r = path_names(b->host->root_fd, CONF_DIR, &names) == -ENOMEM ? -ENOMEM : 0;

	for (char **p = names; r >= 0 && p && *p; p++) {
		struct span id = SPAN(*p);
		_cleanup_free_ char *text = NULL;
		uint64_t n;

		if (!span_ends(id, ".conf"))
			continue;
		id.len -= 5;
		text = span_dup(id);
		if (text && parse_u64(id, UINT32_MAX, &n) == 0)
			r = strv_push(&v, text);
	}
	if (r < 0)
		return err_oom(e);
	if (v)
		strv_sort(v);
	*ret = TAKE_PTR(v);
	return 0;
}

/* "status: running" */
static int state_by_pct(struct lxc_backend *b, const char *id, enum lxc_state *ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("state of the container");
	int r;

	command(b, &s, "status", id);
	s.capture = true;
	r = spawn_run(&s, e);
	if (r < 0)
		return err_recode(e, ERR_LXC_BACKEND);
	if (s.status == 2) {
		(void)err_set(e, ERR_LXC_UNKNOWN, "there is no container %s: %s", id, s.tail ? s.tail : "");
		return err_object(e, "%s", id);
	}
	if (s.status != 0)
		return err_set(e, ERR_LXC_BACKEND, "pct status %s ended with status %d: %s", id, s.status,
			       s.tail ? s.tail : "");
	*ret = strstr(s.out, "running") ? LXC_RUNNING : strstr(s.out, "stopped") ? LXC_STOPPED : LXC_OTHER;
	return 0;
}

/* LXC's own view, where it knows the container; pct generates <lxcpath>/<id>/config at each start. */
static int pct_state(struct lxc_backend *b, const char *id, enum lxc_state *ret, struct err *e)
{
	_cleanup_free_ char *config = str_printf("%s/%s/config", b->set->lxcpath, id);
	pid_t pid;

	if (config && lxc_native_has_library() && access(config, F_OK) == 0)
		return lxc_native_state(b->set, id, ret, &pid, e);
	return state_by_pct(b, id, ret, e);
}

static char *value_dup(struct span text, const char *key)
{
	struct span v;

	return lxc_pve_value(text, key, &v) && v.len ? span_dup(v) : NULL;
}

static int pct_facts(struct lxc_backend *b, const char *id, struct lxc_facts *ret, struct err *e)
{
	_cleanup_(lxc_facts_done) struct lxc_facts f = { 0 };
	_cleanup_free_ char *text = NULL, *unprivileged = NULL;
	struct span all;
	size_t len;
	int r = conf_read(b, id, &text, &len, e);

	if (r >= 0)
		r = pct_state(b, id, &f.state, e);
	if (r < 0)
		return r;
	all = (struct span){ text, len };
	if (lxc_pve_lines(all, &f.lines) < 0)
		return err_oom(e);
	f.name = value_dup(all, "hostname");
	f.lock = value_dup(all, "lock");
	unprivileged = value_dup(all, "unprivileged");
	f.unprivileged = unprivileged && strcmp(unprivileged, "1") == 0;
	*ret = f;
	f = (struct lxc_facts){ 0 };
	return 0;
}

static int pct_place(struct lxc_backend *b, const char *id, struct lxc_place *ret, struct err *e)
{
	_cleanup_free_ char *config = str_printf("%s/%s/config", b->set->lxcpath, id);

	if (!config)
		return err_oom(e);
	if (access(config, F_OK) == 0)
		return lxc_native_place(b->set, id, ret, e);
	*ret = (struct lxc_place){ 0 }; /* its volume is not mounted anywhere */
	return 0;
}

/* -- waiting for others -- */

static void pause_ms(unsigned ms)
{
	const struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* Another task (backup, migration, snapshot) that owns the container is waited for. */
static int unlocked(struct lxc_backend *b, const char *id, struct err *e)
{
	for (unsigned waited = 0;; waited++) {
		_cleanup_free_ char *text = NULL, *lock = NULL;
		size_t len;
		int r = conf_read(b, id, &text, &len, e);

		if (r < 0)
			return r;
		lock = value_dup((struct span){ text, len }, "lock");
		if (!lock)
			return 0;
		if (interrupt_check(e) < 0)
			return -ERR_INTERRUPTED;
		if (waited >= b->set->lock_wait_s) {
			(void)err_set(e, ERR_LXC_LOCKED, "container %s is locked by Proxmox VE: %s", id,
				      lock);
			return err_object(e, "%s", id);
		}
		pause_ms(1000);
	}
}

/* Proxmox VE's own tools take the lock "pve-config-ID" for this file; "nvdriver" is ours alone. */
static int file_lock(struct lxc_backend *b, const char *kind, const char *id, struct lock *ret, struct err *e)
{
	_cleanup_free_ char *name = str_printf("%s%s.lock", kind, id);
	_cleanup_close_ int dir = -EBADF;
	int r;

	if (!name)
		return err_oom(e);
	r = path_mkdirs(b->host->root_fd, LOCK_DIR, 0755, PATH_IN_ROOT);
	dir = r < 0 ? r : path_open_at(b->host->root_fd, LOCK_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	r = dir < 0 ? dir : lock_file_at(dir, name, (int)b->set->file_lock_wait_s * 1000, ret);
	if (r == -EAGAIN) {
		(void)err_set(e, ERR_LXC_LOCKED,
			      "the configuration of container %s is being changed by another program", id);
		return err_object(e, "%s", id);
	}
	return r < 0 ? err_errno(e, r, "cannot lock the configuration of container %s", id) : 0;
}

/* -- changing -- */

static int pct_start(struct lxc_backend *b, const char *id, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("starting the container");
	enum lxc_state state;
	int r = unlocked(b, id, e);

	if (r < 0)
		return r;
	command(b, &s, "start", id);
	s.timeout_s = b->set->start_timeout_s;
	s.capture = s.merge = true;
	r = spawn_run(&s, e);
	if (r < 0)
		return err_recode(e, ERR_LXC_START);
	if (s.status != 0 && !(s.out && strstr(s.out, "already running"))) {
		(void)err_set(e, ERR_LXC_START, "container %s does not start: %s", id, s.out ? s.out : "");
		return err_object(e, "%s", id);
	}
	r = pct_state(b, id, &state, e);
	if (r >= 0 && state != LXC_RUNNING)
		r = err_set(e, ERR_LXC_START, "container %s ended right after its start", id);
	return r;
}

static int pct_stop(struct lxc_backend *b, const char *id, struct err *e)
{
	_cleanup_(spawn_done) struct spawn gentle = SPAWN_INIT("shutting the container down");
	_cleanup_(spawn_done) struct spawn hard = SPAWN_INIT("stopping the container");
	enum lxc_state state;
	int r = unlocked(b, id, e);

	if (r >= 0)
		r = pct_state(b, id, &state, e);
	if (r < 0 || state == LXC_STOPPED)
		return r;
	command(b, &gentle, "shutdown", id);
	(void)spawn_argv(&gentle, "--timeout", NULL);
	(void)spawn_arg(&gentle, "%u", b->set->start_timeout_s);
	gentle.timeout_s = b->set->start_timeout_s + 10;
	if (spawn_run(&gentle, NULL) >= 0 && gentle.status == 0)
		return 0;
	command(b, &hard, "stop", id);
	hard.timeout_s = b->set->start_timeout_s;
	r = spawn_check(&hard, e);
	return r < 0 ? err_recode(e, ERR_LXC_START) : 0;
}

static void exec_args(const struct lxc_backend *b, const char *id, const struct lxc_exec *x, bool keep_env,
		      struct spawn *s)
{
	(void)spawn_argv(s, b->set->pct, "exec", id, NULL);
	if (keep_env)
		(void)spawn_argv(s, "--keep-env", "0", NULL);
	(void)spawn_argv(s, "--", "env", "-i", NULL);
	for (const char *const *p = lxc_exec_env; *p; p++)
		(void)spawn_argv(s, *p, NULL);
	for (char *const *p = x->env; p && *p; p++)
		(void)spawn_argv(s, *p, NULL);
	for (char *const *p = x->argv; *p; p++)
		(void)spawn_argv(s, *p, NULL);
	s->stdin_fd = x->stdin_fd;
	s->log_fd = x->log_fd;
	s->capture = s->merge = true;
	s->timeout_s = x->timeout_s ? x->timeout_s : b->set->exec_timeout_s;
}

/* pve-container before 5.0.9 does not know --keep-env; `env -i` does the same there. */
static int pct_exec(struct lxc_backend *b, const char *id, struct lxc_exec *x, struct err *e)
{
	bool keep_env = true;

	for (;;) {
		_cleanup_(spawn_done) struct spawn s = SPAWN_INIT(x->what);
		int r;

		exec_args(b, id, x, keep_env, &s);
		r = spawn_run(&s, e);
		if (r < 0)
			return r;
		if (keep_env && s.status != 0 && s.out && strstr(s.out, "Unknown option: keep-env")) {
			keep_env = false;
			continue;
		}
		if (s.status == 255 && s.out && strstr(s.out, "not running")) {
			(void)err_set(e, ERR_LXC_STOPPED, "container %s is not running", id);
			return err_object(e, "%s", id);
		}
		x->status = s.status;
		x->out_len = s.out_len;
		x->out = TAKE_PTR(s.out);
		return 0;
	}
}

static int push_size_check(struct lxc_backend *b, const char *id, const char *path, off_t want, struct err *e)
{
	char *const argv[] = { (char *)"stat", (char *)"-c", (char *)"%s", (char *)path, NULL };
	_cleanup_free_ char *out = NULL;
	uint64_t size;
	int r = lxc_run(b, id, "checking the pushed file", argv, 0, &out, e);

	if (r < 0)
		return r;
	if (parse_u64(span_trim(SPAN(out)), INT64_MAX, &size) < 0 || size != (uint64_t)want)
		return err_set(e, ERR_LXC_PUSH, "%s arrived in container %s with another size", path, id);
	return 0;
}

static int push_once(struct lxc_backend *b, const char *id, int fd, const char *path, mode_t mode,
		     struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("pushing a file");
	_cleanup_free_ char *source = str_printf("/proc/%d/fd/%d", (int)getpid(), fd);
	struct stat st;
	int r;

	if (!source || fstat(fd, &st) < 0)
		return source ? err_errno(e, -errno, "cannot look at the file") : err_oom(e);
	(void)spawn_argv(&s, b->set->pct, "push", id, source, path, "--perms", NULL);
	(void)spawn_arg(&s, "%04o", mode);
	s.timeout_s = b->set->install_timeout_s;
	r = spawn_check(&s, e);
	if (r < 0)
		return err_recode(e, ERR_LXC_PUSH);
	return push_size_check(b, id, path, st.st_size, e);
}

static int pct_push(struct lxc_backend *b, const char *id, int fd, const char *path, mode_t mode,
		    struct err *e)
{
	_cleanup_free_ char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	int r;

	if (!dir)
		return err_oom(e);
	if (slash && slash != dir) {
		char *const argv[] = { (char *)"mkdir", (char *)"-p", dir, NULL };

		*slash = '\0';
		r = lxc_run(b, id, "making the directory", argv, 0, NULL, e);
		if (r < 0)
			return r;
	}
	for (unsigned i = 1;; i++) {
		r = push_once(b, id, fd, path, mode, e);
		if (r >= 0 || i >= b->set->attempts || interrupt_pending())
			return r;
		log_warn("pushing %s into container %s failed, trying again", path, id);
		pause_ms(b->set->pause_s * 1000);
	}
}

/* -- configuration -- */

/* All containers' files are in one directory: what killed runs left there is told from what others are about to put in place by a
 * lock that every run of ours holds from here until its file is written. */
static int write_begin(struct lxc_backend *b, const char *id, struct lock *ret, struct err *e)
{
	_cleanup_close_ int dir =
	    path_open_at(b->host->root_fd, CONF_DIR, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	int r = file_lock(b, "nvdriver", "", ret, e);

	if (r < 0)
		return err_wrap(e, "container %s", id);
	if (dir >= 0)
		(void)publish_sweep(dir);
	return 0;
}

static int write_conf(struct lxc_backend *b, const char *id, const char *old, size_t old_len,
		      const struct strbuf *new, struct err *e)
{
	_cleanup_free_ char *name = conf_name(id);
	const char *base;
	_cleanup_close_ int dir = -EBADF;
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(-EBADF);
	struct stat st;
	int r;

	if (!name)
		return err_oom(e);
	if (new->len == old_len && memcmp(strbuf_str(new), old, old_len) == 0)
		return 0;
	dir = path_open_parent(b->host->root_fd, name, false, PATH_IN_ROOT, &base);
	r = dir < 0 ? dir : fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	if (r >= 0) {
		t.dirfd = dir;
		r = tmpname_open(&t, st.st_mode & 07777);
	}
	if (r >= 0)
		r = write_all(t.fd, strbuf_str(new), new->len);
	/* The cluster's file system decides about owners itself. */
	if (r >= 0)
		(void)!fchown(t.fd, st.st_uid, st.st_gid);
	if (r >= 0)
		r = publish_tmp(&t, base, true);
	return r < 0 ? err_errno(e, r, "cannot write /%s", name) : 0;
}

static bool is_dev(const char *line)
{
	return lxc_line_dev_path(line).p != NULL;
}

static int split(char *const *lines, bool dev, char ***ret)
{
	int r = 0;

	for (; r >= 0 && lines && *lines; lines++)
		if (is_dev(*lines) == dev)
			r = strv_push(ret, *lines);
	return r;
}

static int edit_raw(struct lxc_backend *b, const char *id, char *const *add, char *const *remove,
		    struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(CONF_MAX);
	_cleanup_(lock_release) struct lock lock = LOCK_INIT, ours = LOCK_INIT;
	_cleanup_strv_ char **raw_add = NULL, **raw_remove = NULL;
	_cleanup_free_ char *text = NULL, *held = NULL;
	size_t len;
	int r;

	if (split(add, false, &raw_add) < 0 || split(remove, false, &raw_remove) < 0)
		return err_oom(e);
	if (!raw_add && !raw_remove)
		return 0;
	r = file_lock(b, "pve-config-", id, &lock, e);
	if (r >= 0)
		r = write_begin(b, id, &ours, e);
	if (r >= 0)
		r = conf_read(b, id, &text, &len, e);
	if (r < 0)
		return r;
	held = value_dup((struct span){ text, len }, "lock");
	if (held)
		return err_set(e, ERR_LXC_LOCKED, "container %s is locked by Proxmox VE: %s", id, held);
	r = lxc_pve_edit((struct span){ text, len }, raw_add, raw_remove, &out);
	return r < 0 ? err_errno(e, r, "cannot edit the configuration of container %s", id)
		     : write_conf(b, id, text, len, &out, e);
}

static int set_dev(struct lxc_backend *b, const char *id, const char *line, bool add, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("changing a device of the container");
	_cleanup_free_ char *text = NULL, *path = span_dup(lxc_line_dev_path(line));
	const char *value = strstr(line, " = ");
	bool present;
	unsigned n;
	size_t len;
	int r;

	if (!path || !value)
		return err_oom(e);
	r = conf_read(b, id, &text, &len, e);
	if (r < 0)
		return r;
	if (lxc_pve_dev_number((struct span){ text, len }, path, &n, &present) < 0)
		return err_set(e, ERR_LXC_BACKEND, "container %s has no free device key", id);
	if (!add && !present)
		return 0;
	(void)spawn_argv(&s, b->set->pct, "set", id, NULL);
	if (add) {
		(void)spawn_arg(&s, "--dev%u", n);
		(void)spawn_argv(&s, value + 3, NULL);
	} else {
		(void)spawn_argv(&s, "--delete", NULL);
		(void)spawn_arg(&s, "dev%u", n);
	}
	s.timeout_s = b->set->exec_timeout_s;
	r = spawn_check(&s, e);
	return r < 0 ? err_recode(e, ERR_LXC_BACKEND) : 0;
}

static json_t *difference(char *const *have, char *const *add, char *const *remove)
{
	json_t *added = json_array(), *removed = json_array();

	for (; add && *add && added; add++)
		if (!lxc_lines_find(have, *add))
			(void)json_array_append_new(added, json_string(*add));
	for (; remove && *remove && removed; remove++)
		if (lxc_lines_find(have, *remove))
			(void)json_array_append_new(removed, json_string(lxc_lines_find(have, *remove)));
	return json_pack("{s:o, s:o}", "added", added, "removed", removed);
}

static int pct_config_apply(struct lxc_backend *b, const char *id, char *const *add, char *const *remove,
			    bool dry_run, json_t **ret_undo, struct err *e)
{
	_cleanup_strv_ char **have = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *undo = NULL;
	size_t len;
	int r = dry_run ? 0 : unlocked(b, id, e);

	if (r >= 0)
		r = conf_read(b, id, &text, &len, e);
	if (r < 0)
		return r;
	if (lxc_pve_lines((struct span){ text, len }, &have) < 0)
		return err_oom(e);
	undo = difference(have, add, remove);
	if (!undo)
		return err_oom(e);
	if (!dry_run)
		r = edit_raw(b, id, add, remove, e);
	for (char *const *p = remove; !dry_run && r >= 0 && p && *p; p++)
		if (is_dev(*p) && lxc_lines_find(have, *p))
			r = set_dev(b, id, *p, false, e);
	for (char *const *p = add; !dry_run && r >= 0 && p && *p; p++)
		if (is_dev(*p) && !lxc_lines_find(have, *p))
			r = set_dev(b, id, *p, true, e);
	if (r >= 0 && ret_undo)
		*ret_undo = TAKE_PTR(undo);
	return r;
}

static int pct_snapshot(struct lxc_backend *b, const char *id, const char *name, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("taking a snapshot");
	int r = unlocked(b, id, e);

	if (r < 0)
		return r;
	command(b, &s, "snapshot", id);
	(void)spawn_argv(&s, name, NULL);
	s.capture = s.merge = true;
	s.timeout_s = b->set->install_timeout_s;
	r = spawn_run(&s, e);
	if (r < 0)
		return err_recode(e, ERR_LXC_BACKEND);
	if (s.status == 0)
		return 0;
	(void)err_set(e, ERR_LXC_BACKEND, "no snapshot %s of container %s: %s", name, id, s.out ? s.out : "");
	return err_object(e, "%s", id);
}

static int pct_allow_device(struct lxc_backend *b, const char *id, const char *rule, struct err *e)
{
	return lxc_native_allow_device(b->set, id, rule, e);
}

static int pct_deny_device(struct lxc_backend *b, const char *id, const char *rule, struct err *e)
{
	return lxc_native_deny_device(b->set, id, rule, e);
}

const struct lxc_backend_ops lxc_backend_pct = {
	.name = "pct",
	.is_pve = true,
	.has_raw_lines = true,
	.open = pct_open,
	.list = pct_list,
	.facts = pct_facts,
	.place = pct_place,
	.start = pct_start,
	.stop = pct_stop,
	.exec = pct_exec,
	.config_apply = pct_config_apply,
	.allow_device = pct_allow_device,
	.deny_device = pct_deny_device,
	.snapshot = pct_snapshot,
	.push = pct_push,
};
