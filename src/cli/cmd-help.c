/* SPDX-License-Identifier: Apache-2.0
 *
 * --help, from the same tables that make the manual pages and the completions. */
#include "cmd.h"

#include <string.h>

#define HELP_WIDTH	   79
#define HELP_OPTION_COLUMN 28

/* Append words of text wrapped at HELP_WIDTH; later lines begin at `indent`, the first continues at `column`. */
static void wrap(struct strbuf *out, const char *text, size_t indent, size_t column)
{
	while (*text) {
		size_t word = strcspn(text, " ");

		if (column + (column > indent) + word > HELP_WIDTH && column > indent) {
			(void)strbuf_printf(out, "\n%*s", (int)indent, "");
			column = indent;
		}
		if (column > indent) {
			(void)strbuf_putc(out, ' ');
			column++;
		}
		(void)strbuf_append(out, text, word);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	(void)strbuf_putc(out, '\n');
}

static void wrap_paragraphs(struct strbuf *out, const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		char *one = end ? strndup(text, (size_t)(end - text)) : strdup(text);

		if (!one) {
			out->error = -ENOMEM;
			return;
		}
		for (char *p = one; *p; p++)
			if (*p == '\n')
				*p = ' ';
		wrap(out, one, 0, 0);
		free(one);
		if (!end)
			return;
		(void)strbuf_putc(out, '\n');
		text = end + 2;
	}
}

static void help_options(struct strbuf *out, const char *title, const struct opt *options)
{
	if (!options || !options->name)
		return;
	(void)strbuf_printf(out, "\n%s:\n", title);
	for (const struct opt *o = options; o->name; o++) {
		size_t start = out->len, used;

		if (o->hidden)
			continue;
		if (o->short_name)
			(void)strbuf_printf(out, "  -%c, ", o->short_name);
		else
			(void)strbuf_puts(out, "      ");
		(void)strbuf_printf(out, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		used = out->len - start;
		if (used + 2 > HELP_OPTION_COLUMN) {
			(void)strbuf_printf(out, "\n%*s", HELP_OPTION_COLUMN, "");
		} else {
			(void)strbuf_printf(out, "%*s", (int)(HELP_OPTION_COLUMN - used), "");
		}
		wrap(out, o->help, HELP_OPTION_COLUMN, HELP_OPTION_COLUMN);
	}
}

#define NAME_COLUMN 21

static void list_row(struct strbuf *out, const char *name, const char *text)
{
	if (strlen(name) > NAME_COLUMN - 3)
		(void)strbuf_printf(out, "  %s\n%*s", name, NAME_COLUMN, "");
	else
		(void)strbuf_printf(out, "  %-*s ", NAME_COLUMN - 3, name);
	wrap(out, text, NAME_COLUMN, NAME_COLUMN);
}

static void list_cmd(struct strbuf *out, const struct cmd *c)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s%s", c->name, c->sub ? " " : "", c->sub ? c->sub : "");
	list_row(out, name, c->summary);
}

/* One line for all of "runfile info", "runfile list", … */
static void list_group(struct strbuf *out, const char *name)
{
	_cleanup_(strbuf_done) struct strbuf subs = STRBUF_INIT(STRBUF_TEXT_MAX);

	for (size_t i = 0; cmd_table[i]; i++)
		if (cmd_table[i]->sub && strcmp(cmd_table[i]->name, name) == 0 &&
		    !(cmd_table[i]->flags & CMD_HIDDEN))
			(void)strbuf_printf(&subs, "%s%s", subs.len ? ", " : "", cmd_table[i]->sub);
	list_row(out, name, strbuf_str(&subs));
}

static bool is_first_of_group(size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(cmd_table[k]->name, cmd_table[i]->name) == 0 &&
		    !(cmd_table[k]->flags & CMD_HIDDEN))
			return false;
	return true;
}

static int help_program(struct strbuf *out)
{
	(void)strbuf_puts(
	    out, "Usage: nvdriver [OPTIONS] COMMAND [ARGUMENTS]\n\n"
		 "Takes an NVIDIA driver from its package to a verified, running state, and back.\n\n"
		 "Commands:\n");
	for (size_t i = 0; cmd_table[i]; i++)
		if (!cmd_table[i]->sub && !(cmd_table[i]->flags & CMD_HIDDEN))
			list_cmd(out, cmd_table[i]);
	(void)strbuf_puts(out, "\nGroups of commands (nvdriver GROUP --help):\n");
	for (size_t i = 0; cmd_table[i]; i++)
		if (cmd_table[i]->sub && !(cmd_table[i]->flags & CMD_HIDDEN) && is_first_of_group(i))
			list_group(out, cmd_table[i]->name);
	help_options(out, "Options of every command", app_options);
	(void)strbuf_puts(out, "\nnvdriver COMMAND --help tells more about one command.\n");
	return strbuf_error(out);
}

static void list_cmds_of(struct strbuf *out, const char *name)
{
	for (size_t i = 0; cmd_table[i]; i++)
		if (cmd_table[i]->sub && strcmp(cmd_table[i]->name, name) == 0 &&
		    !(cmd_table[i]->flags & CMD_HIDDEN))
			list_cmd(out, cmd_table[i]);
}

int help_group(const char *name, struct strbuf *out)
{
	(void)strbuf_printf(out, "Usage: nvdriver %s COMMAND [OPTIONS]\n\nCommands:\n", name);
	list_cmds_of(out, name);
	return strbuf_error(out);
}

/* A verb that is a group besides (`vgpu`) shows its commands too. */
static bool is_group(const char *name)
{
	for (size_t i = 0; cmd_table[i]; i++)
		if (cmd_table[i]->sub && strcmp(cmd_table[i]->name, name) == 0)
			return true;
	return false;
}

int help_print(const struct cmd *c, struct strbuf *out)
{
	if (!c)
		return help_program(out);
	(void)strbuf_printf(out, "Usage: nvdriver %s%s%s [OPTIONS]%s%s\n\n", c->name, c->sub ? " " : "",
			    c->sub ? c->sub : "", c->args ? " " : "", c->args ? c->args : "");
	wrap_paragraphs(out, c->description);
	if (!c->sub && is_group(c->name)) {
		(void)strbuf_puts(out, "\nCommands:\n");
		list_cmds_of(out, c->name);
	}
	help_options(out, "Options", c->options);
	help_options(out, "Options of every command", app_options);
	if (c->examples)
		(void)strbuf_printf(out, "\nExamples:\n%s", c->examples);
	return strbuf_error(out);
}
