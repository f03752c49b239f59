/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store.h"

/* The file of a stage that store_publish(STORE_IMAGE) publishes. */
#define STORE_STAGED_IMAGE "image.erofs"

/* "<kind dir>/<id>" as found below the store ("images/<id>.erofs"); NULL for an id that is no safe name or
 * without memory. Caller frees. */
char *store_object_name(enum store_kind kind, const char *id);

/* Temporaries of dead runs below refs/. How many. */
int store_refs_recover(struct store *s);
