/* SPDX-License-Identifier: Apache-2.0 */
#include "vgpu-listing.h"

#include "catalog.h"
#include "jutil.h"
#include "strbuf.h"
#include "err-vgpu.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define LISTING_MAX ((size_t)4 << 20)
#define PACKAGES    "NVIDIA-GRID-Linux-KVM-*"

void listing_done(struct listing *l)
{
	strv_freep(&l->files);
	strv_freep(&l->dirs);
}

void listing_found_done(struct listing_found *f)
{
	freep(&f->url);
	freep(&f->name);
}

/* -- the answer -- */

static bool means_nothing_there(json_int_t code)
{
	return code == 401 || code == 403 || code == 404 || code == 500;
}

static int take_entries(const json_t *content, struct listing *l)
{
	const json_t *entry;
	size_t i;
	int r = 0;

	json_array_foreach (content, i, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		bool is_dir = json_is_true(json_object_get(entry, "is_dir"));

		if (r >= 0 && name && name_is_safe(name))
			r = strv_push(is_dir ? &l->dirs : &l->files, name);
	}
	return r;
}

int listing_parse(struct span text, struct listing *ret, struct err *e)
{
	struct listing l = { 0 };
	json_auto_t *answer = NULL;
	const json_t *code, *data;
	int r = jparse(text, &answer, e);

	if (r < 0)
		return r;
	code = json_object_get(answer, "code");
	data = json_object_get(answer, "data");
	if (json_is_integer(code) && means_nothing_there(json_integer_value(code)))
		return -ENOENT;
	if (!json_is_integer(code) || json_integer_value(code) != 200 || !json_is_object(data))
		return err_set(e, ERR_FORMAT, "the answer is no directory listing");
	if (take_entries(json_object_get(data, "content"), &l) < 0) {
		listing_done(&l);
		return err_oom(e);
	}
	*ret = l;
	return 0;
}

/* -- one directory -- */

static const char *base_of(const struct listing_request *q)
{
	return q->base ? q->base : LISTING_BASE;
}

/* `path`: below the branch's directory, "" or "/Host_Drivers". A directory that is not there is an empty one. */
static int ask(const struct listing_request *q, const char *path, struct listing *ret, struct err *e)
{
	_cleanup_free_ char *url =
	    str_printf("%s/api/fs/list?path=" LISTING_ROOT "/%s%s", base_of(q), q->branch, path);
	_cleanup_free_ char *text = NULL;
	struct fetch_request f = *q->how;
	size_t len = 0;
	int r;

	if (!url)
		return err_oom(e);
	f.url = url;
	r = fetch_text(&f, LISTING_MAX, &text, &len, e);
	if (r >= 0)
		r = listing_parse((struct span){ text, len }, ret, e);
	if (r == -ENOENT) {
		err_done(e);
		return 0;
	}
	return r < 0 ? err_wrap(e, "%s", url) : 0;
}

static int found(const struct listing_request *q, const char *path, const char *name,
		 struct listing_found *ret)
{
	ret->url = str_printf("%s/d" LISTING_ROOT "/%s%s/%s", base_of(q), q->branch, path, name);
	ret->name = strdup(name);
	ret->is_zip = span_ends(SPAN(name), ".zip");
	return ret->url && ret->name ? 1 : -ENOMEM;
}

/* A host driver of the wanted version; 1 when there is one. */
static int find_driver(const struct listing_request *q, const char *path, char *const *files, bool custom,
		       struct listing_found *ret)
{
	for (; files && *files; files++) {
		_cleanup_free_ char *version = NULL;

		if (span_ends(SPAN(*files), "-custom.run") != custom ||
		    catalog_file_version(*files, &version) < 0 || strcmp(version, q->version) != 0)
			continue;
		return found(q, path, *files, ret);
	}
	return 0;
}

static int find_in(const struct listing_request *q, const char *path, char *const *files,
		   struct listing_found *ret, struct err *e)
{
	int r = q->want_custom ? find_driver(q, path, files, true, ret) : 0;

	if (r == 0)
		r = find_driver(q, path, files, false, ret);
	return r < 0 ? err_oom(e) : r;
}

/* 1 found, 0 not there. */
static int look_below(const struct listing_request *q, const char *path, struct listing_found *ret,
		      struct err *e)
{
	_cleanup_(listing_done) struct listing l = { 0 };
	int r = ask(q, path, &l, e);

	return r < 0 ? r : find_in(q, path, l.files, ret, e);
}

static int look_in_packages(const struct listing_request *q, char *const *dirs, struct listing_found *ret,
			    struct err *e)
{
	int r = 0;

	for (; r == 0 && dirs && *dirs; dirs++) {
		_cleanup_free_ char *path = NULL;

		if (fnmatch(PACKAGES, *dirs, 0) != 0)
			continue;
		path = str_printf("/%s/Host_Drivers", *dirs);
		r = path ? look_below(q, path, ret, e) : err_oom(e);
	}
	return r;
}

static int find_package(const struct listing_request *q, char *const *files, struct listing_found *ret,
			struct err *e)
{
	for (; files && *files; files++)
		if (fnmatch(PACKAGES ".zip", *files, 0) == 0)
			return found(q, "", *files, ret) < 0 ? err_oom(e) : 1;
	return 0;
}

int listing_find(const struct listing_request *q, struct listing_found *ret, struct err *e)
{
	_cleanup_(listing_found_done) struct listing_found f = { 0 };
	_cleanup_(listing_done) struct listing top = { 0 };
	int r = ask(q, "", &top, e);

	if (r == 0)
		r = find_in(q, "", top.files, &f, e);
	if (r == 0 && strv_contains(top.dirs, "Host_Drivers"))
		r = look_below(q, "/Host_Drivers", &f, e);
	if (r == 0)
		r = look_in_packages(q, top.dirs, &f, e);
	if (r == 0)
		r = find_package(q, top.files, &f, e);
	if (r < 0)
		return r;
	if (r == 0) {
		(void)err_set(e, ERR_VGPU_PORTAL, "%s has no driver %s of branch %s", base_of(q), q->version,
			      q->branch);
		return err_object(e, "%s", q->branch);
	}
	*ret = f;
	f = (struct listing_found){ 0 };
	return 0;
}
