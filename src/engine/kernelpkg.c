/* SPDX-License-Identifier: Apache-2.0 */
#include "kernelpkg.h"

#include "fd.h"
#include "depot.h"
#include "ktree.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "pkg.h"
#include "rpmrepo.h"
#include "rpmver.h"
#include "source.h"
#include "strbuf.h"
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* -- the distribution's packages -- */

int kernelpkg_alias(struct store *s, const char *alias, char **ret)
{
	_cleanup_free_ char *id = NULL, *ref = str_printf("kernel/%s", alias);
	_cleanup_close_ int fd = -EBADF;
	enum store_kind kind;
	const char *release;
	json_t *record = NULL;

	if (!s || !ref || store_ref_get(s, ref, &kind, &id) < 0 || kind != STORE_KERNEL)
		return -ENOENT;
	fd = store_object_open(s, STORE_KERNEL, id);
	if (fd < 0 || store_record_read(fd, "record.json", &record, NULL) < 0)
		return -ENOENT;
	release = json_string_value(json_object_get(record, "release"));
	*ret = release ? strdup(release) : NULL;
	json_decref(record);
	return *ret ? 0 : -ENOENT;
}

static int fetch_from_apt(struct engine *en, const char *alias, const char *arch, struct err *e)
{
	const struct source_options o = { .store = en->store,
					  .offline = en->offline,
					  .arch = arch,
					  .proxy = en->fetch_proxy,
					  .attempts = en->fetch_attempts };
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_free_ char *release = NULL, *source_rel = NULL, *build_rel = NULL,
			    *ref = str_printf("kernel/%s", alias);
	const char *which = alias + strlen("apt:");
	_cleanup_close_ int root_fd = -EBADF;
	json_t *packages = NULL, *meta;
	char identity[65];
	int r = ref ? store_stage_begin_root(en->store, &st, &root_fd, e) : err_oom(e);

	if (r < 0)
		return r;
	r = source_kernel_headers(which, &o, root_fd, &release, &source_rel, &build_rel, &packages, e);
	if (r < 0)
		return err_wrap(e, "obtaining kernel headers %s", which);
	meta = json_pack("{s:s,s:o?}", "origin", alias, "packages", packages);
	if (!meta)
		return err_oom(e);
	r = ktree_import(&st, release, source_rel, build_rel, meta, identity, e);
	json_decref(meta);
	return r < 0 ? r : store_ref_set(en->store, ref, STORE_KERNEL, identity, e);
}

int kernelpkg_from_apt(struct engine *en, const char *alias, const char *arch, char **ret_release,
		       bool *ret_hit, struct err *e)
{
	_cleanup_(lock_release) struct lock lock = LOCK_INIT;
	int r;

	if (!name_is_safe(alias))
		return err_set(e, ERR_USAGE, "'%s' names no kernel", alias);
	*ret_hit = kernelpkg_alias(en->store, alias, ret_release) == 0;
	if (*ret_hit)
		return 0;
	r = store_lock(en->store, STORE_KERNEL, alias, en->lock_timeout_s, &lock, e);
	if (r < 0)
		return r;
	if (kernelpkg_alias(en->store, alias, ret_release) == 0)
		return 0;
	r = fetch_from_apt(en, alias, arch, e);
	if (r < 0)
		return r;
	return kernelpkg_alias(en->store, alias, ret_release) < 0
		   ? err_set(e, ERR_STORE_DAMAGED, "the kernel tree just stored as %s cannot be read", alias)
		   : 0;
}

/* -- packages at hand -- */

/* kernel-devel, kernel-64k-devel, kernel-uek-devel …: release "5.14.0-284.11.1.el9_2.x86_64+64k" begins with the version. What
 * the package really holds is seen when it is unpacked. */
static bool may_hold(const struct pkg_facts *f, const char *release)
{
	size_t n = strlen(f->version);

	return span_starts(SPAN(f->name), "kernel") && span_ends(SPAN(f->name), "-devel") &&
	       strncmp(release, f->version, n) == 0 &&
	       (release[n] == '.' || release[n] == '-' || release[n] == '\0');
}

static int import_rpm(struct engine *en, int fd, const char *label, const char *release, struct err *e)
{
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_free_ char *build = NULL;
	_cleanup_close_ int root = -EBADF;
	const char *slash = strrchr(label, '/');
	char identity[65];
	json_t *meta;
	int r = store_stage_begin_root(en->store, &st, &root, e);

	if (r == 0)
		r = source_kernel_rpm(fd, label, release, root, &build, e);
	if (r < 0)
		return r;
	meta = json_pack("{s:s}", "origin", slash ? slash + 1 : label);
	if (!meta)
		return err_oom(e);
	r = ktree_import(&st, release, build, build, meta, identity, e);
	json_decref(meta);
	return r;
}

