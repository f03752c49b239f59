/* SPDX-License-Identifier: Apache-2.0
 *
 * The only user of libcurl. Everything a server says is checked before it counts: status, range and length. */
#include "transfer.h"

#include "fd.h"
#include "libcurl.h"
#include "parse.h"
#include "strbuf.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#define REDIRECTS_MAX 8

/* State of one transfer; lives on the stack of transfer_run(). */
struct run {
	struct transfer *t;
	CURL *curl;
	struct err *e;
	bool begun, stopped; /* sink.begin was called; the sink or we refused to go on */
	enum transfer_verdict verdict; /* when stopped */
	char etag[256], modified[256];
	bool has_range;
	uint64_t range_start;
	int64_t range_total; /* from Content-Range; -1 = absent or "*" */
};

static void curl_freep(CURL **c)
{
	if (*c)
		curl.easy_cleanup(*c);
}

static void slist_freep(struct curl_slist **l)
{
	if (*l)
		curl.slist_free_all(*l);
}

static int run_stop(struct run *r, enum transfer_verdict verdict, int code)
{
	r->stopped = true;
	r->verdict = verdict;
	return code;
}

/* -- headers -- */

static void header_copy(struct span value, char *out, size_t size)
{
	value = span_trim(value);
	out[0] = '\0';
	if (value.len == 0 || value.len >= size)
		return;
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
			return;
	memcpy(out, value.p, value.len);
	out[value.len] = '\0';
}

/* "bytes 100-199/200", "bytes 100-199/STAR" and, with status 416, "bytes STAR/200", where STAR is an asterisk. */
static void header_range(struct run *r, struct span value)
{
	struct span v = span_trim(value), from = v, total;
	const char *slash;
	uint64_t n;

	if (!span_starts(v, "bytes "))
		return;
	from = span_trim((struct span){ v.p + 6, v.len - 6 });
	slash = memchr(from.p, '/', from.len);
	if (!slash)
		return;
	total = (struct span){ slash + 1, from.len - (size_t)(slash + 1 - from.p) };
	from.len = (size_t)(slash - from.p);
	r->range_total = parse_u64(total, INT64_MAX, &n) == 0 ? (int64_t)n : -1;
	if (from.len && memchr(from.p, '-', from.len)) {
		from.len = (size_t)((const char *)memchr(from.p, '-', from.len) - from.p);
		if (parse_u64(from, INT64_MAX, &r->range_start) == 0)
			r->has_range = true;
	}
}

static void header_etag(struct run *r, struct span value)
{
	/* A weak validator promises the same meaning, not the same bytes, and may not be used to continue. */
	if (!span_starts(span_trim(value), "W/"))
		header_copy(value, r->etag, sizeof(r->etag));
}

static void header_modified(struct run *r, struct span value)
{
	header_copy(value, r->modified, sizeof(r->modified));
}

static void header_retry_after(struct run *r, struct span value)
{
	uint64_t s;

	if (parse_u64(span_trim(value), 3600, &s) == 0)
		r->t->retry_after_s = (unsigned)s;
}

static const struct {
	const char *name;
	void (*take)(struct run *r, struct span value);
} headers[] = {
	{ "etag", header_etag },
	{ "last-modified", header_modified },
	{ "content-range", header_range },
	{ "retry-after", header_retry_after },
};

static void headers_reset(struct run *r)
{
	r->etag[0] = r->modified[0] = '\0';
	r->has_range = false;
	r->range_total = -1;
	r->t->retry_after_s = 0;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct run *r = arg;
	size_t len = size * n;
	const char *colon;

	/* Each answer of a redirect chain begins with its own status line; only the last one counts. */
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		headers_reset(r);
		return len;
	}
	colon = memchr(line, ':', len);
	if (!colon)
		return len;
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		size_t name_len = strlen(headers[i].name);

		if ((size_t)(colon - line) == name_len && strncasecmp(line, headers[i].name, name_len) == 0)
			headers[i].take(r, (struct span){ colon + 1, len - (size_t)(colon + 1 - line) });
	}
	return len;
}

/* -- body -- */

static int64_t announced_length(struct run *r)
{
	curl_off_t n = -1;

	if (curl.easy_getinfo(r->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n) != CURLE_OK || n < 0)
		return -1;
	return n;
}

