/* SPDX-License-Identifier: Apache-2.0 */
#include "container-dtk.h"
#include "kmods.h"
#include "strbuf.h"

#include <string.h>

/* "kernel/drivers/i2c/i2c-core.ko.xz" is module i2c-core. */
static bool file_is_module(struct span path, const char *name)
{
	const char *slash = memrchr(path.p, '/', path.len);
	struct span base = slash ? (struct span){ slash + 1, path.len - (size_t)(slash + 1 - path.p) } : path;
	const char *ko = memmem(base.p, base.len, ".ko", 3);
	size_t n = strlen(name);

	if (!ko || (size_t)(ko - base.p) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((base.p[i] == '-' ? '_' : base.p[i]) != (name[i] == '-' ? '_' : name[i]))
			return false;
	return true;
}

static bool is_builtin(struct span builtin, const char *name)
{
	struct span line;

	while (span_line(&builtin, &line))
		if (file_is_module(span_trim(line), name))
			return true;
	return false;
}

static int push_once(char ***list, struct span path)
{
	_cleanup_free_ char *copy = span_dup(path);

	if (!copy)
		return -ENOMEM;
	return *list && strv_contains(*list, copy) ? 0 : strv_push(list, copy);
}

/* The words behind the colon from the last to the first: modules.dep names what is needed most directly first. */
static int push_line(char ***list, struct span file, struct span needs)
{
	while (needs.len > 0) {
		size_t from = needs.len;

		while (from > 0 && needs.p[from - 1] != ' ')
			from--;
		if (from < needs.len &&
		    push_once(list, (struct span){ needs.p + from, needs.len - from }) < 0)
			return -ENOMEM;
		needs.len = from > 0 ? from - 1 : 0;
	}
	return push_once(list, file);
}

/* 1 = found, 0 = no such module. */
static int push_module(char ***list, struct span dep, const char *name)
{
	struct span line;

	while (span_line(&dep, &line)) {
		const char *colon = memchr(line.p, ':', line.len);
		struct span file = { line.p, colon ? (size_t)(colon - line.p) : 0 };

		if (!colon || !file_is_module(file, name))
			continue;
		return push_line(list, file, span_trim((struct span){ colon + 1, line.len - file.len - 1 })) <
			       0
			   ? -ENOMEM
			   : 1;
	}
	return 0;
}

int dtk_module_files(struct span modules_dep, struct span modules_builtin, const char *const *names,
		     char ***ret, struct err *e)
{
	_cleanup_strv_ char **out = NULL;

	for (; *names; names++) {
		size_t n = strcspn(*names, "?");
		_cleanup_free_ char *name = span_dup((struct span){ *names, n });
		int r = name ? 0 : -ENOMEM;

		if (r == 0 && !is_builtin(modules_builtin, name))
			r = push_module(&out, modules_dep, name);
		else if (r == 0)
			r = 1;
		if (r < 0)
			return err_oom(e);
		if (r == 0 && (*names)[n] != '?') {
			(void)err_set(e, ERR_MODULE_MISSING, "no module %s was built", name);
			return err_object(e, "%s", name);
		}
	}
	*ret = TAKE_PTR(out);
	return 0;
}
