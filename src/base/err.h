/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One error object for everything that knows what the user asked.
 *
 * Thin wrappers (level 1) return -errno and stay silent. Functions that know the request (level 2)
 * take `struct err *e` last (NULL allowed) and return the same negative code they stored: either
 * -errno or -ERR_xxx. Domain codes start above errno and are listed once, in errcodes.def (those of
 * one role in errcodes-<role>.def, err-<role>.h), with their slug, exit status, sentence and next
 * step. With a NULL object the chaining calls return the code this thread stored last, so
 * `return err_wrap(e, ...)` stays a failure. */

#include "cleanup.h"

#include <errno.h>
#include <stdbool.h>

enum err_code {
	ERR_FIRST = 4096,
#define E(symbol, slug, exit_status, sentence, next_step) ERR_##symbol,
#include "errcodes.def"
#undef E
	ERR_END
};

struct err {
	int code; /* positive errno or enum err_code; 0 = no error */
	char *object; /* owned; the thing it failed on (path, URL, module, …), may be NULL */
	char *reason; /* owned; specific text, context already prepended; NULL after out-of-memory */
	char *next; /* owned; overrides the table's next step, may be NULL */
};

#define ERR_INIT                                                                                             \
	{                                                                                                    \
		0, NULL, NULL, NULL                                                                          \
	}

void err_done(struct err *e); /* frees and resets; NULL allowed */

/* Store a domain or errno code (given positive or negative) with a reason; an earlier content is replaced.
 * Returns the negative code. */
int err_set(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);

/* Store -errno `r` with "<fmt>: <strerror>". Returns r (negative). */
int err_errno(struct err *e, int r, const char *fmt, ...) _printf_(3, 4);

/* Prepend "<fmt>: " to the stored reason. Returns the stored negative code. */
int err_wrap(struct err *e, const char *fmt, ...) _printf_(2, 3);

/* Name the object, or replace the next step. Both return the stored negative code, so they chain:
 * return err_object(e, "%s", path); */
int err_object(struct err *e, const char *fmt, ...) _printf_(2, 3);
int err_next(struct err *e, const char *fmt, ...) _printf_(2, 3);

/* Give the stored error another code (the caller knows better what the failure means), keeping its texts. Returns the new
 * negative code. */
int err_recode(struct err *e, int code);

int err_oom(struct err *e); /* returns -ENOMEM */

/* Move an error (for example out of a worker thread). */
void err_move(struct err *to, struct err *from);

/* Table look-ups for any positive or negative code, domain or errno; never NULL. */
const char *err_slug(int code);
const char *err_sentence(int code);
const char *err_next_step(int code);
int err_exit_status(int code);

/* The i-th table row (0-based) for documentation and tests; NULL past the end. */
struct err_row {
	int code;
	const char *symbol, *slug, *sentence, *next_step;
	int exit_status;
};
const struct err_row *err_row(size_t i);
/* The same for what the system itself answers (errno): several rows share a slug and the sentence may be NULL, it is
 * strerror()'s then. The last row is the one for everything not named. */
const struct err_row *err_system_row(size_t i);
