/* SPDX-License-Identifier: Apache-2.0 */
#include "registry-http.h"

#include "libcurl.h"
#include "parse.h"
#include "transfer.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct http {
	CURL *curl; /* owned */
	struct http_options o;
};

/* State of one request. */
struct run {
	const struct http_request *q;
	struct http_answer *a;
	uint64_t at; /* of the body */
};

static void slist_freep(struct curl_slist **l)
{
	if (*l)
		curl.slist_free_all(*l);
}

int http_open(const struct http_options *o, struct http **ret, struct err *e)
{
	_cleanup_(http_freep) struct http *h = NULL;
	int r = libcurl_require(e);

	if (r < 0)
		return r;
	h = calloc(1, sizeof(*h));
	if (!h || !(h->curl = curl.easy_init()))
		return err_oom(e);
	h->o = *o;
	*ret = TAKE_PTR(h);
	return 0;
}

void http_freep(struct http **h)
{
	if (*h && (*h)->curl)
		curl.easy_cleanup((*h)->curl);
	freep(h);
}

void http_answer_done(struct http_answer *a)
{
	strbuf_done(&a->text);
}

/* -- callbacks -- */

static void take_header(struct span value, char *out, size_t size)
{
	value = span_trim(value);
	out[0] = '\0';
	if (value.len < size && !memchr(value.p, '\0', value.len)) {
		memcpy(out, value.p, value.len);
		out[value.len] = '\0';
	}
}

static void forget_headers(struct http_answer *a)
{
	a->location[0] = a->challenge[0] = a->digest[0] = a->range[0] = a->link[0] = '\0';
	a->length = -1;
	a->retry_after_s = 0;
}

static void take_number(struct http_answer *a, struct span name, struct span value)
{
	uint64_t n;

	if (parse_u64(span_trim(value), INT64_MAX, &n) < 0)
		return;
	if (name.len == 14 && strncasecmp(name.p, "content-length", 14) == 0)
		a->length = (int64_t)n;
	if (name.len == 11 && strncasecmp(name.p, "retry-after", 11) == 0 && n <= 3600)
		a->retry_after_s = (unsigned)n;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct http_answer *a = ((struct run *)arg)->a;
	const struct {
		const char *name;
		char *to;
		size_t size;
	} known[] = { { "location", a->location, sizeof(a->location) },
		      { "www-authenticate", a->challenge, sizeof(a->challenge) },
		      { "docker-content-digest", a->digest, sizeof(a->digest) },
		      { "range", a->range, sizeof(a->range) },
		      { "link", a->link, sizeof(a->link) } };
	struct span name = { line, size * n }, value;
	const char *colon;

	if (span_starts(name, "HTTP/")) {
		forget_headers(a);
		return name.len;
	}
	colon = memchr(line, ':', name.len);
	if (!colon)
		return size * n;
	value = (struct span){ colon + 1, name.len - (size_t)(colon + 1 - line) };
	name.len = (size_t)(colon - line);
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strlen(known[i].name) == name.len && strncasecmp(name.p, known[i].name, name.len) == 0)
			take_header(value, known[i].to, known[i].size);
	take_number(a, name, value);
	return size * n;
}

static size_t on_answer(char *buf, size_t size, size_t n, void *arg)
{
	struct run *r = arg;

	return strbuf_append(&r->a->text, buf, size * n) < 0 ? 0 : size * n;
}

static size_t on_body(char *buf, size_t size, size_t n, void *arg)
{
	struct run *r = arg;
	uint64_t left = r->q->body_size - r->at;
	size_t want = size * n < left ? size * n : (size_t)left;
	ssize_t got = (ssize_t)want;

	if (r->q->body_fd >= 0)
		got = pread(r->q->body_fd, buf, want, (off_t)(r->q->body_offset + r->at));
	else if (want)
		memcpy(buf, (const char *)r->q->body + r->at, want);
	if (got < 0 || (got == 0 && want))
		return CURL_READFUNC_ABORT;
	r->at += (uint64_t)got;
	return (size_t)got;
}

/* A connection that was kept turned out dead: once more from the start. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct run *r = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > r->q->body_size)
		return CURL_SEEKFUNC_FAIL;
	r->at = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* -- set-up -- */

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
	_cleanup_free_ char *line = NULL;
	struct curl_slist *more;

	if (!value)
		return 0;
	line = str_printf("%s: %s", name, value);
	more = line ? curl.slist_append(*list, line) : NULL;
	if (!more)
		return -ENOMEM;
	*list = more;
	return 0;
}

