/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-backend.h"

#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "lxc-edit.h"
#include "lxc-enter.h"
#include "lxc-native.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"
#include "err-lxc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CONFIG_MAX  ((size_t)4 << 20)
#define INCLUDE_KEY "lxc.include = "

static int lxc_list(struct lxc_backend *b, char ***ret, struct err *e)
{
	_cleanup_strv_ char **v = NULL;
	DIR *d = opendir(b->set->lxcpath);
	const struct dirent *de;
	int r = 0;

	while (d && r >= 0 && (de = readdir(d))) {
		_cleanup_free_ char *config = str_printf("%s/config", de->d_name);

		if (de->d_name[0] != '.' && config && faccessat(dirfd(d), config, F_OK, 0) == 0)
			r = strv_push(&v, de->d_name);
	}
	if (d)
		(void)closedir(d);
	if (r < 0)
		return err_oom(e);
	if (v)
		strv_sort(v);
	*ret = TAKE_PTR(v);
	return 0;
}

/* -- configuration: our lines are in an included file of our own, or between two marks -- */

struct conf {
	int dir_fd; /* owned; <lxcpath>/<id> */
	int state_fd; /* owned; directory of devices.conf, -EBADF when not made yet */
	char *text, *included; /* owned */
	size_t len, included_len;
	char *state_path; /* owned; <state>/lxc-<id> */
	char *included_path; /* owned; <state>/lxc-<id>/devices.conf */
	struct stat st;
	bool is_included; /* the configuration names our file */
	bool is_edited; /* text is no longer what the file holds */
};
#define CONF_INIT                                                                                            \
	{                                                                                                    \
		.dir_fd = -EBADF, .state_fd = -EBADF                                                         \
	}

static void conf_done(struct conf *c)
{
	close_fdp(&c->dir_fd);
	close_fdp(&c->state_fd);
	freep(&c->text);
	freep(&c->included);
	freep(&c->state_path);
	freep(&c->included_path);
}

static int conf_read_included(struct conf *c)
{
	_cleanup_free_ char *line = str_printf("lxc.include = %s", c->included_path);
	_cleanup_strv_ char **lines = NULL;
	int r;

	if (!line)
		return -ENOMEM;
	r = lxc_conf_lines((struct span){ c->text, c->len }, &lines);
	if (r < 0)
		return r;
	c->is_included = lxc_lines_contain(lines, line);
	c->state_fd = dir_open_at(AT_FDCWD, c->state_path);
	r = c->state_fd < 0
		? c->state_fd
		: read_file_at(c->state_fd, "devices.conf", CONFIG_MAX, &c->included, &c->included_len);
	return r == -ENOENT ? 0 : r;
}

static int conf_read(struct lxc_backend *b, const char *id, struct conf *c, struct err *e)
{
	_cleanup_free_ char *dir = str_printf("%s/%s", b->set->lxcpath, id);
	int r;

	c->state_path = str_printf("%s/lxc-%s", b->state_dir, id);
	c->included_path = c->state_path ? str_printf("%s/devices.conf", c->state_path) : NULL;
	if (!dir || !c->included_path)
		return err_oom(e);
	c->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = c->dir_fd < 0 ? -errno : read_file_at(c->dir_fd, "config", CONFIG_MAX, &c->text, &c->len);
	if (r == -ENOENT) {
		(void)err_set(e, ERR_LXC_UNKNOWN, "there is no container %s in %s", id, b->set->lxcpath);
		return err_object(e, "%s", id);
	}
	if (r >= 0 && fstatat(c->dir_fd, "config", &c->st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r >= 0)
		r = conf_read_included(c);
	return r < 0 ? err_errno(e, r, "cannot read the configuration of container %s", id) : 0;
}

/* Our lines wherever they are, then the file's own. */
static int conf_lines(const struct conf *c, char ***ret)
{
	_cleanup_strv_ char **own = NULL, **ours = NULL;
	int r = lxc_conf_lines((struct span){ c->text, c->len }, &own);

	if (r >= 0 && c->is_included && c->included)
		r = lxc_conf_lines((struct span){ c->included, c->included_len }, &ours);
	return r < 0 ? r : lxc_lines_merge(own, ours, NULL, ret);
}

static int name_take(char *const *lines, char **ret)
{
	static const char key[] = "lxc.uts.name = ";

	for (; lines && *lines; lines++)
		if (strncmp(*lines, key, sizeof(key) - 1) == 0) {
			free(*ret);
			*ret = strdup(*lines + sizeof(key) - 1);
			return *ret ? 0 : -ENOMEM;
		}
	return 0;
}

static int lxc_facts(struct lxc_backend *b, const char *id, struct lxc_facts *ret, struct err *e)
{
	_cleanup_(lxc_facts_done) struct lxc_facts f = { 0 };
	_cleanup_(conf_done) struct conf c = CONF_INIT;
	_cleanup_free_ char *map = NULL;
	pid_t pid;
	int r = conf_read(b, id, &c, e);

	if (r >= 0)
		r = lxc_native_state(b->set, id, &f.state, &pid, e);
	if (r < 0)
		return r;
	if (conf_lines(&c, &f.lines) < 0 || name_take(f.lines, &f.name) < 0)
		return err_oom(e);
	map = lxc_native_item(b->set, id, "lxc.idmap");
	f.unprivileged = map && *map;
	*ret = f;
	f = (struct lxc_facts){ 0 };
	return 0;
}

static json_t *difference(char *const *have, char *const *add, char *const *remove)
{
	json_t *added = json_array(), *removed = json_array();

	for (; add && *add && added; add++)
		if (!lxc_lines_contain(have, *add))
			(void)json_array_append_new(added, json_string(*add));
	for (; remove && *remove && removed; remove++)
		if (lxc_lines_contain(have, *remove))
			(void)json_array_append_new(removed, json_string(*remove));
	return json_pack("{s:o, s:o}", "added", added, "removed", removed);
}

static int publish_like(int dirfd, const char *name, const struct strbuf *text, const struct stat *st)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(dirfd);
	int r = tmpname_open(&t, st->st_mode & 07777);

	if (r >= 0)
		r = write_all(t.fd, strbuf_str(text), text->len);
	if (r >= 0 && fchown(t.fd, st->st_uid, st->st_gid) < 0)
		r = -errno;
	return r < 0 ? r : publish_tmp(&t, name, true);
}

