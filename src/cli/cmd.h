/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A verb: one const table from which parsing, --help, the man page and the shell completions are all made
 * (tools/gendoc.c prints the latter two). One verb per file: cmd-<verb>.c. */

#include "engine.h"
#include "err.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

struct app {
	struct engine *engine;          /* host, store, offline …; opened before run() unless CMD_NO_ENGINE */
	const char *root;               /* --root, default "/" */
	const char *store_path;
	bool dry_run, json, offline, yes;
	int verbosity;                  /* -v/-q */
	char *log_file, *log_format;
	const char *color, *progress;
};

/* An option value was seen; `opts` is the verb's own struct. */
struct opt {
	const char *name;               /* "kernel" */
	char short_name;                /* 0 = none */
	const char *arg;                /* "RELEASE"; NULL = flag */
	const char *help;               /* one sentence, lower case, no full stop */
	enum { OPT_FLAG, OPT_STRING, OPT_U64, OPT_LIST, OPT_DURATION } type; /* bool, const char *, uint64_t, char ** (strv), unsigned */
	size_t offset;                  /* into opts */
	const char *completion;         /* "file", "dir", "proprietary open auto", NULL */
	bool hidden;                    /* accepted spelling, not documented */
};

enum cmd_flags {
	CMD_NO_ENGINE = 1,              /* works on files alone: no store, no host, no recover */
	CMD_STORE_READ = 2,             /* opens the store only if it exists; creates nothing */
	CMD_HIDDEN = 4,
};

struct cmd {
	const char *name;               /* "prepare"; second level "runfile info" is { "runfile", sub = "info" } */
	const char *sub;                /* NULL for plain verbs */
	const char *summary;            /* one line for lists */
	const char *args;               /* "FILE", "[VERSION]", … as shown */
	int min_args, max_args;         /* max -1 = any */
	const char *description;        /* paragraphs separated by blank lines; man page and --help */
	const char *examples;           /* lines "command\n  what it does\n" */
	const struct opt *options;      /* ends with name NULL */
	size_t opts_size;               /* zeroed block of this size is given to run() */
	unsigned flags;
	/* Returns 0, or a negative code stored in e. A positive value is an exit status to use as it is (10 for findings). */
	int (*run)(struct app *app, void *opts, int argc, char **argv, struct err *e);
};

extern const struct cmd *const cmd_table[]; /* cmd-table.c; ends with NULL */

/* Results: text to stdout, or one JSON object with "schema": "nvdriver.<command>/1" added. */
int out_json(struct app *app, const char *command, json_t *object /* stolen */);
void out_text(const char *fmt, ...) _printf_(1, 2);
