/* SPDX-License-Identifier: Apache-2.0 */
#include "container-export.h"

#include "fd.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"
#include "tree.h"
#include "err-container.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>

#define STAGE	   "var/lib/nvdriver/stage"
#define LAYERS_MAX 64
#define MOUNTINFO  ((size_t)16 << 20)

/* -- what is mounted -- */

/* mountinfo writes blanks and backslashes as three octal digits. */
static char *unescape(struct span s)
{
	char *out = malloc(s.len + 1), *o = out;

	for (size_t i = 0; out && i < s.len; i++) {
		uint32_t byte;

		if (s.p[i] == '\\' && s.len - i > 3 &&
		    parse_octal((struct span){ s.p + i + 1, 3 }, 0377, &byte) == 0) {
			*o++ = (char)byte;
			i += 3;
		} else {
			*o++ = s.p[i];
		}
	}
	if (out)
		*o = '\0';
	return out;
}

static bool is_below(const char *point, const char *path)
{
	size_t n = strlen(path);

	return strncmp(point, path, n) == 0 && (point[n] == '\0' || point[n] == '/');
}

static size_t depth(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

static int push_by_depth(char ***list, const char *point)
{
	int r = strv_push(list, point);
	size_t i = strv_len(*list);

	for (char **v = *list; r == 0 && i > 1 && depth(v[i - 1]) < depth(v[i - 2]); i--) {
		char *swap = v[i - 1];

		v[i - 1] = v[i - 2];
		v[i - 2] = swap;
	}
	return r;
}

int container_mounts_below(struct span text, const char *path, char ***ret)
{
	_cleanup_strv_ char **list = NULL;
	struct span line, word = SPAN_NULL;

	while (span_line(&text, &line)) {
		_cleanup_free_ char *point = NULL;
		unsigned field = 0;

		while (field < 5 && span_word(&line, &word))
			field++;
		if (field < 5)
			continue;
		point = unescape(word);
		if (!point)
			return -ENOMEM;
		if (is_below(point, path) && push_by_depth(&list, point) < 0)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(list);
	return 0;
}

static int mounts_below(const struct container *c, const char *path, char ***ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = c->h->proc_fd < 0 ? -ENOENT
				  : read_file_at(c->h->proc_fd, "self/mountinfo", MOUNTINFO, &text, &len);

	return r < 0 ? r : container_mounts_below((struct span){ text, len }, path, ret);
}

/* -- taking away -- */

/* One detach of the topmost layer takes everything in it along; recursion by us would reach what its peers share. */
int container_unexport(struct container *c, struct err *e)
{
	_cleanup_free_ char *target = container_path(c, CONTAINER_EXPORT_DIR);
	int done = 0;

	if (!target)
		return err_oom(e);
	for (unsigned layer = 0; layer < LAYERS_MAX; layer++) {
		_cleanup_strv_ char **points = NULL;
		int r = mounts_below(c, target, &points);

		if (r == -ENOENT || (r == 0 && !points)) {
			if (done)
				log_info("export removed from /" CONTAINER_EXPORT_DIR);
			return done;
		}
		if (r < 0)
			return err_errno(e, r, "reading the list of mounts");
		r = c->ops->umount(c->ops->arg, points[0], MNT_DETACH);
		if (r < 0 && r != -EINVAL && r != -ENOENT)
			return err_errno(e, r, "cannot take away what is mounted at %s", points[0]);
		done = 1;
	}
	return err_set(e, ERR_MOUNT_BUSY, "more than %d layers are mounted at %s", LAYERS_MAX, target);
}

/* -- showing -- */

static int do_mount(struct container *c, const char *source, const char *target, const char *type,
		    unsigned long flags, struct err *e)
{
	int r = c->ops->mount(c->ops->arg, source, target, type, flags, NULL);

	if (r == -EPERM)
		return err_set(e, ERR_MOUNT_DENIED, "mounting at %s", target);
	return r < 0 ? err_errno(e, r, "mounting at %s", target) : 0;
}

/* sysfs stays out of the clone but for its top. */
static int close_sys(struct container *c, struct err *e)
{
	_cleanup_free_ char *sys = container_path(c, "sys");
	int r = sys ? do_mount(c, NULL, sys, NULL, MS_UNBINDABLE | MS_REC, e) : err_oom(e);

	return r < 0 ? r : do_mount(c, NULL, sys, NULL, MS_PRIVATE, e);
}

static int make_dirs(struct container *c, const char *const *dirs, struct err *e)
{
	for (; *dirs; dirs++) {
		int r = path_mkdirs(c->h->root_fd, *dirs, 0755, PATH_IN_ROOT);

		if (r < 0)
			return err_errno(e, r, "cannot make /%s", *dirs);
	}
	return 0;
}

/* The clone, at <stage>/root, then at its place. */
static int clone_and_move(struct container *c, const char *stage, struct err *e)
{
	static const char *const inner[] = { STAGE "/root", NULL };
	_cleanup_free_ char *root = container_path(c, ""), *clone = str_printf("%s/root", stage);
	_cleanup_free_ char *itself = clone ? str_printf("%s/" STAGE, clone) : NULL;
	_cleanup_free_ char *target = container_path(c, CONTAINER_EXPORT_DIR);
	int r;

	if (!root || !itself || !target)
		return err_oom(e);
	r = make_dirs(c, inner, e);
	if (r == 0)
		r = do_mount(c, root, clone, NULL, MS_BIND | MS_REC, e);
	if (r == 0)
		r = do_mount(c, NULL, clone, NULL, MS_PRIVATE | MS_REC, e);
	if (r < 0)
		return r;
	(void)c->ops->umount(c->ops->arg, itself, MNT_DETACH);
	r = do_mount(c, NULL, clone, NULL, MS_SHARED | MS_REC, e);
	return r < 0 ? r : do_mount(c, clone, target, NULL, MS_MOVE, e);
}

int container_export(struct container *c, struct err *e)
{
	static const char *const dirs[] = { CONTAINER_EXPORT_DIR, STAGE, NULL };
	_cleanup_free_ char *stage = container_path(c, STAGE);
	int r = stage ? make_dirs(c, dirs, e) : err_oom(e);

	if (r == 0)
		r = close_sys(c, e);
	if (r == 0)
		r = do_mount(c, "nvdriver", stage, "tmpfs", 0, e);
	if (r < 0)
		return r;
	r = do_mount(c, NULL, stage, NULL, MS_PRIVATE, e);
	if (r == 0)
		r = clone_and_move(c, stage, e);
	(void)c->ops->umount(c->ops->arg, stage, MNT_DETACH);
	if (r < 0)
		return err_wrap(e, "showing the driver at /" CONTAINER_EXPORT_DIR);
	if (container_selinux(c) != SELINUX_ABSENT)
		container_label(c, CONTAINER_EXPORT_DIR "/dev", "container_file_t");
	log_info("driver files shown at /" CONTAINER_EXPORT_DIR);
	return 0;
}

/* -- SELinux -- */

enum container_selinux container_selinux(const struct container *c)
{
	_cleanup_free_ char *mounts = NULL, *mode = NULL;

	if (c->h->proc_fd < 0 || c->node->sys_fd < 0 ||
	    read_file_at(c->h->proc_fd, "1/mounts", MOUNTINFO, &mounts, NULL) < 0 ||
	    !strstr(mounts, " selinuxfs ") || read_line_at(c->node->sys_fd, "fs/selinux/enforce", &mode) < 0)
		return SELINUX_ABSENT;
	return strcmp(mode, "1") == 0 ? SELINUX_ENFORCING : SELINUX_PERMISSIVE;
}

struct labelling {
	struct container *c;
	const char *context;
	int first_error;
};

static void label_at(struct labelling *l, int dirfd, const char *name, const char *path)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : l->c->ops->label(l->c->ops->arg, fd, path, l->context);

	if (r < 0 && r != -EOPNOTSUPP && !l->first_error)
		l->first_error = r;
}

static int label_entry(const struct tree_entry *entry, void *arg)
{
	/* The label of a link is nobody's concern, and it could only be set through what it leads to. */
	if (!S_ISLNK(entry->st.st_mode))
		label_at(arg, entry->dirfd, entry->name, entry->path);
	return 0;
}

void container_label(struct container *c, const char *path, const char *type)
{
	_cleanup_free_ char *context = str_printf("system_u:object_r:%s:s0", type);
	struct labelling l = { c, context, 0 };
	_cleanup_close_ int fd = path_open_at(c->h->root_fd, path, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	const char *name;
	_cleanup_close_ int parent = path_open_parent(c->h->root_fd, path, false, PATH_IN_ROOT, &name);

	if (!context || parent < 0)
		return;
	label_at(&l, parent, name, path);
	if (fd >= 0)
		(void)tree_walk(fd, TREE_AS_READ, label_entry, &l);
	if (l.first_error)
		log_warn("cannot label /%s as %s: %s", path, type, strerror(-l.first_error));
}
