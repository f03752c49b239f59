/* SPDX-License-Identifier: Apache-2.0 */
#include "pkgtree.h"

#include "fd.h"
#include "manifest.h"
#include "path.h"
#include "publish.h"
#include "strbuf.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTION  "NVIDIA Accelerated Graphics Driver for Linux-%s"
#define GUNZIP_MAX   ((size_t)64 << 20)
#define KBUILD_MAX   ((size_t)1 << 20)
#define UNPLACED_MAX 100000u

struct entry {
	char *file, *target; /* owned; target only for links */
	const struct manifest_type *type;
	unsigned mode;
	bool is_compat32;
	char path[128], module[64];
};

struct pkgtree {
	int dirfd; /* borrowed */
	struct class_table *table; /* owned */
	struct entry *entries; /* owned */
	size_t n, allocated;
	json_t *unplaced; /* owned */
	char *arch; /* owned; "x86_64", "aarch64" once known */
	char *version, *version_from; /* owned; driver version and the file that says so */
	uint64_t files, bytes;
	bool has_libraries;
};

/* One package on its way in. */
struct intake {
	struct pkgtree *p;
	const char *label;
	const char *inside; /* path of the surrounding archive, NULL = none */
	bool is_compat32;
};

void pkgtree_freep(struct pkgtree **pp)
{
	struct pkgtree *p = *pp;

	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		free(p->entries[i].file);
		free(p->entries[i].target);
	}
	free(p->entries);
	class_table_freep(&p->table);
	json_decref(p->unplaced);
	free(p->arch);
	free(p->version);
	free(p->version_from);
	free(p);
	*pp = NULL;
}

int pkgtree_new(int dirfd, struct pkgtree **ret, struct err *e)
{
	_cleanup_(pkgtree_freep) struct pkgtree *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_oom(e);
	p->dirfd = dirfd;
	p->unplaced = json_array();
	if (!p->unplaced)
		return err_oom(e);
	r = class_table_builtin(&p->table, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(p);
	return 0;
}

void pkgtree_result_done(struct pkgtree_result *r)
{
	freep(&r->version);
	freep(&r->arch);
	freep(&r->driver_kind);
}

json_t *pkgtree_unplaced(struct pkgtree *p)
{
	return p->unplaced;
}

/* -- entries -- */

static int entry_add(struct pkgtree *p, const struct class_answer *a, const struct manifest_type *type,
		     unsigned mode, const char *target, bool is_compat32, struct err *e)
{
	struct entry *en;

	if (p->n == p->allocated) {
		size_t more = p->allocated ? 2 * p->allocated : 256;
		struct entry *grown = reallocarray(p->entries, more, sizeof(*grown));

		if (!grown)
			return err_oom(e);
		p->entries = grown;
		p->allocated = more;
	}
	en = &p->entries[p->n];
	*en = (struct entry){ .type = type, .mode = mode, .is_compat32 = is_compat32 };
	memcpy(en->path, a->path, sizeof(en->path));
	memcpy(en->module, a->module, sizeof(en->module));
	en->file = strdup(a->place);
	en->target = target ? strdup(target) : NULL;
	p->n++;
	return en->file && (!target || en->target) ? 0 : err_oom(e);
}

static const struct entry *entry_find(const struct pkgtree *p, const char *file)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->entries[i].file, file) == 0)
			return &p->entries[i];
	return NULL;
}

static int version_claim(struct pkgtree *p, const char *version, const char *from, struct err *e)
{
	if (p->version && strcmp(p->version, version) != 0)
		return err_set(e, -ERR_SOURCE_INCOMPLETE, "%s is of driver %s, but %s of %s", p->version_from,
			       p->version, from, version);
	if (p->version)
		return 0;
	p->version = strdup(version);
	p->version_from = strdup(from);
	return p->version && p->version_from ? 0 : err_oom(e);
}

/* libnvidia-ml.so.535.261.03 says its driver; libnvidia-egl-gbm.so.1.1.0 has a version of its own. */
static int version_of_library(struct pkgtree *p, const char *place, struct err *e)
{
	const char *so = strstr(place, ".so.");

	if (!so || !version_is_valid(so + 4) || version_compare(so + 4, "100.0") < 0)
		return 0;
	p->has_libraries = true;
	return version_claim(p, so + 4, place, e);
}

