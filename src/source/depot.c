/* SPDX-License-Identifier: Apache-2.0 */
#include "depot.h"

#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "parse.h"
#include "publish.h"
#include "strbuf.h"
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCOMING   "packages/.incoming"
#define META	   ".meta"
#define META_MAX   ((size_t)64 << 10)
#define BACKUP_MAX 10000u

static void dir_closep(DIR **d)
{
	if (*d)
		closedir(*d);
}

void depot_files_done(struct depot_files *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].name);
		free(f->v[i].url);
	}
	free(f->v);
	*f = (struct depot_files){ 0 };
}

void depot_done(struct depot *d)
{
	close_fdp(&d->dir_fd);
	if (d->is_temporary && d->dir_path)
		(void)tree_remove_path(d->dir_path);
	freep(&d->dir_path);
	d->is_temporary = false;
}

static int open_temporary(struct depot *d, struct err *e)
{
	char path[] = "/tmp/nvdriver-packages-XXXXXX";

	if (!mkdtemp(path))
		return err_errno(e, -errno, "making a temporary directory");
	d->is_temporary = true;
	d->dir_path = strdup(path);
	if (!d->dir_path)
		return err_oom(e);
	d->dir_fd = dir_open_at(AT_FDCWD, path);
	return d->dir_fd < 0 ? err_errno(e, d->dir_fd, "cannot open %s", path) : 0;
}

/* The user's own path: links in it are followed like in every program. */
static int make_parents(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy; *p;) {
		char *end, kept;

		p += strspn(p, "/");
		end = p + strcspn(p, "/");
		kept = *end;
		*end = '\0';
		if (*p && mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		*end = kept;
		p = end;
	}
	return 0;
}

int depot_open_dir(const char *path, struct depot *ret, struct err *e)
{
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	int r;

	d.dir_path = strdup(path);
	if (!d.dir_path)
		return err_oom(e);
	r = make_parents(path);
	if (r < 0)
		return err_errno(e, r, "cannot make %s", path);
	d.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d.dir_fd < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	*ret = d;
	d = (struct depot)DEPOT_INIT;
	return 0;
}

int depot_open(struct store *store, struct depot *ret, struct err *e)
{
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	int r;

	d.store = store;
	if (!store) {
		r = open_temporary(&d, e);
		if (r < 0)
			return r;
	} else {
		d.dir_path = str_printf("%s/" INCOMING, store->path);
		if (!d.dir_path)
			return err_oom(e);
		if (mkdirat(store->dir_fd, INCOMING, 0755) < 0 && errno != EEXIST && errno != EROFS)
			return err_errno(e, -errno, "cannot make %s", d.dir_path);
		d.dir_fd = dir_open_at(store->dir_fd, INCOMING);
		if (d.dir_fd < 0 && d.dir_fd != -ENOENT)
			return err_errno(e, d.dir_fd, "cannot open %s", d.dir_path);
	}
	*ret = d;
	d = (struct depot)DEPOT_INIT;
	return 0;
}

int depot_subdir(struct depot *d, const char *name, char **ret, struct err *e)
{
	_cleanup_free_ char *top = NULL, *path = NULL;
	int r;

	if (mkdirat(d->dir_fd, name, 0755) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "cannot make %s/%s", d->dir_path, name);
	/* Other programs need the whole path, whatever the store was called on the command line. */
	r = fd_real_path(d->dir_fd, &top);
	if (r < 0)
		return err_errno(e, r, "finding the path of %s", d->dir_path);
	path = str_printf("%s/%s", top, name);
	if (!path)
		return err_oom(e);
	*ret = TAKE_PTR(path);
	return 0;
}

/* -- rows -- */

static int row_add(struct depot_files *files, const char *name, const char *url, const char *sha256,
		   uint64_t size_bytes, enum fetch_trust trust, enum fetch_action action, struct err *e)
{
	struct depot_file *v = reallocarray(files->v, files->n + 1, sizeof(*v));
	struct depot_file *f;

	if (!v)
		return err_oom(e);
	files->v = v;
	f = &v[files->n];
	*f = (struct depot_file){ .size_bytes = size_bytes, .trust = trust, .action = action };
	snprintf(f->sha256, sizeof(f->sha256), "%s", sha256);
	f->name = strdup(name);
	f->url = url ? strdup(url) : NULL;
	files->n++;
	return f->name && (!url || f->url) ? 0 : err_oom(e);
}

