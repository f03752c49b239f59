/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-live.h"

#include "fd.h"
#include "lock.h"
#include "log.h"
#include "lxc-cache.h"
#include "lxc-enter.h"
#include "lxc-locked.h"
#include "path.h"
#include "prepare.h"
#include "publish.h"
#include "strbuf.h"
#include "view.h"
#include "err-lxc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ID_DIGITS    12
#define LIVE_LOCK_MS 60000
#define TMPFS_FLAGS  (MS_NOSUID | MS_NODEV)

#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x00000001
#endif

char *lxc_live_name(const char *version, const char *view_id)
{
	return str_printf("%s-%.*s", version, ID_DIGITS, view_id);
}

int lxc_live_version(const char *name, char **ret)
{
	const char *dash = strrchr(name, '-');
	_cleanup_free_ char *version = dash ? span_dup((struct span){ name, (size_t)(dash - name) }) : NULL;

	if (!dash)
		return -EINVAL;
	if (!version)
		return -ENOMEM;
	if (!version_is_valid(version))
		return -EINVAL;
	*ret = TAKE_PTR(version);
	return 0;
}

/* -- what is to be mounted -- */

struct picking {
	const char *version, *arch;
	char *id; /* owned */
};

static int pick(const char *name, enum store_kind kind, const char *id, void *arg)
{
	struct picking *p = arg;
	_cleanup_free_ char *want = str_printf("driver/%s-%s", p->version, p->arch);

	if (!want)
		return -ENOMEM;
	if (kind != STORE_TREE || strcmp(name, want) != 0)
		return 0;
	free(p->id);
	p->id = strdup(id);
	return p->id ? 0 : -ENOMEM;
}

static int tree_find(const struct lxc *x, const char *version, char **ret_id, struct err *e)
{
	struct picking p = { version, x->host.machine, NULL };
	int r;

	if (!x->en->store)
		return -ENOENT;
	r = store_ref_list(x->en->store, "driver/", pick, &p);
	if (r < 0) {
		free(p.id);
		return err_errno(e, r == -ENOENT ? -EIO : r, "cannot read the references of the store");
	}
	*ret_id = p.id;
	return p.id ? 0 : -ENOENT;
}

/* The tree of a run file; the store keeps it, so this happens once for all containers. */
static int tree_make(const struct lxc *x, const struct lxc_ct_config *conf, const char *version,
		     struct err *e)
{
	_cleanup_free_ char *runfile = NULL;
	struct prepare_request q = { .no_modules = true, .passphrase_fd = -1 };
	json_auto_t *stages = NULL;
	char *words[2] = { NULL, NULL };
	int r = lxc_cache_ensure(x, conf, version, &runfile, e);

	if (r < 0)
		return r;
	words[0] = runfile;
	q.source = words;
	q.n_source = 1;
	return prepare_run(x->en, &q, &stages, e);
}

int lxc_live_prepare(const struct lxc *x, const struct lxc_ct_config *conf, const char *version,
		     unsigned extras, char *ret_view_id, struct err *e)
{
	const struct view_options o = { .profile = extras & LXC_EXTRA_GRAPHICS ? DEST_PROFILE_FULL
									       : DEST_PROFILE_COMPUTE,
					.compat32 = extras & LXC_EXTRA_COMPAT32,
					.lock_timeout_s = x->en->lock_timeout_s };
	_cleanup_free_ char *tree = NULL;
	int r = tree_find(x, version, &tree, e);

	if (r == -ENOENT) {
		r = tree_make(x, conf, version, e);
		if (r >= 0)
			r = tree_find(x, version, &tree, e);
		if (r == -ENOENT)
			r = err_set(e, ERR_DRIVER_NOT_PREPARED, "driver %s is not in the store", version);
	}
	if (r >= 0)
		r = view_build(x->en->store, tree, &o, ret_view_id, NULL, e);
	return r < 0 ? err_wrap(e, "driver %s for containers", version) : 0;
}

/* -- the shared directory -- */

