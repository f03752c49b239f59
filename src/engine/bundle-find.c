/* SPDX-License-Identifier: Apache-2.0
 *
 * Bundles that are found at start, in places a machine's owner puts them. */
#include "bundle-internal.h"

#include "fd.h"
#include "log.h"
#include "path.h"
#include "strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* What is looked for; the kind STORE_KIND_COUNT is any. */
struct search {
	const struct bundle_want *want;
	enum store_kind kind;
	struct strbuf tried;
	struct bundle *found;
};

static bool suits(const struct bundle *b, const struct search *s)
{
	for (size_t i = 0; i < b->n_objects; i++) {
		const struct bundle_object *o = &b->objects[i];

		if ((s->kind == STORE_KIND_COUNT || s->kind == o->kind) && bundle_object_matches(o, s->want))
			return true;
	}
	return false;
}

/* 1 = found. */
static int try_bundle(struct search *s, int root_fd, const char *path)
{
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	_cleanup_(err_done) struct err why = ERR_INIT;

	if (bundle_open_at(root_fd, path, &b, &why) < 0) {
		log_warn("%s; passed over", why.reason ? why.reason : path);
		return 0;
	}
	if (!suits(b, s))
		return 0;
	s->found = TAKE_PTR(b);
	return 1;
}

static int try_directory(struct search *s, int root_fd, const char *dir)
{
	_cleanup_strv_ char **names = NULL;
	int r = 0;

	if (path_names(root_fd, dir, &names) < 0)
		return 0;
	for (char **n = names; n && *n && r == 0; n++) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, *n);

		if (**n != '.' && span_ends(SPAN(*n), BUNDLE_SUFFIX))
			r = path ? try_bundle(s, root_fd, path) : -ENOMEM;
	}
	return r;
}

static int try_host(struct search *s, const struct host *h, const char *const *dirs)
{
	int r = 0;

	for (; h && *dirs && r == 0; dirs++) {
		(void)strbuf_printf(&s->tried, "%s%s%s%s", s->tried.len ? ", " : "", h->root,
				    strcmp(h->root, "/") == 0 ? "" : "/", *dirs);
		r = try_directory(s, h->root_fd, *dirs);
	}
	return r;
}

/* A bundle's own directory has an index; any other holds bundles. */
static int try_named(struct search *s, const char *named)
{
	_cleanup_close_ int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *path = realpath(named, NULL);
	_cleanup_free_ char *index = path ? str_printf("%s/index.json", path) : NULL;
	struct stat st;

	(void)strbuf_printf(&s->tried, "%s", named);
	if (root_fd < 0 || !path || !index || stat(path, &st) < 0) {
		log_warn("the bundle %s cannot be opened", named);
		return 0;
	}
	if (!S_ISDIR(st.st_mode) || path_exists(root_fd, index))
		return try_bundle(s, root_fd, path);
	return try_directory(s, root_fd, path);
}

static int find(const struct bundle_places *where, struct search *s)
{
	static const char *const in_container[] = { "drivers", NULL };
	static const char *const on_node[] = { "var/lib/nvdriver/bundles", "drivers", NULL };
	int r;

	if (where->named)
		return try_named(s, where->named);
	r = try_host(s, where->container, in_container);
	return r == 0 ? try_host(s, where->node, on_node) : r;
}

static int search(const struct bundle_places *where, const struct bundle_want *want, enum store_kind kind,
		  struct bundle **ret, char **ret_text, struct err *e)
{
	struct search s = { .want = want, .kind = kind, .tried = STRBUF_INIT(STRBUF_TEXT_MAX) };
	_cleanup_free_ char *text = NULL;
	int r = find(where, &s);

	if (r >= 0 && strbuf_error(&s.tried) == 0 && (text = strdup(strbuf_str(&s.tried))) && ret_text)
		*ret_text = TAKE_PTR(text);
	strbuf_done(&s.tried);
	if (r < 0)
		return err_oom(e);
	if (r == 0)
		return -ENOENT;
	*ret = s.found;
	return 0;
}

int bundle_find(const struct bundle_places *where, const struct bundle_want *want, struct bundle **ret,
		char **ret_text, struct err *e)
{
	return search(where, want, STORE_KIND_COUNT, ret, ret_text, e);
}

int bundle_kernel_tree(const struct bundle_places *where, struct store *s, const char *cert_path,
		       const char *release, const char *arch, struct ktree **ret, char **ret_text,
		       struct err *e)
{
	_cleanup_(bundle_freep) struct bundle *b = NULL;
	/* No driver and no flavour are called "": kernel trees alone have neither. */
	const struct bundle_apply how = {
		.want = { .driver = "", .flavour = "", .release = release, .arch = arch },
		.cert_path = cert_path
	};
	const struct ktree_search in_store = { .store = s, .release = release, .arch = arch };
	int r = search(where, &how.want, STORE_KERNEL, &b, ret_text, e);

	if (r == 0)
		r = bundle_apply(s, b, &how, NULL, e);
	return r < 0 ? r : ktree_find(&in_store, ret, e);
}
