/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The partial file of one download: opened or continued, hashed as it grows, judged as it arrives. Private to
 * this directory. */

#include "digest.h"
#include "log.h"
#include "transfer.h"

#define PART_HEAD_SIZE 64u

struct part {
	const struct fetch_request *q; /* borrowed */
	const char *name; /* borrowed; final name */
	char part_name[300], meta_name[300];
	int fd; /* owned */
	uint64_t size; /* bytes in it, all hashed */
	struct digest *sha256, *md5; /* owned; md5 only when asked for */
	uint8_t head[PART_HEAD_SIZE];
	size_t head_len;
	bool head_judged;
	bool refused; /* by the request's accept() */
	char *url, *validator; /* owned; what the content belongs to */
	struct progress progress;
	bool progress_shown;
};

void part_done(struct part *p);

/* Open <name>.part, continuing what is there (its bytes are hashed now). */
int part_open(const struct fetch_request *q, const char *name, struct part *ret, struct err *e);
/* Start over: empty file, fresh digests, no record. */
int part_reset(struct part *p, struct err *e);
/* May a transfer from `url` continue it? When it cannot, it is emptied. ret_validator NULL: a digest decides. */
int part_prepare(struct part *p, const char *url, const char **ret_validator, struct err *e);
/* Remember what the content belongs to (written before the first byte of a new part). */
int part_record(struct part *p, const char *url, const char *validator, struct err *e);
/* Callbacks for a transfer. */
struct transfer_sink part_sink(struct part *p);
/* All bytes are there: size, first bytes and digests against the request. The part is removed when they differ.
 * ret_sha256 is set on success. */
int part_check(struct part *p, char ret_sha256[65], struct err *e);
/* Remove the partial file and its record. */
void part_discard(struct part *p);
