/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "fd.h"
#include "strbuf.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#define MESSAGE_MAX ((size_t)64 << 10)
#define REDRAW_NS   100000000u
#define BAR_CELLS   20

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct log_config config = { .fd = -1, .file_fd = -1, .level = LOG_INFO_LEVEL };
static int also_info_fd = -1, also_fd = -1;
static const char *role; /* component named in file_fd's lines; NULL = the plain form */
static enum progress_mode progress_mode = PROGRESS_AUTO;
static bool bar_is_shown; /* the cursor stands in a progress line */

static const struct {
	const char *name, *prefix, *colour;
} levels[] = {
	[LOG_ERROR_LEVEL] = { "error", "error: ", "\033[1;31m" },
	[LOG_WARN_LEVEL] = { "warning", "warning: ", "\033[1;33m" },
	[LOG_INFO_LEVEL] = { "info", "", "" },
	[LOG_DEBUG_LEVEL] = { "debug", "debug: ", "\033[2m" },
};

void log_setup(const struct log_config *c)
{
	pthread_mutex_lock(&mutex);
	config = *c;
	also_info_fd = also_fd = -1;
	role = NULL;
	pthread_mutex_unlock(&mutex);
}

void log_also(int info_fd, int fd)
{
	pthread_mutex_lock(&mutex);
	also_info_fd = info_fd;
	also_fd = fd;
	pthread_mutex_unlock(&mutex);
}

void log_role(int file_fd, const char *component)
{
	pthread_mutex_lock(&mutex);
	if (config.file_fd < 0) {
		config.file_fd = file_fd;
		role = component;
	}
	pthread_mutex_unlock(&mutex);
}

