/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-current.h"

#include "elffile.h"
#include "fd.h"
#include "log.h"
#include "lxc-enter.h"
#include "lxc-live.h"
#include "lxc-state.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* -- proof -- */

/* NULL = right, else a sentence (caller frees). */
static char *library_wrong(int live, const char *name, const char *library, const char *version,
			   const char *machine)
{
	_cleanup_free_ char *path = str_printf("%s/lib/%s.so.1", name, library), *file = NULL;
	_cleanup_close_ int fd = -EBADF;
	const char *so;
	struct stat st;
	struct elf elf;

	if (!path || lxc_resolve_beneath(live, path, &file, &st) < 0 || !S_ISREG(st.st_mode))
		return str_printf("it has no %s.so.1", library);
	so = strstr(file, ".so.");
	if (!so || strcmp(so + 4, version) != 0)
		return str_printf("its %s.so.1 is %s", library, file);
	fd = path_open_at(live, path, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	if (fd < 0 || elf_open(fd, &elf) < 0 || strcmp(elf_machine_name(elf.machine), machine) != 0)
		return str_printf("%s is not a library for %s", file, machine);
	return NULL;
}

/* What a container would be checked for, before any has it. */
static int prove(const struct lxc *x, const char *name, const char *version, struct err *e)
{
	static const char *const libraries[] = { "libcuda", "libnvidia-ml" };
	_cleanup_free_ char *tool = str_printf("%s/bin/nvidia-smi", name), *wrong = NULL;
	_cleanup_close_ int live = lxc_live_open(x);

	for (size_t i = 0; !wrong && i < ARRAY_LEN(libraries); i++)
		wrong = library_wrong(live, name, libraries[i], version, x->host.machine);
	if (!wrong && !(tool && path_exists(live, tool)))
		wrong = strdup("it has no nvidia-smi");
	if (!wrong)
		return 0;
	(void)err_set(e, ERR_LXC_DRIVER, "driver %s is not given to containers: %s", version, wrong);
	return err_object(e, "%s/%s", x->live_dir, name);
}

int lxc_current_mount(const struct lxc *x, const char *version, const char *view_id, char **ret_name,
		      struct err *e)
{
	_cleanup_free_ char *name = NULL;
	int r = lxc_live_mount(x, version, view_id, &name, e);

	if (r >= 0)
		r = prove(x, name, version, e);
	if (r < 0)
		return r;
	*ret_name = TAKE_PTR(name);
	return 0;
}

/* -- the loader's cache -- */

static int soname_push(int dirfd, const char *name, char ***ret)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ char *soname = NULL;
	struct elf elf;

	if (fd < 0 || elf_open(fd, &elf) < 0 || elf_dynamic(&elf, &soname, NULL) < 0 || !soname)
		return 0;
	return strv_push(ret, soname);
}

/* What the loader of a container would know of one driver. */
static int sonames_of(int live, const char *name, char ***ret)
{
	_cleanup_free_ char *path = name ? str_printf("%s/lib", name) : NULL;
	_cleanup_close_ int fd = path && live >= 0 ? dir_open_at(live, path) : -EBADF;
	_cleanup_strv_ char **names = NULL;
	int r = fd < 0 ? 0 : path_names(fd, ".", &names);

	for (char **p = names; r >= 0 && p && *p; p++)
		r = soname_push(fd, *p, ret);
	if (*ret)
		strv_sort(*ret);
	return r;
}

static bool loads_the_same(const struct lxc *x, const char *old, const char *new)
{
	_cleanup_close_ int live = lxc_live_open(x);
	_cleanup_strv_ char **a = NULL, **b = NULL;
	char **p, **q;

	if (sonames_of(live, old, &a) < 0 || sonames_of(live, new, &b) < 0)
		return false;
	for (p = a, q = b; p && q && *p && *q && strcmp(*p, *q) == 0; p++, q++)
		;
	return !(p && *p) && !(q && *q);
}

static bool is_shared(const json_t *record)
{
	const char *d = json_string_value(json_object_get(record, "delivery"));

	return d && (strcmp(d, "shared") == 0 || strcmp(d, "auto") == 0);
}

static int cache_rebuild(const struct lxc *x, const char *id, struct err *e)
{
	char *const argv[] = { (char *)"ldconfig", NULL };
	_cleanup_(lxc_facts_done) struct lxc_facts facts = { 0 };
	int r = x->backend->ops->facts(x->backend, id, &facts, e);

	if (r < 0 || facts.state != LXC_RUNNING)
		return r;
	return lxc_run(x->backend, id, "rebuilding the loader's cache", argv, 0, NULL, e);
}

/* Some libraries have their version in the name they are asked for by: after a switch the loader must learn the new ones. A
 * container that is stopped now learns them when something is installed into it, or at the next switch. */
static void caches_rebuild(const struct lxc *x)
{
	_cleanup_strv_ char **ids = NULL;

	if (lxc_record_ids(x, &ids, NULL) < 0)
		return;
	for (char **id = ids; id && *id; id++) {
		_cleanup_free_ char *target = str_printf("lxc-%s", *id);
		_cleanup_(err_done) struct err own = ERR_INIT;
		json_auto_t *record = NULL;

		if (!target || lxc_record_read(x, target, &record, NULL) < 0 || !is_shared(record))
			continue;
		if (cache_rebuild(x, *id, &own) < 0)
			log_warn("container %s: %s", *id, own.reason ? own.reason : "?");
	}
}

/* Before a switch to that one: do the caches have to follow? Noted first, so that they do even when this run is killed. */
static int caches_begin(const struct lxc *x, const char *name, struct err *e)
{
	_cleanup_free_ char *old = lxc_live_link(x, "current"), *begun = lxc_live_link(x, LXC_SWITCHING);
	int r;

	if (begun)
		return 1;
	if (!old || !name || strcmp(old, name) == 0 || loads_the_same(x, old, name))
		return 0;
	r = lxc_live_switching(x, true, e);
	return r < 0 ? r : 1;
}

static int caches_end(const struct lxc *x, struct err *e)
{
	caches_rebuild(x);
	return lxc_live_switching(x, false, e);
}

int lxc_current_set(const struct lxc *x, const char *name, struct err *e)
{
	int caches = caches_begin(x, name, e), r = caches;

	if (r >= 0)
		r = lxc_live_switch(x, name, e);
	if (r < 0 || !caches)
		return r;
	r = caches_end(x, e);
	return r < 0 ? r : 1;
}

int lxc_current_back(const struct lxc *x, char **ret_name, struct err *e)
{
	_cleanup_free_ char *previous = lxc_live_link(x, "previous");
	int caches = caches_begin(x, previous, e), r = caches;

	if (r >= 0)
		r = lxc_live_rollback(x, ret_name, e);
	return r < 0 || !caches ? r : caches_end(x, e);
}
