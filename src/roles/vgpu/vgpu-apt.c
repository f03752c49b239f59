/* SPDX-License-Identifier: Apache-2.0
 *
 * Two forms of one thing. A .list line is "deb [options] URI suite components"; a .sources file holds stanzas, whose
 * fields apt reads without regard to case, the last of equal ones winning. */
#include "vgpu-apt.h"

#include "strbuf.h"

#include <string.h>
#include <strings.h>

#define ENTERPRISE_HOST "enterprise.proxmox.com"
#define PVE_URI		"http://download.proxmox.com/debian/pve"
#define CEPH_URI	"http://download.proxmox.com/debian/ceph-"
#define SOURCES_DIR	"etc/apt/sources.list.d/"
#define TEXT_MAX	((size_t)2 << 20)

/* -- reading -- */

void apt_repos_done(struct apt_repos *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].uri);
		free(l->v[i].suite);
		free(l->v[i].signed_by);
		strv_freep(&l->v[i].components);
	}
	free(l->v);
	*l = (struct apt_repos){ 0 };
}

static bool host_is(struct span uri, const char *host)
{
	const char *p = memmem(uri.p, uri.len, "://", 3);
	struct span rest;

	if (!p)
		return false;
	rest = (struct span){ p + 3, uri.len - (size_t)(p + 3 - uri.p) };
	return rest.len >= strlen(host) && strncasecmp(rest.p, host, strlen(host)) == 0 &&
	       (rest.len == strlen(host) || rest.p[strlen(host)] == '/' || rest.p[strlen(host)] == ':');
}

static struct span without_slashes(struct span uri)
{
	while (uri.len > 0 && uri.p[uri.len - 1] == '/')
		uri.len--;
	return uri;
}

/* Words of `components` are copied. */
static int repo_add(struct apt_repos *l, const struct apt_repo *like, struct span uri, struct span suite,
		    struct span components, struct span signed_by)
{
	struct apt_repo *v = reallocarray(l->v, l->n + 1, sizeof(*v));
	struct apt_repo *new;
	struct span word;
	int r = 0;

	if (!v)
		return -ENOMEM;
	l->v = v;
	new = &l->v[l->n++];
	*new = *like;
	new->uri = span_dup(without_slashes(uri));
	new->suite = span_dup(suite);
	new->signed_by = signed_by.p ? span_dup(signed_by) : NULL;
	new->components = NULL;
	while (r == 0 && span_word(&components, &word)) {
		_cleanup_free_ char *copy = span_dup(word);

		r = copy ? strv_push(&new->components, copy) : -ENOMEM;
	}
	return r < 0 || !new->uri || !new->suite || (signed_by.p && !new->signed_by) ? -ENOMEM : 0;
}

struct list_line {
	bool binary;
	struct span options, uri, suite, components;
};

/* One line of a .list that is in force; false for comments and whatever apt would refuse. */
static bool list_line_parse(struct span line, struct list_line *ret)
{
	const char *hash = memchr(line.p, '#', line.len);
	struct span rest = { line.p, hash ? (size_t)(hash - line.p) : line.len }, type;

	*ret = (struct list_line){ 0 };
	if (!span_word(&rest, &type) || !(span_eq(type, "deb") || span_eq(type, "deb-src")))
		return false;
	ret->binary = span_eq(type, "deb");
	rest = span_trim(rest);
	if (rest.len > 0 && rest.p[0] == '[') {
		const char *end = memchr(rest.p, ']', rest.len);

		if (!end)
			return false;
		ret->options = (struct span){ rest.p + 1, (size_t)(end - rest.p - 1) };
		rest = (struct span){ end + 1, rest.len - (size_t)(end + 1 - rest.p) };
	}
	if (!span_word(&rest, &ret->uri) || !span_word(&rest, &ret->suite))
		return false;
	ret->components = span_trim(rest);
	return true;
}

static struct span option(struct span options, const char *key)
{
	struct span word;

