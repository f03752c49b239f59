/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes the manual pages and the shell completions from the command tables, so that they cannot disagree with
 * --help: gendoc man NAME | bash | zsh | names | errors | slugs. Output goes to stdout. */
#include "cmd.h"
#include "err.h"

#include <string.h>

static bool is_shown(size_t i)
{
	return !(cmd_table[i]->flags & CMD_HIDDEN);
}

/* The first shown entry of its name: groups (`runfile info`, `runfile list`) have several. */
static bool is_first(size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (is_shown(k) && strcmp(cmd_table[k]->name, cmd_table[i]->name) == 0)
			return false;
	return is_shown(i);
}

static const char *sub_of(const struct cmd *c)
{
	return c->sub ? c->sub : "";
}

/* -- roff -- */

static void roff_text(const char *s)
{
	for (bool line_start = true; *s; line_start = *s == '\n', s++) {
		if (line_start && (*s == '.' || *s == '\''))
			printf("\\&");
		if (*s == '\\')
			printf("\\e");
		else if (*s == '-')
			printf("\\-");
		else
			putchar(*s);
	}
}

static void roff_paragraphs(const char *s)
{
	const char *end;

	for (; (end = strstr(s, "\n\n")); s = end + 2) {
		char *one = strndup(s, (size_t)(end - s));

		if (one)
			roff_text(one);
		free(one);
		printf("\n.PP\n");
	}
	roff_text(s);
	putchar('\n');
}

static void roff_options(const struct opt *o)
{
	for (; o && o->name; o++) {
		if (o->hidden)
			continue;
		printf(".TP\n.B ");
		if (o->short_name)
			printf("\\-%c, ", o->short_name);
		printf("\\-\\-");
		roff_text(o->name);
		if (o->arg)
			printf(" \\fI%s\\fR", o->arg);
		putchar('\n');
		roff_text(o->help);
		printf(".\n");
	}
}

static void roff_cmd(const struct cmd *c)
{
	printf(".SH \"nvdriver %s%s%s\"\n", c->name, c->sub ? " " : "", sub_of(c));
	printf(".B nvdriver %s%s%s\n[\\fIOPTIONS\\fR] %s\n.PP\n", c->name, c->sub ? " " : "", sub_of(c),
	       c->args ? c->args : "");
	roff_paragraphs(c->description);
	roff_options(c->options);
	if (c->examples) {
		printf(".PP\nExamples:\n.PP\n.nf\n");
		roff_text(c->examples);
		printf(".fi\n");
	}
}

static int man_verb(const char *name)
{
	const struct cmd *head = NULL;

	for (size_t i = 0; cmd_table[i]; i++)
		if (strcmp(cmd_table[i]->name, name) == 0 && is_first(i))
			head = cmd_table[i];
	if (!head)
		return 1;
	printf(".TH NVDRIVER\\-%s 8 \"\" \"nvdriver %s\" \"System administration\"\n", name,
	       NVDRIVER_VERSION);
	printf(".SH NAME\nnvdriver\\-%s \\- %s\n", name,
	       head->sub ? "a group of nvdriver's commands" : head->summary);
	for (size_t i = 0; cmd_table[i]; i++)
		if (strcmp(cmd_table[i]->name, name) == 0 && is_shown(i))
			roff_cmd(cmd_table[i]);
	printf(".SH OPTIONS OF EVERY COMMAND\n");
	roff_options(app_options);
	printf(".SH SEE ALSO\n.BR nvdriver (8)\n");
	return 0;
}

static int by_status_and_slug(const void *a, const void *b)
{
	const struct err_row *x = *(const struct err_row *const *)a, *y = *(const struct err_row *const *)b;

	return x->exit_status != y->exit_status ? x->exit_status - y->exit_status : strcmp(x->slug, y->slug);
}

#define ERRORS_MAX 1024

/* One row of every slug, by exit status, then by slug. Returns how many. */
static size_t errors_sorted(const struct err_row *all[ERRORS_MAX])
{
	const struct err_row *row;
	size_t n = 0;

	for (size_t i = 0; n < ERRORS_MAX && (row = err_row(i)); i++)
		all[n++] = row;
	for (size_t i = 0, k; n < ERRORS_MAX && (row = err_system_row(i)); i++) {
		for (k = 0; k < n && strcmp(all[k]->slug, row->slug) != 0;)
			k++;
		if (k == n)
			all[n++] = row;
	}
	qsort(all, n, sizeof(*all), by_status_and_slug);
	return n;
}

static const char *sentence_of(const struct err_row *row)
{
	return row->sentence ? row->sentence : "the system refused; its own words are the reason";
}

static void man_errors(void)
{
	const struct err_row *all[ERRORS_MAX];
	size_t n = errors_sorted(all);

	printf(".SH ERRORS\nEvery failure has a slug that does not change between releases; \\-\\-json "
	       "prints it as\n"
	       ".B error.slug\nwith object, reason and next step.\n");
	for (size_t i = 0; i < n; i++) {
		printf(".TP\n.B ");
		roff_text(all[i]->slug);
		printf(" (exit status %d)\n", all[i]->exit_status);
		roff_text(sentence_of(all[i]));
		printf(". Next: ");
		roff_text(all[i]->next_step);
		printf(".\n");
	}
}

