/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-driver.h"

#include "cleanup.h"
#include "digest.h"
#include "fd.h"
#include "fetch.h"
#include "jutil.h"
#include "patch.h"
#include "path.h"
#include "payload.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"
#include "vgpu-listing.h"
#include "zip.h"
#include "err-vgpu.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOST_DRIVER_GLOB "*-vgpu-kvm.run"
#define MEGA_TIMEOUT_S	 (6 * 3600)
#define OVERRIDES_MAX	 ((size_t)1 << 20)

/* -- what a file is -- */

void driver_facts_done(struct driver_facts *f)
{
	free(f->version);
	*f = (struct driver_facts){ 0 };
}

int driver_expected_version(const struct catalog_driver *row, const char *name, char **ret)
{
	int r;

	*ret = NULL;
	if (row)
		return (*ret = strdup(row->version)) ? 0 : -ENOMEM;
	r = catalog_file_version(name, ret);
	return r == -ENOMEM ? r : 0;
}

static int see_member(const struct tar_member *m, void *arg, struct err *e _unused_)
{
	struct driver_facts *f = arg;
	struct span name = SPAN(m->name);

	f->has_proprietary |= m->kind == TAR_FILE && span_starts(name, "kernel/");
	f->has_open |= m->kind == TAR_FILE && span_starts(name, "kernel-open/");
	return TAR_SKIP;
}

static int check_identity(const struct runfile *rf, const char *version, enum package_kind kind,
			  struct err *e)
{
	const struct runfile_header *h = rf->header;

	if (!h->version || !*h->version)
		return err_set(e, ERR_VGPU_DRIVER, "%s does not say its version", rf->name);
	if (version && strcmp(h->version, version) != 0)
		return err_set(e, ERR_VGPU_DRIVER, "%s is driver %s, not %s", rf->name, h->version, version);
	if (runfile_header_kind(h) != kind)
		return err_set(e, ERR_VGPU_DRIVER, "%s is a driver of kind %s, not of a vGPU %s", rf->name,
			       package_kind_name(runfile_header_kind(h)),
			       kind == PACKAGE_GRID ? "guest" : "host");
	return 0;
}

static int inspect(int dirfd, const char *name, const char *version, enum package_kind kind,
		   struct driver_facts *ret, struct err *e)
{
	static const struct tar_visitor visitor = { .member = see_member };
	struct runfile_options o = { .flags = RUNFILE_CHECK_SUMS | RUNFILE_SHA256 };
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	_cleanup_(driver_facts_done) struct driver_facts f = { 0 };
	struct runfile_report report = { 0 };
	int r = runfile_open_at(dirfd, name, &rf, e);

	if (r == 0)
		r = check_identity(rf, version, kind, e);
	if (r == 0)
		r = runfile_walk(rf, &o, &visitor, &f, &report, e);
	if (r < 0)
		return r;
	hex_encode(report.sums.sha256, SHA256_SIZE, f.sha256);
	f.size_bytes = rf->layout.file_size;
	f.version = strdup(rf->header->version);
	if (!f.version)
		return err_oom(e);
	driver_facts_done(ret);
	*ret = f;
	f = (struct driver_facts){ 0 };
	return 0;
}

int driver_inspect(int dirfd, const char *name, const char *version, struct driver_facts *ret, struct err *e)
{
	return inspect(dirfd, name, version, PACKAGE_VGPU_KVM, ret, e);
}

int driver_inspect_guest(int dirfd, const char *name, const char *version, struct driver_facts *ret,
			 struct err *e)
{
	return inspect(dirfd, name, version, PACKAGE_GRID, ret, e);
}

/* -- results -- */

void driver_result_done(struct driver_result *r)
{
	driver_facts_done(&r->facts);
	free(r->path);
	free(r->url);
	free(r->archive);
	free(r->backup);
	strv_freep(&r->notes);
	*r = (struct driver_result){ 0 };
}

static int set_string(char **to, const char *text, struct err *e)
{
	free(*to);
	*to = text ? strdup(text) : NULL;
	return text && !*to ? err_oom(e) : 0;
}

static int note(char ***notes, const char *fmt, const char *a, struct err *e)
{
	_cleanup_free_ char *text = str_printf("%s %s", a, fmt);

	return !text || strv_push(notes, text) < 0 ? err_oom(e) : 0;
}