	while (span_word(&options, &word))
		if (span_starts(word, key))
			return (struct span){ word.p + strlen(key), word.len - strlen(key) };
	return SPAN_NULL;
}

static int read_list(const struct text_file *f, struct apt_repos *l)
{
	struct span rest = { f->bytes, f->len }, line;
	struct apt_repo like = { .file = f, .enabled = true };
	struct list_line d;
	int r = 0;

	while (r == 0 && span_line(&rest, &line)) {
		like.place++;
		if (!list_line_parse(line, &d))
			continue;
		like.binary = d.binary;
		r = repo_add(l, &like, d.uri, d.suite, d.components, option(d.options, "signed-by="));
	}
	return r;
}

/* A line of a .sources file. */
enum line_kind { LINE_BLANK, LINE_COMMENT, LINE_FIELD, LINE_MORE };

static enum line_kind line_kind(struct span line)
{
	if (span_trim(line).len == 0)
		return LINE_BLANK;
	if (line.p[0] == '#')
		return LINE_COMMENT;
	return line.p[0] == ' ' || line.p[0] == '\t' ? LINE_MORE : LINE_FIELD;
}

static bool field_is(struct span line, const char *key)
{
	return line.len > strlen(key) && strncasecmp(line.p, key, strlen(key)) == 0 &&
	       line.p[strlen(key)] == ':';
}

/* The stanza at the head of `text`, with the comments before it and the blank lines after it; false at the end. */
static bool stanza_next(struct span *text, struct span *ret)
{
	struct span rest = *text, line, before = rest;
	bool fields = false, over = false;

	if (text->len == 0)
		return false;
	for (; before = rest, span_line(&rest, &line);) {
		enum line_kind kind = line_kind(line);

		if (over && kind != LINE_BLANK) {
			rest = before;
			break;
		}
		fields |= kind == LINE_FIELD;
		over |= fields && kind == LINE_BLANK;
	}
	*ret = (struct span){ text->p, text->len - rest.len };
	*text = rest;
	return true;
}

/* The value of a field in a stanza, continuation lines joined with blanks; the last of several. NULL without memory,
 * "" when absent. */
static char *stanza_value(struct span stanza, const char *key)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(TEXT_MAX);
	struct span line;
	bool in = false;
	char *s = NULL;

	while (span_line(&stanza, &line)) {
		enum line_kind kind = line_kind(line);

		if (kind == LINE_FIELD) {
			in = field_is(line, key);
			if (!in)
				continue;
			strbuf_reset(&out);
			line = (struct span){ line.p + strlen(key) + 1, line.len - strlen(key) - 1 };
		} else if (kind != LINE_MORE || !in) {
			continue;
		}
		line = span_trim(line);
		(void)strbuf_printf(&out, "%s%.*s", out.len ? " " : "", (int)line.len, line.p);
	}
	if (out.len == 0)
		return strdup("");
	return strbuf_steal(&out, &s) < 0 ? NULL : s;
}

static bool is_off(const char *value)
{
	static const char *const off[] = { "no", "false", "0", "off", "disable", "without" };

	for (size_t i = 0; i < ARRAY_LEN(off); i++)
		if (strcasecmp(value, off[i]) == 0)
			return true;
	return false;
}

static int read_stanza(struct apt_repos *l, const struct apt_repo *like, struct span stanza)
{
	_cleanup_free_ char *types = stanza_value(stanza, "Types"), *uris = stanza_value(stanza, "URIs"),
			    *suites = stanza_value(stanza, "Suites"),
			    *components = stanza_value(stanza, "Components"),
			    *enabled = stanza_value(stanza, "Enabled"),
			    *signed_by = stanza_value(stanza, "Signed-By");
	struct apt_repo one = *like;
	struct span rest, uri, suite, words;
	int r = 0;

	if (!types || !uris || !suites || !components || !enabled || !signed_by)
		return -ENOMEM;
	one.enabled = !is_off(enabled);
	for (words = SPAN(types); span_word(&words, &suite);)
		one.binary |= span_eq(suite, "deb");
	for (words = SPAN(uris); r == 0 && span_word(&words, &uri);)
		for (rest = SPAN(suites); r == 0 && span_word(&rest, &suite);)
			r = repo_add(l, &one, uri, suite, SPAN(components),
				     *signed_by ? SPAN(signed_by) : SPAN_NULL);
	return r;
}

