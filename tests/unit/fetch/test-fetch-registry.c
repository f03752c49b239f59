/* SPDX-License-Identifier: Apache-2.0
 *
 * What registries and their clients' files say, and what a registry may not get away with. */
#include "testlib.h"

#include "digest.h"
#include "httpd.h"
#include "registry-words.h"
#include "registry.h"

#include <stdio.h>
#include <stdlib.h>

static void references(void **state)
{
	static const struct {
		const char *text, *host, *name, *tag;
		bool digest;
	} good[] = {
		{ "reg.example/a", "reg.example", "a", NULL, false },
		{ "docker://reg.example:5000/gpu/driver:535.1-rhel9.2", "reg.example:5000", "gpu/driver",
		  "535.1-rhel9.2", false },
		{ "localhost/a__b/c-d", "localhost", "a__b/c-d", NULL, false },
		{ "[::1]:5000/a:x", "[::1]:5000", "a", "x", false },
		{ "r.e/a:t@sha256:0123456789012345678901234567890123456789012345678901234567890123", "r.e",
		  "a", "t", true },
	};
	static const char *const bad[] = {
		"",
		"a",
		"a/b:c",
		"reg.example/",
		"reg.example/A",
		"reg.example/a//b",
		"reg.example/a:",
		"r.e/a:-",
		"r.e/a:.x",
		"r.e/a@md5:00",
		"r.e/a@sha256:0",
		"r.e /a",
		"r.e/../a",
		"127.0.0.1:/a",
		":80/a",
		"r.e/a/",
		"r.e/a:b c",
		"r.e:99999/a",
		"r.e/a?x",
		"user@r.e/a",
		"r.e/a\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_(registry_ref_done) struct registry_ref r = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		assert_ok(registry_ref_parse(good[i].text, &r, &e), &e);
		assert_string_equal(r.host, good[i].host);
		assert_string_equal(r.name, good[i].name);
		assert_true(!r.tag == !good[i].tag && (!r.tag || strcmp(r.tag, good[i].tag) == 0));
		assert_int_equal(r.digest != NULL, good[i].digest);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(registry_ref_done) struct registry_ref r = { 0 };
		_cleanup_(err_done) struct err e = ERR_INIT;

		if (registry_ref_parse(bad[i], &r, &e) != -ERR_REGISTRY_REFERENCE)
			fail_msg("\"%s\" was accepted", bad[i]);
		assert_slug(&e, "registry-reference-invalid");
		assert_non_null(e.reason);
	}
}

static void challenges(void **state)
{
	static const struct {
		const char *text, *realm, *service, *scope;
		bool bearer;
	} good[] = {
		{ "Basic realm=\"Registry Realm\"", "Registry Realm", NULL, NULL, false },
		{ "basic", NULL, NULL, NULL, false },
		{ "Bearer "
		  "realm=\"https://auth.example/token\",service=\"reg.example\",scope=\"repository:a/"
		  "b:pull,push\"",
		  "https://auth.example/token", "reg.example", "repository:a/b:pull,push", true },
		{ "  BEARER  Realm=\"a\\\"b\" , unknown=x, service=y \r\n", "a\"b", "y", NULL, true },
	};
	static const char *const bad[] = { "",
					   "Digest realm=\"x\"",
					   "Bearer",
					   "Bearer service=\"x\"",
					   "Bearer realm=\"x",
					   "Bearer realm",
					   "Bearer realm=\"x\\",
					   "Basic =x",
					   "Bearer realm=\"a\nb\"" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_(registry_challenge_done) struct registry_challenge c = { 0 };

		assert_int_equal(registry_challenge_parse(SPAN(good[i].text), &c), 0);
		assert_int_equal(c.is_bearer, good[i].bearer);
		assert_true(good[i].realm ? strcmp(c.realm, good[i].realm) == 0 : !c.realm);
		assert_true(good[i].service ? strcmp(c.service, good[i].service) == 0 : !c.service);
		assert_true(good[i].scope ? strcmp(c.scope, good[i].scope) == 0 : !c.scope);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(registry_challenge_done) struct registry_challenge c = { 0 };

		if (registry_challenge_parse(SPAN(bad[i]), &c) != -EINVAL)
			fail_msg("\"%s\" was accepted", bad[i]);
	}
}

static void credentials(void **state)
{
	/* u:whole, u:part, u:host, u:old */
	static const char file[] =
	    "{\"auths\":{\"r.e/a/b\":{\"auth\":\"dTp3aG9sZQ==\"},\"r.e/a\":{\"auth\":\"dTpwYXJ0\"},"
	    "\"r.e\":{\"auth\":\"dTpob3N0\"},\"https://old.e/v1/\":{\"auth\":\"dTpvbGQ=\"},"
	    "\"helper.e\":{}},\"credsStore\":\"x\"}";
	static const struct {
		const char *host, *name, *want;
	} rows[] = {
		{ "r.e", "a/b", "u:whole" }, { "r.e", "a/b/c", "u:whole" }, { "r.e", "a/bc", "u:part" },
		{ "r.e", "x", "u:host" },    { "old.e", "x", "u:old" },	    { "r.e:5000", "a", NULL },
		{ "helper.e", "a", NULL },   { "r.ex", "a", NULL },
	};
	static const char *const bad[] = { "", "[]", "{\"auths\":{\"r.e\":{\"auth\":\"!!\"}}}",
					   "{\"auths\":{\"r.e\":{\"auth\":\"bm9jb2xvbg==\"}}}" };
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *login = NULL;

		assert_ok(registry_auth_find(SPAN(file), rows[i].host, rows[i].name, &login, &e), &e);
		assert_true(rows[i].want ? login && strcmp(login, rows[i].want) == 0 : !login);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_free_ char *login = NULL;

		assert_int_equal(registry_auth_find(SPAN(bad[i]), "r.e", "a", &login, &e), -ERR_AUTH_FILE);
	}
}

