/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-installer.h"

#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "lxc-cache.h"
#include "lxc-enter.h"
#include "lxc-ops.h"
#include "path.h"
#include "payload.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"
#include "err-lxc.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define INSTALLER     "nvidia-installer"
#define UNINSTALLER   "usr/bin/nvidia-uninstall"
#define INSTALLER_LOG "/var/log/nvidia-installer.log"
#define SCRATCH_NAME  "nvdriver-unpack"
#define SCRATCH_PARENT                                                                                       \
	"/var/tmp" /* on a disk: /tmp is memory on newer systems, and counts as the container's */
#define UNPACKED_TIMES	4
#define LOG_MAX		((size_t)16 << 20)
#define LOG_LINES	50
#define HELP_MAX	((size_t)256 << 10)
#define HELP_TIMEOUT_S	30
#define NOBODY		65534
#define FILES_TIMEOUT_S 120

/* -- options -- */

/* Which releases know an option; 0 = all. `other` is an older or newer spelling. */
static const struct {
	const char *option, *other;
	unsigned since;
} options[] = {
	{ "--silent", NULL, 0 },
	{ "--accept-license", NULL, 0 },
	/* never left out: without it an installation in a container always fails */
	{ "--no-kernel-module", "--no-kernel-modules", 0 },
	{ "--no-x-check", NULL, 0 },
	{ "--no-nouveau-check", NULL, 0 },
	{ "--no-nvidia-modprobe", NULL, 319 },
	{ "--no-dkms", NULL, 304 },
	{ "--no-backup", NULL, 0 },
	{ "--no-check-for-alternate-installs", NULL, 340 },
	{ "--skip-depmod", NULL, 510 },
	{ "--no-systemd", NULL, 455 },
	{ "--no-rebuild-initramfs", NULL, 510 },
	{ "--no-install-compat32-libs", NULL, 346 },
};

