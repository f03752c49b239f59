/* SPDX-License-Identifier: Apache-2.0
 *
 * From an argument vector to an exit status: find the verb, fill its options from its table, open host and store,
 * run it, and report the result or the one error. */
#include "cmd.h"
#include "config.h"
#include "fd.h"
#include "log.h"
#include "lxc-ops.h"
#include "parse.h"
#include "vgpu-ops.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#define DEFAULT_STORE	       "/var/lib/nvdriver"
#define OPTIONS_MAX	       64
#define DEFAULT_LOCK_TIMEOUT_S 3600

#define COMMON(field) offsetof(struct app, field)
const struct opt app_options[] = {
	{ "root", 0, "DIR", "the machine to read facts from and to change, instead of the running one",
	  OPT_STRING, COMMON(root), "dir", false },
	{ "store", 0, "DIR", "driver store (default: NVDRIVER_STORE, else " DEFAULT_STORE ")", OPT_STRING,
	  COMMON(store_path), "dir", false },
	{ "dry-run", 'n', NULL, "show what would be done and change nothing", OPT_FLAG, COMMON(dry_run), NULL,
	  false },
	{ "json", 0, NULL, "print the result as one JSON object", OPT_FLAG, COMMON(json), NULL, false },
	{ "offline", 0, NULL, "make any use of the network an error", OPT_FLAG, COMMON(offline), NULL,
	  false },
	{ "yes", 'y', NULL, "answer every question with yes", OPT_FLAG, COMMON(yes), NULL, false },
	{ "verbose", 'v', NULL, "say more; twice for everything", OPT_COUNT, COMMON(verbose), NULL, false },
	{ "quiet", 'q', NULL, "say less; only warnings and errors, twice only errors", OPT_COUNT,
	  COMMON(quiet), NULL, false },
	{ "log-file", 0, "FILE", "append every message to FILE as well", OPT_STRING, COMMON(log_file), "file",
	  false },
	{ "log-format", 0, "FORMAT", "text or json lines on stderr", OPT_STRING, COMMON(log_format),
	  "text json", false },
	{ "color", 0, "WHEN", "auto, always or never; NO_COLOR is honoured", OPT_STRING, COMMON(color),
	  "auto always never", false },
	{ "progress", 0, "HOW", "auto, bar, plain or none", OPT_STRING, COMMON(progress),
	  "auto bar plain none", false },
	{ "help", 'h', NULL, "show this help", OPT_FLAG, COMMON(help), NULL, false },
	{ 0 },
};

void out_text(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stdout, fmt, ap);
	va_end(ap);
}

int out_json(const char *command, json_t *object)
{
	char schema[96];
	int r;

	snprintf(schema, sizeof(schema), "nvdriver.%s/1", command);
	r = json_object_set_new(object, "schema", json_string(schema));
	if (r == 0)
		r = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	(void)fputc('\n', stdout);
	json_decref(object);
	return r < 0 ? -EIO : 0;
}

static int opt_store(const struct opt *o, void *base, const char *value, struct err *e)
{
	char *at = (char *)base + o->offset;
	unsigned seconds;
	uint64_t u;
	int r;

	switch (o->type) {
	case OPT_FLAG:
		*(bool *)at = true;
		return 0;
	case OPT_COUNT:
		(*(int *)at)++;
		return 0;
	case OPT_STRING:
		*(const char **)at = value;
		return 0;
	case OPT_LIST:
		r = strv_push((char ***)at, value);
		return r < 0 ? err_oom(e) : 0;
	case OPT_U64:
		if (parse_u64(SPAN(value), UINT64_MAX, &u) < 0)
			return err_set(e, ERR_USAGE, "--%s takes a whole number, not '%s'", o->name, value);
		*(uint64_t *)at = u;
		return 0;
	case OPT_DURATION:
		if (parse_duration(SPAN(value), &seconds) < 0)
			return err_set(e, ERR_USAGE, "--%s takes a time such as 90, 5m or 2h, not '%s'",
				       o->name, value);
		*(unsigned *)at = seconds;
		return 0;
	}
	return 0;
}

/* getopt's tables, made of the common options and the verb's; `val` is the index into `from` plus 256. */
struct opt_set {
	struct option longs[OPTIONS_MAX + 1];
	const struct opt *from[OPTIONS_MAX];
	void *base[OPTIONS_MAX];
	char shorts[2 * OPTIONS_MAX + 3];
	size_t n;
};

