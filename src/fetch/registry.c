/* SPDX-License-Identifier: Apache-2.0
 *
 * What the distribution specification calls pull and push, over registry-http.c: authorization when a challenge asks for it,
 * tries that may help repeated, digests compared. */
#include "registry.h"

#include "base64.h"
#include "digest.h"
#include "fd.h"
#include "fetch.h"
#include "interrupt.h"
#include "jutil.h"
#include "log.h"
#include "registry-http.h"
#include "registry-words.h"
#include "strbuf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define AUTH_FILE_MAX ((size_t)1 << 20)
#define TOKEN_MAX     ((size_t)64 << 10)
#define TAGS_MAX      100000u
#define MANIFEST_TYPES                                                                                       \
	"application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "              \
	"application/vnd.docker.distribution.manifest.v2+json"

struct registry {
	struct registry_ref ref; /* owned */
	struct registry_options o;
	char *base; /* owned; "https://host" */
	char *ca_file, *proxy; /* owned */
	char *login; /* owned, wiped; "user:password", NULL = none */
	char *authorization; /* owned, wiped; value of the header once a challenge was answered */
	struct http *http; /* owned */
};

static void wipe(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	freep(secret);
}

void registry_freep(struct registry **rp)
{
	struct registry *r = *rp;

	if (!r)
		return;
	http_freep(&r->http);
	registry_ref_done(&r->ref);
	free(r->base);
	free(r->ca_file);
	free(r->proxy);
	wipe(&r->login);
	wipe(&r->authorization);
	freep(rp);
}

/* -- credentials -- */

/* 1 = something about this registry was there. */
static int login_from(struct registry *r, const char *path, bool must, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len = 0;
	int k;

	if (fd < 0 && !must)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -ERR_AUTH_FILE, "cannot open %s: %s", path, strerror(errno));
	if (st.st_mode & 077)
		log_warn("%s can be read by others than its owner", path);
	k = read_fd(fd, AUTH_FILE_MAX, &text, &len);
	if (k < 0)
		return err_set(e, -ERR_AUTH_FILE, "cannot read %s: %s", path, strerror(-k));
	k = registry_auth_find((struct span){ text, len }, r->ref.host, r->ref.name, &r->login, e);
	explicit_bzero(text, len);
	if (k < 0) {
		(void)err_object(e, "%s", path);
		return err_wrap(e, "%s", path);
	}
	return r->login != NULL;
}

/* Where podman, skopeo and docker keep them. */
static int find_login(struct registry *r, struct err *e)
{
	static const struct {
		const char *variable, *below;
	} places[] = { { "XDG_RUNTIME_DIR", "containers/auth.json" },
		       { "HOME", ".config/containers/auth.json" },
		       { "HOME", ".docker/config.json" } };
	const char *named = r->o.auth_file ? r->o.auth_file : getenv("REGISTRY_AUTH_FILE");
	int k = 0;

	if (named && *named)
		return login_from(r, named, true, e);
	for (size_t i = 0; i < ARRAY_LEN(places) && k == 0; i++) {
		const char *dir = getenv(places[i].variable);
		_cleanup_free_ char *path = dir && *dir ? str_printf("%s/%s", dir, places[i].below) : NULL;

		if (path)
			k = login_from(r, path, false, e);
	}
	return k;
}

static int basic_value(const char *login, char **ret)
{
	_cleanup_free_ char *text = NULL;
	int k = base64_encode((const uint8_t *)login, strlen(login), &text);

	if (k < 0)
		return k;
	*ret = str_printf("Basic %s", text);
	explicit_bzero(text, strlen(text));
	return *ret ? 0 : -ENOMEM;
}

static int copy(const char *from, char **to)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

int registry_open(const struct registry_ref *ref, const struct registry_options *o, struct registry **ret,
		  struct err *e)
{
	_cleanup_(registry_freep) struct registry *r = NULL;
	struct http_options http;
	int k;

