/* SPDX-License-Identifier: Apache-2.0 */
#include "container-nodes.h"

#include "fd.h"
#include "log.h"
#include "path.h"
#include "pci.h"
#include "strbuf.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TEXT_MAX      ((size_t)64 << 10)
#define NODES_MAX     4096
#define MINOR_MAX     0xfffffu
#define MINOR_CONTROL 255
#define MINOR_MODESET 254
#define MODE_ALL      0666
#define CAPS_DIR      "nvidia-caps"

void device_nodes_done(struct device_nodes *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
	*l = (struct device_nodes){ 0 };
}

/* -- texts -- */

int device_major(struct span devices, const char *name, unsigned *ret)
{
	bool character = false;
	struct span line;

	while (span_line(&devices, &line)) {
		struct span rest = line, number, word;
		uint64_t major;

		if (span_ends(span_trim(line), "devices:"))
			character = span_starts(line, "Character");
		else if (character && span_word(&rest, &number) && span_word(&rest, &word) &&
			 span_eq(word, name) && parse_u64(number, 4095, &major) == 0) {
			*ret = (unsigned)major;
			return 0;
		}
	}
	return -ENOENT;
}

int device_field(struct span text, const char *name, uint64_t max, uint64_t *ret)
{
	size_t n = strlen(name);
	struct span line;

	while (span_line(&text, &line))
		if (span_starts(line, name) && line.len > n && line.p[n] == ':')
			return parse_u64(span_trim((struct span){ line.p + n + 1, line.len - n - 1 }), max,
					 ret);
	return -ENOENT;
}

static int field_at(int dirfd, const char *path, const char *name, uint64_t max, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file_at(dirfd, path, TEXT_MAX, &text, &len);

	return r < 0 ? r : device_field((struct span){ text, len }, name, max, ret);
}

/* -- what there is -- */

static int add(struct device_nodes *l, char *name /* stolen */, unsigned major, unsigned minor, mode_t mode)
{
	struct device_node *v = name && l->n < NODES_MAX ? realloc(l->v, (l->n + 1) * sizeof(*v)) : NULL;

	if (!v) {
		free(name);
		return -ENOMEM;
	}
	l->v = v;
	l->v[l->n++] = (struct device_node){ name, major, minor, mode };
	return 0;
}

struct listing {
	struct device_nodes *l;
	unsigned major;
};

static int add_gpu(const struct tree_entry *of, void *arg)
{
	struct listing *to = arg;
	uint64_t minor;

	if (strcmp(of->name, "information") != 0 ||
	    field_at(of->dirfd, of->name, "Device Minor", MINOR_MODESET - 1, &minor) < 0)
		return 0;
	return add(to->l, str_printf("nvidia%u", (unsigned)minor), to->major, (unsigned)minor, MODE_ALL);
}

static int add_capability(const struct tree_entry *of, void *arg)
{
	struct listing *to = arg;
	uint64_t minor, mode;

	if (!S_ISREG(of->st.st_mode) ||
	    field_at(of->dirfd, of->name, "DeviceFileMinor", MINOR_MAX, &minor) < 0 ||
	    field_at(of->dirfd, of->name, "DeviceFileMode", 0777, &mode) < 0)
		return 0;
	return add(to->l, str_printf(CAPS_DIR "/nvidia-cap%u", (unsigned)minor), to->major, (unsigned)minor,
		   (mode_t)mode);
}