/* Puts a synced file under its name. The same bytes there already: it is dropped. */
static int settle(int from_dirfd, const char *from, int dirfd, const char *name, const char sha256[65],
		  char **ret_backup, bool *ret_present, struct err *e)
{
	char there[SHA256_HEX_SIZE];
	int r = sha256_file_at(dirfd, name, there);

	*ret_present = r == 0 && strcmp(there, sha256) == 0;
	if (*ret_present)
		return unlinkat(from_dirfd, from, 0) < 0 ? err_errno(e, -errno, "removing %s", from) : 0;
	if (r == 0)
		r = publish_keep(dirfd, name, ret_backup);
	else if (r == -ENOENT)
		r = 0;
	if (r == 0)
		r = publish_rename(from_dirfd, from, dirfd, name, false);
	return r < 0 ? err_errno(e, r, "putting %s in place", name) : 0;
}

/* -- the register -- */

static bool is_zip_name(const char *name)
{
	return span_ends(SPAN(name), ".zip");
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Row for what is expected: the branch named, else the file's own. */
static int find_row(const struct driver_request *q, const char *name, const struct catalog_driver **ret,
		    struct err *e)
{
	*ret = q->branch ? catalog_driver(q->catalog, q->branch) : catalog_driver_by_file(q->catalog, name);
	if (q->branch && !*ret) {
		(void)err_set(e, ERR_VGPU_BRANCH, "the register has no branch %s", q->branch);
		return err_object(e, "%s", q->branch);
	}
	return 0;
}

/* The register's MD5 counts for the file of that name alone. */
static const char *known_md5(const struct driver_request *q, const struct catalog_driver *row,
			     const char *name)
{
	const struct catalog_driver *own = row && strcmp(row->file, name) == 0 ? row : NULL;

	if (q->accept_md5 || !own || !*own->md5)
		return NULL;
	return own->md5;
}

static const char *package_sha256(const struct driver_request *q, const char *name)
{
	for (size_t i = 0; !q->sha256 && i < q->catalog->n_releases; i++)
		if (strcmp(q->catalog->releases[i].package, name) == 0 &&
		    *q->catalog->releases[i].package_sha256)
			return q->catalog->releases[i].package_sha256;
	return q->sha256;
}

/* Of archives whose SHA-256 no table has. */
static const char *package_md5(const struct driver_request *q, const char *name)
{
	for (size_t i = 0; !package_sha256(q, name) && i < q->catalog->n_releases; i++)
		if (strcmp(q->catalog->releases[i].package, name) == 0 &&
		    *q->catalog->releases[i].package_md5)
			return q->catalog->releases[i].package_md5;
	return NULL;
}

static int note_row(const struct driver_request *q, struct driver_result *d, const char *name, struct err *e)
{
	if (!d->row)
		return note(&d->notes, "is not in the register: for native cards only, no patch is known",
			    name, e);
	if (q->accept_md5 && *d->row->md5)
		return note(&d->notes, "was not compared with the register's MD5, as asked", name, e);
	return 0;
}

/* -- checks of bytes that are here -- */

struct expected {
	const char *version; /* NULL = any */
	struct driver_facts *facts;
};

static int accept_file(int dirfd, const char *name, void *arg, struct err *e)
{
	struct expected *x = arg;

	return driver_inspect(dirfd, name, x->version, x->facts, e);
}

static int md5_of(int fd, char out[2 * MD5_SIZE + 1])
{
	_cleanup_(digest_freep) struct digest *d = NULL;
	_cleanup_free_ char *block = malloc(1 << 18);
	uint8_t bytes[MD5_SIZE];
	size_t len;
	ssize_t n;
	int r = block ? digest_new("md5", &d) : -ENOMEM;

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	while (r == 0 && (n = read_upto(fd, block, 1 << 18)) != 0)
		r = n < 0 ? (int)n : digest_update(d, block, (size_t)n);
	if (r == 0)
		r = digest_final(d, bytes, sizeof(bytes), &len);
	if (r == 0)
		hex_encode(bytes, sizeof(bytes), out);
	return r;
}

static int digest_error(const char *name, const char *kind, const char *want, const char *found,
			struct err *e)
{
	(void)err_set(e, ERR_FETCH_DIGEST, "%s: expected %s %s, found %s", name, kind, want, found);
	return err_object(e, "%s", name);
}

/* A path that a person names may be a link. */
static int check_md5(int dirfd, const char *name, const char *want, struct err *e)
{
	_cleanup_close_ int fd =
	    want ? openat(dirfd, name, O_RDONLY | O_CLOEXEC | (dirfd == AT_FDCWD ? 0 : O_NOFOLLOW)) : -EBADF;
	char found[2 * MD5_SIZE + 1];
	int r;

	if (!want)
		return 0;
	r = fd < 0 ? -errno : md5_of(fd, found);
	if (r < 0)
		return err_errno(e, r, "reading %s", name);
	return strcasecmp(want, found) != 0 ? digest_error(name, "md5", want, found, e) : 0;
}

/* -- zip archives -- */

struct nest {
	int parent_fd; /* borrowed */
	int fd; /* owned */
	char name[64];
};

static void nest_done(struct nest *n)
{
	close_fdp(&n->fd);
	if (n->name[0])
		(void)tree_remove(n->parent_fd, n->name);
}

static int nest_open(struct nest *n, struct err *e)
{
	int r = tmpname_random(n->name, sizeof(n->name));

	if (r == 0 && mkdirat(n->parent_fd, n->name, 0700) < 0)
		r = -errno;
	if (r < 0)
		n->name[0] = '\0';
	else
		r = n->fd = dir_open_at(n->parent_fd, n->name);
	return r < 0 ? err_errno(e, r, "making a directory to unpack into") : 0;
}

/* A run file that lies in the nest: judged, then put into its place. */
static int take_from_nest(const struct driver_request *q, const struct nest *nest, const char *name,
			  const char *action, struct driver_result *d, struct err *e)
{
	_cleanup_free_ char *version = NULL;
	bool present = false;
	int r = find_row(q, name, &d->row, e);

	if (r == 0 && driver_expected_version(d->row, name, &version) < 0)
		r = err_oom(e);
	if (r == 0)
		r = check_md5(nest->fd, name, known_md5(q, d->row, name), e);
	if (r == 0)
		r = driver_inspect(nest->fd, name, version, &d->facts, e);
	if (r == 0)
		r = settle(nest->fd, name, q->dirfd, name, d->facts.sha256, &d->backup, &present, e);
	if (r < 0)
		return r;
	d->action = present ? "present" : d->backup ? "replaced" : action;
	d->path = str_printf("%s/%s", q->dir_path, name);
	return d->path ? note_row(q, d, name, e) : err_oom(e);
}

/* The run file in an archive: unpacked beside its place. */
static int unpack(const struct driver_request *q, int zip_fd, const char *label, struct driver_result *d,
		  struct err *e)
{
	_cleanup_(nest_done) struct nest nest = { q->dirfd, -EBADF, "" };
	_cleanup_free_ char *name = NULL;
	int r = nest_open(&nest, e);

	if (r == 0)
		r = zip_take(zip_fd, label, HOST_DRIVER_GLOB, nest.fd, &name, e);
	if (r == 0)
		r = take_from_nest(q, &nest, name, "unpacked", d, e);
	return r < 0 ? r : set_string(&d->archive, label, e);
}

/* -- a file by hand -- */

static int check_sha256(const char *name, int fd, const char *want, struct err *e)
{
	char found[SHA256_HEX_SIZE];
	int r = want ? sha256_fd_hex(fd, found) : 0;

	if (r < 0)
		return err_errno(e, r, "reading %s", name);
	return want && strcasecmp(want, found) != 0 ? digest_error(name, "sha256", want, found, e) : 0;
}

static int take_runfile(const struct driver_request *q, const char *name, struct driver_result *d,
			struct err *e)
{
	_cleanup_free_ char *version = NULL;
	int r = find_row(q, name, &d->row, e);

	if (r < 0)
		return r;
	if (driver_expected_version(d->row, name, &version) < 0)
		return err_oom(e);
	r = driver_inspect(AT_FDCWD, q->file, version, &d->facts, e);
	if (r == 0)
		r = check_md5(AT_FDCWD, q->file, known_md5(q, d->row, name), e);
	if (r == 0)
		r = set_string(&d->path, q->file, e);
	d->action = "present";
	return r < 0 ? r : note_row(q, d, name, e);
}

static int take_file(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	_cleanup_close_ int fd = open(q->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *name = base_name(q->file);
	char head[64];
	ssize_t n;
	int r;

	if (fd < 0) {
		(void)err_errno(e, -errno, "cannot open %s", q->file);
		return err_object(e, "%s", q->file);
	}
	n = pread(fd, head, sizeof(head), 0);
	r = check_sha256(q->file, fd, package_sha256(q, name), e);
	if (r >= 0)
		r = check_md5(AT_FDCWD, q->file, q->accept_md5 ? NULL : package_md5(q, name), e);
	if (r < 0)
		return r;
	if (n <= 0 || !fetch_kind_fits(FETCH_ZIP, head, (size_t)n, NULL))
		return take_runfile(q, name, d, e);
	if (!q->dry_run)
		return unpack(q, fd, q->file, d, e);
	d->action = "unpacked";
	return set_string(&d->archive, q->file, e);
}

/* -- over the network -- */

static struct fetch_request fetch_request_of(const struct driver_request *q, const char *url,
					     const char *name)
{
	return (struct fetch_request){
		.url = url,
		.dirfd = q->dirfd,
		.dir_path = q->dir_path,
		.name = name,
		.sha256 = package_sha256(q, name),
		.offline = q->offline,
		.dry_run = q->dry_run,
		.proxy = q->proxy,
		.ca_file = q->ca_file,
		.attempts = q->attempts,
		.stall_timeout_s = q->stall_timeout_s,
	};
}

static int fetch_runfile(const struct driver_request *q, const char *url, const char *name,
			 struct driver_result *d, struct err *e)
{
	_cleanup_(fetch_result_done) struct fetch_result got = { 0 };
	struct fetch_request f = fetch_request_of(q, url, name);
	_cleanup_free_ char *version = NULL;
	struct expected x = { NULL, &d->facts };
	int r;

	if (driver_expected_version(d->row, name, &version) < 0)
		return err_oom(e);
	x.version = version;
	f.kind = FETCH_RUNFILE;
	f.md5 = known_md5(q, d->row, name);
	f.accept = accept_file;
	f.accept_arg = &x;
	r = fetch_file(&f, &got, e);
	if (r < 0)
		return r;
	d->action = fetch_action_name(got.action);
	d->backup = TAKE_PTR(got.backup);
	d->path = str_printf("%s/%s", q->dir_path, name);
	return d->path ? note_row(q, d, name, e) : err_oom(e);
}

static int fetch_zip(const struct driver_request *q, const char *url, const char *name,
		     struct driver_result *d, struct err *e)
{
	_cleanup_(fetch_result_done) struct fetch_result got = { 0 };
	_cleanup_free_ char *path = str_printf("%s/%s", q->dir_path, name);
	struct fetch_request f = fetch_request_of(q, url, name);
	_cleanup_close_ int fd = -EBADF;
	int r;

	f.kind = FETCH_ZIP;
	f.md5 = q->accept_md5 ? NULL : package_md5(q, name);
	r = path ? fetch_file(&f, &got, e) : err_oom(e);
	if (r < 0)
		return r;
	if (q->dry_run) {
		d->action = fetch_action_name(got.action);
		d->archive = TAKE_PTR(path);
		return 0;
	}
	fd = openat(q->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_errno(e, -errno, "opening %s", path) : unpack(q, fd, path, d, e);
}

static int take_url(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	int r = fetch_url_name(q->url, &name);

	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0 || !(is_zip_name(name) || span_ends(SPAN(name), ".run")))
		return err_set(e, ERR_FETCH_URL, "%s ends neither in a .run nor in a .zip file", q->url);
	r = find_row(q, name, &d->row, e);
	if (r == 0)
		r = set_string(&d->url, q->url, e);
	if (r < 0)
		return r;
	return is_zip_name(name) ? fetch_zip(q, q->url, name, d, e) : fetch_runfile(q, q->url, name, d, e);
}

/* A row whose file has to come by hand may lie in the directory already. */
static int take_laid_down(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/%s", q->dir_path, d->row->file);
	struct driver_request own = *q;

	if (!path)
		return err_oom(e);
	if (!path_exists(q->dirfd, d->row->file)) {
		(void)err_set(e, ERR_VGPU_PORTAL, "the source of %s is of kind %s (%s)", d->row->file,
			      d->row->url_kind, *d->row->url ? d->row->url : "no address");
		return err_object(e, "%s", d->row->branch);
	}
	own.file = path;
	return take_file(&own, d, e);
}

/* -- addresses that take more than a URL -- */

/* The file is here already and is the right one: 1. A wrong one is 0, and goes aside when the right one has come. */
static int is_here(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	_cleanup_(err_done) struct err own = ERR_INIT;
	int r;

	if (!path_exists(q->dirfd, d->row->file))
		return 0;
	r = driver_inspect(q->dirfd, d->row->file, d->row->version, &d->facts, &own);
	if (r == 0)
		r = check_md5(q->dirfd, d->row->file, known_md5(q, d->row, d->row->file), &own);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0) {
		driver_facts_done(&d->facts);
		return note(&d->notes, own.reason ? own.reason : "is not the right one", "what is there:", e);
	}
	d->action = "present";
	d->path = str_printf("%s/%s", q->dir_path, d->row->file);
	return d->path ? 1 : err_oom(e);
}

static int run_megadl(const struct driver_request *q, const char *url, int dirfd, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("megadl");
	int r;

	(void)spawn_argv(&s, "megadl", "--no-progress", "--path", ".", NULL);
	if (q->proxy && *q->proxy)
		(void)spawn_argv(&s, "--proxy", q->proxy, NULL);
	(void)spawn_argv(&s, url, NULL);
	s.cwd_fd = dirfd;
	s.timeout_s = MEGA_TIMEOUT_S;
	r = spawn_check(&s, e);
	if (r == -ERR_TOOL_MISSING)
		return err_next(
		    e, "install the package megatools (apt-get install megatools), then run again; or take "
		       "the file from NVIDIA's licensing portal and name it with --file");
	return r == -ERR_SPAWN ? err_recode(e, ERR_FETCH_FAILED) : r;
}

/* Its own encryption needs its own program, which writes the file under the name it has there. */
static int take_mega(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	_cleanup_(nest_done) struct nest nest = { q->dirfd, -EBADF, "" };
	const char *name = d->row->file;
	int r;

	if (q->offline)
		return err_set(e, ERR_OFFLINE, "%s is not here and comes from %s", name, d->row->url);
	d->action = "downloaded";
	if (q->dry_run)
		return 0;
	r = nest_open(&nest, e);
	if (r == 0)
		r = run_megadl(q, d->row->url, nest.fd, e);
	if (r == 0 && !path_exists(nest.fd, name))
		r = err_set(e, ERR_VGPU_DRIVER, "%s gave a file of another name than %s", d->row->url, name);
	return r < 0 ? r : take_from_nest(q, &nest, name, "downloaded", d, e);
}

static int take_listed(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	struct fetch_request how = fetch_request_of(q, NULL, "");
	struct listing_request l = { &how, q->listing, d->row->branch, d->row->version, q->want_custom };
	_cleanup_(listing_found_done) struct listing_found f = { 0 };
	int r;

	if (q->dry_run) {
		d->action = "downloaded";
		return set_string(&d->url, q->listing ? q->listing : LISTING_BASE, e);
	}
	r = listing_find(&l, &f, e);
	if (r == 0)
		r = set_string(&d->url, f.url, e);
	if (r < 0)
		return r;
	return f.is_zip ? fetch_zip(q, f.url, f.name, d, e) : fetch_runfile(q, f.url, f.name, d, e);
}

static int take_plain(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	return fetch_runfile(q, d->row->url, d->row->file, d, e);
}

static const struct source {
	const char *kind;
	bool look_first; /* what is here already is looked at before anybody is asked */
	int (*take)(const struct driver_request *q, struct driver_result *d, struct err *e);
} sources[] = {
	{ "alist", false, take_plain },
	{ "mega", true, take_mega },
	{ "auto", true, take_listed },
	{ "portal", false, take_laid_down },
};

static int take_branch(const struct driver_request *q, struct driver_result *d, struct err *e)
{
	int r;

	if (!q->branch)
		return err_set(e, ERR_USAGE, "name a branch, or a driver with --file or --url");
	r = find_row(q, "", &d->row, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		if (strcmp(sources[i].kind, d->row->url_kind) != 0)
			continue;
		r = set_string(&d->url, *d->row->url ? d->row->url : NULL, e);
		if (r == 0 && sources[i].look_first)
			r = is_here(q, d, e);
		return r != 0 ? (r < 0 ? r : 0) : sources[i].take(q, d, e);
	}
	return take_laid_down(q, d, e);
}

int driver_get(const struct driver_request *q, struct driver_result *ret, struct err *e)
{
	_cleanup_(driver_result_done) struct driver_result d = { 0 };
	int r = q->url ? take_url(q, &d, e) : q->file ? take_file(q, &d, e) : take_branch(q, &d, e);

	if (r < 0)
		return r;
	*ret = d;
	d = (struct driver_result){ 0 };
	return 0;
}

/* -- unlocking -- */

void driver_patch_result_done(struct driver_patch_result *r)
{
	free(r->version);
	free(r->patch);
	free(r->backup);
	json_decref(r->record);
	strv_freep(&r->notes);
	*r = (struct driver_patch_result){ 0 };
}

int driver_patches_load(int dirfd, const char *path, json_t **ret, struct err *e)
{
	json_t *all = NULL;
	const json_t *value;
	const char *key;
	int r = jload_at(dirfd, path, OVERRIDES_MAX, &all, e);

	*ret = NULL;
	if (r == -ENOENT) {
		err_done(e);
		return 0;
	}
	if (r >= 0 && !json_is_object(all))
		r = err_set(e, ERR_CONFIG, "it is not one JSON object");
	json_object_foreach (all, key, value)
		if (r >= 0 && (!json_is_string(value) || !name_is_safe(json_string_value(value))))
			r = err_set(e, ERR_CONFIG, "\"%s\" does not name a patch file", key);
	if (r < 0) {
		json_decref(all);
		(void)err_recode(e, ERR_CONFIG);
		return err_object(e, "%s", path);
	}
	*ret = all;
	return 0;
}

/* The file's own name counts before its branch. */
static const char *overriding(const struct driver_patch_request *q, const char *version)
{
	const struct catalog_driver *d = catalog_driver_by_file(q->catalog, base_name(q->file));
	const char *branch, *patch = json_string_value(json_object_get(q->overrides, base_name(q->file)));

	d = d ? d : catalog_driver_by_version(q->catalog, version);
	branch = q->branch ? q->branch : d ? d->branch : NULL;
	return patch || !branch ? patch : json_string_value(json_object_get(q->overrides, branch));
}

static const struct catalog_patch *mapped_patch(const struct driver_patch_request *q, const char *version)
{
	const struct catalog_driver *d = catalog_driver_by_file(q->catalog, base_name(q->file));
	const struct catalog_patch *p;

	d = d ? d : catalog_driver_by_version(q->catalog, version);
	p = q->branch || d ? catalog_patch(q->catalog, q->branch ? q->branch : d->branch) : NULL;
	return p && strcmp(p->status, "mapped") == 0 ? p : NULL;
}

static int find_patch(const struct driver_patch_request *q, const struct catalog_patch *p,
		      struct driver_patch_result *d, struct err *e)
{
	const char *own = overriding(q, d->version);

	if (q->patch)
		return set_string(&d->patch, q->patch, e);
	if (own) {
		d->patch = str_printf("%s/%s", q->patches_dir, own);
		if (!d->patch)
			return err_oom(e);
		if (path_exists(AT_FDCWD, d->patch))
			return 0;
		(void)err_set(e, ERR_VGPU_NO_PATCH, "%s is not there", d->patch);
		return err_object(e, "%s", d->patch);
	}
	if (!p) {
		(void)err_set(e, ERR_VGPU_NO_PATCH, "no unlock patch is mapped to driver %s", d->version);
		return err_object(e, "%s", d->version);
	}
	if (strcmp(p->version, d->version) != 0)
		return err_set(e, ERR_VGPU_DRIVER, "the file is driver %s, branch %s has %s", d->version,
			       p->branch, p->version);
	d->patch = str_printf("%s/%s", q->patches_dir, p->file);
	if (!d->patch)
		return err_oom(e);
	if (access(d->patch, F_OK) == 0)
		return 0;
	(void)err_set(e, ERR_VGPU_NO_PATCH, "%s is not there", d->patch);
	return err_object(e, "%s", d->patch);
}

/* Digests of those members whose path is in `objects`, stored under `key`. */
struct object_pass {
	json_t *objects;
	const char *key;
	struct digest *digest; /* owned */
};

static void object_pass_done(struct object_pass *p)
{
	digest_freep(&p->digest);
}

static json_t *object_of(const struct object_pass *p, const char *path)
{
	json_t *o;
	size_t i;

	json_array_foreach (p->objects, i, o)
		if (strcmp(json_string_value(json_object_get(o, "path")), path) == 0)
			return o;
	return NULL;
}

static int object_begin(const struct tar_member *m, void *arg, struct err *e)
{
	struct object_pass *p = arg;

	if (m->kind != TAR_FILE || !object_of(p, m->name))
		return TAR_SKIP;
	return digest_new("sha256", &p->digest) < 0 ? err_oom(e) : TAR_WANT_DATA;
}

static int object_data(const void *buf, size_t len, void *arg, struct err *e)
{
	struct object_pass *p = arg;

	return digest_update(p->digest, buf, len) < 0 ? err_oom(e) : 0;
}

static int object_end(const struct tar_member *m, void *arg, struct err *e)
{
	struct object_pass *p = arg;
	uint8_t bytes[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	size_t len;
	int r = digest_final(p->digest, bytes, sizeof(bytes), &len);

	digest_freep(&p->digest);
	if (r == 0) {
		hex_encode(bytes, sizeof(bytes), hex);
		r = json_object_set_new(object_of(p, m->name), p->key, json_string(hex));
	}
	return r < 0 ? err_oom(e) : 0;
}

/* One pass over a package: its own digest, and those of the objects. */
static int digest_objects(struct runfile *rf, json_t *objects, const char *key, char ret_sha256[65],
			  struct err *e)
{
	static const struct tar_visitor visitor = { object_begin, object_data, object_end };
	struct runfile_options o = { .flags = RUNFILE_CHECK_SUMS | RUNFILE_SHA256 };
	_cleanup_(object_pass_done) struct object_pass pass = { objects, key, NULL };
	struct runfile_report report = { 0 };
	int r = runfile_walk(rf, &o, &visitor, &pass, &report, e);

	if (r == 0)
		hex_encode(report.sums.sha256, SHA256_SIZE, ret_sha256);
	return r;
}

static json_t *objects_of(const struct patch_report *report)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < report->n_files; i++)
		if (json_array_append_new(list, json_pack("{s:s}", "path", report->files[i].path)) < 0) {
			json_decref(list);
			list = NULL;
		}
	return list;
}

