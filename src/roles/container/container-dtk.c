/* SPDX-License-Identifier: Apache-2.0 */
#include "container-dtk.h"

#include "container-env.h"
#include "fd.h"
#include "interrupt.h"
#include "log.h"
#include "modbuild.h"
#include "path.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"
#include "err-container.h"

#include <fcntl.h>
#include <string.h>

#define POLL_S		 15
#define START_WAIT_S	 600
#define BUILD_WAIT_S	 3600
#define SIDE_WAIT_S	 300 /* sources of the storage and GDRCopy containers */
#define ENV_FILE_MAX	 ((size_t)4 << 20)
#define MODULES_FILE_MAX ((size_t)16 << 20)
#define PROGRAM_NAME	 "nvdriver"
#define HELPER		 "tmp/install.sh"
#define HELPER_NAME	 "install.sh"
#define STOPPED		 1 /* of a wait: a signal asks to end */

/* One side at work. */
struct side {
	const struct container_dtk *d;
	struct container_env env;
	int fd; /* owned: the shared directory */
	char *release; /* owned: running kernel */
	char generation[64]; /* of the driver container's start; "" unknown */
	char **build_env; /* owned: what the driver container wrote */
};

static void side_done(struct side *s)
{
	container_env_done(&s->env);
	close_fdp(&s->fd);
	free(s->release);
	strv_freep(&s->build_env);
}

static bool pause_for(const struct side *s, unsigned seconds)
{
	const struct container_dtk_ops *ops = s->d->ops;

	return ops->sleep ? ops->sleep(ops->arg, seconds * 1000) : interrupt_sleep(seconds * 1000);
}

static int side_init(struct side *s, struct err *e)
{
	int r = container_env_read(s->d->environment, &s->env, e);

	if (r < 0)
		return r;
	r = host_kernel_release(s->d->h, &s->release);
	return r < 0 ? err_errno(e, r, "the running kernel's release") : 0;
}

