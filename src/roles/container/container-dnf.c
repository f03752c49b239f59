/* SPDX-License-Identifier: Apache-2.0 */
#include "container-dnf.h"

#include "container-variant.h"
#include "fd.h"
#include "log.h"
#include "parse.h"
#include "path.h"
#include "pkg.h"
#include "rpmver.h"
#include "spawn.h"
#include "strbuf.h"
#include "err-container.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define METADATA_TIMEOUT_S 300u
#define DOWNLOAD_TIMEOUT_S 1200u
#define INSTALL_TIMEOUT_S  1800u
#define CA_MAX		   ((size_t)8 << 20)
#define CA_DIR		   "etc/pki/ca-trust/extracted/pem"
#define CA_BUNDLE	   "tls-ca-bundle.pem"

struct dnf {
	struct dnf_setup setup;
	const char *program;
	struct dnf_repositories repositories;
	char **wanted; /* owned: enabled ones and the extra ones that are defined */
	char **releasevers; /* owned */
	const char *releasever; /* in use; borrowed from releasevers; NULL = the program's own idea */
	char **usable; /* owned; with the release version in use */
	char **asked, **left_out, **tried; /* owned: for the message when nothing is found */
	char *ca_file; /* owned; NULL = the trust store will do */
};

static void dnf_free(struct dnf *d)
{
	dnf_repositories_done(&d->repositories);
	strv_freep(&d->wanted);
	strv_freep(&d->releasevers);
	strv_freep(&d->usable);
	strv_freep(&d->asked);
	strv_freep(&d->left_out);
	strv_freep(&d->tried);
	free(d->ca_file);
	free(d);
}

void dnf_freep(struct dnf **d)
{
	if (*d)
		dnf_free(*d);
	*d = NULL;
}

static int push_once(char ***v, const char *s)
{
	return strv_contains(*v, s) ? 0 : strv_push(v, s);
}

/* -- one call -- */

/* Settings of the person's for the network reach the program untouched; nothing else of our environment does. */
static void pass_proxies(struct spawn *s)
{
	static const char *const names[] = { "http_proxy", "https_proxy", "ftp_proxy",	 "no_proxy",
					     "all_proxy",  "HTTP_PROXY",  "HTTPS_PROXY", "FTP_PROXY",
					     "NO_PROXY",   "ALL_PROXY" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *v = getenv(names[i]);

		if (v)
			(void)spawn_env(s, names[i], v);
	}
}

/* Weak dependencies are off because firmware packages cannot unpack over the operator's mount of /lib/firmware. The short
 * time limits are per transfer: a dead server must not hold the start up several times. */
static void begin(const struct dnf *d, struct spawn *s, const char *what, unsigned timeout_s)
{
	static const char *const always[] = { "-y", "--setopt=install_weak_deps=False", "--setopt=timeout=20",
					      "--setopt=retries=2" };

	*s = (struct spawn)SPAWN_INIT(what);
	spawn_argv(s, d->program, NULL);
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		spawn_argv(s, always[i], NULL);
	/* Lists of packages are megabytes: gone with the directory, and no part of what the container shows. */
	spawn_arg(s, "--setopt=cachedir=%s/cache", d->setup.work_dir);
	for (char *const *a = d->setup.args; a && *a; a++)
		spawn_argv(s, *a, NULL);
	if (d->releasever)
		spawn_arg(s, "--releasever=%s", d->releasever);
	if (d->ca_file)
		spawn_arg(s, "--setopt=sslcacert=%s", d->ca_file);
	(void)spawn_env(s, "HOME", "/root");
	pass_proxies(s);
	s->root_fd = d->setup.host->is_running ? -EBADF : d->setup.host->root_fd;
	s->log_fd = d->setup.log_fd;
	s->capture = true;
	s->timeout_s = timeout_s;
}

