/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A client of OCI registries (distribution specification 1.1): manifests and blobs of one repository. Every digest is
 * compared with the bytes, whatever the server says; certificates are always verified; credentials go only to the
 * registry itself, or to the token service it names, and never into a message. */

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

/* "host[:port]/name[:tag][@sha256:hex]", with or without "docker://" before it. */
struct registry_ref {
	char *host, *name, *tag, *digest; /* owned; tag and digest NULL when not given */
};
void registry_ref_done(struct registry_ref *r);
/* Pure. ERR_REGISTRY_REFERENCE says what is wrong with it. */
int registry_ref_parse(const char *text, struct registry_ref *ret, struct err *e);

struct registry_options {
	const char *ca_file; /* PEM bundle instead of the system's */
	const char
	    *auth_file; /* config.json or auth.json; NULL = REGISTRY_AUTH_FILE, then the usual places */
	const char *proxy;
	bool plain_http; /* without TLS; never chosen by itself */
	bool offline; /* every request is ERR_OFFLINE */
	unsigned attempts; /* 0 = 4 */
	unsigned backoff_ms; /* first pause between them, doubled each time up to a minute; 0 = 1000 */
	unsigned stall_timeout_s; /* nothing moved for that long; 0 = 60 */
};

struct registry;

/* No request is made yet. The reference is copied. ERR_AUTH_FILE, ERR_LIBRARY_MISSING, ERR_OFFLINE. */
int registry_open(const struct registry_ref *ref, const struct registry_options *o, struct registry **ret,
		  struct err *e);
void registry_freep(struct registry **r);

/* The manifest of a tag or digest ("sha256:<hex>"); *ret (NUL-terminated) caller frees. ERR_STORE_MISSING never:
 * ERR_REGISTRY_ABSENT when there is none, ERR_FETCH_DIGEST when its bytes are not what was asked for. */
int registry_manifest_get(struct registry *r, const char *reference, size_t max_bytes, char **ret,
			  size_t *ret_len, struct err *e);
int registry_manifest_put(struct registry *r, const char *reference, const char *media_type,
			  const void *bytes, size_t len, struct err *e);

/* 1 = there, with this size; 0 = not. */
int registry_blob_has(struct registry *r, const char *sha256_hex, uint64_t size_bytes, struct err *e);
/* Bytes [offset, offset + size) of fd, whose digest the caller knows; the registry's is compared. A cut connection is
 * continued where the registry says it stopped. *sent (may be NULL) counts up. */
int registry_blob_put(struct registry *r, const char *sha256_hex, uint64_t size_bytes, int fd,
		      uint64_t offset, uint64_t *sent_bytes, struct err *e);
/* Into dirfd/<hex>, by fetch_file(): resumed, digest and size compared. dir_path for messages. */
int registry_blob_get(struct registry *r, const char *sha256_hex, uint64_t size_bytes, int dirfd,
		      const char *dir_path, uint64_t *received_bytes, struct err *e);
/* A small blob into memory, digest compared; caller frees. */
int registry_blob_read(struct registry *r, const char *sha256_hex, size_t max_bytes, char **ret,
		       size_t *ret_len, struct err *e);

/* All tags, sorted (strv_freep). */
int registry_tags(struct registry *r, char ***ret, struct err *e);