/* 1 = it was the one. */
static int try_rpm(struct engine *en, const char *path, const char *release, struct strbuf *tried,
		   struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_(pkg_facts_done) struct pkg_facts f = { 0 };
	const char *slash = strrchr(path, '/');
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	r = pkg_facts(fd, path, &f, e);
	if (r < 0)
		return r;
	(void)strbuf_printf(tried, "%s%s", tried->len ? ", " : "", slash ? slash + 1 : path);
	if (!may_hold(&f, release))
		return 0;
	r = import_rpm(en, fd, path, release, e);
	if (r == -ERR_KTREE_MISMATCH) {
		err_done(e);
		return 0;
	}
	return r < 0 ? r : 1;
}

static int list_rpms(const char *dir, char ***ret, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	int r = 0;

	if (!d)
		return err_errno(e, -errno, "cannot read %s", dir);
	while (r == 0 && (de = readdir(d))) {
		_cleanup_free_ char *path = NULL;

		if (!span_ends(SPAN(de->d_name), ".rpm"))
			continue;
		path = str_printf("%s/%s", dir, de->d_name);
		r = path ? strv_push(ret, path) : -ENOMEM;
	}
	closedir(d);
	if (*ret)
		strv_sort(*ret);
	return r < 0 ? err_oom(e) : 0;
}

static int try_path(struct engine *en, const char *path, const char *release, struct strbuf *tried,
		    struct err *e)
{
	_cleanup_strv_ char **files = NULL;
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	if (!S_ISDIR(st.st_mode))
		return try_rpm(en, path, release, tried, e);
	r = list_rpms(path, &files, e);
	for (char **f = files; f && *f && r == 0; f++)
		r = try_rpm(en, *f, release, tried, e);
	return r;
}

int kernelpkg_from_rpms(struct engine *en, char *const *paths, const char *release, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf tried = STRBUF_INIT(STRBUF_TEXT_MAX);
	int r = 0;

	for (; *paths && r == 0; paths++)
		r = try_path(en, *paths, release, &tried, e);
	if (r != 0)
		return r < 0 ? r : 0;
	(void)err_set(e, -ERR_KTREE_NOT_FOUND, "no kernel-devel package for %s among: %s", release,
		      tried.len ? strbuf_str(&tried) : "nothing");
	return err_object(e, "%s", release);
}

/* -- repositories -- */

struct repo {
	const char *url;
	const struct rpmrepo_access *access;
};

static int download(struct engine *en, const struct repo *from, const struct rpmrepo_package *p,
		    struct depot *d, struct depot_files *files, struct err *e)
{
	_cleanup_(fetch_result_done) struct fetch_result got = { 0 };
	_cleanup_free_ char *address = rpmrepo_url(from->url, p->href);
	const struct fetch_request q = { .url = address,
					 .dirfd = d->dir_fd,
					 .dir_path = d->dir_path,
					 .sha256 = p->sha256,
					 .sha256_is_index = true,
					 .size_bytes = p->size_bytes,
					 .kind = FETCH_RPM,
					 .offline = en->offline,
					 .ca_file = from->access->ca_file,
					 .client_cert = from->access->client_cert,
					 .client_key = from->access->client_key,
					 .proxy = en->fetch_proxy,
					 .attempts = en->fetch_attempts };
	const char *slash = strrchr(p->href, '/');
	int r = address ? depot_find(d, slash ? slash + 1 : p->href, p->sha256, FETCH_PUBLISHED, files, e)
			: err_oom(e);

	if (r != 0)
		return r < 0 ? r : 0;
	log_info("fetching %s", address);
	r = fetch_file(&q, &got, e);
	return r < 0 ? r
		     : depot_take(d, got.name, got.sha256, address, FETCH_PUBLISHED, got.action, files, e);
}

static int import_from_repo(struct engine *en, const struct repo *from, const struct rpmrepo_package *p,
			    const char *release, struct err *e)
{
	_cleanup_(depot_files_done) struct depot_files files = { 0 };
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	_cleanup_close_ int fd = -EBADF;
	int r = depot_open(en->store, &d, e);

	if (r == 0)
		r = download(en, from, p, &d, &files, e);
	if (r < 0)
		return r;
	fd = depot_file_open(&d, &files.v[0], e);
	return fd < 0 ? fd : import_rpm(en, fd, files.v[0].name, release, e);
}

/* What there was instead: how many, and the newest of them. */
static void tell_tried(const char *url, const struct rpmrepo_packages *l, struct strbuf *tried)
{
	const struct rpmrepo_package *newest = NULL;
	_cleanup_free_ char *best = NULL;

	for (size_t i = 0; i < l->n; i++) {
		char *here = str_printf("%s-%s", l->v[i].version, l->v[i].release);

		if (here && (!best || rpm_version_compare(here, best) > 0)) {
			free(best);
			best = here;
			newest = &l->v[i];
		} else {
			free(here);
		}
	}
	(void)strbuf_printf(tried, "%s%s (", tried->len ? "; " : "", url);
	if (newest)
		(void)strbuf_printf(tried, "%zu others, the newest %s-%s.%s)", l->n, newest->name, best,
				    newest->arch);
	else
		(void)strbuf_puts(tried, "none at all)");
}