static void opt_set_add(struct opt_set *s, const struct opt *options, void *base)
{
	for (const struct opt *o = options; o && o->name && s->n < OPTIONS_MAX; o++) {
		bool has_arg = o->type != OPT_FLAG && o->type != OPT_COUNT;

		s->longs[s->n] = (struct option){ o->name, has_arg, NULL, 256 + (int)s->n };
		s->from[s->n] = o;
		s->base[s->n] = base;
		if (o->short_name) {
			size_t l = strlen(s->shorts);

			s->shorts[l] = o->short_name;
			s->shorts[l + 1] = has_arg ? ':' : '\0';
			s->shorts[l + 2] = '\0';
		}
		s->n++;
	}
}

static const struct opt *opt_set_find(const struct opt_set *s, int val, void **ret_base)
{
	for (size_t i = 0; i < s->n; i++)
		if (val == 256 + (int)i || (val < 256 && s->from[i]->short_name == val)) {
			*ret_base = s->base[i];
			return s->from[i];
		}
	return NULL;
}

/* Parses until the end, or with stop_at_word until the first argument that is no option. Returns its index. */
static int opt_set_parse(struct opt_set *s, int argc, char **argv, struct err *e)
{
	int c;

	optind = 0; /* glibc: start afresh */
	opterr = 0;
	while ((c = getopt_long(argc, argv, s->shorts, s->longs, NULL)) != -1) {
		const struct opt *o;
		void *base;
		int r;

		if (c == '?' && optopt > 0 && optopt < 256)
			return err_set(e, ERR_USAGE, "unknown option -%c", optopt);
		if (c == '?')
			return err_set(e, ERR_USAGE, "option %s is unknown, ambiguous, or takes no value",
				       argv[optind - 1]);
		if (c == ':')
			return err_set(e, ERR_USAGE, "option %s needs a value", argv[optind - 1]);
		o = opt_set_find(s, c, &base);
		r = o ? opt_store(o, base, optarg, e) : 0;
		if (r < 0)
			return r;
	}
	return optind;
}

static const struct cmd *cmd_find(const char *name, const char *sub)
{
	for (size_t i = 0; cmd_table[i]; i++) {
		const struct cmd *c = cmd_table[i];

		if (strcmp(c->name, name) == 0 && (!c->sub || (sub && strcmp(c->sub, sub) == 0)))
			return c;
	}
	return NULL;
}

static bool cmd_is_group(const char *name)
{
	for (size_t i = 0; cmd_table[i]; i++)
		if (cmd_table[i]->sub && strcmp(cmd_table[i]->name, name) == 0)
			return true;
	return false;
}

static int choose(const char *option, const char *value, const char *const *words, int *ret, struct err *e)
{
	*ret = 0;
	if (!value)
		return 0;
	for (int i = 0; words[i]; i++)
		if (strcmp(value, words[i]) == 0) {
			*ret = i;
			return 0;
		}
	return err_set(e, ERR_USAGE, "--%s does not know '%s'", option, value);
}