	if (o->offline) {
		(void)err_set(e, -ERR_OFFLINE, "the registry %s would be asked", ref->host);
		return err_object(e, "%s", ref->host);
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_oom(e);
	r->o = *o;
	r->base = str_printf("%s://%s", o->plain_http ? "http" : "https", ref->host);
	if (!r->base || copy(ref->host, &r->ref.host) < 0 || copy(ref->name, &r->ref.name) < 0 ||
	    copy(ref->tag, &r->ref.tag) < 0 || copy(ref->digest, &r->ref.digest) < 0 ||
	    copy(o->ca_file, &r->ca_file) < 0 || copy(o->proxy, &r->proxy) < 0)
		return err_oom(e);
	http = (struct http_options){ r->ca_file, r->proxy, o->stall_timeout_s };
	k = find_login(r, e);
	if (k >= 0)
		k = http_open(&http, &r->http, e);
	if (k < 0)
		return k;
	*ret = TAKE_PTR(r);
	return 0;
}

/* -- answers -- */

static int denied(const struct registry *r, long status, struct err *e)
{
	(void)err_set(e, -ERR_REGISTRY_DENIED, "%s/%s answered %ld%s", r->ref.host, r->ref.name, status,
		      r->login ? "" : " and no credentials for it are known");
	return err_object(e, "%s", r->ref.host);
}

/* The first message of {"errors": [{"code", "message"}]}, as far as it is printable. */
static void error_text(const struct http_answer *a, char *out, size_t size)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *first;
	const char *message;

	out[0] = '\0';
	if (jparse((struct span){ strbuf_str(&a->text), a->text.len }, &j, NULL) < 0)
		return;
	first = json_array_get(json_object_get(j, "errors"), 0);
	message = json_string_value(json_object_get(first, "message"));
	snprintf(out, size, ": %.200s", message ? message : "");
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

static int unexpected(const struct registry *r, const struct http_request *q, const struct http_answer *a,
		      struct err *e)
{
	char text[256];

	if (a->status == 401 || a->status == 403)
		return denied(r, a->status, e);
	error_text(a, text, sizeof(text));
	(void)err_set(e, a->status == 404 ? -ERR_REGISTRY_ABSENT : -ERR_REGISTRY_ANSWER,
		      "%s %.300s: status %ld%s", q->method, q->url, a->status, text);
	return err_object(e, "%s", q->url);
}

/* -- authorization -- */

static int token_parse(const struct http_answer *a, char **ret)
{
	_cleanup_json_ json_t *j = NULL;
	const char *token;

	if (jparse((struct span){ strbuf_str(&a->text), a->text.len }, &j, NULL) < 0)
		return -EINVAL;
	token = json_string_value(json_object_get(j, "token"));
	if (!token)
		token = json_string_value(json_object_get(j, "access_token"));
	if (!token || strpbrk(token, "\r\n"))
		return -EINVAL;
	*ret = str_printf("Bearer %s", token);
	return *ret ? 0 : -ENOMEM;
}

static char *token_url(const struct registry *r, const struct registry_challenge *c)
{
	_cleanup_free_ char *made = NULL, *scope = NULL,
			    *service = registry_quote(c->service ? c->service : "");

	made = c->scope ? strdup(c->scope) : str_printf("repository:%s:pull", r->ref.name);
	scope = made ? registry_quote(made) : NULL;
	if (!service || !scope)
		return NULL;
	return str_printf("%s%cservice=%s&scope=%s", c->realm, strchr(c->realm, '?') ? '&' : '?', service,
			  scope);
}

/* Credentials go where the registry sends them, but never without TLS unless the registry itself is without. */
static int fetch_token(struct registry *r, const struct registry_challenge *c, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	_cleanup_free_ char *url = token_url(r, c);
	_cleanup_(wipe) char *login = NULL;
	struct http_request q = {
		.method = "GET", .url = url, .body_fd = -EBADF, .max_answer_bytes = TOKEN_MAX
	};
	int k;

	if (!url || (r->login && basic_value(r->login, &login) < 0))
		return err_oom(e);
	if (!span_starts(SPAN(url), "https://") && !(r->o.plain_http && span_starts(SPAN(url), "http://")))
		return err_set(e, -ERR_REGISTRY_ANSWER, "%s names a token service without TLS", r->ref.host);
	q.authorization = login;
	k = http_run(r->http, &q, &a, e);
	if (k != 0)
		return k;
	if (a.status != 200)
		return denied(r, a.status, e);
	wipe(&r->authorization);
	return token_parse(&a, &r->authorization) < 0
		   ? err_set(e, -ERR_REGISTRY_ANSWER, "the token service of %s gives no token", r->ref.host)
		   : 0;
}

/* Answer the challenge of a 401: 0 when there is something new to try, 1 when trying again later may help. */
static int authorize(struct registry *r, const struct http_answer *a, struct err *e)
{
	_cleanup_(registry_challenge_done) struct registry_challenge c = { 0 };
	int k = registry_challenge_parse(SPAN(a->challenge), &c);

	if (k == -ENOMEM)
		return err_oom(e);
	if (k < 0)
		return denied(r, a->status, e);
	if (c.is_bearer)
		return fetch_token(r, &c, e);
	if (!r->login)
		return denied(r, a->status, e);
	wipe(&r->authorization);
	return basic_value(r->login, &r->authorization) < 0 ? err_oom(e) : 0;
}

/* One request with at most one answer to a challenge. As http_run(). */
static int ask_once(struct registry *r, struct http_request *q, bool is_ours, struct http_answer *a,
		    struct err *e)
{
	int k;

