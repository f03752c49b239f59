/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel build trees from header packages that are unpacked, never installed. Packages expect to lie in /: their
 * makefile includes an absolute path and their links are absolute. Both are made relative, so the tree works
 * wherever the store is. */
#include "apt.h"
#include "depot.h"
#include "source.h"

#include "classify.h"
#include "fd.h"
#include "path.h"
#include "pkg.h"
#include "publish.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAKEFILE_MAX ((size_t)1 << 20)

/* Not needed to build modules. vmlinux makes kbuild ask for pahole to write type information nobody reads. */
static const char *const left_out[] = { "usr/share/**", "usr/src/*/vmlinux", "usr/lib/debug/**" };

static int unpack_link(int dirfd, const struct pkg_member *m, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf target = STRBUF_INIT(8192);
	_cleanup_close_ int parent = -EBADF;
	const char *name;

	if (m->target[0] == '/') {
		for (const char *p = m->path; *p; p++)
			if (*p == '/')
				(void)strbuf_puts(&target, "../");
		(void)strbuf_puts(&target, m->target + 1);
	} else {
		(void)strbuf_puts(&target, m->target);
	}
	if (strbuf_error(&target) < 0)
		return err_oom(e);
	parent = path_open_parent(dirfd, m->path, true, PATH_NO_SYMLINKS, &name);
	if (parent < 0)
		return err_errno(e, parent, "making the directory of %s", m->path);
	if (symlinkat(strbuf_str(&target), parent, name) < 0)
		return err_errno(e, -errno, "making link %s", m->path);
	return 0;
}

static int unpack_file(int dirfd, const struct pkg_member *m, struct err *e)
{
	_cleanup_close_ int parent = -EBADF, fd = -EBADF;
	mode_t mode = m->mode & 0111 ? 0755 : 0644;
	const char *name;
	int r;

	parent = path_open_parent(dirfd, m->path, true, PATH_NO_SYMLINKS, &name);
	if (parent < 0)
		return err_errno(e, parent, "making the directory of %s", m->path);
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return err_errno(e, -errno, "creating %s", m->path);
	r = pkg_member_to_fd(m, fd, e);
	if (r < 0)
		return r;
	return fchmod(fd, mode) < 0 ? err_errno(e, -errno, "writing %s", m->path) : 0;
}

/* A second name of a file that came before. In an .rpm the content comes with the last of the names. */
static int unpack_hardlink(int dirfd, const struct pkg_member *m, struct err *e)
{
	_cleanup_close_ int from = -EBADF, to = -EBADF, fd = -EBADF;
	const char *from_name, *to_name;
	int r;

	from = path_open_parent(dirfd, m->target, false, PATH_NO_SYMLINKS, &from_name);
	if (from < 0)
		return err_set(e, -ERR_SOURCE_MEMBER, "%s is a hard link to %s, which is not there", m->path,
			       m->target);
	to = path_open_parent(dirfd, m->path, true, PATH_NO_SYMLINKS, &to_name);
	if (to < 0)
		return err_errno(e, to, "making the directory of %s", m->path);
	if (linkat(from, from_name, to, to_name, 0) < 0)
		return err_set(e, -ERR_SOURCE_MEMBER, "%s is a hard link to %s: %m", m->path, m->target);
	if (!m->size)
		return 0;
	fd = openat(to, to_name, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "writing %s", m->path);
	r = pkg_member_to_fd(m, fd, e);
	return r < 0 ? r : 0;
}

static int unpack_member(const struct pkg_member *m, void *arg, struct err *e)
{
	int dirfd = *(int *)arg;

	for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
		if (class_glob(left_out[i], m->path, NULL))
			return 0;
	switch (m->type) {
	case PKG_FILE:
		return unpack_file(dirfd, m, e);
	case PKG_LINK:
		return unpack_link(dirfd, m, e);
	case PKG_HARDLINK:
		return unpack_hardlink(dirfd, m, e);
	case PKG_DIR:
	default:
		return 0;
	}
}

/* The sources' directory: that of the makefile the build directory's one includes. */
static char *included_dir(const char *text, const char *absolute)
{
	const char *at = strstr(text, absolute), *end;

	if (!at)
		return NULL;
	at += strlen(absolute);
	end = strchr(at, '/');
	return end ? str_printf("usr/src/%.*s", (int)(end - at), at) : NULL;
}

static int make_relative(const char *text, const char *absolute, struct strbuf *out)
{
	for (const char *at; (at = strstr(text, absolute)); text = at + strlen(absolute)) {
		(void)strbuf_append(out, text, (size_t)(at - text));
		(void)strbuf_puts(out, "include $(dir $(lastword $(MAKEFILE_LIST)))../");
	}
	return strbuf_puts(out, text);
}