int depot_file_json(const struct depot_file *f, json_t *array, struct err *e)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:s*, s:s, s:s}", "name", f->name, "sha256", f->sha256,
			      "size_bytes", (json_int_t)f->size_bytes, "url", f->url, "trust",
			      fetch_trust_name(f->trust), "action", fetch_action_name(f->action));

	return !o || json_array_append_new(array, o) < 0 ? err_oom(e) : 0;
}

/* -- objects -- */

/* What is kept beside a package of the store: where it came from and how its digest was known. */
struct meta {
	json_t *json; /* owned */
	const char *url; /* borrowed from json; NULL = unknown */
	enum fetch_trust trust;
};

static void meta_done(struct meta *m)
{
	json_decref(m->json);
}

static void meta_read(int dirfd, struct meta *m)
{
	if (jload_at(dirfd, META, META_MAX, &m->json, NULL) < 0)
		return;
	m->url = json_string_value(json_object_get(m->json, "url"));
	m->trust = fetch_trust_of(json_string_value(json_object_get(m->json, "trust")));
}

static int meta_write(int dirfd, const char *url, enum fetch_trust trust, struct err *e)
{
	json_t *j = json_pack("{s:s*, s:s}", "url", url, "trust", fetch_trust_name(trust));
	_cleanup_free_ char *text = j ? json_dumps(j, JSON_SORT_KEYS | JSON_INDENT(1)) : NULL;
	int r;

	json_decref(j);
	if (!text)
		return err_oom(e);
	r = publish_bytes(dirfd, META, text, strlen(text), 0644);
	return r < 0 ? err_errno(e, r, "writing the record of a package") : 0;
}

/* The one file of a package object. */
static int object_file(struct store *s, const char *sha256, char **ret_name, struct stat *ret_st,
		       struct meta *meta)
{
	int fd = store_object_open(s, STORE_PACKAGE, sha256);
	_cleanup_(dir_closep) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (fd < 0)
		return fd;
	if (!dir) {
		close(fd);
		return -errno;
	}
	while ((d = readdir(dir)))
		if (d->d_name[0] != '.' && name_is_safe(d->d_name) &&
		    fstatat(dirfd(dir), d->d_name, ret_st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(ret_st->st_mode)) {
			meta_read(dirfd(dir), meta);
			*ret_name = strdup(d->d_name);
			return *ret_name ? 0 : -ENOMEM;
		}
	return -ENOENT;
}

/* 1 when the user's directory holds `name` with that digest. */
static int find_in_dir(struct depot *d, const char *name, const char *sha256, enum fetch_trust trust,
		       struct depot_files *files, struct err *e)
{
	char found[SHA256_HEX_SIZE];
	struct stat st;
	int r;

	if (fstatat(d->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    sha256_file_at(d->dir_fd, name, found) < 0 || strcmp(found, sha256) != 0)
		return 0;
	r = row_add(files, name, NULL, sha256, (uint64_t)st.st_size, trust, FETCH_PRESENT, e);
	return r < 0 ? r : 1;
}

int depot_find(struct depot *d, const char *name, const char *sha256, enum fetch_trust trust,
	       struct depot_files *files, struct err *e)
{
	_cleanup_(meta_done) struct meta meta = { NULL, NULL, FETCH_RECORDED };
	_cleanup_free_ char *stored = NULL;
	struct stat st;
	int r;