static bool is_option_char(char c)
{
	return c == '-' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool lists(struct span help, const char *option)
{
	size_t n = strlen(option);

	for (size_t i = 0; help.p && i + n <= help.len; i++)
		if (memcmp(help.p + i, option, n) == 0 && (i == 0 || !is_option_char(help.p[i - 1])) &&
		    (i + n == help.len || !is_option_char(help.p[i + n])))
			return true;
	return false;
}

/* NULL = left out. */
static const char *spelling(size_t i, struct span help, unsigned long branch)
{
	if (!help.len)
		return branch >= options[i].since ? options[i].option : NULL;
	if (lists(help, options[i].option))
		return options[i].option;
	if (options[i].other && lists(help, options[i].other))
		return options[i].other;
	return options[i].other ? options[i].option : NULL;
}

int lxc_installer_options(const char *version, struct span help, const char *tmpdir, const char *log_file,
			  char ***ret)
{
	unsigned long branch = strtoul(version, NULL, 10);
	_cleanup_free_ char *log = str_printf("--log-file-name=%s", log_file);
	_cleanup_strv_ char **v = NULL;
	int r = log ? 0 : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(options); i++) {
		const char *word = spelling(i, help, branch);

		r = word ? strv_push(&v, word) : 0;
	}
	if (r >= 0)
		r = strv_push(&v, log);
	/* Two words: the package's own unpacking looks for them too. */
	if (r >= 0)
		r = strv_push(&v, "--tmpdir");
	if (r >= 0)
		r = strv_push(&v, tmpdir);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

/* -- asking the installer -- */

/* Tells a file from any other of its name. */
static char *stamp_of(const struct cachedir *c, const char *name)
{
	struct stat st;

	if (fstatat(c->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	return str_printf("%llu %llu %lld.%09ld\n", (unsigned long long)st.st_size,
			  (unsigned long long)st.st_ino, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static char *help_known(const struct cachedir *c, const char *file, const char *stamp)
{
	_cleanup_free_ char *text = NULL;
	size_t len, n = strlen(stamp);

	if (read_file_at(c->fd, file, HELP_MAX, &text, &len) < 0 || strncmp(text, stamp, n) != 0)
		return NULL;
	return strdup(text + n);
}

static int unpack_installer(const struct cachedir *c, const char *name, int dir)
{
	static char *const only[] = { (char *)INSTALLER, NULL };
	const struct runfile_selection which = { .only = only };
	const struct runfile_options o = { 0 };
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	int r = runfile_open_at(c->fd, name, &rf, NULL);

	return r < 0 ? r : runfile_extract_into(rf, dir, &which, &o, NULL, NULL);
}

static char *help_ask(int dir)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("asking the installer for its options");

	(void)spawn_argv(&s, "./" INSTALLER, "--advanced-options", NULL);
	s.cwd_fd = dir;
	s.capture = s.merge = s.no_network = true;
	s.capture_max = HELP_MAX / 2;
	s.timeout_s = HELP_TIMEOUT_S;
	s.uid = s.gid = NOBODY;
	if (spawn_run(&s, NULL) < 0 || s.status != 0 || !s.out ||
	    !lists((struct span){ s.out, s.out_len }, "--silent"))
		return NULL;
	return TAKE_PTR(s.out);
}

int lxc_installer_learn(const struct cachedir *c, const char *name, char **ret)
{
	_cleanup_free_ char *file = str_printf("%s.options", name), *stamp = stamp_of(c, name), *help = NULL,
			    *text = NULL;
	_cleanup_close_ int dir = -EBADF;
	char scratch[64];

	*ret = NULL;
	if (!file)
		return -ENOMEM;
	if (!stamp)
		return 0;
	*ret = help_known(c, file, stamp);
	if (*ret || tmpname_random(scratch, sizeof(scratch)) < 0 || mkdirat(c->fd, scratch, 0711) < 0)
		return 0;
	dir = dir_open_at(c->fd, scratch);
	if (dir >= 0 && unpack_installer(c, name, dir) >= 0)
		help = help_ask(dir);
	(void)tree_remove(c->fd, scratch);
	text = help ? str_printf("%s%s", stamp, help) : NULL;
	if (text)
		(void)publish_bytes(c->fd, file, text, strlen(text), 0644);
	else
		log_debug("%s does not tell its options; those of its release are used", name);
	*ret = TAKE_PTR(help);
	return 0;
}

/* -- space -- */

struct need {
	dev_t device;
	uint64_t bytes, free;
};

/* The directory may be made later: its nearest parent decides. */
static int dir_of(int root_fd, const char *dir)
{
	_cleanup_free_ char *path = strdup(dir + strspn(dir, "/"));

	while (path && *path) {
		int fd = path_open_at(root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
		char *slash = strrchr(path, '/');

		if (fd != -ENOENT)
			return fd;
		*(slash ? slash : path) = '\0';
	}
	return path ? openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -ENOMEM;
}

static int need_look(int root_fd, const json_t *o, struct need *ret, struct err *e)
{
	const char *dir = json_string_value(json_object_get(o, "dir"));
	_cleanup_close_ int fd = dir ? dir_of(root_fd, dir) : -EINVAL;
	struct statvfs v;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || fstatvfs(fd, &v) < 0)
		return err_errno(e, fd < 0 ? fd : -errno, "cannot look at %s in the container",
				 dir ? dir : "?");
	*ret = (struct need){ st.st_dev, (uint64_t)json_integer_value(json_object_get(o, "bytes")),
			      (uint64_t)v.f_bavail * v.f_frsize };
	return 0;
}

/* What goes onto the same file system is added up. */
static int space_inside(int root_fd, void *arg, json_t **ret _unused_, struct err *e)
{
	const json_t *needs = arg, *o;
	struct need all[8];
	size_t i, n = 0;

	json_array_foreach (needs, i, o) {
		const char *dir = json_string_value(json_object_get(o, "dir"));
		uint64_t bytes = 0;
		int r = n < ARRAY_LEN(all) ? need_look(root_fd, o, &all[n], e) : -EINVAL;

		if (r < 0)
			return r;
		n++;
		for (size_t k = 0; k < n; k++)
			bytes += all[k].device == all[n - 1].device ? all[k].bytes : 0;
		if (bytes > all[n - 1].free)
			return err_set(
			    e, ERR_LXC_NO_SPACE, "%s in the container has %llu MiB free, %llu MiB are needed",
			    dir, (unsigned long long)all[n - 1].free >> 20, (unsigned long long)bytes >> 20);
	}
	return 0;
}

static int in_place(const struct plan_ctx *c, const json_t *args, lxc_inside_fn fn, void *arg, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_(lxc_subject_done) struct lxc_subject s = { 0 };
	int r = lxc_subject_open(c, args, &s, e);

	if (r >= 0)
		r = s.b->ops->place(s.b, s.id, &place, e);
	return r < 0 ? r : lxc_inside(&place, 0, FILES_TIMEOUT_S, fn, arg, NULL, e);
}

static int space_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
		       struct err *e)
{
	int r = in_place(c, args, space_inside, json_object_get(args, "needs"), e);

	return r < 0 ? err_object(e, "%s", json_string_value(json_object_get(args, "id"))) : 0;
}

const struct op_type lxc_op_space = {
	.name = "lxc-space",
	.stage = lxc_stage_nothing,
	.apply = space_apply,
	.undo = lxc_undo_nothing,
};

/* -- running it -- */

static const char *text_of(const json_t *args, const char *key)
{
	const char *text = json_string_value(json_object_get(args, key));

	return text ? text : "";
}

/* Only a name of ours is ever removed. */
static bool is_scratch(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && strcmp(slash + 1, SCRATCH_NAME) == 0;
}

static int scratch_drop(int root_fd, void *arg, json_t **ret _unused_, struct err *e)
{
	const json_t *args = arg;
	const char *scratch = text_of(args, "scratch"), *name;
	_cleanup_close_ int parent = path_open_parent(root_fd, scratch, false, PATH_IN_ROOT, &name);
	int r = parent < 0 || !is_scratch(scratch) ? 0 : tree_remove(parent, name);

	return r < 0 ? err_errno(e, r, "cannot remove %s in the container", scratch) : 0;
}

/* An empty directory, and no log of an earlier run to be taken for this one's. */
static int scratch_make(int root_fd, void *arg, json_t **ret, struct err *e)
{
	const json_t *args = arg;
	const char *scratch = text_of(args, "scratch"), *name, *log_name;
	_cleanup_close_ int parent = -EBADF, log_dir = -EBADF;
	int r = scratch_drop(root_fd, arg, ret, e);

	if (r < 0)
		return r;
	log_dir = path_open_parent(root_fd, text_of(args, "log"), false, PATH_IN_ROOT, &log_name);
	if (log_dir >= 0)
		(void)unlinkat(log_dir, log_name, 0);
	parent = path_open_parent(root_fd, scratch, true, PATH_IN_ROOT, &name);
	if (parent < 0 || mkdirat(parent, name, 0700) < 0)
		r = err_errno(e, parent < 0 ? parent : -errno, "cannot make %s in the container", scratch);
	return r;
}

static void scratch_end(const struct plan_ctx *c, const json_t *args)
{
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (in_place(c, args, scratch_drop, (void *)args, &own) < 0)
		log_warn("%s", own.reason ? own.reason : "the installer's files stay in the container");
}

static bool runs_in(const char *pid, const char *mount_ns, const char *scratch)
{
	_cleanup_free_ char *ns = str_printf("/proc/%s/ns/mnt", pid), *cwd = str_printf("/proc/%s/cwd", pid);
	char link[4096];
	ssize_t n;

	n = ns ? readlink(ns, link, sizeof(link) - 1) : -1;
	if (n < 0)
		return false;
	link[n] = '\0';
	if (strcmp(link, mount_ns) != 0)
		return false;
	n = cwd ? readlink(cwd, link, sizeof(link) - 1) : -1;
	if (n < 0)
		return false;
	link[n] = '\0';
	return strstr(link, scratch) != NULL;
}

/* The installer's programs live in its scratch directory. Those of a run that was killed go on until they are killed too. */
static void kill_stragglers(pid_t init_pid, const char *scratch)
{
	_cleanup_free_ char *ns = str_printf("/proc/%d/ns/mnt", (int)init_pid);
	const struct dirent *de;
	char mount_ns[64];
	ssize_t n = ns ? readlink(ns, mount_ns, sizeof(mount_ns) - 1) : -1;
	DIR *d = n < 0 ? NULL : opendir("/proc");

	if (!d)
		return;
	mount_ns[n] = '\0';
	while ((de = readdir(d)))
		if (de->d_name[0] >= '1' && de->d_name[0] <= '9' && runs_in(de->d_name, mount_ns, scratch))
			(void)kill((pid_t)strtol(de->d_name, NULL, 10), SIGKILL);
	(void)closedir(d);
}

static void stragglers_end(struct lxc_subject *s, const char *scratch)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };

	if (is_scratch(scratch) && s->b->ops->place(s->b, s->id, &place, NULL) >= 0 && place.init_pid > 0)
		kill_stragglers(place.init_pid, scratch);
}

/* The end of the installer's log, for the message; NULL when there is none. */
static char *log_end(struct lxc_subject *s, const char *path)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_close_ int root = -EBADF;
	_cleanup_free_ char *text = NULL;
	unsigned lines = LOG_LINES;
	size_t len;

	if (s->b->ops->place(s->b, s->id, &place, NULL) < 0)
		return NULL;
	root = lxc_place_open(&place);
	if (root < 0 || lxc_read_beneath(root, path, LOG_MAX, &text, &len) < 0)
		return NULL;
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	while (len > 0 && (text[len - 1] != '\n' || --lines > 0))
		len--;
	return strdup(text + len);
}

