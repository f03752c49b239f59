/* SPDX-License-Identifier: Apache-2.0 */
#include "classify.h"

#include "path.h"

#include <inttypes.h>
#include <string.h>

extern const unsigned char package_files_csv[];
extern const unsigned long package_files_csv_size;

enum { COL_PATTERN, COL_TYPE, COL_PATH, COL_MODULE, COL_PLACE, COL_COUNT };

struct row {
	char *cells[COL_COUNT]; /* owned */
	enum class_verdict verdict;
	const struct manifest_type *type, *link_type;
};

struct class_table {
	struct row *rows; /* owned */
	size_t n;
};

void class_table_freep(struct class_table **t)
{
	if (!*t)
		return;
	for (size_t i = 0; i < (*t)->n; i++)
		for (size_t c = 0; c < COL_COUNT; c++)
			free((*t)->rows[i].cells[c]);
	free((*t)->rows);
	free(*t);
	*t = NULL;
}

/* -- patterns -- */

static bool set_match(const char **pattern, char c)
{
	const char *p = *pattern + 1;
	bool hit = false;

	for (; *p && *p != ']'; p++) {
		if (p[1] == '-' && p[2] && p[2] != ']') {
			hit |= c >= p[0] && c <= p[2];
			p += 2;
		} else {
			hit |= *p == c;
		}
	}
	*pattern = *p ? p + 1 : p;
	return hit;
}

bool class_glob(const char *pattern, const char *path, struct span *ret_rest)
{
	for (;;) {
		if (pattern[0] == '*' && pattern[1] == '*') {
			for (const char *end = path;; end++) {
				struct span inner = SPAN_NULL;

				if (class_glob(pattern + 2, end, &inner)) {
					if (ret_rest)
						*ret_rest = inner.p
								? inner
								: (struct span){ path, (size_t)(end - path) };
					return true;
				}
				if (!*end)
					return false;
			}
		}
		if (pattern[0] == '*') {
			for (;; path++) {
				if (class_glob(pattern + 1, path, ret_rest))
					return true;
				if (!*path || *path == '/')
					return false;
			}
		}
		if (!*pattern || !*path)
			return *pattern == *path;
		if (*pattern == '[') {
			if (*path == '/' || !set_match(&pattern, *path))
				return false;
			path++;
			continue;
		}
		if (*pattern != *path && !(*pattern == '?' && *path != '/'))
			return false;
		pattern++;
		path++;
	}
}

/* -- rows -- */

static const char *const link_endings[][2] = {
	{ "_LIB", "_SYMLINK" },	       { "_LIB", "_LIB_SYMLINK" },   { "_SHARED_LIB", "_SYMLINK" },
	{ "_BINARY", "_BIN_SYMLINK" }, { "_UNIT", "_UNIT_SYMLINK" },
};