static void locations(void **state)
{
	static const struct {
		const char *base, *text, *want;
		bool same;
	} rows[] = {
		{ "https://r.e", "/v2/a/uploads/1?x=y", "https://r.e/v2/a/uploads/1?x=y", true },
		{ "https://r.e", "https://r.e/v2/1", "https://r.e/v2/1", true },
		{ "https://r.e", "https://r.e.evil/v2/1", "https://r.e.evil/v2/1", false },
		{ "https://r.e", "https://store.e/1", "https://store.e/1", false },
		{ "http://r.e", "http://r.e/1", "http://r.e/1", true },
		{ "https://r.e", "http://r.e/1", NULL, false },
		{ "https://r.e", "file:///etc/passwd", NULL, false },
		{ "https://r.e", "//evil.e/1", NULL, false },
		{ "https://r.e", "", NULL, false },
		{ "https://r.e", "/a b", NULL, false },
	};
	uint64_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *url = NULL;
		bool same = false;
		int r = registry_location(rows[i].base, SPAN(rows[i].text), &url, &same);

		if (!rows[i].want) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(url, rows[i].want);
		assert_int_equal(same, rows[i].same);
	}
	assert_int_equal(registry_range_end(SPAN("0-99"), &n), 0);
	assert_int_equal(n, 100);
	assert_int_equal(registry_range_end(SPAN("bytes=0-9"), &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(registry_range_end(SPAN("0-0"), &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(registry_range_end(SPAN("5-9"), &n), -EINVAL);
	assert_int_equal(registry_range_end(SPAN("x"), &n), -EINVAL);
}

/* -- against a server -- */

#define BLOB "twenty-three bytes here"

static struct registry *open_at(const struct httpd *h, struct registry_ref *ref)
{
	const struct registry_options o = {
		.plain_http = true, .attempts = 2, .backoff_ms = 1, .auth_file = "/dev/null"
	};
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct registry *r = NULL;
	char text[64];

	snprintf(text, sizeof(text), "127.0.0.1:%d/a:t", h->port);
	assert_ok(registry_ref_parse(text, ref, &e), &e);
	assert_int_equal(registry_open(ref, &o, &r, &e),
			 -ERR_AUTH_FILE); /* named, and it is no credentials file */
	return r;
}

static struct registry *open_plain(const struct httpd *h, struct registry_ref *ref)
{
	const struct registry_options o = { .plain_http = true, .attempts = 2, .backoff_ms = 1 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct registry *r = NULL;
	char text[64];

	snprintf(text, sizeof(text), "127.0.0.1:%d/a:t", h->port);
	assert_ok(registry_ref_parse(text, ref, &e), &e);
	assert_ok(registry_open(ref, &o, &r, &e), &e);
	return r;
}

static void digests(void **state)
{
	char hex[65], blob_path[128], other_path[128], other[65];
	uint8_t raw[32];
	struct httpd h;
	struct registry *r;
	struct registry_ref ref = { 0 }, again = { 0 };
	_cleanup_(err_done) struct err e = ERR_INIT;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(sha256_bytes(BLOB, strlen(BLOB), raw), 0);
	hex_encode(raw, 32, hex);
	memset(other, '0', 64);
	other[64] = '\0';
	snprintf(blob_path, sizeof(blob_path), "/v2/a/blobs/sha256:%s", hex);
	snprintf(other_path, sizeof(other_path), "/v2/a/blobs/sha256:%s", other);
	struct httpd_path paths[] = {
		{ .path = blob_path,
		  .body = BLOB,
		  .len = strlen(BLOB),
		  .faults = HTTPD_STATUS,
		  .status = 503,
		  .fail_first = 1 },
		{ .path = other_path, .body = BLOB, .len = strlen(BLOB) },
		{ .path = "/v2/a/manifests/t", .body = "{}", .len = 2 },
		{ .path = "/v2/a/manifests/gone",
		  .body = "",
		  .len = 0,
		  .faults = HTTPD_STATUS,
		  .status = 401 },
	};
	httpd_start(&h, paths, ARRAY_LEN(paths));
	assert_null(open_at(&h, &again));
	registry_ref_done(&again);
	r = open_plain(&h, &ref);

	/* Unavailable once, then there; under another's digest refused; larger than allowed refused. */
	assert_ok(registry_blob_read(r, hex, 100, &text, &len, &e), &e);
	assert_int_equal(len, strlen(BLOB));
	assert_int_equal(paths[0].requests, 2);
	freep(&text);
	assert_int_equal(registry_blob_read(r, other, 100, &text, &len, &e), -ERR_FETCH_DIGEST);
	assert_null(text);
	assert_int_equal(registry_blob_read(r, hex, 10, &text, &len, &e), -ERR_TOO_LARGE);
	assert_ok(registry_manifest_get(r, "t", 100, &text, &len, &e), &e);
	freep(&text);
	assert_int_equal(registry_manifest_get(r, "none", 100, &text, &len, &e), -ERR_REGISTRY_ABSENT);
	assert_int_equal(registry_manifest_get(r, "gone", 100, &text, &len, &e), -ERR_REGISTRY_DENIED);
	assert_null(text);
	registry_freep(&r);
	registry_ref_done(&ref);
	httpd_stop(&h);
}

TEST_MAIN(cmocka_unit_test(references), cmocka_unit_test(challenges), cmocka_unit_test(credentials),
	  cmocka_unit_test(locations), cmocka_unit_test(digests))