static void only_usable(const struct dnf *d, struct spawn *s)
{
	spawn_argv(s, "--disablerepo=*", NULL);
	for (char **u = d->usable; u && *u; u++)
		spawn_arg(s, "--enablerepo=%s", *u);
}

/* What people pinned and excluded protects the installed system; a package that is only read endangers nothing. */
static void regardless_of_pins(struct spawn *s)
{
	spawn_argv(s, "--disableexcludes=all", "--disableplugin=versionlock", NULL);
}

/* 0 when it ended well; -ERR_SPAWN with what it complained about. */
static int finish(struct spawn *s, struct err *e)
{
	_cleanup_free_ char *complaint = NULL;
	int r = spawn_run(s, e);

	if (r < 0 || s->status == 0)
		return r;
	complaint = dnf_complaint(s->tail);
	return complaint ? err_set(e, ERR_SPAWN, "%s: %s", s->what, complaint) : err_oom(e);
}

/* -- certificates -- */

struct newest {
	char name[256];
	struct timespec mtime;
};

static bool is_later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/* The newest certificate file that is not one of the trust store's own. */
static void find_mounted(int dir_fd, struct newest *ret)
{
	static const char *const own[] = { CA_BUNDLE, "email-ca-bundle.pem", "objsign-ca-bundle.pem" };
	int fd = fd_reopen(dir_fd, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!dir) {
		close_fdp(&fd);
		return;
	}
	while ((de = readdir(dir))) {
		struct span name = SPAN(de->d_name);
		struct stat st;
		bool is_own = !span_ends(name, ".pem") && !span_ends(name, ".crt");

		for (size_t i = 0; i < ARRAY_LEN(own); i++)
			is_own |= span_eq(name, own[i]);
		/* Keys of a configuration map are links. */
		if (is_own || fstatat(dir_fd, de->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode) ||
		    (*ret->name && !is_later(st.st_mtim, ret->mtime)))
			continue;
		(void)snprintf(ret->name, sizeof(ret->name), "%s", de->d_name);
		ret->mtime = st.st_mtim;
	}
	(void)closedir(dir);
}

/* The operator mounts a site's certificates beside or over the trust store, which does not read them by itself. One file of
 * both is given to the program instead of changing the trust of the whole container. */
