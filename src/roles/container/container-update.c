/* SPDX-License-Identifier: Apache-2.0 */
#include "container-update.h"

#include "container-packages.h"
#include "container-variant.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "rpmver.h"
#include "strbuf.h"
#include "err-container.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define SHOWN_MAX 8u

static bool is_like(const char *release, const char *like)
{
	struct kernel_package a, b;

	if (kernel_package_parse(like, &b) < 0)
		return true;
	return kernel_package_parse(release, &a) == 0 && strcmp(a.variant, b.variant) == 0 &&
	       strcmp(a.arch, b.arch) == 0;
}

const char *container_update_choose(char *const *releases, const char *wanted, const char *like)
{
	bool any = strcmp(wanted, "latest") == 0;
	const char *best = NULL;

	for (; releases && *releases; releases++)
		if ((any || strncmp(*releases, wanted, strlen(wanted)) == 0) && is_like(*releases, like) &&
		    (!best || rpm_version_compare(*releases, best) > 0))
			best = *releases;
	return best;
}

/* -- what there is -- */

static int push_once(char ***v, const char *s)
{
	return strv_contains(*v, s) ? 0 : strv_push(v, s);
}

/* A directory of lib/modules or usr/src/kernels is named by its kernel. */
static int list_dir(const struct host *h, const char *path, char ***list)
{
	int fd = h ? path_open_at(h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT) : -ENOENT;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int r = 0;

	if (!d) {
		close_fdp(&fd);
		return 0;
	}
	while (r == 0 && (de = readdir(d)))
		if (name_is_safe(de->d_name) && de->d_name[0] >= '0' && de->d_name[0] <= '9')
			r = push_once(list, de->d_name);
	(void)closedir(d);
	return r;
}

static int take_ref(const char *name, enum store_kind kind _unused_, const char *id _unused_, void *arg)
{
	const char *slash = strrchr(name, '/');

	return push_once(arg, slash ? slash + 1 : name);
}

static int list_local(const struct host *host, const struct container_ktree_options *o, char ***list,
		      struct err *e)
{
	static const char *const dirs[] = { "lib/modules", "usr/src/kernels" };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++) {
		r = list_dir(host, dirs[i], list);
		if (r == 0)
			r = list_dir(o->node, dirs[i], list);
	}
	if (r == 0 && o->store)
		r = store_ref_list(o->store, "kernels", take_ref, list);
	return r < 0 && r != -ENOENT ? err_errno(e, r, "listing the kernels there are") : 0;
}

/* Without repositories what lies here is still a choice. */
static int list_offered(const struct host *host, const struct container_env *env, const char *running,
			const struct container_ktree_options *o, char ***list, struct err *e)
{
	_cleanup_(err_done) struct err why = ERR_INIT;
	_cleanup_strv_ char **offered = NULL;
	int r = o->no_packages ? 0 : container_packages_kernels(host, env, running, o, &offered, &why);

	if (r == -ENOMEM || r == -ERR_INTERRUPTED) {
		err_move(e, &why);
		return r;
	}
	if (r < 0)
		log_warn("the package manager offers no kernels: %s",
			 why.reason ? why.reason : err_sentence(r));
	for (char **v = offered; v && *v; v++)
		if (push_once(list, *v) < 0)
			return err_oom(e);
	return 0;
}

static int none_fits(char *const *list, const char *wanted, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(65536);
	size_t n = strv_len(list);

	for (size_t i = 0; i < n && i < SHOWN_MAX; i++)
		(void)strbuf_printf(&t, "%s%s", i ? ", " : "", list[i]);
	(void)err_set(e, ERR_KERNEL_UNKNOWN, "no kernel begins with %s; there %s %s%s", wanted,
		      n == 1 ? "is" : "are", n ? strbuf_str(&t) : "none", n > SHOWN_MAX ? ", …" : "");
	return err_object(e, "%s", wanted);
}

static int choose(const struct host *host, const struct container_env *env, const char *wanted,
		  const struct container_ktree_options *o, char **ret, struct err *e)
{
	_cleanup_free_ char *running = NULL;
	_cleanup_strv_ char **list = NULL;
	const char *best;
	int r = host_kernel_release(host, &running);

	if (r < 0)
		return err_errno(e, r, "the running kernel's release");
	r = list_offered(host, env, running, o, &list, e);
	if (r == 0)
		r = list_local(host, o, &list, e);
	if (r < 0)
		return r;
	best = container_update_choose(list, wanted, running);
	if (!best)
		return none_fits(list, wanted, e);
	log_info("kernel %s stands for %s", best, wanted);
	*ret = strdup(best);
	return *ret ? 0 : err_oom(e);
}

/* A release that ends in its architecture (and variant) has nothing left to be chosen. */
static bool is_whole(const char *wanted)
{
	struct kernel_package p;

	return kernel_package_parse(wanted, &p) == 0;
}

int container_update_release(const struct host *host, const struct container_env *env, const char *wanted,
			     const struct container_ktree_options *o, char **ret, struct err *e)
{
	int r;

	if (wanted && !is_whole(wanted))
		return choose(host, env, wanted, o, ret, e);
	if (wanted)
		return (*ret = strdup(wanted)) ? 0 : err_oom(e);
	r = host_kernel_release(host, ret);
	return r < 0 ? err_errno(e, r, "the running kernel's release") : 0;
}
