/* SPDX-License-Identifier: Apache-2.0 */
#include "pkgowner.h"

#include "fd.h"
#include "libdir.h"
#include "parse.h"
#include "path.h"
#include "strbuf.h"

#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#define DPKG_INFO	     "var/lib/dpkg/info"
#define DPKG_LIST_MAX_BYTES  ((size_t)64 << 20)
#define DPKG_LISTS_MAX	     200000u
#define RPM_HEADER_MAX_BYTES ((size_t)64 << 20)
#define RPM_TAG_NAME	     1000u
#define RPM_TAG_DIRINDEXES   1116u
#define RPM_TAG_BASENAMES    1117u
#define RPM_TAG_DIRNAMES     1118u

/* A path asked for, under the one name its directory has on a merged /usr. */
struct query {
	char *canonical; /* owned */
	const char *asked;
};

struct queries {
	struct query *v;
	size_t n;
	int root_fd;
	bool merged[8];
	json_t *owners; /* owned until stolen */
};

static const char *const merged_names[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };

static void queries_done(struct queries *q)
{
	for (size_t i = 0; i < q->n; i++)
		free(q->v[i].canonical);
	free(q->v);
	json_decref(q->owners);
}

static int by_canonical(const void *a, const void *b)
{
	return strcmp(((const struct query *)a)->canonical, ((const struct query *)b)->canonical);
}

static int queries_fill(struct queries *q, int root_fd, char *const *paths)
{
	q->root_fd = root_fd;
	q->owners = json_object();
	q->v = calloc(strv_len(paths) + 1, sizeof(*q->v));
	if (!q->v || !q->owners)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(merged_names); i++) {
		_cleanup_free_ char *canonical = NULL;

		if (libdir_canonical(root_fd, merged_names[i], &canonical) < 0)
			return -ENOMEM;
		q->merged[i] = strncmp(canonical, "usr/", 4) == 0;
	}
	for (; paths && *paths; paths++) {
		int r = libdir_canonical(root_fd, *paths, &q->v[q->n].canonical);

		if (r < 0)
			return r;
		q->v[q->n++].asked = *paths;
	}
	qsort(q->v, q->n, sizeof(*q->v), by_canonical);
	return 0;
}

/* Is the text below one of the directories that are links into usr/? */
static bool is_merged(const struct queries *q, struct span path)
{
	for (size_t i = 0; i < ARRAY_LEN(merged_names); i++) {
		size_t n = strlen(merged_names[i]);

		if (q->merged[i] && path.len > n && path.p[n] == '/' &&
		    memcmp(path.p, merged_names[i], n) == 0)
			return true;
	}
	return false;
}

static const struct query *queries_find(const struct queries *q, struct span path)
{
	char buf[4200];
	const struct query key = { .canonical = buf };

	while (path.len && path.p[0] == '/')
		path.p++, path.len--;
	if (!path.len || path.len > 4095)
		return NULL;
	snprintf(buf, sizeof(buf), "%s%.*s", is_merged(q, path) ? "usr/" : "", (int)path.len, path.p);
	return bsearch(&key, q->v, q->n, sizeof(*q->v), by_canonical);
}

static int set_owner(struct queries *q, const struct query *hit, const char *package)
{
	return json_object_set_new(q->owners, hit->asked, json_string(package)) < 0 ? -ENOMEM : 0;
}

/* -- dpkg -- */

