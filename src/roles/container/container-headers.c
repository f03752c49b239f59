/* SPDX-License-Identifier: Apache-2.0 */
#include "container-headers.h"

#include "container-banner.h"
#include "container-nodestore.h"
#include "container-prepare.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define KERNELS_DIR "usr/src/kernels"
#define SOURCES_DIR "usr/src/"

/* -- where it lies -- */

/* 1 = a tree that can be opened, 0 = there is none. First without changing anything; only what a bundle holds is unpacked. */
static int find_tree(struct container *c, struct container_ktree *ret, struct err *e)
{
	struct container_ktree_options o = container_ktree_wishes(c);
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r;

	o.no_packages = o.look_only = true;
	r = container_ktree_find(c->h, c->env, c->release, &o, ret, &why);
	if (r == 0 && !ret->tree) {
		container_ktree_done(ret);
		o.look_only = false;
		r = container_ktree_find(c->h, c->env, c->release, &o, ret, &why);
	}
	if (r == 0)
		return 1;
	if (r != -ENOMEM && r != -ERR_INTERRUPTED)
		return 0;
	err_move(e, &why);
	return r;
}

/* -- mounting -- */

/* NULL: it can be mounted by its path here. The store's own mount allows no second one, but the node has the directory too. */
static int name_on_node(const struct ktree *t, char **ret)
{
	static const char store[] = CONTAINER_STORE_MOUNT "/";

	*ret = NULL;
	if (strncmp(t->output, store, strlen(store)) == 0)
		*ret = str_printf(CONTAINER_NODE_STORE "/%s", t->output + strlen(store));
	else if (container_ktree_is_reachable(t))
		return 0;
	else
		*ret = strdup(t->output);
	return *ret ? 0 : -ENOMEM;
}

