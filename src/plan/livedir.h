/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Directories that say whether their maker is still alive: the maker holds a flock on the directory itself, so
 * a leftover is told from work in progress without process ids, and nothing has to be written to say so.
 * Staging directories of the store and journals are such directories. The parent is locked while one is made
 * or listed; a listing therefore never shows one that exists and is not yet held. */

#include "strbuf.h"

/* mkdir (0700) and hold. Returns a descriptor whose closing gives the directory up, or -errno. */
int livedir_create(int parent_fd, const char *name);

/* Take over a directory nobody holds: a descriptor that holds it, -EAGAIN while its maker lives, -ENOENT when it
 * is gone. */
int livedir_claim(int parent_fd, const char *name);

/* Names of all directories below the parent (held or not), sorted, those that begin with a dot left out. */
int livedir_list(int parent_fd, char ***ret);
