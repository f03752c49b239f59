/* SPDX-License-Identifier: Apache-2.0 */
#include "apt.h"

#include "classify.h"
#include "deb822.h"
#include "digest.h"
#include "fd.h"
#include "lock.h"
#include "log.h"
#include "pkg.h"
#include "publish.h"
#include "spawn.h"
#include "strbuf.h"
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APT_HELPER	 "/usr/lib/apt/apt-helper"
#define INDEX_MAX	 ((size_t)512 << 20)
#define UPDATE_TIMEOUT_S 600u
#define FETCH_TIMEOUT_S	 7200u
#define LOCK_TIMEOUT_MS	 (3600 * 1000)

struct apt {
	const struct source_options *o; /* borrowed */
	struct depot *depot; /* borrowed */
	char *dir; /* owned */
	int dir_fd; /* owned */
	int arrived_fd; /* owned; where apt-get puts packages: nothing else lies there */
	char *conf; /* owned; path of our apt.conf */
	const char *deb_arch;
	struct lock lock;
};

static const struct distribution {
	const char *origin, *uri_part, *keyring, *components;
} distributions[] = {
	{ "Ubuntu", "/ubuntu", "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
	  "main restricted universe multiverse" },
	{ "Debian", "", "/usr/share/keyrings/debian-archive-keyring.gpg",
	  "main contrib non-free non-free-firmware" },
};

static void dir_closep(DIR **d)
{
	if (*d)
		closedir(*d);
}

void apt_packages_done(struct apt_packages *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].name);
		free(p->v[i].version);
		free(p->v[i].arch);
		free(p->v[i].source);
		free(p->v[i].depends);
		free(p->v[i].sha256);
	}
	free(p->v);
	*p = (struct apt_packages){ 0 };
}

/* In a directory of the user's the private state is hidden, and goes away with us. */
static const char *dir_name(const struct depot *d)
{
	return d->store ? "apt" : ".nvdriver-apt";
}

void apt_freep(struct apt **a)
{
	if (!*a)
		return;
	lock_release(&(*a)->lock);
	close_fdp(&(*a)->arrived_fd);
	close_fdp(&(*a)->dir_fd);
	if (!(*a)->depot->store)
		(void)tree_remove((*a)->depot->dir_fd, dir_name((*a)->depot));
	free((*a)->dir);
	free((*a)->conf);
	free(*a);
	*a = NULL;
}

/* -- index -- */

static struct apt_package *packages_grow(struct apt_packages *p)
{
	struct apt_package *v = reallocarray(p->v, p->n + 1, sizeof(*v));

	if (!v)
		return NULL;
	p->v = v;
	v[p->n] = (struct apt_package){ 0 };
	return &v[p->n++];
}

int apt_packages_copy(struct apt_packages *to, const struct apt_package *p, struct err *e)
{
	struct apt_package *n = packages_grow(to);

	if (!n)
		return err_oom(e);
	n->name = strdup(p->name);
	n->version = strdup(p->version);
	n->arch = strdup(p->arch);
	n->source = strdup(p->source);
	n->depends = strdup(p->depends);
	n->sha256 = strdup(p->sha256);
	n->size_bytes = p->size_bytes;
	return n->name && n->version && n->arch && n->source && n->depends && n->sha256 ? 0 : err_oom(e);
}

/* Names and versions become arguments of apt-get: nothing that could be read as an option or a pattern. */
static bool is_plain(struct span s)
{
	if (s.len == 0 || s.len > 200 || s.p[0] == '-' || s.p[0] == '.')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:~_", s.p[i]))
			return false;
	return true;
}

static int take_stanza(const struct deb822_stanza *s, struct apt_packages *ret, struct err *e)
{
	struct span name = deb822_value(s, "Package"), version = deb822_value(s, "Version");
	struct span arch = deb822_value(s, "Architecture"), sha256 = deb822_value(s, "SHA256");
	struct span source = deb822_value(s, "Source"), word = name;
	uint8_t bytes[32];
	struct apt_package *p;

	if (!is_plain(name) || !is_plain(version) || !is_plain(arch) ||
	    parse_hexbytes(sha256, bytes, sizeof(bytes)) < 0)
		return 0; /* cannot be fetched and checked, so it is not offered */
	if (source.len)
		(void)span_word(&source, &word);
	p = packages_grow(ret);
	if (!p)
		return err_oom(e);
	if (parse_u64(deb822_value(s, "Size"), INT64_MAX, &p->size_bytes) < 0)
		p->size_bytes = 0;
	p->name = span_dup(name);
	p->version = span_dup(version);
	p->arch = span_dup(arch);
	p->source = span_dup(word);
	p->depends = span_dup(deb822_value(s, "Depends"));
	p->sha256 = malloc(65);
	if (!p->name || !p->version || !p->arch || !p->source || !p->depends || !p->sha256)
		return err_oom(e);
	hex_encode(bytes, sizeof(bytes), p->sha256);
	return 0;
}

