/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Questions to the person: answered by the answers file, else by --yes, else on the terminal, else by their safe answer.
 * Without a terminal nothing ever waits. Only the command line prints; it lends its prompt. */

#include "err.h"
#include "strbuf.h"

#include <jansson.h>
#include <stdbool.h>

struct asker {
	const json_t *answers; /* borrowed; object of key → true, false, text or number; NULL = none */
	bool yes; /* --yes */
	/* Prints the text and reads a line; NULL = there is no terminal. End of input is an empty answer. */
	int (*prompt)(const char *text, char **ret, void *arg);
	void *arg;
};

/* Every key an answers file may have, with what it answers; ends with key NULL. */
struct ask_key {
	const char *key, *meaning;
};
extern const struct ask_key ask_keys[];

/* 0, or -ERR_CONFIG naming the first key that is not among ask_keys. */
int ask_check_answers(const json_t *answers, struct err *e);

/* 1 yes, 0 no, negative error. with_yes: what --yes answers; without any answer it is no. On the terminal y and Y are
 * yes, all else is no. */
int ask_yes(const struct asker *a, const char *key, bool with_yes, const char *fmt, ...) _printf_(4, 5);

/* Text; an empty answer, --yes and no terminal all give the fallback. *ret caller frees. */
int ask_text(const struct asker *a, const char *key, const char *fallback, char **ret, const char *fmt, ...)
    _printf_(5, 6);