static int set_headers(CURL *c, const struct http_request *q, struct curl_slist **list)
{
	const struct {
		const char *name, *value;
	} all[] = { { "Accept", q->accept },
		    { "Content-Type", q->content_type },
		    { "Content-Range", q->content_range },
		    { "Authorization", q->authorization } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(all) && r == 0; i++)
		r = add_header(list, all[i].name, all[i].value);
	if (r == 0 && *list && curl.easy_setopt(c, CURLOPT_HTTPHEADER, *list) != CURLE_OK)
		r = -ENOMEM;
	return r;
}

static void set_body(CURL *c, struct run *r)
{
	if (!r->q->has_body) {
		(void)curl.easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
		(void)curl.easy_setopt(c, CURLOPT_MAXREDIRS, 8L);
		if (strcmp(r->q->method, "HEAD") == 0)
			(void)curl.easy_setopt(c, CURLOPT_NOBODY, 1L);
		return;
	}
	(void)curl.easy_setopt(c, CURLOPT_UPLOAD, 1L);
	(void)curl.easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->q->method);
	(void)curl.easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->q->body_size);
	(void)curl.easy_setopt(c, CURLOPT_READFUNCTION, on_body);
	(void)curl.easy_setopt(c, CURLOPT_READDATA, r);
	(void)curl.easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
	(void)curl.easy_setopt(c, CURLOPT_SEEKDATA, r);
	(void)curl.easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
}

static int set_up(struct http *h, struct run *r, struct curl_slist **list, char *detail)
{
	const struct http_request *q = r->q;
	CURL *c = h->curl;

	curl.easy_reset(c);
	if (curl.easy_setopt(c, CURLOPT_URL, q->url) != CURLE_OK ||
	    (h->o.proxy && curl.easy_setopt(c, CURLOPT_PROXY, h->o.proxy) != CURLE_OK) ||
	    (h->o.ca_file && curl.easy_setopt(c, CURLOPT_CAINFO, h->o.ca_file) != CURLE_OK) ||
	    curl.easy_setopt(c, CURLOPT_USERAGENT, "nvdriver/" NVDRIVER_VERSION) != CURLE_OK ||
	    set_headers(c, q, list) < 0)
		return -ENOMEM;
	if (libcurl_set_protocols(c, q->url) < 0)
		return -EOPNOTSUPP;
	(void)curl.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl.easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)curl.easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	(void)curl.easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 15L);
	(void)curl.easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	(void)curl.easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
			       (long)(h->o.stall_timeout_s ? h->o.stall_timeout_s : 60));
	(void)curl.easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
	(void)curl.easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl.easy_setopt(c, CURLOPT_HEADERDATA, r);
	(void)curl.easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
	(void)curl.easy_setopt(c, CURLOPT_WRITEDATA, r);
	set_body(c, r);
	return 0;
}

/* -- verdict -- */

static int verdict(const struct run *r, CURLcode c, const char *detail, struct err *e)
{
	const char *text = detail[0] ? detail : curl.easy_strerror(c);

	if (c == CURLE_OK)
		return 0;
	if (c == CURLE_OUT_OF_MEMORY)
		return err_oom(e);
	if (strbuf_error(&r->a->text) == -E2BIG)
		return err_set(e, -ERR_TOO_LARGE, "%s answers more than %zu bytes", r->q->url,
			       r->q->max_answer_bytes);
	(void)err_set(e, -ERR_FETCH_FAILED, "%s %s: %s", r->q->method, r->q->url, text);
	(void)err_object(e, "%s", r->q->url);
	if (libcurl_is_certificate(c)) {
		(void)err_next(
		    e, "the registry's certificate is not trusted: give its authority with --ca-file; "
		       "verification is never turned off");
		return -ERR_FETCH_FAILED;
	}
	return libcurl_may_retry(c) || c == CURLE_SEND_FAIL_REWIND ? 1 : -ERR_FETCH_FAILED;
}

int http_run(struct http *h, const struct http_request *q, struct http_answer *a, struct err *e)
{
	_cleanup_(slist_freep) struct curl_slist *list = NULL;
	char detail[CURL_ERROR_SIZE] = "";
	struct run r = { .q = q, .a = a };
	int k;

	strbuf_done(&a->text);
	a->text = (struct strbuf)STRBUF_INIT(q->max_answer_bytes ? q->max_answer_bytes : 65536);
	a->status = 0;
	forget_headers(a);
	k = set_up(h, &r, &list, detail);
	if (k == -EOPNOTSUPP)
		return err_errno(e, k, "this libcurl cannot be kept to HTTP");
	if (k < 0)
		return err_oom(e);
	k = verdict(&r, curl.easy_perform(h->curl), detail, e);
	(void)curl.easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &a->status);
	a->sent_bytes = r.at;
	return k;
}

bool http_status_may_pass(long status)
{
	return transfer_status_may_pass(status);
}