static int run_begin(struct run *r)
{
	struct transfer *t = r->t;
	int64_t length = announced_length(r), total = length;
	uint64_t offset = 0;
	long status = 0;
	int k;

	(void)curl.easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
	r->begun = true;
	t->status = status;
	if (status == 206) {
		if (!r->has_range || r->range_start != t->offset)
			return run_stop(r, TRANSFER_NEXT,
					err_set(r->e, -ERR_FETCH_FAILED,
						"%s answered another part of the file than was asked for",
						t->url));
		offset = t->offset;
		total = r->range_total >= 0 ? r->range_total : length < 0 ? -1 : length + (int64_t)offset;
	}
	k = t->sink.begin(t->sink.arg, offset, total, &r->verdict, r->e);
	return k < 0 ? run_stop(r, r->verdict, k) : 0;
}

static size_t on_body(char *buf, size_t size, size_t n, void *arg)
{
	struct run *r = arg;
	size_t len = size * n;
	int k;

	if (!r->begun && run_begin(r) < 0)
		return 0;
	r->t->received_bytes += len;
	k = r->t->sink.data(r->t->sink.arg, buf, len, &r->verdict, r->e);
	if (k < 0) {
		(void)run_stop(r, r->verdict, k);
		return 0;
	}
	return len;
}

/* -- verdict -- */

static const long status_retry[] = { 408, 425, 429, 500, 502, 503, 504 };

bool transfer_status_may_pass(long status)
{
	for (size_t i = 0; i < ARRAY_LEN(status_retry); i++)
		if (status == status_retry[i])
			return true;
	return false;
}

static enum transfer_verdict verdict_of_status(struct run *r)
{
	struct transfer *t = r->t;
	(void)err_set(r->e, -ERR_FETCH_FAILED, "%s answered HTTP status %ld", t->url, t->status);
	(void)err_object(r->e, "%s", t->url);
	return transfer_status_may_pass(t->status) ? TRANSFER_RETRY : TRANSFER_NEXT;
}

static enum transfer_verdict verdict_of_curl(struct run *r, CURLcode c, const char *detail)
{
	const char *text = detail[0] ? detail : curl.easy_strerror(c);

	if (c == CURLE_OUT_OF_MEMORY) {
		(void)err_oom(r->e);
		return TRANSFER_FATAL;
	}
	if (c == CURLE_FILE_COULDNT_READ_FILE)
		r->t->status = 404; /* what a server would say */
	(void)err_set(r->e, -ERR_FETCH_FAILED, "%s: %s", r->t->url, text);
	(void)err_object(r->e, "%s", r->t->url);
	if (libcurl_is_certificate(c)) {
		(void)err_next(r->e,
			       "the server's certificate is not trusted: correct the clock, install "
			       "ca-certificates or the private authority; verification is never turned off");
		return TRANSFER_NEXT;
	}
	return libcurl_may_retry(c) ? TRANSFER_RETRY : TRANSFER_NEXT;
}

/* 416 to "continue at N": the part is complete when the file is N bytes long. */
static bool part_is_complete(const struct run *r)
{
	return r->t->status == 416 && r->t->offset > 0 && r->range_total >= 0 &&
	       (uint64_t)r->range_total == r->t->offset;
}

static enum transfer_verdict verdict_of(struct run *r, CURLcode c, const char *detail)
{
	(void)curl.easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &r->t->status);
	if (r->stopped)
		return r->verdict;
	if (c == CURLE_OK && !r->begun && run_begin(r) < 0) /* an empty body */
		return r->verdict;
	if (c == CURLE_OK)
		return TRANSFER_OK;
	if (c != CURLE_HTTP_RETURNED_ERROR)
		return verdict_of_curl(r, c, detail);
	if (part_is_complete(r)) {
		int k = r->t->sink.begin(r->t->sink.arg, r->t->offset, r->range_total, &r->verdict, r->e);

		return k < 0 ? r->verdict : TRANSFER_OK;
	}
	return verdict_of_status(r);
}

/* -- set-up -- */

