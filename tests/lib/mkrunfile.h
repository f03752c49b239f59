/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tiny driver packages, whole and broken, made inside a test. */

#include "testlib.h"

#include "header.h"
#include "strbuf.h"

#include <stdint.h>

/* ---- the archive, member by member ---- */

struct mktar {
	const char *name, *link;
	char type; /* '0' when 0 */
	const void *bytes;
	size_t len;
	unsigned mode; /* 0644 when 0 */
	const char *size_field; /* 12 raw bytes instead of the real size */
	bool bad_checksum;
};

void mktar_add(struct strbuf *tar, const struct mktar *m);
void mktar_file(struct strbuf *tar, const char *name, const char *text);
void mktar_end(struct strbuf *tar);
/* One extended header record "<n> key=value\n" as a member of type x. */
void mktar_pax(struct strbuf *tar, const char *key, const char *value);
void mktar_minimal(struct strbuf *tar); /* .manifest and two files, ended */

extern const char mk_manifest[];

/* ---- the package ---- */

struct mkrun {
	enum compression compression;
	bool decompressor; /* embed one full of LF and NUL */
	const char *label, *targetdir, *version;
	int skip_off, size_off; /* added to the right values */
	bool bad_crc, bad_md5, zero_md5;
	size_t cut; /* bytes of the compressed payload to lose, sums made for what is left */
	const char *trailing; /* text after the payload, covered by the sums */
	size_t trailing_len;
	size_t stuffing; /* bytes of comment before the first assignment */
};

/* The file's bytes; caller frees. */
char *mkrun_make(const struct strbuf *tar, const struct mkrun *o, size_t *ret_len);
/* Written to <dir>/<name>. */
void mkrun_write(const struct testdir *t, const char *name, const struct strbuf *tar, const struct mkrun *o);
/* Compress bytes in any format of enum compression; caller frees. */
char *mk_compress(enum compression c, const void *bytes, size_t len, size_t *ret_len);