int apt_parse_index(const char *text, size_t len, struct apt_packages *ret, struct err *e)
{
	_cleanup_(deb822_stanza_done) struct deb822_stanza s = { 0 };
	struct deb822_reader reader = DEB822_READER(((struct span){ text, len }));
	int r;

	while ((r = deb822_next(&reader, &s, e)) > 0) {
		r = take_stanza(&s, ret, e);
		if (r < 0)
			return r;
	}
	return r < 0 ? err_wrap(e, "package index") : 0;
}

/* -- the private configuration -- */

static int apt_spawn_init(struct apt *a, struct spawn *s)
{
	static const char *const passed[] = { "http_proxy", "https_proxy", "ftp_proxy", "no_proxy" };

	s->cwd_fd = a->arrived_fd;
	s->timeout_s = UPDATE_TIMEOUT_S;
	for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
		const char *v = i < 2 && a->o->proxy ? a->o->proxy : getenv(passed[i]);

		if (v)
			(void)spawn_env(s, passed[i], v);
	}
	if (a->conf)
		(void)spawn_env(s, "APT_CONFIG", a->conf);
	return 0;
}

/* Text of one line-wise query to the machine's apt configuration. */
static int machine_query(struct apt *a, struct spawn *s, struct err *e)
{
	int r;

	(void)apt_spawn_init(a, s);
	s->capture = true;
	r = spawn_check(s, e);
	return r < 0 ? err_wrap(e, "asking apt about this machine") : 0;
}

/* Proxies and the like hold for our downloads too. Hooks do not: they are commands of the machine. */
static int carry_acquire(struct apt *a, struct strbuf *conf, struct err *e)
{
	static const char *const wanted[] = { "Acquire::http::", "Acquire::https::", "Acquire::Retries " };
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("apt-config");
	struct span rest, line;
	int r;

	(void)spawn_argv(&s, "apt-config", "dump", "--no-empty", "--format", "%F \"%V\";%n", "Acquire", NULL);
	r = machine_query(a, &s, e);
	if (r < 0)
		return r;
	rest = (struct span){ s.out ? s.out : "", s.out_len };
	while (span_line(&rest, &line))
		for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
			/* Exactly the two quotes of our format: a value with one of its own could say more. */
			if (span_starts(line, wanted[i]) && span_ends(line, "\";") &&
			    memrchr(line.p, '"', line.len - 2) == memchr(line.p, '"', line.len))
				(void)strbuf_printf(conf, SPAN_FMT "\n", SPAN_ARG(line));
	return 0;
}

static int write_conf(struct apt *a, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(STRBUF_TEXT_MAX);
	int r;

	(void)strbuf_printf(
	    &b,
	    "Dir::Etc \"%s/etc\";\nDir::Etc::Main \"/dev/null\";\nDir::Etc::Parts \"/dev/null\";\n"
	    "Dir::Etc::SourceList \"%s/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n"
	    "Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n"
	    "Dir::State \"%s/state\";\nDir::State::Lists \"%s/lists\";\n"
	    "Dir::State::Status \"%s/status\";\nDir::Cache \"%s/cache\";\nDir::Log \"%s/log\";\n",
	    a->dir, a->dir, a->dir, a->dir, a->dir, a->dir, a->dir);
	(void)strbuf_printf(&b,
			    "APT::Architecture \"%s\";\nAPT::Architectures { \"%s\"; %s};\n"
			    "APT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\n"
			    "Acquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
			    "Acquire::AllowInsecureRepositories \"false\";\n",
			    a->deb_arch, a->deb_arch,
			    a->o->with_compat32 && strcmp(a->deb_arch, "amd64") == 0 ? "\"i386\"; " : "");
	r = carry_acquire(a, &b, e);
	if (r < 0)
		return r;
	if (strbuf_error(&b) < 0)
		return err_oom(e);
	r = publish_bytes(a->dir_fd, "apt.conf", b.buf, b.len, 0644);
	if (r >= 0)
		r = publish_bytes(a->dir_fd, "status", "", 0, 0644);
	if (r < 0)
		return err_errno(e, r, "writing %s/apt.conf", a->dir);
	a->conf = str_printf("%s/apt.conf", a->dir);
	return a->conf ? 0 : err_oom(e);
}

/* A repository says who it is in its index. Before that has been fetched every repository may be the distribution's:
 * taken on trial, because the keyring decides in the end (refresh()). */
static const struct distribution *distribution_of(struct span origin, struct span uri, bool on_trial)
{
	for (size_t i = 0; i < ARRAY_LEN(distributions); i++) {
		const struct distribution *d = &distributions[i];

		if (span_eq(origin, d->origin) ||
		    (on_trial && memmem(uri.p, uri.len, d->uri_part, strlen(d->uri_part))))
			return access(d->keyring, R_OK) == 0 ? d : NULL;
	}
	return NULL;
}

