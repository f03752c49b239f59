/* SPDX-License-Identifier: Apache-2.0 */
#include "rpmrepo.h"

#include "digest.h"
#include "gpgv.h"
#include "libarchive.h"
#include "strbuf.h"
#include "xml.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>

#define INDEX	      "repodata/repomd.xml"
#define SIGNATURE_MAX ((size_t)256 << 10)
#define INDEX_MAX     ((size_t)4 << 20)
#define LIST_MAX      ((size_t)128 << 20) /* as fetched */
#define UNPACKED_MAX  ((size_t)768 << 20)
#define BLOCK_BYTES   ((size_t)1 << 18)

static void package_done(struct rpmrepo_package *p)
{
	free(p->name);
	free(p->version);
	free(p->release);
	free(p->arch);
	free(p->href);
	*p = (struct rpmrepo_package){ 0 };
}

void rpmrepo_packages_done(struct rpmrepo_packages *l)
{
	for (size_t i = 0; i < l->n; i++)
		package_done(&l->v[i]);
	free(l->v);
	*l = (struct rpmrepo_packages){ 0 };
}

void rpmrepo_index_done(struct rpmrepo_index *i)
{
	free(i->href);
	*i = (struct rpmrepo_index){ 0 };
}

/* -- the documents -- */

static int invalid(const char *what, struct err *e)
{
	return err_set(e, ERR_REPOSITORY_INVALID, "%s", what);
}

/* Below the repository and nowhere else. */
static bool is_below(struct span href)
{
	static const char never[] = "\\?#\"'<>&";

	if (!href.p || !href.len || href.p[0] == '/' || memmem(href.p, href.len, "..", 2) ||
	    memmem(href.p, href.len, "://", 3))
		return false;
	for (size_t i = 0; i < href.len; i++)
		if ((unsigned char)href.p[i] <= ' ' || href.p[i] == 127 || strchr(never, href.p[i]))
			return false;
	return true;
}

static bool take_href(const struct xml_tag *t, char **ret)
{
	struct span href, base;

	if (xml_attribute(t, "xml:base", &base) == 0 || xml_attribute(t, "href", &href) < 0 ||
	    !is_below(href))
		return false;
	free(*ret);
	*ret = span_dup(href);
	return *ret;
}

static void take_sha256(const struct xml_tag *t, char ret[65])
{
	struct span type;
	uint8_t bytes[32];

	if (xml_attribute(t, "type", &type) == 0 && span_eq(type, "sha256") &&
	    parse_hexbytes(t->text, bytes, sizeof(bytes)) == 0)
		hex_encode(bytes, sizeof(bytes), ret);
}

int rpmrepo_parse_index(struct span xml, struct rpmrepo_index *ret, struct err *e)
{
	_cleanup_(rpmrepo_index_done) struct rpmrepo_index i = { 0 };
	struct xml_tag t;
	struct span type;
	bool is_primary = false;
	int r;

	while ((r = xml_next(&xml, &t)) > 0) {
		if (span_eq(t.name, "data"))
			is_primary =
			    !t.closes && xml_attribute(&t, "type", &type) == 0 && span_eq(type, "primary");
		if (!is_primary || t.closes)
			continue;
		if (span_eq(t.name, "location"))
			(void)take_href(&t, &i.href);
		if (span_eq(t.name, "checksum"))
			take_sha256(&t, i.sha256);
	}
	if (r < 0)
		return invalid("repomd.xml is not understood", e);
	if (!i.href || !*i.sha256)
		return invalid("repomd.xml names no list of packages with a SHA-256", e);
	*ret = i;
	i = (struct rpmrepo_index){ 0 };
	return 0;
}

static bool is_build_tree(const char *name)
{
	return span_starts(SPAN(name), "kernel") && span_ends(SPAN(name), "-devel");
}

static int take_text(struct span text, char **ret)
{
	free(*ret);
	*ret = span_dup(text);
	return *ret ? 0 : -ENOMEM;
}

