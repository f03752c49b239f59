/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Paths beneath a directory descriptor. Everything that touches a root somebody else controls (a container, an
 * image, an unpacked archive) goes through here: no component may be "..", no symbolic link may lead out. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

enum path_follow {
	PATH_NO_SYMLINKS, /* a symbolic link in any component is refused (-ELOOP) */
	PATH_IN_ROOT, /* links are followed as if dirfd were "/": absolute links restart there, ".." stops there */
};

/* Check and normalise a relative name from an archive, manifest or record: strips leading "./" and doubled or
 * trailing slashes. Refuses (-EINVAL) absolute names, "..", "." inside, bytes below 0x20 and 0x7f,
 * components over 255 bytes, more than 200 components, total over 4095. An empty result is allowed and means the directory itself.
 * ret: caller frees. */
int path_clean(const char *name, char **ret);
bool path_name_is_clean(const char *name); /* already normal and not empty */

/* openat() with the path resolved beneath dirfd (openat2 RESOLVE_BENEATH|NO_SYMLINKS or RESOLVE_IN_ROOT, with
 * a component walk where the kernel lacks openat2). O_CLOEXEC is added. A leading "/" is dropped.
 * -EXDEV when a path escapes, or names ".." with PATH_NO_SYMLINKS. Magic links of /proc are refused (-ELOOP). */
int path_open_at(int dirfd, const char *path, int flags, mode_t mode, enum path_follow follow);

/* Open (and create, 0755 & ~umask) the directory part of `path` beneath dirfd; *ret_name points into `path` at
 * the last component. Returns a descriptor. */
int path_open_parent(int dirfd, const char *path, bool create, enum path_follow follow,
		     const char **ret_name);
/* A file to append to, beneath root: made with this mode, and its directories with it, when missing; never through a link.
 * Descriptor or negative errno. */
int path_open_append(int root, const char *path, mode_t mode);

int path_mkdirs(int dirfd, const char *path, mode_t mode, enum path_follow follow);
int path_stat(int dirfd, const char *path, struct stat *ret,
	      enum path_follow follow); /* last link not followed */
bool path_exists(int dirfd, const char *path); /* with PATH_IN_ROOT; a dangling link exists */

/* Names in the directory `path` beneath dirfd, with PATH_IN_ROOT ("." = dirfd itself): sorted, all but "." and "..". Caller
 * frees (strv_freep); NULL when it is empty. -errno when it cannot be opened. */
int path_names(int dirfd, const char *path, char ***ret);

/* Pretend the kernel has no openat2 (tests of the fallback). */
void path_test_no_openat2(bool on);
