/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One HTTP, HTTPS or file transfer into a sink, and a verdict on what to do next. Private to this directory. */

#include "err.h"
#include "fetch.h"

enum transfer_verdict {
	TRANSFER_OK,
	TRANSFER_RETRY, /* may work in a moment: reset, stalled, 5xx, ended early */
	TRANSFER_NEXT, /* this address is no use: 404, bad certificate, not a driver */
	TRANSFER_FATAL, /* no address will help: disk full, out of memory, no libcurl */
};

/* Where the bytes go. Both answer 0, or a negative code stored in e with *ret_verdict set. */
struct transfer_sink {
	/* Called once, before the first byte: the position the server really starts at (0 when it ignored the
	 * range) and the whole length, -1 when it does not say. */
	int (*begin)(void *arg, uint64_t offset, int64_t total_bytes, enum transfer_verdict *ret_verdict,
		     struct err *e);
	int (*data)(void *arg, const void *buf, size_t len, enum transfer_verdict *ret_verdict,
		    struct err *e);
	void *arg;
};

struct transfer {
	const struct fetch_request *q;
	const char *url;
	uint64_t offset; /* continue here */
	const char *validator; /* of the part, for If-Range; NULL = none (a pinned digest decides) */
	struct transfer_sink sink;
	/* results */
	char validator_out[256]; /* strong ETag, else Last-Modified, else "" */
	long status; /* HTTP status, 0 when there was none */
	unsigned retry_after_s;
	uint64_t received_bytes;
};

/* Runs to the end. TRANSFER_OK leaves e alone; every other verdict has its error stored. */
enum transfer_verdict transfer_run(struct transfer *t, struct err *e);

/* May the same request succeed in a moment? */
bool transfer_status_may_pass(long status);
