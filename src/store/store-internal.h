/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store.h"

/* The file of a stage that store_publish(STORE_IMAGE) publishes. */
#define STORE_STAGED_IMAGE "image.erofs"

/* images/<id>.json: what the image's bytes are. */
#define IMAGE_RECORD_SUFFIX ".json"

/* "<kind dir>/<id>" as found below the store ("images/<id>.erofs"); NULL for an id that is no safe name or
 * without memory. Caller frees. */
char *store_object_name(enum store_kind kind, const char *id);

/* A file of a directory in which recover does not look for leftovers (an object, images/), whole or not there: written in a
 * staging directory, where it does look. -errno; -EEXIST only without replace. */
int store_put_bytes(int store_fd, int dirfd, const char *name, const void *buf, size_t len, mode_t mode,
		    bool replace);

/* Temporaries of dead runs below refs/. How many. */
int store_refs_recover(struct store *s);

int image_record_remove(int images_fd, const char *id);

/* Mounts an image on a directory, both already checked and open: read-only, no set-id, no devices. The file itself
 * where the kernel can, else through a loop device that goes with the mount. -EPERM without the right to mount. */
int image_mount(int image_fd, const char *on);
/* Pretend the kernel cannot mount the file itself (tests of the fallback). */
void image_test_loop_only(bool on);