static int note_offsets(const struct patch_report *report, char ***notes, struct err *e)
{
	for (size_t i = 0; i < report->n_hunks; i++)
		if (report->hunks[i].offset)
			return note(notes, "is not where the patch says, some lines off",
				    report->files[report->hunks[i].file].path, e);
	return 0;
}

static int record_source(struct runfile *rf, const struct patch *patch, const struct patch_report *report,
			 struct driver_patch_result *d, struct err *e)
{
	char sha256[SHA256_HEX_SIZE];
	json_t *objects = objects_of(report);
	int r = objects ? digest_objects(rf, objects, "before", sha256, e) : err_oom(e);

	if (r < 0) {
		json_decref(objects);
		return r;
	}
	d->record = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "source", base_name(rf->name),
			      "source_sha256", sha256, "version", d->version, "patch", patch_name(patch),
			      "patch_sha256", patch_sha256_hex(patch), "objects", objects);
	return d->record ? note_offsets(report, &d->notes, e) : err_oom(e);
}

static int keep_record(const struct driver_patch_request *q, struct driver_patch_result *d, struct err *e)
{
	_cleanup_free_ char *text = NULL, *name = str_printf("%s.meta", d->name);
	int r;

	if (!name || jdump(d->record, &text) < 0)
		return err_oom(e);
	r = publish_bytes(q->dirfd, name, text, strlen(text), 0644);
	return r < 0 ? err_errno(e, r, "writing %s", name) : 0;
}

