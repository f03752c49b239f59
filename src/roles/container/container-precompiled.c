/* SPDX-License-Identifier: Apache-2.0 */
#include "container-precompiled.h"

#include "container-banner.h"
#include "container-load.h"
#include "container-prepare.h"
#include "log.h"
#include "modset.h"
#include "path.h"
#include "precompiled.h"
#include "strbuf.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct packages {
	struct container *c;
	const char *driver, *banner; /* borrowed; wanted */
	char **modules; /* owned; wanted */
	bool imported;
	char *found; /* owned; the name of one that fits */
};

static bool fits(const struct packages *k, int dirfd, const char *name)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_(err_done) struct err why = ERR_INIT;

	if (precompiled_open(dirfd, name, 0, &p, &why) < 0) {
		log_warn("the package %s is passed over: %s", name, why.reason ? why.reason : "?");
		return false;
	}
	return precompiled_match(p, k->driver, k->banner, NULL) >= 0;
}

static int try_package(const struct tree_entry *en, void *arg)
{
	struct packages *k = arg;
	struct container *c = k->c;
	const struct modset_import q = { .dirfd = en->dirfd,
					 .path = en->name,
					 .tree_id = c->tree_id,
					 .flavour = c->flavour,
					 .modules = k->modules,
					 .cert_path = c->o.cert };
	_cleanup_(err_done) struct err why = ERR_INIT;
	char key[65];
	bool hit;
	int r;

	if (k->imported || !S_ISREG(en->st.st_mode) || !fits(k, en->dirfd, en->name))
		return 0;
	r = modset_import(c->en->store, &q, key, &hit, &why);
	if (r == -ENOMEM || r == -ERR_INTERRUPTED)
		return r;
	if (r < 0)
		log_warn("the package %s is passed over: %s", en->name,
			 why.reason ? why.reason : err_sentence(r));
	else
		log_info("modules for kernel %s come from the package %s", c->release, en->name);
	k->imported = r == 0;
	return 0;
}

static int import_from(struct container *c, int dir_fd, const char *driver, struct err *e)
{
	_cleanup_free_ char *banner = NULL;
	_cleanup_strv_ char **modules = NULL;
	struct packages k = { .c = c, .driver = driver };
	int r = container_banner(c->h, c->node, c->release, NULL, &banner, NULL, e);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (container_load_modules(c, &modules) < 0)
		return err_oom(e);
	k.banner = banner;
	k.modules = modules;
	r = tree_walk(dir_fd, TREE_SORTED, try_package, &k);
	return r < 0 ? err_errno(e, r, "packages of ready modules") : k.imported;
}

static int open_packages(const struct host *h, const char *driver, const char *flavour)
{
	_cleanup_free_ char *dir = str_printf("usr/src/nvidia-%s/%s/precompiled", driver,
					      strcmp(flavour, "open") == 0 ? "kernel-open" : "kernel");

	return dir ? path_open_at(h->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT) : -ENOMEM;
}

int container_precompiled_import(struct container *c, struct err *e)
{
	_cleanup_free_ char *driver = container_plain_version(c->version);
	_cleanup_close_ int fd = driver ? open_packages(c->h, driver, c->flavour) : -ENOMEM;

	if (fd == -ENOMEM)
		return err_oom(e);
	return fd < 0 ? 0 : import_from(c, fd, driver, e);
}

static int note_package(const struct tree_entry *en, void *arg)
{
	struct packages *k = arg;

	if (!k->found && S_ISREG(en->st.st_mode) && fits(k, en->dirfd, en->name))
		k->found = strdup(en->name);
	return 0;
}

char *container_precompiled_find(const struct host *h, const struct host *node, const char *release,
				 const char *version, const char *flavour)
{
	static const char *const flavours[] = { "proprietary", "open" };
	_cleanup_free_ char *driver = container_plain_version(version), *banner = NULL;
	struct packages k = { .driver = driver };

	if (!driver || container_banner(h, node, release, NULL, &banner, NULL, NULL) < 0)
		return NULL;
	k.banner = banner;
	for (size_t i = 0; i < ARRAY_LEN(flavours); i++) {
		_cleanup_close_ int fd = !flavour || strcmp(flavour, flavours[i]) == 0
					     ? open_packages(h, driver, flavours[i])
					     : -ENOENT;

		if (fd >= 0)
			(void)tree_walk(fd, TREE_SORTED, note_package, &k);
	}
	return k.found;
}