static bool says_no_space(const char *text)
{
	return text && strstr(text, "No space left on device");
}

static int installer_failed(struct lxc_subject *s, const json_t *args, struct err *own, struct err *e)
{
	_cleanup_free_ char *log = log_end(s, text_of(args, "log"));
	int code = says_no_space(log) || says_no_space(own->reason) ? ERR_LXC_NO_SPACE : ERR_LXC_INSTALLER;

	if (own->code == ERR_INTERRUPTED) {
		err_move(e, own);
		return -ERR_INTERRUPTED;
	}
	(void)err_set(e, code, "%s%s%s", own->reason ? own->reason : "the installer failed",
		      log && *log ? "\nits log ends:\n" : "", log ? log : "");
	return err_object(e, "%s", s->id);
}

/* Status 0 is not enough: it ends so without having done anything when it believes its work is not wanted. */
static int tool_check(struct lxc_subject *s, struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_close_ int root = -EBADF;
	int r = s->b->ops->place(s->b, s->id, &place, e);

	if (r < 0)
		return r;
	root = lxc_place_open(&place);
	if (root >= 0 && !path_exists(root, "usr/bin/nvidia-smi"))
		return err_set(e, ERR_LXC_INSTALLER, "the installer ended well and left no nvidia-smi");
	return 0;
}

