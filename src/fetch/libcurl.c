/* SPDX-License-Identifier: Apache-2.0 */
#include "libcurl.h"

#include "ondemand.h"

#include <pthread.h>
#include <strings.h>

static const struct ondemand library = {
	.soname = "libcurl.so.4",
	.purpose = "downloading",
	.packages = "libcurl4 (Debian, Ubuntu) or libcurl (RHEL, Fedora), or provide the file locally",
};

struct libcurl curl;

static const struct {
	const char *name;
	void *place;
} functions[] = {
	{ "curl_global_init", &curl.global_init },   { "curl_easy_init", &curl.easy_init },
	{ "curl_easy_reset", &curl.easy_reset },     { "curl_easy_cleanup", &curl.easy_cleanup },
	{ "curl_easy_setopt", &curl.easy_setopt },   { "curl_easy_getinfo", &curl.easy_getinfo },
	{ "curl_easy_perform", &curl.easy_perform }, { "curl_easy_strerror", &curl.easy_strerror },
	{ "curl_slist_append", &curl.slist_append }, { "curl_slist_free_all", &curl.slist_free_all },
};

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
static bool ready;

static int load(struct err *e)
{
	int r = ondemand_require(&library, e);

	for (size_t i = 0; i < ARRAY_LEN(functions) && r == 0; i++)
		r = ondemand_function(&library, functions[i].name, functions[i].place, e);
	if (r == 0 && curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		r = err_oom(e);
	return r;
}

int libcurl_require(struct err *e)
{
	int r;

	pthread_mutex_lock(&once);
	r = ready ? 0 : load(e);
	ready = r == 0;
	pthread_mutex_unlock(&once);
	return r;
}

/* -- what several callers need to know about it -- */

static const CURLcode curl_retry[] = {
	CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY,
	CURLE_COULDNT_CONNECT,	    CURLE_OPERATION_TIMEDOUT,
	CURLE_PARTIAL_FILE,	    CURLE_RECV_ERROR,
	CURLE_SEND_ERROR,	    CURLE_GOT_NOTHING,
	CURLE_SSL_CONNECT_ERROR,    CURLE_HTTP2,
	CURLE_HTTP2_STREAM,	    CURLE_WEIRD_SERVER_REPLY,
};

static const CURLcode curl_certificate[] = { CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
					     CURLE_SSL_CERTPROBLEM, CURLE_SSL_ISSUER_ERROR };

static bool curl_code_in(CURLcode c, const CURLcode *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == c)
			return true;
	return false;
}

bool libcurl_may_retry(CURLcode c)
{
	return curl_code_in(c, curl_retry, ARRAY_LEN(curl_retry));
}

bool libcurl_is_certificate(CURLcode c)
{
	return curl_code_in(c, curl_certificate, ARRAY_LEN(curl_certificate));
}

/* Numbers of libcurl's interface: older headers lack the first two, newer ones call the others deprecated. */
#define OPT_PROTOCOLS_STR	((CURLoption)10318)
#define OPT_REDIR_PROTOCOLS_STR ((CURLoption)10319)
#define OPT_PROTOCOLS		((CURLoption)181)
#define OPT_REDIR_PROTOCOLS	((CURLoption)182)

/* The library found at run time may be older than the header: before 7.85 (RHEL 9) it knows bit masks only. */
int libcurl_set_protocols(CURL *c, const char *url)
{
	bool is_https = strncasecmp(url, "https:", 6) == 0;
	long redirect = CURLPROTO_HTTPS | (is_https ? 0 : CURLPROTO_HTTP);

	if (curl.easy_setopt(c, OPT_PROTOCOLS_STR, "http,https,file") == CURLE_OK &&
	    curl.easy_setopt(c, OPT_REDIR_PROTOCOLS_STR, is_https ? "https" : "http,https") == CURLE_OK)
		return 0;
	if (curl.easy_setopt(c, OPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS | CURLPROTO_FILE)) ==
		CURLE_OK &&
	    curl.easy_setopt(c, OPT_REDIR_PROTOCOLS, redirect) == CURLE_OK)
		return 0;
	return -EOPNOTSUPP;
}
