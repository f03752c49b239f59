/* SPDX-License-Identifier: Apache-2.0
 *
 * Under the name "mkprecompiled": options, texts and exit statuses callers of the vendor's tool know. Kept as they are, oddities
 * included: --match answers 1 for "matches" and 0 for "does not". */
#include "compat.h"

#include "log.h"
#include "pack.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { STATUS_GOOD = 0, STATUS_FAILED = 1, STATUS_BROKEN = 2, STATUS_MATCHES = 1, STATUS_DIFFERS = 0 };

struct compat {
	int action; /* 'p', 'u', 'i', 'm'; 0 = none yet */
	const char *package, *directory, *proc;
	const char *version, *description, *proc_version;
	bool force, replace, help;
	struct pack_input inputs[PRECOMPILED_FILES_MAX];
	size_t n_inputs;
};

enum {
	OPTION_PROC = 256,
	OPTION_INTERFACE,
	OPTION_LINKED_NAME,
	OPTION_CORE_NAME,
	OPTION_LINKED,
	OPTION_SIGNED_MODULE,
	OPTION_MODULE,
	OPTION_SIGNED,
	OPTION_TARGET,
	OPTION_FORCE,
	OPTION_REPLACE,
};

static const struct option compat_options[] = {
	{ "pack", 1, NULL, 'p' },
	{ "unpack", 1, NULL, 'u' },
	{ "info", 1, NULL, 'i' },
	{ "match", 1, NULL, 'm' },
	{ "output-directory", 1, NULL, 'o' },
	{ "driver-version", 1, NULL, 'v' },
	{ "proc-version-string", 1, NULL, 'P' },
	{ "description", 1, NULL, 'd' },
	{ "help", 0, NULL, 'h' },
	{ "proc-mount-point", 1, NULL, OPTION_PROC },
	{ "kernel-interface", 1, NULL, OPTION_INTERFACE },
	{ "linked-module-name", 1, NULL, OPTION_LINKED_NAME },
	{ "core-object-name", 1, NULL, OPTION_CORE_NAME },
	{ "linked-module", 1, NULL, OPTION_LINKED },
	{ "signed-module", 1, NULL, OPTION_SIGNED_MODULE },
	{ "kernel-module", 1, NULL, OPTION_MODULE },
	{ "signed", 0, NULL, OPTION_SIGNED },
	{ "target-directory", 1, NULL, OPTION_TARGET },
	{ "force", 0, NULL, OPTION_FORCE },
	{ "replace", 0, NULL, OPTION_REPLACE },
	{ 0 },
};

static const char compat_help[] =
    "usage: mkprecompiled --pack FILE --driver-version V [FILE OPTIONS]...\n"
    "       mkprecompiled --unpack FILE [--output-directory DIR]\n"
    "       mkprecompiled --info FILE | --match FILE\n"
    "\n"
    "  -p, --pack FILE              make or extend a package\n"
    "  -u, --unpack FILE            write its files below --output-directory\n"
    "  -i, --info FILE              show what it holds\n"
    "  -m, --match FILE             compare it with the running kernel\n"
    "  -o, --output-directory DIR   default: .\n"
    "  -v, --driver-version V, -P, --proc-version-string S, -d, --description D\n"
    "      --proc-mount-point DIR   default: /proc\n"
    "      --kernel-interface F     then --linked-module-name N --core-object-name C\n"
    "                               [--linked-module L --signed-module S] [--target-directory T]\n"
    "      --kernel-module F        then [--signed] [--target-directory T]\n"
    "      --force, --replace       overwrite a file that is no package; replace records\n";

static int complain(const struct err *e)
{
	fprintf(stderr, "mkprecompiled: %s\n", e->reason ? e->reason : err_sentence(e->code));
	return STATUS_FAILED;
}

static int set_action(struct compat *c, int action, const char *file, struct err *e)
{
	if (c->action && c->action != action)
		return err_set(e, -ERR_USAGE,
			       "only one of --pack, --unpack, --info and --match can be done at once");
	c->action = action;
	c->package = file;
	return 0;
}