static int read_sources(const struct text_file *f, struct apt_repos *l)
{
	struct span rest = { f->bytes, f->len }, stanza;
	struct apt_repo like = { .file = f };
	int r = 0;

	while (r == 0 && stanza_next(&rest, &stanza)) {
		like.place++;
		r = read_stanza(l, &like, stanza);
	}
	return r;
}

int apt_repos_read(const struct text_files *files, struct apt_repos *ret)
{
	struct apt_repos l = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < files->n; i++)
		r = span_ends(SPAN(files->v[i].path), ".sources") ? read_sources(&files->v[i], &l)
								  : read_list(&files->v[i], &l);
	if (r < 0)
		apt_repos_done(&l);
	else
		*ret = l;
	return r;
}

/* -- switching off -- */

int apt_list_without_enterprise(struct span text, char **ret, size_t *ret_active)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(TEXT_MAX);
	size_t active = 0;
	struct span line, rest = text;
	struct list_line d;

	while (span_line(&rest, &line)) {
		bool entry = list_line_parse(line, &d), off = entry && host_is(d.uri, ENTERPRISE_HOST);

		active += entry && !off;
		(void)strbuf_printf(&out, "%s", off ? "# " : "");
		(void)strbuf_append(&out, line.p, line.len);
		if (line.p + line.len < text.p + text.len)
			(void)strbuf_putc(&out, '\n');
	}
	if (ret_active)
		*ret_active = active;
	if (out.len == 0 && !out.error)
		return (*ret = strdup("")) ? 0 : -ENOMEM;
	return strbuf_steal(&out, ret);
}

/* How many of a stanza's URIs are of the enterprise host, and how many there are. */
static int stanza_uris(struct span stanza, size_t *ret_enterprise, size_t *ret_all)
{
	_cleanup_free_ char *uris = stanza_value(stanza, "URIs");
	struct span rest, uri;

	if (!uris)
		return -ENOMEM;
	*ret_enterprise = *ret_all = 0;
	for (rest = SPAN(uris); span_word(&rest, &uri); (*ret_all)++)
		*ret_enterprise += host_is(uri, ENTERPRISE_HOST);
	return 0;
}

static const char *line_end(struct span line)
{
	return line.len > 0 && line.p[line.len - 1] == '\r' ? "\r\n" : "\n";
}

/* The stanza with Enabled set: the existing fields (all of them, for the last would win) or a new first field, which is
 * inside the stanza however the rest is written. */
static void stanza_set_enabled(struct strbuf *out, struct span stanza, bool on)
{
	const char *value = on ? "true" : "false";
	struct span rest = stanza, line;
	bool there = false, in = false, first = true;

	for (struct span l, all = stanza; span_line(&all, &l);)
		there |= line_kind(l) == LINE_FIELD && field_is(l, "Enabled");
	while (span_line(&rest, &line)) {
		bool ended = line.p + line.len < stanza.p + stanza.len;
		enum line_kind kind = line_kind(line);

		if (kind == LINE_MORE && in)
			continue;
		in = kind == LINE_FIELD && field_is(line, "Enabled");
		if (kind == LINE_FIELD && first && !there)
			(void)strbuf_printf(out, "Enabled: %s%s", value, line_end(line));
		first &= kind != LINE_FIELD;
		if (in)
			(void)strbuf_printf(out, "%.*s: %s%s", (int)strlen("Enabled"), line.p, value,
					    ended ? line_end(line) : "");
		else
			(void)strbuf_append(out, line.p, line.len + ended);
	}
}

