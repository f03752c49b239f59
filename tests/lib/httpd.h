/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A small, ill-behaved HTTP server on the loopback interface, one thread per connection. Each path of its table
 * says how it misbehaves; counters tell the test what was really asked. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum httpd_fault {
	HTTPD_HONEST = 0,
	HTTPD_IGNORE_RANGE = 1, /* always the whole file, status 200 */
	HTTPD_CUT = 2, /* announce all, close after cut_bytes; from the fail_first+1st request on honest */
	HTTPD_RESET = 4, /* like CUT with a connection reset */
	HTTPD_STALL = 8, /* after cut_bytes send nothing for stall_ms, then close */
	HTTPD_LIE_SHORT = 16, /* announce cut_bytes and send that much */
	HTTPD_LIE_LONG = 32, /* announce twice the length */
	HTTPD_WRONG_RANGE = 64, /* answer a range from another offset */
	HTTPD_STATUS =
	    128, /* answer `status` with an error page for the first fail_first requests (0 = always) */
	HTTPD_NEW_TAG = 256, /* the validator changes with every request */
	HTTPD_REDIRECT_FILE = 512, /* redirect to file:///etc/hostname */
	HTTPD_NO_LENGTH = 1024, /* the end of the connection is the end of the file */
};

struct httpd_path {
	const char *path; /* as the request line has it: a whole URL when asked as a proxy */
	const void *body;
	size_t len;
	unsigned faults;
	int status;
	size_t cut_bytes;
	unsigned fail_first;
	unsigned stall_ms, delay_ms;
	const char *tag; /* ETag; NULL = none */
	/* counted */
	unsigned requests, ranged;
	uint64_t last_offset;
};

struct httpd {
	int fd, port;
	pthread_t thread;
	pthread_mutex_t lock;
	struct httpd_path *paths;
	size_t n;
	bool stop;
};

void httpd_start(struct httpd *h, struct httpd_path *paths, size_t n);
void httpd_stop(struct httpd *h);
const char *httpd_url(const struct httpd *h, const char *path, char *buf, size_t size);