static int add_below(const struct host *h, const char *dir, tree_fn fn, struct listing *to)
{
	_cleanup_close_ int fd = path_open_at(h->proc_fd, dir, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return tree_walk(fd, TREE_SORTED, fn, to);
}

/* The driver's own major: its name differs between branches. */
static int add_driver(const struct host *h, struct span devices, struct device_nodes *l)
{
	static const char *const names[] = { "nvidia-frontend", "nvidia", "nvidiactl" };
	struct listing to = { l, 0 };
	int r = -ENOENT;

	for (size_t i = 0; r == -ENOENT && i < ARRAY_LEN(names); i++)
		r = device_major(devices, names[i], &to.major);
	if (r < 0)
		return 0;
	r = add(l, strdup("nvidiactl"), to.major, MINOR_CONTROL, MODE_ALL);
	if (r == 0)
		r = add(l, strdup("nvidia-modeset"), to.major, MINOR_MODESET, MODE_ALL);
	return r < 0 ? r : add_below(h, "driver/nvidia/gpus", add_gpu, &to);
}

int container_nodes_list(const struct host *h, struct device_nodes *ret)
{
	_cleanup_(device_nodes_done) struct device_nodes l = { 0 };
	_cleanup_free_ char *text = NULL;
	struct listing caps = { &l, 0 };
	unsigned uvm;
	size_t len;
	int r = h->proc_fd < 0 ? -ENOENT : read_file_at(h->proc_fd, "devices", TEXT_MAX, &text, &len);

	if (r < 0)
		return r;
	r = add_driver(h, (struct span){ text, len }, &l);
	if (r == 0 && device_major((struct span){ text, len }, "nvidia-uvm", &uvm) == 0) {
		r = add(&l, strdup("nvidia-uvm"), uvm, 0, MODE_ALL);
		if (r == 0)
			r = add(&l, strdup("nvidia-uvm-tools"), uvm, 1, MODE_ALL);
	}
	if (r == 0 && device_major((struct span){ text, len }, "nvidia-caps", &caps.major) == 0)
		r = add_below(h, "driver/nvidia/capabilities", add_capability, &caps);
	if (r < 0)
		return r;
	*ret = l;
	l = (struct device_nodes){ 0 };
	return 0;
}

/* -- making them -- */

/* 1 = has to be made, 0 = it is there. What has our name and another number is of an earlier load and goes. */
static int clear_place(int dir_fd, const char *name, dev_t want)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : -errno;
	if (!S_ISCHR(st.st_mode))
		return -EEXIST;
	if (st.st_rdev == want)
		return 0;
	return unlinkat(dir_fd, name, 0) < 0 ? -errno : 1;
}

static int make_one(struct container *c, const struct device_node *n, const char *path)
{
	dev_t number = makedev(n->major, n->minor);
	const char *name;
	_cleanup_close_ int dir_fd = path_open_parent(c->h->root_fd, path, true, PATH_IN_ROOT, &name);
	int r = dir_fd < 0 ? dir_fd : clear_place(dir_fd, name, number);

	if (r <= 0)
		return r;
	r = c->ops->mknod(c->ops->arg, dir_fd, name, n->mode, number);
	return r < 0 ? r : strv_push(&c->nodes_made, path);
}

int container_nodes_make(struct container *c, struct err *e)
{
	_cleanup_(device_nodes_done) struct device_nodes l = { 0 };
	int r = c->o.device_nodes ? container_nodes_list(c->h, &l) : 0;

	if (r < 0)
		return err_errno(e, r, "the driver's devices");
	for (size_t i = 0; i < l.n; i++) {
		_cleanup_free_ char *path = str_printf("dev/%s", l.v[i].name);

		r = path ? make_one(c, &l.v[i], path) : -ENOMEM;
		if (r < 0)
			return err_errno(e, r, "device node /dev/%s", l.v[i].name);
	}
	if (c->nodes_made)
		log_info("%zu device nodes made", strv_len(c->nodes_made));
	return 0;
}

void container_nodes_remove(struct container *c)
{
	for (char **path = c->nodes_made; path && *path; path++) {
		const char *name;
		_cleanup_close_ int dir_fd =
		    path_open_parent(c->h->root_fd, *path, false, PATH_IN_ROOT, &name);

		if (dir_fd >= 0 && unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
			log_warn("device node /%s was not removed: %s", *path, strerror(errno));
	}
	strv_freep(&c->nodes_made);
}