static int stanza_is_off(struct span stanza)
{
	_cleanup_free_ char *enabled = stanza_value(stanza, "Enabled");

	return enabled ? is_off(enabled) : -ENOMEM;
}

int apt_sources_without_enterprise(struct span text, char **ret)
{
	_cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT(TEXT_MAX);
	struct span stanza;

	while (stanza_next(&text, &stanza)) {
		size_t enterprise, all;
		int off = stanza_is_off(stanza), r = off < 0 ? off : stanza_uris(stanza, &enterprise, &all);

		if (r < 0)
			return r;
		if (!off && all > 0 && enterprise == all)
			stanza_set_enabled(&out, stanza, false);
		else
			(void)strbuf_append(&out, stanza.p, stanza.len);
	}
	if (out.len == 0 && !out.error)
		return (*ret = strdup("")) ? 0 : -ENOMEM;
	return strbuf_steal(&out, ret);
}

/* -- what has to change -- */

static bool is_sources(const struct text_file *f)
{
	return span_ends(SPAN(f->path), ".sources");
}

static int keep_copy(struct text_edits *out, const struct text_files *files, const struct text_file *f)
{
	_cleanup_free_ char *path = str_printf("%s.bak", f->path);

	if (!path)
		return -ENOMEM;
	if (text_files_find(files, path))
		return 0;
	return text_edits_set(out, path, NULL, (struct span){ f->bytes, f->len }, "keep a copy of /%s",
			      f->path);
}

/* A .list without an active line left gets a name apt passes over; sources.list itself keeps its name. */
static int put_list(struct text_edits *out, const struct text_file *f, const char *text, size_t active)
{
	_cleanup_free_ char *path = str_printf("%s.disabled", f->path);
	int r;

	if (!path)
		return -ENOMEM;
	if (active > 0 || strncmp(f->path, SOURCES_DIR, strlen(SOURCES_DIR)) != 0)
		return text_edits_set(out, f->path, f, SPAN(text),
				      "switch the enterprise repository off in /%s", f->path);
	r = text_edits_set(out, path, NULL, SPAN(text), "switch the enterprise repository off: /%s", path);
	return r < 0 ? r : text_edits_drop(out, f, "which replaces /%s", f->path);
}

static int disable_in(struct text_edits *out, const struct text_files *files, const struct text_file *f)
{
	_cleanup_free_ char *text = NULL;
	struct span bytes = { f->bytes, f->len };
	size_t active = 1;
	int r = is_sources(f) ? apt_sources_without_enterprise(bytes, &text)
			      : apt_list_without_enterprise(bytes, &text, &active);

	if (r < 0 || (strlen(text) == f->len && memcmp(text, f->bytes, f->len) == 0))
		return r;
	r = keep_copy(out, files, f);
	if (r < 0)
		return r;
	return is_sources(f) ? text_edits_set(out, f->path, f, SPAN(text),
					      "switch the enterprise repository off in /%s", f->path)
			     : put_list(out, f, text, active);
}

/* A free repository that shall be there. */
struct wanted {
	const char *uri, *component, *stem;
};

static bool repo_matches(const struct apt_repo *r, const struct wanted *w, const char *suite)
{
	struct span a = SPAN(r->uri), b = SPAN(w->uri);
	const char *x = memmem(a.p, a.len, "://", 3), *y = memmem(b.p, b.len, "://", 3);

	return r->binary && x && y && strcmp(x, y) == 0 && strcmp(r->suite, suite) == 0;
}

/* The newest text of a file: what an earlier edit made of it, or what was read. */
static struct span text_now(const struct text_edits *out, const struct text_file *f)
{
	for (size_t i = out->n; i-- > 0;)
		if (out->v[i].bytes && strcmp(out->v[i].path, f->path) == 0)
			return (struct span){ out->v[i].bytes, out->v[i].len };
	return (struct span){ f->bytes, f->len };
}