static const char *const exit_statuses[][2] = {
	{ "0", "done, or nothing to do" },
	{ "1", "failure" },
	{ "2", "the command line is not understood" },
	{ "3", "configuration not usable" },
	{ "4", "host driver or host not usable" },
	{ "5", "target (container, backend, root) not reachable" },
	{ "6", "download or integrity" },
	{ "7", "build or installation failed" },
	{ "8", "version mismatch" },
	{ "9", "optional part failed" },
	{ "10", "drift, or a finding by verify or doctor" },
	{ "75", "another run holds the lock" },
};

/* -- docs/errors.md and the list of what may never change -- */

static const char *status_text(int exit_status)
{
	for (size_t i = 0; i < ARRAY_LEN(exit_statuses); i++)
		if (atoi(exit_statuses[i][0]) == exit_status)
			return exit_statuses[i][1];
	return "";
}

static void errors_page(void)
{
	const struct err_row *all[ERRORS_MAX];
	size_t n = errors_sorted(all);

	printf(
	    "# When something fails\n\n"
	    "A failure prints what it failed on, why, the next step and, in brackets, a slug:\n\n"
	    "    error: install: cannot open the root directory /srv/imgae: No such file or directory\n"
	    "      next: check the path given with --root, and that it is mounted [root-unreachable]\n\n"
	    "With `--json` the same stands in `error` ([schema](schemas/error.json)). Slugs and their exit\n"
	    "statuses never change once released, so programs may rely on them; sentences may be reworded.\n"
	    "Under the name `nvidia-driver` every failure ends with 1.\n\n"
	    "Made from the error table by `gendoc errors`; do not edit.\n");
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || all[i]->exit_status != all[i - 1]->exit_status)
			printf("\n## Exit status %d: %s\n\n| Slug | It means | Next step |\n|---|---|---|\n",
			       all[i]->exit_status, status_text(all[i]->exit_status));
		printf("| `%s` | %s | %s |\n", all[i]->slug, sentence_of(all[i]), all[i]->next_step);
	}
}

static void slugs(void)
{
	const struct err_row *all[ERRORS_MAX];
	size_t n = errors_sorted(all);

	for (size_t i = 0; i < n; i++)
		printf("%s %d\n", all[i]->slug, all[i]->exit_status);
}

static void man_program(void)
{
	printf(".TH NVDRIVER 8 \"\" \"nvdriver %s\" \"System administration\"\n", NVDRIVER_VERSION);
	printf(".SH NAME\nnvdriver \\- the life of an NVIDIA driver on Linux\n"
	       ".SH SYNOPSIS\n.B nvdriver\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n"
	       ".SH DESCRIPTION\nTakes an NVIDIA driver from its package to a verified, running state, and "
	       "back out again.\n"
	       ".SH COMMANDS\n");
	for (size_t i = 0; cmd_table[i]; i++) {
		const struct cmd *c = cmd_table[i];

		if (!is_shown(i))
			continue;
		printf(".TP\n.B nvdriver %s%s%s\n", c->name, c->sub ? " " : "", sub_of(c));
		roff_text(c->summary);
		printf(".\n");
	}
	printf(".SH OPTIONS\n");
	roff_options(app_options);
	printf(".SH EXIT STATUS\n");
	for (size_t i = 0; i < ARRAY_LEN(exit_statuses); i++)
		printf(".TP\n.B %s\n%s\n", exit_statuses[i][0], exit_statuses[i][1]);
	man_errors();
	printf(".SH FILES\n.TP\n.I /var/lib/nvdriver\nthe driver store, unless NVDRIVER_STORE or \\-\\-store "
	       "names another\n"
	       ".SH ENVIRONMENT\n.TP\n.B NVDRIVER_STORE\nthe driver store\n.TP\n.B NO_COLOR\nno colour when "
	       "set and not empty\n");
}

/* -- bash -- */

static void bash_words(const struct opt *o)
{
	for (; o && o->name; o++)
		if (!o->hidden)
			printf(" --%s", o->name);
}

