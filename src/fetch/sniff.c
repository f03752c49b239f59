/* SPDX-License-Identifier: Apache-2.0
 *
 * What a few bytes or an address say about themselves. */
#include "fetch.h"

#include "parse.h"
#include "strbuf.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* -- first bytes -- */

static bool head_starts(const uint8_t *head, size_t len, const char *magic, size_t magic_len)
{
	return len >= magic_len && memcmp(head, magic, magic_len) == 0;
}

static const struct {
	const char *magic;
	size_t len;
	enum fetch_kind kind;
} magics[] = {
	{ "#! /bin/sh", 10, FETCH_RUNFILE },
	{ "#!/bin/sh", 9, FETCH_RUNFILE },
	{ "!<arch>\ndebian", 14, FETCH_DEB },
	{ "\xed\xab\xee\xdb", 4, FETCH_RPM },
};

static bool looks_like_page(const char *p, size_t len)
{
	static const char *const begins[] = { "<!doctype", "<html", "<head", "<body", "<?xml", "<!--" };

	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		if (len >= strlen(begins[i]) && strncasecmp(p, begins[i], strlen(begins[i])) == 0)
			return true;
	return false;
}

static const char *describe(const uint8_t *head, size_t len)
{
	size_t i = len >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	while (i < len && isspace(head[i]))
		i++;
	if (looks_like_page((const char *)head + i, len - i))
		return "a web page";
	if (i < len && (head[i] == '{' || head[i] == '['))
		return "a JSON document";
	if (head_starts(head, len, "PK\003\004", 4))
		return "a zip archive";
	for (i = 0; i < len; i++)
		if (head[i] < 0x09 || (head[i] > 0x0d && head[i] < 0x20) || head[i] >= 0x7f)
			return "data";
	return len ? "text" : "nothing";
}

enum fetch_kind fetch_sniff(const void *head, size_t len, const char **ret_text)
{
	for (size_t i = 0; i < ARRAY_LEN(magics); i++)
		if (head_starts(head, len, magics[i].magic, magics[i].len)) {
			if (ret_text)
				*ret_text = "a driver package";
			return magics[i].kind;
		}
	if (ret_text)
		*ret_text = describe(head, len);
	return FETCH_ANY;
}

bool fetch_kind_fits(enum fetch_kind want, const void *head, size_t len, const char **ret_looks)
{
	enum fetch_kind found = fetch_sniff(head, len, ret_looks);

	if (want == FETCH_ZIP)
		return head_starts(head, len, "PK\003\004", 4);
	return want == FETCH_ANY || found == want || (want == FETCH_PACKAGE && found != FETCH_ANY);
}

/* -- addresses -- */

static bool url_bytes_ok(const char *url)
{
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			return false;
	return strlen(url) <= 4096;
}

bool fetch_url_is_valid(const char *url)
{
	const char *host, *end;

	if (!url || !url_bytes_ok(url))
		return false;
	if (strncasecmp(url, "file:///", 8) == 0)
		return true;
	if (strncasecmp(url, "https://", 8) == 0)
		host = url + 8;
	else if (strncasecmp(url, "http://", 7) == 0)
		host = url + 7;
	else
		return false;
	end = host + strcspn(host, "/?#");
	/* A password in an address would end up in records and messages. */
	return end > host && *host != ':' && !memchr(host, '@', (size_t)(end - host));
}

static int percent_decode(struct span s, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++, n++) {
		uint64_t c = (unsigned char)s.p[i];

		if (n + 1 >= size)
			return -EINVAL;
		if (s.p[i] == '%') {
			if (s.len - i < 3 || !isxdigit((unsigned char)s.p[i + 1]) ||
			    !isxdigit((unsigned char)s.p[i + 2]) ||
			    parse_hex64((struct span){ s.p + i + 1, 2 }, 255, &c) < 0)
				return -EINVAL;
			i += 2;
		}
		out[n] = (char)c;
		if (!c)
			return -EINVAL;
	}
	out[n] = '\0';
	return 0;
}

int fetch_url_name(const char *url, char **ret)
{
	char name[256], *copy;
	const char *path, *end, *last;

	if (!fetch_url_is_valid(url))
		return -EINVAL;
	path = strstr(url, "://") + 3;
	path += strcspn(path, "/?#");
	end = path + strcspn(path, "?#");
	for (last = end; last > path && last[-1] != '/';)
		last--;
	if (percent_decode((struct span){ last, (size_t)(end - last) }, name, sizeof(name)) < 0 ||
	    !name_is_safe(name))
		return -EINVAL;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

/* -- digest lists -- */

static bool sums_name_is(struct span rest, const char *name)
{
	struct span word = span_trim(rest);
	const char *base;

	if (word.len && word.p[0] == '*')
		word = (struct span){ word.p + 1, word.len - 1 };
	base = word.len ? memrchr(word.p, '/', word.len) : NULL;
	if (base)
		word = (struct span){ base + 1, word.len - (size_t)(base + 1 - word.p) };
	return word.len == 0 || span_eq(word, name);
}

int fetch_parse_sums(const char *text, size_t len, const char *name, char ret_sha256[65])
{
	struct span rest = { text, len }, line, hex;
	uint8_t bytes[32];
	bool any = false;

	while (span_line(&rest, &line)) {
		struct span more = span_trim(line);

		if (!more.len || more.p[0] == '#')
			continue;
		if (!span_word(&more, &hex) || parse_hexbytes(hex, bytes, sizeof(bytes)) < 0)
			return -EINVAL;
		any = true;
		if (sums_name_is(more, name)) {
			hex_encode(bytes, sizeof(bytes), ret_sha256);
			return 0;
		}
	}
	return any ? -ENOENT : -EINVAL;
}
