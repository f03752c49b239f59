/* SPDX-License-Identifier: Apache-2.0 */
#include "registry-words.h"
#include "registry.h"

#include "base64.h"
#include "jutil.h"
#include "strbuf.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* -- references -- */

void registry_ref_done(struct registry_ref *r)
{
	free(r->host);
	free(r->name);
	free(r->tag);
	free(r->digest);
	memset(r, 0, sizeof(*r));
}

static int bad_ref(const char *text, const char *why, struct err *e)
{
	(void)err_set(e, -ERR_REGISTRY_REFERENCE, "\"%.200s\" %s", text, why);
	return err_object(e, "%.200s", text);
}

static bool port_is_valid(struct span h)
{
	const char *colon = memrchr(h.p, ':', h.len), *bracket = memrchr(h.p, ']', h.len);
	uint64_t port;

	if (!colon || (bracket && colon < bracket))
		return true;
	return parse_u64((struct span){ colon + 1, h.len - (size_t)(colon + 1 - h.p) }, 65535, &port) == 0;
}

/* Letters, digits, dots, dashes and a port; brackets for an address of version 6. */
static bool host_is_valid(struct span h)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";

	if (!h.p || h.len == 0 || h.len > 255 || h.p[0] == ':' || h.p[0] == '-')
		return false;
	for (size_t i = 0; i < h.len; i++)
		if (!memchr(allowed, h.p[i], sizeof(allowed) - 1))
			return false;
	return port_is_valid(h);
}

/* Lower-case words separated by ".", "_" or "-", joined by slashes. */
static bool name_is_valid(struct span n)
{
	bool fresh = true; /* a word has to begin */

	if (n.len == 0 || n.len > 255)
		return false;
	for (size_t i = 0; i < n.len; i++) {
		char c = n.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			fresh = false;
		else if (fresh || (c != '.' && c != '_' && c != '-' && c != '/'))
			return false;
		else if (c == '/')
			fresh = true;
	}
	return isalnum((unsigned char)n.p[n.len - 1]);
}

static bool tag_is_valid(struct span t)
{
	if (t.len == 0 || t.len > 128 || t.p[0] == '.' || t.p[0] == '-')
		return false;
	for (size_t i = 0; i < t.len; i++)
		if (!isalnum((unsigned char)t.p[i]) && !memchr("_.-", t.p[i], 3))
			return false;
	return true;
}

static bool digest_is_valid(struct span d)
{
	if (d.len != 71 || memcmp(d.p, "sha256:", 7) != 0)
		return false;
	for (size_t i = 7; i < d.len; i++)
		if (!memchr("0123456789abcdef", d.p[i], 16))
			return false;
	return true;
}

/* Cut what follows the last `mark` off the rest. */
static bool cut_off(struct span *rest, char mark, struct span *ret)
{
	const char *at = memrchr(rest->p, mark, rest->len);

	if (!at)
		return false;
	*ret = (struct span){ at + 1, rest->len - (size_t)(at + 1 - rest->p) };
	rest->len = (size_t)(at - rest->p);
	return true;
}

int registry_ref_parse(const char *text, struct registry_ref *ret, struct err *e)
{
	_cleanup_(registry_ref_done) struct registry_ref r = { 0 };
	struct span rest = SPAN(text), host, tag = SPAN_NULL, digest = SPAN_NULL;
	const char *slash;

	if (span_starts(rest, "docker://"))
		rest = (struct span){ rest.p + 9, rest.len - 9 };
	slash = memchr(rest.p, '/', rest.len);
	if (!slash)
		return bad_ref(text, "names no registry: write host[:port]/name[:tag]", e);
	host = (struct span){ rest.p, (size_t)(slash - rest.p) };
	rest = (struct span){ slash + 1, rest.len - host.len - 1 };
	if (!host_is_valid(host) ||
	    (!memchr(host.p, '.', host.len) && !memchr(host.p, ':', host.len) && !span_eq(host, "localhost")))
		return bad_ref(text, "does not begin with the name of a registry", e);
	if (cut_off(&rest, '@', &digest) && !digest_is_valid(digest))
		return bad_ref(text, "has a digest that is not sha256: and 64 digits", e);
	if (cut_off(&rest, ':', &tag) && !tag_is_valid(tag))
		return bad_ref(text, "has a tag that is none", e);
	if (!name_is_valid(rest))
		return bad_ref(text, "has a name that is not made of lower-case words", e);
	r.host = span_dup(host);
	r.name = span_dup(rest);
	r.tag = tag.p ? span_dup(tag) : NULL;
	r.digest = digest.p ? span_dup(digest) : NULL;
	if (!r.host || !r.name || (tag.p && !r.tag) || (digest.p && !r.digest))
		return err_oom(e);
	*ret = r;
	r = (struct registry_ref){ 0 };
	return 0;
}