	q->authorization = is_ours ? r->authorization : NULL;
	k = http_run(r->http, q, a, e);
	if (k != 0 || a->status != 401 || !is_ours)
		return k;
	k = authorize(r, a, e);
	if (k != 0)
		return k;
	q->authorization = r->authorization;
	return http_run(r->http, q, a, e);
}

static unsigned tries(const struct registry *r)
{
	return r->o.attempts ? r->o.attempts : 4;
}

static int pause_before(const struct registry *r, unsigned round, unsigned retry_after_s, struct err *e)
{
	uint64_t ms = r->o.backoff_ms ? r->o.backoff_ms : 1000;
	struct timespec t;

	ms = round > 6 ? 60000 : ms << round;
	if (ms > 60000)
		ms = 60000;
	if (retry_after_s && retry_after_s < 120 && ms < retry_after_s * 1000u)
		ms = retry_after_s * 1000u;
	t = (struct timespec){ (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	(void)nanosleep(&t, NULL);
	return interrupt_check(e);
}

/* Tried until there is an answer that will not change by itself. */
static int ask(struct registry *r, struct http_request *q, bool is_ours, struct http_answer *a, struct err *e)
{
	for (unsigned round = 0;; round++) {
		int k = ask_once(r, q, is_ours, a, e);

		if (k == 0 && !http_status_may_pass(a->status))
			return 0;
		if (k < 0)
			return k;
		if (round + 1 >= tries(r))
			return k == 0 ? 0 : -ERR_FETCH_FAILED;
		log_info("%s: trying again", r->ref.host);
		err_done(e);
		k = pause_before(r, round, a->retry_after_s, e);
		if (k < 0)
			return k;
	}
}

static char *url_of(const struct registry *r, const char *what, const char *which)
{
	return str_printf("%s/v2/%s/%s/%s", r->base, r->ref.name, what, which);
}

/* -- manifests -- */

static int check_digest(const char *what, const void *bytes, size_t len, const char *want, struct err *e)
{
	uint8_t raw[SHA256_SIZE];
	char found[80] = "sha256:";

	if (sha256_bytes(bytes, len, raw) < 0)
		return err_oom(e);
	hex_encode(raw, sizeof(raw), found + 7);
	if (strcmp(found, want) == 0)
		return 0;
	(void)err_set(e, -ERR_FETCH_DIGEST, "%s has the digest %s instead of %.80s", what, found, want);
	return err_object(e, "%s", what);
}

int registry_manifest_get(struct registry *r, const char *reference, size_t max_bytes, char **ret,
			  size_t *ret_len, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	_cleanup_free_ char *url = url_of(r, "manifests", reference);
	struct http_request q = { .method = "GET",
				  .url = url,
				  .accept = MANIFEST_TYPES,
				  .body_fd = -EBADF,
				  .max_answer_bytes = max_bytes };
	const char *want = span_starts(SPAN(reference), "sha256:") ? reference : NULL;
	int k = url ? ask(r, &q, true, &a, e) : err_oom(e);

	if (k < 0)
		return k;
	if (a.status != 200)
		return unexpected(r, &q, &a, e);
	if (want || a.digest[0])
		k = check_digest("the manifest", strbuf_str(&a.text), a.text.len, want ? want : a.digest, e);
	if (k < 0)
		return k;
	*ret_len = a.text.len;
	return strbuf_steal(&a.text, ret) < 0 ? err_oom(e) : 0;
}

int registry_manifest_put(struct registry *r, const char *reference, const char *media_type,
			  const void *bytes, size_t len, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	_cleanup_free_ char *url = url_of(r, "manifests", reference);
	struct http_request q = { .method = "PUT",
				  .url = url,
				  .content_type = media_type,
				  .body_fd = -EBADF,
				  .body = bytes,
				  .body_size = len,
				  .has_body = true };
	int k = url ? ask(r, &q, true, &a, e) : err_oom(e);

	if (k < 0)
		return k;
	if (a.status != 201)
		return unexpected(r, &q, &a, e);
	return a.digest[0] ? check_digest("the manifest the registry took", bytes, len, a.digest, e) : 0;
}

/* -- blobs -- */

static char *blob_url(const struct registry *r, const char *hex)
{
	_cleanup_free_ char *digest = str_printf("sha256:%s", hex);

	return digest ? url_of(r, "blobs", digest) : NULL;
}

int registry_blob_has(struct registry *r, const char *hex, uint64_t size, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	_cleanup_free_ char *url = blob_url(r, hex);
	struct http_request q = { .method = "HEAD", .url = url, .body_fd = -EBADF };
	int k = url ? ask(r, &q, true, &a, e) : err_oom(e);

	if (k < 0)
		return k;
	if (a.status == 404)
		return 0;
	if (a.status != 200)
		return unexpected(r, &q, &a, e);
	if (a.length >= 0 && (uint64_t)a.length != size) {
		(void)err_set(e, -ERR_FETCH_SIZE,
			      "the registry's blob %.12s has %" PRId64 " bytes instead of %" PRIu64, hex,
			      a.length, size);
		return err_object(e, "%s", url);
	}
	return 1;
}

int registry_blob_read(struct registry *r, const char *hex, size_t max_bytes, char **ret, size_t *ret_len,
		       struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	_cleanup_free_ char *url = blob_url(r, hex), *want = str_printf("sha256:%s", hex);
	struct http_request q = {
		.method = "GET", .url = url, .body_fd = -EBADF, .max_answer_bytes = max_bytes
	};
	int k = url && want ? ask(r, &q, true, &a, e) : err_oom(e);

	if (k < 0)
		return k;
	if (a.status != 200)
		return unexpected(r, &q, &a, e);
	k = check_digest(url, strbuf_str(&a.text), a.text.len, want, e);
	if (k < 0)
		return k;
	*ret_len = a.text.len;
	return strbuf_steal(&a.text, ret) < 0 ? err_oom(e) : 0;
}

static int fetch_blob(struct registry *r, const char *url, const char *hex, uint64_t size, int dirfd,
		      const char *dir_path, uint64_t *received, struct err *e)
{
	const struct fetch_request q = { .url = url,
					 .authorization = r->authorization,
					 .dirfd = dirfd,
					 .dir_path = dir_path,
					 .name = hex,
					 .sha256 = hex,
					 .size_bytes = size,
					 .ca_file = r->ca_file,
					 .proxy = r->proxy,
					 .attempts = r->o.attempts,
					 .backoff_ms = r->o.backoff_ms,
					 .stall_timeout_s = r->o.stall_timeout_s };
	_cleanup_(fetch_result_done) struct fetch_result got = { 0 };
	int k = fetch_file(&q, &got, e);

	if (k == 0 && received)
		*received += got.received_bytes;
	return k;
}

/* Asks for the authorization too, which may have run out since the blob before. */
static int must_have(struct registry *r, const char *url, const char *hex, uint64_t size, struct err *e)
{
	int k = registry_blob_has(r, hex, size, e);

	if (k != 0)
		return k < 0 ? k : 0;
	(void)err_set(e, -ERR_REGISTRY_ABSENT, "%s/%s has no blob %s", r->ref.host, r->ref.name, hex);
	return err_object(e, "%s", url);
}

/* A token that ran out in the middle of a large blob: what has arrived is kept, a new one goes on with it. */
int registry_blob_get(struct registry *r, const char *hex, uint64_t size, int dirfd, const char *dir_path,
		      uint64_t *received, struct err *e)
{
	_cleanup_free_ char *url = blob_url(r, hex);

	if (!url)
		return err_oom(e);
	for (unsigned round = 0;; round++) {
		_cleanup_(err_done) struct err why = ERR_INIT;
		_cleanup_(wipe) char *used = NULL;
		int k = must_have(r, url, hex, size, e);

		if (k == 0 && copy(r->authorization, &used) < 0)
			k = err_oom(e);
		if (k < 0)
			return k;
		k = fetch_blob(r, url, hex, size, dirfd, dir_path, received, &why);
		if (k == -ERR_FETCH_FAILED && used && round + 1 < tries(r) &&
		    registry_blob_has(r, hex, size, NULL) == 1 && strcmp(used, r->authorization) != 0)
			continue;
		if (k < 0)
			err_move(e, &why);
		return k;
	}
}

/* -- upload -- */

struct upload {
	struct registry *r;
	const char *hex;
	int fd;
	uint64_t offset, size; /* of the blob in fd */
	uint64_t done; /* the registry has */
	char *url; /* owned; where it goes on */
	bool is_ours;
	uint64_t sent;
};

static int take_location(struct upload *u, const struct http_answer *a, struct err *e)
{
	char *url = NULL;
	int k = registry_location(u->r->base, SPAN(a->location), &url, &u->is_ours);

	if (k == -ENOMEM)
		return err_oom(e);
	if (k < 0)
		return err_set(e, -ERR_REGISTRY_ANSWER, "%s does not say where an upload goes",
			       u->r->ref.host);
	free(u->url);
	u->url = url;
	return 0;
}

static int upload_begin(struct upload *u, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	_cleanup_free_ char *url = url_of(u->r, "blobs", "uploads/");
	struct http_request q = { .method = "POST", .url = url, .body_fd = -EBADF, .has_body = true };
	int k = url ? ask(u->r, &q, true, &a, e) : err_oom(e);

	if (k < 0)
		return k;
	if (a.status != 202)
		return unexpected(u->r, &q, &a, e);
	u->done = 0;
	return take_location(u, &a, e);
}

/* How far the registry got; when it cannot tell, from the start. */
static int upload_where(struct upload *u, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	struct http_request q = { .method = "GET", .url = u->url, .body_fd = -EBADF };
	int k = ask(u->r, &q, u->is_ours, &a, e);

	if (k < 0)
		return k;
	if (a.status != 204 || registry_range_end(SPAN(a.range), &u->done) < 0 || u->done == 0 ||
	    u->done > u->size)
		return upload_begin(u, e);
	log_info("%s: continuing an upload at %" PRIu64 " of %" PRIu64 " bytes", u->r->ref.host, u->done,
		 u->size);
	return a.location[0] ? take_location(u, &a, e) : 0;
}

/* All that is left in one request. 1 = not this time. */
static int upload_rest(struct upload *u, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	char range[64];
	struct http_request q = { .method = "PATCH",
				  .url = u->url,
				  .content_type = "application/octet-stream",
				  .content_range = range,
				  .body_fd = u->fd,
				  .body_offset = u->offset + u->done,
				  .body_size = u->size - u->done,
				  .has_body = true };
	int k;

	snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, u->done, u->size - 1);
	k = ask_once(u->r, &q, u->is_ours, &a, e);
	u->sent += a.sent_bytes;
	if (k != 0)
		return k;
	if (a.status == 416 || http_status_may_pass(a.status)) {
		(void)unexpected(u->r, &q, &a, e);
		return 1;
	}
	if (a.status != 202 && a.status != 201 && a.status != 204)
		return unexpected(u->r, &q, &a, e);
	u->done = u->size;
	return a.location[0] ? take_location(u, &a, e) : 0;
}

static int upload_finish(struct upload *u, struct err *e)
{
	_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
	_cleanup_free_ char *url =
	    str_printf("%s%cdigest=sha256:%s", u->url, strchr(u->url, '?') ? '&' : '?', u->hex);
	struct http_request q = { .method = "PUT", .url = url, .body_fd = -EBADF, .has_body = true };
	int k = url ? ask(u->r, &q, u->is_ours, &a, e) : err_oom(e);

	if (k < 0)
		return k;
	if (a.status != 201 && a.status != 204)
		return unexpected(u->r, &q, &a, e);
	if (a.digest[0] && (!span_starts(SPAN(a.digest), "sha256:") || strcmp(a.digest + 7, u->hex) != 0))
		return err_set(e, -ERR_FETCH_DIGEST, "%s took other bytes than were sent: %.80s",
			       u->r->ref.host, a.digest);
	return 0;
}

static int upload_all(struct upload *u, struct err *e)
{
	int k = upload_begin(u, e);

	for (unsigned round = 0; k == 0 && u->done < u->size; round++) {
		k = upload_rest(u, e);
		if (k <= 0)
			continue;
		if (round + 1 >= tries(u->r))
			return e && e->code ? -e->code : -ERR_FETCH_FAILED;
		err_done(e);
		k = pause_before(u->r, round, 0, e);
		if (k == 0)
			k = upload_where(u, e);
	}
	return k == 0 ? upload_finish(u, e) : k;
}

int registry_blob_put(struct registry *r, const char *hex, uint64_t size, int fd, uint64_t offset,
		      uint64_t *sent, struct err *e)
{
	struct upload u = { .r = r, .hex = hex, .fd = fd, .offset = offset, .size = size };
	int k = upload_all(&u, e);

	free(u.url);
	if (sent)
		*sent += u.sent;
	return k;
}

/* -- tags -- */

static int tags_parse(const struct http_answer *a, char ***ret, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *tag;
	json_t *tags = NULL;
	size_t i;
	int k = jparse((struct span){ strbuf_str(&a->text), a->text.len }, &j, e);

	if (k < 0)
		return k;
	tags = json_object_get(j, "tags");
	json_array_foreach (tags, i, tag) {
		if (i >= TAGS_MAX)
			return err_set(e, -ERR_TOO_LARGE, "more than %u tags", TAGS_MAX);
		if (json_is_string(tag) && strv_push(ret, json_string_value(tag)) < 0)
			return err_oom(e);
	}
	return 0;
}

/* The next page, from `Link: </v2/…?last=x>; rel="next"`. */
static int next_page(const struct registry *r, const struct http_answer *a, char **ret)
{
	const char *open = strchr(a->link, '<'), *close = open ? strchr(open, '>') : NULL;
	bool is_ours = false;
	char *url = NULL;

	if (!close || !strstr(close, "next"))
		return 0;
	if (registry_location(r->base, (struct span){ open + 1, (size_t)(close - open - 1) }, &url,
			      &is_ours) < 0 ||
	    !is_ours) {
		free(url);
		return 0;
	}
	free(*ret);
	*ret = url;
	return 1;
}

int registry_tags(struct registry *r, char ***ret, struct err *e)
{
	_cleanup_free_ char *url = url_of(r, "tags", "list");
	_cleanup_strv_ char **tags = NULL;
	int more = 1, k = url ? 0 : err_oom(e);

	for (unsigned page = 0; k == 0 && more && page < 1000; page++) {
		_cleanup_(http_answer_done) struct http_answer a = HTTP_ANSWER_INIT;
		struct http_request q = {
			.method = "GET", .url = url, .body_fd = -EBADF, .max_answer_bytes = (size_t)16 << 20
		};

		k = ask(r, &q, true, &a, e);
		if (k == 0 && a.status != 200)
			k = unexpected(r, &q, &a, e);
		if (k == 0)
			k = tags_parse(&a, &tags, e);
		more = k == 0 ? next_page(r, &a, &url) : 0;
	}
	if (k < 0)
		return k;
	if (tags)
		strv_sort(tags);
	*ret = TAKE_PTR(tags);
	return 0;
}
