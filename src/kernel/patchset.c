/* SPDX-License-Identifier: Apache-2.0 */
#include "patchset.h"
#include "datadir.h"

#include "digest.h"
#include "fd.h"
#include "jutil.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define PATCH_MAX  ((size_t)16 << 20)
#define INDEX_MAX  ((size_t)1 << 20)
#define HEADER_MAX ((size_t)8 << 20)

static void patch_file_done(struct patch_file *f)
{
	free(f->name);
	free(f->why);
	free(f->bytes);
}

void patchset_done(struct patchset *p)
{
	for (size_t i = 0; i < p->n_patches; i++)
		patch_file_done(&p->patches[i]);
	free(p->patches);
	*p = (struct patchset)PATCHSET_INIT;
}

/* -- conditions -- */

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Parameters of the function declared at p, which points behind the name; -1 when that is no declaration. */
static int count_parameters(const char *p, const char *end)
{
	int depth = 0, commas = 0;
	bool any = false;

	while (p < end && isspace((unsigned char)*p))
		p++;
	if (p == end || *p != '(')
		return -1;
	for (const char *from = p; p < end; p++) {
		depth += (*p == '(') - (*p == ')');
		if (depth == 0) {
			struct span inside = span_trim((struct span){ from + 1, (size_t)(p - from - 1) });

			return any && !span_eq(inside, "void") ? commas + 1 : 0;
		}
		if (*p == ',' && depth == 1)
			commas++;
		any |= p > from && !isspace((unsigned char)*p);
	}
	return -1;
}

int header_function_parameters(const char *text, size_t len, const char *function)
{
	const char *end = text + len, *p = text;
	size_t n = strlen(function);

	while ((p = memmem(p, (size_t)(end - p), function, n))) {
		int count;

		if ((p > text && is_word(p[-1])) || (p + n < end && is_word(p[n]))) {
			p += n;
			continue;
		}
		count = count_parameters(p + n, end);
		if (count >= 0)
			return count;
		p += n;
	}
	return -1;
}

static int index_invalid(struct err *e, const char *version, const char *what)
{
	err_set(e, ERR_PATCHSET, "%s/index.json: %s", version, what);
	return err_object(e, "%s/index.json", version);
}

/* {"header": "include/linux/pci.h", "function": "pci_resize_resource", "parameters": 4}; 1 = holds. */
static int condition_holds(const json_t *when, const struct ktree *t, const char *version, struct err *e)
{
	const char *header, *function;
	_cleanup_close_ int dir = -EBADF, fd = -EBADF;
	_cleanup_free_ char *text = NULL;
	int parameters, r;
	size_t len;

	if (!when)
		return 1;
	if (json_unpack((json_t *)when, "{s:s, s:s, s:i !}", "header", &header, "function", &function,
			"parameters", &parameters) < 0 ||
	    !path_name_is_clean(header))
		return index_invalid(e, version,
				     "\"when\" needs header, function and parameters, nothing else");
	dir = dir_open_at(AT_FDCWD, t->source);
	if (dir < 0)
		return err_errno(e, dir, "%s", t->source);
	fd = path_open_at(dir, header, O_RDONLY, 0, PATH_IN_ROOT);
	if (fd == -ENOENT)
		return 0;
	r = fd < 0 ? fd : read_fd(fd, HEADER_MAX, &text, &len);
	if (r < 0)
		return err_errno(e, r, "%s/%s", t->source, header);
	return header_function_parameters(text, len, function) == parameters;
}

/* -- loading -- */

static int read_patch(int dirfd, const char *path, const char *name, const char *why, struct patch_file *ret,
		      struct err *e)
{
	struct patch_file f = { 0 };
	uint8_t digest[SHA256_SIZE];
	int r = read_file_at(dirfd, path, PATCH_MAX, &f.bytes, &f.len);

	if (r < 0) {
		err_set(e, ERR_PATCHSET, "%s: %s", path, strerror(-r));
		return err_object(e, "%s", path);
	}
	f.name = strdup(name);
	f.why = strdup(why);
	if (!f.name || !f.why || sha256_bytes(f.bytes, f.len, digest) < 0) {
		patch_file_done(&f);
		return err_oom(e);
	}
	hex_encode(digest, sizeof(digest), f.sha256);
	*ret = f;
	return 0;
}

static int keep_patch(struct patchset *p, struct patch_file *f, struct err *e)
{
	struct patch_file *grown = realloc(p->patches, (p->n_patches + 1) * sizeof(*p->patches));

	if (!grown)
		return err_oom(e);
	p->patches = grown;
	p->patches[p->n_patches++] = *f;
	*f = (struct patch_file){ 0 };
	return 0;
}

