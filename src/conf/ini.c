/* SPDX-License-Identifier: Apache-2.0 */
#include "ini.h"
#include "fd.h"
#include "strbuf.h"

#include <limits.h>

int ini_take_string(struct span value, void *target)
{
	char *copy = span_dup(value);

	if (!copy)
		return -ENOMEM;
	free(*(char **)target);
	*(char **)target = copy;
	return 0;
}

int ini_take_strv(struct span value, void *target)
{
	struct span word;

	while (span_word(&value, &word)) {
		_cleanup_free_ char *copy = span_dup(word);

		if (!copy || strv_push(target, copy) < 0)
			return -ENOMEM;
	}
	return 0;
}

int ini_take_bool(struct span value, void *target)
{
	return parse_bool(value, target);
}

int ini_take_u64(struct span value, void *target)
{
	return parse_u64(value, UINT64_MAX, target);
}

int ini_take_unsigned(struct span value, void *target)
{
	uint64_t v;
	int r = parse_u64(value, UINT_MAX, &v);

	if (r == 0)
		*(unsigned *)target = (unsigned)v;
	return r;
}

int ini_take_size(struct span value, void *target)
{
	return parse_size(value, target);
}

int ini_take_duration(struct span value, void *target)
{
	return parse_duration(value, target);
}

struct reader {
	const char *name;
	const struct ini_key *keys;
	size_t n_keys;
	void *target;
	unsigned line;
	struct span section;
	unsigned *seen; /* owned; line of each key of the table, 0 = not yet */
};

static void reader_done(struct reader *rd)
{
	free(rd->seen);
}

static bool has_control(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
			return true;
	return false;
}

static int take_section(struct reader *rd, struct span line, struct err *e)
{
	struct span section;

	if (!span_ends(line, "]"))
		return err_set(e, -ERR_CONFIG, "%s:%u: \"[\" without \"]\"", rd->name, rd->line);
	section = span_trim((struct span){ line.p + 1, line.len - 2 });
	for (size_t i = 0; i < rd->n_keys; i++)
		if (span_eq(section, rd->keys[i].section)) {
			rd->section = section;
			return 0;
		}
	return err_set(e, -ERR_CONFIG, "%s:%u: unknown section [" SPAN_FMT "]", rd->name, rd->line,
		       SPAN_ARG(section));
}

static int take_value(struct reader *rd, size_t i, struct span value, struct err *e)
{
	const struct ini_key *k = &rd->keys[i];
	int r;

	if (rd->seen[i])
		return err_set(e, -ERR_CONFIG, "%s:%u: %s is already set in line %u", rd->name, rd->line,
			       k->key, rd->seen[i]);
	rd->seen[i] = rd->line;
	r = k->take(value, (char *)rd->target + k->offset);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return err_set(e, -ERR_CONFIG, "%s:%u: %s = " SPAN_FMT ": expected %s", rd->name, rd->line,
			       k->key, SPAN_ARG(value), k->expects ? k->expects : "another value");
	return 0;
}

static int take_line(struct reader *rd, struct span line, struct err *e)
{
	const char *eq = memchr(line.p, '=', line.len);
	struct span key, value;

	if (has_control(line))
		return err_set(e, -ERR_CONFIG, "%s:%u: control character", rd->name, rd->line);
	if (line.len == 0 || line.p[0] == '#' || line.p[0] == ';')
		return 0;
	if (line.p[0] == '[')
		return take_section(rd, line, e);
	if (!eq)
		return err_set(e, -ERR_CONFIG, "%s:%u: neither \"key = value\" nor \"[section]\"", rd->name,
			       rd->line);
	key = span_trim((struct span){ line.p, (size_t)(eq - line.p) });
	value = span_trim((struct span){ eq + 1, line.len - (size_t)(eq + 1 - line.p) });
	for (size_t i = 0; i < rd->n_keys; i++)
		if (span_eq(key, rd->keys[i].key) && span_eq(rd->section, rd->keys[i].section))
			return take_value(rd, i, value, e);
	return err_set(e, -ERR_CONFIG, "%s:%u: unknown key " SPAN_FMT, rd->name, rd->line, SPAN_ARG(key));
}

int ini_parse(struct span text, const char *name, const struct ini_key *keys, size_t n_keys, void *target,
	      struct err *e)
{
	_cleanup_(reader_done) struct reader rd = {
		.name = name, .keys = keys, .n_keys = n_keys, .target = target, .section = SPAN("")
	};
	struct span line;

	if (text.len > INI_MAX_BYTES)
		return err_set(e, -ERR_CONFIG, "%s: larger than %zu bytes", name, INI_MAX_BYTES);
	rd.seen = calloc(n_keys ? n_keys : 1, sizeof(*rd.seen));
	if (!rd.seen)
		return err_oom(e);
	while (span_line(&text, &line)) {
		int r;

		rd.line++;
		r = take_line(&rd, span_trim(line), e);
		if (r < 0)
			return err_object(e, "%s", name);
	}
	return 0;
}

int ini_load_at(int dirfd, const char *path, bool optional, const struct ini_key *keys, size_t n_keys,
		void *target, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file_at(dirfd, path, INI_MAX_BYTES, &text, &len);

	if (r == -ENOENT && optional)
		return 0;
	if (r < 0) {
		(void)err_errno(e, r, "cannot read %s", path);
		return err_object(e, "%s", path);
	}
	return ini_parse((struct span){ text, len }, path, keys, n_keys, target, e);
}
