/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Strict parsers over bytes somebody else wrote: pointer and length, a ceiling on everything, no locale, no
 * leading blanks or signs, no trailing rubbish. All return 0 or -EINVAL / -ERANGE; outputs untouched on failure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *p; /* borrowed */
	size_t len;
};

#define SPAN(s)	    ((struct span){ (s), strlen(s) })
#define SPAN_NULL   ((struct span){ NULL, 0 })
#define SPAN_FMT    "%.*s"
#define SPAN_ARG(s) (int)((s).len > 512 ? 512 : (s).len), (s).p

bool span_eq(struct span a, const char *s);
bool span_starts(struct span a, const char *prefix);
bool span_ends(struct span a, const char *suffix);
struct span span_trim(struct span a); /* blanks, tabs, CR, LF at both ends */
bool span_line(struct span *rest, struct span *ret_line); /* next line without its LF; false at the end */
bool span_word(struct span *rest, struct span *ret_word); /* next run of non-blanks; false at the end */
char *span_dup(struct span a); /* NUL-terminated copy or NULL */

int parse_u64(struct span s, uint64_t max, uint64_t *ret); /* decimal */
int parse_hex64(struct span s, uint64_t max, uint64_t *ret); /* with or without 0x */
int parse_octal(struct span s, uint32_t max, uint32_t *ret);
int parse_bool(struct span s, bool *ret); /* yes/no, true/false, on/off, 1/0 */
int parse_size(struct span s, uint64_t *ret_bytes); /* 10, 10K, 10M, 10G, 10T (powers of 1024) */
int parse_duration(struct span s, unsigned *ret_s); /* 90, 90s, 5m, 2h */
int parse_hexbytes(struct span s, uint8_t *out, size_t n); /* exactly 2n hex digits */
void hex_encode(const uint8_t *bytes, size_t n, char *out); /* lower case, out has 2n + 1 */

/* Driver version: digits and dots, 2 to 4 groups (535.261.03). */
bool version_is_valid(const char *s);
int version_compare(const char *a, const char *b); /* -1, 0, 1 by numeric groups; a missing group is lower */

/* A name usable as one path component in our own trees: [A-Za-z0-9._+:~-], not ".", "..", 1–255 bytes. */
bool name_is_safe(const char *s);