static bool names_flavour(const json_t *flavours, const char *flavour)
{
	size_t i;
	json_t *f;

	if (!flavours)
		return true;
	json_array_foreach ((json_t *)flavours, i, f)
		if (json_is_string(f) && strcmp(json_string_value(f), flavour) == 0)
			return true;
	return false;
}

/* One index entry: its digest always counts, the patch is kept when flavour and kernel ask for it. */
static int load_entry(int dir, const json_t *entry, const char *version, const char *flavour,
		      const struct ktree *t, struct digest *all, struct patchset *p, struct err *e)
{
	_cleanup_(patch_file_done) struct patch_file f = { 0 };
	json_t *flavours = NULL, *when = NULL;
	const char *file, *why;
	int r;

	if (json_unpack((json_t *)entry, "{s:s, s:s, s?o, s?o !}", "file", &file, "why", &why, "flavours",
			&flavours, "when", &when) < 0 ||
	    !name_is_safe(file))
		return index_invalid(
		    e, version, "an entry needs \"file\" and \"why\", may have \"flavours\" and \"when\"");
	r = read_patch(dir, file, file, why, &f, e);
	if (r < 0)
		return r;
	if (digest_update(all, f.sha256, 64) < 0)
		return err_oom(e);
	if (!t || !names_flavour(flavours, flavour))
		return 0;
	r = condition_holds(when, t, version, e);
	if (r <= 0)
		return r;
	return keep_patch(p, &f, e);
}

static int load_index(int dir, const char *version, const char *flavour, const struct ktree *t,
		      struct digest *all, struct patchset *p, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_t *index = NULL, *patches, *entry;
	json_error_t je;
	size_t len, i;
	int r = read_file_at(dir, "index.json", INDEX_MAX, &text, &len);

	if (r < 0)
		return index_invalid(e, version, strerror(-r));
	if (digest_update(all, text, len) < 0)
		return err_oom(e);
	r = jloadb((struct span){ text, len }, &index, &je);
	if (r == -ENOMEM)
		return err_oom(e);
	if (r < 0)
		return index_invalid(e, version, je.text);
	patches = json_object_get(index, "patches");
	r = json_is_array(patches) ? 0 : index_invalid(e, version, "no \"patches\" list");
	json_array_foreach (patches, i, entry) {
		if (r < 0)
			break;
		r = load_entry(dir, entry, version, flavour, t, all, p, e);
	}
	json_decref(index);
	return r;
}

static int load_extra(char *const *extra, struct digest *all, struct patchset *p, struct err *e)
{
	for (; extra && *extra; extra++) {
		_cleanup_(patch_file_done) struct patch_file f = { 0 };
		const char *base = strrchr(*extra, '/');
		int r = read_patch(AT_FDCWD, *extra, base ? base + 1 : *extra, "named by the user", &f, e);

		if (r < 0)
			return r;
		if (digest_update(all, f.sha256, 64) < 0)
			return err_oom(e);
		r = keep_patch(p, &f, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int patchset_load(const char *dir, const char *version, const char *flavour, const struct ktree *t,
		  char *const *extra, struct patchset *ret, struct err *e)
{
	_cleanup_(patchset_done) struct patchset p = PATCHSET_INIT;
	_cleanup_(digest_freep) struct digest *all = NULL;
	_cleanup_free_ char *top = dir ? strdup(dir) : datadir_path("patches"), *path = NULL;
	_cleanup_close_ int fd = -EBADF;
	uint8_t sum[SHA256_SIZE];
	int r;

	if (!version_is_valid(version))
		return err_set(e, ERR_PATCHSET, "\"%s\" is not a driver version", version);
	path = top ? str_printf("%s/%s", top, version) : NULL;
	if (!path || digest_new("sha256", &all) < 0)
		return err_oom(e);
	fd = dir_open_at(AT_FDCWD, path);
	if (fd < 0 && fd != -ENOENT)
		return err_errno(e, fd, "%s", path);
	r = fd < 0 ? 0 : load_index(fd, version, flavour, t, all, &p, e);
	if (r < 0)
		return r;
	r = load_extra(extra, all, &p, e);
	if (r < 0)
		return r;
	if (fd >= 0 || (extra && *extra)) {
		if (digest_final(all, sum, sizeof(sum), NULL) < 0)
			return err_oom(e);
		hex_encode(sum, sizeof(sum), p.digest);
	}
	*ret = p;
	p = (struct patchset)PATCHSET_INIT;
	return 0;
}
