/* SPDX-License-Identifier: Apache-2.0 */
#include "pack.h"

#include "fd.h"
#include "modsig.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct pack_files {
	struct precompiled_item items[PRECOMPILED_FILES_MAX];
	size_t n;
};

static void pack_files_done(struct pack_files *f)
{
	for (size_t i = 0; i < f->n; i++) {
		close_fdp(&f->items[i].fd);
		close_fdp(&f->items[i].linked_fd);
		close_fdp(&f->items[i].signed_fd);
	}
}

bool pack_is_package(const char *path)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	int r = precompiled_open(AT_FDCWD, path, PRECOMPILED_READ_HEADER, &p, NULL);

	/* A damaged one is still one: it is refused later, with the reason, and never taken for a new file. */
	return r >= 0 || (err_exit_status(r) == 6 && r != -ERR_PRECOMPILED_NOT_A_PACKAGE);
}

static int open_input(const char *path, int *ret_fd, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		err_errno(e, -errno, "cannot open %s", path);
		return err_object(e, "%s", path);
	}
	*ret_fd = fd;
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int add_input(struct pack_files *f, const struct pack_input *in, struct err *e)
{
	struct precompiled_item *it = &f->items[f->n];
	struct modsig sig;
	int r;

	*it = (struct precompiled_item){
		.type = in->type,
		.name = base_name(in->path),
		.linked_name = in->linked_name,
		.core_name = in->core_name,
		.target_dir = in->target_dir,
		.fd = -EBADF,
		.linked_fd = -EBADF,
		.signed_fd = -EBADF,
		.is_signed = in->is_signed,
	};
	f->n++;
	r = open_input(in->path, &it->fd, e);
	if (r >= 0 && in->linked_path)
		r = open_input(in->linked_path, &it->linked_fd, e);
	if (r >= 0 && in->signed_path)
		r = open_input(in->signed_path, &it->signed_fd, e);
	if (r >= 0 && in->detect_signed && modsig_detect_fd(it->fd, &sig) >= 0)
		it->is_signed = sig.is_signed;
	return r;
}

static int open_base(const struct pack_request *q, struct precompiled **ret, struct err *e)
{
	struct stat st;
	int r;

	if (stat(q->path, &st) < 0 && errno == ENOENT)
		return 0;
	r = precompiled_open(AT_FDCWD, q->path, PRECOMPILED_VERIFY, ret, e);
	if (r == -ERR_PRECOMPILED_NOT_A_PACKAGE && q->force)
		return 0;
	if (r == -ERR_PRECOMPILED_NOT_A_PACKAGE) {
		err_set(e, -ERR_PRECOMPILED_OVERWRITE, "%s", q->path);
		return err_object(e, "%s", q->path);
	}
	return r;
}

static int open_parent(const char *path, struct err *e)
{
	const char *name = base_name(path);
	_cleanup_free_ char *dir = strndup(path, (size_t)(name - path));
	int fd;

	if (!dir)
		return err_oom(e);
	if (!*name)
		return err_set(e, -ERR_USAGE, "'%s' names no file", path);
	fd = open(*dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_errno(e, -errno, "cannot open the directory of %s", path) : fd;
}

int pack_run(const struct pack_request *q, unsigned *ret_files, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *base = NULL, *made = NULL;
	_cleanup_(pack_files_done) struct pack_files files = { .n = 0 };
	struct precompiled_header h = { q->version, q->description, q->proc_version, 0 };
	_cleanup_close_ int parent_fd = -EBADF;
	mode_t mask = umask(022);
	int r = 0;

	(void)umask(mask);
	h.mode = 0644 & ~mask;
	if (q->n_inputs > PRECOMPILED_FILES_MAX)
		return err_set(e, -ERR_PRECOMPILED_LIMIT, "more than %u files", PRECOMPILED_FILES_MAX);
	for (size_t i = 0; r >= 0 && i < q->n_inputs; i++)
		r = add_input(&files, &q->inputs[i], e);
	if (r >= 0)
		r = open_base(q, &base, e);
	if (r < 0)
		return r;
	parent_fd = open_parent(q->path, e);
	if (parent_fd < 0)
		return parent_fd;
	r = precompiled_write(parent_fd, base_name(q->path), &h, base, files.items, files.n, q->replace, e);
	if (r >= 0)
		r = precompiled_open(AT_FDCWD, q->path, PRECOMPILED_READ_HEADER, &made, e);
	if (r >= 0)
		*ret_files = made->n_files;
	return r;
}

int pack_banner(const char *path, char **ret, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "cannot open %s", path);
	r = precompiled_banner(fd, ret, e);
	return r < 0 ? err_object(e, "%s/version", path) : 0;
}
