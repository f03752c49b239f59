/* SPDX-License-Identifier: Apache-2.0 */
#include "modset-internal.h"

#include "cms.h"
#include "fd.h"
#include "modlink.h"
#include "modsig.h"
#include "path.h"
#include "precompiled.h"
#include "strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* One package being made. Interface files are linked with the untouched core objects in a private directory: what an installer
 * will link must be what was signed here. */
struct export
{
	int set_fd; /* borrowed: the module set */
	int flavour_fd; /* kernel/ or kernel-open/ of the tree; -EBADF without a tree */
	struct store_stage work;
	const struct modsig_options *sign; /* NULL = no detached signatures */
	bool set_is_signed;
	struct precompiled_item items[PRECOMPILED_FILES_MAX];
	char *names[PRECOMPILED_FILES_MAX];
	size_t n;
};

static void export_done(struct export *x)
{
	for (size_t i = 0; i < x->n; i++) {
		close_fdp(&x->items[i].fd);
		close_fdp(&x->items[i].linked_fd);
		close_fdp(&x->items[i].signed_fd);
		free(x->names[i]);
	}
	close_fdp(&x->flavour_fd);
	store_stage_done(&x->work);
}

static int open_file(int dirfd, const char *name, int *ret, struct err *e)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_errno(e, -errno, "opening %s", name);
	*ret = fd;
	return 0;
}

int modset_bring(int from, const char *name, int to_dirfd, const char *to)
{
	_cleanup_close_ int in = -EBADF, out = -EBADF, parent = -EBADF, source = -EBADF;
	const char *last, *from_last;

	source = path_open_parent(from, name, false, PATH_NO_SYMLINKS, &from_last);
	if (source < 0)
		return source;
	parent = path_open_parent(to_dirfd, to, true, PATH_NO_SYMLINKS, &last);
	if (parent < 0)
		return parent;
	in = openat(source, from_last, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0)
		return -errno;
	out = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	return out < 0 ? -errno : copy_fd(in, out, NULL);
}

static int link_and_sign(struct export *x, struct precompiled_item *it, struct err *e)
{
	_cleanup_free_ char *signed_name = str_printf("%s.signed", it->linked_name);
	struct modlink l = { .dirfd = x->work.dir_fd,
			     .interface = it->name,
			     .core = it->core_name,
			     .output = it->linked_name,
			     .log_fd = -EBADF };
	struct modlink_result done;
	int r;

	if (!signed_name)
		return err_oom(e);
	r = modset_bring(x->set_fd, it->name, x->work.dir_fd, it->name);
	if (r == 0)
		r = modset_bring(x->flavour_fd, it->core_name, x->work.dir_fd, it->core_name);
	if (r < 0)
		return err_errno(e, r, "bringing %s and %s together", it->name, it->core_name);
	r = modlink_run(&l, &done, e);
	if (r < 0)
		return r;
	r = modsig_sign_file(x->work.dir_fd, it->linked_name, x->work.dir_fd, signed_name, x->sign, e);
	if (r < 0)
		return r;
	r = open_file(x->work.dir_fd, it->linked_name, &it->linked_fd, e);
	return r < 0 ? r : open_file(x->work.dir_fd, signed_name, &it->signed_fd, e);
}

static int add_module(struct export *x, const char *module, struct err *e)
{
	struct precompiled_item *it = &x->items[x->n];
	char name[256];
	int r;

	if (x->n == PRECOMPILED_FILES_MAX)
		return err_set(e, ERR_TOO_LARGE, "more than %u modules", PRECOMPILED_FILES_MAX);
	if (precompiled_file_name(module, name, sizeof(name)) < 0)
		return err_set(e, ERR_FORMAT, "module name \"%s\"", module);
	*it = (struct precompiled_item){
		.type = PRECOMPILED_MODULE, .fd = -EBADF, .linked_fd = -EBADF, .signed_fd = -EBADF
	};
	x->names[x->n] = strdup(name);
	if (!x->names[x->n])
		return err_oom(e);
	it->name = x->names[x->n++];
	if (precompiled_interface_of(it->name, &it->linked_name, &it->core_name))
		it->type = PRECOMPILED_INTERFACE;
	else
		it->is_signed = x->set_is_signed;
	r = open_file(x->set_fd, it->name, &it->fd, e);
	if (r < 0 || it->type == PRECOMPILED_MODULE || !x->sign || x->flavour_fd < 0)
		return r;
	return link_and_sign(x, it, e);
}