static int shared_open(struct side *s, struct err *e)
{
	s->fd = path_open_at(s->d->h->root_fd, DTK_SHARED, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (s->fd >= 0)
		return 0;
	(void)err_set(e, ERR_DTK_SHARED, "/%s: %s", DTK_SHARED, strerror(-s->fd));
	return err_object(e, "/%s", DTK_SHARED);
}

/* -- markers -- */

static int marker_put(const struct side *s, const char *name, struct err *e)
{
	_cleanup_free_ char *text = str_printf("%s\n", s->generation);
	int r = text ? publish_bytes(s->fd, name, text, strlen(text), 0644) : -ENOMEM;

	return r < 0 ? err_errno(e, r, "/%s/%s", DTK_SHARED, name) : 0;
}

static bool marker_there(const struct side *s, const char *name)
{
	return faccessat(s->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* There, and an answer to this start of the driver container. One left by a builder that worked for an earlier start is taken away,
 * which makes that builder end and begin anew. */
static bool marker_answers(const struct side *s, const char *name)
{
	_cleanup_free_ char *text = NULL;

	if (read_line_at(s->fd, name, &text) < 0)
		return false;
	if (strcmp(text, s->generation) == 0)
		return true;
	log_warn("/%s/%s belongs to an earlier start and is removed", DTK_SHARED, name);
	(void)publish_unlink(s->fd, name);
	return false;
}

static int timed_out(struct err *e, const char *what, unsigned seconds)
{
	(void)err_set(e, ERR_DTK_TIMEOUT, "%s did not appear within %u s", what, seconds);
	return err_object(e, "%s", what);
}

/* 0 = it answers, STOPPED, -ERR_DTK_BROKEN when the builder says that it cannot, or -ERR_DTK_TIMEOUT. */
static int marker_wait(const struct side *s, const char *name, unsigned limit_s, struct err *e)
{
	for (unsigned waited = 0; !marker_answers(s, name); waited += POLL_S) {
		if (marker_answers(s, DTK_BROKEN))
			return err_set(e, ERR_DTK_BROKEN,
				       "the driver toolkit's container has no kernel %s to build for",
				       s->release);
		if (waited >= limit_s)
			return timed_out(e, name, limit_s);
		log_info("waiting for the driver toolkit's container (%s)", name);
		if (pause_for(s, POLL_S))
			return STOPPED;
	}
	return 0;
}

static void stay_while(const struct side *s, const char *name)
{
	while (marker_there(s, name))
		if (pause_for(s, POLL_S))
			return;
}

static void stay(const struct side *s)
{
	while (!pause_for(s, POLL_S))
		;
}

/* -- the driver container's side -- */

static int run(const struct side *s, const char *command, char *const *environment, int *ret_status)
{
	*ret_status = s->d->ops->run(s->d->ops->arg, command, environment);
	return 0;
}

/* What an earlier start left. The word that lets a builder begin goes first. */
static int clear_shared(const struct side *s, struct err *e)
{
	static const char *const markers[] = { DTK_PREPARED, DTK_STARTED,  DTK_BUILT,
					       DTK_BROKEN,   DTK_FS_BUILT, DTK_GDRCOPY_DONE };
	static const char *const trees[] = { DTK_MODULES, "drivers", "data" };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(markers); i++)
		r = publish_unlink(s->fd, markers[i]);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(trees); i++)
		r = tree_remove(s->fd, trees[i]);
	if (r == 0)
		r = publish_sweep(s->fd);
	return r < 0 ? err_errno(e, r, "clearing /%s", DTK_SHARED) : 0;
}

/* A tree appears under its name once it is whole; what a killed start left of one is begun anew. */
static int tree_put(int from_fd, const char *from, int to_fd, const char *to)
{
	_cleanup_free_ char *part = str_printf(".%s.part", to);
	int r = part ? tree_remove(to_fd, part) : -ENOMEM;

	if (r == 0)
		r = tree_copy(from_fd, from, to_fd, part, TREE_COPY_REFLINK);
	if (r == 0)
		r = tree_sync(to_fd, part);
	return r < 0 ? r : publish_rename(to_fd, part, to_fd, to, false);
}

static int file_put(int from_fd, int to_fd, const char *to, mode_t mode)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(to_fd);
	int r = tmpname_open(&t, mode);

	if (r == 0)
		r = copy_fd(from_fd, t.fd, NULL);
	return r < 0 ? r : publish_tmp(&t, to, true);
}

/* The builder runs the very same program, under the three names it is called by. */
static int put_program(const struct side *s, struct err *e)
{
	static const char *const names[] = { "nvidia-driver", "ocp_dtk_entrypoint", "vgpu-util" };
	_cleanup_close_ int fd = open(s->d->self, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : file_put(fd, s->fd, PROGRAM_NAME, 0755);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++)
		r = publish_symlink(s->fd, names[i], PROGRAM_NAME);
	return r < 0 ? err_errno(e, r, "giving %s to the builder", s->d->self) : 0;
}

