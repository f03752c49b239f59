/* SPDX-License-Identifier: Apache-2.0
 *
 * A patched copy of a package: unpacked privately, patched, packed again in the format it had. */
#include "packer.h"
#include "patch.h"

#include "fd.h"
#include "path.h"
#include "publish.h"
#include "tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CUSTOM		  "-custom"
#define HISTORY_NAME	  "pkg-history.txt"
#define HISTORY_MAX_BYTES ((size_t)1 << 20)

int patch_custom_name(const struct runfile_header *h, char *out, size_t out_size)
{
	struct span base = SPAN(h->targetdir);
	int n;

	if (span_ends(base, CUSTOM))
		base.len -= strlen(CUSTOM);
	n = snprintf(out, out_size, "%.*s" CUSTOM, (int)base.len, base.p);
	return n < 0 || (size_t)n >= out_size ? -ENAMETOOLONG : 0;
}

struct workplace {
	int parent_fd; /* borrowed */
	int fd; /* owned */
	char name[64];
};

static void workplace_done(struct workplace *w)
{
	close_fdp(&w->fd);
	if (w->name[0])
		(void)tree_remove(w->parent_fd, w->name);
}

static int workplace_open(struct workplace *w, struct err *e)
{
	int r = tmpname_random(w->name, sizeof(w->name));

	if (r == 0 && mkdirat(w->parent_fd, w->name, 0700) < 0)
		r = -errno;
	if (r < 0) {
		w->name[0] = '\0';
		return err_errno(e, r, "cannot create a directory beside the output");
	}
	w->fd = dir_open_at(w->parent_fd, w->name);
	return w->fd < 0 ? err_errno(e, w->fd, "cannot open a directory just made") : 0;
}

static void add_events(struct strbuf *out, const char *name, struct patch *const *patches, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)strbuf_printf(out, "%s: Applied patch file: %s (sha256 %s)\n\n", name,
				    patch_name(patches[i]), patch_sha256_hex(patches[i]));
}

static int write_history(int dirfd, const char *name, struct patch *const *patches, size_t n, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(2 * HISTORY_MAX_BYTES);
	_cleanup_free_ char *old = NULL;
	int r = read_file_at(dirfd, HISTORY_NAME, HISTORY_MAX_BYTES, &old, NULL);

	if (r < 0 && r != -ENOENT)
		return err_errno(e, r, "cannot read %s", HISTORY_NAME);
	if (old)
		(void)strbuf_puts(&out, old);
	else
		(void)strbuf_printf(&out, "Package history for %s:\n\n", name);
	add_events(&out, name, patches, n);
	r = strbuf_error(&out);
	if (r == 0)
		r = publish_bytes(dirfd, HISTORY_NAME, out.buf, out.len, 0644);
	return r < 0 ? err_errno(e, r, "cannot write %s", HISTORY_NAME) : 0;
}

static int repack(struct runfile *rf, int dirfd, const char *custom, int out_dirfd, const char *out_name,
		  bool replace, unsigned jobs, struct err *e)
{
	struct pack_options po = { .compression = rf->layout.compression,
				   .level = PACK_LEVEL_DEFAULT,
				   .jobs = jobs,
				   .like = rf,
				   .targetdir = custom,
				   .epoch_s = PACK_EPOCH_NONE };

	/* Formats that are only read come back as the one that is read fastest. */
	if (po.compression == COMPRESSION_BZIP2 || po.compression == COMPRESSION_LZMA)
		po.compression = COMPRESSION_ZSTD;
	return pack_tree(dirfd, out_dirfd, out_name, replace, &po, NULL, e);
}

int patch_package(struct runfile *rf, struct patch *const *patches, size_t n_patches,
		  const struct patch_options *o, const struct runfile_options *read, int out_dirfd,
		  const char *out_name, bool replace, struct patch_package_result *ret, struct err *e)
{
	_cleanup_(workplace_done) struct workplace w = { .parent_fd = out_dirfd, .fd = -EBADF };
	_cleanup_(patch_report_freep) struct patch_report *report = NULL;
	struct patch_options package = *o;
	char custom[256], file[264];
	int r;

	package.package = true;
	if (patch_custom_name(rf->header, custom, sizeof(custom)) < 0)
		return err_set(e, -ERR_RUNFILE_HEADER, "%s: the target directory's name is too long",
			       rf->name);
	(void)snprintf(file, sizeof(file), "%s", out_name ? out_name : custom);
	if (!out_name)
		(void)snprintf(file, sizeof(file), "%s.run", custom);
	if (!replace && faccessat(out_dirfd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		(void)err_set(e, -ERR_PACK_OUTPUT, "%s exists already", file);
		return err_object(e, "%s", file);
	}
	r = workplace_open(&w, e);
	if (r == 0)
		r = runfile_extract_into(rf, w.fd, NULL, read, NULL, e);
	if (r == 0)
		r = patch_apply_tree(w.fd, patches, n_patches, &package, &report, e);
	if (r == 0 && !o->dry_run)
		r = write_history(w.fd, custom, patches, n_patches, e);
	if (r == 0 && !o->dry_run)
		r = repack(rf, w.fd, custom, out_dirfd, file, replace, read->jobs, e);
	if (r < 0)
		return r;
	(void)snprintf(ret->name, sizeof(ret->name), "%.255s", file);
	ret->report = TAKE_PTR(report);
	return 0;
}