static int add_file(struct compat *c, enum precompiled_type type, const char *path, struct err *e)
{
	if (c->n_inputs == PRECOMPILED_FILES_MAX)
		return err_set(e, -ERR_USAGE, "more than %u files", PRECOMPILED_FILES_MAX);
	c->inputs[c->n_inputs++] = (struct pack_input){ .type = type, .path = path };
	return 0;
}

/* Options that describe the file named last. */
static int file_option(struct compat *c, int option, const char *value, struct err *e)
{
	struct pack_input *f = c->n_inputs ? &c->inputs[c->n_inputs - 1] : NULL;
	bool is_interface = f && f->type == PRECOMPILED_INTERFACE;
	struct {
		int option;
		const char **to;
	} texts[] = {
		{ OPTION_LINKED_NAME, f ? &f->linked_name : NULL },
		{ OPTION_CORE_NAME, f ? &f->core_name : NULL },
		{ OPTION_LINKED, f ? &f->linked_path : NULL },
		{ OPTION_SIGNED_MODULE, f ? &f->signed_path : NULL },
		{ OPTION_TARGET, f ? &f->target_dir : NULL },
	};

	if (!f)
		return err_set(e, -ERR_USAGE, "an option that describes a file comes before any file");
	if (option == OPTION_SIGNED) {
		f->is_signed = !is_interface; /* ignored for an interface, as ever */
		return 0;
	}
	if (!is_interface && option != OPTION_TARGET)
		return err_set(e, -ERR_USAGE, "%s is a whole module and takes no options of an interface",
			       f->path);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (texts[i].option == option)
			*texts[i].to = value;
	}
	return 0;
}

static int take_option(struct compat *c, int option, const char *value, struct err *e)
{
	struct {
		int option;
		const char **to;
	} texts[] = { { 'o', &c->directory },
		      { 'v', &c->version },
		      { 'P', &c->proc_version },
		      { 'd', &c->description },
		      { OPTION_PROC, &c->proc } };
	struct {
		int option;
		bool *to;
	} flags[] = { { 'h', &c->help }, { OPTION_FORCE, &c->force }, { OPTION_REPLACE, &c->replace } };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (texts[i].option == option) {
			*texts[i].to = value;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (flags[i].option == option) {
			*flags[i].to = true;
			return 0;
		}
	}
	if (option == OPTION_INTERFACE || option == OPTION_MODULE)
		return add_file(c, option == OPTION_MODULE ? PRECOMPILED_MODULE : PRECOMPILED_INTERFACE,
				value, e);
	if (option > OPTION_PROC)
		return file_option(c, option, value, e);
	return set_action(c, option, value, e);
}

static int parse(struct compat *c, int argc, char **argv, struct err *e)
{
	int option, r = 0;

	optind = 0; /* glibc: start afresh */
	opterr = 0;
	while (r >= 0 &&
	       (option = getopt_long_only(argc, argv, ":p:u:i:m:o:v:P:d:h", compat_options, NULL)) != -1) {
		if (option == '?')
			return err_set(e, -ERR_USAGE, "unknown option %s", argv[optind - 1]);
		if (option == ':')
			return err_set(e, -ERR_USAGE, "option %s needs a value", argv[optind - 1]);
		r = take_option(c, option, optarg, e);
	}
	if (r >= 0 && optind < argc)
		return err_set(e, -ERR_USAGE, "'%s' is not an option", argv[optind]);
	return r;
}

/* -- actions ---------------------------------------------------------------------------------------------- */

static int check_input(const struct pack_input *f, struct err *e)
{
	if (f->type == PRECOMPILED_INTERFACE && (!f->linked_name || !f->core_name))
		return err_set(e, -ERR_USAGE, "%s needs --linked-module-name and --core-object-name",
			       f->path);
	if (f->signed_path && !f->linked_path)
		return err_set(e, -ERR_USAGE, "--signed-module needs --linked-module");
	return 0;
}

static bool input_exists(const struct pack_input *f, struct err *e)
{
	const char *const paths[] = { f->path, f->linked_path, f->signed_path };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (paths[i] && access(paths[i], R_OK) < 0) {
			(void)err_set(e, -ENOENT, "cannot read %s", paths[i]);
			return false;
		}
	}
	return true;
}