static int installer_apply(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			   struct err *e)
{
	_cleanup_(lxc_subject_done) struct lxc_subject s = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_strv_ char **argv = NULL;
	int r = jopt_strv(args, "argv", &argv, e);

	if (r >= 0)
		r = lxc_subject_open(c, args, &s, e);
	if (r >= 0)
		r = in_place(c, args, scratch_make, (void *)args, e);
	if (r < 0)
		return r == -ENOSPC ? err_recode(e, ERR_LXC_NO_SPACE) : r;
	r = lxc_run(s.b, s.id, "the driver's installer", argv,
		    (unsigned)json_integer_value(json_object_get(args, "timeout_s")), NULL, &own);
	if (r >= 0)
		r = tool_check(&s, &own);
	if (r < 0) {
		r = installer_failed(&s, args, &own, e);
		stragglers_end(&s, text_of(args, "scratch"));
	}
	scratch_end(c, args);
	return r;
}

static void uninstall(struct lxc_subject *s)
{
	char *const argv[] = { (char *)"nvidia-uninstall", (char *)"--silent", NULL };
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	_cleanup_close_ int root = -EBADF;
	int r = s->b->ops->place(s->b, s->id, &place, &own);

	root = r < 0 ? r : lxc_place_open(&place);
	if (root >= 0 && !path_exists(root, UNINSTALLER))
		return;
	if (r >= 0)
		r = lxc_run(s->b, s->id, "the driver's uninstaller", argv, s->set.install_timeout_s, NULL,
			    &own);
	if (r < 0)
		log_warn("container %s keeps what the driver's installer left: %s", s->id,
			 own.reason ? own.reason : "it cannot be reached");
}

static int installer_undo(const struct plan_ctx *c, const json_t *args, const json_t *undo _unused_,
			  struct err *e _unused_)
{
	_cleanup_(lxc_subject_done) struct lxc_subject s = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;

	if (lxc_subject_open(c, args, &s, &own) < 0) {
		log_warn("%s", own.reason ? own.reason : "the container cannot be reached");
		return 0;
	}
	stragglers_end(&s, text_of(args, "scratch"));
	uninstall(&s);
	scratch_end(c, args);
	return 0;
}

const struct op_type lxc_op_installer = {
	.name = "lxc-installer",
	.stage = lxc_stage_nothing,
	.apply = installer_apply,
	.undo = installer_undo,
	.show = lxc_show_inside,
};

/* -- the plan -- */

struct package {
	char *from, *to, *scratch, *help; /* owned; from NULL in a dry run */
	uint64_t bytes;
};

static void package_done(struct package *k)
{
	freep(&k->from);
	freep(&k->to);
	freep(&k->scratch);
	freep(&k->help);
}