bool lxc_mount_is_point(int dirfd, const char *name)
{
	struct statx s;

	return statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &s) == 0 &&
	       (s.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) && (s.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

bool lxc_live_is_mounted(const struct lxc *x)
{
	return lxc_mount_is_point(AT_FDCWD, x->live_dir);
}

int lxc_live_open(const struct lxc *x)
{
	int fd = lxc_live_is_mounted(x) ? dir_open_at(AT_FDCWD, x->live_dir) : -EBADF;

	return fd < 0 ? -EBADF : fd;
}

static int live_error(const struct lxc *x, int r, const char *what, struct err *e)
{
	(void)err_set(e, ERR_LXC_LIVE, "%s %s: %s", what, x->live_dir, strerror(-r));
	return err_object(e, "%s", x->live_dir);
}

static int live_create(const struct lxc *x, struct err *e)
{
	int r = path_mkdirs(x->en->host->root_fd, LXC_LIVE_DIR, 0755, PATH_IN_ROOT);

	if (r < 0)
		return live_error(x, r, "cannot make", e);
	if (!lxc_live_is_mounted(x) &&
	    mount("nvdriver", x->live_dir, "tmpfs", TMPFS_FLAGS, "size=1m,mode=755") < 0)
		return live_error(x, -errno, "cannot mount a file system on", e);
	if (mount(NULL, x->live_dir, NULL, MS_SHARED, NULL) < 0)
		return live_error(x, -errno, "cannot share", e);
	return 0;
}

/* Read-only at the file system itself, not only at one mount of it. */
static int live_writable(const struct lxc *x, bool on)
{
	unsigned long flags = MS_REMOUNT | TMPFS_FLAGS | (on ? 0 : MS_RDONLY);

	return mount(NULL, x->live_dir, NULL, flags, NULL) < 0 ? -errno : 0;
}

struct change {
	const struct lxc *x;
	struct lock lock;
	int fd; /* owned */
};

static void change_done(struct change *c)
{
	if (c->fd >= 0 && live_writable(c->x, false) < 0)
		log_warn("%s stays writable", c->x->live_dir);
	close_fdp(&c->fd);
	lock_release(&c->lock);
}

static int change_begin(const struct lxc *x, struct change *c, struct err *e)
{
	_cleanup_close_ int run = -EBADF;
	int r = path_mkdirs(x->en->host->root_fd, "run/nvdriver", 0755, PATH_IN_ROOT);

	run = r < 0 ? r
		    : path_open_at(x->en->host->root_fd, "run/nvdriver", O_RDONLY | O_DIRECTORY, 0,
				   PATH_IN_ROOT);
	r = run < 0 ? run : lock_file_at(run, "live.lock", LIVE_LOCK_MS, &c->lock);
	if (r == -EAGAIN)
		return err_set(e, ERR_LOCKED, "another run changes %s", x->live_dir);
	if (r < 0)
		return live_error(x, r, "cannot lock", e);
	r = live_create(x, e);
	if (r < 0)
		return r;
	r = live_writable(x, true);
	if (r >= 0)
		r = c->fd = dir_open_at(AT_FDCWD, x->live_dir);
	if (r >= 0)
		(void)publish_sweep(c->fd); /* a link that a killed run was about to put in place */
	return r < 0 ? live_error(x, r, "cannot change", e) : 0;
}

/* An image first; a bind mount of the tree only where no privileged container could write through it, which only the
 * caller knows: so never here. */
static int view_mount(const struct change *c, const char *view_id, const char *name, struct err *e)
{
	enum store_share used;
	int r = view_image(c->x->en->store, view_id, NULL, e);

	if (r < 0)
		return r;
	return store_tree_share(c->x->en->store, view_id, c->fd, name, STORE_RECEIVER_PRIVILEGED, SHARE_EROFS,
				&used, e);
}

int lxc_live_mount(const struct lxc *x, const char *version, const char *view_id, char **ret_name,
		   struct err *e)
{
	_cleanup_(change_done) struct change c = { x, LOCK_INIT, -EBADF };
	_cleanup_free_ char *name = lxc_live_name(version, view_id);
	_cleanup_close_ int live = lxc_live_open(x);
	int r = 0;

	if (!name)
		return err_oom(e);
	if (live < 0 || !lxc_mount_is_point(live, name)) {
		r = change_begin(x, &c, e);
		if (r >= 0 && !lxc_mount_is_point(c.fd, name)) {
			(void)unlinkat(c.fd, name, AT_REMOVEDIR);
			r = view_mount(&c, view_id, name, e);
		}
	}
	if (r < 0)
		return r == -ERR_MOUNT_DENIED || r == -ERR_UNSUPPORTED ? err_recode(e, ERR_LXC_LIVE) : r;
	*ret_name = TAKE_PTR(name);
	return 0;
}

static char *link_read(int fd, const char *link)
{
	char target[256];
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, link, target, sizeof(target) - 1);

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	return name_is_safe(target) ? strdup(target) : NULL;
}

char *lxc_live_link(const struct lxc *x, const char *link)
{
	_cleanup_close_ int fd = lxc_live_open(x);

	return link_read(fd, link);
}

/* Containers with the host's rights over mounts have a mount for a link. create: make it for them if it is not there. */
static int locked_follow(const struct change *c, const char *current, bool create)
{
	int r = create ? lxc_locked_make(c->fd, c->x->live_dir) : 0;

	if (r < 0 || !lxc_mount_is_point(c->fd, LXC_LOCKED))
		return r;
	return lxc_locked_switch(c->fd, c->x->live_dir, current);
}