static bool is_include(const char *line)
{
	return strncmp(line, INCLUDE_KEY, sizeof(INCLUDE_KEY) - 1) == 0;
}

/* Whole include lines are the file's own matter, not of what we include. */
static int includes_edit(struct conf *c, char *const *lines, bool present)
{
	int r = 0;

	for (; r >= 0 && lines && *lines; lines++) {
		_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(CONFIG_MAX);

		if (!is_include(*lines))
			continue;
		r = lxc_conf_include((struct span){ c->text, c->len }, *lines + sizeof(INCLUDE_KEY) - 1,
				     present, &out);
		if (r < 0)
			break;
		freep(&c->text);
		c->len = out.len;
		c->is_edited = true;
		r = strbuf_steal(&out, &c->text);
	}
	return r;
}

static int write_inline(const struct conf *c, char *const *ours)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(CONFIG_MAX);
	int r = lxc_conf_inline((struct span){ c->text, c->len }, ours, &out);

	return r < 0 ? r : publish_like(c->dir_fd, "config", &out, &c->st);
}

/* The included file is complete before the configuration names it, and gone only after it no longer does. */
static int write_include(struct conf *c, char *const *ours)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(CONFIG_MAX),
					     included = STRBUF_INIT(CONFIG_MAX);
	bool wanted = ours && *ours;
	int r;

	r = lxc_conf_include((struct span){ c->text, c->len }, c->included_path, wanted, &text);
	if (r >= 0)
		r = lxc_conf_included(ours, &included);
	if (r >= 0 && wanted && c->state_fd < 0) {
		if (mkdir(c->state_path, 0755) < 0 && errno != EEXIST)
			return -errno;
		c->state_fd = dir_open_at(AT_FDCWD, c->state_path);
		r = c->state_fd < 0 ? c->state_fd : 0;
	}
	if (r >= 0 && wanted)
		r = publish_bytes(c->state_fd, "devices.conf", strbuf_str(&included), included.len, 0644);
	if (r >= 0 &&
	    (c->is_edited || text.len != c->len || memcmp(strbuf_str(&text), c->text, text.len) != 0))
		r = publish_like(c->dir_fd, "config", &text, &c->st);
	if (r >= 0 && !wanted && c->state_fd >= 0)
		r = publish_unlink(c->state_fd, "devices.conf");
	return r;
}

static int our_lines(const struct lxc_backend *b, const struct conf *c, char ***ret)
{
	*ret = NULL;
	if (strcmp(b->set->style, "inline") == 0)
		return lxc_conf_inline_lines((struct span){ c->text, c->len }, ret);
	if (!c->is_included || !c->included)
		return 0;
	return lxc_conf_lines((struct span){ c->included, c->included_len }, ret);
}