static bool cut(struct span *rest, struct span *ret)
{
	const char *bar = memchr(rest->p, '|', rest->len);

	if (!bar)
		return false;
	*ret = (struct span){ rest->p, (size_t)(bar - rest->p) };
	*rest = (struct span){ bar + 1, rest->len - ret->len - 1 };
	return true;
}

/* "RELEASE|REPO-URI|ORIGIN" -> a source line, once. */
static void add_source(struct span line, bool on_trial, struct strbuf *out)
{
	const struct distribution *d;
	_cleanup_free_ char *text = NULL;
	struct span release, uri;

	if (!cut(&line, &release) || !cut(&line, &uri) || !release.len || !uri.len)
		return;
	d = distribution_of(line, uri, on_trial);
	if (!d)
		return;
	text = str_printf("deb [signed-by=%s] " SPAN_FMT " " SPAN_FMT " %s\n", d->keyring, SPAN_ARG(uri),
			  SPAN_ARG(release), d->components);
	if (text && !strstr(strbuf_str(out), text))
		(void)strbuf_puts(out, text);
}

static int machine_sources(struct apt *a, bool has_release_info, struct strbuf *out, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("apt-get indextargets");
	struct span rest, line;
	int r;

	(void)spawn_argv(&s, "apt-get", "indextargets", "--format", "$(RELEASE)|$(REPO_URI)|$(ORIGIN)", NULL);
	/* Without it only targets are told whose index has been fetched, which a fresh machine has not done. */
	if (!has_release_info)
		(void)spawn_argv(&s, "--no-release-info", NULL);
	(void)spawn_argv(&s, "Created-By: Packages", NULL);
	r = machine_query(a, &s, e);
	if (r < 0)
		return r;
	rest = (struct span){ s.out ? s.out : "", s.out_len };
	while (span_line(&rest, &line))
		add_source(line, !has_release_info, out);
	return strbuf_error(out) < 0 ? err_oom(e) : 0;
}

static int ready_sources(struct apt *a, struct strbuf *out, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/sources.list", a->o->apt_etc), *text = NULL;
	int r = path ? read_file_at(AT_FDCWD, path, 1 << 20, &text, NULL) : -ENOMEM;

	if (r < 0)
		return err_errno(e, r, "reading %s", path ? path : "sources.list");
	return strbuf_puts(out, text) < 0 ? err_oom(e) : 0;
}

static int write_sources(struct apt *a, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(1 << 20);
	int r;

	if (a->o->apt_etc) {
		r = ready_sources(a, &b, e);
	} else {
		r = machine_sources(a, true, &b, e);
		if (r >= 0 && b.len == 0)
			r = machine_sources(a, false, &b, e);
	}
	if (r < 0)
		return r;
	if (b.len == 0)
		return err_set(
		    e, -ERR_SOURCE_NO_APT,
		    "this machine's apt names no repository of Debian or Ubuntu whose keyring is installed");
	r = publish_bytes(a->dir_fd, "sources.list", b.buf, b.len, 0644);
	return r < 0 ? err_errno(e, r, "writing %s/sources.list", a->dir) : 0;
}

