/* SPDX-License-Identifier: Apache-2.0 */
#include "container-dnf.h"

#include "parse.h"
#include "rpmver.h"
#include "strbuf.h"

#include <string.h>

#define NEAREST_EACH_SIDE 2

void dnf_repositories_done(struct dnf_repositories *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].id);
	free(r->v);
	*r = (struct dnf_repositories){ 0 };
}

static struct span last_word(struct span line)
{
	struct span word = SPAN_NULL, next;

	while (span_word(&line, &next))
		word = next;
	return word;
}

int dnf_parse_repositories(const char *text, size_t len, struct dnf_repositories *ret)
{
	struct dnf_repositories out = { 0 };
	struct span rest = { text, len }, line;

	while (span_line(&rest, &line)) {
		struct span status = last_word(line), id;
		struct dnf_repository *v;

		if (!span_word(&line, &id) || !(span_eq(status, "enabled") || span_eq(status, "disabled")))
			continue;
		v = reallocarray(out.v, out.n + 1, sizeof(*v));
		if (!v)
			goto oom;
		out.v = v;
		v[out.n] = (struct dnf_repository){ span_dup(id), span_eq(status, "enabled") };
		if (!v[out.n].id)
			goto oom;
		out.n++;
	}
	*ret = out;
	return 0;
oom:
	dnf_repositories_done(&out);
	return -ENOMEM;
}

void dnf_package_done(struct dnf_package *p)
{
	free(p->name);
	free(p->version);
	free(p->release);
	free(p->arch);
	free(p->repository);
	*p = (struct dnf_package){ 0 };
}

char *dnf_package_nevra(const struct dnf_package *p)
{
	return str_printf("%s-%s-%s.%s", p->name, p->version, p->release, p->arch);
}

void dnf_packages_done(struct dnf_packages *p)
{
	for (size_t i = 0; i < p->n; i++)
		dnf_package_done(&p->v[i]);
	free(p->v);
	*p = (struct dnf_packages){ 0 };
}

/* 1 = a package, 0 = another line. */
static int parse_package(struct span line, struct dnf_package *ret)
{
	struct dnf_package p = { 0 };
	char **const fields[] = { &p.name, &p.version, &p.release, &p.arch, &p.repository };
	struct span words[ARRAY_LEN(fields)], extra;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (!span_word(&line, &words[i]))
			return 0;
	if (span_word(&line, &extra))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		*fields[i] = span_dup(words[i]);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (!*fields[i]) {
			dnf_package_done(&p);
			return -ENOMEM;
		}
	*ret = p;
	return 1;
}

int dnf_parse_packages(const char *text, size_t len, struct dnf_packages *ret)
{
	struct dnf_packages out = { 0 };
	struct span rest = { text, len }, line;

	while (span_line(&rest, &line)) {
		struct dnf_package p, *v;
		int r = parse_package(line, &p);

		if (r == 0)
			continue;
		v = r < 0 ? NULL : reallocarray(out.v, out.n + 1, sizeof(*v));
		if (!v) {
			if (r > 0)
				dnf_package_done(&p);
			dnf_packages_done(&out);
			return -ENOMEM;
		}
		out.v = v;
		v[out.n++] = p;
	}
	*ret = out;
	return 0;
}

static int by_version(const void *a, const void *b)
{
	return rpm_version_compare(*(char *const *)a, *(char *const *)b);
}

int dnf_nearest(char *const *versions, const char *wanted, char ***ret)
{
	_cleanup_strv_ char **all = NULL, **out = NULL;
	size_t n, above = 0, from, to;

	for (; versions && *versions; versions++)
		if (!strv_contains(all, *versions) && strv_push(&all, *versions) < 0)
			return -ENOMEM;
	n = strv_len(all);
	if (n)
		qsort(all, n, sizeof(*all), by_version);
	while (above < n && rpm_version_compare(all[above], wanted) < 0)
		above++;
	from = above > NEAREST_EACH_SIDE ? above - NEAREST_EACH_SIDE : 0;
	to = above + NEAREST_EACH_SIDE < n ? above + NEAREST_EACH_SIDE : n;
	for (size_t i = from; i < to; i++)
		if (strv_push(&out, all[i]) < 0)
			return -ENOMEM;
	*ret = TAKE_PTR(out);
	return 0;
}

int dnf_parse_removed(const char *text, size_t len, char ***ret)
{
	_cleanup_strv_ char **out = NULL;
	struct span rest = { text, len }, line, word;
	bool inside = false;

	while (span_line(&rest, &line)) {
		if (!inside || !line.len || *line.p != ' ') {
			inside = span_eq(span_trim(line), "Removed:");
			continue;
		}
		while (span_word(&line, &word)) {
			_cleanup_free_ char *name = span_dup(word);

			if (!name || strv_push(&out, name) < 0)
				return -ENOMEM;
		}
	}
	*ret = TAKE_PTR(out);
	return 0;
}

int dnf_setting(const char *text, size_t len, const char *key, char **ret)
{
	struct span rest = { text, len }, line;

	while (span_line(&rest, &line)) {
		const char *eq = memchr(line.p, '=', line.len);
		struct span name;

		if (!eq)
			continue;
		name = span_trim((struct span){ line.p, (size_t)(eq - line.p) });
		if (!span_eq(name, key))
			continue;
		*ret = span_dup(span_trim((struct span){ eq + 1, line.len - (size_t)(eq + 1 - line.p) }));
		return *ret ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

char *dnf_complaint(const char *tail)
{
	static const char prefix[] = "Error: ";
	struct span rest = SPAN(tail ? tail : ""), line, last = SPAN_NULL, error = SPAN_NULL;

	while (span_line(&rest, &line)) {
		line = span_trim(line);
		if (line.len)
			last = line;
		if (span_starts(line, prefix))
			error = (struct span){ line.p + strlen(prefix), line.len - strlen(prefix) };
	}
	if (error.len)
		return span_dup(error);
	return last.len ? span_dup(last) : strdup("it says nothing");
}
