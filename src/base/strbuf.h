/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A growable byte buffer with a ceiling set at birth. The first failure (-ENOMEM, or -E2BIG at the ceiling)
 * sticks: later appends do nothing, and strbuf_error() or strbuf_steal() report it, so a run of appends is
 * checked once. Always NUL-terminated one past `len`. */

#include "cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdarg.h>

struct strbuf {
	char *buf; /* owned; NULL while empty */
	size_t len, cap, max;
	int error;
};

#define STRBUF_INIT(max_bytes)                                                                               \
	{                                                                                                    \
		NULL, 0, 0, (max_bytes), 0                                                                   \
	}
#define STRBUF_TEXT_MAX ((size_t)16 << 20)

void strbuf_done(struct strbuf *b);
void strbuf_reset(struct strbuf *b); /* empty again, memory kept, error cleared */
int strbuf_append(struct strbuf *b, const void *bytes, size_t len);
int strbuf_puts(struct strbuf *b, const char *s);
int strbuf_putc(struct strbuf *b, char c);
int strbuf_printf(struct strbuf *b, const char *fmt, ...) _printf_(2, 3);
int strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap) _printf_(2, 0);
int strbuf_error(const struct strbuf *b);
const char *strbuf_str(const struct strbuf *b); /* "" while empty; borrowed */
int strbuf_steal(struct strbuf *b, char **ret); /* hands the string over, or returns the sticky error */

/* asprintf without the trap: NULL on failure. */
char *str_printf(const char *fmt, ...) _printf_(1, 2);
char *str_vprintf(const char *fmt, va_list ap) _printf_(1, 0);

/* NULL-terminated vectors of owned strings. */
void strv_freep(char ***v);
size_t strv_len(char *const *v);
int strv_push(char ***v, const char *s); /* copies s */
bool strv_contains(char *const *v, const char *s);
void strv_sort(char **v);

#define _cleanup_strv_ _cleanup_(strv_freep)