/* One tag directly below <package>. */
static int take_field(const struct xml_tag *t, struct rpmrepo_package *p)
{
	struct span value;
	int r = 0;

	if (span_eq(t->name, "name"))
		return take_text(t->text, &p->name);
	if (span_eq(t->name, "arch"))
		return take_text(t->text, &p->arch);
	if (span_eq(t->name, "version")) {
		if (xml_attribute(t, "ver", &value) == 0)
			r = take_text(value, &p->version);
		if (r == 0 && xml_attribute(t, "rel", &value) == 0)
			r = take_text(value, &p->release);
		return r;
	}
	if (span_eq(t->name, "checksum"))
		take_sha256(t, p->sha256);
	if (span_eq(t->name, "location"))
		(void)take_href(t, &p->href);
	if (span_eq(t->name, "size") && xml_attribute(t, "package", &value) == 0)
		(void)parse_u64(value, INT64_MAX, &p->size_bytes);
	return 0;
}

/* Takes what p owns when it is offered. */
static int keep(struct rpmrepo_package *p, struct rpmrepo_packages *l)
{
	struct rpmrepo_package *v;

	if (!p->name || !p->version || !p->release || !p->arch || !p->href || !*p->sha256 ||
	    !is_build_tree(p->name))
		return 0;
	v = reallocarray(l->v, l->n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	l->v = v;
	v[l->n++] = *p;
	*p = (struct rpmrepo_package){ 0 };
	return 0;
}

int rpmrepo_parse_packages(struct span xml, struct rpmrepo_packages *ret, struct err *e)
{
	_cleanup_(rpmrepo_packages_done) struct rpmrepo_packages l = { 0 };
	_cleanup_(package_done) struct rpmrepo_package p = { 0 };
	bool inside = false, in_format = false;
	struct xml_tag t;
	int r, failed = 0;

	while (!failed && (r = xml_next(&xml, &t)) > 0) {
		if (span_eq(t.name, "package")) {
			if (t.closes && inside)
				failed = keep(&p, &l);
			package_done(&p);
			inside = !t.closes && !t.is_empty;
			in_format = false;
		} else if (span_eq(t.name, "format")) {
			in_format = !t.closes && !t.is_empty;
		} else if (inside && !in_format && !t.closes) {
			failed = take_field(&t, &p);
		}
	}
	if (failed)
		return err_oom(e);
	if (r < 0)
		return invalid("the list of packages is not understood", e);
	*ret = l;
	l = (struct rpmrepo_packages){ 0 };
	return 0;
}

/* -- fetched -- */

char *rpmrepo_url(const char *url, const char *href)
{
	size_t n = strlen(url);

	while (n && url[n - 1] == '/')
		n--;
	return str_printf("%.*s/%s", (int)n, url, href);
}

static void archive_donep(struct archive **a)
{
	if (*a)
		(void)archive_read_free(*a);
}

/* The raw "format" hands out the unpacked stream as the one member of an archive. */
static int unpack(const char *bytes, size_t len, struct strbuf *out, struct err *e)
{
	_cleanup_(archive_donep) struct archive *a = NULL;
	struct archive_entry *entry;
	_cleanup_free_ char *block = malloc(BLOCK_BYTES);
	la_ssize_t n;
	int r = libarchive_require(e);

	if (r < 0)
		return r;
	a = archive_read_new();
	if (!a || !block)
		return err_oom(e);
	(void)archive_read_support_filter_gzip(a);
	(void)archive_read_support_filter_bzip2(a);
	(void)archive_read_support_filter_xz(a);
	(void)archive_read_support_filter_zstd(a);
	(void)archive_read_support_format_raw(a);
	if (archive_read_open_memory(a, bytes, len) != ARCHIVE_OK ||
	    archive_read_next_header(a, &entry) != ARCHIVE_OK)
		return invalid(archive_error_string(a) ?: "the list of packages cannot be unpacked", e);
	while ((n = archive_read_data(a, block, BLOCK_BYTES)) > 0)
		if (strbuf_append(out, block, (size_t)n) < 0)
			return strbuf_error(out) == -E2BIG
				   ? err_set(e, ERR_TOO_LARGE, "a list of packages of more than %zu MiB",
					     UNPACKED_MAX >> 20)
				   : err_oom(e);
	return n < 0 ? invalid(archive_error_string(a) ?: "the list of packages is damaged", e) : 0;
}

/* absent: what a repository is that has no such document. */
static int fetch_bytes(const char *url, const char *href, const struct fetch_request *how, size_t max,
		       int absent, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ char *address = rpmrepo_url(url, href);
	struct fetch_request q = *how;
	int r;

	if (!address)
		return err_oom(e);
	q.url = address;
	r = fetch_text(&q, max, ret, ret_len, e);
	return r == -ENOENT ? err_set(e, absent, "there is no %s", address) : r;
}

static int check_digest(const char *bytes, size_t len, const char *want, struct err *e)
{
	uint8_t sum[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	int r = sha256_bytes(bytes, len, sum);

	if (r < 0)
		return err_errno(e, r, "digest of the list of packages");
	hex_encode(sum, sizeof(sum), hex);
	return strcmp(hex, want) == 0
		   ? 0
		   : err_set(e, ERR_FETCH_DIGEST, "the list of packages is not the one repomd.xml names");
}

static int fetch_list(const char *url, const struct fetch_request *q, const struct rpmrepo_index *index,
		      struct rpmrepo_packages *ret, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf xml = STRBUF_INIT(UNPACKED_MAX);
	_cleanup_free_ char *bytes = NULL;
	size_t len;
	int r = fetch_bytes(url, index->href, q, LIST_MAX, ERR_REPOSITORY_INVALID, &bytes, &len, e);

	if (r == 0)
		r = check_digest(bytes, len, index->sha256, e);
	if (r == 0)
		r = unpack(bytes, len, &xml, e);
	return r < 0 ? r : rpmrepo_parse_packages((struct span){ strbuf_str(&xml), xml.len }, ret, e);
}

static int check_signature(const char *url, const struct fetch_request *q, struct span index,
			   char *const *gpg_keys, struct err *e)
{
	_cleanup_free_ char *signature = NULL;
	size_t len;
	int r =
	    fetch_bytes(url, INDEX ".asc", q, SIGNATURE_MAX, ERR_REPOSITORY_SIGNATURE, &signature, &len, e);

	return r < 0 ? r : gpgv_check(INDEX, index, (struct span){ signature, len }, gpg_keys, e);
}

int rpmrepo_kernels(const char *url, const struct fetch_request *q, char *const *gpg_keys,
		    struct rpmrepo_packages *ret, struct err *e)
{
	_cleanup_(rpmrepo_index_done) struct rpmrepo_index index = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = fetch_bytes(url, INDEX, q, INDEX_MAX, ERR_REPOSITORY_INVALID, &text, &len, e);

	if (r == 0 && gpg_keys)
		r = check_signature(url, q, (struct span){ text, len }, gpg_keys, e);
	if (r == 0)
		r = rpmrepo_parse_index((struct span){ text, len }, &index, e);
	if (r == 0)
		r = fetch_list(url, q, &index, ret, e);
	return r < 0 ? err_wrap(e, "repository %s", url) : 0;
}

/* -- chosen -- */

/* Variants say so in the release behind a "+"; what has none is the plain kernel's, or a vendor's own. */
static bool fits(const struct rpmrepo_package *p, const char *kernel_release)
{
	_cleanup_free_ char *plain = str_printf("%s-%s.%s", p->version, p->release, p->arch);
	size_t n = plain ? strlen(plain) : 0;
	_cleanup_free_ char *middle = NULL;

	if (!plain || strncmp(kernel_release, plain, n) != 0)
		return false;
	if (kernel_release[n] == '\0')
		return !strstr(p->name, "-debug-") && !strstr(p->name, "-64k-") && !strstr(p->name, "-rt-");
	if (kernel_release[n] != '+')
		return false;
	middle = str_printf("-%s-", kernel_release + n + 1);
	return middle && strstr(p->name, middle);
}

static int likeliest_first(const void *a, const void *b)
{
	const struct rpmrepo_package *x = *(const struct rpmrepo_package *const *)a,
				     *y = *(const struct rpmrepo_package *const *)b;
	size_t nx = strlen(x->name), ny = strlen(y->name);

	return nx != ny ? (nx > ny) - (nx < ny) : strcmp(x->sha256, y->sha256);
}

int rpmrepo_choose(const struct rpmrepo_packages *l, const char *kernel_release,
		   const struct rpmrepo_package ***ret, size_t *ret_n)
{
	const struct rpmrepo_package **list = calloc(l->n + 1, sizeof(*list));
	size_t n = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++)
		if (fits(&l->v[i], kernel_release))
			list[n++] = &l->v[i];
	qsort(list, n, sizeof(*list), likeliest_first);
	*ret = list;
	*ret_n = n;
	return 0;
}