static int package_fetch(const struct lxc_ct *ct, const char *name, struct package *k, struct err *e)
{
	_cleanup_(cachedir_done) struct cachedir c = { -EBADF, NULL };
	struct stat st;
	int r = lxc_cache_ensure(ct->x, &ct->conf, ct->want.version, &k->from, e);

	if (r >= 0)
		r = lxc_cache_open(ct->x, false, &c, e);
	if (r < 0)
		return r;
	if (stat(k->from, &st) < 0)
		return err_errno(e, -errno, "cannot open %s", k->from);
	k->bytes = (uint64_t)st.st_size;
	return lxc_installer_learn(&c, name, &k->help) < 0 ? err_oom(e) : 0;
}

/* A directory chosen by hand is where everything goes. */
static int package_look(const struct lxc_ct *ct, struct package *k, struct err *e)
{
	const struct lxc *x = ct->x;
	const char *tmp = x->set->container_tmp;
	_cleanup_free_ char *name =
	    ct->conf.runfile ? strdup(ct->conf.runfile)
			     : str_printf("NVIDIA-Linux-%s-%s.run", x->host.machine, ct->want.version);

	k->to = name ? str_printf("%s/%s", tmp, name) : NULL;
	k->scratch = str_printf("%s/" SCRATCH_NAME, strcmp(tmp, "/tmp") == 0 ? SCRATCH_PARENT : tmp);
	if (!k->to || !k->scratch)
		return err_oom(e);
	return x->en->dry_run ? 0 : package_fetch(ct, name, k, e);
}

static int space_plan(struct lxc_ct *ct, const struct package *k, struct plan *p, struct err *e)
{
	json_t *args = lxc_op_args(ct),
	       *needs = json_pack("[{s:s, s:I}, {s:s, s:I}]", "dir", ct->x->set->container_tmp, "bytes",
				  (json_int_t)k->bytes, "dir", k->scratch, "bytes",
				  (json_int_t)(k->bytes * UNPACKED_TIMES));

	if (!args || !needs || json_object_set_new(args, "needs", needs) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_space, args, "see that container %s has space for the run file", ct->id) <
		       0
		   ? err_oom(e)
		   : 0;
}

static int push_plan(struct lxc_ct *ct, const struct package *k, struct plan *p, struct err *e)
{
	json_t *args = lxc_op_args(ct);

	if (!args || json_object_set_new(args, "from", json_string(k->from ? k->from : "")) < 0 ||
	    json_object_set_new(args, "to", json_string(k->to)) < 0 ||
	    json_object_set_new(args, "mode", json_integer(0755)) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_push, args, "push the run file into container %s", ct->id) < 0 ? err_oom(e)
												  : 0;
}

static int exec_plan(struct lxc_ct *ct, const struct package *k, struct plan *p, struct err *e)
{
	struct span help = k->help ? SPAN(k->help) : SPAN_NULL;
	_cleanup_strv_ char **words = NULL;
	json_t *args = lxc_op_args(ct), *argv = json_pack("[s]", k->to);

	if (lxc_installer_options(ct->want.version, help, k->scratch, INSTALLER_LOG, &words) < 0)
		return err_oom(e);
	for (char **w = words; argv && *w; w++)
		(void)json_array_append_new(argv, json_string(*w));
	if (!args || !argv || json_object_set_new(args, "argv", argv) < 0 ||
	    json_object_set_new(args, "log", json_string(INSTALLER_LOG)) < 0 ||
	    json_object_set_new(args, "scratch", json_string(k->scratch)) < 0 ||
	    json_object_set_new(args, "timeout_s", json_integer(ct->x->set->install_timeout_s)) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_installer, args, "run the vendor's installer in container %s", ct->id) < 0
		   ? err_oom(e)
		   : 0;
}

static int drop_plan(struct lxc_ct *ct, const struct package *k, struct plan *p, struct err *e)
{
	json_t *args = lxc_op_args(ct);

	if (!args || json_object_set_new(args, "argv", json_pack("[s, s, s]", "rm", "-f", k->to)) < 0 ||
	    json_object_set_new(args, "what", json_string("remove the pushed run file")) < 0)
		return err_oom(e);
	return plan_add(p, &lxc_op_exec, args, "remove the pushed run file from container %s", ct->id) < 0
		   ? err_oom(e)
		   : 0;
}

int lxc_installer_plan(struct lxc_ct *ct, struct plan *p, struct err *e)
{
	_cleanup_(package_done) struct package k = { 0 };
	int r = package_look(ct, &k, e);

	if (r >= 0)
		r = space_plan(ct, &k, p, e);
	if (r >= 0)
		r = push_plan(ct, &k, p, e);
	if (r >= 0)
		r = exec_plan(ct, &k, p, e);
	if (r >= 0 && !ct->x->opt->keep_runfile)
		r = drop_plan(ct, &k, p, e);
	return r;
}