static int do_pack(const struct compat *c, struct err *e)
{
	struct pack_request q = { .path = c->package,
				  .version = c->version,
				  .description = c->description,
				  .proc_version = c->proc_version,
				  .inputs = c->inputs,
				  .n_inputs = c->n_inputs,
				  .replace = c->replace,
				  .force = c->force };
	_cleanup_free_ char *banner = NULL;
	bool is_new = !pack_is_package(c->package);
	unsigned files;
	int r;

	if (is_new && !c->version) {
		(void)err_set(e, -ERR_USAGE, "a new package needs --driver-version");
		return complain(e);
	}
	for (size_t i = 0; i < c->n_inputs; i++) {
		if (check_input(&c->inputs[i], e) < 0)
			return complain(e);
		if (!input_exists(&c->inputs[i], e))
			return complain(e), STATUS_BROKEN;
	}
	if (is_new && !q.proc_version) {
		if (pack_banner(c->proc, &banner, e) < 0)
			return complain(e), STATUS_BROKEN;
		q.proc_version = banner;
	}
	r = pack_run(&q, &files, e);
	if (r == -ERR_PRECOMPILED_CRC)
		return complain(e), STATUS_BROKEN;
	return r < 0 ? complain(e) : STATUS_GOOD;
}

static int do_unpack(const struct compat *c, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_close_ int dir_fd = -EBADF;
	int r;

	r = precompiled_open(AT_FDCWD, c->package, PRECOMPILED_VERIFY, &p, e);
	if (r >= 0) {
		if (mkdir(c->directory, 0755) < 0 && errno != EEXIST)
			r = err_errno(e, -errno, "cannot make directory %s", c->directory);
	}
	if (r >= 0) {
		dir_fd = open(c->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = dir_fd < 0 ? err_errno(e, -errno, "cannot open directory %s", c->directory)
			       : precompiled_unpack(p, dir_fd, e);
	}
	if (r == -ERR_PRECOMPILED_CRC)
		return complain(e), STATUS_BROKEN;
	return r < 0 ? complain(e) : STATUS_GOOD;
}

static int do_info(const struct compat *c, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_free_ char *text = NULL;

	if (precompiled_open(AT_FDCWD, c->package, 0, &p, e) < 0 || precompiled_info_text(p, &text, e) < 0)
		return complain(e);
	(void)fputs(text, stdout);
	return STATUS_GOOD;
}

static int do_match(const struct compat *c, struct err *e)
{
	_cleanup_(precompiled_freep) struct precompiled *p = NULL;
	_cleanup_free_ char *banner = NULL;
	bool matches;

	if (precompiled_open(AT_FDCWD, c->package, PRECOMPILED_READ_HEADER, &p, e) < 0)
		return complain(e);
	if (pack_banner(c->proc, &banner, e) < 0)
		return complain(e), STATUS_BROKEN;
	matches = precompiled_match(p, NULL, banner, NULL) >= 0;
	(void)printf("kernel interface %s.\n", matches ? "matches" : "doesn't match");
	return matches ? STATUS_MATCHES : STATUS_DIFFERS;
}

int compat_mkprecompiled(int argc, char **argv)
{
	static const struct {
		int action;
		int (*run)(const struct compat *c, struct err *e);
	} actions[] = { { 'p', do_pack }, { 'u', do_unpack }, { 'i', do_info }, { 'm', do_match } };
	struct compat c = { .directory = ".", .proc = "/proc" };
	_cleanup_(err_done) struct err e = ERR_INIT;
	int status = STATUS_FAILED;

	log_setup(&(struct log_config){ .fd = STDERR_FILENO, .file_fd = -1, .level = LOG_WARN_LEVEL });
	if (parse(&c, argc, argv, &e) < 0)
		return complain(&e);
	if (c.help) {
		(void)fputs(compat_help, stdout);
		return fflush(stdout) == 0 ? STATUS_GOOD : STATUS_FAILED;
	}
	if (!c.action) {
		(void)err_set(&e, -ERR_USAGE,
			      "nothing to do: one of --pack, --unpack, --info, --match is needed");
		return complain(&e);
	}
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (actions[i].action == c.action)
			status = actions[i].run(&c, &e);
	}
	return fflush(stdout) == 0 ? status : STATUS_BROKEN;
}
