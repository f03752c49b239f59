/* SPDX-License-Identifier: Apache-2.0
 *
 * The view is planned as an installation below its mount point, for then templates and links come out right by
 * themselves; afterwards every path is moved to where the view has it. */
#include "view.h"

#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VIEW_LAYOUT 1 /* goes into the key: another layout is another view */

/* -- where things are in a view -- */

/* Destinations no option moves below the mount point. The first that matches counts. */
static const struct {
	const char *from, *to;
} places[] = {
	{ "etc/OpenCL/", "share/OpenCL/" },
	{ "etc/vulkan/", "share/vulkan/" },
	{ "etc/vulkansc/", "share/vulkansc/" },
	{ "usr/share/", "share/" },
	{ "usr/bin/", "bin/" },
	{ "lib/firmware/", "lib/firmware/" },
	{ "usr/lib32/", "lib32/" },
	{ "usr/lib/systemd/", NULL },
	{ "usr/lib/", "lib/" },
};

/* NULL = it has no place; without memory *ret_r is set. */
static char *view_path(const char *path, const char *mount, int *ret_r)
{
	size_t len = strlen(mount);
	char *to = NULL;

	*ret_r = 0;
	if (strncmp(path, mount, len) == 0 && path[len] == '/') {
		to = strdup(path + len + 1);
	} else {
		size_t i = 0;

		while (i < ARRAY_LEN(places) && strncmp(path, places[i].from, strlen(places[i].from)) != 0)
			i++;
		if (i == ARRAY_LEN(places) || !places[i].to)
			return NULL;
		to = str_printf("%s%s", places[i].to, path + strlen(places[i].from));
	}
	if (!to)
		*ret_r = -ENOMEM;
	return to;
}

/* From the directory of `path` to `target`, both relative to the view. */
static char *relative_link(const char *path, const char *target)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(8192);
	size_t same = 0;
	char *text = NULL;

	for (size_t i = 0; path[i] && path[i] == target[i]; i++)
		if (path[i] == '/')
			same = i + 1;
	for (const char *p = path + same; (p = strchr(p, '/')); p++)
		(void)strbuf_puts(&b, "../");
	(void)strbuf_puts(&b, target + same);
	return strbuf_steal(&b, &text) < 0 ? NULL : text;
}

/* Absolute links are made relative; one that leaves the view stays as it is. */
static int move_link(struct dest_op *op, const char *mount)
{
	_cleanup_free_ char *target = NULL;
	char *text;
	int r;

	if (op->kind != DEST_LINK || op->link[0] != '/')
		return 0;
	target = view_path(op->link + 1, mount, &r);
	if (!target)
		return r;
	text = relative_link(op->path, target);
	if (!text)
		return -ENOMEM;
	free(op->link);
	op->link = text;
	return 0;
}

static int leave_out(struct dest_list *l, const char *path)
{
	_cleanup_free_ char *note = str_printf("/%s has no place in a view", path);

	return note ? strv_push(&l->notes, note) : -ENOMEM;
}

/* 1 = it has a place. */
static int move_op(struct dest_list *l, struct dest_op *op, const char *mount)
{
	char *path;
	int r;

	path = view_path(op->path, mount, &r);
	if (!path)
		return r < 0 ? r : leave_out(l, op->path);
	free(op->path);
	op->path = path;
	r = move_link(op, mount);
	return r < 0 ? r : 1;
}

static int move_all(struct dest_list *l, const char *mount)
{
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct dest_op op = l->ops[i];

		r = r < 0 ? r : move_op(l, &op, mount);
		if (r == 0) {
			dest_op_done(&op);
			continue;
		}
		l->ops[kept++] = op;
	}
	l->n = kept;
	return r < 0 ? r : 0;
}

/* -- the list -- */

/* The mount point as the planner wants directories: relative and clean. */
static int mount_of(const struct view_options *o, char **ret, struct err *e)
{
	const char *mount = o->mount ? o->mount : VIEW_MOUNT_DEFAULT;
	int r = mount[0] == '/' ? path_clean(mount + 1, ret) : -EINVAL;

	if (r == 0 && **ret)
		return 0;
	if (r == 0) {
		free(*ret);
		*ret = NULL;
	}
	return r == -ENOMEM ? err_oom(e) : err_set(e, ERR_USAGE, "%s is no place for a view", mount);
}

