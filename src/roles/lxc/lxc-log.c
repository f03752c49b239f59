/* SPDX-License-Identifier: Apache-2.0 */
#include "lxc-log.h"

#include "fd.h"
#include "log.h"
#include "parse.h"
#include "path.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

#define PHOENIX	    "usr/local/phoenix_hypervisor"
#define PHOENIX_LOG "var/log/phoenix_hypervisor.log"
#define LOG_DIR	    "var/log/nvdriver"
#define ENTRY_MAX   ((size_t)32 << 20)
#define TAIL_LINES  50

int lxc_log_open(const struct host *h)
{
	return path_open_append(h->root_fd,
				path_exists(h->root_fd, PHOENIX) ? PHOENIX_LOG : LOG_DIR "/lxc.log", 0640);
}

static void begin(struct strbuf *out, int64_t time_s, const char *level, const char *id)
{
	time_t t = (time_t)time_s;
	char text[32] = "";
	struct tm tm;

	if (localtime_r(&t, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	(void)strbuf_printf(out, "%s [%s] lxc-%s: ", text, level, id);
}

static size_t count_lines(struct span text)
{
	struct span line;
	size_t n = 0;

	while (span_line(&text, &line))
		n++;
	return n;
}

int lxc_log_text(const char *id, const struct lxc_exec *x, int r, uint64_t ms, int64_t time_s,
		 struct strbuf *out)
{
	bool failed = r < 0 || x->status != 0;
	struct span rest = { x->out ? x->out : "", x->out ? x->out_len : 0 }, line;
	size_t left = count_lines(rest);

	begin(out, time_s, failed ? "ERROR" : "INFO", id);
	(void)strbuf_printf(out, "%s:", x->what);
	for (char *const *p = x->argv; p && *p; p++) {
		(void)strbuf_putc(out, ' ');
		log_clean(out, *p);
	}
	if (r < 0)
		(void)strbuf_printf(out, " - not run to its end, %llu ms\n", (unsigned long long)ms);
	else
		(void)strbuf_printf(out, " - status %d, %llu ms\n", x->status, (unsigned long long)ms);
	for (; span_line(&rest, &line); left--) {
		_cleanup_free_ char *one = span_dup(line);

		begin(out, time_s, failed && left <= TAIL_LINES ? "ERROR" : "DEBUG", id);
		log_clean(out, one ? one : "?");
		(void)strbuf_putc(out, '\n');
	}
	return strbuf_error(out);
}

void lxc_log_command(const struct host *h, const char *id, const struct lxc_exec *x, int r, uint64_t ms)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(ENTRY_MAX);
	_cleanup_free_ char *path = name_is_safe(id) ? str_printf(LOG_DIR "/lxc-%s.log", id) : NULL;
	_cleanup_close_ int fd = path ? path_open_append(h->root_fd, path, 0640) : -EBADF;

	if (fd >= 0 && lxc_log_text(id, x, r, ms, time(NULL), &text) >= 0)
		(void)write_all(fd, strbuf_str(&text), text.len);
}