/* -- content -- */

static int same_content(struct pkgtree *p, const struct pkg_member *m, const char *place, struct err *e)
{
	_cleanup_close_ int fd = path_open_at(p->dirfd, place, O_RDONLY, 0, PATH_NO_SYMLINKS);
	_cleanup_free_ uint8_t *a = malloc(128 << 10), *b = malloc(128 << 10);

	if (!a || !b)
		return err_oom(e);
	if (fd < 0)
		return err_errno(e, fd, "reading %s", place);
	for (;;) {
		ssize_t n = pkg_member_read(m, a, 128 << 10, e), k;

		if (n < 0)
			return (int)n;
		k = read_upto(fd, b, n ? (size_t)n : 1);
		if (k < 0)
			return err_errno(e, (int)k, "reading %s", place);
		if (k != n || memcmp(a, b, (size_t)n) != 0)
			return err_set(e, -ERR_SOURCE_MEMBER, "two packages have different content for %s",
				       place);
		if (n == 0)
			return 0;
	}
}

static int gunzip_to_fd(const char *bytes, size_t len, const char *name, int fd, struct err *e)
{
	_cleanup_(pkg_archive_freep) struct archive *a = archive_read_new();
	struct archive_entry *en;
	char buf[16384];
	size_t total = 0;

	/* The library is there: the bytes come out of a package. */
	if (!a || archive_read_support_filter_gzip(a) != ARCHIVE_OK ||
	    archive_read_support_format_raw(a) != ARCHIVE_OK)
		return err_oom(e);
	if (archive_read_open_memory(a, bytes, len) != ARCHIVE_OK ||
	    archive_read_next_header(a, &en) != ARCHIVE_OK)
		return pkg_archive_error(a, name, e);
	for (;;) {
		la_ssize_t n = archive_read_data(a, buf, sizeof(buf));
		int r;

		if (n < 0)
			return pkg_archive_error(a, name, e);
		if (n == 0)
			return 0;
		total += (size_t)n;
		if (total > GUNZIP_MAX)
			return err_set(e, -ERR_TOO_LARGE, "%s unpacks to more than %zu bytes", name,
				       GUNZIP_MAX);
		r = write_all(fd, buf, (size_t)n);
		if (r < 0)
			return err_errno(e, r, "writing %s", name);
	}
}

static int write_member(const struct pkg_member *m, const struct class_answer *a, int fd, struct err *e)
{
	_cleanup_free_ char *packed = NULL;
	size_t len;
	int r;

	if (!a->gunzip)
		return pkg_member_to_fd(m, fd, e);
	r = pkg_member_text(m, GUNZIP_MAX, &packed, &len, e);
	return r < 0 ? r : gunzip_to_fd(packed, len, a->place, fd, e);
}

static int place_file(struct pkgtree *p, const struct pkg_member *m, const struct class_answer *a,
		      bool is_compat32, struct err *e)
{
	_cleanup_close_ int dirfd = -EBADF, fd = -EBADF;
	const char *name;
	mode_t mode = m->mode & 0111 ? 0755 : 0644;
	struct stat st;
	int r;

	dirfd = path_open_parent(p->dirfd, a->place, true, PATH_NO_SYMLINKS, &name);
	if (dirfd < 0)
		return err_errno(e, dirfd, "making the directory of %s", a->place);
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 && errno == EEXIST)
		return a->gunzip ? err_set(e, -ERR_SOURCE_MEMBER, "two packages have %s", a->place)
				 : same_content(p, m, a->place, e);
	if (fd < 0)
		return err_errno(e, -errno, "creating %s", a->place);
	r = write_member(m, a, fd, e);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || fstat(fd, &st) < 0)
		return err_errno(e, -errno, "writing %s", a->place);
	p->files++;
	p->bytes += (uint64_t)st.st_size;
	r = version_of_library(p, a->place, e);
	if (r < 0)
		return r;
	/* The program that loads modules for users works by its set-id bit; the payload only records it. */
	if (strcmp(a->type->name, "NVIDIA_MODPROBE") == 0)
		mode |= 04000;
	return entry_add(p, a, a->type, mode, NULL, is_compat32, e);
}

