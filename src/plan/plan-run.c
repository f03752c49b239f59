/* SPDX-License-Identifier: Apache-2.0
 *
 * External programs of operations, with the log that tells afterwards what they did. */
#include "plan.h"

#include "fd.h"
#include "log.h"
#include "parse.h"
#include "recorded.h"
#include "spawn.h"

#include <string.h>
#include <time.h>

#define LINE_MAX ((size_t)64 << 10)

static void put_time(struct strbuf *b)
{
	time_t now = time(NULL);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)strbuf_puts(b, text);
}

/* A log that cannot be written stops nothing. */
static void write_line(const struct plan_ctx *c, struct strbuf *b)
{
	(void)strbuf_putc(b, '\n');
	if (c->log_fd >= 0 && strbuf_error(b) >= 0)
		(void)write_all(c->log_fd, strbuf_str(b), b->len);
}

static void log_begin(const struct plan_ctx *c, const struct spawn *s)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(LINE_MAX);

	put_time(&b);
	(void)strbuf_puts(&b, " run");
	for (char **word = s->argv; word && *word; word++)
		(void)strbuf_printf(&b, " %s", *word);
	write_line(c, &b);
}

static void log_end(const struct plan_ctx *c, const struct spawn *s, int r, const struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(LINE_MAX);

	put_time(&b);
	if (r < 0)
		(void)strbuf_printf(&b, " not run to its end: %s", e && e->reason ? e->reason : strerror(-r));
	else
		(void)strbuf_printf(&b, " status %d", s->status);
	write_line(c, &b);
}

static int run(const struct plan_ctx *c, struct spawn *s, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(LINE_MAX);
	int r;

	if (!recorded_is(c->host))
		return spawn_run(s, e);
	for (char **word = s->argv; word && *word; word++)
		if (strbuf_printf(&line, " %s", *word) < 0)
			break;
	log_debug("%s:%s", s->what, strbuf_str(&line));
	r = recorded_run(c->host, s, e);
	if (r >= 0 && c->log_fd >= 0 && s->out)
		(void)write_all(c->log_fd, s->out, s->out_len);
	return r;
}

/* For the role's log, which outlives a transaction that is taken back. */
static void tell(const struct spawn *s)
{
	struct span rest = SPAN(s->tail ? s->tail : ""), line;

	while (span_line(&rest, &line))
		log_debug("%s: " SPAN_FMT, s->what, SPAN_ARG(line));
	log_debug("%s: status %d", s->what, s->status);
}

int plan_run(const struct plan_ctx *c, struct spawn *s, struct err *e)
{
	int r;

	s->log_fd = c->log_fd;
	log_begin(c, s);
	r = run(c, s, e);
	log_end(c, s, r, e);
	if (r >= 0)
		tell(s);
	return r;
}
