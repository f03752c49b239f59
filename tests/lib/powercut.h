/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The disk after a power cut. From a directory as it was and the changes recorded since (faultio.h) every disk a
 * crash may leave is built: any prefix of the changes, un-synced bytes missing or half there, un-synced names
 * missing: all, each alone, or all but one. A name is safe once its directory was synced, bytes once the file was;
 * a rename is one change of both directories. */

#include <stdbool.h>
#include <stddef.h>

struct powercut;

/* Before recording: remember the directory tree below `path`. */
struct powercut *powercut_begin(const char *path);
/* After recording: visit every possible disk, built at the same path (the tree there is replaced). `at` is how many
 * of `total` changes had happened. Returns how many disks were visited; the visit answers false to stop. */
typedef bool (*powercut_fn)(size_t at, size_t total, void *arg);
size_t powercut_replay(struct powercut *p, size_t stride, powercut_fn fn, void *arg);
void powercut_done(struct powercut *p);