int view_list_make(const struct manifest *m, int payload_fd, const struct view_options *o,
		   struct dest_list *ret, struct err *e)
{
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	_cleanup_free_ char *mount = NULL, *xdg = NULL, *x_modules = NULL, *x_conf = NULL, *egl = NULL;
	struct libdirs dirs = { .native = (char *)"lib", .compat32 = o->compat32 ? (char *)"lib32" : NULL };
	int r = mount_of(o, &mount, e);

	if (r < 0)
		return r;
	xdg = str_printf("%s/share", mount);
	x_modules = str_printf("%s/lib/xorg/modules", mount);
	x_conf = str_printf("%s/share/X11/xorg.conf.d", mount);
	egl = str_printf("%s/share/glvnd/egl_vendor.d", mount);
	if (!xdg || !x_modules || !x_conf || !egl)
		return err_oom(e);
	r = dest_list_make(m,
			   &(struct dest_options){ .profile = o->profile,
						   .dirs = &dirs,
						   .no_modprobe = true,
						   .no_firmware = !o->firmware,
						   .include = o->include,
						   .exclude = o->exclude,
						   .opengl_prefix = mount,
						   .utility_prefix = mount,
						   .compat32_prefix = mount,
						   .documentation_prefix = mount,
						   .xdg_data_dir = xdg,
						   .x_module_path = x_modules,
						   .x_sysconfig_path = x_conf,
						   .glvnd_egl_config_path = egl },
			   &l, e);
	if (r >= 0)
		r = dest_add_sonames(&l, payload_fd, e);
	if (r >= 0)
		r = dest_fill_templates(
		    &l, payload_fd,
		    &(struct dest_options){
			.dirs = &dirs, .opengl_prefix = mount, .utility_prefix = mount, .xdg_data_dir = xdg },
		    e);
	if (r < 0)
		return r;
	if (move_all(&l, mount) < 0)
		return err_oom(e);
	*ret = l;
	l = (struct dest_list){ 0 };
	return 0;
}

/* -- making the tree -- */

struct make {
	int payload_fd, root_fd;
	const struct dest_list *list;
};

static mode_t view_mode(const struct dest_op *op)
{
	return op->mode & 0111 ? 0555 : 0444;
}

