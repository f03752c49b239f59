/* SPDX-License-Identifier: Apache-2.0
 *
 * A kernel carries itself compressed behind a small loader, whose format names neither where nor how reliably. Each
 * place that begins like a compressed stream is tried; a wrong guess fails within a block. */
#include "kimage.h"

#include "fd.h"
#include "interrupt.h"
#include "parse.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <string.h>

#define IMAGE_MAX	((size_t)256 << 20)
#define UNPACKED_MAX	((size_t)1 << 30)
#define BANNER_MAX	1024u
#define BLOCK		((size_t)1 << 20)
#define ATTEMPTS_MAX	64u
#define ZBOOT_HEAD_SIZE 64u

static const char prefix[] = "Linux version ";

/* The text from `at` up to its LF when it is a banner of the wanted kernel. */
static bool banner_at(struct span at, const char *release, struct span *ret)
{
	size_t n = strlen(prefix), limit = at.len < BANNER_MAX ? at.len : BANNER_MAX, end = 0;

	while (end < limit && isprint((unsigned char)at.p[end]))
		end++;
	if (end == limit || at.p[end] != '\n' || end < n + 2)
		return false;
	*ret = (struct span){ at.p, end };
	if (!release)
		return true;
	at = (struct span){ at.p + n, end - n };
	return span_starts(at, release) && at.len > strlen(release) && at.p[strlen(release)] == ' ';
}

/* "… #1 SMP …" is what is printed. */
static bool is_numbered(struct span banner)
{
	const char *hash = memrchr(banner.p, '#', banner.len);

	return hash && hash + 1 < banner.p + banner.len && isdigit((unsigned char)hash[1]);
}

struct candidates {
	char *numbered, *other; /* owned */
};

static void candidates_done(struct candidates *c)
{
	free(c->numbered);
	free(c->other);
}

static int collect(struct span bytes, const char *release, struct candidates *c)
{
	const char *at;

	while (!c->numbered && (at = memmem(bytes.p, bytes.len, prefix, strlen(prefix)))) {
		struct span here = { at, bytes.len - (size_t)(at - bytes.p) }, banner;

		if (banner_at(here, release, &banner)) {
			char **to = is_numbered(banner) ? &c->numbered : &c->other;

			if (!*to && !(*to = span_dup(banner)))
				return -ENOMEM;
		}
		bytes = (struct span){ at + 1, here.len - 1 };
	}
	return 0;
}

static int choose(struct candidates *c, char **ret)
{
	char **best = c->numbered ? &c->numbered : &c->other;

	if (!*best)
		return -ENOENT;
	*ret = TAKE_PTR(*best);
	return 0;
}

int kimage_find_banner(const void *bytes, size_t len, const char *release, char **ret)
{
	_cleanup_(candidates_done) struct candidates c = { 0 };
	int r = collect((struct span){ bytes, len }, release, &c);

	return r < 0 ? r : choose(&c, ret);
}

/* -- compressed parts -- */

static struct archive *reader_new(void)
{
	struct archive *a = archive_read_new();

	if (!a)
		return NULL;
	(void)archive_read_support_filter_gzip(a);
	(void)archive_read_support_filter_xz(a);
	(void)archive_read_support_filter_lzma(a);
	(void)archive_read_support_filter_bzip2(a);
	(void)archive_read_support_filter_zstd(a);
	(void)archive_read_support_filter_lz4(a);
	(void)archive_read_support_filter_lzop(a);
	(void)archive_read_support_format_raw(a);
	return a;
}

