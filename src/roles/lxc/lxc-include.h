/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a container's configuration says once the files it includes are read too. */

/* The lines (canonical, lxc-edit.h) with those of every file that "lxc.include" names in the place of that line, in the order
 * in which LXC reads them: a directory stands for its *.conf files, sorted. Names are those of the host below root_fd. A file
 * that is not there or cannot be read has no lines; a chain deeper than 16 ends there. *ret: caller frees (strv_freep). -ENOMEM. */
int lxc_lines_follow(int root_fd, char *const *lines, char ***ret);