/* The packed copy under its temporary name: digests of what it became, then its own name. */
static int finish_copy(const struct driver_patch_request *q, const char *tmp, struct driver_patch_result *d,
		       struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	char sha256[SHA256_HEX_SIZE];
	int r = runfile_open_at(q->dirfd, tmp, &rf, e);

	if (r == 0)
		r = digest_objects(rf, json_object_get(d->record, "objects"), "after", sha256, e);
	if (r == 0 && json_object_set_new(d->record, "sha256", json_string(sha256)) < 0)
		r = err_oom(e);
	/* The record first: a copy without one would be taken for somebody else's, and made again beside it. */
	if (r == 0)
		r = keep_record(q, d, e);
	if (r == 0)
		r = settle(q->dirfd, tmp, q->dirfd, d->name, sha256, &d->backup, &d->is_present, e);
	if (r < 0)
		(void)unlinkat(q->dirfd, tmp, 0);
	return r;
}

static int make_copy(const struct driver_patch_request *q, struct runfile *rf, struct patch *patch,
		     struct driver_patch_result *d, struct err *e)
{
	const struct patch_options po = { .strip = PATCH_STRIP_AUTO, .dry_run = q->dry_run };
	const struct runfile_options ro = { .flags = RUNFILE_CHECK_SUMS };
	_cleanup_(patch_report_freep) struct patch_report *report = NULL;
	struct patch_package_result made = { .report = NULL };
	char tmp[64];
	int r = tmpname_random(tmp, sizeof(tmp));

