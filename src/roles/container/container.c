/* SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

#include "container-nodestore.h"
#include "fd.h"
#include "interrupt.h"
#include "jutil.h"
#include "log.h"
#include "path.h"
#include "pci.h"
#include "strbuf.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_DIR	    "var/lib/nvdriver/container"
#define PCI_VENDOR_MELLANOX 0x15b3
#define LOCK_WAIT_S	    60

/* The trailing dot makes the kernel's link to process 1's root a directory name like any other. */
static char *node_root(const char *root, const char *host_root)
{
	if (host_root)
		return strdup(host_root);
	return str_printf("%s/proc/1/root/.", strcmp(root, "/") == 0 ? "" : root);
}

static bool can_hold_store(const char *dir)
{
	return access(dir, W_OK | X_OK) == 0;
}

char *container_default_store(const char *root, const char *host_root)
{
	_cleanup_free_ char *node = node_root(root, host_root);
	_cleanup_free_ char *lib = node ? str_printf("%s/var/lib", node) : NULL;

	if (!lib)
		return NULL;
	if (can_hold_store(lib))
		return str_printf("%s/nvdriver", lib);
	return str_printf("%s/" CONTAINER_RUN_DIR "/nvdriver", strcmp(root, "/") == 0 ? "" : root);
}

char *container_work_store(const char *root, const char *host_root)
{
	int r;

	if (host_root || strcmp(root, "/") != 0 || !can_hold_store("/proc/1/root/./var/lib"))
		return container_default_store(root, host_root);
	r = container_nodestore_attach(CONTAINER_NODE_STORE);
	if (r == 0)
		return strdup(CONTAINER_STORE_MOUNT);
	if (r != -EALREADY)
		log_warn("the node's %s cannot be mounted here (%s): modules can be loaded from it, not "
			 "built in it",
			 CONTAINER_NODE_STORE, strerror(-r));
	return container_default_store(root, host_root);
}

static int open_node(struct container *c, struct err *e)
{
	_cleanup_free_ char *root = node_root(c->h->root, c->o.host_root);
	int r = root ? host_open(root, &c->node, e) : err_oom(e);

	if (r < 0) {
		(void)err_wrap(e, "the node's root");
		return err_next(e, "run the container privileged with the host's process ids, or name the "
				   "root with --host-root");
	}
	return 0;
}

static int learn_release(struct container *c, struct err *e)
{
	int r = 0;

	if (c->o.kernel)
		c->release = strdup(c->o.kernel);
	else
		r = host_kernel_release(c->h, &c->release);
	if (r < 0)
		return err_errno(e, r, "release of the running kernel");
	if (!c->release)
		return err_oom(e);
	return name_is_safe(c->release) ? 0 : err_set(e, ERR_USAGE, "'%s' is no kernel release", c->release);
}

void container_options_fill(struct container_options *o, const struct container_defaults *d)
{
	if (!o->grace_s)
		o->grace_s = d->grace_s;
	if (!o->fabric_wait_s)
		o->fabric_wait_s = d->fabric_wait_s;
	if (!o->module_sets)
		o->module_sets = d->module_sets;
	o->detach |= d->detach;
	o->with_drm |= d->drm;
	o->device_nodes |= d->device_nodes;
	o->install_packages |= d->install_packages;
	o->iommu_identity |= d->iommu_identity;
}

int container_init(struct engine *en, const struct container_env *env, const struct container_options *o,
		   const struct container_ops *ops, struct container *ret, struct err *e)
{
	_cleanup_(container_done) struct container c = { .en = en,
							 .h = en->host,
							 .env = env,
							 .o = *o,
							 .ops = ops,
							 .state = { -EBADF, -EBADF },
							 .lock = CONTAINER_LOCK_INIT,
							 .status = json_object() };
	int r = c.status ? 0 : err_oom(e);

	if (r == 0)
		r = open_node(&c, e);
	if (r == 0)
		r = learn_release(&c, e);
	if (r == 0 && env->driver_version && !(c.version = strdup(env->driver_version)))
		r = err_oom(e);
	if (r < 0)
		return r;
	*ret = c;
	c = (struct container){ .state = { -EBADF, -EBADF }, .lock = CONTAINER_LOCK_INIT };
	return 0;
}

void container_done(struct container *c)
{
	host_freep(&c->node);
	close_fdp(&c->state.journal_fd);
	close_fdp(&c->state.targets_fd);
	container_lock_drop(&c->lock);
	json_decref(c->status);
	free(c->release);
	free(c->version);
	free(c->flavour);
	strv_freep(&c->nodes_made);
}

