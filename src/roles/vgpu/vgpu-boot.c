/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-boot.h"

#include "strbuf.h"
#include "err-vgpu.h"

#include <ctype.h>
#include <string.h>

#define VARIABLE "GRUB_CMDLINE_LINUX_DEFAULT"
#define TEXT_MAX ((size_t)1 << 20)

struct boot_path boot_path_find(const struct boot_facts *f)
{
	bool systemd_boot = f->managed && f->efi && f->secure_boot != TRI_YES;

	return (
	    struct boot_path){ .grub = !systemd_boot, .systemd_boot = systemd_boot, .managed = f->managed };
}

/* -- a shell that only knows assignments -- */

struct shell {
	const char *p, *end;
	char **vars; /* owned strv "NAME=value" */
	bool sure;
};

static const char *shell_get(const struct shell *s, const char *name, size_t len)
{
	for (char **v = s->vars; v && *v; v++)
		if (strncmp(*v, name, len) == 0 && (*v)[len] == '=')
			return *v + len + 1;
	return "";
}

static int shell_set(struct shell *s, const char *name, size_t len, const char *value)
{
	char *line = str_printf("%.*s=%s", (int)len, name, value);
	int r;

	if (!line)
		return -ENOMEM;
	for (char **v = s->vars; v && *v; v++)
		if (strncmp(*v, name, len) == 0 && (*v)[len] == '=') {
			free(*v);
			*v = line;
			return 0;
		}
	r = strv_push(&s->vars, line);
	free(line);
	return r;
}

static size_t name_length(const char *p, const char *end)
{
	const char *from = p;

	if (p < end && !isalpha((unsigned char)*p) && *p != '_')
		return 0;
	while (p < end && (isalnum((unsigned char)*p) || *p == '_'))
		p++;
	return (size_t)(p - from);
}

/* $NAME and ${NAME}; anything else behind the dollar cannot be told. */
static void expand(struct shell *s, struct strbuf *out)
{
	bool brace = s->p + 1 < s->end && s->p[1] == '{';
	const char *name = s->p + 1 + brace;
	size_t len = name < s->end ? name_length(name, s->end) : 0;

	if (len == 0 || (brace && (name + len >= s->end || name[len] != '}'))) {
		s->sure = len == 0 && !brace && (name >= s->end || !strchr("({`?!$#@*-0123456789", *name)) &&
			  s->sure;
		(void)strbuf_putc(out, *s->p++);
		return;
	}
	(void)strbuf_puts(out, shell_get(s, name, len));
	s->p = name + len + brace;
}

static void double_quoted(struct shell *s, struct strbuf *out)
{
	for (s->p++; s->p < s->end && *s->p != '"';) {
		if (*s->p == '\\' && s->p + 1 < s->end && strchr("$`\"\\\n", s->p[1])) {
			if (s->p[1] != '\n')
				(void)strbuf_putc(out, s->p[1]);
			s->p += 2;
		} else if (*s->p == '$') {
			expand(s, out);
		} else {
			s->sure &= *s->p != '`';
			(void)strbuf_putc(out, *s->p++);
		}
	}
	s->p += s->p < s->end;
}

/* One word with its quotes taken off. */
static void word(struct shell *s, struct strbuf *out)
{
	while (s->p < s->end && !strchr(" \t\n;&|<>()", *s->p)) {
		if (*s->p == '\'') {
			for (s->p++; s->p < s->end && *s->p != '\''; s->p++)
				(void)strbuf_putc(out, *s->p);
			s->p += s->p < s->end;
		} else if (*s->p == '"') {
			double_quoted(s, out);
		} else if (*s->p == '\\' && s->p + 1 < s->end) {
			if (s->p[1] != '\n')
				(void)strbuf_putc(out, s->p[1]);
			s->p += 2;
		} else if (*s->p == '$') {
			expand(s, out);
		} else {
			s->sure &= *s->p != '`';
			(void)strbuf_putc(out, *s->p++);
		}
	}
}

static void skip_blanks(struct shell *s)
{
	while (s->p < s->end &&
	       (*s->p == ' ' || *s->p == '\t' || (*s->p == '\\' && s->p + 1 < s->end && s->p[1] == '\n')))
		s->p += 1 + (*s->p == '\\');
}

/* One assignment. 1, or 0 when the next word is none. */
static int assignment(struct shell *s)
{
	_cleanup_(strbuf_done) struct strbuf value = STRBUF_INIT(TEXT_MAX);
	const char *name = s->p;
	size_t len = name_length(name, s->end);
	int r;

	if (len == 0 || name + len >= s->end || name[len] != '=')
		return 0;
	s->p = name + len + 1;
	word(s, &value);
	if (strbuf_error(&value) < 0)
		return -ENOMEM;
	r = shell_set(s, name, len, strbuf_str(&value));
	return r < 0 ? r : 1;
}