static int app_setup_output(struct app *app, struct err *e)
{
	static const char *const colours[] = { "auto", "always", "never", NULL };
	static const char *const formats[] = { "text", "json", NULL };
	static const char *const modes[] = { "auto", "bar", "plain", "none", NULL };
	struct log_config c = { .fd = STDERR_FILENO,
				.info_fd = app->entrypoint ? STDOUT_FILENO : 0,
				.file_fd = -1 };
	int colour = 0, format = 0, mode = 0, level = LOG_INFO_LEVEL + app->verbose - app->quiet;
	const char *no_colour = getenv("NO_COLOR");
	int r;

	r = choose("color", app->color, colours, &colour, e);
	if (r == 0)
		r = choose("log-format", app->log_format, formats, &format, e);
	if (r == 0)
		r = choose("progress", app->progress, modes, &mode, e);
	if (r < 0)
		return r;
	c.level = level < LOG_ERROR_LEVEL   ? LOG_ERROR_LEVEL
		  : level > LOG_DEBUG_LEVEL ? LOG_DEBUG_LEVEL
					    : level;
	c.format = format == 1 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	c.colour = colour == 1 || (colour == 0 && isatty(STDERR_FILENO) && !(no_colour && *no_colour));
	if (app->log_file && app->log_fd < 0) {
		app->log_fd =
		    open(app->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
		if (app->log_fd < 0)
			return err_errno(e, -errno, "cannot open log file %s", app->log_file);
	}
	c.file_fd = app->log_fd;
	log_setup(&c);
	progress_setup(app->quiet ? PROGRESS_NONE : (enum progress_mode)mode);
	return 0;
}

static void prefer(const char **option, const char *configured)
{
	if (!*option)
		*option = configured;
}

/* Fills what the command line left open: first from the environment, then from the configuration file. */
static int app_configure(struct app *app, const struct cmd *cmd, const void *opts, struct config *c,
			 struct err *e)
{
	const char *store = getenv("NVDRIVER_STORE");
	int r = config_load(app->root, c, e);

	if (r < 0)
		return r;
	prefer(&app->store_path, store && *store ? store : NULL);
	prefer(&app->store_path, c->store);
	if (!app->store_path && cmd->default_store) {
		app->own_store = cmd->default_store(app, opts);
		if (!app->own_store)
			return err_oom(e);
		prefer(&app->store_path, app->own_store);
	}
	prefer(&app->store_path, DEFAULT_STORE);
	prefer(&app->log_file, c->log_file);
	prefer(&app->log_format, c->log_format);
	prefer(&app->color, c->color);
	prefer(&app->progress, c->progress);
	app->offline |= c->offline;
	return 0;
}

static int app_open_engine(struct app *app, const struct cmd *cmd, const struct config *config, struct err *e)
{
	unsigned flags = 0;
	int r;

	if (cmd->flags & CMD_NO_ENGINE)
		return 0;
	if ((cmd->flags & CMD_STORE_READ) || app->dry_run)
		flags |= ENGINE_STORE_OPTIONAL;
	else
		flags |= ENGINE_STORE_CREATE;
	/* Journals may name the roles' operations: known before the first is read. */
	if (lxc_register_ops() < 0 || vgpu_register_ops() < 0)
		return err_oom(e);
	app->lxc_settings = &config->lxc;
	app->container_defaults = &config->container;
	r = engine_open(app->root, app->store_path, flags, &app->engine, e);
	if (r < 0)
		return r;
	app->engine->fetch_proxy = config->fetch_proxy;
	app->engine->fetch_attempts = config->fetch_attempts;
	app->engine->lock_timeout_s =
	    config->lock_timeout_s ? config->lock_timeout_s : DEFAULT_LOCK_TIMEOUT_S;
	app->engine->offline = app->offline;
	app->engine->dry_run = app->dry_run;
	return 0;
}

static void report_json(const struct err *e)
{
	json_t *o = json_pack("{s:{s:s,s:s?,s:s,s:s,s:s}}", "error", "slug", err_slug(e->code), "object",
			      e->object, "reason", e->reason ? e->reason : err_sentence(e->code), "sentence",
			      err_sentence(e->code), "next_step", e->next ? e->next : err_next_step(e->code));

	if (o)
		(void)out_json("error", o);
}

static int report(const struct app *app, const char *verb, const struct err *e)
{
	const char *reason = e->reason ? e->reason : err_sentence(e->code);
	const char *object = e->object && !strstr(reason, e->object) ? e->object : NULL;

	if (app->json)
		report_json(e);
	log_error("%s: %s%s%s\n  next: %s [%s]", verb, object ? object : "", object ? ": " : "", reason,
		  e->next ? e->next : err_next_step(e->code), err_slug(e->code));
	return app->entrypoint ? 1 : err_exit_status(e->code);
}

static int print_help(int (*make)(const struct cmd *, struct strbuf *), const struct cmd *cmd)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);

	if (make(cmd, &out) < 0)
		return 1;
	out_text("%s", strbuf_str(&out));
	return 0;
}

static int print_group(const char *name)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(STRBUF_TEXT_MAX);

	if (help_group(name, &out) < 0)
		return 1;
	out_text("%s", strbuf_str(&out));
	return 0;
}

static void opts_done(const struct cmd *cmd, void *opts)
{
	for (const struct opt *o = cmd->options; o && o->name; o++)
		if (o->type == OPT_LIST)
			strv_freep((char ***)((char *)opts + o->offset));
	free(opts);
}

/* Records and JSON hold names as text, so one that is none is refused before anything is done. */
static int words_check(int argc, char **argv, struct err *e)
{
	for (int i = 0; i < argc; i++) {
		json_auto_t *text = json_string(argv[i]);

		if (!text)
			return err_set(e, ERR_NAME_NOT_TEXT, "word %d of the command line is not UTF-8", i);
	}
	return 0;
}