static int use_mounted_certificates(struct dnf *d, struct err *e)
{
	_cleanup_close_ int dir = path_open_at(d->setup.host->root_fd, CA_DIR, O_RDONLY | O_DIRECTORY, 0,
					       PATH_IN_ROOT),
			    work = -EBADF, out = -EBADF;
	_cleanup_free_ char *site = NULL, *store = NULL, *mounted = NULL;
	struct newest n = { 0 };
	struct stat st;
	size_t site_len, store_len = 0;
	int r;

	if (dir < 0)
		return 0;
	find_mounted(dir, &n);
	if (!*n.name || (fstatat(dir, CA_BUNDLE, &st, 0) == 0 && !is_later(n.mtime, st.st_mtim)))
		return 0;
	mounted = str_printf(CA_DIR "/%s", n.name);
	d->ca_file = str_printf("%s/ca.pem", d->setup.work_dir);
	if (!mounted || !d->ca_file)
		return err_oom(e);
	out = path_open_at(d->setup.host->root_fd, mounted, O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	r = out < 0 ? out : read_fd(out, CA_MAX, &site, &site_len);
	if (r < 0)
		return err_errno(e, r, "/%s", mounted);
	(void)read_file_at(dir, CA_BUNDLE, CA_MAX, &store, &store_len);
	work = dir_open_at(AT_FDCWD, d->setup.work_dir);
	close_fdp(&out);
	out = work < 0 ? work
		       : openat(work, "ca.pem", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (out < 0)
		return err_errno(e, work < 0 ? work : -errno, "%s", d->ca_file);
	r = write_all(out, site, site_len);
	if (r == 0)
		r = write_all(out, "\n", 1);
	if (r == 0)
		r = write_all(out, store ? store : "", store_len);
	if (r == 0)
		log_info("package manager: trusts the certificates in /%s as well", mounted);
	return r < 0 ? err_errno(e, r, "%s", d->ca_file) : 0;
}

/* -- repositories -- */

static int read_repositories(struct dnf *d, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("");
	_cleanup_strv_ char **defined = NULL, **extra = NULL;
	int r;

	begin(d, &s, "listing the repositories", METADATA_TIMEOUT_S);
	spawn_argv(&s, "-q", "repolist", "--all", NULL);
	r = finish(&s, e);
	if (r < 0)
		return r;
	if (dnf_parse_repositories(s.out, s.out_len, &d->repositories) < 0)
		return err_oom(e);
	for (size_t i = 0; i < d->repositories.n; i++) {
		const struct dnf_repository *v = &d->repositories.v[i];

		if (strv_push(&defined, v->id) < 0 || (v->is_enabled && push_once(&d->wanted, v->id) < 0))
			return err_oom(e);
	}
	if (rhel_extra_repositories(d->setup.rhel, d->setup.arch, d->setup.openshift_version, defined,
				    &extra) < 0)
		return err_oom(e);
	for (char **x = extra; x && *x; x++)
		if (push_once(&d->wanted, *x) < 0)
			return err_oom(e);
	return 0;
}

static int setup_releasevers(struct dnf *d, struct err *e)
{
	if (rhel_releasevers(d->setup.releasever, d->setup.rhel, &d->releasevers) < 0)
		return err_oom(e);
	d->releasever = d->releasevers ? d->releasevers[0] : NULL;
	return 0;
}

int dnf_open(const struct dnf_setup *setup, struct dnf **ret, struct err *e)
{
	static const char *const programs[] = { "dnf", "yum" };
	_cleanup_(dnf_freep) struct dnf *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_oom(e);
	d->setup = *setup;
	for (size_t i = 0; i < ARRAY_LEN(programs) && !d->program; i++) {
		_cleanup_free_ char *path = str_printf("usr/bin/%s", programs[i]);

		if (path && path_exists(setup->host->root_fd, path))
			d->program = programs[i];
	}
	if (!d->program)
		return err_set(e, ERR_TOOL_MISSING, "neither dnf nor yum is in the container");
	r = use_mounted_certificates(d, e);
	if (r == 0)
		r = setup_releasevers(d, e);
	if (r == 0)
		r = read_repositories(d, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

static int leave_out(struct dnf *d, const char *id, const struct err *why, struct err *e)
{
	_cleanup_free_ char *text = str_printf("%s (%s)", id, why->reason ? why->reason : "no reason");

	if (!text)
		return err_oom(e);
	log_warn("repository %s cannot be used with release version %s and is left out: %s", id,
		 d->releasever ? d->releasever : "of the container", why->reason ? why->reason : "");
	return push_once(&d->left_out, text) < 0 ? err_oom(e) : 0;
}

/* 1 = its metadata is here. */
static int probe(struct dnf *d, const char *id, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("");
	_cleanup_(err_done) struct err why = ERR_INIT;
	int r;

	begin(d, &s, "its metadata", METADATA_TIMEOUT_S);
	spawn_argv(&s, "-q", "--disablerepo=*", NULL);
	spawn_arg(&s, "--enablerepo=%s", id);
	spawn_arg(&s, "--setopt=%s.skip_if_unavailable=False", id);
	spawn_argv(&s, "makecache", NULL);
	r = finish(&s, &why);
	if (r == -ERR_INTERRUPTED || r == -ENOMEM) {
		err_move(e, &why);
		return r;
	}
	if (r < 0)
		return leave_out(d, id, &why, e);
	return push_once(&d->usable, id) < 0 || push_once(&d->asked, id) < 0 ? err_oom(e) : 1;
}

/* From here on with this release version (NULL = the program's own) and the repositories that answer to it. */
static int use_releasever(struct dnf *d, const char *releasever, struct err *e)
{
	int r = 0;

	d->releasever = releasever;
	strv_freep(&d->usable);
	if (push_once(&d->tried, releasever ? releasever : "the container's") < 0)
		return err_oom(e);
	for (char **w = d->wanted; r >= 0 && w && *w; w++)
		r = probe(d, *w, e);
	return r < 0 ? r : 0;
}

/* -- packages -- */

/* Everything the usable repositories have under a name, or by what it provides. */
static int query(struct dnf *d, const char *how, const char *what, struct dnf_packages *ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("");
	int r;

	if (!d->usable)
		return 0;
	begin(d, &s, "looking for packages", METADATA_TIMEOUT_S);
	spawn_argv(&s, "-q", NULL);
	only_usable(d, &s);
	regardless_of_pins(&s);
	spawn_argv(&s, "repoquery", "--available", "--showduplicates",
		   "--queryformat=%{name} %{version} %{release} %{arch} %{repoid}\n", NULL);
	if (how)
		spawn_argv(&s, how, NULL);
	spawn_argv(&s, what, NULL);
	r = finish(&s, e);
	if (r < 0)
		return r;
	return dnf_parse_packages(s.out, s.out_len, ret) < 0 ? err_oom(e) : 0;
}

static void take_package(struct dnf_package *from, struct dnf_package *to)
{
	*to = *from;
	*from = (struct dnf_package){ 0 };
}

/* Keeps what else there is under the name, for the message. 1 = found. */
static int match_exact(struct dnf_packages *have, const struct kernel_package *want, char ***versions,
		       struct dnf_package *ret, struct err *e)
{
	for (size_t i = 0; i < have->n; i++) {
		struct dnf_package *p = &have->v[i];
		_cleanup_free_ char *vr = str_printf("%s-%s", p->version, p->release);

		if (strcmp(p->arch, want->arch) != 0)
			continue;
		if (strcmp(p->version, want->version) == 0 && strcmp(p->release, want->release) == 0) {
			take_package(p, ret);
			return 1;
		}
		if (!vr || push_once(versions, vr) < 0)
			return err_oom(e);
	}
	return 0;
}

static int match_provided(struct dnf *d, const char *kernel_release, struct dnf_package *ret, struct err *e)
{
	_cleanup_(dnf_packages_done) struct dnf_packages have = { 0 };
	_cleanup_free_ char *capability = str_printf("kernel-devel-uname-r = %s", kernel_release);
	int r = capability ? query(d, "--whatprovides", capability, &have, e) : err_oom(e);

	if (r < 0 || !have.n)
		return r;
	take_package(&have.v[0], ret);
	return 1;
}

static int find_once(struct dnf *d, const char *kernel_release, const struct kernel_package *want,
		     char ***versions, struct dnf_package *ret, struct err *e)
{
	_cleanup_(dnf_packages_done) struct dnf_packages have = { 0 };
	int r = 0;

	if (want) {
		r = query(d, NULL, want->devel, &have, e);
		if (r == 0)
			r = match_exact(&have, want, versions, ret, e);
	}
	return r == 0 && d->usable ? match_provided(d, kernel_release, ret, e) : r;
}

static void put_list(struct strbuf *t, const char *heading, char *const *v)
{
	(void)strbuf_printf(t, "; %s", heading);
	for (size_t i = 0; v && v[i]; i++)
		(void)strbuf_printf(t, "%s %s", i ? "," : "", v[i]);
	if (!v || !*v)
		(void)strbuf_puts(t, " none");
}

static int not_found(const struct dnf *d, const char *kernel_release, const struct kernel_package *want,
		     char *const *versions, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf t = STRBUF_INIT(STRBUF_TEXT_MAX);
	_cleanup_free_ char *nevra = want ? kernel_package_devel_nevra(want) : strdup(kernel_release);
	_cleanup_free_ char *vr = want ? str_printf("%s-%s", want->version, want->release) : strdup("");
	_cleanup_strv_ char **nearest = NULL;

	if (!nevra || !vr || dnf_nearest(versions, vr, &nearest) < 0)
		return err_oom(e);
	(void)strbuf_printf(
	    &t, want ? "%s is in no repository" : "no package provides kernel-devel-uname-r = %s", nevra);
	put_list(&t, "asked:", d->asked);
	put_list(&t, "left out:", d->left_out);
	put_list(&t, "release versions tried:", d->tried);
	put_list(&t, "nearest versions:", nearest);
	if (strbuf_error(&t) < 0)
		return err_oom(e);
	(void)err_set(e, ERR_PACKAGE_NOT_FOUND, "%s", strbuf_str(&t));
	return err_object(e, "%s", nevra);
}

/* Calls fn with each release version in use until one answers other than 0. */
static int each_releasever(struct dnf *d, int (*fn)(struct dnf *d, void *arg, struct err *e), void *arg,
			   struct err *e)
{
	int r = 0;

	if (!d->releasevers) {
		r = use_releasever(d, NULL, e);
		return r < 0 ? r : fn(d, arg, e);
	}
	for (char **v = d->releasevers; r == 0 && *v; v++) {
		r = use_releasever(d, *v, e);
		if (r == 0)
			r = fn(d, arg, e);
	}
	return r;
}

struct devel_search {
	const char *kernel_release;
	const struct kernel_package *want; /* NULL: not a release whose package can be named */
	char **versions; /* owned */
	struct dnf_package found;
};

static int search_devel(struct dnf *d, void *arg, struct err *e)
{
	struct devel_search *q = arg;

	return find_once(d, q->kernel_release, q->want, &q->versions, &q->found, e);
}

int dnf_find_devel(struct dnf *d, const char *kernel_release, struct dnf_package *ret, struct err *e)
{
	struct kernel_package package;
	bool named = kernel_package_parse(kernel_release, &package) == 0;
	struct devel_search q = { .kernel_release = kernel_release, .want = named ? &package : NULL };
	int r = each_releasever(d, search_devel, &q, e);

	if (r == 0)
		r = not_found(d, kernel_release, q.want, q.versions, e);
	strv_freep(&q.versions);
	if (r < 0)
		return r;
	*ret = q.found;
	return 0;
}

struct kernel_search {
	const struct kernel_package *like;
	struct dnf_packages found;
};

static int search_kernels(struct dnf *d, void *arg, struct err *e)
{
	struct kernel_search *q = arg;
	int r = query(d, NULL, q->like->devel, &q->found, e);

	return r < 0 ? r : q->found.n > 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct dnf_package *pa = a, *pb = b;
	int r = rpm_version_compare(pb->version, pa->version);

	return r ? r : rpm_version_compare(pb->release, pa->release);
}

int dnf_list_kernels(struct dnf *d, const char *kernel_release, char ***ret, struct err *e)
{
	struct kernel_package like;
	struct kernel_search q = { .like = &like };
	_cleanup_strv_ char **out = NULL;
	int r;

	if (kernel_package_parse(kernel_release, &like) < 0)
		return err_set(e, ERR_PACKAGE_NOT_FOUND, "%s is no release of an rpm distribution's kernel",
			       kernel_release);
	r = each_releasever(d, search_kernels, &q, e);
	if (r > 0)
		qsort(q.found.v, q.found.n, sizeof(*q.found.v), newest_first);
	for (size_t i = 0; r > 0 && i < q.found.n; i++) {
		const struct dnf_package *p = &q.found.v[i];
		_cleanup_free_ char *release = NULL;

		if (strcmp(p->arch, like.arch) != 0)
			continue;
		if (kernel_release_of_package(p->name, p->version, p->release, p->arch, &release) < 0 ||
		    push_once(&out, release) < 0)
			r = err_oom(e);
	}
	dnf_packages_done(&q.found);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(out);
	return 0;
}

/* -- download -- */

/* The file of that package among what was downloaded; its dependencies may lie beside it. */
static int find_file(const char *dir, const struct dnf_package *p, char **ret, struct err *e)
{
	_cleanup_close_ int dir_fd = dir_open_at(AT_FDCWD, dir);
	int fd = dir_fd < 0 ? dir_fd : fd_reopen(dir_fd, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d)
		return err_errno(e, fd < 0 ? fd : -errno, "%s", dir);
	while (!*ret && (de = readdir(d))) {
		_cleanup_(pkg_facts_done) struct pkg_facts f = { 0 };
		_cleanup_close_ int file = -EBADF;

		if (!span_ends(SPAN(de->d_name), ".rpm"))
			continue;
		file = openat(dir_fd, de->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (file < 0 || pkg_facts(file, de->d_name, &f, NULL) < 0)
			continue;
		if (strcmp(f.name, p->name) == 0 && strcmp(f.arch, p->arch) == 0 &&
		    strcmp(f.version, p->version) == 0)
			*ret = str_printf("%s/%s", dir, de->d_name);
	}
	(void)closedir(d);
	return *ret ? 0 : err_set(e, ERR_SPAWN, "the download succeeded but left no %s", p->name);
}

/* "download" takes the one package as it is; it is a plugin, and where that is missing an installation that ends after
 * the download does. Whatever that would have to remove, nothing is removed. */
static const struct download_way {
	const char *args[6];
	bool checks_signatures; /* the program itself does */
} download_ways[] = {
	{ { "download" }, false },
	{ { "install", "--downloadonly", "--nobest", "--allowerasing" }, true },
};

static int download_by(struct dnf *d, const struct download_way *w, const char *nevra, const char *dir,
		       struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("");

	begin(d, &s, "downloading the package", DOWNLOAD_TIMEOUT_S);
	only_usable(d, &s);
	regardless_of_pins(&s);
	for (size_t i = 0; i < ARRAY_LEN(w->args) && w->args[i]; i++)
		spawn_argv(&s, w->args[i], NULL);
	spawn_arg(&s, "--downloaddir=%s", dir);
	spawn_argv(&s, nevra, NULL);
	return finish(&s, e);
}

/* -- signatures of what "download" fetched -- */

static int repository_settings(struct dnf *d, const char *id, struct spawn *s, struct err *e)
{
	begin(d, s, "the repository's settings", METADATA_TIMEOUT_S);
	spawn_argv(s, "-q", "config-manager", "--dump", id, NULL);
	return finish(s, e);
}

static int rpmkeys(struct dnf *d, const char *what, const char *action, const char *file, struct spawn *s,
		   struct err *e)
{
	*s = (struct spawn)SPAWN_INIT(what);
	spawn_argv(s, "rpmkeys", NULL);
	spawn_arg(s, "--dbpath=%s/keys", d->setup.work_dir);
	spawn_argv(s, action, file, NULL);
	s->root_fd = d->setup.host->is_running ? -EBADF : d->setup.host->root_fd;
	s->log_fd = d->setup.log_fd;
	s->capture = true;
	s->timeout_s = METADATA_TIMEOUT_S;
	return spawn_run(s, e);
}

static int import_keys(struct dnf *d, const char *urls, struct err *e)
{
	struct span rest = SPAN(urls), word;

	for (; span_word(&rest, &word);) {
		_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("");
		_cleanup_free_ char *url = NULL;
		int r;

		if (span_ends(word, ","))
			word.len--;
		url = span_dup(word);
		if (!url)
			return err_oom(e);
		r = rpmkeys(d, "reading the repository's key", "--import",
			    strncmp(url, "file://", 7) == 0 ? url + 7 : url, &s, e);
		if (r < 0)
			return r;
		if (s.status != 0)
			log_warn("package manager: the key %s cannot be read", url);
	}
	return 0;
}

static int check_signature(struct dnf *d, const struct dnf_package *p, const char *file, struct err *e)
{
	_cleanup_(spawn_done) struct spawn settings = SPAWN_INIT(""), s = SPAWN_INIT("");
	_cleanup_free_ char *wanted = NULL, *keys = NULL;
	bool check = true;
	int r = repository_settings(d, p->repository, &settings, e);

	if (r < 0)
		return r;
	if (dnf_setting(settings.out, settings.out_len, "gpgcheck", &wanted) == 0)
		(void)parse_bool(SPAN(wanted), &check);
	if (!check)
		return 0;
	if (dnf_setting(settings.out, settings.out_len, "gpgkey", &keys) == 0)
		r = import_keys(d, keys, e);
	if (r == 0)
		r = rpmkeys(d, "checking the package's signature", "--checksig", file, &s, e);
	if (r < 0)
		return r;
	if (s.status == 0 && s.out && strstr(s.out, "signatures OK"))
		return 0;
	(void)err_set(e, ERR_PACKAGE_UNSIGNED,
		      "%s demands signed packages, and %s is not signed with a key of it", p->repository,
		      file);
	return err_object(e, "%s", file);
}

int dnf_download(struct dnf *d, const struct dnf_package *p, char **ret, struct err *e)
{
	_cleanup_free_ char *nevra = dnf_package_nevra(p), *file = NULL;
	_cleanup_free_ char *dir = str_printf("%s/packages", d->setup.work_dir);
	const struct download_way *w = NULL;
	int r = -ERR_SPAWN;

	if (!nevra || !dir)
		return err_oom(e);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "%s", dir);
	for (size_t i = 0; r == -ERR_SPAWN && i < ARRAY_LEN(download_ways); i++) {
		w = &download_ways[i];
		r = download_by(d, w, nevra, dir, e);
		if (r == -ERR_SPAWN)
			log_info("package manager: %s does not work: %s", w->args[0],
				 e && e->reason ? e->reason : "");
	}
	if (r == 0)
		r = find_file(dir, p, &file, e);
	if (r == 0 && !w->checks_signatures)
		r = check_signature(d, p, file, e);
	if (r < 0)
		return err_wrap(e, "%s", nevra);
	err_done(e);
	*ret = TAKE_PTR(file);
	return 0;
}

/* -- installation -- */

static const char *const install_ways[][2] = {
	{ NULL },
	{ "--nobest" },
	{ "--nobest", "--allowerasing" },
};

static int report_removed(const struct spawn *s, struct err *e)
{
	_cleanup_strv_ char **removed = NULL;

	if (dnf_parse_removed(s->out ? s->out : "", s->out_len, &removed) < 0)
		return err_oom(e);
	for (char **v = removed; v && *v; v++)
		log_warn("package manager: removed %s, which was in the way", *v);
	return 0;
}

static int install_by(struct dnf *d, const char *const way[2], const char *spec, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("");
	int r;

	begin(d, &s, "installing a package", INSTALL_TIMEOUT_S);
	only_usable(d, &s);
	spawn_argv(&s, "install", NULL);
	for (size_t i = 0; i < 2 && way[i]; i++)
		spawn_argv(&s, way[i], NULL);
	spawn_argv(&s, spec, NULL);
	r = finish(&s, e);
	return r < 0 ? r : report_removed(&s, e);
}

static int has_usable(struct dnf *d, void *arg _unused_, struct err *e _unused_)
{
	return d->usable != NULL;
}

int dnf_install(struct dnf *d, const char *const *specs, struct err *e)
{
	int r = d->usable ? 0 : each_releasever(d, has_usable, NULL, e);

	for (; r >= 0 && *specs; specs++) {
		r = -ERR_SPAWN;

		for (size_t i = 0; r == -ERR_SPAWN && i < ARRAY_LEN(install_ways); i++)
			r = install_by(d, install_ways[i], *specs, e);
		if (r < 0)
			return err_wrap(e, "%s", *specs);
		log_info("package manager: %s is installed", *specs);
		err_done(e);
	}
	return r < 0 ? r : 0;
}