static void set_limits(CURL *c, const struct fetch_request *q)
{
	(void)curl.easy_setopt(c, CURLOPT_CONNECTTIMEOUT,
			       (long)(q->connect_timeout_s ? q->connect_timeout_s : 15));
	(void)curl.easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	(void)curl.easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
			       (long)(q->stall_timeout_s ? q->stall_timeout_s : 60));
	(void)curl.easy_setopt(c, CURLOPT_TIMEOUT, (long)q->total_timeout_s);
	(void)curl.easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
	_cleanup_free_ char *line = str_printf("%s: %s", name, value);
	struct curl_slist *more = line ? curl.slist_append(*list, line) : NULL;

	if (!more)
		return -ENOMEM;
	*list = more;
	return 0;
}

static int set_headers(struct transfer *t, CURL *c, struct curl_slist **list)
{
	/* libcurl itself leaves the authorization out where a redirect leads to another host. */
	bool is_named = strcmp(t->url, t->q->url) == 0;
	char range[32];
	int k = 0;

	if (t->q->authorization && is_named)
		k = add_header(list, "Authorization", t->q->authorization);
	if (t->offset && k == 0) {
		/* Not CURLOPT_RESUME_FROM: that makes libcurl fail when the server answers the whole file, which is a
		 * perfectly good answer (the validator changed) that starts us over. */
		snprintf(range, sizeof(range), "%" PRIu64 "-", t->offset);
		if (curl.easy_setopt(c, CURLOPT_RANGE, range) != CURLE_OK)
			return -ENOMEM;
		if (t->validator)
			k = add_header(list, "If-Range", t->validator);
	}
	if (k == 0 && *list && curl.easy_setopt(c, CURLOPT_HTTPHEADER, *list) != CURLE_OK)
		k = -ENOMEM;
	return k;
}

static int set_up(struct run *r, struct curl_slist **list, char *detail)
{
	const struct fetch_request *q = r->t->q;
	CURL *c = r->curl;

	if (curl.easy_setopt(c, CURLOPT_URL, r->t->url) != CURLE_OK ||
	    (q->proxy && curl.easy_setopt(c, CURLOPT_PROXY, q->proxy) != CURLE_OK) ||
	    (q->ca_file && curl.easy_setopt(c, CURLOPT_CAINFO, q->ca_file) != CURLE_OK) ||
	    (q->client_cert && curl.easy_setopt(c, CURLOPT_SSLCERT, q->client_cert) != CURLE_OK) ||
	    (q->client_key && curl.easy_setopt(c, CURLOPT_SSLKEY, q->client_key) != CURLE_OK) ||
	    curl.easy_setopt(c, CURLOPT_USERAGENT, "nvdriver/" NVDRIVER_VERSION) != CURLE_OK)
		return -ENOMEM;
	if (libcurl_set_protocols(c, r->t->url) < 0)
		return -ENOMEM;
	set_limits(c, q);
	(void)curl.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl.easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	(void)curl.easy_setopt(c, CURLOPT_FAILONERROR, 1L); /* an error page never reaches the sink */
	(void)curl.easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)curl.easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	(void)curl.easy_setopt(c, CURLOPT_BUFFERSIZE, 256L * 1024);
	(void)curl.easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
	(void)curl.easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl.easy_setopt(c, CURLOPT_HEADERDATA, r);
	(void)curl.easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl.easy_setopt(c, CURLOPT_WRITEDATA, r);
	return set_headers(r->t, c, list);
}

enum transfer_verdict transfer_run(struct transfer *t, struct err *e)
{
	_cleanup_(curl_freep) CURL *c = NULL;
	_cleanup_(slist_freep) struct curl_slist *list = NULL;
	char detail[CURL_ERROR_SIZE] = "";
	struct run r = { .t = t, .e = e, .verdict = TRANSFER_FATAL, .range_total = -1 };
	enum transfer_verdict v;

	if (libcurl_require(e) < 0)
		return TRANSFER_FATAL;
	r.curl = c = curl.easy_init();
	if (!c || set_up(&r, &list, detail) < 0) {
		(void)err_oom(e);
		return TRANSFER_FATAL;
	}
	headers_reset(&r);
	v = verdict_of(&r, curl.easy_perform(c), detail);
	snprintf(t->validator_out, sizeof(t->validator_out), "%s", r.etag[0] ? r.etag : r.modified);
	return v;
}