static void add_time(struct strbuf *b)
{
	time_t now = time(NULL);
	char text[32];
	struct tm tm;

	if (gmtime_r(&now, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		(void)strbuf_puts(b, text);
}

/* Length of the well-formed UTF-8 sequence at p, 0 if there is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0x80			 ? 1
		   : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		   : (p[0] & 0xf0) == 0xe0	 ? 3
		   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF; C1 controls reach a terminal too. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90) || (p[0] == 0xc2 && p[1] < 0xa0))
		return 0;
	return n;
}

/* Messages quote names from archives and other people's output: nothing in them may steer a terminal or break
 * a JSON line. */
static void add_clean(struct strbuf *b, const char *s, bool json)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t left = strlen(s);

	while (left > 0) {
		size_t n = utf8_len(p, left);

		if (n == 0) {
			(void)strbuf_puts(b, json ? "\\ufffd" : "?");
			n = 1;
		} else if (json && (*p == '"' || *p == '\\')) {
			(void)strbuf_printf(b, "\\%c", *p);
		} else if (*p >= 0x20 && *p != 0x7f) {
			(void)strbuf_append(b, p, n);
		} else if (json) {
			(void)strbuf_printf(b, "\\u%04x", *p);
		} else {
			(void)strbuf_putc(b, *p == '\n' || *p == '\t' ? (char)*p : '?');
		}
		p += n;
		left -= n;
	}
}

void log_clean(struct strbuf *out, const char *text)
{
	add_clean(out, text, false);
}

static void write_line(int fd, const struct strbuf *line)
{
	if (strbuf_error(line) == 0)
		(void)write_all(fd, line->buf, line->len);
}

static void write_json(int fd, enum log_level level, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(8 * MESSAGE_MAX);

	(void)strbuf_puts(&line, "{\"time\":\"");
	add_time(&line);
	(void)strbuf_printf(&line, "\",\"level\":\"%s\",\"message\":\"", levels[level].name);
	add_clean(&line, text, true);
	(void)strbuf_puts(&line, "\"}\n");
	write_line(fd, &line);
}

static void write_text(int fd, enum log_level level, const char *text)
{
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(2 * MESSAGE_MAX);
	const char *colour = config.colour ? levels[level].colour : "";

	if (bar_is_shown)
		(void)strbuf_puts(&line, "\r\033[K");
	bar_is_shown = false;
	(void)strbuf_printf(&line, "%s%s%s", colour, levels[level].prefix, *colour ? "\033[0m" : "");
	add_clean(&line, text, false);
	(void)strbuf_putc(&line, '\n');
	write_line(fd, &line);
}

static void add_role(struct strbuf *line, const char *level)
{
	time_t now = time(NULL);
	char text[32] = "";
	struct tm tm;

	if (localtime_r(&now, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	(void)strbuf_printf(line, "%s [%s] %s: ", text, level, role);
}

static void write_file_text(int fd, enum log_level level, const char *text)
{
	static const char *const names[] = { "ERROR", "WARN", "INFO", "DEBUG" };
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(2 * MESSAGE_MAX);

	if (role)
		add_role(&line, names[level]);
	else {
		add_time(&line);
		(void)strbuf_printf(&line, " %s ", levels[level].name);
	}
	add_clean(&line, text, false);
	(void)strbuf_putc(&line, '\n');
	write_line(fd, &line);
}

void log_outcome(bool is_success, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(MESSAGE_MAX),
					     line = STRBUF_INIT(2 * MESSAGE_MAX);
	va_list ap;

	pthread_mutex_lock(&mutex);
	if (role && config.file_fd >= 0) {
		va_start(ap, fmt);
		(void)strbuf_vprintf(&text, fmt, ap);
		va_end(ap);
		if (config.format == LOG_FORMAT_JSON)
			write_json(config.file_fd, is_success ? LOG_INFO_LEVEL : LOG_ERROR_LEVEL,
				   strbuf_str(&text));
		else {
			add_role(&line, is_success ? "SUCCESS" : "FATAL");
			add_clean(&line, strbuf_str(&text), false);
			(void)strbuf_putc(&line, '\n');
			write_line(config.file_fd, &line);
		}
	}
	pthread_mutex_unlock(&mutex);
}

void log_raise(enum log_level level)
{
	pthread_mutex_lock(&mutex);
	if (config.level < level)
		config.level = level;
	pthread_mutex_unlock(&mutex);
}

static int fd_of(enum log_level level)
{
	return config.info_fd > 0 && level >= LOG_INFO_LEVEL ? config.info_fd : config.fd;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(MESSAGE_MAX);
	int saved = errno;
	va_list ap;

	pthread_mutex_lock(&mutex);
	if ((config.fd >= 0 && level <= config.level) || config.file_fd >= 0) {
		va_start(ap, fmt);
		if (strbuf_vprintf(&text, fmt, ap) < 0)
			(void)(strbuf_reset(&text), strbuf_puts(&text, "(a message too long to show)"));
		va_end(ap);
		if (config.fd >= 0 && level <= config.level)
			(config.format == LOG_FORMAT_JSON ? write_json : write_text)(fd_of(level), level,
										     strbuf_str(&text));
		if (level <= config.level && (level >= LOG_INFO_LEVEL ? also_info_fd : also_fd) >= 0)
			write_text(level >= LOG_INFO_LEVEL ? also_info_fd : also_fd, level,
				   strbuf_str(&text));
		if (config.file_fd >= 0)
			(config.format == LOG_FORMAT_JSON ? write_json : write_file_text)(
			    config.file_fd, level, strbuf_str(&text));
	}
	pthread_mutex_unlock(&mutex);
	errno = saved;
}

void progress_setup(enum progress_mode mode)
{
	pthread_mutex_lock(&mutex);
	progress_mode = mode;
	pthread_mutex_unlock(&mutex);
}
static enum progress_mode effective_mode(void)
{
	if (config.fd < 0 || config.level < LOG_INFO_LEVEL)
		return PROGRESS_NONE;
	if (config.format == LOG_FORMAT_JSON && progress_mode != PROGRESS_NONE)
		return PROGRESS_PLAIN;
	if (progress_mode != PROGRESS_AUTO)
		return progress_mode;
	return isatty(config.fd) ? PROGRESS_BAR : PROGRESS_PLAIN;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void add_bytes(struct strbuf *b, uint64_t bytes)
{
	static const char units[][4] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && i + 1 < ARRAY_LEN(units)) {
		v /= 1024;
		i++;
	}
	(void)strbuf_printf(b, i ? "%.1f %s" : "%.0f %s", v, units[i]);
}

static unsigned percent(const struct progress *p)
{
	if (p->total_bytes == 0 || p->done_bytes >= p->total_bytes)
		return 100;
	return (unsigned)((double)p->done_bytes * 100 / (double)p->total_bytes);
}

static void add_bar(struct strbuf *b, const struct progress *p, uint64_t elapsed_ns)
{
	unsigned cells = percent(p) * BAR_CELLS / 100;
	double rate = (double)p->done_bytes / ((double)elapsed_ns / 1e9 + 1e-9);

	(void)strbuf_putc(b, '[');
	for (unsigned i = 0; i < BAR_CELLS; i++)
		(void)strbuf_putc(b, i < cells ? '#' : '.');
	(void)strbuf_printf(b, "] %3u %% ", percent(p));
	add_bytes(b, p->done_bytes);
	(void)strbuf_puts(b, " of ");
	add_bytes(b, p->total_bytes);
	if (p->done_bytes > 0 && p->done_bytes < p->total_bytes && elapsed_ns > 500000000u) {
		uint64_t left_s = (uint64_t)((double)(p->total_bytes - p->done_bytes) / rate + 0.5);

		(void)strbuf_printf(b, ", %" PRIu64 ":%02" PRIu64 " left", left_s / 60, left_s % 60);
	}
}

static void draw_bar(struct progress *p, uint64_t now)
{
	_cleanup_(strbuf_done) struct strbuf line = STRBUF_INIT(4096);

	(void)strbuf_puts(&line, "\r\033[K");
	add_clean(&line, p->what, false);
	(void)strbuf_putc(&line, ' ');
	if (p->total_bytes)
		add_bar(&line, p, now - p->started_ns);
	else
		add_bytes(&line, p->done_bytes);
	pthread_mutex_lock(&mutex);
	write_line(config.fd, &line);
	bar_is_shown = true;
	pthread_mutex_unlock(&mutex);
	p->drawn_ns = now;
}

/* A line of its own, or with a bar here only where log_also() says: there nobody sees the bar. */
static void say_line(enum progress_mode mode, const char *fmt, ...) _printf_(2, 3);
static void say_line(enum progress_mode mode, const char *fmt, ...)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(4096), line = STRBUF_INIT(2 * 4096);
	va_list ap;

	va_start(ap, fmt);
	(void)strbuf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (mode == PROGRESS_PLAIN) {
		log_info("%s", strbuf_str(&text));
		return;
	}
	add_clean(&line, strbuf_str(&text), false);
	(void)strbuf_putc(&line, '\n');
	pthread_mutex_lock(&mutex);
	if (also_info_fd >= 0)
		write_line(also_info_fd, &line);
	pthread_mutex_unlock(&mutex);
}

static void plain_line(enum progress_mode mode, const struct progress *p)
{
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(256);

	add_bytes(&b, p->done_bytes);
	say_line(mode, "%s: %s (%u %%)", p->what, strbuf_str(&b), percent(p));
}

void progress_begin(struct progress *p, const char *what, uint64_t total_bytes)
{
	*p = (struct progress){ .what = what, .total_bytes = total_bytes, .started_ns = now_ns() };
	if (effective_mode() != PROGRESS_NONE)
		say_line(effective_mode(), "%s ...", what);
}

void progress_update(struct progress *p, uint64_t done_bytes)
{
	enum progress_mode mode = effective_mode();
	uint64_t now;
	int quarter;

	p->done_bytes = done_bytes;
	if (mode == PROGRESS_BAR) {
		now = now_ns();
		if (p->drawn_ns == 0 || now - p->drawn_ns >= REDRAW_NS)
			draw_bar(p, now);
	}
	if (mode == PROGRESS_NONE || !p->total_bytes)
		return;
	quarter = (int)(percent(p) / 25);
	if (quarter > p->shown_quarter && quarter < 4) {
		p->shown_quarter = quarter;
		plain_line(mode, p);
	}
}

void progress_end(struct progress *p)
{
	enum progress_mode mode = effective_mode();
	_cleanup_(strbuf_done) struct strbuf b = STRBUF_INIT(256);

	if (mode == PROGRESS_BAR) {
		draw_bar(p, now_ns());
		pthread_mutex_lock(&mutex);
		(void)write_all(config.fd, "\n", 1);
		bar_is_shown = false;
		pthread_mutex_unlock(&mutex);
	}
	if (mode == PROGRESS_NONE)
		return;
	add_bytes(&b, p->done_bytes);
	say_line(mode, "%s: done, %s in %.1f s", p->what, strbuf_str(&b),
		 (double)(now_ns() - p->started_ns) / 1e9);
}