static int put_helper(const struct side *s, struct err *e)
{
	_cleanup_close_ int fd =
	    path_open_at(s->d->h->root_fd, HELPER, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	int r = fd == -ENOENT ? 0 : fd < 0 ? fd : file_put(fd, s->fd, HELPER_NAME, 0755);

	return r < 0 ? err_errno(e, r, "giving /%s to the builder", HELPER) : 0;
}

static int put_trees(const struct side *s, struct err *e)
{
	_cleanup_close_ int data = s->d->data ? open(s->d->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
	int r = tree_put(s->d->h->root_fd, "drivers", s->fd, "drivers");

	if (r < 0)
		return err_errno(e, r, "giving /drivers to the builder");
	r = data < 0 ? 0 : tree_put(data, ".", s->fd, "data");
	return r < 0 ? err_errno(e, r, "giving %s to the builder", s->d->data) : 0;
}

/* May hold passwords of proxies: for the owner alone. */
static int put_environment(const struct side *s, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf all = STRBUF_INIT(ENV_FILE_MAX);
	_cleanup_free_ char *text = NULL;
	int r = dtk_env_write(s->d->environment, &text);

	if (r == 0)
		(void)strbuf_puts(&all, text);
	if (r == 0 && s->d->data)
		(void)strbuf_puts(&all, "NVDRIVER_DATADIR='/" DTK_SHARED "/data'\n");
	if (r == 0)
		r = strbuf_error(&all);
	if (r == 0)
		r = publish_bytes(s->fd, DTK_ENV, strbuf_str(&all), all.len, 0600);
	return r < 0 ? err_errno(e, r, "/%s/%s", DTK_SHARED, DTK_ENV) : 0;
}

static int give(struct side *s, struct err *e)
{
	int r = clear_shared(s, e);

	if (r == 0)
		r = put_program(s, e);
	if (r == 0)
		r = put_helper(s, e);
	if (r == 0)
		r = put_trees(s, e);
	if (r == 0)
		r = put_environment(s, e);
	if (r == 0 && tmpname_random(s->generation, sizeof(s->generation)) < 0)
		r = err_set(e, ERR_DTK_SHARED, "no random name");
	return r < 0 ? r : marker_put(s, DTK_PREPARED, e);
}

/* -- modules across -- */

struct copying {
	int to_fd;
};

static int copy_entry(const struct tree_entry *en, void *arg)
{
	const struct copying *c = arg;
	_cleanup_close_ int from = -EBADF, dir = -EBADF;
	const char *name;

	if (!S_ISREG(en->st.st_mode))
		return 0;
	from = openat(en->dirfd, en->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return -errno;
	dir = path_open_parent(c->to_fd, en->path, true, PATH_IN_ROOT, &name);
	return dir < 0 ? dir : file_put(from, dir, name, 0644);
}

/* Every file of the handed over directory to its place below lib/modules/<release>; others there stay. */
static int take_modules(const struct side *s, struct err *e)
{
	_cleanup_free_ char *path = str_printf("lib/modules/%s", s->release);
	_cleanup_close_ int from = dir_open_at(s->fd, DTK_MODULES);
	struct copying c = { .to_fd = -EBADF };
	int r = !path ? -ENOMEM : from < 0 ? from : 0;

	if (r == 0)
		r = path_mkdirs(s->d->h->root_fd, path, 0755, PATH_IN_ROOT);
	if (r == 0)
		r = c.to_fd = path_open_at(s->d->h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (r >= 0)
		r = tree_walk(from, TREE_SORTED, copy_entry, &c);
	close_fdp(&c.to_fd);
	return r < 0 ? err_errno(e, r, "taking the builder's modules to /lib/modules/%s", s->release) : 0;
}

static int driver_with_builder(struct side *s, int *ret_status, struct err *e)
{
	const struct container_dtk *d = s->d;
	int r = shared_open(s, e);

	if (r == 0)
		r = give(s, e);
	if (r == 0)
		r = marker_wait(s, DTK_STARTED, d->start_wait_s ? d->start_wait_s : START_WAIT_S, e);
	if (r == 0)
		r = marker_wait(s, DTK_BUILT, d->build_wait_s ? d->build_wait_s : BUILD_WAIT_S, e);
	if (r == STOPPED) {
		*ret_status = 0;
		return 0;
	}
	if (r == -ERR_DTK_BROKEN) {
		err_done(e);
		log_warn("the driver toolkit does not fit kernel %s: building here", s->release);
		return run(s, "init", d->environment, ret_status);
	}
	if (r == 0)
		r = take_modules(s, e);
	return r < 0 ? r : run(s, "load", d->environment, ret_status);
}

int container_dtk_driver(const struct container_dtk *d, int *ret_status, struct err *e)
{
	_cleanup_(side_done) struct side s = { .d = d, .fd = -EBADF };
	int r = side_init(&s, e);

	if (r < 0)
		return r;
	if (s.env.rhcos_image_missing || d->ops->is_fast(d->ops->arg, d->h, d->environment))
		return run(&s, "init", d->environment, ret_status);
	return driver_with_builder(&s, ret_status, e);
}

/* -- the builder's side -- */

/* Names without the leading directory; '?' = a small kernel may lack it, or nobody asked for it. */
static const char *const load_order[] = {
	"i2c-core?",  "ipmi_msghandler?", "ipmi_devintf?", "video?",	      "nvidia",
	"nvidia-uvm", "nvidia-modeset",	  "nvidia-drm?",   "nvidia-peermem?", NULL
};

static int generation_read(struct side *s)
{
	_cleanup_free_ char *text = NULL;
	int r = read_line_at(s->fd, DTK_PREPARED, &text);

	if (r < 0)
		return r;
	(void)snprintf(s->generation, sizeof(s->generation), "%s", text);
	return 0;
}

static int wait_prepared(struct side *s, struct err *e)
{
	unsigned limit_s = s->d->start_wait_s ? s->d->start_wait_s : START_WAIT_S;

	for (unsigned waited = 0; generation_read(s) < 0; waited += POLL_S) {
		if (waited >= limit_s)
			return timed_out(e, DTK_PREPARED, limit_s);
		log_info("waiting for the driver container (%s)", DTK_PREPARED);
		if (pause_for(s, POLL_S))
			return STOPPED;
	}
	return 0;
}

static int read_build_env(struct side *s, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file_at(s->fd, DTK_ENV, ENV_FILE_MAX, &text, &len);

	if (r < 0)
		return err_errno(e, r, "/%s/%s", DTK_SHARED, DTK_ENV);
	r = dtk_env_parse((struct span){ text, len }, &s->build_env, e);
	return r < 0 ? err_wrap(e, "/%s/%s", DTK_SHARED, DTK_ENV) : 0;
}

/* The driver's commands look for its files in /drivers. */
static int link_drivers(const struct side *s, struct err *e)
{
	int r = path_exists(s->d->h->root_fd, "drivers")
		    ? 0
		    : publish_symlink(s->d->h->root_fd, "drivers", "/" DTK_SHARED "/drivers");

	return r < 0 ? err_errno(e, r, "/drivers") : 0;
}

/* A file of lib/modules/<release>; an absent one is empty. */
static int read_modules_file(const struct side *s, const char *name, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *path = str_printf("lib/modules/%s/%s", s->release, name);
	_cleanup_close_ int fd =
	    path ? path_open_at(s->d->h->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT)
		 : -ENOMEM;

	*ret_len = 0;
	return fd == -ENOENT ? 0 : fd < 0 ? fd : read_fd(fd, MODULES_FILE_MAX, ret, ret_len);
}

static int wanted_files(const struct side *s, char ***ret, struct err *e)
{
	_cleanup_free_ char *dep = NULL, *builtin = NULL;
	size_t dep_len, builtin_len;
	int r = read_modules_file(s, "modules.dep", &dep, &dep_len);

	if (r == 0)
		r = read_modules_file(s, "modules.builtin", &builtin, &builtin_len);
	if (r < 0)
		return err_errno(e, r, "reading the module index of %s", s->release);
	return dtk_module_files((struct span){ dep, dep_len }, (struct span){ builtin, builtin_len },
				load_order, ret, e);
}

/* modules.dep, modules.order and the others beside them. */
static int note_index(const struct tree_entry *en, void *arg)
{
	if (strchr(en->path, '/') || !S_ISREG(en->st.st_mode) || !span_starts(SPAN(en->name), "modules."))
		return 0;
	return strv_push(arg, en->name);
}

static int copy_one(int from_fd, int to_fd, const char *path)
{
	_cleanup_close_ int from =
	    path_open_at(from_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, PATH_IN_ROOT);
	_cleanup_close_ int dir = -EBADF;
	const char *name;

	if (from < 0)
		return from;
	dir = path_open_parent(to_fd, path, true, PATH_IN_ROOT, &name);
	return dir < 0 ? dir : file_put(from, dir, name, 0644);
}

#define MODULES_PART "." DTK_MODULES ".part"

static int copy_files(const struct side *s, int from_fd, char *const *files, struct err *e)
{
	_cleanup_close_ int to = dir_open_at(s->fd, MODULES_PART);
	int r = to < 0 ? to : 0;

	for (char *const *f = files; r == 0 && f && *f; f++) {
		r = copy_one(from_fd, to, *f);
		if (r < 0)
			return err_errno(e, r, "handing /lib/modules/%s/%s over", s->release, *f);
	}
	return r;
}

static int fill_modules(const struct side *s, int from_fd, char *const *files, struct err *e)
{
	int r = tree_remove(s->fd, MODULES_PART);

	if (r == 0)
		r = tree_remove(s->fd, DTK_MODULES);
	if (r == 0)
		r = mkdirat(s->fd, MODULES_PART, 0755) < 0 ? -errno : 0;
	if (r == 0)
		r = copy_files(s, from_fd, files, e);
	if (r == 0)
		r = publish_rename(s->fd, MODULES_PART, s->fd, DTK_MODULES, false);
	return r < 0 && (!e || !e->code) ? err_errno(e, r, "/%s/%s", DTK_SHARED, DTK_MODULES) : r;
}

static int hand_over(const struct side *s, struct err *e)
{
	_cleanup_free_ char *path = str_printf("lib/modules/%s", s->release);
	_cleanup_strv_ char **files = NULL;
	_cleanup_close_ int from = -EBADF;
	int r = path ? wanted_files(s, &files, e) : err_oom(e);

	if (r < 0)
		return r;
	r = from = path_open_at(s->d->h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (r >= 0)
		r = tree_walk(from, TREE_SORTED, note_index, &files);
	return r < 0 ? err_errno(e, r, "/lib/modules/%s", s->release) : fill_modules(s, from, files, e);
}

/* -- storage and GDRCopy modules -- */

static int find_p2p(const struct tree_entry *en, void *arg)
{
	char **found = arg;

	if (strcmp(en->name, "nv-p2p.c") != 0 || !S_ISREG(en->st.st_mode))
		return 0;
	*found = strndup(en->path, strlen(en->path) - strlen("/nv-p2p.c"));
	return *found ? -ECANCELED : -ENOMEM; /* ends the walk */
}

/* The directory of the driver's sources that has nv-p2p.c, as an absolute path. */
static char *source_directory(const struct side *s)
{
	_cleanup_close_ int usr_src =
	    path_open_at(s->d->h->root_fd, "usr/src", O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	_cleanup_free_ char *found = NULL, *dir = NULL;
	_cleanup_close_ int fd = -EBADF;

	dir = s->env.driver_version ? str_printf("nvidia-%s", s->env.driver_version) : NULL;
	fd = usr_src >= 0 && dir ? dir_open_at(usr_src, dir) : -EBADF;
	if (fd < 0)
		return NULL;
	(void)tree_walk(fd, TREE_SORTED, find_p2p, &found);
	return found ? str_printf("/usr/src/%s/%s", dir, found) : NULL;
}

static const struct side_module {
	const char *what, *directory, *target, *marker;
} side_modules[] = {
	{ "the storage module", "gds-nvidia-fs/src", NULL, DTK_FS_BUILT },
	{ "GDRCopy", "gdrcopy", "driver", DTK_GDRCOPY_DONE },
};

static int wait_directory(const struct side *s, const struct side_module *m, struct err *e)
{
	for (unsigned waited = 0; !path_exists(s->fd, m->directory); waited += POLL_S) {
		if (waited >= SIDE_WAIT_S)
			return timed_out(e, m->directory, SIDE_WAIT_S);
		if (pause_for(s, POLL_S))
			return STOPPED;
	}
	return 0;
}

static unsigned jobs(const struct host *h)
{
	uint64_t bytes = 0;

	(void)host_memory_available(h, &bytes);
	return modbuild_jobs(host_cpu_count(h), bytes);
}

static int build_side_module(const struct side *s, const struct side_module *m, struct err *e)
{
	_cleanup_(spawn_done) struct spawn sp = SPAWN_INIT(m->what);
	_cleanup_free_ char *sources = source_directory(s);
	int r = wait_directory(s, m, e);

	if (r != 0)
		return r;
	spawn_argv(&sp, "make", "-s", NULL);
	spawn_arg(&sp, "-j%u", jobs(s->d->h));
	spawn_arg(&sp, "-C/%s/%s", DTK_SHARED, m->directory);
	spawn_arg(&sp, "KVER=%s", s->release);
	if (sources)
		spawn_arg(&sp, "NVIDIA_SRC_DIR=%s", sources);
	if (m->target)
		spawn_argv(&sp, m->target, NULL);
	r = spawn_check(&sp, e);
	return r < 0 ? r : marker_put(s, m->marker, e);
}

/* Extras: the driver is handed over whatever becomes of them, and their own containers say what they lack. */
static void build_side_modules(const struct side *s)
{
	const bool wanted[ARRAY_LEN(side_modules)] = { s->env.gds, s->env.gdrcopy };

	for (size_t i = 0; i < ARRAY_LEN(side_modules) && !interrupt_pending(); i++) {
		_cleanup_(err_done) struct err e = ERR_INIT;

		if (wanted[i] && build_side_module(s, &side_modules[i], &e) < 0)
			log_warn("%s was not built: %s", side_modules[i].what, e.reason ? e.reason : "");
	}
}

static int take_build_env(struct side *s, struct err *e)
{
	int r = read_build_env(s, e);

	if (r < 0)
		return r;
	container_env_done(&s->env);
	return container_env_read(s->build_env, &s->env, e);
}

static int build(struct side *s, int *ret_status, struct err *e)
{
	int r = marker_put(s, DTK_STARTED, e);

	if (r == 0)
		r = take_build_env(s, e);
	if (r == 0)
		r = link_drivers(s, e);
	if (r < 0)
		return r;
	(void)run(s, "build", s->build_env, ret_status);
	if (*ret_status != 0)
		return 0;
	r = hand_over(s, e);
	if (r == 0)
		build_side_modules(s);
	return r < 0 ? r : marker_put(s, DTK_BUILT, e);
}

static bool has_kernel(const struct side *s)
{
	_cleanup_free_ char *path = str_printf("lib/modules/%s/vmlinuz", s->release);

	return path && path_exists(s->d->h->root_fd, path);
}

static int builder_with_driver(struct side *s, int *ret_status, struct err *e)
{
	int r = wait_prepared(s, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (!has_kernel(s)) {
		log_warn("this driver toolkit is for another kernel than %s", s->release);
		r = marker_put(s, DTK_BROKEN, e);
		if (r == 0)
			stay_while(s, DTK_BROKEN);
		return r;
	}
	r = build(s, ret_status, e);
	if (r == 0 && *ret_status == 0)
		stay_while(s, DTK_BUILT);
	return r;
}

static int builder_fast(struct side *s, struct err *e)
{
	int r;

	(void)generation_read(s);
	log_info("the loaded modules are those that are wanted: nothing to build");
	r = marker_put(s, DTK_STARTED, e);
	if (r == 0)
		r = marker_put(s, DTK_BUILT, e);
	if (r == 0)
		stay_while(s, DTK_BUILT);
	return r;
}

int container_dtk_builder(const struct container_dtk *d, int *ret_status, struct err *e)
{
	_cleanup_(side_done) struct side s = { .d = d, .fd = -EBADF };
	int r = side_init(&s, e);

	*ret_status = 0;
	if (r < 0)
		return r;
	if (s.env.rhcos_image_missing) {
		log_info("there is no driver toolkit for this node: nothing to build here");
		stay(&s);
		return 0;
	}
	r = shared_open(&s, e);
	if (r < 0)
		return r;
	return d->ops->is_fast(d->ops->arg, d->h, d->environment) ? builder_fast(&s, e)
								  : builder_with_driver(&s, ret_status, e);
}