/* What was current is previous from now on. Back to the one before in one step: in either order a kill would lose a name. */
static int links_put(int fd, const char *current)
{
	_cleanup_free_ char *now = link_read(fd, "current"), *before = link_read(fd, "previous");
	int r = 0;

	if (now && strcmp(now, current) != 0) {
		if (before && strcmp(before, current) == 0) {
			r = publish_exchange(fd, "current", fd, "previous");
			if (r != -EINVAL && r != -ENOSYS)
				return r;
		}
		r = publish_symlink(fd, "previous", now);
	}
	return r < 0 ? r : publish_symlink(fd, "current", current);
}

/* Both are read here, where a directory that cannot be opened is an error. */
static int links_set(const struct lxc *x, const char *current, struct err *e)
{
	_cleanup_(change_done) struct change c = { x, LOCK_INIT, -EBADF };
	int r = change_begin(x, &c, e);

	if (r < 0)
		return r;
	r = links_put(c.fd, current);
	if (r >= 0)
		r = locked_follow(&c, current, false);
	return r < 0 ? live_error(x, r, "cannot switch", e) : 0;
}

int lxc_live_lock(const struct lxc *x, struct err *e)
{
	_cleanup_(change_done) struct change c = { x, LOCK_INIT, -EBADF };
	_cleanup_close_ int live = lxc_live_open(x);
	_cleanup_free_ char *now = link_read(live, "current");
	int r;

	if (!now || lxc_locked_is(live, now))
		return 0;
	r = change_begin(x, &c, e);
	if (r < 0)
		return r;
	r = locked_follow(&c, now, true);
	return r < 0 ? live_error(x, r, "cannot make the part for privileged containers of", e) : 0;
}

int lxc_live_switching(const struct lxc *x, bool begun, struct err *e)
{
	_cleanup_(change_done) struct change c = { x, LOCK_INIT, -EBADF };
	int r = change_begin(x, &c, e);

	if (r < 0)
		return r;
	r = begun ? publish_symlink(c.fd, LXC_SWITCHING, "current") : publish_unlink(c.fd, LXC_SWITCHING);
	return r < 0 ? live_error(x, r, "cannot switch", e) : 0;
}

/* A run killed right after the link was set leaves the part for privileged containers behind. */
static bool is_followed(const struct lxc *x, const char *name)
{
	_cleanup_close_ int live = lxc_live_open(x);

	return live >= 0 && (!lxc_mount_is_point(live, LXC_LOCKED) || lxc_locked_is(live, name));
}

int lxc_live_switch(const struct lxc *x, const char *name, struct err *e)
{
	_cleanup_free_ char *now = lxc_live_link(x, "current");
	int r;

	if (now && strcmp(now, name) == 0 && is_followed(x, name))
		return 0;
	r = links_set(x, name, e);
	return r < 0 ? r : 1;
}

int lxc_live_rollback(const struct lxc *x, char **ret_name, struct err *e)
{
	_cleanup_free_ char *before = lxc_live_link(x, "previous");
	_cleanup_close_ int fd = lxc_live_open(x);
	int r;

	if (!before || !lxc_mount_is_point(fd, before))
		return err_set(e, ERR_UNDO_NOTHING, "no earlier driver is mounted in %s", x->live_dir);
	r = links_set(x, before, e);
	if (r < 0)
		return r;
	*ret_name = TAKE_PTR(before);
	return 0;
}

static bool is_version(const char *name)
{
	return *name != '.' && strcmp(name, "current") != 0 && strcmp(name, "previous") != 0 &&
	       strcmp(name, LXC_LOCKED) != 0;
}

int lxc_live_prune(const struct lxc *x, struct err *e)
{
	_cleanup_(change_done) struct change c = { x, LOCK_INIT, -EBADF };
	_cleanup_free_ char *now = NULL, *before = NULL;
	_cleanup_strv_ char **names = NULL;
	int n = 0, r;

	if (!lxc_live_is_mounted(x))
		return 0;
	r = change_begin(x, &c, e);
	if (r < 0)
		return r;
	now = link_read(c.fd, "current");
	before = link_read(c.fd, "previous");
	r = path_names(c.fd, ".", &names);
	for (char **p = names; r >= 0 && p && *p; p++) {
		if (!is_version(*p) || (now && strcmp(*p, now) == 0) || (before && strcmp(*p, before) == 0))
			continue;
		/* A container that still uses it answers EBUSY: that is the count of users. */
		n += store_tree_unshare(c.fd, *p, NULL) >= 0;
	}
	return r < 0 ? live_error(x, r, "cannot list", e) : n;
}

char *lxc_live_source(const struct lxc *x, bool unprivileged)
{
	return str_printf("%s%s", x->live_dir, unprivileged ? "" : "/" LXC_LOCKED);
}