static int make_dirs(struct apt *a, struct err *e)
{
	static const char *const dirs[] = { "etc",
					    "state",
					    "lists",
					    "lists/partial",
					    "cache",
					    "cache/archives",
					    "cache/archives/partial",
					    "log",
					    "arrived" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (mkdirat(a->dir_fd, dirs[i], 0755) < 0 && errno != EEXIST)
			return err_errno(e, -errno, "making %s/%s", a->dir, dirs[i]);
	a->arrived_fd = dir_open_at(a->dir_fd, "arrived");
	return a->arrived_fd < 0 ? err_errno(e, a->arrived_fd, "cannot open %s/arrived", a->dir) : 0;
}

static int update(struct apt *a, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("apt-get update");
	int r;

	(void)apt_spawn_init(a, &s);
	(void)spawn_argv(&s, "apt-get", "-q", "update", NULL);
	r = spawn_run(&s, e);
	if (r < 0)
		return err_wrap(e, "refreshing the package index");
	if (s.status == 0)
		return 0;
	return err_set(e, -ERR_FETCH_FAILED, "refreshing the package index failed (status %d):\n%s", s.status,
		       s.tail ? s.tail : "");
}

/* After a failed update: our sources reduced to those that have an index with a valid signature of the distribution.
 * 1 when that left some and took some away. */
static int drop_unusable_sources(struct apt *a, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf usable = STRBUF_INIT(1 << 20);
	_cleanup_free_ char *before = NULL;
	size_t len;
	int r;

	r = read_file_at(a->dir_fd, "sources.list", 1 << 20, &before, &len);
	if (r < 0)
		return err_errno(e, r, "reading %s/sources.list", a->dir);
	r = machine_sources(a, true, &usable, e);
	if (r < 0)
		return r;
	if (usable.len == 0 || usable.len >= len)
		return 0;
	r = publish_bytes(a->dir_fd, "sources.list", usable.buf, usable.len, 0644);
	return r < 0 ? err_errno(e, r, "writing %s/sources.list", a->dir) : 1;
}

/* A foreign repository of the machine (another signer, gone, not reachable) must not keep us from the distribution's:
 * when the update fails, what it could not use is left out and the rest tried once more. */
static int refresh(struct apt *a, struct err *e)
{
	_cleanup_(err_done) struct err first = ERR_INIT;
	int r, dropped;

	if (a->o->offline)
		return 0;
	r = update(a, &first);
	if (r >= 0)
		return 0;
	dropped = r == -ERR_FETCH_FAILED && !a->o->apt_etc ? drop_unusable_sources(a, e) : 0;
	if (dropped < 0)
		return dropped;
	if (dropped == 0) {
		err_move(e, &first);
		return r;
	}
	r = update(a, e);
	if (r >= 0)
		log_warn("repositories that are not the distribution's, or cannot be read, are left out");
	return r;
}

static const char *deb_arch_of(const char *arch)
{
#if defined(__aarch64__)
	const char *own = "aarch64";
#else
	const char *own = "x86_64";
#endif
	return strcmp(arch ? arch : own, "aarch64") == 0 ? "arm64" : "amd64";
}

int apt_open(struct depot *d, const struct source_options *o, struct apt **ret, struct err *e)
{
	_cleanup_(apt_freep) struct apt *a = calloc(1, sizeof(*a));
	_cleanup_free_ char *program = NULL;
	int r;

	if (!a)
		return err_oom(e);
	*a = (struct apt){
		.o = o,
		.depot = d,
		.dir_fd = -EBADF,
		.arrived_fd = -EBADF,
		.lock = LOCK_INIT,
		.deb_arch = deb_arch_of(o->arch),
	};
	if (spawn_find("apt-get", &program) < 0)
		return err_set(e, -ERR_SOURCE_NO_APT, "this machine has no apt-get");
	r = depot_subdir(d, dir_name(d), &a->dir, e);
	if (r < 0)
		return r;
	a->dir_fd = dir_open_at(AT_FDCWD, a->dir);
	if (a->dir_fd < 0)
		return err_errno(e, a->dir_fd, "cannot open %s", a->dir);
	r = lock_file_at(a->dir_fd, "lock", LOCK_TIMEOUT_MS, &a->lock);
	if (r < 0)
		return r == -EAGAIN ? err_set(e, -ERR_LOCKED, "another run uses %s", a->dir)
				    : err_errno(e, r, "locking %s", a->dir);
	if ((r = make_dirs(a, e)) < 0 || (r = write_sources(a, e)) < 0 || (r = write_conf(a, e)) < 0 ||
	    (r = refresh(a, e)) < 0)
		return r;
	*ret = TAKE_PTR(a);
	return 0;
}

/* -- questions to the index -- */

static int apt_capture(struct apt *a, struct spawn *s, struct apt_packages *ret, struct err *e)
{
	int r;

	(void)apt_spawn_init(a, s);
	s->capture = true;
	s->capture_max = INDEX_MAX;
	r = spawn_check(s, e);
	return r < 0 ? r : apt_parse_index(s->out ? s->out : "", s->out_len, ret, e);
}

/* Every version of the named packages; names apt does not know are simply absent. */
static int show(struct apt *a, char *const *names, struct apt_packages *ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("apt-cache show");
	int r;

	(void)apt_spawn_init(a, &s);
	(void)spawn_argv(&s, "apt-cache", "show", "--all-versions", NULL);
	for (size_t i = 0; names[i]; i++)
		(void)spawn_arg(&s, "%s", names[i]);
	s.capture = true;
	s.capture_max = INDEX_MAX;
	r = spawn_run(&s, e);
	if (r < 0)
		return err_wrap(e, "reading the package index");
	return apt_parse_index(s.out ? s.out : "", s.out_len, ret, e);
}

static int no_index(struct apt *a, struct err *e)
{
	if (!a->o->offline)
		return err_set(e, -ERR_SOURCE_NOT_FOUND,
			       "the repositories of this machine offer no driver packages");
	(void)err_set(e, -ERR_OFFLINE,
		      "the package index of apt is needed, and --offline forbids the network");
	return err_object(e, "%s/lists", a->dir);
}

/* Drivers live outside the large free components; reading only the small ones costs a few milliseconds. */
static bool is_driver_component(struct span component)
{
	return !span_eq(component, "main") && !span_eq(component, "universe");
}

static int driver_indexes(struct apt *a, struct spawn *cat, bool *ret_any, struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("apt-get indextargets");
	struct span rest, line, component;
	int r;

	(void)apt_spawn_init(a, &s);
	(void)spawn_argv(&s, "apt-get", "indextargets", "--format", "$(COMPONENT)|$(FILENAME)",
			 "Created-By: Packages", NULL);
	s.capture = true;
	r = spawn_check(&s, e);
	if (r < 0)
		return r;
	*ret_any = false;
	rest = (struct span){ s.out ? s.out : "", s.out_len };
	while (span_line(&rest, &line))
		if (cut(&line, &component) && is_driver_component(component) && line.len &&
		    line.p[0] == '/') {
			(void)spawn_arg(cat, SPAN_FMT, SPAN_ARG(line));
			*ret_any = true;
		}
	return 0;
}

static int read_driver_index(struct apt *a, struct apt_packages *ret, struct err *e)
{
	_cleanup_(spawn_done) struct spawn cat = SPAWN_INIT("apt-helper cat-file");
	bool any;
	int r;

	(void)spawn_argv(&cat, APT_HELPER, "cat-file", NULL);
	r = driver_indexes(a, &cat, &any, e);
	if (r >= 0)
		r = any ? apt_capture(a, &cat, ret, e) : no_index(a, e);
	return r < 0 ? err_wrap(e, "reading the package index") : 0;
}

/* -- choosing -- */

static const char *const driver_sources[] = { "nvidia-graphics-drivers*", "nvidia-open-gpu-kernel-modules*" };

static bool is_driver(const struct apt_package *p)
{
	for (size_t i = 0; i < ARRAY_LEN(driver_sources); i++)
		if (class_glob(driver_sources[i], p->source, NULL))
			return true;
	return false;
}

/* "535.261.03", "535.261.03-1", or NULL for any. */
static bool has_version(const struct apt_package *p, const char *version)
{
	_cleanup_free_ char *upstream = pkg_upstream(p->version);

	return strcmp(p->version, version) == 0 || (upstream && strcmp(upstream, version) == 0);
}

static bool is_kernel_part(const struct apt_package *p)
{
	return strstr(p->name, "kernel") || strncmp(p->name, "firmware-", 9) == 0;
}

static bool arch_wanted(const struct apt_package *p, const char *deb_arch, bool with_compat32)
{
	if (strcmp(p->arch, "all") == 0 || strcmp(p->arch, deb_arch) == 0)
		return true;
	return with_compat32 && strcmp(deb_arch, "amd64") == 0 && strcmp(p->arch, "i386") == 0 &&
	       !is_kernel_part(p);
}

static bool part_wanted(const struct apt_package *p, const struct source_options *o)
{
	if (o->with_kernel_sources == o->with_user_space)
		return true;
	return is_kernel_part(p) == o->with_kernel_sources;
}

static bool source_in(const struct apt_packages *all, const char *version, const char *source)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].source, source) == 0 && has_version(&all->v[i], version))
			return true;
	return false;
}