/* 1 = the tree is in the store. */
static int try_repo(struct engine *en, const struct repo *from, const char *release, struct strbuf *tried,
		    struct err *e)
{
	const struct fetch_request q = { .dirfd = -EBADF,
					 .offline = en->offline,
					 .ca_file = from->access->ca_file,
					 .client_cert = from->access->client_cert,
					 .client_key = from->access->client_key,
					 .proxy = en->fetch_proxy,
					 .attempts = en->fetch_attempts };
	_cleanup_(rpmrepo_packages_done) struct rpmrepo_packages l = { 0 };
	_cleanup_free_ const struct rpmrepo_package **fit = NULL;
	size_t n = 0;
	int r = rpmrepo_kernels(from->url, &q, from->access->gpg_keys, &l, e);

	if (r == 0 && rpmrepo_choose(&l, release, &fit, &n) < 0)
		r = err_oom(e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		r = import_from_repo(en, from, fit[i], release, e);
		if (r != -ERR_KTREE_MISMATCH)
			return r < 0 ? r : 1;
		err_done(e);
	}
	tell_tried(from->url, &l, tried);
	return 0;
}

int kernelpkg_from_repos(struct engine *en, char *const *urls, const struct rpmrepo_access *access,
			 const char *release, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf tried = STRBUF_INIT(STRBUF_TEXT_MAX);
	int r = 0;

	for (; *urls && r == 0; urls++)
		r = try_repo(en, &(struct repo){ *urls, access }, release, &tried, e);
	if (r != 0)
		return r < 0 ? r : 0;
	(void)err_set(e, ERR_KTREE_NOT_FOUND, "no kernel-devel package for %s in: %s", release,
		      strbuf_str(&tried));
	return err_object(e, "%s", release);
}

/* -- the machine -- */

int kernelpkg_from_host(struct engine *en, const char *release, const char *arch, struct err *e)
{
	const struct ktree_search where = { .host = en->host, .release = release, .arch = arch };
	_cleanup_(store_stage_done) struct store_stage st = STORE_STAGE_INIT;
	_cleanup_(ktree_freep) struct ktree *t = NULL;
	_cleanup_free_ char *rel = str_printf("usr/src/kernels/%s", release);
	_cleanup_close_ int root = -EBADF, from = -EBADF;
	char identity[65];
	int r = rel ? ktree_find(&where, &t, e) : err_oom(e);

	if (r < 0)
		return r;
	if (strcmp(t->source, t->output) != 0)
		return err_set(e, -ERR_KTREE_INVALID, "the tree of %s is split: %s and %s", release,
			       t->source, t->output);
	r = store_stage_begin_root(en->store, &st, &root, e);
	if (r < 0)
		return r;
	from = dir_open_at(AT_FDCWD, t->source);
	if (from < 0)
		return err_errno(e, from, "cannot open %s", t->source);
	r = path_mkdirs(root, "usr/src/kernels", 0755, PATH_NO_SYMLINKS);
	if (r == 0)
		r = tree_copy(from, ".", root, rel, TREE_COPY_REFLINK);
	if (r < 0)
		return err_errno(e, r, "copying %s", t->source);
	return ktree_import(&st, release, rel, rel, NULL, identity, e);
}

/* -- any of them -- */

static bool is_stored(struct store *s, const char *release, const char *arch)
{
	const struct ktree_search where = { .store = s, .release = release, .arch = arch };
	_cleanup_(ktree_freep) struct ktree *t = NULL;

	return ktree_find(&where, &t, NULL) == 0;
}

static int obtain_release(struct engine *en, const char *release, const struct kernelpkg_sources *from,
			  struct err *e)
{
	int r;

	if (!name_is_safe(release))
		return err_set(e, ERR_USAGE, "'%s' names no kernel", release);
	if (is_stored(en->store, release, from->arch))
		return 0;
	if (from->store_only) {
		(void)err_set(e, -ERR_KTREE_NOT_FOUND, "%s/kernels has no tree of %s", en->store->path,
			      release);
		return err_object(e, "%s", release);
	}
	if (from->rpms) {
		r = kernelpkg_from_rpms(en, from->rpms, release, e);
		if (r != -ERR_KTREE_NOT_FOUND || !from->repos)
			return r;
		err_done(e);
	}
	if (from->repos)
		return kernelpkg_from_repos(en, from->repos, &from->access, release, e);
	return kernelpkg_from_host(en, release, from->arch, e);
}

int kernelpkg_obtain(struct engine *en, const char *which, const struct kernelpkg_sources *from,
		     char **ret_release, struct err *e)
{
	_cleanup_free_ char *release = NULL;
	bool hit;
	int r;

	if (strncmp(which, "apt:", 4) == 0 && from->store_only) {
		if (kernelpkg_alias(en->store, which, ret_release) == 0)
			return 0;
		return err_set(e, -ERR_KTREE_NOT_FOUND, "the store knows no kernel %s", which);
	}
	if (strncmp(which, "apt:", 4) == 0)
		return kernelpkg_from_apt(en, which, from->arch, ret_release, &hit, e);
	release = strdup(which);
	r = release ? obtain_release(en, release, from, e) : err_oom(e);
	if (r < 0)
		return r;
	*ret_release = TAKE_PTR(release);
	return 0;
}
