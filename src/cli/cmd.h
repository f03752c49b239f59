/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A verb: one const table from which parsing, --help, the man page and the shell completions are all made
 * (tools/gendoc.c prints the latter two). One verb per file: cmd-<verb>.c. */

#include "engine.h"
#include "err.h"

#include "strbuf.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

struct app {
	struct engine *engine; /* owned; host, store, offline …; opened before run() unless CMD_NO_ENGINE */
	const char *root; /* --root, default "/" */
	const char *store_path; /* --store, else NVDRIVER_STORE, else /var/lib/nvdriver */
	bool dry_run, json, offline, yes;
	int verbose, quiet;
	const char *log_file, *log_format, *color, *progress;
	bool help;
	int log_fd; /* owned; --log-file once open */
	char *own_store; /* owned; what the verb's default_store() said */
	bool entrypoint; /* under a vendor's name: what happens is said on stdout, what fails on stderr */
	const struct lxc_settings *lxc_settings; /* borrowed: section [lxc] of the configuration file */
	const struct container_defaults *container_defaults; /* borrowed: section [container] of it */
};

/* One option; its value lands at `offset` of the verb's own zeroed struct. */
enum opt_type {
	OPT_FLAG, /* bool */
	OPT_COUNT, /* int, one more each time */
	OPT_STRING, /* const char *, borrowed from argv */
	OPT_LIST, /* char **, strv, one more each time; freed by the caller of run() */
	OPT_U64, /* uint64_t */
	OPT_DURATION, /* unsigned seconds */
};

struct opt {
	const char *name; /* "kernel" */
	char short_name; /* 0 = none */
	const char *arg; /* "RELEASE"; NULL for OPT_FLAG and OPT_COUNT */
	const char *help; /* one sentence, lower case, no full stop */
	enum opt_type type;
	size_t offset;
	const char *completion; /* "file", "dir", or the words "proprietary open auto"; NULL = none */
	bool hidden; /* an accepted spelling, not documented */
};

enum cmd_flags {
	CMD_NO_ENGINE = 1, /* works on files alone: no store, no host, no recover */
	CMD_STORE_READ = 2, /* a store that does not exist yet is fine: engine->store is NULL then */
	CMD_HIDDEN = 4,
};

struct cmd {
	const char *name; /* "prepare" */
	const char *sub; /* "info" for `runfile info`; NULL for plain verbs */
	const char *summary; /* one line for lists, lower case, no full stop */
	const char *args; /* "FILE", "[VERSION]", … as shown; NULL = none */
	int min_args, max_args; /* max -1 = any */
	const char *description; /* paragraphs separated by blank lines */
	const char *examples; /* lines "command\n  what it does\n"; NULL = none */
	const struct opt *options; /* ends with name NULL; may be NULL */
	size_t opts_size; /* a zeroed block of this size is given to run() */
	unsigned flags;
	/* Where the store is unless somebody says (caller frees, NULL without memory); NULL = /var/lib/nvdriver. */
	char *(*default_store)(const struct app *app, const void *opts);
	/* 0, or a negative code stored in e, or a positive exit status to use as it is (10 for findings). */
	int (*run)(struct app *app, void *opts, int argc, char **argv, struct err *e);
};

extern const struct cmd *const cmd_table[]; /* cmd-table.c; ends with NULL */
extern const struct opt app_options[]; /* common to every verb; offsets into struct app */

/* The whole program behind one argument vector: finds the verb, parses, opens, runs, reports. Returns the exit status. */
int app_main(int argc, char **argv);
/* The same under a vendor's name: steps are said on stdout, and any failure is exit status 1. */
int app_entrypoint(int argc, char **argv);

/* Results go to stdout: text, or one JSON object with "schema": "nvdriver.<command>/1" added. out_json() steals
 * the object and returns 0, or -errno stored in nothing (stdout is gone). */
int out_json(const char *command, json_t *object);
void out_text(const char *fmt, ...) _printf_(1, 2);

/* cmd-help.c: the help of one verb, or of the program (NULL), wrapped at 80 columns. */
int help_print(const struct cmd *cmd, struct strbuf *out);
int help_group(const char *name, struct strbuf *out); /* all verbs of a two-level name ("runfile") */
