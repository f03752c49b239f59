/* SPDX-License-Identifier: Apache-2.0 */
#include "container-rdma.h"

#include "path.h"
#include "strbuf.h"

#include <string.h>

#define OFA	  "usr/src/ofa_kernel"
#define MOFED_OFA "run/mellanox/drivers/" OFA

static int symvers_at(const struct host *h, const char *path, char **ret)
{
	bool top = strcmp(h->root, "/") == 0;

	if (!path)
		return -ENOMEM;
	if (!path_exists(h->root_fd, path))
		return -ENOENT;
	*ret = str_printf("%s/%s", top ? "" : h->root, path);
	return *ret ? 0 : -ENOMEM;
}

/* In the order the driver's own makefile has. */
static int symvers_below(const struct host *h, const char *ofa, const struct container_env *env,
			 const char *release, char **ret)
{
	_cleanup_free_ char *by_machine =
	    str_printf("%s/%s/%s/Module.symvers", ofa, env->arch ? env->arch : "x86_64", release);
	_cleanup_free_ char *by_release = str_printf("%s/%s/Module.symvers", ofa, release);
	_cleanup_free_ char *by_default = str_printf("%s/default/Module.symvers", ofa);
	const char *const paths[] = { by_machine, by_release, by_default };
	int r = -ENOENT;

	for (size_t i = 0; r == -ENOENT && i < ARRAY_LEN(paths); i++)
		r = symvers_at(h, paths[i], ret);
	return r;
}

int container_rdma_symvers(const struct host *container, const struct host *node,
			   const struct container_env *env, const char *release, char **ret)
{
	int r = -ENOENT;

	if (!env->use_host_mofed)
		r = symvers_below(container, MOFED_OFA, env, release, ret);
	if (r == -ENOENT && env->use_host_mofed && node)
		r = symvers_below(node, OFA, env, release, ret);
	return r == -ENOENT ? symvers_below(container, OFA, env, release, ret) : r;
}

static int add_link(struct plan *p, const char *path, const char *target, struct err *e)
{
	json_t *args =
	    json_pack("{s:[{s:s, s:s, s:s}]}", "entries", "path", path, "type", "link", "target", target);
	int r = args ? plan_add(p, &op_files, args, "link /%s to %s", path, target) : -ENOMEM;

	return r < 0 ? err_oom(e) : 1;
}

int container_rdma_links(const struct host *container, const struct container_env *env, const char *release,
			 struct plan *p, struct err *e)
{
	_cleanup_free_ char *headers =
	    str_printf(MOFED_OFA "/%s/%s", env->arch ? env->arch : "x86_64", release);
	_cleanup_free_ char *link = str_printf(MOFED_OFA "/%s", release), *target = NULL;
	int added = 0, r;

	if (!headers || !link || !(target = str_printf("/%s", headers)))
		return err_oom(e);
	if (path_exists(container->root_fd, MOFED_OFA) && !path_exists(container->root_fd, OFA)) {
		r = add_link(p, OFA, "/" MOFED_OFA, e);
		if (r < 0)
			return r;
		added = 1;
	}
	if (path_exists(container->root_fd, headers) && !path_exists(container->root_fd, link)) {
		r = add_link(p, link, target, e);
		if (r < 0)
			return r;
		added = 1;
	}
	return added;
}
