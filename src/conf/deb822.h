/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Stanzas of "Key: value" lines with continuation lines, as in Debian control files, package indexes and Release
 * files. One stanza at a time and without copying, so an index of a hundred megabytes costs its own bytes only. */

#include "err.h"
#include "parse.h"
#include "strbuf.h"

struct deb822_field {
	struct span key;
	struct span raw; /* all after the colon, with the continuation lines, without the last LF */
};

struct deb822_stanza {
	struct deb822_field *fields; /* owned; the spans are borrowed from the text */
	size_t n, cap;
	unsigned line; /* of its first field */
};

#define DEB822_FIELDS_MAX 256

void deb822_stanza_done(struct deb822_stanza *s);

struct deb822_reader {
	struct span rest;
	unsigned line; /* lines consumed so far */
};
#define DEB822_READER(text)                                                                                  \
	{                                                                                                    \
		(text), 0                                                                                    \
	}

/* Next stanza into *s (reused; initialise with zeros). 1: got one, 0: end of the text, -ERR_FORMAT: a line that is
 * neither, a repeated key, a stray continuation, too many fields. Comment lines ("#") are skipped. */
int deb822_next(struct deb822_reader *r, struct deb822_stanza *s, struct err *e);

/* Keys compare without regard to ASCII case. NULL: absent. */
const struct deb822_field *deb822_find(const struct deb822_stanza *s, const char *key);

/* First line of a value, trimmed; SPAN_NULL when the key is absent. */
struct span deb822_value(const struct deb822_stanza *s, const char *key);

/* The whole value: lines joined with LF, the one blank that marks a continuation taken off, blanks at line ends too;
 * caller frees. */
char *deb822_text(const struct deb822_field *f);

/* Writes the stanza and an empty line; parsing that gives the same keys and texts. */
int deb822_emit(const struct deb822_stanza *s, struct strbuf *out);
