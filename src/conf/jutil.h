/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading JSON strictly over jansson (whose own names begin with json_). Getters borrow from the object; the error
 * names the key and what was expected, and the caller wraps the file's name around it. */

#include "err.h"
#include "parse.h"

#include <jansson.h>
#include <stdint.h>

#define _cleanup_json_ _cleanup_(jdecrefp)
void jdecrefp(json_t **j);

/* Every parse goes through here, for jansson passes over a failed allocation in the middle of a token and then writes
 * past its buffers (jutil.c). Repeated keys are refused. -EINVAL with `where` (may be NULL) filled, or -ENOMEM. */
int jloadb(struct span text, json_t **ret, json_error_t *where);
/* Parse one document: repeated keys are refused, integers must fit. *ret is the caller's reference. -ERR_FORMAT with
 * line and column. */
int jparse(struct span text, json_t **ret, struct err *e);
/* A file below dirfd. -ENOENT and other system errors as such. */
int jload_at(int dirfd, const char *path, size_t max_bytes, json_t **ret, struct err *e);
/* Text with sorted keys and a final LF, so equal values give equal bytes; caller frees. */
int jdump(const json_t *j, char **ret);

/* A key that must be there; -ERR_FORMAT when it is absent or of another type. */
int jget_str(const json_t *obj, const char *key, const char **ret, struct err *e);
int jget_u64(const json_t *obj, const char *key, uint64_t *ret, struct err *e);
int jget_bool(const json_t *obj, const char *key, bool *ret, struct err *e);
int jget_object(const json_t *obj, const char *key, json_t **ret, struct err *e);
int jget_array(const json_t *obj, const char *key, json_t **ret, struct err *e);
int jget_bytes(const json_t *obj, const char *key, uint8_t **ret, size_t *ret_len,
	       struct err *e); /* base64; caller frees */

/* A key that may be absent or null: *ret is untouched then. */
int jopt_str(const json_t *obj, const char *key, const char **ret, struct err *e);
int jopt_u64(const json_t *obj, const char *key, uint64_t *ret, struct err *e);
int jopt_bool(const json_t *obj, const char *key, bool *ret, struct err *e);

/* An array of strings, copied (strv_freep). Absent: *ret stays NULL. */
int jopt_strv(const json_t *obj, const char *key, char ***ret, struct err *e);
json_t *jstrv(char *const *v); /* new array, NULL on failure */
json_t *jbytes(const uint8_t *bytes, size_t len); /* new base64 string, NULL on failure */

/* Refuse keys that `known` (NULL-terminated) does not name. */
int jknown(const json_t *obj, const char *const *known, struct err *e);