static int add_modules(struct export *x, const json_t *record, struct err *e)
{
	json_t *m;
	size_t i;

	json_array_foreach (json_object_get(record, "modules"), i, m) {
		const char *file = json_string_value(json_object_get(m, "file"));
		_cleanup_free_ char *module = NULL;
		int r;

		if (!file || strlen(file) < 4)
			return err_set(e, ERR_STORE_DAMAGED, "the record names a module without a file");
		module = strndup(file, strlen(file) - 3);
		if (!module)
			return err_oom(e);
		r = add_module(x, module, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_package(struct export *x, const json_t *record, int out_fd, char **ret_name, struct err *e)
{
	const char *release = json_string_value(json_object_get(record, "release"));
	const char *identity = json_string_value(json_object_get(record, "kernel_identity"));
	const char *banner = json_string_value(json_object_get(record, "banner"));
	_cleanup_free_ char *name = NULL, *unknown = NULL;
	struct precompiled_header h = { .version = json_string_value(json_object_get(record, "driver")),
					.description = release,
					.mode = 0644 };
	int r;

	if (!release || !identity || !h.version)
		return err_set(e, ERR_STORE_DAMAGED, "incomplete record of a module set");
	name = precompiled_package_name(release, identity);
	unknown = str_printf("Linux version %s", release);
	if (!name || !unknown)
		return err_oom(e);
	/* A vendor installer compares every byte: without the kernel's own text the package serves this program only. */
	h.proc_version = banner ? banner : unknown;
	r = precompiled_write(out_fd, name, &h, NULL, x->items, x->n, false, e);
	if (r < 0)
		return r;
	*ret_name = TAKE_PTR(name);
	return 0;
}

int modset_open_flavour(int tree_fd, const char *flavour, int *ret_fd, struct err *e)
{
	const char *dir = flavour && strcmp(flavour, "open") == 0 ? "kernel-open" : "kernel";
	int fd;

	if (tree_fd < 0)
		return 0;
	fd = dir_open_at(tree_fd, dir);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return err_errno(e, fd, "%s of the driver's tree", dir);
	*ret_fd = fd;
	return 0;
}

static int load_signer(const struct modset_signing *how, struct signer **ret, struct modsig_options *o,
		       struct err *e)
{
	int r;

	if (!how)
		return 0;
	r = signer_load(how->key_path, how->cert_path, how->passphrase_fd < 0 ? -EBADF : how->passphrase_fd,
			ret, e);
	if (r < 0)
		return r;
	*o = (struct modsig_options){ .signer = *ret, .hash = how->hash };
	return 0;
}

int modset_export(struct store *s, const char *key, int tree_fd, const struct modset_signing *how, int out_fd,
		  char **ret_name, struct err *e)
{
	_cleanup_(export_done) struct export x = { .flavour_fd = -EBADF, .work = STORE_STAGE_INIT };
	_cleanup_close_ int set_fd = store_object_open(s, STORE_MODULE, key);
	_cleanup_(signer_freep) struct signer *signer = NULL;
	struct modsig_options o = { 0 };
	json_t *record = NULL;
	int r;

	if (set_fd < 0)
		return err_errno(e, set_fd, "module set %s", key);
	r = modset_verify(s, key, NULL, e);
	if (r == 0)
		r = modset_record(s, key, &record, e);
	if (r < 0)
		return r;
	x.set_fd = set_fd;
	x.set_is_signed = json_is_true(json_object_get(record, "signed"));
	r = modset_open_flavour(tree_fd, json_string_value(json_object_get(record, "flavour")), &x.flavour_fd,
				e);
	if (r == 0)
		r = load_signer(how, &signer, &o, e);
	x.sign = signer ? &o : NULL;
	if (r == 0)
		r = store_stage_begin(s, &x.work, e);
	if (r == 0)
		r = add_modules(&x, record, e);
	if (r == 0)
		r = write_package(&x, record, out_fd, ret_name, e);
	json_decref(record);
	return r;
}