static int place_link(struct pkgtree *p, const struct pkg_member *m, const struct class_answer *a,
		      bool is_compat32, struct err *e)
{
	const char *slash = strrchr(m->target, '/'), *target = slash ? slash + 1 : m->target;
	const struct entry *known = entry_find(p, a->place);

	if (!name_is_safe(target))
		return err_set(e, -ERR_SOURCE_MEMBER, "link %s points to \"%.200s\"", m->path, m->target);
	if (known && known->target && strcmp(known->target, target) == 0)
		return 0;
	if (known)
		return err_set(e, -ERR_SOURCE_MEMBER, "two packages have different links called %s",
			       a->place);
	return entry_add(p, a, a->link_type, 0, target, is_compat32, e);
}

/* -- members -- */

static int list_unplaced(struct intake *in, const char *path, struct err *e)
{
	_cleanup_free_ char *text = str_printf("%s: %s", in->label, path);

	if (json_array_size(in->p->unplaced) >= UNPLACED_MAX)
		return err_set(e, -ERR_TOO_LARGE, "more than %u files have no place in a driver",
			       UNPLACED_MAX);
	if (!text || json_array_append_new(in->p->unplaced, json_string(text)) < 0)
		return err_oom(e);
	return 0;
}

static int take_member(const struct pkg_member *m, void *arg, struct err *e);

static int take_archive(struct intake *in, const struct pkg_member *m, struct err *e)
{
	struct intake inner = *in;

	if (in->inside || m->type != PKG_FILE)
		return err_set(e, -ERR_SOURCE_MEMBER, "%s: %s is not an archive of sources", in->label,
			       m->path);
	inner.inside = m->path;
	return pkg_nested_members(m, in->label, take_member, &inner, e);
}

static int take_placed(struct intake *in, const struct pkg_member *m, const char *path,
		       const struct class_answer *a, struct err *e)
{
	if (m->type == PKG_FILE)
		return place_file(in->p, m, a, in->is_compat32, e);
	if (m->type == PKG_LINK && a->link_type)
		return place_link(in->p, m, a, in->is_compat32, e);
	if (m->type == PKG_LINK)
		return list_unplaced(in, path, e);
	return err_set(e, -ERR_SOURCE_MEMBER, "%s: %s is a hard link, which no driver package has", in->label,
		       path);
}

static int take_member(const struct pkg_member *m, void *arg, struct err *e)
{
	struct intake *in = arg;
	_cleanup_free_ char *whole = NULL;
	const char *path = m->path;
	struct class_answer a;
	int r;

	if (m->type == PKG_DIR)
		return 0;
	if (in->inside) {
		whole = str_printf("%s!/%s", in->inside, m->path);
		if (!whole)
			return err_oom(e);
		path = whole;
	}
	r = classify(in->p->table, path, in->is_compat32, &a, e);
	if (r < 0)
		return err_wrap(e, "%s", in->label);
	if (a.verdict == CLASS_IGNORED)
		return 0;
	if (a.verdict == CLASS_UNKNOWN)
		return list_unplaced(in, path, e);
	r = a.verdict == CLASS_ARCHIVE ? take_archive(in, m, e) : take_placed(in, m, path, &a, e);
	return r < 0 ? err_wrap(e, "%s", in->label) : 0;
}

/* -- packages -- */

static const struct {
	const char *package_arch, *arch; /* arch NULL: 32-bit companion; "": any machine */
} machines[] = {
	{ "amd64", "x86_64" },	  { "x86_64", "x86_64" }, { "arm64", "aarch64" },
	{ "aarch64", "aarch64" }, { "i386", NULL },	  { "i686", NULL },
	{ "armhf", NULL },	  { "all", "" },	  { "noarch", "" },
};