char *container_path(const struct container *c, const char *relative)
{
	return str_printf("%s/%s", strcmp(c->h->root, "/") == 0 ? "" : c->h->root, relative);
}

/* -- plans -- */

static int open_state_dir(struct container *c, const char *name, int *ret_fd)
{
	_cleanup_free_ char *path = str_printf(STATE_DIR "/%s", name);
	int r = path ? path_mkdirs(c->h->root_fd, path, 0755, PATH_IN_ROOT) : -ENOMEM;

	if (r < 0)
		return r;
	r = path_open_at(c->h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (r < 0)
		return r;
	*ret_fd = r;
	return 0;
}

/* What an earlier run in this same root left half done is taken back before anything is added. */
static int open_state(struct container *c, struct err *e)
{
	int r;

	if (c->state.journal_fd >= 0)
		return 0;
	r = open_state_dir(c, "targets", &c->state.targets_fd);
	if (r == 0)
		r = open_state_dir(c, "journal", &c->state.journal_fd);
	if (r < 0)
		return err_errno(e, r, "cannot keep state in %s", STATE_DIR);
	r = plan_recover(&c->state, e);
	if (r > 0)
		log_info("recovered %d interrupted operation%s", r, r == 1 ? "" : "s");
	return r < 0 ? r : 0;
}

int container_plan_new(const char *title, struct plan **ret, struct err *e)
{
	return plan_new(title, "container", ret) < 0 ? err_oom(e) : 0;
}

/* Each operation is said as it begins; a plan of one is often called like it. */
static bool is_said(const struct plan *p)
{
	for (size_t i = 0; i < p->n_ops; i++)
		if (strcmp(p->ops[i].sentence, p->title) == 0)
			return true;
	return false;
}

int container_apply(struct container *c, struct plan *p, struct err *e)
{
	int r;

	if (!p->n_ops)
		return 0;
	/* Planned for this root by an engine that knows it as the machine: here it is the container's. */
	if (strcmp(p->target, "container") != 0) {
		char *target = strdup("container");

		if (!target)
			return err_oom(e);
		free(p->target);
		p->target = target;
	}
	r = open_state(c, e);
	if (r == 0)
		r = plan_apply(p, &c->state, c->h, LOCK_WAIT_S, NULL, e);
	if (r > 0 && !is_said(p))
		log_info("%s", p->title);
	return r;
}

int container_sleep(struct container *c, unsigned ms, struct err *e)
{
	int sig = c->ops->wait(c->ops->arg, ms);

	if (sig && c->staying)
		c->kept_signal = sig;
	else if (sig)
		interrupt_set(sig);
	return c->staying ? 0 : interrupt_check(e);
}

bool container_rdma_active(const struct container *c)
{
	_cleanup_(pci_list_done) struct pci_list l = { 0 };

	if (!c->env->rdma_wanted || pci_list_read(c->h, &l, NULL) < 0)
		return false;
	for (size_t i = 0; i < l.n; i++)
		if (l.v[i].vendor == PCI_VENDOR_MELLANOX)
			return true;
	return false;
}

/* -- a quick look at many files -- */

static bool link_is(int root_fd, const char *path, const char *want)
{
	_cleanup_close_ int fd = path_open_at(root_fd, path, O_PATH | O_NOFOLLOW, 0, PATH_IN_ROOT);
	char text[PATH_MAX];
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", text, sizeof(text));

	return n >= 0 && want && strlen(want) == (size_t)n && memcmp(text, want, (size_t)n) == 0;
}

static bool entry_is_there(int root_fd, const json_t *entry)
{
	const char *path = json_string_value(json_object_get(entry, "path"));
	const char *type = json_string_value(json_object_get(entry, "type"));
	const json_t *size = json_object_get(entry, "size_bytes") ?: json_object_get(entry, "size");
	struct stat st;

	if (!path || !type || path_stat(root_fd, path, &st, PATH_IN_ROOT) < 0)
		return false;
	if (strcmp(type, "link") == 0)
		return S_ISLNK(st.st_mode) &&
		       link_is(root_fd, path, json_string_value(json_object_get(entry, "target")));
	if (strcmp(type, "dir") == 0)
		return S_ISDIR(st.st_mode);
	return S_ISREG(st.st_mode) && (!size || st.st_size == json_integer_value(size));
}

int container_entries_differ(int root_fd, const json_t *entries)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (entries, i, entry)
		if (!entry_is_there(root_fd, entry))
			return 1;
	return 0;
}