	if (r < 0)
		return err_errno(e, r, "making a temporary name");
	r = patch_package(rf, &patch, 1, &po, &ro, q->dirfd, tmp, false, &made, e);
	report = made.report;
	if (r < 0)
		return r;
	r = record_source(rf, patch, report, d, e);
	if (q->dry_run)
		return r;
	if (r < 0)
		(void)unlinkat(q->dirfd, tmp, 0);
	return r < 0 ? r : finish_copy(q, tmp, d, e);
}

static bool says(const json_t *o, const char *key, const char *want)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && strcmp(text, want) == 0;
}

/* The copy that is there was made of this file and patch, says its record, and has not changed since: packing again would
 * differ in times alone. 1, 0, or a negative code stored in e. */
static int is_made(const struct driver_patch_request *q, struct runfile *rf, struct patch *patch,
		   struct driver_patch_result *d, struct err *e)
{
	_cleanup_free_ char *name = str_printf("%s.meta", d->name), *text = NULL;
	char source[SHA256_HEX_SIZE], copy[SHA256_HEX_SIZE];
	json_t *record = NULL;
	size_t len;

	if (!name)
		return err_oom(e);
	if (read_file_at(q->dirfd, name, 1 << 20, &text, &len) < 0 ||
	    sha256_file_at(q->dirfd, d->name, copy) < 0 || sha256_fd_hex(rf->fd, source) < 0 ||
	    jloadb((struct span){ text, len }, &record, NULL) < 0)
		return 0;
	d->is_present = says(record, "sha256", copy) && says(record, "source_sha256", source) &&
			says(record, "patch_sha256", patch_sha256_hex(patch));
	if (d->is_present)
		d->record = TAKE_PTR(record);
	json_decref(record);
	return d->is_present;
}