/* Three lines per diversion: from, to, package (":" for the administrator). */
static int diversions_read(int root_fd, char ***ret_lines)
{
	_cleanup_close_ int fd =
	    path_open_at(root_fd, "var/lib/dpkg/diversions", O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
	_cleanup_strv_ char **lines = NULL;
	_cleanup_free_ char *text = NULL;
	struct span rest, line;
	size_t len;
	int r = 0;

	if (fd < 0 || read_fd(fd, DPKG_LIST_MAX_BYTES, &text, &len) < 0)
		return 0;
	rest = (struct span){ text, len };
	while (r >= 0 && span_line(&rest, &line)) {
		_cleanup_free_ char *copy = span_dup(line);

		r = copy ? strv_push(&lines, copy) : -ENOMEM;
	}
	if (r < 0)
		return r;
	*ret_lines = TAKE_PTR(lines);
	return 0;
}

/* Where the file that `package` lists as `path` really lies. */
static struct span diverted(char *const *lines, struct span path, const char *package)
{
	for (size_t i = 0, n = strv_len(lines); i + 2 < n; i += 3) {
		if (span_eq(path, lines[i]) && strcmp(lines[i + 2], package) != 0)
			return SPAN(lines[i + 1]);
	}
	return path;
}

static int dpkg_list(struct queries *q, int info_fd, const char *name, char *const *diversions)
{
	_cleanup_close_ int fd = openat(info_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *text = NULL, *package = strndup(name, strcspn(name, ":"));
	struct span rest, line;
	const char *dot;
	size_t len;
	int r;

	if (!package)
		return -ENOMEM;
	dot = strrchr(package, '.');
	if (dot && strcmp(dot, ".list") == 0)
		package[dot - package] = '\0';
	if (fd < 0 || read_fd(fd, DPKG_LIST_MAX_BYTES, &text, &len) < 0)
		return 0;
	rest = (struct span){ text, len };
	while (span_line(&rest, &line)) {
		const struct query *hit = queries_find(q, diverted(diversions, line, package));

		r = hit ? set_owner(q, hit, package) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int dpkg_find(struct queries *q)
{
	_cleanup_strv_ char **diversions = NULL;
	unsigned n_lists = 0;
	struct dirent *de;
	int fd, r;
	DIR *d;

	fd = path_open_at(q->root_fd, DPKG_INFO, O_RDONLY | O_DIRECTORY, 0, PATH_IN_ROOT);
	if (fd < 0)
		return 0;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -errno;
	}
	r = diversions_read(q->root_fd, &diversions);
	while (r >= 0 && n_lists++ < DPKG_LISTS_MAX && (de = readdir(d))) {
		size_t n = strlen(de->d_name);

		if (n > 5 && strcmp(de->d_name + n - 5, ".list") == 0)
			r = dpkg_list(q, dirfd(d), de->d_name, diversions);
	}
	closedir(d);
	return r;
}

/* -- rpm -- */

/* A header blob: two big-endian counts, 16-byte index entries (tag, type, offset, count), data. */
struct rpm_header {
	const uint8_t *index, *data;
	size_t n_index, n_data;
};

static uint32_t be32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static int rpm_header_open(const void *blob, size_t len, struct rpm_header *ret)
{
	const uint8_t *p = blob;
	uint32_t il, dl;

	if (len < 8 || len > RPM_HEADER_MAX_BYTES)
		return -EBADMSG;
	il = be32_at(p);
	dl = be32_at(p + 4);
	if (il > len / 16 || dl > len || 8 + (size_t)il * 16 + dl > len)
		return -EBADMSG;
	*ret = (struct rpm_header){ p + 8, p + 8 + (size_t)il * 16, il, dl };
	return 0;
}

static int rpm_tag(const struct rpm_header *h, uint32_t tag, const uint8_t **ret, size_t *ret_len,
		   uint32_t *ret_count)
{
	for (size_t i = 0; i < h->n_index; i++) {
		const uint8_t *entry = h->index + i * 16;
		uint32_t offset = be32_at(entry + 8);

		if (be32_at(entry) != tag)
			continue;
		if (offset >= h->n_data)
			return -EBADMSG;
		*ret = h->data + offset;
		*ret_len = h->n_data - offset;
		*ret_count = be32_at(entry + 12);
		return 0;
	}
	return -ENOENT;
}

/* The i-th of a run of NUL-terminated strings; NULL past the end. */
static const char *nth_string(const uint8_t *p, size_t len, uint32_t i)
{
	const uint8_t *end = p + len, *nul;

	for (;; i--) {
		nul = memchr(p, '\0', (size_t)(end - p));
		if (!nul)
			return NULL;
		if (!i)
			return (const char *)p;
		p = nul + 1;
	}
}

static int rpm_file_path(const struct rpm_header *h, uint32_t idx, char *out, size_t size)
{
	const uint8_t *names, *dirs, *indexes;
	size_t names_len, dirs_len, indexes_len;
	uint32_t n_names, n_dirs, n_indexes, dir;
	const char *base, *directory;

	if (rpm_tag(h, RPM_TAG_BASENAMES, &names, &names_len, &n_names) < 0 ||
	    rpm_tag(h, RPM_TAG_DIRNAMES, &dirs, &dirs_len, &n_dirs) < 0 ||
	    rpm_tag(h, RPM_TAG_DIRINDEXES, &indexes, &indexes_len, &n_indexes) < 0)
		return -EBADMSG;
	if (idx >= n_names || idx >= n_indexes || (size_t)idx * 4 + 4 > indexes_len)
		return -EBADMSG;
	dir = be32_at(indexes + (size_t)idx * 4);
	base = nth_string(names, names_len, idx);
	directory = dir < n_dirs ? nth_string(dirs, dirs_len, dir) : NULL;
	if (!base || !directory || (size_t)snprintf(out, size, "%s%s", directory, base) >= size)
		return -EBADMSG;
	return 0;
}

static int rpm_row(struct queries *q, sqlite3_stmt *stmt)
{
	const void *blob = sqlite3_column_blob(stmt, 0);
	int len = sqlite3_column_bytes(stmt, 0), idx = sqlite3_column_int(stmt, 1);
	const struct query *hit;
	const uint8_t *name;
	struct rpm_header h;
	char path[4096];
	uint32_t count;
	size_t name_len;

	if (!blob || len < 0 || idx < 0 || rpm_header_open(blob, (size_t)len, &h) < 0 ||
	    rpm_file_path(&h, (uint32_t)idx, path, sizeof(path)) < 0 ||
	    rpm_tag(&h, RPM_TAG_NAME, &name, &name_len, &count) < 0 || !nth_string(name, name_len, 0))
		return 0;
	hit = queries_find(q, SPAN(path));
	return hit ? set_owner(q, hit, (const char *)name) : 0;
}

/* Every package that lists a file of this base name; which of them owns the asked path is in its header. */
static int rpm_query(struct queries *q, sqlite3_stmt *stmt, const char *path)
{
	const char *slash = strrchr(path, '/');
	int r = 0, step;

	sqlite3_reset(stmt);
	if (sqlite3_bind_text(stmt, 1, slash ? slash + 1 : path, -1, SQLITE_TRANSIENT) != SQLITE_OK)
		return -ENOMEM;
	while (r >= 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW)
		r = rpm_row(q, stmt);
	return r;
}

static int rpm_open(int root_fd, int *ret_fd, sqlite3 **ret)
{
	static const char *const places[] = { "usr/lib/sysimage/rpm/rpmdb.sqlite",
					      "var/lib/rpm/rpmdb.sqlite" };

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		_cleanup_close_ int fd =
		    path_open_at(root_fd, places[i], O_RDONLY | O_NONBLOCK, 0, PATH_IN_ROOT);
		struct stat st;
		char uri[64];

		if (fd < 0)
			continue;
		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			return -EBADMSG;
		/* immutable: no locks or journal files are made in a root that is only looked at. */
		snprintf(uri, sizeof(uri), "file:/proc/self/fd/%d?mode=ro&immutable=1", fd);
		if (sqlite3_open_v2(uri, ret, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) != SQLITE_OK) {
			sqlite3_close(*ret);
			*ret = NULL;
			return -EBADMSG;
		}
		*ret_fd = TAKE_FD(fd);
		return 1;
	}
	return 0;
}

static int rpm_find(struct queries *q, json_t *notes)
{
	_cleanup_close_ int fd = -EBADF;
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;
	bool readable;
	int r;

	r = rpm_open(q->root_fd, &fd, &db);
	if (r == 0 && path_exists(q->root_fd, "var/lib/rpm/Packages"))
		r = -EBADMSG;
	if (r == 0)
		return 0;
	readable =
	    r > 0 &&
	    sqlite3_prepare_v2(
		db,
		"SELECT p.blob, b.idx FROM Basenames b JOIN Packages p ON p.hnum = b.hnum WHERE b.key = ?",
		-1, &stmt, NULL) == SQLITE_OK;
	r = 0;
	for (size_t i = 0; readable && r >= 0 && i < q->n; i++)
		r = rpm_query(q, stmt, q->v[i].canonical);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	if (!readable &&
	    json_array_append_new(notes, json_string("the rpm database cannot be read here: whether "
						     "files in the way belong to packages is unknown")) < 0)
		r = -ENOMEM;
	return r;
}

int pkgowner_find(int root_fd, char *const *paths, json_t **ret_owners, json_t *notes, struct err *e)
{
	_cleanup_(queries_done) struct queries q = { .root_fd = -EBADF };
	int r;

	r = queries_fill(&q, root_fd, paths);
	if (r >= 0 && q.n)
		r = dpkg_find(&q);
	if (r >= 0 && q.n)
		r = rpm_find(&q, notes);
	if (r < 0)
		return err_errno(e, r, "looking up the owners of files");
	*ret_owners = TAKE_PTR(q.owners);
	return 0;
}