/* Replaces the edit of that file, if there is one: a plan edits a file once. */
static int put_text(struct text_edits *out, const struct text_files *files, const struct text_file *f,
		    const char *text, const char *what)
{
	int r;

	for (size_t i = 0; i < out->n; i++) {
		struct text_edit *d = &out->v[i];

		if (!d->bytes || strcmp(d->path, f->path) != 0)
			continue;
		free(d->bytes);
		d->bytes = strdup(text);
		d->len = strlen(text);
		return d->bytes ? 0 : -ENOMEM;
	}
	r = keep_copy(out, files, f);
	return r < 0 ? r : text_edits_set(out, f->path, f, SPAN(text), "%s in /%s", what, f->path);
}

/* Switches on the stanza that defines the wanted repository. */
static int enable_in(struct text_edits *out, const struct text_files *files, const struct apt_repo *repo)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(TEXT_MAX);
	struct span rest = text_now(out, repo->file), stanza;

	for (unsigned n = 1; stanza_next(&rest, &stanza); n++)
		if (n == repo->place)
			stanza_set_enabled(&text, stanza, true);
		else
			(void)strbuf_append(&text, stanza.p, stanza.len);
	if (strbuf_error(&text) < 0)
		return -ENOMEM;
	return put_text(out, files, repo->file, strbuf_str(&text), "switch the free repository on");
}

static int new_text(struct strbuf *b, const struct wanted *w, const char *codename, const char *signed_by,
		    bool stanza)
{
	if (!stanza)
		return strbuf_printf(b, "deb %s%s%s%s %s %s\n", signed_by ? "[signed-by=" : "",
				     signed_by ? signed_by : "", signed_by ? "] " : "", w->uri, codename,
				     w->component);
	(void)strbuf_printf(b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n", w->uri, codename,
			    w->component);
	return signed_by ? strbuf_printf(b, "Signed-By: %s\n", signed_by) : 0;
}

/* On PVE 9 a proxmox.sources that is there is the documented home: the stanza is added to it. */
static const struct text_file *home(const struct text_files *files, const struct wanted *w, bool stanza)
{
	return stanza && strcmp(w->uri, PVE_URI) == 0 ? text_files_find(files, SOURCES_DIR "proxmox.sources")
						      : NULL;
}

static int add_repo(struct text_edits *out, const struct text_files *files, const struct wanted *w,
		    const struct apt_request *q, const char *signed_by)
{
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(TEXT_MAX);
	bool stanza = strcmp(q->codename, "trixie") == 0;
	_cleanup_free_ char *path = str_printf(SOURCES_DIR "%s.%s", w->stem, stanza ? "sources" : "list");
	const struct text_file *f = home(files, w, stanza);

	if (!path)
		return -ENOMEM;
	if (f) {
		struct span now = text_now(out, f);

		(void)strbuf_append(&text, now.p, now.len);
		if (now.len > 0)
			(void)strbuf_puts(&text, now.p[now.len - 1] == '\n' ? "\n" : "\n\n");
	}
	if (new_text(&text, w, q->codename, signed_by, stanza) < 0)
		return -ENOMEM;
	if (f)
		return put_text(out, files, f, strbuf_str(&text), "add the free repository");
	f = text_files_find(files, path);
	return text_edits_set(out, path, f, SPAN(strbuf_str(&text)), "add the free repository: /%s", path);
}

static int need_keyring(struct text_edits *out, const struct apt_request *q, const char *path)
{
	if (q->has_file(path, q->arg))
		return 0;
	return text_edits_note(out, "the repositories' key /%s is missing: install proxmox-archive-keyring",
			       path);
}