	if (!d->store)
		return find_in_dir(d, name, sha256, trust, files, e);
	r = object_file(d->store, sha256, &stored, &st, &meta);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(e, r, "reading packages/%s in %s", sha256, d->store->path);
	if (trust == FETCH_RECORDED)
		trust = meta.trust;
	r = row_add(files, stored, meta.url, sha256, (uint64_t)st.st_size, trust, FETCH_PRESENT, e);
	return r < 0 ? r : 1;
}

static int publish_package(struct depot *d, const char *name, const char *sha256, const char *url,
			   enum fetch_trust trust, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	int r;

	r = store_stage_begin(d->store, &st, e);
	if (r < 0)
		return r;
	r = publish_rename(d->dir_fd, name, st.dir_fd, name, false);
	if (r < 0)
		return err_errno(e, r, "moving %s/%s into the store", d->dir_path, name);
	r = meta_write(st.dir_fd, url, trust, e);
	return r < 0 ? r : store_publish(&st, STORE_PACKAGE, sha256, e);
}

/* A file of the user's that is in the way keeps its content under a numbered name. */
static int set_aside(struct depot *d, const char *name, struct err *e)
{
	int r = -EEXIST;

	if (d->store || faccessat(d->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	for (unsigned n = 1; r == -EEXIST && n < BACKUP_MAX; n++) {
		_cleanup_free_ char *backup = str_printf("%s.bak.%u", name, n);

		if (!backup)
			return err_oom(e);
		r = publish_rename(d->dir_fd, name, d->dir_fd, backup, false);
	}
	return r < 0 ? err_errno(e, r, "keeping the old %s/%s", d->dir_path, name) : 0;
}

int depot_receive(struct depot *d, int from_fd, const char *from, const char *name, struct err *e)
{
	int r = set_aside(d, name, e);

	if (r < 0)
		return r;
	r = publish_rename(from_fd, from, d->dir_fd, name, true);
	return r < 0 ? err_errno(e, r, "moving %s to %s/%s", from, d->dir_path, name) : 0;
}

int depot_take(struct depot *d, const char *name, const char *sha256, const char *url, enum fetch_trust trust,
	       enum fetch_action action, struct depot_files *files, struct err *e)
{
	_cleanup_free_ char *meta = str_printf("%s.meta", name);
	struct stat st;
	int r;

	if (!meta)
		return err_oom(e);
	if (fstatat(d->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return err_errno(e, -ENOENT, "%s/%s", d->dir_path, name);
	if (d->store) {
		if (fchmodat(d->dir_fd, name, 0444, 0) < 0)
			return err_errno(e, -errno, "protecting %s/%s", d->dir_path, name);
		r = publish_package(d, name, sha256, url, trust, e);
		if (r < 0)
			return r;
		(void)unlinkat(d->dir_fd, meta, 0);
	}
	return row_add(files, name, url, sha256, (uint64_t)st.st_size, trust, action, e);
}

int depot_import(struct depot *d, const char *path, struct depot_files *files, struct err *e)
{
	_cleanup_(tmpname_done) struct tmpname t = TMPNAME_INIT(d->dir_fd);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char sha256[65];
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	if (!S_ISREG(st.st_mode) || !name_is_safe(name) || name[0] == '.')
		return err_set(e, -ERR_SOURCE_UNKNOWN, "%s is not a package file with an ordinary name",
			       path);
	r = tmpname_open(&t, 0444);
	if (r >= 0)
		r = copy_fd(fd, t.fd, NULL);
	if (r >= 0)
		r = sha256_fd_hex(t.fd, sha256);
	if (r < 0)
		return err_errno(e, r, "copying %s to %s", path, d->dir_path);
	r = depot_find(d, name, sha256, FETCH_RECORDED, files, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = set_aside(d, name, e);
	if (r < 0)
		return r;
	r = publish_tmp(&t, name, true);
	if (r < 0)
		return err_errno(e, r, "copying %s to %s", path, d->dir_path);
	return depot_take(d, name, sha256, NULL, FETCH_RECORDED, FETCH_DOWNLOADED, files, e);
}

int depot_file_open(struct depot *d, const struct depot_file *f, struct err *e)
{
	_cleanup_close_ int dir = d->store ? store_object_open(d->store, STORE_PACKAGE, f->sha256)
					   : fcntl(d->dir_fd, F_DUPFD_CLOEXEC, 3);
	int fd;

	if (dir < 0)
		return err_errno(e, dir, "cannot open package %s", f->name);
	fd = openat(dir, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_errno(e, -errno, "cannot open package %s", f->name) : fd;
}