/* One family per version: the plain source if it has the version, else the first by name. The same driver is also
 * packaged as "-tesla-…"; mixing the two would put every file in twice. */
static bool family_wanted(const struct apt_packages *all, const char *version, const struct apt_package *p)
{
	for (size_t i = 0; i < ARRAY_LEN(driver_sources); i++) {
		size_t len = strlen(driver_sources[i]) - 1;

		if (strncmp(p->source, driver_sources[i], len) != 0)
			continue;
		for (size_t k = 0; k < all->n; k++) {
			const char *other = all->v[k].source;

			if (strncmp(other, driver_sources[i], len) == 0 && strcmp(other, p->source) < 0 &&
			    source_in(all, version, other))
				return false;
		}
	}
	return true;
}

static struct apt_package *find_name(const struct apt_packages *p, const char *name, const char *arch)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i].name, name) == 0 && (!arch || strcmp(p->v[i].arch, arch) == 0))
			return &p->v[i];
	return NULL;
}

/* Sources come twice: spread out for DKMS, and as an archive for building packages. One is enough. */
static bool has_dkms_twin(const struct apt_packages *p, const struct apt_package *one)
{
	const char *end = strstr(one->name, "-kernel-source");
	_cleanup_free_ char *twin = NULL;

	if (!end || strcmp(end, "-kernel-source") != 0)
		return false;
	twin = str_printf("%.*s-kernel-dkms", (int)(end - one->name), one->name);
	return twin && find_name(p, twin, NULL);
}

static int not_found(const struct apt_packages *all, const char *version, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);
	_cleanup_strv_ char **seen = NULL;

	for (size_t i = 0; i < all->n; i++) {
		_cleanup_free_ char *upstream = pkg_upstream(all->v[i].version);

		if (is_driver(&all->v[i]) && upstream && !strv_contains(seen, upstream))
			(void)strv_push(&seen, upstream);
	}
	if (seen)
		strv_sort(seen);
	for (size_t i = 0; seen && seen[i]; i++)
		(void)strbuf_printf(&b, "%s%s", i ? ", " : "", seen[i]);
	(void)err_set(e, -ERR_SOURCE_NOT_FOUND, "no driver %s in the distribution's packages; offered: %s",
		      version, b.len ? strbuf_str(&b) : "none");
	return err_object(e, "%s", version);
}