static int take_machine(struct pkgtree *p, const struct pkg_facts *f, const char *label, bool *ret_compat32,
			struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
		const char *arch = machines[i].arch;

		if (strcmp(machines[i].package_arch, f->arch) != 0)
			continue;
		*ret_compat32 = !arch;
		if (!arch || !arch[0])
			return 0;
		if (p->arch && strcmp(p->arch, arch) != 0)
			return err_set(e, -ERR_SOURCE_INCOMPLETE, "%s is for %s, the others are for %s",
				       label, arch, p->arch);
		if (!p->arch && !(p->arch = strdup(arch)))
			return err_oom(e);
		return 0;
	}
	return err_set(e, -ERR_SOURCE_PACKAGE, "%s is for the unknown machine \"%.40s\"", label, f->arch);
}

int pkgtree_add(struct pkgtree *p, int fd, const char *label, struct pkg_budget *budget, struct err *e)
{
	_cleanup_(pkg_facts_done) struct pkg_facts facts = { 0 };
	struct intake in = { .p = p };
	int r;

	r = pkg_facts(fd, label, &facts, e);
	if (r < 0)
		return r;
	in.label = facts.name;
	r = take_machine(p, &facts, label, &in.is_compat32, e);
	if (r < 0)
		return r;
	r = pkg_members(fd, facts.name, budget, take_member, &in, e);
	if (r < 0)
		(void)err_object(e, "%s", label);
	return r < 0 ? r : 0;
}

/* -- the end -- */

static const char *const module_order[] = { "nvidia",	  "nvidia-uvm",	    "nvidia-modeset",
					    "nvidia-drm", "nvidia-peermem", "nvidia-vgpu-vfio" };
static const char *const source_dirs[] = { "kernel", "kernel-open" };

/* Every module of the sources is a directory with <name>/<name>.Kbuild in it. */
static bool has_module(struct pkgtree *p, const char *dir, const char *module)
{
	char file[256];

	snprintf(file, sizeof(file), "%s/%s/%s.Kbuild", dir, module, module);
	return path_exists(p->dirfd, file);
}

static int module_list(struct pkgtree *p, struct strbuf *out, bool *ret_from_sources, struct err *e)
{
	*ret_from_sources = false;
	for (size_t i = 0; i < ARRAY_LEN(module_order); i++)
		for (size_t d = 0; d < ARRAY_LEN(source_dirs); d++)
			if (has_module(p, source_dirs[d], module_order[i])) {
				(void)strbuf_printf(out, "%s%s", out->len ? " " : "", module_order[i]);
				*ret_from_sources = true;
				break;
			}
	/* User space alone: what every driver of the last ten years loads. */
	if (!*ret_from_sources)
		(void)strbuf_puts(out, "nvidia nvidia-uvm nvidia-modeset nvidia-drm");
	return strbuf_error(out) < 0 ? err_oom(e) : 0;
}

/* The sources name their version in a compiler flag: -DNV_VERSION_STRING=\"535.261.03\" */
static int version_of_sources(struct pkgtree *p, const char *dir, struct err *e)
{
	_cleanup_free_ char *file = str_printf("%s/Kbuild", dir), *text = NULL;
	static const char flag[] = "NV_VERSION_STRING=\\\"";
	const char *at, *end;
	char version[64];

	if (!file)
		return err_oom(e);
	if (!path_exists(p->dirfd, file))
		return 0;
	if (read_file_at(p->dirfd, file, KBUILD_MAX, &text, NULL) < 0)
		return err_set(e, -ERR_SOURCE_PACKAGE, "%s cannot be read", file);
	at = strstr(text, flag);
	end = at ? strchr(at + strlen(flag), '\\') : NULL;
	if (!end || (size_t)(end - at) - strlen(flag) >= sizeof(version))
		return 0;
	snprintf(version, sizeof(version), "%.*s", (int)((size_t)(end - at) - strlen(flag)),
		 at + strlen(flag));
	return version_is_valid(version) ? version_claim(p, version, file, e) : 0;
}