static int note_patch(const struct driver_patch_request *q, const struct catalog_patch *p,
		      const struct patch *patch, struct driver_patch_result *d, struct err *e)
{
	if (q->patch || overriding(q, d->version) || !*p->sha256 ||
	    strcmp(p->sha256, patch_sha256_hex(patch)) == 0)
		return 0;
	return note(&d->notes,
		    "is not the copy the table of patches knows; it may carry other kernels' changes",
		    d->patch, e);
}

static int patch_into(const struct driver_patch_request *q, struct driver_patch_result *d, struct err *e)
{
	_cleanup_(runfile_freep) struct runfile *rf = NULL;
	_cleanup_(patch_freep) struct patch *patch = NULL;
	const struct catalog_patch *p;
	char custom[240];
	int r = runfile_open_at(AT_FDCWD, q->file, &rf, e);

	if (r == 0)
		r = check_identity(rf, NULL, PACKAGE_VGPU_KVM, e);
	if (r == 0)
		r = set_string(&d->version, rf->header->version, e);
	if (r < 0)
		return r;
	p = mapped_patch(q, d->version);
	r = find_patch(q, p, d, e);
	if (r == 0)
		r = patch_read_at(AT_FDCWD, d->patch, &patch, e);
	if (r == 0)
		r = note_patch(q, p, patch, d, e);
	if (r < 0)
		return r;
	if (patch_custom_name(rf->header, custom, sizeof(custom)) < 0)
		return err_set(e, ERR_VGPU_DRIVER, "%s: its own name is too long", q->file);
	(void)snprintf(d->name, sizeof(d->name), "%s.run", custom);
	r = is_made(q, rf, patch, d, e);
	return r == 0 ? make_copy(q, rf, patch, d, e) : r < 0 ? r : 0;
}

int driver_patch(const struct driver_patch_request *q, struct driver_patch_result *ret, struct err *e)
{
	_cleanup_(driver_patch_result_done) struct driver_patch_result d = { 0 };
	int r = patch_into(q, &d, e);

	if (r < 0)
		return r;
	*ret = d;
	d = (struct driver_patch_result){ 0 };
	return 0;
}