/* One line: assignments, with or without export; whatever else stands there is passed over, quotes respected. */
static int command(struct shell *s)
{
	_cleanup_(strbuf_done) struct strbuf dropped = STRBUF_INIT(TEXT_MAX);
	int r = 1;

	skip_blanks(s);
	if (s->end - s->p > 7 && strncmp(s->p, "export", 6) == 0 && (s->p[6] == ' ' || s->p[6] == '\t'))
		s->p += 6;
	while (r > 0) {
		skip_blanks(s);
		r = assignment(s);
	}
	while (r == 0 && s->p < s->end && *s->p != '\n' && *s->p != ';') {
		if (*s->p == '#') {
			while (s->p < s->end && *s->p != '\n')
				s->p++;
			break;
		}
		s->sure = false;
		strbuf_reset(&dropped);
		word(s, &dropped);
		s->p += s->p < s->end && strchr("&|<>()", *s->p);
		skip_blanks(s);
	}
	s->p += s->p < s->end;
	return r;
}

int boot_shell_value(const struct span *texts, size_t n, const char *name, char **ret, bool *ret_sure)
{
	struct shell s = { .sure = true };
	char *value = NULL;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++) {
		s.p = texts[i].p;
		s.end = texts[i].p + texts[i].len;
		while (r >= 0 && s.p < s.end)
			r = command(&s);
	}
	if (r >= 0)
		value = strdup(shell_get(&s, name, strlen(name)));
	strv_freep(&s.vars);
	if (!value)
		return -ENOMEM;
	*ret = value;
	if (ret_sure)
		*ret_sure = s.sure;
	return 0;
}

/* -- words -- */

static size_t key_length(struct span w)
{
	const char *eq = memchr(w.p, '=', w.len);

	return eq ? (size_t)(eq - w.p) : w.len;
}

/* "intel_iommu=on,sm_on" holds what "intel_iommu=on" asks for. */
static bool holds(struct span present, struct span wanted)
{
	size_t key = key_length(wanted);
	struct span value;

	if (present.len == wanted.len && memcmp(present.p, wanted.p, wanted.len) == 0)
		return true;
	if (key == wanted.len)
		return false;
	value = (struct span){ present.p + key + 1, present.len - key - 1 };
	wanted = (struct span){ wanted.p + key + 1, wanted.len - key - 1 };
	for (const char *p = value.p, *end = value.p + value.len; p < end;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t len = (size_t)((comma ? comma : end) - p);

		if (len == wanted.len && memcmp(p, wanted.p, len) == 0)
			return true;
		p += len + 1;
	}
	return false;
}

/* The last word of that key counts, as for the kernel. */
static struct span last_of_key(const char *cmdline, struct span wanted)
{
	struct span rest = SPAN(cmdline), w, found = SPAN_NULL;
	size_t key = key_length(wanted);

	while (span_word(&rest, &w))
		if (key_length(w) == key && memcmp(w.p, wanted.p, key) == 0 &&
		    (w.len > key) == (wanted.len > key))
			found = w;
	return found;
}

int boot_words_compare(const char *cmdline, char *const *wanted, char ***ret_missing, char ***ret_conflicts)
{
	int r = 0;

	for (; r == 0 && wanted && *wanted; wanted++) {
		struct span w = SPAN(*wanted), found = last_of_key(cmdline, w);
		_cleanup_free_ char *other = NULL;

		if (!found.p) {
			r = strv_push(ret_missing, *wanted);
		} else if (!holds(found, w)) {
			other = span_dup(found);
			r = other ? strv_push(ret_conflicts, other) : -ENOMEM;
		}
	}
	return r;
}

int boot_cmdline_add(struct span text, char *const *words, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(TEXT_MAX);
	const char *lf = memchr(text.p, '\n', text.len);
	struct span first = { text.p, lf ? (size_t)(lf - text.p) : text.len };

	while (first.len > 0 && strchr(" \t\r", first.p[first.len - 1]))
		first.len--;
	(void)strbuf_append(&out, first.p, first.len);
	for (; words && *words; words++)
		(void)strbuf_printf(&out, "%s%s", out.len ? " " : "", *words);
	(void)strbuf_append(&out, text.p + first.len, text.len - first.len);
	if (!lf)
		(void)strbuf_putc(&out, '\n');
	return strbuf_steal(&out, ret);
}

/* -- files -- */

static bool is_grub_file(const struct text_file *f)
{
	return strcmp(f->path, BOOT_GRUB_DEFAULT) == 0 ||
	       strncmp(f->path, BOOT_GRUB_DIR "/", strlen(BOOT_GRUB_DIR "/")) == 0;
}

