/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Download of one file into a named directory, the only code that opens a connection.
 *
 *   <name>             complete and checked; appears by one rename
 *   <name>.meta        JSON: url, sha256, size_bytes, trust, validator, time, inode, mtime_ns
 *   <name>.part        what has arrived so far; the next run continues it
 *   <name>.part.meta   JSON: which URL and validator (ETag or Last-Modified) the part belongs to
 *   <name>.lock        held while fetching, so two processes fetch once
 *   <name>.bak.<n>     a present file that was wrong
 *
 * A file is never used on the word of the server: its first bytes must be those of the wanted kind (a page that
 * says "please log in" is not a driver), its length must be the announced one, and its digest must be the pinned
 * or published one. Only when there is neither is the digest of the first download recorded and held to later. */

#include "err.h"

#include <jansson.h>
#include <stdint.h>

enum fetch_kind {
	FETCH_ANY, /* no check of the first bytes, except that a web page or JSON error is refused */
	FETCH_PACKAGE, /* any of the next three */
	FETCH_RUNFILE, /* "#!" sh script head */
	FETCH_DEB, /* ar archive whose first member is debian-binary */
	FETCH_RPM, /* rpm lead */
	FETCH_ZIP, /* zip archive; never FETCH_PACKAGE */
};

/* How the content is known to be right; design: "trust". */
enum fetch_trust {
	FETCH_RECORDED, /* first use: the digest is recorded and must stay */
	FETCH_PUBLISHED, /* <url>.sha256sum, or an index signed by its publisher */
	FETCH_PINNED, /* the caller named the SHA-256 */
};
const char *fetch_trust_name(enum fetch_trust t); /* "recorded", "published", "pinned" */
/* The other way round; anything else, NULL too, is FETCH_RECORDED, the weakest. */
enum fetch_trust fetch_trust_of(const char *name);

struct fetch_request {
	const char *url; /* http, https or file; borrowed like everything here */
	char *const *
	    mirrors; /* NULL-terminated, may be NULL: further URLs; one ending in "/" gets the name appended */
	int dirfd; /* destination directory */
	const char *dir_path; /* its path, for messages; may be NULL */
	const char *name; /* destination name; NULL = fetch_url_name(url) */
	const char *sha256; /* pinned digest, 64 hex digits; NULL = unknown */
	bool sha256_is_index; /* the digest comes from a signed index: trust is "published", not "pinned" */
	const char *md5; /* detects damage only; NULL = unknown */
	uint64_t size_bytes; /* exact size; 0 = unknown */
	enum fetch_kind kind;
	/* A last look at a complete file before it gets its name (and at a present one): 0, or a negative code stored in e.
	 * What it refuses is treated like a wrong digest. NULL = none. */
	int (*accept)(int dirfd, const char *name, void *arg, struct err *e);
	void *accept_arg;
	bool use_side_car; /* ask for <url>.sha256sum when no sha256 is given */
	bool offline; /* any network access is ERR_OFFLINE; file: URLs and present files are fine */
	bool dry_run; /* decide, change nothing, touch no network: result.action says what would happen */
	const char *proxy; /* NULL = http_proxy, https_proxy, no_proxy of the environment */
	const char *ca_file; /* PEM bundle instead of the system's; verification cannot be turned off */
	const char *client_cert,
	    *client_key; /* PEM files we show who we are with, to servers that ask; the key
					       * may be in the certificate's file */
	const char *authorization; /* value of that header, for url's own host and no other; NULL = none */
	unsigned attempts; /* rounds over URL and mirrors; 0 = 4 */
	unsigned
	    backoff_ms; /* first pause between rounds, doubled each time, at most 60 s, half of it random; 0 = 1000 */
	unsigned connect_timeout_s; /* 0 = 15 */
	unsigned stall_timeout_s; /* nothing arrived for that long; 0 = 60 */
	unsigned total_timeout_s; /* of one transfer; 0 = none */
	unsigned lock_timeout_s; /* waiting for another process; 0 = 3600 */
	uint64_t max_bytes; /* ceiling when the size is unknown; 0 = 16 GiB */
};
#define FETCH_REQUEST_INIT                                                                                   \
	{                                                                                                    \
		.dirfd = -EBADF                                                                              \
	}

enum fetch_action { FETCH_PRESENT, FETCH_DOWNLOADED, FETCH_RESUMED, FETCH_REPLACED };
const char *fetch_action_name(enum fetch_action a); /* "present", "downloaded", "resumed", "replaced" */

struct fetch_result {
	char *name; /* owned: name in the directory */
	char *url; /* owned: where it came from; NULL when it lay there without a record */
	char *backup; /* owned: name the wrong file was given; NULL = none */
	char sha256[65];
	uint64_t size_bytes;
	uint64_t received_bytes; /* over the network, all attempts */
	unsigned tries; /* transfers begun */
	enum fetch_trust trust;
	enum fetch_action action;
};
void fetch_result_done(struct fetch_result *r);

/* Have `name` in the directory, complete and checked. Present and right: nothing is fetched (the recorded digest
 * counts while size, inode and mtime are unchanged, else the file is read again). Present and wrong: kept as
 * <name>.bak.<n>, and only after the new one is complete. Absent: fetched.
 * ret (may be NULL) is filled on success only. Errors: ERR_FETCH_URL, ERR_FETCH_FAILED (host, status or
 * connection), ERR_FETCH_CONTENT (not a driver), ERR_FETCH_DIGEST, ERR_FETCH_SIZE, ERR_FETCH_NO_SPACE,
 * ERR_OFFLINE, ERR_LOCKED, -errno. After a failed transfer only .part and .part.meta stay; after a wrong content,
 * size or digest not even these. */
int fetch_file(const struct fetch_request *q, struct fetch_result *ret, struct err *e);

/* A small text (index, side-car) into memory; same rules for time-outs, proxy and retries, nothing on disk.
 * q->url, mirrors, offline, proxy, ca_file and the limits are used. *ret caller frees, NUL-terminated. A missing
 * document (404, 410) is -ENOENT with e filled. */
int fetch_text(const struct fetch_request *q, size_t max_bytes, char **ret, size_t *ret_len, struct err *e);

/* Last path component of a URL, query and fragment dropped, percent-decoded; -EINVAL unless name_is_safe(). */
int fetch_url_name(const char *url, char **ret);
/* Scheme http, https or file, a host for the first two, no blanks or control bytes, no user:password. */
bool fetch_url_is_valid(const char *url);

/* What the first bytes say. FETCH_ANY: none of the known packages. *ret_text (may be NULL) says what it looks
 * like instead, for messages: "a web page", "a JSON document", "text", "data". Needs 16 bytes to be sure. */
enum fetch_kind fetch_sniff(const void *head, size_t len, const char **ret_text);

/* Do these first bytes belong to a file of that kind? Always for FETCH_ANY. ret_looks as ret_text above. */
bool fetch_kind_fits(enum fetch_kind want, const void *head, size_t len, const char **ret_looks);

/* "<hex>  <name>" lines (also "<hex> *<name>" and a lone digest): the digest of `name`. -ENOENT, -EINVAL. */
int fetch_parse_sums(const char *text, size_t len, const char *name, char ret_sha256[65]);
