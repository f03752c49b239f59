/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One request to a registry and its answer. Private to this directory. */

#include "err.h"
#include "strbuf.h"

#include <stdbool.h>
#include <stdint.h>

struct http; /* a connection that is kept between requests */

struct http_options {
	const char *ca_file, *proxy; /* borrowed */
	unsigned stall_timeout_s; /* 0 = 60 */
};
int http_open(const struct http_options *o, struct http **ret, struct err *e); /* ERR_LIBRARY_MISSING */
void http_freep(struct http **h);

struct http_request {
	const char *method, *url;
	const char *accept, *content_type, *content_range, *authorization; /* header values; NULL = none */
	int body_fd; /* -EBADF: `body` */
	uint64_t body_offset, body_size; /* of either; size 0 = an empty body */
	const void *body;
	bool has_body; /* PUT, POST and PATCH without one still announce length 0 */
	size_t max_answer_bytes;
};

struct http_answer {
	long status; /* 0 = none */
	struct strbuf text; /* of the body */
	char location[8192], challenge[2048], digest[128], range[64], link[2048]; /* headers, "" = absent */
	int64_t length; /* Content-Length, -1 = absent */
	unsigned retry_after_s;
	uint64_t sent_bytes; /* of the body */
};
#define HTTP_ANSWER_INIT                                                                                     \
	{                                                                                                    \
		.text = STRBUF_INIT(0), .length = -1                                                         \
	}
void http_answer_done(struct http_answer *a);

/* 0: an answer, whatever its status. 1: none now, another try may get one (error stored). Negative: none ever. Redirects
 * are followed for GET and HEAD only, never away from TLS and never with the authorization to another host. */
int http_run(struct http *h, const struct http_request *q, struct http_answer *ret, struct err *e);

/* May the same request succeed in a moment? */
bool http_status_may_pass(long status);