/* -- challenges -- */

void registry_challenge_done(struct registry_challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	memset(c, 0, sizeof(*c));
}

static void skip_blanks(struct span *s)
{
	while (s->len && (*s->p == ' ' || *s->p == '\t' || *s->p == ',')) {
		s->p++;
		s->len--;
	}
}

static struct span take_token(struct span *s)
{
	struct span t = { s->p, 0 };

	while (t.len < s->len && (isalnum((unsigned char)s->p[t.len]) || memchr("_-.", s->p[t.len], 3)))
		t.len++;
	s->p += t.len;
	s->len -= t.len;
	return t;
}

/* The text between quotes, "\x" standing for x; or a plain token. */
static int take_value(struct span *s, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(4096);

	if (s->len == 0 || *s->p != '"') {
		*ret = span_dup(take_token(s));
		return *ret ? 0 : -ENOMEM;
	}
	for (size_t i = 1; i < s->len; i++) {
		if (s->p[i] == '"') {
			s->p += i + 1;
			s->len -= i + 1;
			(void)strbuf_puts(&b, "");
			return strbuf_steal(&b, ret);
		}
		if ((unsigned char)s->p[i] < 0x20 || s->p[i] == 0x7f || (s->p[i] == '\\' && ++i == s->len))
			return -EINVAL;
		(void)strbuf_putc(&b, s->p[i]);
	}
	return -EINVAL;
}

static int take_parameter(struct span *s, struct registry_challenge *c)
{
	const struct {
		const char *name;
		char **to;
	} known[] = { { "realm", &c->realm }, { "service", &c->service }, { "scope", &c->scope } };
	struct span key = take_token(s);
	_cleanup_free_ char *value = NULL;
	int r;

	if (key.len == 0 || s->len == 0 || *s->p != '=')
		return -EINVAL;
	s->p++;
	s->len--;
	r = take_value(s, &value);
	for (size_t i = 0; i < ARRAY_LEN(known) && r == 0; i++)
		if (strlen(known[i].name) == key.len && strncasecmp(key.p, known[i].name, key.len) == 0) {
			free(*known[i].to);
			*known[i].to = TAKE_PTR(value);
			break;
		}
	return r;
}

int registry_challenge_parse(struct span header, struct registry_challenge *ret)
{
	_cleanup_(registry_challenge_done) struct registry_challenge c = { 0 };
	struct span s = span_trim(header), scheme = take_token(&s);
	int r = 0;

	c.is_bearer = scheme.len == 6 && strncasecmp(scheme.p, "bearer", 6) == 0;
	if (!c.is_bearer && !(scheme.len == 5 && strncasecmp(scheme.p, "basic", 5) == 0))
		return -EINVAL;
	skip_blanks(&s);
	while (s.len && r == 0) {
		r = take_parameter(&s, &c);
		skip_blanks(&s);
	}
	if (r < 0 || (c.is_bearer && !c.realm))
		return r < 0 ? r : -EINVAL;
	*ret = c;
	c = (struct registry_challenge){ 0 };
	return 0;
}

/* -- credentials -- */