const struct manifest_type *class_link_type(const struct manifest_type *type)
{
	size_t len = strlen(type->name);

	for (size_t i = 0; i < ARRAY_LEN(link_endings); i++) {
		size_t n = strlen(link_endings[i][0]);
		const struct manifest_type *found;
		char name[64];

		if (len < n || strcmp(type->name + len - n, link_endings[i][0]) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s%s", (int)(len - n), type->name, link_endings[i][1]);
		found = manifest_type_find(name);
		if (found)
			return found;
	}
	return NULL;
}

static int row_check(struct row *r, unsigned line, struct err *e)
{
	const char *type = r->cells[COL_TYPE];
	bool has_path = r->cells[COL_PATH][0];

	if (!r->cells[COL_PATTERN][0] || r->cells[COL_PATTERN][0] == '/')
		return err_set(e, -ERR_FORMAT, "package file table, line %u: the pattern is no relative path",
			       line);
	r->verdict = strcmp(type, "-") == 0	? CLASS_IGNORED
		     : strcmp(type, "tar") == 0 ? CLASS_ARCHIVE
						: CLASS_PLACED;
	if (r->verdict != CLASS_PLACED)
		return 0;
	r->type = manifest_type_find(type);
	if (!r->type)
		return err_set(e, -ERR_FORMAT, "package file table, line %u: no file type is called %s", line,
			       type);
	if (has_path != !!(r->type->flags & MANIFEST_PATH) || !r->cells[COL_PLACE][0])
		return err_set(e, -ERR_FORMAT,
			       "package file table, line %u: %s %s a path, and a place is needed", line, type,
			       r->type->flags & MANIFEST_PATH ? "needs" : "has no");
	r->link_type = class_link_type(r->type);
	return 0;
}

static int row_parse(struct span line, unsigned number, struct row *r, struct err *e)
{
	for (size_t c = 0; c < COL_COUNT; c++) {
		const char *comma = memchr(line.p, ',', line.len);
		struct span cell = { line.p, comma ? (size_t)(comma - line.p) : line.len };

		if (!comma != (c == COL_COUNT - 1))
			return err_set(e, -ERR_FORMAT, "package file table, line %u: not %d columns", number,
				       COL_COUNT);
		r->cells[c] = span_dup(span_trim(cell));
		if (!r->cells[c])
			return err_oom(e);
		if (comma)
			line = (struct span){ comma + 1, line.len - cell.len - 1 };
	}
	return row_check(r, number, e);
}

int class_table_parse(struct span csv, struct class_table **ret, struct err *e)
{
	_cleanup_(class_table_freep) struct class_table *t = calloc(1, sizeof(*t));
	struct span line;
	unsigned number = 0;

	if (!t)
		return err_oom(e);
	while (span_line(&csv, &line)) {
		struct row *more;
		int r;

		number++;
		line = span_trim(line);
		if (line.len == 0 || line.p[0] == '#')
			continue;
		more = reallocarray(t->rows, t->n + 1, sizeof(*more));
		if (!more)
			return err_oom(e);
		t->rows = more;
		memset(&t->rows[t->n++], 0, sizeof(*more));
		r = row_parse(line, number, &t->rows[t->n - 1], e);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(t);
	return 0;
}

int class_table_builtin(struct class_table **ret, struct err *e)
{
	return class_table_parse((struct span){ (const char *)package_files_csv, package_files_csv_size },
				 ret, e);
}

/* -- answers -- */

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool put(char *out, size_t size, size_t *n, const char *text, size_t len)
{
	if (len >= size - *n)
		return false;
	memcpy(out + *n, text, len);
	*n += len;
	out[*n] = '\0';
	return true;
}

static bool expand_place(const char *place, const char *path, struct span rest, const char *prefix,
			 struct class_answer *a)
{
	const char *base = last_component(path);
	size_t n = 0;
	bool ok = put(a->place, sizeof(a->place), &n, prefix, strlen(prefix));

	for (const char *p = place; *p && ok; p++) {
		if (*p == '%')
			ok = put(a->place, sizeof(a->place), &n, base, strlen(base));
		else if (*p == '@')
			ok = put(a->place, sizeof(a->place), &n, rest.p, rest.len);
		else
			ok = put(a->place, sizeof(a->place), &n, p, 1);
	}
	return ok && path_name_is_clean(a->place);
}

static int answer(const struct row *r, const char *path, struct span rest, bool is_compat32,
		  struct class_answer *ret, struct err *e)
{
	struct class_answer a = { .verdict = r->verdict, .type = r->type, .link_type = r->link_type };

	if (a.verdict == CLASS_PLACED && is_compat32 && !(r->type->flags & MANIFEST_ARCH))
		a.verdict = CLASS_IGNORED;
	if (a.verdict == CLASS_PLACED) {
		if (!expand_place(r->cells[COL_PLACE], path, rest, is_compat32 ? "32/" : "", &a))
			return err_set(e, -ERR_SOURCE_MEMBER, "%s cannot be given a name in the payload",
				       path);
		snprintf(a.path, sizeof(a.path), "%s", r->cells[COL_PATH]);
		snprintf(a.module, sizeof(a.module), "%s", r->cells[COL_MODULE]);
		a.gunzip = span_ends(SPAN(path), ".gz") && !span_ends(SPAN(a.place), ".gz");
	}
	*ret = a;
	return 0;
}

int classify(const struct class_table *t, const char *path, bool is_compat32, struct class_answer *ret,
	     struct err *e)
{
	for (size_t i = 0; i < t->n; i++) {
		struct span rest = SPAN_NULL;

		if (class_glob(t->rows[i].cells[COL_PATTERN], path, &rest))
			return answer(&t->rows[i], path, rest, is_compat32, ret, e);
	}
	*ret = (struct class_answer){ .verdict = CLASS_UNKNOWN };
	return 0;
}