static int want_repo(struct text_edits *out, const struct text_files *files, const struct apt_repos *repos,
		     const struct wanted *w, const struct apt_request *q)
{
	static const char pve9_key[] = "usr/share/keyrings/proxmox-archive-keyring.gpg";
	const char *signed_by =
	    strcmp(q->codename, "trixie") == 0 ? "/usr/share/keyrings/proxmox-archive-keyring.gpg" : NULL;
	const struct apt_repo *off = NULL;
	char old_key[96];
	int r;

	for (size_t i = 0; i < repos->n; i++) {
		const struct apt_repo *repo = &repos->v[i];

		if (!repo_matches(repo, w, q->codename))
			continue;
		/* Another key for the same address and suite would stop apt altogether. */
		if (repo->enabled)
			signed_by = repo->signed_by;
		if (repo->enabled && strv_contains(repo->components, w->component))
			return 0;
		if (!repo->enabled && strv_contains(repo->components, w->component))
			off = repo;
	}
	if (off)
		return enable_in(out, files, off);
	(void)snprintf(old_key, sizeof(old_key), "etc/apt/trusted.gpg.d/proxmox-release-%.32s.gpg",
		       q->codename);
	r = need_keyring(out, q, strcmp(q->codename, "trixie") == 0 ? pve9_key : old_key);
	return r < 0 ? r : add_repo(out, files, w, q, signed_by);
}

/* "squid" of an address ".../debian/ceph-squid" of Proxmox; NULL. Borrowed. */
static const char *ceph_release(const struct apt_repo *repo)
{
	const char *at = strstr(repo->uri, ".proxmox.com/debian/ceph-");

	return repo->enabled && repo->binary && at ? at + strlen(".proxmox.com/debian/ceph-") : NULL;
}

/* The free repository of the Ceph release this host gets from the enterprise one; none where none was configured. */
static int want_ceph(struct text_edits *out, const struct text_files *files, const struct apt_repos *repos,
		     const struct apt_request *q)
{
	for (size_t i = 0; i < repos->n; i++) {
		const struct apt_repo *repo = &repos->v[i];
		const char *release = ceph_release(repo);
		_cleanup_free_ char *uri = release ? str_printf(CEPH_URI "%s", release) : NULL;
		int r;

		if (!release || !host_is(SPAN(repo->uri), ENTERPRISE_HOST))
			continue;
		if (!uri)
			return -ENOMEM;
		r = want_repo(out, files, repos,
			      &(struct wanted){ uri, "no-subscription", "ceph-no-subscription" }, q);
		if (r < 0)
			return r;
		break;
	}
	return 0;
}

/* A stanza that names the enterprise host beside others cannot be switched off for one of them. */
static int note_mixed(struct text_edits *out, const struct text_file *f)
{
	struct span rest = { f->bytes, f->len }, stanza;

	while (is_sources(f) && stanza_next(&rest, &stanza)) {
		size_t enterprise, all;
		int r = stanza_uris(stanza, &enterprise, &all);

		if (r == 0 && enterprise > 0 && enterprise < all)
			r = text_edits_note(out,
					    "a stanza of /%s names " ENTERPRISE_HOST
					    " beside other addresses and stays as it is",
					    f->path);
		if (r < 0)
			return r;
	}
	return 0;
}

int apt_edits(const struct text_files *files, const struct apt_request *q, struct text_edits *ret)
{
	static const struct wanted pve = { PVE_URI, "pve-no-subscription", "pve-no-subscription" };
	struct apt_repos repos = { 0 };
	int r = 0;

	if (q->subscription)
		return text_edits_note(ret,
				       "this host has a subscription: its repositories stay as they are");
	r = apt_repos_read(files, &repos);
	for (size_t i = 0; r >= 0 && i < files->n; i++) {
		if (!span_ends(SPAN(files->v[i].path), ".list") && !is_sources(&files->v[i]))
			continue;
		r = disable_in(ret, files, &files->v[i]);
		if (r >= 0)
			r = note_mixed(ret, &files->v[i]);
	}
	if (r >= 0)
		r = want_repo(ret, files, &repos, &pve, q);
	if (r >= 0)
		r = want_ceph(ret, files, &repos, q);
	apt_repos_done(&repos);
	return r;
}
