/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages for people who watch. A library never writes to a descriptor itself: it calls log_msg(), and the
 * command line decides with log_setup() where that goes (nowhere until then). */
#pragma once

#include "cleanup.h"
#include "strbuf.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR_LEVEL, LOG_WARN_LEVEL, LOG_INFO_LEVEL, LOG_DEBUG_LEVEL };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_config {
	int fd; /* borrowed, e.g. 2; -1 = no messages there */
	int info_fd; /* borrowed; what is no warning goes there instead; 0 = to fd */
	int file_fd; /* borrowed log file, -1 = none; gets every level, never colour */
	enum log_level level; /* highest level shown on fd */
	enum log_format format; /* JSON: one object per line: time, level, message */
	bool colour;
};

void log_setup(const struct log_config *c);
/* What is no warning goes to info_fd as well, the rest to fd; both borrowed, until the next log_setup(). -1 = nowhere else. */
void log_also(int info_fd, int fd);
/* A role's own log file (borrowed), for which nobody asked: every message goes there as "2026-01-02 03:04:05 [INFO] component:
 * text", or as JSON, until the next log_setup(). Nothing changes when there is a log file. */
void log_role(int file_fd, const char *component);
/* How a piece of a role's work ended, to its log file alone: "[SUCCESS]" or "[FATAL]". */
void log_outcome(bool is_success, const char *fmt, ...) _printf_(2, 3);
/* Show at least this much from now on. */
void log_raise(enum log_level level);
/* Appends text with everything in it replaced that could steer a terminal. */
void log_clean(struct strbuf *out, const char *text);
void log_msg(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_msg(LOG_ERROR_LEVEL, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_WARN_LEVEL, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_INFO_LEVEL, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG_LEVEL, __VA_ARGS__)

/* Progress of one long piece of work. On a terminal one line with bytes, percent and remaining time,
 * redrawn at most ten times a second; otherwise a plain line at the start, each 25 % and the end.
 * progress_update() is cheap and may be called for every block, from one thread at a time. */
struct progress {
	const char *what; /* borrowed; what is being done, e.g. "extracting" */
	uint64_t total_bytes; /* 0 = unknown */
	uint64_t done_bytes;
	uint64_t started_ns, drawn_ns;
	int shown_quarter;
};

void progress_begin(struct progress *p, const char *what, uint64_t total_bytes);
void progress_update(struct progress *p, uint64_t done_bytes);
void progress_end(struct progress *p);

enum progress_mode { PROGRESS_AUTO, PROGRESS_BAR, PROGRESS_PLAIN, PROGRESS_NONE };
void progress_setup(enum progress_mode mode);
