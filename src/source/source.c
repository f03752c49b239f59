/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include "apt.h"
#include "depot.h"
#include "digest.h"
#include "fd.h"
#include "log.h"
#include "manifest.h"
#include "parse.h"
#include "path.h"
#include "payload.h"
#include "pkg.h"
#include "pkgtree.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"
#include "urls.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const kind_names[] = { "runfile", "url", "packages", "apt", "tree", "vendor" };

const char *source_kind_name(enum source_kind k)
{
	return kind_names[k];
}

void source_done(struct source *s)
{
	strv_freep(&s->locations);
	freep(&s->version);
}

void source_result_done(struct source_result *r)
{
	freep(&r->version);
	freep(&r->arch);
	freep(&r->driver_kind);
	freep(&r->origin);
	freep(&r->origin_id);
	json_decref(r->packages);
	json_decref(r->unplaced);
	*r = (struct source_result){ 0 };
}

json_t *source_record(const struct source_result *r)
{
	return json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:s, s:O*, s:O*}", "version", r->version, "arch",
			 r->arch, "kind", r->driver_kind, "source", r->origin, "source_id", r->origin_id,
			 "trust", fetch_trust_name(r->trust), "packages", r->packages, "unplaced",
			 r->unplaced);
}

static void dir_closep(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* -- what a word names -- */

static enum fetch_kind sniff_fd(int fd, const char **ret_looks)
{
	uint8_t head[64];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	return fetch_sniff(head, n > 0 ? (size_t)n : 0, ret_looks);
}

/* Package files of a directory, sorted; judged by content. */
static int list_packages(const char *path, char ***ret, struct err *e)
{
	_cleanup_(dir_closep) DIR *dir = opendir(path);
	struct dirent *d;

	if (!dir)
		return err_errno(e, -errno, "cannot open %s", path);
	while ((d = readdir(dir))) {
		_cleanup_close_ int fd = -EBADF;
		_cleanup_free_ char *file = NULL;
		enum fetch_kind kind;

		if (d->d_name[0] == '.')
			continue;
		fd = openat(dirfd(dir), d->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
		kind = fd < 0 ? FETCH_ANY : sniff_fd(fd, NULL);
		if (kind != FETCH_DEB && kind != FETCH_RPM)
			continue;
		file = str_printf("%s/%s", path, d->d_name);
		if (!file || strv_push(ret, file) < 0)
			return err_oom(e);
	}
	if (*ret)
		strv_sort(*ret);
	return 0;
}

static int unknown(struct err *e, const char *path, const char *why)
{
	(void)err_set(e, -ERR_SOURCE_UNKNOWN, "%s %s", path, why);
	return err_object(e, "%s", path);
}

static int parse_dir(const char *path, int fd, enum source_kind *ret, struct err *e)
{
	_cleanup_strv_ char **files = NULL;
	int r;

	if (path_exists(fd, MANIFEST_NAME)) {
		*ret = SOURCE_TREE;
		return 0;
	}
	r = list_packages(path, &files, e);
	if (r < 0)
		return r;
	if (!files)
		return unknown(e, path, "has neither a .manifest nor driver packages in it");
	*ret = SOURCE_PACKAGES;
	return 0;
}

static int parse_path(const char *path, enum source_kind *ret, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *why = NULL;
	const char *looks;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	if (S_ISDIR(st.st_mode))
		return parse_dir(path, fd, ret, e);
	if (!S_ISREG(st.st_mode))
		return unknown(e, path, "is neither a file nor a directory");
	switch (sniff_fd(fd, &looks)) {
	case FETCH_RUNFILE:
		*ret = SOURCE_RUNFILE;
		return 0;
	case FETCH_DEB:
	case FETCH_RPM:
		*ret = SOURCE_PACKAGES;
		return 0;
	default:
		why = str_printf("is no driver package; it begins like %s", looks);
		return unknown(e, path, why ? why : "is no driver package");
	}
}

static int set_version(struct source *s, enum source_kind kind, const char *version, struct err *e)
{
	_cleanup_free_ char *upstream = pkg_upstream(version);

	if (!upstream)
		return err_oom(e);
	if (!version_is_valid(upstream) && !(kind == SOURCE_APT && strcmp(version, "newest") == 0))
		return err_set(e, -ERR_USAGE, "\"%s\" is not a driver version", version);
	s->kind = kind;
	s->version = strdup(version);
	return s->version ? 0 : err_oom(e);
}

static int parse_word(const char *word, struct source *s, struct err *e)
{
	_cleanup_free_ char *program = NULL;

	if (strncmp(word, "apt:", 4) == 0)
		return set_version(s, SOURCE_APT, word + 4, e);
	if (strncmp(word, "vendor:", 7) == 0)
		return set_version(s, SOURCE_VENDOR, word + 7, e);
	if (version_is_valid(word) && access(word, F_OK) < 0)
		return set_version(s, spawn_find("apt-get", &program) < 0 ? SOURCE_VENDOR : SOURCE_APT, word,
				   e);
	if (strv_push(&s->locations, word) < 0)
		return err_oom(e);
	if (!strstr(word, "://"))
		return parse_path(word, &s->kind, e);
	s->kind = SOURCE_URL;
	return fetch_url_is_valid(word)
		   ? 0
		   : err_set(e, -ERR_FETCH_URL, "\"%.200s\" is not a usable address", word);
}

int source_parse(char *const *words, size_t n, struct source *ret, struct err *e)
{
	_cleanup_(source_done) struct source s = SOURCE_INIT;
	int r;

	if (n == 0)
		return err_set(e, -ERR_USAGE, "no source named");
	if (n == 1) {
		r = parse_word(words[0], &s, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; n > 1 && i < n; i++) {
		enum source_kind kind;

		r = parse_path(words[i], &kind, e);
		if (r < 0)
			return r;
		if (kind != SOURCE_PACKAGES)
			return unknown(e, words[i],
				       "is not a .deb or .rpm package, and only these can be combined");
		if (strv_push(&s.locations, words[i]) < 0)
			return err_oom(e);
		s.kind = SOURCE_PACKAGES;
	}
	*ret = s;
	s = (struct source)SOURCE_INIT;
	return 0;
}

/* -- results -- */

static int result_begin(struct source_result *r, struct err *e)
{
	*r = (struct source_result){ .packages = json_array(), .unplaced = json_array() };
	return r->packages && r->unplaced ? 0 : err_oom(e);
}

static int result_package(struct source_result *r, const struct pkg_facts *f, const char *sha256,
			  uint64_t size, const char *file, struct err *e)
{
	json_t *o =
	    json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "name", f->name, "version", f->version, "arch",
		      f->arch, "sha256", sha256, "size_bytes", (json_int_t)size, "file", file);

	return !o || json_array_append_new(r->packages, o) < 0 ? err_oom(e) : 0;
}

static int set_text(char **field, const char *text, struct err *e)
{
	char *copy = strdup(text);

	if (!copy)
		return err_oom(e);
	free(*field);
	*field = copy;
	return 0;
}

/* One package: its digest. Several: the digest of their sorted digests, so their order and names do not matter. */
static int result_id(struct source_result *r, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(1 << 20);
	_cleanup_strv_ char **v = NULL;
	uint8_t bytes[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	size_t i;
	json_t *p;

	json_array_foreach (r->packages, i, p)
		if (strv_push(&v, json_string_value(json_object_get(p, "sha256"))) < 0)
			return err_oom(e);
	if (strv_len(v) == 1)
		return set_text(&r->origin_id, v[0], e);
	if (v)
		strv_sort(v);
	for (i = 0; v && v[i]; i++)
		(void)strbuf_printf(&text, "%s\n", v[i]);
	if (strbuf_error(&text) < 0 || sha256_bytes(strbuf_str(&text), text.len, bytes) < 0)
		return err_oom(e);
	hex_encode(bytes, sizeof(bytes), hex);
	return set_text(&r->origin_id, hex, e);
}

/* -- vendor payloads: run files and unpacked trees -- */

static int facts_of_manifest(int dirfd, struct source_result *r, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	enum package_kind kind;
	int k;

	k = manifest_read_at(dirfd, MANIFEST_NAME, 0, &m, e);
	if (k < 0)
		return k;
	kind = manifest_package_kind(m, path_exists(dirfd, PACKAGE_VGPU_HOST_MARKER));
	if ((k = set_text(&r->version, m->version, e)) < 0 ||
	    (k = set_text(&r->driver_kind, package_kind_name(kind), e)) < 0)
		return k;
	if (!r->arch)
		k = set_text(&r->arch, strstr(m->description, "aarch64") ? "aarch64" : "x86_64", e);
	return k;
}

static int count_payload(int dirfd, struct source_result *r, struct err *e)
{
	int k = tree_usage(dirfd, ".", &r->bytes, &r->files);

	return k < 0 ? err_errno(e, k, "looking at the unpacked driver") : 0;
}

static int runfile_facts(struct runfile *rf, const char *sha256, const char *file, struct source_result *r,
			 struct err *e)
{
	struct pkg_facts f = { .name = (char *)file,
			       .version = rf->header->version,
			       .arch = rf->header->target_arch };

	if (!f.version)
		f.version = rf->header->pkg_version ? rf->header->pkg_version : (char *)"";
	if (!f.arch)
		f.arch = (char *)"x86_64";
	if (set_text(&r->arch, strstr(f.arch, "aarch64") || strstr(f.arch, "arm64") ? "aarch64" : "x86_64",
		     e) < 0)
		return -ENOMEM;
	if (f.version[0] && set_text(&r->version, f.version, e) < 0)
		return -ENOMEM;
	return result_package(r, &f, sha256, rf->layout.file_size, file, e);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int stage_runfile(int at, const char *path, const struct source_options *o, int dirfd,
			 struct source_result *r, struct err *e)
{
	struct runfile_options ro = { .flags = RUNFILE_CHECK_SUMS | RUNFILE_SHA256,
				      .pin = { .sha256 = o->sha256, .size_bytes = o->size_bytes } };
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	struct runfile_report report = { 0 };
	char sha256[SHA256_HEX_SIZE];
	int k;

	k = runfile_open_at(at, path, &rf, e);
	if (k < 0)
		return k;
	k = runfile_extract_into(rf, dirfd, NULL, &ro, &report, e);
	if (k < 0)
		return k;
	hex_encode(report.sums.sha256, SHA256_SIZE, sha256);
	if ((k = runfile_facts(rf, sha256, base_name(path), r, e)) < 0 ||
	    (k = facts_of_manifest(dirfd, r, e)) < 0 || (k = count_payload(dirfd, r, e)) < 0)
		return k;
	return result_id(r, e);
}

/* An unpacked tree is copied as it is; what cannot be in a driver is refused before anything is copied. */
static int check_tree_entry(const struct tree_entry *en, void *arg)
{
	struct err *e = arg;

	if (S_ISREG(en->st.st_mode) || S_ISDIR(en->st.st_mode))
		return path_name_is_clean(en->path)
			   ? 0
			   : err_set(e, -ERR_PATH_ESCAPE, "\"%.200s\" is no usable name", en->path);
	return err_set(e, -ERR_SOURCE_MEMBER, "%s is neither a file nor a directory", en->path);
}

static int drop_set_id(const struct tree_entry *en, void *arg)
{
	if (!(en->st.st_mode & 06000) || S_ISLNK(en->st.st_mode))
		return 0;
	return fchmodat(en->dirfd, en->name, en->st.st_mode & 0777, 0) < 0 ? -errno : 0;
}

static int stage_tree(const char *path, int to_fd, struct source_result *r, struct err *e)
{
	_cleanup_(dir_closep) DIR *dir = opendir(path);
	struct dirent *d;
	int k;

	if (!dir)
		return err_errno(e, -errno, "cannot open %s", path);
	k = tree_walk(dirfd(dir), TREE_AS_READ, check_tree_entry, e);
	if (k < 0) {
		if (!e || !e->code)
			return err_errno(e, k, "reading %s", path);
		(void)err_object(e, "%s", path);
		return err_wrap(e, "%s", path);
	}
	while ((d = readdir(dir))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		k = tree_copy(dirfd(dir), d->d_name, to_fd, d->d_name, TREE_COPY_REFLINK);
		if (k < 0)
			return err_errno(e, k, "copying %s/%s", path, d->d_name);
	}
	k = tree_walk(to_fd, TREE_AS_READ, drop_set_id, NULL);
	if (k < 0)
		return err_errno(e, k, "setting modes");
	k = facts_of_manifest(to_fd, r, e);
	if (k < 0)
		return err_wrap(e, "%s", path);
	return count_payload(to_fd, r, e);
}

/* -- packages -- */

/* Package files being turned into a payload. */
struct intake {
	struct pkgtree *tree; /* owned */
	struct pkg_budget budget;
};

static void intake_done(struct intake *in)
{
	pkgtree_freep(&in->tree);
}

static int intake_finish(struct intake *in, const struct source_options *o, struct source_result *r,
			 struct err *e)
{
	_cleanup_(pkgtree_result_done) struct pkgtree_result t = { 0 };
	unsigned needs = 0;
	int k;

	if (o->with_kernel_sources || !o->with_user_space)
		needs |= PKGTREE_NEEDS_KERNEL;
	if (o->with_user_space || !o->with_kernel_sources)
		needs |= PKGTREE_NEEDS_USER_SPACE;
	k = pkgtree_finish(in->tree, needs, &t, e);
	if (k < 0)
		return k;
	free(r->version);
	free(r->arch);
	free(r->driver_kind);
	r->version = TAKE_PTR(t.version);
	r->arch = TAKE_PTR(t.arch);
	r->driver_kind = TAKE_PTR(t.driver_kind);
	r->files = t.files;
	r->bytes = t.bytes;
	json_decref(r->unplaced);
	r->unplaced = json_incref(pkgtree_unplaced(in->tree));
	return result_id(r, e);
}

/* Paths of all package files, directories replaced by what is in them. */
static int expand_locations(char *const *locations, char ***ret, struct err *e)
{
	for (size_t i = 0; locations[i]; i++) {
		struct stat st;
		int r;

		if (stat(locations[i], &st) < 0)
			return err_errno(e, -errno, "cannot open %s", locations[i]);
		if (S_ISDIR(st.st_mode))
			r = list_packages(locations[i], ret, e);
		else
			r = strv_push(ret, locations[i]) < 0 ? err_oom(e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int note_package(int fd, const char *path, struct source_result *r, uint64_t *ret_size, struct err *e)
{
	_cleanup_(pkg_facts_done) struct pkg_facts f = { 0 };
	char sha256[SHA256_HEX_SIZE];
	struct stat st;
	int k;

	if (fstat(fd, &st) < 0 || (k = sha256_fd_hex(fd, sha256)) < 0)
		return err_errno(e, -EIO, "reading %s", path);
	k = pkg_facts(fd, path, &f, e);
	if (k < 0)
		return k;
	*ret_size = (uint64_t)st.st_size;
	return result_package(r, &f, sha256, *ret_size, base_name(path), e);
}

static int list_package_files(const struct source *s, struct source_result *r, char ***ret_paths,
			      uint64_t *ret_bytes, struct err *e)
{
	int k = expand_locations(s->locations, ret_paths, e);

	*ret_bytes = 0;
	for (size_t i = 0; k >= 0 && *ret_paths && (*ret_paths)[i]; i++) {
		_cleanup_close_ int fd = open((*ret_paths)[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		uint64_t size = 0;

		if (fd < 0)
			return err_errno(e, -errno, "cannot open %s", (*ret_paths)[i]);
		k = note_package(fd, (*ret_paths)[i], r, &size, e);
		*ret_bytes += size;
	}
	return k;
}

static int stage_packages(const struct source *s, const struct source_options *o, int dirfd,
			  struct source_result *r, struct err *e)
{
	_cleanup_(intake_done) struct intake in = { 0 };
	_cleanup_strv_ char **paths = NULL;
	uint64_t bytes;
	int k;

	k = list_package_files(s, r, &paths, &bytes, e);
	if (k >= 0)
		k = pkgtree_new(dirfd, &in.tree, e);
	in.budget = (struct pkg_budget)PKG_BUDGET_INIT(bytes);
	for (size_t i = 0; k >= 0 && paths && paths[i]; i++) {
		_cleanup_close_ int fd = open(paths[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd < 0)
			return err_errno(e, -errno, "cannot open %s", paths[i]);
		k = pkgtree_add(in.tree, fd, paths[i], &in.budget, e);
	}
	return k < 0 ? k : intake_finish(&in, o, r, e);
}

/* -- files that have to be fetched -- */

static int depot_for(const struct source_options *o, struct depot *ret, struct err *e)
{
	return o->to_dir ? depot_open_dir(o->to_dir, ret, e) : depot_open(o->store, ret, e);
}

/* A package is found again by its name until somebody pins another digest. */
static int find_fetched(struct depot *d, const char *name, const char *sha256, struct depot_files *files,
			struct err *e)
{
	_cleanup_free_ char *ref = str_printf("package/%s", name), *id = NULL;
	enum store_kind kind;

	if (!ref)
		return err_oom(e);
	if (!d->store)
		return 0;
	if (sha256)
		return depot_find(d, name, sha256, FETCH_PINNED, files, e);
	if (store_ref_get(d->store, ref, &kind, &id) < 0 || kind != STORE_PACKAGE)
		return 0;
	return depot_find(d, name, id, FETCH_RECORDED, files, e);
}

static int remember_fetched(struct depot *d, const struct depot_file *f, struct err *e)
{
	_cleanup_free_ char *ref = str_printf("package/%s", f->name);

	if (!ref)
		return err_oom(e);
	return d->store ? store_ref_set(d->store, ref, STORE_PACKAGE, f->sha256, e) : 0;
}

static int fetch_url(struct depot *d, const char *url, char *const *mirrors, const struct source_options *o,
		     struct depot_files *files, struct err *e)
{
	_cleanup_(fetch_result_done) struct fetch_result got = { 0 };
	_cleanup_free_ char *name = NULL;
	struct fetch_request q = FETCH_REQUEST_INIT;
	int r;

	if (fetch_url_name(url, &name) < 0)
		return err_set(e, -ERR_FETCH_URL, "\"%.200s\" does not end in a usable file name", url);
	r = find_fetched(d, name, o->sha256, files, e);
	if (r != 0)
		return r < 0 ? r : 0;
	q.url = url;
	q.mirrors = mirrors;
	q.dirfd = d->dir_fd;
	q.dir_path = d->dir_path;
	q.sha256 = o->sha256;
	q.md5 = o->md5;
	q.size_bytes = o->size_bytes;
	q.kind = FETCH_PACKAGE;
	q.use_side_car = true;
	q.offline = o->offline;
	q.proxy = o->proxy;
	q.ca_file = o->ca_file;
	q.attempts = o->attempts;
	r = fetch_file(&q, &got, e);
	if (r < 0)
		return r;
	r = depot_take(d, got.name, got.sha256, got.url ? got.url : url, got.trust, got.action, files, e);
	return r < 0 ? r : remember_fetched(d, &files->v[files->n - 1], e);
}

static const char *machine_of(const struct source_options *o)
{
#if defined(__aarch64__)
	return o->arch ? o->arch : "aarch64";
#else
	return o->arch ? o->arch : "x86_64";
#endif
}

/* The file of a URL or vendor source, in the depot. */
static int fetch_single(const struct source *s, const struct source_options *o, struct depot *d,
			struct depot_files *files, struct err *e)
{
	_cleanup_strv_ char **urls = NULL;
	int r;

	if (s->kind == SOURCE_URL)
		return fetch_url(d, s->locations[0], o->mirrors, o, files, e);
	r = fetch_driver_urls(s->version, machine_of(o), o->driver_kind ? o->driver_kind : "passthrough",
			      o->branch, &urls, e);
	for (size_t i = 0; r >= 0 && o->mirrors && o->mirrors[i]; i++)
		r = strv_push(&urls, o->mirrors[i]) < 0 ? err_oom(e) : 0;
	return r < 0 ? r : fetch_url(d, urls[0], urls + 1, o, files, e);
}

static enum fetch_trust weakest(const struct depot_files *files)
{
	enum fetch_trust t = FETCH_PINNED;

	for (size_t i = 0; i < files->n; i++)
		if (files->v[i].trust < t)
			t = files->v[i].trust;
	return t;
}

/* What lay in the store already is read once more before it is used. */
static int check_present(int fd, const struct depot_file *f, struct err *e)
{
	char sha256[SHA256_HEX_SIZE];
	int r;

	if (f->action != FETCH_PRESENT)
		return 0;
	r = sha256_fd_hex(fd, sha256);
	if (r < 0)
		return err_errno(e, r, "reading %s", f->name);
	if (strcmp(sha256, f->sha256) == 0)
		return 0;
	(void)err_set(e, -ERR_STORE_DAMAGED, "packages/%s/%s does not have its digest any more", f->sha256,
		      f->name);
	return err_object(e, "packages/%s", f->sha256);
}

static int stage_depot_packages(struct depot *d, const struct depot_files *files,
				const struct source_options *o, int dirfd, struct source_result *r,
				struct err *e)
{
	_cleanup_(intake_done) struct intake in = { 0 };
	uint64_t bytes = 0, size;
	int k;

	for (size_t i = 0; i < files->n; i++)
		bytes += files->v[i].size_bytes;
	in.budget = (struct pkg_budget)PKG_BUDGET_INIT(bytes);
	k = pkgtree_new(dirfd, &in.tree, e);
	for (size_t i = 0; k >= 0 && i < files->n; i++) {
		_cleanup_close_ int fd = depot_file_open(d, &files->v[i], e);

		if (fd < 0)
			return fd;
		if ((k = check_present(fd, &files->v[i], e)) < 0 ||
		    (k = note_package(fd, files->v[i].name, r, &size, e)) < 0)
			return k;
		k = pkgtree_add(in.tree, fd, files->v[i].name, &in.budget, e);
	}
	if (k < 0)
		return k;
	r->trust = weakest(files);
	return intake_finish(&in, o, r, e);
}

static int stage_single(const struct source *s, const struct source_options *o, int dirfd,
			struct source_result *r, struct err *e)
{
	_cleanup_(depot_files_done) struct depot_files files = { 0 };
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *path = NULL;
	int k;

	if ((k = depot_for(o, &d, e)) < 0 || (k = fetch_single(s, o, &d, &files, e)) < 0)
		return k;
	fd = depot_file_open(&d, &files.v[0], e);
	if (fd < 0)
		return fd;
	if (files.v[0].url && (k = set_text(&r->origin, files.v[0].url, e)) < 0)
		return k;
	if (sniff_fd(fd, NULL) != FETCH_RUNFILE)
		return stage_depot_packages(&d, &files, o, dirfd, r, e);
	r->trust = files.v[0].trust;
	if (d.store)
		path = str_printf("packages/%s/%s", files.v[0].sha256, files.v[0].name);
	else
		path = strdup(files.v[0].name);
	if (!path)
		return err_oom(e);
	return stage_runfile(d.store ? d.store->dir_fd : d.dir_fd, path, o, dirfd, r, e);
}

static int stage_apt(const struct source *s, const struct source_options *o, int dirfd,
		     struct source_result *r, struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages packages = { 0 };
	_cleanup_(depot_files_done) struct depot_files files = { 0 };
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	_cleanup_(apt_freep) struct apt *apt = NULL;
	int k;

	if ((k = depot_open(o->store, &d, e)) < 0 || (k = apt_open(&d, o, &apt, e)) < 0 ||
	    (k = apt_driver(apt, s->version, &packages, &r->version, e)) < 0 ||
	    (k = apt_download(apt, &packages, &files, e)) < 0)
		return k;
	apt_freep(&apt);
	return stage_depot_packages(&d, &files, o, dirfd, r, e);
}

/* -- entry points -- */

static int set_origin(const struct source *s, struct source_result *r, struct err *e)
{
	_cleanup_free_ char *text = NULL;

	if (s->kind == SOURCE_APT || s->kind == SOURCE_VENDOR)
		text = str_printf("%s:%s", kind_names[s->kind], s->version);
	else
		text = strdup(s->locations[0]);
	return text ? set_text(&r->origin, text, e) : err_oom(e);
}

static int stage_into(const struct source *s, const struct source_options *o, int dirfd,
		      struct source_result *r, struct err *e)
{
	switch (s->kind) {
	case SOURCE_RUNFILE:
		r->trust = o->sha256 ? FETCH_PINNED : FETCH_RECORDED;
		return stage_runfile(AT_FDCWD, s->locations[0], o, dirfd, r, e);
	case SOURCE_PACKAGES:
		return stage_packages(s, o, dirfd, r, e);
	case SOURCE_TREE:
		return stage_tree(s->locations[0], dirfd, r, e);
	case SOURCE_APT:
		return stage_apt(s, o, dirfd, r, e);
	case SOURCE_URL:
	case SOURCE_VENDOR:
	default:
		return stage_single(s, o, dirfd, r, e);
	}
}

int source_stage(const struct source *s, const struct source_options *o, int dirfd, struct source_result *ret,
		 struct err *e)
{
	_cleanup_(source_result_done) struct source_result r = { 0 };
	_cleanup_(err_done) struct err own = ERR_INIT;
	int k;

	if (!e)
		e = &own;
	if ((k = result_begin(&r, e)) < 0 || (k = set_origin(s, &r, e)) < 0 ||
	    (k = stage_into(s, o, dirfd, &r, e)) < 0)
		return k;
	if (json_array_size(r.unplaced))
		log_warn(
		    "%zu files of the packages have no place in the driver's layout; they are listed in the "
		    "tree's record",
		    json_array_size(r.unplaced));
	*ret = r;
	r = (struct source_result){ 0 };
	return 0;
}

static int resolve_apt(const struct source *s, const struct source_options *o, struct source_result *r,
		       struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages packages = { 0 };
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	_cleanup_(apt_freep) struct apt *apt = NULL;
	int k;

	if ((k = depot_open(o->store, &d, e)) < 0 || (k = apt_open(&d, o, &apt, e)) < 0 ||
	    (k = apt_driver(apt, s->version, &packages, &r->version, e)) < 0)
		return k;
	for (size_t i = 0; i < packages.n; i++) {
		struct apt_package *p = &packages.v[i];
		struct pkg_facts f = { p->name, p->version, p->arch, p->source };

		k = result_package(r, &f, p->sha256, p->size_bytes, p->name, e);
		if (k < 0)
			return k;
		r->bytes += p->size_bytes;
	}
	r->trust = FETCH_PUBLISHED;
	if ((k = set_text(&r->arch, machine_of(o), e)) < 0)
		return k;
	return result_id(r, e);
}

static int resolve_runfile(const struct source *s, struct source_result *r, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	char sha256[SHA256_HEX_SIZE];
	int k;

	k = runfile_open_at(AT_FDCWD, s->locations[0], &rf, e);
	if (k < 0)
		return k;
	k = sha256_fd_hex(rf->fd, sha256);
	if (k < 0)
		return err_errno(e, k, "reading %s", s->locations[0]);
	k = runfile_facts(rf, sha256, base_name(s->locations[0]), r, e);
	if (k >= 0)
		k = set_text(&r->driver_kind, package_kind_name(runfile_header_kind(rf->header)), e);
	return k < 0 ? k : result_id(r, e);
}

static int resolve_packages(const struct source *s, struct source_result *r, struct err *e)
{
	_cleanup_strv_ char **paths = NULL;
	uint64_t bytes;
	int k = list_package_files(s, r, &paths, &bytes, e);

	r->bytes = bytes;
	return k < 0 ? k : result_id(r, e);
}

static int resolve_tree(const struct source *s, struct source_result *r, struct err *e)
{
	_cleanup_close_ int fd = open(s->locations[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, -errno, "cannot open %s", s->locations[0]);
	return facts_of_manifest(fd, r, e);
}

static int resolve_single(const struct source *s, const struct source_options *o, struct source_result *r,
			  struct err *e)
{
	r->trust = o->sha256 ? FETCH_PINNED : FETCH_RECORDED;
	if (s->version && set_text(&r->version, s->version, e) < 0)
		return -ENOMEM;
	return o->sha256 ? set_text(&r->origin_id, o->sha256, e) : 0;
}

static int resolve_into(const struct source *s, const struct source_options *o, struct source_result *r,
			struct err *e)
{
	switch (s->kind) {
	case SOURCE_RUNFILE:
		r->trust = o->sha256 ? FETCH_PINNED : FETCH_RECORDED;
		return resolve_runfile(s, r, e);
	case SOURCE_PACKAGES:
		return resolve_packages(s, r, e);
	case SOURCE_TREE:
		return resolve_tree(s, r, e);
	case SOURCE_APT:
		return resolve_apt(s, o, r, e);
	case SOURCE_URL:
	case SOURCE_VENDOR:
	default:
		return resolve_single(s, o, r, e);
	}
}

int source_resolve(const struct source *s, const struct source_options *o, struct source_result *ret,
		   struct err *e)
{
	_cleanup_(source_result_done) struct source_result r = { 0 };
	int k;

	if ((k = result_begin(&r, e)) < 0 || (k = set_origin(s, &r, e)) < 0 ||
	    (k = resolve_into(s, o, &r, e)) < 0)
		return k;
	*ret = r;
	r = (struct source_result){ 0 };
	return 0;
}

static int fetch_apt(const struct source *s, const struct source_options *o, struct depot *d,
		     struct depot_files *files, struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages packages = { 0 };
	_cleanup_(apt_freep) struct apt *apt = NULL;
	_cleanup_free_ char *version = NULL;
	int r;

	if ((r = apt_open(d, o, &apt, e)) < 0 ||
	    (r = apt_driver(apt, s->version, &packages, &version, e)) < 0 ||
	    (r = apt_download(apt, &packages, files, e)) < 0)
		return r;
	/* Asked for by themselves they stay until somebody takes the references away; what prepare downloads is kept
	 * by the record of the tree made from it. */
	for (size_t i = 0; r >= 0 && i < files->n; i++)
		r = remember_fetched(d, &files->v[i], e);
	return r;
}

static int import_paths(const struct source *s, struct depot *d, struct depot_files *files, struct err *e)
{
	_cleanup_strv_ char **paths = NULL;
	int r = expand_locations(s->locations, &paths, e);

	for (size_t i = 0; r >= 0 && paths && paths[i]; i++) {
		r = depot_import(d, paths[i], files, e);
		if (r >= 0)
			r = remember_fetched(d, &files->v[files->n - 1], e);
	}
	return r;
}

int source_fetch(const struct source *s, const struct source_options *o, json_t *ret_packages, struct err *e)
{
	_cleanup_(depot_files_done) struct depot_files files = { 0 };
	_cleanup_(depot_done) struct depot d = DEPOT_INIT;
	int r;

	if (s->kind == SOURCE_TREE)
		return err_set(e, -ERR_USAGE, "%s is an unpacked driver; there is no package to fetch",
			       s->locations[0]);
	r = depot_for(o, &d, e);
	if (r < 0)
		return r;
	if (s->kind == SOURCE_APT)
		r = fetch_apt(s, o, &d, &files, e);
	else if (s->kind == SOURCE_URL || s->kind == SOURCE_VENDOR)
		r = fetch_single(s, o, &d, &files, e);
	else
		r = import_paths(s, &d, &files, e);
	for (size_t i = 0; r >= 0 && i < files.n; i++)
		r = depot_file_json(&files.v[i], ret_packages, e);
	return r < 0 ? r : 0;
}