/* etc/default/grub sorts before what lies below grub.d, so the order of paths is the order of reading. */
static int grub_value(const struct text_files *files, const char *without, struct span ours, char **ret,
		      bool *ret_sure)
{
	_cleanup_free_ struct span *texts = calloc(files->n + 1, sizeof(*texts));
	size_t n = 0;

	if (!texts)
		return -ENOMEM;
	for (size_t i = 0; i < files->n; i++) {
		const struct text_file *f = &files->v[i];

		if (!is_grub_file(f) || (without && strcmp(f->path, without) == 0))
			continue;
		if (ours.p && strcmp(f->path, BOOT_GRUB_OURS) > 0) {
			texts[n++] = ours;
			ours = SPAN_NULL;
		}
		texts[n++] = (struct span){ f->bytes, f->len };
	}
	if (ours.p)
		texts[n++] = ours;
	return boot_shell_value(texts, n, VARIABLE, ret, ret_sure);
}

int boot_cmdline_next(const struct text_files *files, const struct boot_path *path, bool without_ours,
		      char **ret, bool *ret_sure)
{
	const struct text_file *f = text_files_find(files, BOOT_KERNEL_CMDLINE);

	if (path->grub)
		return grub_value(files, without_ours ? BOOT_GRUB_OURS : NULL, SPAN_NULL, ret, ret_sure);
	if (ret_sure)
		*ret_sure = true;
	*ret = strdup(f ? f->bytes : "");
	return *ret ? 0 : -ENOMEM;
}

static int dropin_text(char *const *words, struct strbuf *out)
{
	(void)strbuf_puts(out, "# Written by nvdriver vgpu; taken back by nvdriver vgpu remove.\n" VARIABLE
			       "=\"$" VARIABLE);
	for (; *words; words++)
		(void)strbuf_printf(out, " %s", *words);
	return strbuf_puts(out, "\"\n");
}

/* A file read after ours may set the variable anew. */
static int check_dropin(const struct text_files *files, struct span ours, char *const *words,
			struct text_edits *out)
{
	_cleanup_free_ char *value = NULL;
	_cleanup_strv_ char **missing = NULL, **conflicts = NULL;
	int r = grub_value(files, BOOT_GRUB_OURS, ours, &value, NULL);

	if (r == 0)
		r = boot_words_compare(value, words, &missing, &conflicts);
	if (r == 0 && (missing || conflicts))
		r = text_edits_note(out, "a file of /" BOOT_GRUB_DIR " that is read after ours sets " VARIABLE
					 " anew: the words do not reach the kernel");
	return r;
}

static int grub_edits(const struct text_files *files, char *const *missing, struct text_edits *out)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(4096);
	const struct text_file *ours = text_files_find(files, BOOT_GRUB_OURS);
	int r;

	if (!missing)
		return ours ? text_edits_drop(out, ours, "take the words out again: others set them") : 0;
	r = dropin_text(missing, &text);
	if (r >= 0)
		r = text_edits_set(out, BOOT_GRUB_OURS, ours, SPAN(strbuf_str(&text)),
				   "add kernel words for the IOMMU: /" BOOT_GRUB_OURS);
	return r < 0 ? r : check_dropin(files, SPAN(strbuf_str(&text)), missing, out);
}

static int cmdline_edits(const struct text_files *files, char *const *missing, struct text_edits *out)
{
	const struct text_file *f = text_files_find(files, BOOT_KERNEL_CMDLINE);
	_cleanup_free_ char *text = NULL;
	int r;

	if (!missing)
		return 0;
	r = boot_cmdline_add(f ? (struct span){ f->bytes, f->len } : SPAN(""), missing, &text);
	return r < 0 ? r
		     : text_edits_set(out, BOOT_KERNEL_CMDLINE, f, SPAN(text),
				      "add kernel words for the IOMMU to /" BOOT_KERNEL_CMDLINE);
}

int boot_edits(const struct text_files *files, const struct boot_path *path, char *const *wanted,
	       struct text_edits *ret, struct err *e)
{
	_cleanup_free_ char *value = NULL;
	_cleanup_strv_ char **missing = NULL, **conflicts = NULL;
	bool sure = true;
	int r = boot_cmdline_next(files, path, true, &value, &sure);

	if (r == 0)
		r = boot_words_compare(value, wanted, &missing, &conflicts);
	if (r == 0 && !sure)
		r = text_edits_note(
		    ret, "/etc/default/grub holds more than assignments: check the result after the reboot");
	if (r == 0 && conflicts) {
		(void)err_set(e, ERR_VGPU_BOOT_CONFLICT, "the boot configuration passes %s", conflicts[0]);
		return err_next(e, "take that word out of /%s, then run again",
				path->grub ? BOOT_GRUB_DEFAULT : BOOT_KERNEL_CMDLINE);
	}
	if (r == 0)
		r = path->grub ? grub_edits(files, missing, ret) : cmdline_edits(files, missing, ret);
	return r < 0 ? err_oom(e) : 0;
}