/* LXC has no lock for editing; the lock of our target, which every plan holds, keeps two of us apart. */
static int lxc_config_apply(struct lxc_backend *b, const char *id, char *const *add, char *const *remove,
			    bool dry_run, json_t **ret_undo, struct err *e)
{
	_cleanup_strv_ char **have = NULL, **ours = NULL, **missing = NULL, **result = NULL;
	_cleanup_(conf_done) struct conf c = CONF_INIT;
	_cleanup_json_ json_t *undo = NULL;
	int r = conf_read(b, id, &c, e);

	if (r < 0)
		return r;
	if (conf_lines(&c, &have) < 0 || our_lines(b, &c, &ours) < 0)
		return err_oom(e);
	undo = difference(have, add, remove);
	if (!undo)
		return err_oom(e);
	for (char *const *p = add; p && *p; p++)
		if (!is_include(*p) && !lxc_lines_contain(have, *p) && strv_push(&missing, *p) < 0)
			return err_oom(e);
	if (includes_edit(&c, add, true) < 0 || includes_edit(&c, remove, false) < 0)
		return err_oom(e);
	if (lxc_lines_merge(ours, missing, remove, &result) < 0)
		return err_oom(e);
	if (!dry_run)
		(void)publish_sweep(c.dir_fd); /* what a killed run was about to put in place */
	if (!dry_run)
		r = strcmp(b->set->style, "inline") == 0 ? write_inline(&c, result)
							 : write_include(&c, result);
	if (r < 0)
		return err_errno(e, r, "cannot write the configuration of container %s", id);
	if (ret_undo)
		*ret_undo = TAKE_PTR(undo);
	return 0;
}

static int lxc_place(struct lxc_backend *b, const char *id, struct lxc_place *ret, struct err *e)
{
	return lxc_native_place(b->set, id, ret, e);
}

static int lxc_start(struct lxc_backend *b, const char *id, struct err *e)
{
	return lxc_native_start(b->set, id, e);
}

static int lxc_stop(struct lxc_backend *b, const char *id, struct err *e)
{
	return lxc_native_stop(b->set, id, e);
}

static int lxc_exec(struct lxc_backend *b, const char *id, struct lxc_exec *x, struct err *e)
{
	return lxc_native_exec(b->set, id, x, e);
}

static int lxc_allow_device(struct lxc_backend *b, const char *id, const char *rule, struct err *e)
{
	return lxc_native_allow_device(b->set, id, rule, e);
}

static int lxc_deny_device(struct lxc_backend *b, const char *id, const char *rule, struct err *e)
{
	return lxc_native_deny_device(b->set, id, rule, e);
}

/* -- push: the bytes are written by us, inside -- */

struct pushing {
	int fd;
	const char *path;
	mode_t mode;
};

static int push_inside(int root_fd, void *arg, json_t **ret _unused_, struct err *e)
{
	const struct pushing *p = arg;
	const char *name;
	_cleanup_close_ int parent = path_open_parent(root_fd, p->path, true, PATH_IN_ROOT, &name);
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(parent);
	int r;

	if (parent < 0)
		return err_errno(e, parent, "cannot open the directory of %s", p->path);
	r = tmpname_open(&t, p->mode);
	if (r >= 0)
		r = copy_fd(p->fd, t.fd, NULL);
	if (r >= 0)
		r = publish_tmp(&t, name, true);
	if (r == -ENOSPC || r == -EDQUOT)
		return err_set(e, ERR_LXC_NO_SPACE, "no space for %s in the container", p->path);
	return r < 0 ? err_errno(e, r, "cannot write %s in the container", p->path) : 0;
}

static int lxc_push(struct lxc_backend *b, const char *id, int fd, const char *path, mode_t mode,
		    struct err *e)
{
	_cleanup_(lxc_place_done) struct lxc_place place = { 0 };
	struct pushing p = { fd, path, mode };
	int r = lxc_native_place(b->set, id, &place, e);

	return r < 0 ? r : lxc_inside(&place, 0, b->set->install_timeout_s, push_inside, &p, NULL, e);
}

const struct lxc_backend_ops lxc_backend_lxc = {
	.name = "lxc",
	.has_raw_lines = true,
	.list = lxc_list,
	.facts = lxc_facts,
	.place = lxc_place,
	.start = lxc_start,
	.stop = lxc_stop,
	.exec = lxc_exec,
	.config_apply = lxc_config_apply,
	.allow_device = lxc_allow_device,
	.deny_device = lxc_deny_device,
	.push = lxc_push,
};
