/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An OCI image layout for reading: one tar archive, as `skopeo copy … oci-archive:FILE` writes it, or a directory. An
 * archive is indexed once by its headers and never unpacked; contents are read where they lie. */

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

#define OCI_INDEX_MAX_BYTES    ((size_t)1 << 20)
#define OCI_MANIFEST_MAX_BYTES ((size_t)4 << 20)

struct ocilayout;

/* root_fd with PATH_IN_ROOT. ERR_BUNDLE_FORMAT when it is neither, or of another layout version, ERR_BUNDLE_DAMAGED for an
 * archive that ends early, ERR_ARCHIVE_* for members that have no place in one. */
int ocilayout_open_at(int root_fd, const char *path, struct ocilayout **ret, struct err *e);
void ocilayout_freep(struct ocilayout **l);

struct oci_blob {
	int fd; /* owned */
	uint64_t offset, size_bytes; /* where in fd */
};
#define OCI_BLOB_INIT                                                                                        \
	{                                                                                                    \
		-EBADF, 0, 0                                                                                 \
	}
void oci_blob_done(struct oci_blob *b);

bool ocilayout_has(const struct ocilayout *l, const char *sha256_hex);
/* Where a blob lies; its content is not looked at. -ENOENT silently. */
int ocilayout_blob(const struct ocilayout *l, const char *sha256_hex, struct oci_blob *ret, struct err *e);

/* A small blob into memory (NUL-terminated, caller frees) after its digest was compared. ERR_BUNDLE_DAMAGED. */
int ocilayout_read(const struct ocilayout *l, const char *sha256_hex, size_t max_bytes, char **ret,
		   size_t *ret_len, struct err *e);
/* index.json as it is. */
int ocilayout_index(const struct ocilayout *l, char **ret, size_t *ret_len, struct err *e);