char *lxc_live_line(const struct lxc *x, bool unprivileged)
{
	_cleanup_free_ char *source = lxc_live_source(x, unprivileged);

	return source
		   ? str_printf("lxc.mount.entry = %s " LXC_LIVE_DEST " none rbind,rslave,ro,create=dir 0 0",
				source)
		   : NULL;
}

/* -- mounts placed into a running container -- */

struct placing {
	int tree_fd; /* a detached mount */
	const char *dest;
	bool is_file;
};

static int place_target(int root_fd, const struct placing *p)
{
	return path_open_at(root_fd, p->dest, O_PATH | (p->is_file ? 0 : O_DIRECTORY), 0, PATH_IN_ROOT);
}

/* In the container's mount name-space, with the host's rights and the container's names: the target is a descriptor
 * resolved beneath the container's root, so the mount lands there or nowhere. */
static int place_inside(int root_fd, void *arg, json_t **ret _unused_, struct err *e)
{
	const struct placing *p = arg;
	_cleanup_close_ int target = place_target(root_fd, p);

	if (target < 0)
		return err_errno(e, target, "cannot open /%s in the container", p->dest);
	if (syscall(SYS_move_mount, p->tree_fd, "", target, "",
		    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_errno(e, -errno, "cannot mount on /%s in the container", p->dest);
	return 0;
}

int lxc_mount_clone(const char *path, bool is_dir)
{
	struct {
		uint64_t attr_set, attr_clr, propagation, userns_fd;
	} attr = { MOUNT_ATTR_NOSUID, 0, MS_SLAVE, 0 };
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (is_dir ? AT_RECURSIVE : 0);
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, flags);

	if (fd < 0)
		return -errno;
	if (is_dir)
		attr.attr_set |= MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (is_dir ? AT_RECURSIVE : 0), &attr,
		    sizeof(attr)) < 0) {
		int r = -errno;

		close_fdp(&fd);
		return r;
	}
	return fd;
}

/* Does the container have a mount on this path, or (beneath) on one below it? */
static bool has_mount(const struct lxc_place *place, const char *dest, bool beneath)
{
	_cleanup_free_ char *path = str_printf("/proc/%d/mountinfo", (int)place->init_pid), *text = NULL;
	_cleanup_free_ char *want = str_printf("/%s%s", dest, beneath ? "/" : "");
	struct span rest, line, word;
	size_t len;

	if (!path || !want || place->init_pid <= 0 ||
	    read_file_at(AT_FDCWD, path, (size_t)4 << 20, &text, &len) < 0)
		return false;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		bool found = false;

		for (unsigned i = 0; i < 5 && span_word(&line, &word); i++)
			found = i == 4 && (beneath ? span_starts(word, want) : span_eq(word, want));
		if (found)
			return true;
	}
	return false;
}

bool lxc_live_is_placed(const struct lxc_place *place, const char *dest)
{
	return has_mount(place, dest, false);
}

bool lxc_live_is_whole(const struct lxc_place *place, const char *dest)
{
	return has_mount(place, dest, false) && has_mount(place, dest, true);
}

static int place_mount(const char *source, bool is_dir, const struct lxc_place *place, const char *dest,
		       struct err *e)
{
	_cleanup_close_ int tree = lxc_mount_clone(source, is_dir);
	struct placing p = { tree, dest, !is_dir };

	if (tree < 0)
		return err_errno(e, tree, "cannot clone the mount %s", source);
	return lxc_inside(place, LXC_INSIDE_HOST_ROOT, 30, place_inside, &p, NULL, e);
}

int lxc_live_place(const char *live_dir, const struct lxc_place *place, const char *dest, struct err *e)
{
	int r = 0;

	if (lxc_live_is_whole(place, dest))
		return 0;
	if (lxc_live_is_placed(place, dest))
		r = lxc_live_unplace(place, dest, e);
	return r < 0 ? r : place_mount(live_dir, true, place, dest, e);
}

int lxc_node_place(const char *host_node, const struct lxc_place *place, const char *path, struct err *e)
{
	return place_mount(host_node, false, place, path, e);
}

static int unplace_inside(int root_fd, void *arg, json_t **ret _unused_, struct err *e)
{
	const struct placing *p = arg;

	/* The working directory is the container's root: what is unmounted is inside, whatever a link makes of the name. */
	if (fchdir(root_fd) == 0 && umount2(p->dest, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL &&
	    errno != ENOENT)
		return err_errno(e, -errno, "cannot unmount /%s in the container", p->dest);
	return 0;
}

int lxc_live_unplace(const struct lxc_place *place, const char *dest, struct err *e)
{
	struct placing p = { -EBADF, dest, false };

	if (!lxc_live_is_placed(place, dest))
		return 0;
	return lxc_inside(place, LXC_INSIDE_HOST_ROOT, 30, unplace_inside, &p, NULL, e);
}