/* Read-only where that is possible: whoever compiles against it writes elsewhere. */
static int bind_here(struct container *c, const char *from, const char *target)
{
	int r = c->ops->mount(c->ops->arg, from, target, NULL, MS_BIND, NULL);

	if (r == 0)
		(void)c->ops->mount(c->ops->arg, NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
	return r;
}

static int mount_tree(struct container *c, const struct ktree *t, const char *place)
{
	_cleanup_free_ char *target = container_path(c, place), *of_node = NULL;
	int r = target ? name_on_node(t, &of_node) : -ENOMEM;

	if (r == 0)
		r = path_mkdirs(c->h->root_fd, place, 0755, PATH_IN_ROOT);
	if (r < 0)
		return r;
	r = of_node ? c->ops->mount_from_node(c->ops->arg, of_node, target) : bind_here(c, t->output, target);
	c->headers_mounted = r == 0;
	return r;
}

void container_headers_hide(struct container *c)
{
	_cleanup_free_ char *place = str_printf(KERNELS_DIR "/%s", c->release);
	_cleanup_free_ char *target = place ? container_path(c, place) : NULL;

	if (!c->headers_mounted || !target)
		return;
	c->headers_mounted = false;
	if (c->ops->umount(c->ops->arg, target, MNT_DETACH) == 0)
		(void)unlinkat(c->h->root_fd, place, AT_REMOVEDIR);
}

/* -- files -- */

static int add_link(json_t *entries, const char *path, const char *target)
{
	json_t *link = json_pack("{s:s,s:s,s:s}", "path", path, "type", "link", "target", target);

	return link && json_array_append_new(entries, link) == 0 ? 0 : -ENOMEM;
}

static int add_banner(struct container *c, const struct ktree *t, json_t *entries)
{
	_cleanup_free_ char *banner = NULL, *line = NULL;
	json_t *file;

	if (container_banner(c->h, c->node, c->release, t, &banner, NULL, NULL) < 0)
		return 0;
	line = str_printf("%s\n", banner);
	file = line ? json_pack("{s:o,s:s,s:i,s:I,s:o}", "path",
				json_sprintf("lib/modules/%s/proc/version", c->release), "type", "file",
				"mode", 0644, "size", (json_int_t)strlen(line), "bytes_base64",
				jbytes((const uint8_t *)line, strlen(line)))
		    : NULL;
	return file && json_array_append_new(entries, file) == 0 ? 0 : -ENOMEM;
}

/* It is to be found at `place`; below the root it lies at `lies`, which may be a directory of another name. */
static int list_files(struct container *c, const struct ktree *t, const char *place, const char *lies,
		      json_t *entries)
{
	_cleanup_free_ char *build = str_printf("lib/modules/%s/build", c->release);
	_cleanup_free_ char *symvers = build ? str_printf("%s/Module.symvers", build) : NULL;
	_cleanup_free_ char *to_place = str_printf("/%s", place), *to_lies = str_printf("/%s", lies);
	int r = symvers && to_place && to_lies ? 0 : -ENOMEM;

	if (r == 0 && strcmp(place, lies) != 0)
		r = add_link(entries, place, to_lies);
	if (r == 0 && !path_exists(c->h->root_fd, symvers))
		r = add_link(entries, build, to_place);
	return r < 0 ? r : add_banner(c, t, entries);
}

static int put_files(struct container *c, json_t *entries, struct err *e)
{
	_cleanup_(plan_freep) struct plan *p = NULL;
	int r;

	if (!container_entries_differ(c->h->root_fd, entries))
		return 0;
	r = container_plan_new("the kernel's build tree at its usual places", &p, e);
	if (r == 0 && plan_add(p, &op_files, json_pack("{s:O}", "entries", entries),
			       "/" KERNELS_DIR "/%s, /lib/modules/%s/build and proc/version", c->release,
			       c->release) < 0)
		r = err_oom(e);
	return r < 0 ? r : container_apply(c, p, e);
}

/* -- showing -- */

/* What is below /usr/src is shown with it; NULL for a tree elsewhere. */
static const char *where_it_lies(const struct container *c, const struct ktree *t)
{
	size_t n = strcmp(c->h->root, "/") == 0 ? 0 : strlen(c->h->root);
	bool inside = strncmp(t->output, c->h->root, n) == 0 &&
		      strncmp(t->output + n, "/" SOURCES_DIR, strlen("/" SOURCES_DIR)) == 0;

	return inside && container_ktree_is_reachable(t) ? t->output + n + 1 : NULL;
}

static int show(struct container *c, const struct ktree *t, struct err *e)
{
	_cleanup_free_ char *place = str_printf(KERNELS_DIR "/%s", c->release);
	const char *lies = where_it_lies(c, t);
	_cleanup_json_ json_t *entries = json_array();
	int r = 0;

	if (!place || !entries)
		return err_oom(e);
	if (!lies && strcmp(t->source, t->output) != 0)
		return err_set(e, ERR_UNSUPPORTED, "%s needs %s beside it", t->output, t->source);
	if (!lies)
		r = mount_tree(c, t, place);
	if (r < 0)
		return err_errno(e, r, "%s", t->output);
	if (list_files(c, t, place, lies ?: place, entries) < 0)
		return err_oom(e);
	return put_files(c, entries, e);
}

int container_headers_show(struct container *c, struct err *e)
{
	_cleanup_(container_ktree_done) struct container_ktree t = { 0 };
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r = find_tree(c, &t, e);

	if (r == 0)
		log_info(
		    "no build tree of kernel %s is here: containers that compile against this driver will "
		    "find none at /" KERNELS_DIR,
		    c->release);
	if (r <= 0)
		return r;
	r = show(c, t.tree, &why);
	if (r >= 0) {
		log_info("kernel build tree at /" KERNELS_DIR "/%s: from %s", c->release,
			 container_ktree_from_text(t.from));
		return 0;
	}
	if (r == -ENOMEM || r == -ERR_INTERRUPTED) {
		err_move(e, &why);
		return r;
	}
	log_warn("the kernel's build tree is not shown at /" KERNELS_DIR "/%s: %s", c->release,
		 why.reason ? why.reason : err_sentence(r));
	return 0;
}