/* The tree's own file by a second name; a copy where the file system, or another mode, forbids that. */
static int put_file(const struct make *k, const struct dest_op *op, int dir, const char *name)
{
	_cleanup_close_ int from =
	    path_open_at(k->payload_fd, op->from, O_RDONLY | O_NONBLOCK, 0, PATH_NO_SYMLINKS);
	_cleanup_close_ int to = -EBADF;
	struct stat st;
	char self[64];
	int r;

	if (from < 0 || fstat(from, &st) < 0)
		return from < 0 ? from : -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", from);
	if ((st.st_mode & 07777) == view_mode(op) &&
	    linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	r = copy_fd(from, to, NULL);
	return r < 0 ? r : fchmod(to, view_mode(op)) < 0 ? -errno : 0;
}

static int put_bytes(const struct dest_op *op, int dir, const char *name)
{
	_cleanup_close_ int to =
	    openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = to < 0 ? -errno : write_all(to, op->bytes, op->bytes_len);

	return r < 0 ? r : fchmod(to, view_mode(op)) < 0 ? -errno : 0;
}

static int put_op(const struct make *k, const struct dest_op *op, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	const char *name;
	int r;

	dir = path_open_parent(k->root_fd, op->path, true, PATH_NO_SYMLINKS, &name);
	if (dir < 0)
		r = dir;
	else if (op->kind == DEST_LINK)
		r = symlinkat(op->link, dir, name) < 0 ? -errno : 0;
	else
		r = op->bytes ? put_bytes(op, dir, name) : put_file(k, op, dir, name);
	if (r == -EEXIST)
		return err_set(e, ERR_DEST_DUPLICATE, "%s of the view is wanted twice", op->path);
	return r < 0 ? err_errno(e, r, "putting %s into the view", op->path) : 0;
}

/* A view has these whatever the driver brings, so that a search path may always name them. */
static int put_dirs(int root_fd, const struct view_options *o)
{
	const char *const dirs[] = { "bin", "lib", "share", o->compat32 ? "lib32" : NULL };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (dirs[i] && mkdirat(root_fd, dirs[i], 0755) < 0)
			return -errno;
	return 0;
}

static int stage_view(struct store_stage *st, int payload_fd, const struct dest_list *l,
		      const struct view_options *o, struct err *e)
{
	_cleanup_close_ int root = -EBADF;
	struct make k = { .payload_fd = payload_fd, .list = l };
	int r = mkdirat(st->dir_fd, "root", 0755) < 0 ? -errno : dir_open_at(st->dir_fd, "root");

	root = r;
	if (r >= 0)
		r = put_dirs(root, o);
	if (r < 0)
		return err_errno(e, r, "staging a view");
	k.root_fd = root;
	for (size_t i = 0; r == 0 && i < l->n; i++)
		r = put_op(&k, &l->ops[i], e);
	return r;
}

/* -- the key -- */

static void key_words(struct strbuf *b, const char *what, char *const *words)
{
	for (; words && *words; words++)
		(void)strbuf_printf(b, "%s %s\n", what, *words);
}

/* view/<tree>/<digest of the options>: everything the view's content depends on. */
static int view_ref(const char *tree_id, const struct view_options *o, char **ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *mount = NULL;
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	int r = mount_of(o, &mount, e);

	if (r < 0)
		return r;
	(void)strbuf_printf(&b, "view %d\nprofile %s\nmount %s\ncompat32 %d\nfirmware %d\n", VIEW_LAYOUT,
			    dest_profile_name(o->profile), mount, o->compat32, o->firmware);
	key_words(&b, "include", o->include);
	key_words(&b, "exclude", o->exclude);
	if (strbuf_error(&b) < 0 || sha256_bytes(b.buf, b.len, digest) < 0)
		return err_oom(e);
	hex_encode(digest, sizeof(digest), hex);
	*ret = str_printf(VIEW_REF "%s/%s", tree_id, hex);
	return *ret ? 0 : err_oom(e);
}

/* 1 = there and as its record says, 0 = not there. */
static int find_ref(struct store *s, const char *ref, char ret_id[65], struct err *e)
{
	_cleanup_free_ char *id = NULL;
	enum store_kind kind;
	int r;

	if (store_ref_get(s, ref, &kind, &id) < 0 || kind != STORE_TREE || strlen(id) != 64 ||
	    !store_has(s, STORE_TREE, id))
		return 0;
	memcpy(ret_id, id, 65);
	r = store_tree_verify(s, id, STORE_VERIFY_QUICK, NULL, e);
	return r < 0 ? r : 1;
}

/* A damaged view is not used and not in the way either. 0 = it is out. */
static int drop_damaged(struct store *s, int r, const char *id, struct err *e)
{
	if (r != -ERR_STORE_DAMAGED || s->read_only)
		return r;
	log_warn("view %.12s is damaged; making it anew", id);
	if (e)
		err_done(e);
	return store_remove(s, STORE_TREE, id, e);
}

int view_find(struct store *s, const char *tree_id, const struct view_options *o, char ret_id[65],
	      struct err *e)
{
	_cleanup_free_ char *ref = NULL;
	int r = view_ref(tree_id, o, &ref, e);

	if (r == 0)
		r = find_ref(s, ref, ret_id, e);
	return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

/* -- building -- */

static json_t *view_meta(const json_t *tree, const char *tree_id, const struct view_options *o)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:O*, s:O*, s:O*}", "schema", "nvdriver.view/1",
			 "view_of", tree_id, "profile", dest_profile_name(o->profile), "mount",
			 o->mount ? o->mount : VIEW_MOUNT_DEFAULT, "compat32", o->compat32, "version",
			 json_object_get(tree, "version"), "arch", json_object_get(tree, "arch"), "kind",
			 json_object_get(tree, "kind"));
}

