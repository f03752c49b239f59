/* SPDX-License-Identifier: Apache-2.0 */
#include "libcurl.h"

#include "ondemand.h"

#include <pthread.h>

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
	{ "curl_global_init", &curl.global_init },	 { "curl_easy_init", &curl.easy_init },
	{ "curl_easy_cleanup", &curl.easy_cleanup },	 { "curl_easy_setopt", &curl.easy_setopt },
	{ "curl_easy_getinfo", &curl.easy_getinfo },	 { "curl_easy_perform", &curl.easy_perform },
	{ "curl_easy_strerror", &curl.easy_strerror },	 { "curl_slist_append", &curl.slist_append },
	{ "curl_slist_free_all", &curl.slist_free_all },
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