/* What may follow an option, by its own name. */
static void bash_values(const struct opt *o)
{
	for (; o && o->name; o++) {
		const char *c = o->completion;

		if (o->hidden || !c)
			continue;
		if (strcmp(c, "file") == 0 || strcmp(c, "dir") == 0)
			printf("\t--%s) COMPREPLY=($(compgen -%c -- \"$cur\")); return ;;\n", o->name, *c);
		else
			printf("\t--%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o->name, c);
	}
}

static void bash_case(const struct cmd *c)
{
	printf("\t'%s'%s) words='", c->name, c->sub ? "" : "*");
	if (c->sub) {
		/* Reached while the second word of a group is missing; its own words come in the case below. */
		for (size_t k = 0; cmd_table[k]; k++)
			if (is_shown(k) && strcmp(cmd_table[k]->name, c->name) == 0)
				printf(" %s", sub_of(cmd_table[k]));
	} else {
		bash_words(c->options);
	}
	bash_words(app_options);
	printf("' ;;\n");
}

static void bash_completion(void)
{
	printf("# bash completion for nvdriver, made from its command tables\n_nvdriver()\n{\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} "
	       "words=\n"
	       "\t[ \"$COMP_CWORD\" -gt 2 ] && verb=\"$verb ${COMP_WORDS[2]}\"\n"
	       "\tCOMPREPLY=()\n\tcase \"$prev\" in\n");
	bash_values(app_options);
	for (size_t i = 0; cmd_table[i]; i++)
		bash_values(cmd_table[i]->options);
	printf("\tesac\n\tif [ \"$COMP_CWORD\" = 1 ]; then\n\t\tverb=\n\t\twords='");
	for (size_t i = 0; cmd_table[i]; i++)
		if (is_first(i))
			printf("%s ", cmd_table[i]->name);
	printf("--help --version'\n\tfi\n\tcase \"$verb\" in\n\t'') ;;\n");
	for (size_t i = 0; cmd_table[i]; i++) {
		const struct cmd *c = cmd_table[i];

		if (is_first(i))
			bash_case(c);
		if (is_shown(i) && c->sub) {
			printf("\t'%s %s'*) words='", c->name, c->sub);
			bash_words(c->options);
			bash_words(app_options);
			printf("' ;;\n");
		}
	}
	printf("\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	       "\t[ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$cur\"))\n}\ncomplete -F "
	       "_nvdriver nvdriver\n");
}

/* -- zsh -- */

static void zsh_quote(const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			printf("'\\'");
		else if (strchr("[]:\\", *s))
			putchar('\\');
		putchar(*s);
	}
}

static void zsh_options(const struct opt *o)
{
	for (; o && o->name; o++) {
		const char *c = o->completion;

		if (o->hidden)
			continue;
		printf(" '%s--%s%s[", o->type == OPT_LIST || o->type == OPT_COUNT ? "*" : "", o->name,
		       o->arg ? "=" : "");
		zsh_quote(o->help);
		printf("]");
		if (o->arg)
			printf(":%s:", o->arg);
		if (c && strcmp(c, "dir") == 0)
			printf("_files -/");
		else if (c && strcmp(c, "file") == 0)
			printf("_files");
		else if (c)
			printf("(%s)", c);
		printf("'");
	}
}

static void zsh_describe(const char *name, const char *text)
{
	printf(" '%s:", name);
	zsh_quote(text);
	printf("'");
}

static void zsh_group(const char *name)
{
	printf("\t'%s '*) verbs=(", name);
	for (size_t k = 0; cmd_table[k]; k++)
		if (is_shown(k) && strcmp(cmd_table[k]->name, name) == 0)
			zsh_describe(sub_of(cmd_table[k]), cmd_table[k]->summary);
	printf("); _describe command verbs ;;\n");
}

static void zsh_completion(void)
{
	printf("#compdef nvdriver\n# made from nvdriver's command tables\n_nvdriver() {\n"
	       "\tlocal -a verbs\n\tif (( CURRENT == 2 )); then\n\t\tverbs=(");
	for (size_t i = 0; cmd_table[i]; i++)
		if (is_first(i))
			zsh_describe(cmd_table[i]->name,
				     cmd_table[i]->sub ? "a group of commands" : cmd_table[i]->summary);
	printf(")\n\t\t_describe command verbs\n\t\treturn\n\tfi\n\tcase \"$words[2] $words[3]\" in\n");
	for (size_t i = 0; cmd_table[i]; i++) {
		const struct cmd *c = cmd_table[i];

		if (!is_shown(i))
			continue;
		printf("\t'%s %s'%s) _arguments", c->name, sub_of(c), c->sub ? "" : "*");
		zsh_options(c->options);
		zsh_options(app_options);
		printf(" '*:argument:_files' ;;\n");
	}
	for (size_t i = 0; cmd_table[i]; i++)
		if (cmd_table[i]->sub && is_first(i))
			zsh_group(cmd_table[i]->name);
	printf("\tesac\n}\n_nvdriver \"$@\"\n");
}

static void names(void)
{
	printf("nvdriver\n");
	for (size_t i = 0; cmd_table[i]; i++)
		if (is_first(i))
			printf("nvdriver-%s\n", cmd_table[i]->name);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "man") == 0 && argc > 2 && strcmp(argv[2], "nvdriver") == 0)
		man_program();
	else if (strcmp(what, "man") == 0 && argc > 2 && strncmp(argv[2], "nvdriver-", 9) == 0)
		return man_verb(argv[2] + 9);
	else if (strcmp(what, "bash") == 0)
		bash_completion();
	else if (strcmp(what, "zsh") == 0)
		zsh_completion();
	else if (strcmp(what, "names") == 0)
		names();
	else if (strcmp(what, "errors") == 0)
		errors_page();
	else if (strcmp(what, "slugs") == 0)
		slugs();
	else
		return 2;
	return 0;
}