/* How well a key of "auths" fits: its length, 0 = not at all. */
static size_t key_fit(const char *key, const char *host, const char *name)
{
	_cleanup_free_ char *full = str_printf("%s/%s", host, name);
	struct span k = SPAN(key);
	size_t n;

	if (span_starts(k, "https://"))
		k = (struct span){ k.p + 8, k.len - 8 };
	if (span_ends(k, "/v1/") || span_ends(k, "/v2/"))
		k.len -= 4;
	while (k.len && k.p[k.len - 1] == '/')
		k.len--;
	n = k.len;
	if (!full || n < strlen(host) || strlen(full) < n || memcmp(full, k.p, n) != 0)
		return 0;
	return full[n] == '\0' || full[n] == '/' ? n : 0;
}

static int auth_decode(const json_t *entry, char **ret, struct err *e)
{
	const char *text = json_string_value(json_object_get(entry, "auth"));
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len = 0;

	if (!text)
		return 0; /* kept by a helper program, which is not run */
	if (base64_decode(SPAN(text), &bytes, &len) < 0 || memchr(bytes, '\0', len) ||
	    !memchr(bytes, ':', len))
		return err_set(e, -ERR_AUTH_FILE, "an entry is not the base64 form of user:password");
	*ret = (char *)TAKE_PTR(bytes);
	return 0;
}

int registry_auth_find(struct span text, const char *host, const char *name, char **ret, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *entry, *found = NULL;
	size_t best = 0;
	const char *key;
	int r = jparse(text, &j, e);

	if (r < 0 || !json_is_object(j))
		return r == -ENOMEM ? r : err_set(e, -ERR_AUTH_FILE, "it is not a JSON object");
	*ret = NULL;
	json_object_foreach (json_object_get(j, "auths"), key, entry) {
		size_t fit = key_fit(key, host, name);

		if (fit > best) {
			best = fit;
			found = entry;
		}
	}
	return found ? auth_decode(found, ret, e) : 0;
}

/* -- addresses -- */

int registry_location(const char *base, struct span location, char **ret, bool *ret_is_same)
{
	struct span l = span_trim(location);
	size_t n = strlen(base);

	for (size_t i = 0; i < l.len; i++)
		if ((unsigned char)l.p[i] <= 0x20 || l.p[i] == 0x7f)
			return -EINVAL;
	if (l.len == 0 || l.len > 8192)
		return -EINVAL;
	if (*l.p == '/' && !span_starts(l, "//")) {
		*ret_is_same = true;
		*ret = str_printf("%s%.*s", base, (int)l.len, l.p);
		return *ret ? 0 : -ENOMEM;
	}
	if (!span_starts(l, "https://") && !(span_starts(l, "http://") && strncmp(base, "http://", 7) == 0))
		return -EINVAL;
	*ret_is_same = l.len > n && strncmp(l.p, base, n) == 0 && (l.p[n] == '/' || l.p[n] == '?');
	*ret = span_dup(l);
	return *ret ? 0 : -ENOMEM;
}

int registry_range_end(struct span range, uint64_t *ret)
{
	struct span s = span_trim(range);
	uint64_t last;

	if (span_starts(s, "bytes="))
		s = (struct span){ s.p + 6, s.len - 6 };
	if (!span_starts(s, "0-") || parse_u64((struct span){ s.p + 2, s.len - 2 }, INT64_MAX - 1, &last) < 0)
		return -EINVAL;
	/* "0-0" is said of nothing as well as of one byte; beginning again is right for both. */
	*ret = last ? last + 1 : 0;
	return 0;
}

char *registry_quote(const char *s)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(16384);
	char *text = NULL;

	(void)strbuf_puts(&b, "");
	for (; *s; s++)
		if (isalnum((unsigned char)*s) || strchr("-._~/:", *s))
			(void)strbuf_putc(&b, *s);
		else
			(void)strbuf_printf(&b, "%%%02X", (unsigned char)*s);
	return strbuf_steal(&b, &text) < 0 ? NULL : text;
}