/* argv[0] is the verb's last word. */
static int app_run(struct app *app, const struct cmd *cmd, int argc, char **argv)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct opt_set set = { .shorts = ":" };
	char verb[64], **given = argv;
	const int words = argc;
	void *opts;
	_cleanup_(config_done) struct config config = { 0 };
	int r, n;

	snprintf(verb, sizeof(verb), "%s%s%s", cmd->name, cmd->sub ? " " : "", cmd->sub ? cmd->sub : "");
	opts = calloc(1, cmd->opts_size ? cmd->opts_size : 1);
	if (!opts)
		return report(app, verb, (err_oom(&e), &e));
	opt_set_add(&set, cmd->options, opts);
	opt_set_add(&set, app_options, app);
	r = opt_set_parse(&set, argc, argv, &e);
	n = r < 0 ? 0 : argc - r;
	if (r >= 0 && app->help) {
		opts_done(cmd, opts);
		return print_help(help_print, cmd);
	}
	if (r >= 0 && (n < cmd->min_args || (cmd->max_args >= 0 && n > cmd->max_args)))
		r = err_set(&e, ERR_USAGE, n < cmd->min_args ? "needs %s" : "takes %s, not more",
			    cmd->args ? cmd->args : "no arguments");
	argv += r < 0 ? 0 : r;
	if (r >= 0)
		r = words_check(words, given, &e);
	if (r >= 0)
		r = app_configure(app, cmd, opts, &config, &e);
	if (r >= 0)
		r = app_setup_output(app, &e);
	if (r >= 0)
		r = app_open_engine(app, cmd, &config, &e);
	if (r >= 0)
		r = cmd->run(app, opts, n, argv, &e);
	engine_freep(&app->engine);
	opts_done(cmd, opts);
	if (r < 0) {
		if (err_exit_status(r) == 2 && !e.next)
			(void)err_next(&e, "nvdriver %s --help", verb);
		r = report(app, verb, &e);
	}
	return r;
}

static int usage_error(const struct app *app, const char *fmt, const char *word)
{
	_cleanup_(err_done) struct err e = ERR_INIT;

	(void)err_set(&e, ERR_USAGE, fmt, word);
	(void)err_next(&e, "nvdriver --help lists the commands");
	return report(app, "nvdriver", &e);
}

static int dispatch(struct app *app, int argc, char **argv)
{
	const struct cmd *cmd;

	if (argc == 0)
		return app->help ? print_help(help_print, NULL) : usage_error(app, "no command given%s", "");
	cmd = cmd_find(argv[0], argc > 1 ? argv[1] : NULL);
	if (cmd)
		return app_run(app, cmd, argc - !!cmd->sub, argv + !!cmd->sub);
	if (!cmd_is_group(argv[0]))
		return usage_error(app, "unknown command '%s'", argv[0]);
	if (argc > 1 && argv[1][0] != '-')
		return usage_error(app, "unknown command after it: '%s'", argv[1]);
	return print_group(argv[0]);
}

static int app_main_as(int argc, char **argv, bool entrypoint)
{
	_cleanup_(err_done) struct err e = ERR_INIT;
	struct app app = { .root = "/", .log_fd = -EBADF, .entrypoint = entrypoint };
	struct opt_set set = { .shorts = "+:" };
	int at;

	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		out_text("nvdriver %s\n", NVDRIVER_VERSION);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	log_setup(&(struct log_config){ .fd = STDERR_FILENO, .file_fd = -1, .level = LOG_INFO_LEVEL });
	opt_set_add(&set, app_options, &app);
	at = opt_set_parse(&set, argc, argv, &e);
	if (at >= 0 && app_setup_output(&app, &e) < 0)
		at = -1;
	at = at < 0 ? report(&app, "nvdriver", &e) : dispatch(&app, argc - at, argv + at);
	/* A result that did not reach its reader is a failure. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && at == 0)
		at = 1;
	log_setup(&(struct log_config){ .fd = -1, .file_fd = -1 });
	close_fdp(&app.log_fd);
	free(app.own_store);
	return at;
}

int app_main(int argc, char **argv)
{
	return app_main_as(argc, argv, false);
}

int app_entrypoint(int argc, char **argv)
{
	return app_main_as(argc, argv, true);
}