static int plan_view(int payload_fd, const struct view_options *o, struct dest_list *l, json_t *notes,
		     struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	int r = manifest_read_at(payload_fd, MANIFEST_NAME, 0, &m, e);

	if (r == 0)
		r = view_list_make(m, payload_fd, o, l, e);
	if (r < 0)
		return r;
	for (char **n = l->notes; notes && n && *n; n++)
		if (json_array_append_new(notes, json_string(*n)) < 0)
			return err_oom(e);
	if (!l->n)
		return err_set(e, ERR_INSTALL_NOTHING, "profile %s takes no file of driver %s",
			       dest_profile_name(o->profile), m->version);
	return 0;
}

static int make_view(struct store *s, const char *tree_id, const struct view_options *o, char ret_id[65],
		     json_t *notes, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(dest_list_done) struct dest_list l = { 0 };
	_cleanup_json_ json_t *record = NULL, *meta = NULL;
	_cleanup_close_ int payload = -EBADF;
	int r;

	r = store_tree_open(s, tree_id, &payload, &record, e);
	if (r == 0)
		r = store_tree_verify(s, tree_id, STORE_VERIFY_QUICK, NULL, e);
	if (r == 0)
		r = plan_view(payload, o, &l, notes, e);
	if (r == 0)
		r = store_stage_begin(s, &st, e);
	if (r >= 0)
		r = stage_view(&st, payload, &l, o, e);
	if (r < 0)
		return r;
	meta = view_meta(record, tree_id, o);
	r = meta ? store_tree_add(&st, meta, ret_id, e) : err_oom(e);
	if (r < 0)
		return r;
	/* A second name changes a file's ctime: the driver's tree is looked at once more, so that its record knows. */
	return store_tree_verify(s, tree_id, STORE_VERIFY_QUICK, NULL, e);
}

static int make_view_ref(struct store *s, const char *tree_id, const struct view_options *o, const char *ref,
			 char ret_id[65], json_t *notes, struct err *e)
{
	char id[65];
	int r = make_view(s, tree_id, o, id, notes, e);

	if (r >= 0)
		r = store_ref_set(s, ref, STORE_TREE, id, e);
	if (r < 0)
		return r;
	memcpy(ret_id, id, sizeof(id));
	return 1;
}

int view_build(struct store *s, const char *tree_id, const struct view_options *o, char ret_id[65],
	       json_t *notes, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	_cleanup_free_ char *ref = NULL;
	char id[65] = "";
	int r = view_ref(tree_id, o, &ref, e);

	if (r == 0)
		r = find_ref(s, ref, id, NULL);
	if (r == 0 || r == -ERR_STORE_DAMAGED) {
		r = store_lock(s, STORE_TREE, ref, o->lock_timeout_s, &lock, e);
		/* Another run may have made it while we waited. */
		r = r < 0 ? r : find_ref(s, ref, id, e);
		r = r < 0 ? drop_damaged(s, r, id, e) : r;
	}
	if (r == 0)
		return make_view_ref(s, tree_id, o, ref, ret_id, notes, e);
	if (r < 0)
		return r;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

int view_image(struct store *s, const char *view_id, int *ret_fd, struct err *e)
{
	int made = store_image_build(s, view_id, e), r;

	if (made < 0)
		return made;
	r = store_image_open(s, view_id, ret_fd, e);
	return r < 0 ? r : made;
}

/* -- forgetting -- */

struct forget {
	const char *view_id;
	char **refs; /* owned */
};

static int forget_visit(const char *name, enum store_kind kind, const char *id, void *arg)
{
	struct forget *f = arg;

	return kind == STORE_TREE && strcmp(id, f->view_id) == 0 ? strv_push(&f->refs, name) : 0;
}

int view_forget(struct store *s, const char *view_id, struct err *e)
{
	struct forget f = { view_id, NULL };
	int r = store_ref_list(s, VIEW_REF, forget_visit, &f);

	if (r == -ENOENT)
		r = 0;
	if (r < 0)
		r = err_errno(e, r, "looking for views of %s", s->path);
	for (char **ref = f.refs; r == 0 && ref && *ref; ref++)
		r = store_ref_remove(s, *ref, e);
	strv_freep(&f.refs);
	return r;
}