static const char *newest_version(const struct apt_packages *all)
{
	const char *best = NULL;

	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].source, "nvidia-graphics-drivers") == 0 &&
		    (!best || pkg_version_compare(all->v[i].version, best) > 0))
			best = all->v[i].version;
	return best;
}

static int by_name(const void *a, const void *b)
{
	const struct apt_package *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : strcmp(x->arch, y->arch);
}

/* Keep one package per name and machine: the highest revision. */
static int keep_best(struct apt_packages *to, const struct apt_package *p, struct err *e)
{
	struct apt_package *known = find_name(to, p->name, p->arch);
	struct apt_packages one = { 0 };
	int r;

	if (!known)
		return apt_packages_copy(to, p, e);
	if (pkg_version_compare(p->version, known->version) <= 0)
		return 0;
	r = apt_packages_copy(&one, p, e);
	if (r >= 0) {
		struct apt_package swap = *known;

		*known = one.v[0];
		one.v[0] = swap;
	}
	apt_packages_done(&one);
	return r;
}

int apt_choose_driver(const struct apt_packages *all, const char *version, const struct source_options *o,
		      const char *deb_arch, struct apt_packages *ret, char **ret_upstream, struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages of_version = { 0 }, chosen = { 0 };
	_cleanup_free_ char *upstream = NULL;
	int r;

	if (strcmp(version, "newest") == 0)
		version = newest_version(all) ? newest_version(all) : version;
	upstream = pkg_upstream(version);
	if (!upstream)
		return err_oom(e);
	for (size_t i = 0; i < all->n; i++) {
		const struct apt_package *p = &all->v[i];

		if (!is_driver(p) || !has_version(p, upstream) ||
		    !arch_wanted(p, deb_arch, o->with_compat32) || !part_wanted(p, o) ||
		    !family_wanted(all, upstream, p))
			continue;
		r = keep_best(&of_version, p, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < of_version.n; i++)
		if (!has_dkms_twin(&of_version, &of_version.v[i])) {
			r = apt_packages_copy(&chosen, &of_version.v[i], e);
			if (r < 0)
				return r;
		}
	if (chosen.n == 0)
		return not_found(all, version, e);
	qsort(chosen.v, chosen.n, sizeof(*chosen.v), by_name);
	*ret = chosen;
	chosen = (struct apt_packages){ 0 };
	*ret_upstream = TAKE_PTR(upstream);
	return 0;
}

/* From sources of their own, so their versions are near the driver's at best. */
static const struct companion {
	const char *name;
	bool same_branch;
} companions[] = {
	{ "nvidia-persistenced", true },
	{ "nvidia-modprobe", true },
	{ "libnvidia-egl-wayland1", false },
	{ "libnvidia-egl-gbm1", false },
};

/* Of a helper that follows the driver's branch: the highest not above the driver, else the lowest of the branch. */
static bool companion_better(const struct companion *c, const char *driver, const char *candidate,
			     const char *best)
{
	bool candidate_below = pkg_version_compare(candidate, driver) <= 0;
	bool best_below = best && pkg_version_compare(best, driver) <= 0;

	if (!best)
		return true;
	if (!c->same_branch)
		return pkg_version_compare(candidate, best) > 0;
	if (candidate_below != best_below)
		return candidate_below;
	return candidate_below == (pkg_version_compare(candidate, best) > 0);
}

static bool same_branch(const char *a, const char *b)
{
	size_t n = strcspn(a, ".");

	return strncmp(a, b, n + 1) == 0;
}

static int add_companions(struct apt *a, const char *driver, struct apt_packages *to, struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages all = { 0 };
	_cleanup_strv_ char **names = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(companions); i++)
		if (strv_push(&names, companions[i].name) < 0)
			return err_oom(e);
	r = show(a, names, &all, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
		const struct apt_package *best = NULL;

		for (size_t k = 0; k < all.n; k++) {
			const struct apt_package *p = &all.v[k];

			if (strcmp(p->name, companions[i].name) != 0 || !arch_wanted(p, a->deb_arch, false) ||
			    (companions[i].same_branch && !same_branch(driver, p->version)))
				continue;
			if (companion_better(&companions[i], driver, p->version, best ? best->version : NULL))
				best = p;
		}
		if (best && (r = apt_packages_copy(to, best, e)) < 0)
			return r;
	}
	return 0;
}

int apt_driver(struct apt *a, const char *version, struct apt_packages *ret, char **ret_upstream,
	       struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages all = { 0 }, chosen = { 0 };
	_cleanup_free_ char *upstream = NULL;
	int r;

	r = read_driver_index(a, &all, e);
	if (r >= 0)
		r = apt_choose_driver(&all, version, a->o, a->deb_arch, &chosen, &upstream, e);
	if (r >= 0 && (a->o->with_user_space || !a->o->with_kernel_sources))
		r = add_companions(a, upstream, &chosen, e);
	if (r < 0)
		return r;
	*ret = chosen;
	chosen = (struct apt_packages){ 0 };
	*ret_upstream = TAKE_PTR(upstream);
	return 0;
}