static int check_complete(struct pkgtree *p, unsigned needs, bool has_sources, struct err *e)
{
	if ((needs & PKGTREE_NEEDS_KERNEL) && !has_sources) {
		(void)err_set(e, -ERR_SOURCE_INCOMPLETE, "no package has kernel module sources");
		return err_next(e,
				"add the package with the sources (nvidia-kernel-dkms, nvidia-kernel-source, "
				"kmod-nvidia-latest-dkms or the like) of the same version");
	}
	if ((needs & PKGTREE_NEEDS_USER_SPACE) && !p->has_libraries)
		return err_set(e, -ERR_SOURCE_INCOMPLETE, "no package has libraries of the driver");
	if (!p->version)
		return err_set(e, -ERR_SOURCE_INCOMPLETE,
			       "nothing in the packages tells the driver's version");
	if (!p->arch)
		return err_set(e, -ERR_SOURCE_INCOMPLETE,
			       "nothing in the packages tells the machine they are for");
	return 0;
}

static int by_file(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->file, ((const struct entry *)b)->file);
}

static int add_entries(struct pkgtree *p, struct manifest *m, struct err *e)
{
	qsort(p->entries, p->n, sizeof(*p->entries), by_file);
	for (size_t i = 0; i < p->n; i++) {
		const struct entry *en = &p->entries[i];
		unsigned flags = en->type->flags;
		int r = manifest_add(m, en->file, en->mode, en->type->name,
				     !(flags & MANIFEST_ARCH) ? MANIFEST_ARCH_NONE
				     : en->is_compat32	      ? MANIFEST_COMPAT32
							      : MANIFEST_NATIVE,
				     flags & MANIFEST_PATH ? en->path : NULL,
				     flags & MANIFEST_INHERIT ? 1 : MANIFEST_NO_INHERIT, en->target,
				     en->module[0] ? en->module : NULL, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int write_manifest(struct pkgtree *p, const char *modules, struct pkgtree_result *ret, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT(MANIFEST_MAX_BYTES);
	char description[128];
	int r;

	snprintf(description, sizeof(description), DESCRIPTION, p->arch);
	r = manifest_new(description, p->version, modules, &m, e);
	if (r < 0)
		return r;
	r = add_entries(p, m, e);
	if (r < 0)
		return r;
	r = manifest_emit(m, &text);
	if (r >= 0)
		r = publish_bytes(p->dirfd, MANIFEST_NAME, text.buf, text.len, 0444);
	if (r < 0)
		return err_errno(e, r, "writing the manifest");
	ret->driver_kind = strdup(
	    package_kind_name(manifest_package_kind(m, path_exists(p->dirfd, PACKAGE_VGPU_HOST_MARKER))));
	return ret->driver_kind ? 0 : err_oom(e);
}

static int sort_unplaced(struct pkgtree *p, struct err *e)
{
	_cleanup_strv_ char **v = NULL;
	size_t i;
	json_t *text;

	json_array_foreach (p->unplaced, i, text)
		if (strv_push(&v, json_string_value(text)) < 0)
			return err_oom(e);
	if (!v)
		return 0;
	strv_sort(v);
	(void)json_array_clear(p->unplaced);
	for (i = 0; v[i]; i++)
		if (json_array_append_new(p->unplaced, json_string(v[i])) < 0)
			return err_oom(e);
	return 0;
}

int pkgtree_finish(struct pkgtree *p, unsigned needs, struct pkgtree_result *ret, struct err *e)
{
	_cleanup_(pkgtree_result_done) struct pkgtree_result out = { 0 };
	_cleanup_(strbuf_done) struct strbuf modules = STRBUF_INIT(4096);
	bool has_sources;
	int r;

	r = module_list(p, &modules, &has_sources, e);
	for (size_t d = 0; r >= 0 && d < ARRAY_LEN(source_dirs); d++)
		r = version_of_sources(p, source_dirs[d], e);
	if (r >= 0)
		r = check_complete(p, needs, has_sources, e);
	if (r >= 0)
		r = sort_unplaced(p, e);
	if (r >= 0)
		r = write_manifest(p, strbuf_str(&modules), &out, e);
	if (r < 0)
		return r;
	out.version = strdup(p->version);
	out.arch = strdup(p->arch);
	if (!out.version || !out.arch)
		return err_oom(e);
	out.files = p->files;
	out.bytes = p->bytes;
	*ret = out;
	out = (struct pkgtree_result){ 0 };
	return 0;
}
