/* SPDX-License-Identifier: Apache-2.0
 *
 * Under the name "nvidia-driver": the commands and options the GPU operator and its users give to the entrypoint of that name. They
 * are understood here as GNU getopt does, then handed to the verbs of `nvdriver container` in their own spelling. */
#include "compat.h"

#include "cmd.h"
#include "strbuf.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage_text[] =
    "usage: nvidia-driver COMMAND [OPTION...]\n"
    "  init    [-a|--accept-license] [-m|--max-threads N]   install, build if needed, load, stay\n"
    "  build   [-a|--accept-license] [-t|--tag TAG] [-m|--max-threads N]\n"
    "  load                                                 load what was built, stay\n"
    "  update  [-k|--kernel RELEASE] [-s|--sign KEY] [-t|--tag TAG] [-m|--max-threads N]\n"
    "  reload_nvidia_peermem                                keep the peer-memory module loaded\n"
    "  probe_nvidia_peermem                                 health of the peer-memory module\n"
    "init, build and update take each other's options, and --cert CERT with --sign.\n";

/* Options of init, build and update alike: leaving one out here and there only ever surprised people. */
static const struct option build_options[] = {
	{ "accept-license", no_argument, NULL, 'a' },
	{ "max-threads", required_argument, NULL, 'm' },
	{ "tag", required_argument, NULL, 't' },
	{ "kernel", required_argument, NULL, 'k' },
	{ "sign", required_argument, NULL, 's' },
	{ "cert", required_argument, NULL, 'c' },
	{ 0 },
};
static const struct option no_options[] = { { 0 } };

static const struct entry_command {
	const char *name;
	const char *shorts;
	const struct option *longs;
} commands[] = {
	{ "init", "am:t:k:s:", build_options },
	{ "build", "am:t:k:s:", build_options },
	{ "load", "", no_options },
	{ "update", "am:t:k:s:", build_options },
	{ "unload", "", no_options },
	{ "status", "", no_options },
	{ "doctor", "", no_options },
	{ "reload_nvidia_peermem", "", no_options },
	{ "probe_nvidia_peermem", "", no_options },
};

static const struct entry_command *find_command(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int usage(void)
{
	(void)fputs(usage_text, stderr);
	return 1;
}

static const char *long_name(const struct entry_command *c, int letter)
{
	for (const struct option *o = c->longs; o->name; o++)
		if (o->val == letter)
			return o->name;
	return NULL;
}

/* The options in our own spelling. Positive: an exit status; the diagnostic has been printed by getopt. */
static int translate(const struct entry_command *c, int argc, char **argv, char ***ret)
{
	char name[] = "nvidia-driver";
	int letter;

	argv[0] = name;
	optind = 0;
	opterr = 1;
	while ((letter = getopt_long(argc, argv, c->shorts, c->longs, NULL)) != -1) {
		const char *option = long_name(c, letter);
		_cleanup_free_ char *word = NULL;

		if (!option)
			return 1;
		word = optarg ? str_printf("--%s=%s", option, optarg) : str_printf("--%s", option);
		if (!word || strv_push(ret, word) < 0)
			return 1;
	}
	return optind < argc ? usage() : 0;
}

int compat_nvidia_driver(int argc, char **argv)
{
	const struct entry_command *c = find_command(argc > 1 ? argv[1] : NULL);
	_cleanup_strv_ char **words = NULL;

	if (!c)
		return usage();
	if (strv_push(&words, "nvdriver") < 0 || strv_push(&words, "container") < 0 ||
	    strv_push(&words, c->name) < 0)
		return 1;
	if (translate(c, argc - 1, argv + 1, &words) != 0)
		return 1;
	return app_entrypoint((int)strv_len(words), words);
}
