/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory as a tar archive that depends on names, modes, contents and nothing else: members sorted by path,
 * owner 0, times given by the caller. What is written here tar_walk() reads. */

#include "err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TARBALL_EPOCH_NONE INT64_MIN /* members keep their own times */

typedef int (*tarball_sink)(void *arg, const void *buf, size_t len,
			    struct err *e); /* 0 or what it stored in e */

struct tarball;

/* Read the names below dirfd (borrowed, kept open by the caller until the end); the file `without` of it is left out
 * (NULL = none). ERR_PACK_INPUT names what an
 * archive cannot hold: other kinds of files, control characters, 8 GiB and more, links over 100 bytes or out of the directory. */
int tarball_collect(int dirfd, int64_t epoch_s, const char *without, struct tarball **ret, struct err *e);
void tarball_freep(struct tarball **t);

uint64_t tarball_bytes(const struct tarball *t); /* of the whole archive */
size_t tarball_members(const struct tarball *t);
uint64_t tarball_content_bytes(const struct tarball *t); /* of all files together */
int64_t tarball_newest_s(const struct tarball *t); /* 0 when empty */

/* Give the archive to the sink, its end included. ERR_PACK_INPUT when a file changed meanwhile, ERR_INTERRUPTED. */
int tarball_write(struct tarball *t, tarball_sink sink, void *arg, struct err *e);

/* -- single pieces, for archives whose members come from elsewhere -- */

#define TAR_BLOCK_BYTES 512u

/* One header block for a regular file or a directory ("name/") whose name fits the 100 byte field. */
void tarball_header(char block[TAR_BLOCK_BYTES], const char *name, uint64_t size_bytes, mode_t mode,
		    int64_t mtime_s);
uint64_t tarball_padded(uint64_t size_bytes); /* with the zeros up to the next block */
