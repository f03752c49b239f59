/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* libcurl, loaded on demand (base/ondemand.h): a machine that downloads nothing does not need it. Pointers instead of
 * forwarders because curl_easy_setopt() takes an argument of any type. Private to this directory. */

#include "err.h"

#include <curl/curl.h>

/* The header's type-checking wrappers expand to the library's own names. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

struct libcurl {
	__typeof__(&curl_global_init) global_init;
	__typeof__(&curl_easy_init) easy_init;
	__typeof__(&curl_easy_reset) easy_reset;
	__typeof__(&curl_easy_cleanup) easy_cleanup;
	__typeof__(&curl_easy_setopt) easy_setopt;
	__typeof__(&curl_easy_getinfo) easy_getinfo;
	__typeof__(&curl_easy_perform) easy_perform;
	__typeof__(&curl_easy_strerror) easy_strerror;
	__typeof__(&curl_slist_append) slist_append;
	__typeof__(&curl_slist_free_all) slist_free_all;
};

/* Filled once libcurl_require() has answered 0; then from any thread. */
extern struct libcurl curl;

/* Load and initialise the library once. 0 or ERR_LIBRARY_MISSING. */
int libcurl_require(struct err *e);

/* A redirect never leaves TLS and never reaches the local file system. -EOPNOTSUPP when the library cannot be told. */
int libcurl_set_protocols(CURL *c, const char *url);
/* Conditions that may be gone in a moment; those of an untrusted certificate. */
bool libcurl_may_retry(CURLcode c);
bool libcurl_is_certificate(CURLcode c);