int source_relocate_headers(int dirfd, const char *build, char **ret_source, struct err *e)
{
	static const char absolute[] = "include /usr/src/";
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(2 * MAKEFILE_MAX);
	_cleanup_close_ int parent = -EBADF;
	_cleanup_free_ char *text = NULL;
	int r;

	parent = path_open_at(dirfd, build, O_RDONLY | O_DIRECTORY, 0, PATH_NO_SYMLINKS);
	if (parent < 0)
		return err_set(e, -ERR_SOURCE_PACKAGE, "the header packages have no %s", build);
	r = read_file_at(parent, "Makefile", MAKEFILE_MAX, &text, NULL);
	if (r < 0)
		return err_set(e, -ERR_SOURCE_PACKAGE, "the header packages have no %s/Makefile", build);
	*ret_source = included_dir(text, absolute);
	if (!*ret_source) /* a makefile that includes nothing is the sources' own */
		return (*ret_source = strdup(build)) ? 0 : err_oom(e);
	r = make_relative(text, absolute, &out);
	if (r < 0)
		return err_oom(e);
	r = publish_bytes(parent, "Makefile", out.buf, out.len, 0644);
	return r < 0 ? err_errno(e, r, "rewriting %s/Makefile", build) : 0;
}

static int unpack_all(struct depot *d, const struct depot_files *files, int dirfd, struct err *e)
{
	uint64_t total = 0;
	struct pkg_budget budget;

	for (size_t i = 0; i < files->n; i++)
		total += files->v[i].size_bytes;
	budget = (struct pkg_budget)PKG_BUDGET_INIT(total);
	for (size_t i = 0; i < files->n; i++) {
		_cleanup_close_ int fd = depot_file_open(d, &files->v[i], e);
		int r;

		if (fd < 0)
			return fd;
		r = pkg_members(fd, files->v[i].name, &budget, unpack_member, &dirfd, e);
		if (r < 0)
			return err_wrap(e, "unpacking %s", files->v[i].name);
	}
	return 0;
}

static int packages_json(const struct apt_packages *p, const struct depot_files *files, json_t **ret,
			 struct err *e)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < p->n; i++) {
		json_t *o =
		    json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "name", p->v[i].name, "version",
			      p->v[i].version, "arch", p->v[i].arch, "sha256", p->v[i].sha256, "size_bytes",
			      (json_int_t)files->v[i].size_bytes, "file", files->v[i].name);

		if (!o || json_array_append_new(array, o) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	if (!array)
		return err_oom(e);
	*ret = array;
	return 0;
}

int source_kernel_headers(const char *which, const struct source_options *o, int dirfd, char **ret_release,
			  char **ret_source_rel, char **ret_build_rel, json_t **ret_packages, struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages packages = { 0 };
	_cleanup_(depot_files_done) struct depot_files files = { 0 };
	_cleanup_(depot_done) struct depot depot = DEPOT_INIT;
	_cleanup_(apt_freep) struct apt *apt = NULL;
	_cleanup_free_ char *release = NULL, *build = NULL, *source = NULL;
	int r;

	if ((r = depot_open(o->store, &depot, e)) < 0 || (r = apt_open(&depot, o, &apt, e)) < 0 ||
	    (r = apt_headers(apt, which, &packages, &release, e)) < 0 ||
	    (r = apt_download(apt, &packages, &files, e)) < 0 ||
	    (r = unpack_all(&depot, &files, dirfd, e)) < 0)
		return r;
	build = str_printf("usr/src/linux-headers-%s", release);
	if (!build)
		return err_oom(e);
	r = source_relocate_headers(dirfd, build, &source, e);
	if (r < 0)
		return r;
	if (!path_exists(dirfd, source))
		return err_set(e, -ERR_SOURCE_INCOMPLETE, "no header package has %s", source);
	if (ret_packages) {
		r = packages_json(&packages, &files, ret_packages, e);
		if (r < 0)
			return r;
	}
	*ret_release = TAKE_PTR(release);
	*ret_source_rel = TAKE_PTR(source);
	*ret_build_rel = TAKE_PTR(build);
	return 0;
}

int source_kernel_release(const char *which, const struct source_options *o, char **ret_release,
			  struct err *e)
{
	_cleanup_(apt_packages_done) struct apt_packages packages = { 0 };
	_cleanup_(depot_done) struct depot depot = DEPOT_INIT;
	_cleanup_(apt_freep) struct apt *apt = NULL;
	int r;

	if ((r = depot_open(o->store, &depot, e)) < 0 || (r = apt_open(&depot, o, &apt, e)) < 0)
		return r;
	return apt_headers(apt, which, &packages, ret_release, e);
}

int source_kernel_rpm(int fd, const char *label, const char *release, int dirfd, char **ret_build_rel,
		      struct err *e)
{
	_cleanup_free_ char *build = str_printf("usr/src/kernels/%s", release);
	struct pkg_budget budget;
	struct stat st;
	int r;

	if (!build)
		return err_oom(e);
	if (fstat(fd, &st) < 0)
		return err_errno(e, -errno, "%s", label);
	budget = (struct pkg_budget)PKG_BUDGET_INIT((uint64_t)st.st_size);
	r = pkg_members(fd, label, &budget, unpack_member, &dirfd, e);
	if (r < 0)
		return err_wrap(e, "unpacking %s", label);
	if (!path_exists(dirfd, build))
		return err_set(e, -ERR_KTREE_MISMATCH, "%s has no /%s", label, build);
	*ret_build_rel = TAKE_PTR(build);
	return 0;
}