/* What follows the stream in the image is not part of it and ends the reading with an error: what came before counts. */
static int search_stream(struct archive *a, const char *release, struct candidates *c)
{
	_cleanup_free_ char *buf = malloc(BANNER_MAX + BLOCK);
	struct archive_entry *en;
	size_t kept = 0, total = 0;

	if (!buf)
		return -ENOMEM;
	if (archive_read_next_header(a, &en) != ARCHIVE_OK || archive_filter_count(a) < 2)
		return 0;
	while (!c->numbered && total < UNPACKED_MAX && !interrupt_pending()) {
		la_ssize_t n = archive_read_data(a, buf + kept, BLOCK);
		int r;

		if (n <= 0)
			return 0;
		total += (size_t)n;
		r = collect((struct span){ buf, kept + (size_t)n }, release, c);
		if (r < 0)
			return r;
		/* A banner may lie across the end of the block. */
		kept += (size_t)n;
		if (kept > BANNER_MAX) {
			memmove(buf, buf + kept - BANNER_MAX, BANNER_MAX);
			kept = BANNER_MAX;
		}
	}
	return 0;
}

static int search_compressed(struct span part, const char *release, struct candidates *c)
{
	struct archive *a = reader_new();
	int r = 0;

	if (!a)
		return -ENOMEM;
	if (archive_read_open_memory(a, part.p, part.len) == ARCHIVE_OK)
		r = search_stream(a, release, c);
	(void)archive_read_free(a);
	return r;
}

/* "MZ", 2 bytes, "zimg", then offset and size of the payload. */
static bool zboot_payload(struct span image, struct span *ret)
{
	uint32_t at, size;

	if (image.len < ZBOOT_HEAD_SIZE || memcmp(image.p, "MZ", 2) != 0 ||
	    memcmp(image.p + 4, "zimg", 4) != 0)
		return false;
	memcpy(&at, image.p + 8, sizeof(at));
	memcpy(&size, image.p + 12, sizeof(size));
	at = le32toh(at);
	size = le32toh(size);
	if (at > image.len || size > image.len - at)
		return false;
	*ret = (struct span){ image.p + at, size };
	return true;
}

static const struct magic {
	const char *bytes;
	size_t len;
} magics[] = {
	{ "\x1f\x8b\x08", 3 },
	{ "\xfd"
	  "7zXZ",
	  6 },
	{ "\x28\xb5\x2f\xfd", 4 },
	{ "\x02\x21\x4c\x18", 4 },
	{ "BZh", 3 },
	{ "\x5d\x00\x00", 3 },
	{ "\x89LZO", 4 },
};

static int search_magic(struct span image, const struct magic *m, const char *release, struct candidates *c)
{
	struct span rest = image;
	const char *at;
	int r = 0;

	for (unsigned i = 0; r == 0 && !c->numbered && i < ATTEMPTS_MAX && !interrupt_pending(); i++) {
		at = memmem(rest.p, rest.len, m->bytes, m->len);
		if (!at)
			break;
		rest = (struct span){ at, rest.len - (size_t)(at - rest.p) };
		r = search_compressed(rest, release, c);
		rest = (struct span){ at + 1, rest.len - 1 };
	}
	return r;
}

static int search_image(struct span image, const char *release, struct candidates *c)
{
	struct span payload;
	int r = collect(image, release, c);

	if (r == 0 && !c->numbered && zboot_payload(image, &payload))
		r = search_compressed(payload, release, c);
	for (size_t i = 0; r == 0 && !c->numbered && i < ARRAY_LEN(magics); i++)
		r = search_magic(image, &magics[i], release, c);
	return r;
}

int kimage_banner(int fd, const char *label, const char *release, char **ret, struct err *e)
{
	_cleanup_(candidates_done) struct candidates c = { 0 };
	_cleanup_free_ char *bytes = NULL;
	size_t len;
	int r = read_fd(fd, IMAGE_MAX, &bytes, &len);

	if (r < 0)
		return err_errno(e, r, "reading %s", label);
	r = search_image((struct span){ bytes, len }, release, &c);
	if (r == 0)
		r = interrupt_check(e);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return r;
	r = choose(&c, ret);
	if (r == 0)
		return 0;
	(void)err_set(e, ERR_KIMAGE, "%s holds no version line%s%s", label, release ? " of " : "",
		      release ? release : "");
	return err_object(e, "%s", label);
}