/* -- kernel headers -- */

static struct apt_package *highest(const struct apt_packages *p, const char *name)
{
	struct apt_package *best = NULL;

	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i].name, name) == 0 &&
		    (!best || pkg_version_compare(p->v[i].version, best->version) > 0))
			best = &p->v[i];
	return best;
}

/* Next package of a dependency list (its first alternative, without version). */
static bool next_dependency(struct span *rest, struct span *ret)
{
	while (rest->len) {
		const char *comma = memchr(rest->p, ',', rest->len);
		size_t len = comma ? (size_t)(comma - rest->p) : rest->len, n = 0;
		struct span one = span_trim((struct span){ rest->p, len });

		*rest = comma ? (struct span){ comma + 1, rest->len - len - 1 }
			      : (struct span){ rest->p + len, 0 };
		while (n < one.len && !strchr(" (|:[<", one.p[n]))
			n++;
		*ret = (struct span){ one.p, n };
		if (is_plain(*ret))
			return true;
	}
	return false;
}

/* The newest version of one package into `to`. 1 = there is one. */
static int add_newest(struct apt *a, const char *name, struct apt_packages *to, struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages all = { 0 };
	_cleanup_strv_ char **names = NULL;
	const struct apt_package *best;
	int r;

	if (strv_push(&names, name) < 0)
		return err_oom(e);
	r = show(a, names, &all, e);
	if (r < 0)
		return r;
	best = highest(&all, name);
	if (!best)
		return 0;
	r = apt_packages_copy(to, best, e);
	return r < 0 ? r : 1;
}

static const char *const header_parts[] = { "linux-headers-*", "linux-kbuild-*", "linux-compiler-*" };

static bool is_header_part(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(header_parts); i++)
		if (class_glob(header_parts[i], name, NULL))
			return true;
	return false;
}

#define HEADER_PACKAGES_MAX 16

/* Follow dependencies among the header packages; `to` grows while it is walked. */
static int add_header_dependencies(struct apt *a, struct apt_packages *to, struct err *e)
{
	for (size_t i = 0; i < to->n && to->n < HEADER_PACKAGES_MAX; i++) {
		_cleanup_free_ char *depends = strdup(to->v[i].depends);
		struct span rest = depends ? SPAN(depends) : SPAN_NULL, one;

		if (!depends)
			return err_oom(e);
		while (next_dependency(&rest, &one)) {
			_cleanup_free_ char *name = span_dup(one);
			int r;

			if (!name)
				return err_oom(e);
			if (!is_header_part(name) || find_name(to, name, NULL))
				continue;
			r = add_newest(a, name, to, e);
			if (r < 0)
				return r;
			if (r == 0)
				return err_set(e, -ERR_SOURCE_NOT_FOUND, "%s needs %s, which is not offered",
					       to->v[i].name, name);
		}
	}
	return 0;
}

/* "linux-headers-amd64" stands for the "linux-headers-6.1.0-40-amd64" it depends on. */
static char *real_header_package(const struct apt_package *p, const char *which)
{
	_cleanup_free_ char *pattern = str_printf("linux-headers-[0-9]*-%s", which);
	struct span rest = SPAN(p->depends), one;

	while (pattern && next_dependency(&rest, &one)) {
		_cleanup_free_ char *name = span_dup(one);

		if (name && class_glob(pattern, name, NULL))
			return TAKE_PTR(name);
	}
	return strdup(p->name);
}

int apt_headers(struct apt *a, const char *which, struct apt_packages *ret, char **ret_release, struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages meta = { 0 }, all = { 0 };
	_cleanup_free_ char *name = str_printf("linux-headers-%s", which), *real = NULL, *release = NULL;
	int r;

	if (!name)
		return err_oom(e);
	if (!is_plain(SPAN(name)))
		return err_set(e, -ERR_USAGE, "\"%s\" is neither a kernel release nor a flavour", which);
	r = add_newest(a, name, &meta, e);
	if (r < 0)
		return r;
	if (r == 0) {
		(void)err_set(e, -ERR_SOURCE_NOT_FOUND, "the distribution offers no headers for kernel %s",
			      which);
		return err_object(e, "%s", name);
	}
	real = real_header_package(&meta.v[0], which);
	if (!real)
		return err_oom(e);
	r = add_newest(a, real, &all, e);
	if (r == 0)
		return err_set(e, -ERR_SOURCE_NOT_FOUND, "%s needs %s, which is not offered", name, real);
	if (r > 0)
		r = add_header_dependencies(a, &all, e);
	if (r < 0)
		return r;
	release = strdup(real + strlen("linux-headers-"));
	if (!release)
		return err_oom(e);
	*ret = all;
	all = (struct apt_packages){ 0 };
	*ret_release = TAKE_PTR(release);
	return 0;
}

/* -- download -- */

/* apt writes an epoch as %3a, which is no name for us. */
static char *stored_name(const struct apt_package *k)
{
	return str_printf("%s_%s_%s.deb", k->name, k->version, k->arch);
}

