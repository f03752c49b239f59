/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of libarchive this program uses, loaded on demand: with its XML and Unicode libraries it would cost every
 * start more than all else together. */
#include "libarchive.h"

#include "ondemand.h"

#include <archive.h>
#include <archive_entry.h>

static const struct ondemand library = {
	.soname = "libarchive.so.13",
	.purpose = "unpacking packages and compressed modules",
	.packages = "libarchive13 (Debian, Ubuntu) or libarchive (RHEL, Fedora)",
};

/* Stands for the reader that could not be made; only its address counts. */
static char absent;
#define ABSENT ((struct archive *)&absent)

int libarchive_require(struct err *e)
{
	return ondemand_require(&library, e);
}

#define FORWARD(type, name, params, args, missing)                                                           \
	ONDEMAND_FORWARD(library, type, name, params, args, missing)
#define SUPPORT(what) FORWARD(int, archive_read_support_##what, (struct archive * a), (a), ARCHIVE_FATAL)

FORWARD(struct archive *, archive_read_new, (void), (), ABSENT)
FORWARD(int, archive_read_free, (struct archive * a), (a), ARCHIVE_OK)
FORWARD(int, archive_filter_count, (struct archive * a), (a), 0)
FORWARD(int, archive_errno, (struct archive * a), (a), ENOENT)
FORWARD(const char *, archive_error_string, (struct archive * a), (a), "libarchive.so.13 cannot be loaded")
SUPPORT(filter_bzip2)
SUPPORT(filter_gzip)
SUPPORT(filter_lz4)
SUPPORT(filter_lzma)
SUPPORT(filter_lzop)
SUPPORT(filter_rpm)
SUPPORT(filter_xz)
SUPPORT(filter_zstd)
SUPPORT(format_ar)
SUPPORT(format_cpio)
SUPPORT(format_raw)
SUPPORT(format_tar)
SUPPORT(format_zip)
FORWARD(int, archive_read_open_fd, (struct archive * a, int fd, size_t size), (a, fd, size), ARCHIVE_FATAL)
FORWARD(int, archive_read_open_memory, (struct archive * a, const void *p, size_t size), (a, p, size),
	ARCHIVE_FATAL)
FORWARD(int, archive_read_open,
	(struct archive * a, void *arg, archive_open_callback *o, archive_read_callback *r,
	 archive_close_callback *c),
	(a, arg, o, r, c), ARCHIVE_FATAL)
FORWARD(int, archive_read_next_header, (struct archive * a, struct archive_entry **e), (a, e), ARCHIVE_FATAL)
FORWARD(la_ssize_t, archive_read_data, (struct archive * a, void *p, size_t size), (a, p, size),
	ARCHIVE_FATAL)

/* There is no entry without a reader that works, so what these would give is never seen. */
FORWARD(mode_t, archive_entry_filetype, (struct archive_entry * e), (e), 0)
FORWARD(mode_t, archive_entry_perm, (struct archive_entry * e), (e), 0)
FORWARD(la_int64_t, archive_entry_size, (struct archive_entry * e), (e), 0)
FORWARD(int, archive_entry_size_is_set, (struct archive_entry * e), (e), 0)
FORWARD(const char *, archive_entry_pathname, (struct archive_entry * e), (e), NULL)
FORWARD(const char *, archive_entry_hardlink, (struct archive_entry * e), (e), NULL)
FORWARD(const char *, archive_entry_symlink, (struct archive_entry * e), (e), NULL)
