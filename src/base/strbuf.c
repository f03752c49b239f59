/* SPDX-License-Identifier: Apache-2.0 */
#include "strbuf.h"

#include <errno.h>
#include <string.h>

void strbuf_done(struct strbuf *b)
{
	free(b->buf);
	b->buf = NULL;
	b->len = b->cap = 0;
	b->error = 0;
}

void strbuf_reset(struct strbuf *b)
{
	b->len = 0;
	b->error = 0;
	if (b->buf)
		b->buf[0] = '\0';
}

/* Room for `more` bytes and the NUL. */
static int reserve(struct strbuf *b, size_t more)
{
	size_t need, cap = b->cap ? b->cap : 64;
	char *grown;

	if (b->error < 0)
		return b->error;
	if (more > b->max || b->len > b->max - more)
		return b->error = -E2BIG;
	if (__builtin_add_overflow(b->len + more, 1, &need))
		return b->error = -E2BIG;
	if (need <= b->cap)
		return 0;
	while (cap < need)
		if (__builtin_mul_overflow(cap, 2, &cap))
			cap = need;
	grown = realloc(b->buf, cap);
	if (!grown)
		return b->error = -ENOMEM;
	b->buf = grown;
	b->cap = cap;
	return 0;
}

int strbuf_append(struct strbuf *b, const void *bytes, size_t len)
{
	int r = reserve(b, len);

	if (r < 0)
		return r;
	if (len)
		memcpy(b->buf + b->len, bytes, len);
	b->len += len;
	b->buf[b->len] = '\0';
	return 0;
}

int strbuf_puts(struct strbuf *b, const char *s)
{
	return strbuf_append(b, s, strlen(s));
}

int strbuf_putc(struct strbuf *b, char c)
{
	return strbuf_append(b, &c, 1);
}

int strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n, r;

	if (b->error < 0)
		return b->error;
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return b->error = -errno;
	r = reserve(b, (size_t)n);
	if (r < 0)
		return r;
	(void)vsnprintf(b->buf + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
	return 0;
}

int strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = strbuf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

int strbuf_error(const struct strbuf *b)
{
	return b->error;
}

const char *strbuf_str(const struct strbuf *b)
{
	return b->buf ? b->buf : "";
}

int strbuf_steal(struct strbuf *b, char **ret)
{
	int r = reserve(b, 0);

	if (r < 0)
		return r;
	b->buf[b->len] = '\0';
	*ret = TAKE_PTR(b->buf);
	b->len = b->cap = 0;
	return 0;
}

char *str_vprintf(const char *fmt, va_list ap)
{
	char *s = NULL;

	return vasprintf(&s, fmt, ap) < 0 ? NULL : s;
}

char *str_printf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = str_vprintf(fmt, ap);
	va_end(ap);
	return s;
}

void strv_freep(char ***v)
{
	for (char **p = *v; p && *p; p++)
		free(*p);
	free(*v);
	*v = NULL;
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

int strv_push(char ***v, const char *s)
{
	_cleanup_free_ char *copy = strdup(s);
	size_t n = strv_len(*v);
	char **grown;

	if (!copy)
		return -ENOMEM;
	grown = reallocarray(*v, n + 2, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*v = grown;
	grown[n] = TAKE_PTR(copy);
	grown[n + 1] = NULL;
	return 0;
}

bool strv_contains(char *const *v, const char *s)
{
	for (; v && *v; v++)
		if (strcmp(*v, s) == 0)
			return true;
	return false;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(char **v)
{
	size_t n = strv_len(v);

	if (n > 1)
		qsort(v, n, sizeof(*v), by_bytes);
}
