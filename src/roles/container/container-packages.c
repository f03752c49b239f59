/* SPDX-License-Identifier: Apache-2.0 */
#include "container-packages.h"

#include "container-dnf.h"
#include "container-rhel.h"
#include "jutil.h"
#include "log.h"
#include "source.h"
#include "strbuf.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define LOG_NAME "package-manager.log"

/* One use of the package manager, in a private directory that goes away with it. */
struct session {
	struct store_stage stage;
	char *dir; /* owned */
	bool is_temporary; /* outside of the store: somebody only looks */
	int log_fd;
	char *log_path; /* owned; NULL = the output is not kept */
	struct rhel_version rhel;
	struct dnf *dnf;
};
#define SESSION_INIT                                                                                         \
	{                                                                                                    \
		.stage = STORE_STAGE_INIT, .log_fd = -EBADF                                                  \
	}

static void session_done(struct session *s)
{
	dnf_freep(&s->dnf);
	if (s->is_temporary && s->dir)
		(void)tree_remove_path(s->dir);
	store_stage_done(&s->stage);
	close_fdp(&s->log_fd);
	free(s->dir);
	free(s->log_path);
}

/* The log is a help, not a condition. */
static void open_log(struct session *s, const struct container_ktree_options *o)
{
	_cleanup_free_ char *tmp = str_printf("%s/tmp", o->store->path);
	const char *dir = o->log_dir ? o->log_dir : tmp;

	s->log_path = dir ? str_printf("%s/" LOG_NAME, dir) : NULL;
	if (s->log_path)
		s->log_fd = open(s->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (s->log_fd < 0)
		freep(&s->log_path);
}

static void resolve(const struct host *host, const struct container_env *env, const char *release,
		    const struct container_ktree_options *o, struct rhel_version *ret)
{
	_cleanup_(os_release_done) struct os_release node = { 0 };
	struct rhel_facts f = { .user_version = env->rhel_version, .release = release };

	if (rhel_node_os_release(host, o->node, &node) == 0)
		f.node = &node;
	rhel_version_resolve(&f, ret);
	if (ret->origin == RHEL_UNKNOWN)
		log_warn("the release version of kernel %s cannot be told; set RHEL_VERSION", release);
	else if (ret->minor < 0)
		log_info("release version %s, from %s; a minor version is not known", ret->text,
			 rhel_origin_text(ret->origin));
}

static int stage_dir(struct session *s, const struct container_ktree_options *o, struct err *e)
{
	int r;

	if (!o->store)
		return err_set(e, ERR_STORE_MISSING, "there is no store to unpack packages into");
	r = store_stage_begin(o->store, &s->stage, e);
	if (r < 0)
		return r;
	s->dir = store_stage_path(&s->stage);
	if (!s->dir)
		return err_oom(e);
	open_log(s, o);
	return 0;
}

static int temporary_dir(struct session *s, struct err *e)
{
	const char *tmp = getenv("TMPDIR");

	s->dir = str_printf("%s/nvdriver-doctor.XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
	if (!s->dir)
		return err_oom(e);
	if (!mkdtemp(s->dir)) {
		freep(&s->dir);
		return err_errno(e, -errno, "a temporary directory");
	}
	s->is_temporary = true;
	return 0;
}

static int session_open(struct session *s, const struct host *host, const struct container_env *env,
			const char *release, const struct container_ktree_options *o, struct err *e)
{
	struct dnf_setup setup = { .host = host,
				   .rhel = &s->rhel,
				   .arch = env->arch,
				   .releasever = env->releasever,
				   .openshift_version = env->openshift_version,
				   .args = o->dnf_args };
	int r;

	r = o->look_only ? temporary_dir(s, e) : stage_dir(s, o, e);
	if (r < 0)
		return r;
	resolve(host, env, release, o, &s->rhel);
	setup.work_dir = s->dir;
	setup.log_fd = s->log_fd;
	return dnf_open(&setup, &s->dnf, e);
}

static int import(struct store *store, const char *file, const char *release, const struct dnf_package *p,
		  char ret_identity[65], struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_free_ char *build = NULL, *nevra = dnf_package_nevra(p);
	_cleanup_close_ int root = -EBADF, fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_json_ json_t *meta = json_pack("{s:s*, s:s}", "origin", nevra, "repository", p->repository);
	int r;

	if (!meta || !nevra)
		return err_oom(e);
	if (fd < 0)
		return err_errno(e, -errno, "%s", file);
	r = store_stage_begin_root(store, &st, &root, e);
	if (r == 0)
		r = source_kernel_rpm(fd, nevra, release, root, &build, e);
	return r < 0 ? r : ktree_import(&st, release, build, build, meta, ret_identity, e);
}

int container_packages_tree(const struct host *host, const struct container_env *env, const char *release,
			    const struct container_ktree_options *o, struct ktree **ret, struct err *e)
{
	_cleanup_(session_done) struct session s = SESSION_INIT;
	_cleanup_(dnf_package_done) struct dnf_package p = { 0 };
	_cleanup_free_ char *file = NULL, *nevra = NULL;
	struct ktree_search where = { .store = o->store, .release = release, .arch = env->arch };
	char identity[65];
	int r = session_open(&s, host, env, release, o, e);

	if (r == 0)
		r = dnf_find_devel(s.dnf, release, &p, e);
	if (r == 0)
		r = dnf_download(s.dnf, &p, &file, e);
	if (r == 0)
		r = import(o->store, file, release, &p, identity, e);
	if (r < 0)
		return r;
	nevra = dnf_package_nevra(&p);
	log_info("package manager: %s from %s is unpacked, not installed", nevra ? nevra : p.name,
		 p.repository);
	return ktree_find(&where, ret, e);
}

int container_packages_offer(const struct host *host, const struct container_env *env, const char *release,
			     const struct container_ktree_options *o, char **ret, struct err *e)
{
	_cleanup_(session_done) struct session s = SESSION_INIT;
	_cleanup_(dnf_package_done) struct dnf_package p = { 0 };
	_cleanup_free_ char *nevra = NULL;
	int r = session_open(&s, host, env, release, o, e);

	if (r == 0)
		r = dnf_find_devel(s.dnf, release, &p, e);
	if (r < 0)
		return r;
	nevra = dnf_package_nevra(&p);
	*ret = nevra ? str_printf("%s from %s", nevra, p.repository) : NULL;
	return *ret ? 0 : err_oom(e);
}

int container_packages_install(const struct host *host, const struct container_env *env, const char *release,
			       const struct container_ktree_options *o, struct err *e)
{
	_cleanup_(session_done) struct session s = SESSION_INIT;
	_cleanup_(dnf_package_done) struct dnf_package p = { 0 };
	_cleanup_free_ char *nevra = NULL;
	const char *specs[] = { "elfutils-libelf", "elfutils-libelf-devel", NULL, NULL };
	int r = session_open(&s, host, env, release, o, e);

	if (r == 0)
		r = dnf_find_devel(s.dnf, release, &p, e);
	if (r < 0)
		return r;
	nevra = dnf_package_nevra(&p);
	if (!nevra)
		return err_oom(e);
	specs[2] = nevra;
	return dnf_install(s.dnf, specs, e);
}

int container_packages_kernels(const struct host *host, const struct container_env *env, const char *like,
			       const struct container_ktree_options *o, char ***ret, struct err *e)
{
	_cleanup_(session_done) struct session s = SESSION_INIT;
	int r = session_open(&s, host, env, like, o, e);

	return r < 0 ? r : dnf_list_kernels(s.dnf, like, ret, e);
}
