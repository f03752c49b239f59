/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

int write_all(int fd, const void *buf, size_t len); /* retries EINTR and short writes */
ssize_t read_upto(int fd, void *buf, size_t len); /* until len or EOF; bytes read or -errno */
int pread_exact(int fd, void *buf, size_t len, uint64_t off); /* -ENODATA when the file ends early */

/* Whole file into memory, NUL-terminated. -E2BIG over max_bytes. Works for /proc and /sys. Only regular files
 * (no FIFO, no device): -EINVAL. *ret caller frees; ret_len may be NULL. Links in the last component refused
 * with -ELOOP unless the path is below /proc or /sys (those are the kernel's). */
int read_file_at(int dirfd, const char *path, size_t max_bytes, char **ret, size_t *ret_len);
int read_fd(int fd, size_t max_bytes, char **ret, size_t *ret_len);

/* First line of a small attribute without its LF. */
int read_line_at(int dirfd, const char *path, char **ret);

int dir_open_at(int dirfd,
		const char *path); /* O_RDONLY|O_DIRECTORY|O_CLOEXEC|O_NOFOLLOW on the last component */
int fd_reopen(int fd, int flags); /* through /proc/self/fd */

/* The path of what is open, links resolved, as the kernel tells it (proc(5), /proc/self/fd): for other programs, which
 * need one. Within another mount namespace it starts at that namespace's root. *ret caller frees; -errno, -ENAMETOOLONG. */
int fd_real_path(int fd, char **ret);

/* Copy all bytes of a regular file: reflink, else copy_file_range, else read/write.
 * `to_fd` must be empty; both file positions are left alone. ret_method (may be NULL) says which: "reflink", "copy_file_range", "copy". */
int copy_fd(int from_fd, int to_fd, const char **ret_method);

/* Same by read and write alone, so the two files share no blocks. */
int copy_fd_plain(int from_fd, int to_fd);