static int spawn_download(struct apt *a, const struct apt_packages *p, struct depot_files *have,
			  struct err *e)
{
	_cleanup_(spawn_done) struct spawn s = SPAWN_INIT("apt-get download");
	uint64_t bytes = 0;
	size_t n = 0;
	int r;

	(void)apt_spawn_init(a, &s);
	s.timeout_s = FETCH_TIMEOUT_S;
	(void)spawn_argv(&s, "apt-get", "-q", "download", NULL);
	for (size_t i = 0; i < p->n; i++) {
		const struct apt_package *k = &p->v[i];

		_cleanup_free_ char *name = stored_name(k);

		if (!name)
			return err_oom(e);
		r = depot_find(a->depot, name, k->sha256, FETCH_PUBLISHED, have, e);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (strcmp(k->arch, "all") == 0)
			(void)spawn_arg(&s, "%s=%s", k->name, k->version);
		else
			(void)spawn_arg(&s, "%s:%s=%s", k->name, k->arch, k->version);
		bytes += k->size_bytes;
		n++;
	}
	if (n == 0)
		return 0;
	if (a->o->offline) {
		(void)err_set(e, -ERR_OFFLINE,
			      "%zu packages (%s and others) are needed, and --offline forbids the network", n,
			      p->v[0].name);
		return err_object(e, "apt:%s", p->v[0].name);
	}
	log_info("downloading %zu packages, %" PRIu64 " MB", n, (bytes + 999999) / 1000000);
	r = spawn_run(&s, e);
	if (r < 0)
		return err_wrap(e, "downloading packages");
	if (s.status != 0)
		return err_set(e, -ERR_FETCH_FAILED, "apt-get download failed (status %d):\n%s", s.status,
			       s.tail ? s.tail : "");
	return 0;
}

static const struct apt_package *by_digest(const struct apt_packages *p, const char *sha256)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i].sha256, sha256) == 0)
			return &p->v[i];
	return NULL;
}

static int take_arrived(struct apt *a, const char *file, const struct apt_packages *p,
			struct depot_files *got, struct err *e)
{
	const struct apt_package *k;
	_cleanup_free_ char *name = NULL, *url = NULL;
	char sha256[65];
	int r;

	r = sha256_file_at(a->arrived_fd, file, sha256);
	if (r < 0)
		return err_errno(e, r, "reading %s/arrived/%s", a->dir, file);
	k = by_digest(p, sha256);
	if (!k) {
		/* Left by an earlier run, or damaged on the way: either way not what the index says. */
		(void)unlinkat(a->arrived_fd, file, 0);
		return 0;
	}
	name = stored_name(k);
	url = str_printf("apt:%s=%s", k->name, k->version);
	if (!name || !url)
		return err_oom(e);
	r = depot_receive(a->depot, a->arrived_fd, file, name, e);
	if (r < 0)
		return r;
	return depot_take(a->depot, name, sha256, url, FETCH_PUBLISHED, FETCH_DOWNLOADED, got, e);
}

static int list_arrived(struct apt *a, char ***ret, struct err *e)
{
	int fd = fd_reopen(a->arrived_fd, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(dir_closep) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return err_errno(e, -EIO, "reading %s/arrived", a->dir);
	}
	while ((d = readdir(dir)))
		if (span_ends(SPAN(d->d_name), ".deb") && strv_push(ret, d->d_name) < 0)
			return err_oom(e);
	return 0;
}

static int row_of(struct depot_files *from, const char *sha256, struct depot_files *to, struct err *e)
{
	for (size_t i = 0; i < from->n; i++) {
		struct depot_file *v;

		if (strcmp(from->v[i].sha256, sha256) != 0)
			continue;
		v = reallocarray(to->v, to->n + 1, sizeof(*v));
		if (!v)
			return err_oom(e);
		to->v = v;
		v[to->n++] = from->v[i];
		from->v[i] = (struct depot_file){ 0 };
		return 1;
	}
	return 0;
}

int apt_download(struct apt *a, const struct apt_packages *p, struct depot_files *files, struct err *e)
{
	_cleanup_(depot_files_done) struct depot_files got = { 0 };
	_cleanup_strv_ char **arrived = NULL;
	int r;

	r = spawn_download(a, p, &got, e);
	if (r >= 0)
		r = list_arrived(a, &arrived, e);
	for (size_t i = 0; r >= 0 && arrived && arrived[i]; i++)
		r = take_arrived(a, arrived[i], p, &got, e);
	for (size_t i = 0; r >= 0 && i < p->n; i++) {
		r = row_of(&got, p->v[i].sha256, files, e);
		if (r == 0) {
			(void)err_set(e, -ERR_FETCH_DIGEST,
				      "what apt brought as %s %s is not what its index says", p->v[i].name,
				      p->v[i].version);
			return err_object(e, "%s", p->v[i].name);
		}
	}
	return r < 0 ? r : 0;
}
