/* SPDX-License-Identifier: Apache-2.0
 *
 * A .deb is an ar archive of three members: debian-binary, control.tar.* and data.tar.*, the last two compressed
 * on their own. Both layers are streamed; the data member is never copied. */
#include "pkg.h"

#include "deb822.h"
#include "strbuf.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <unistd.h>

#define CONTROL_MAX ((size_t)1 << 20)

struct outer {
	const char *label;
	const char *wanted; /* "control.tar" or "data.tar" */
	pkg_member_fn fn;
	void *arg;
	bool found;
	int stop_after; /* 1: what follows is of no interest */
};

static int outer_member(const struct pkg_member *m, void *arg, struct err *e)
{
	struct outer *o = arg;
	size_t n = strlen(o->wanted);
	int r;

	if (strncmp(m->path, o->wanted, n) != 0 || (m->path[n] && m->path[n] != '.'))
		return 0;
	if (o->found)
		return err_set(e, -ERR_SOURCE_PACKAGE, "%s has two members called %s", o->label, m->path);
	o->found = true;
	r = pkg_nested_members(m, o->label, o->fn, o->arg, e);
	return r ? r : o->stop_after;
}

static int deb_walk(int fd, const char *label, const char *wanted, struct pkg_budget *budget,
		    pkg_member_fn fn, void *arg, struct err *e)
{
	_cleanup_(pkg_archive_freep) struct archive *a = NULL;
	struct outer o = { label, wanted, fn, arg, false, strcmp(wanted, "control.tar") == 0 };
	int r = pkg_archive_new(&a, e);

	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "reading %s", label);
	if (archive_read_open_fd(a, fd, 256 << 10) != ARCHIVE_OK)
		return pkg_archive_error(a, label, e);
	r = pkg_walk(a, label, budget, outer_member, &o, e);
	if (r >= 0 && !o.found)
		r = err_set(e, -ERR_SOURCE_PACKAGE, "%s has no %s member", label, wanted);
	if (r < 0)
		(void)err_object(e, "%s", label);
	return r < 0 ? r : 0;
}

static int take_control(const struct pkg_member *m, void *arg, struct err *e)
{
	char **text = arg;

	if (strcmp(m->path, "control") != 0 || m->type != PKG_FILE || *text)
		return 0;
	return pkg_member_text(m, CONTROL_MAX, text, NULL, e);
}

static int field(const struct deb822_stanza *s, const char *name, const char *label, char **ret,
		 struct err *e)
{
	struct span v = deb822_value(s, name);

	if (v.len == 0)
		return err_set(e, -ERR_SOURCE_PACKAGE, "%s: its control file has no %s", label, name);
	*ret = span_dup(v);
	return *ret ? 0 : err_oom(e);
}

static int control_facts(const char *text, const char *label, struct pkg_facts *f, struct err *e)
{
	_cleanup_(deb822_stanza_done) struct deb822_stanza s = { 0 };
	struct deb822_reader reader = DEB822_READER(SPAN(text));
	struct span source, word;
	int r = deb822_next(&reader, &s, e);

	if (r < 0)
		return err_wrap(e, "%s: control file", label);
	if ((r = field(&s, "Package", label, &f->name, e)) < 0 ||
	    (r = field(&s, "Version", label, &f->version, e)) < 0 ||
	    (r = field(&s, "Architecture", label, &f->arch, e)) < 0)
		return r;
	source = deb822_value(&s, "Source");
	if (!span_word(&source, &word))
		word = SPAN(f->name);
	f->source = span_dup(word);
	return f->source ? 0 : err_oom(e);
}

int deb_facts(int fd, const char *label, struct pkg_facts *ret, struct err *e)
{
	_cleanup_(pkg_facts_done) struct pkg_facts f = { 0 };
	struct pkg_budget budget = { (uint64_t)64 << 20, 1000 };
	_cleanup_free_ char *text = NULL;
	int r;

	r = deb_walk(fd, label, "control.tar", &budget, take_control, &text, e);
	if (r < 0)
		return r;
	if (!text)
		return err_set(e, -ERR_SOURCE_PACKAGE, "%s has no control file", label);
	r = control_facts(text, label, &f, e);
	if (r < 0)
		return r;
	*ret = f;
	f = (struct pkg_facts){ 0 };
	return 0;
}

int deb_members(int fd, const char *label, struct pkg_budget *budget, pkg_member_fn fn, void *arg,
		struct err *e)
{
	return deb_walk(fd, label, "data.tar", budget, fn, arg, e);
}
