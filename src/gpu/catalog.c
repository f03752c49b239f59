/* SPDX-License-Identifier: Apache-2.0 */
#include "catalog.h"

#include "datadir.h"
#include "libsqlite.h"
#include "parse.h"
#include "strbuf.h"

#include <sqlite3.h>
#include <string.h>

struct column {
	const char *name;
	size_t offset;
};

#define D(column, field)                                                                                     \
	{                                                                                                    \
		column, offsetof(struct catalog_driver, field)                                               \
	}
static const struct column driver_columns[] = {
	D("branch", branch),
	D("driver_version", version),
	D("filename", file),
	D("md5", md5),
	D("url_kind", url_kind),
	D("url", url),
	D("patch_file", patch_file),
	D("kernel_flavour_args", install_args),
	D("kernel_min", kernel_min),
	D("kernel_max", kernel_max),
	D("kernel_notes", kernel_notes),
	D("pve_min", pve_min),
	D("pve_max", pve_max),
	D("arch_min", arch_min),
	D("native_only", native_only),
	D("menu_note", menu_note),
	D("notes", notes),
};
#define G(column, field)                                                                                     \
	{                                                                                                    \
		column, offsetof(struct catalog_guest, field)                                                \
	}
static const struct column guest_columns[] = {
	G("branch", branch), G("os", os),   G("version", version),
	G("filename", file), G("url", url), G("notes", notes),
};
#define P(column, field)                                                                                     \
	{                                                                                                    \
		column, offsetof(struct catalog_patch, field)                                                \
	}
static const struct column patch_columns[] = {
	P("branch", branch),
	P("driver_version", version),
	P("patch_file", file),
	P("patch_path", path),
	P("status", status),
	P("kernel_max_patched", kernel_max),
	P("sha256_newest_seen", sha256),
	P("nul_in_hunk_header", nul_in_header),
	P("restores_pascal", restores_pascal),
	P("notes", notes),
};
#define R(column, field)                                                                                     \
	{                                                                                                    \
		column, offsetof(struct catalog_release, field)                                              \
	}
static const struct column release_columns[] = {
	R("branch", branch),
	R("driver_branch", driver_branch),
	R("lifecycle", lifecycle),
	R("host_version", host_version),
	R("guest_linux", guest_linux),
	R("guest_windows", guest_windows),
	R("release_date", released),
	R("eol", eol),
	R("package", package),
	R("package_md5", package_md5),
	R("package_sha256", package_sha256),
	R("notes", notes),
};

static const struct table {
	const char *name;
	const struct column *columns;
	size_t n_columns, row_size;
	size_t rows, count; /* offsets into struct catalog */
} tables[] = {
	{ "vgpu_driver", driver_columns, ARRAY_LEN(driver_columns), sizeof(struct catalog_driver),
	  offsetof(struct catalog, drivers), offsetof(struct catalog, n_drivers) },
	{ "vgpu_guest", guest_columns, ARRAY_LEN(guest_columns), sizeof(struct catalog_guest),
	  offsetof(struct catalog, guests), offsetof(struct catalog, n_guests) },
	{ "vgpu_patch", patch_columns, ARRAY_LEN(patch_columns), sizeof(struct catalog_patch),
	  offsetof(struct catalog, patches), offsetof(struct catalog, n_patches) },
	{ "vgpu_release", release_columns, ARRAY_LEN(release_columns), sizeof(struct catalog_release),
	  offsetof(struct catalog, releases), offsetof(struct catalog, n_releases) },
};

static char *cell(char *row, const struct column *column)
{
	return *(char **)(row + column->offset);
}

void catalog_freep(struct catalog **c)
{
	if (!*c)
		return;
	for (const struct table *t = tables; t < tables + ARRAY_LEN(tables); t++) {
		char **rows = (char **)((char *)*c + t->rows);
		size_t n = *(size_t *)((char *)*c + t->count);

		for (size_t i = 0; i < n * t->n_columns; i++)
			free(cell(*rows + i / t->n_columns * t->row_size, &t->columns[i % t->n_columns]));
		free(*rows);
	}
	freep(c);
}

static int load_row(struct catalog *c, const struct table *t, sqlite3_stmt *q)
{
	char **rows = (char **)((char *)c + t->rows), *grown;
	size_t *n = (size_t *)((char *)c + t->count);

	grown = reallocarray(*rows, *n + 1, t->row_size);
	if (!grown)
		return -ENOMEM;
	*rows = grown;
	memset(grown + *n * t->row_size, 0, t->row_size);
	for (size_t i = 0; i < t->n_columns; i++) {
		const char *text = (const char *)sqlite3_column_text(q, (int)i);
		char *copy = strdup(text ? text : "");

		if (!copy)
			return -ENOMEM;
		*(char **)(grown + *n * t->row_size + t->columns[i].offset) = copy;
	}
	(*n)++;
	return 0;
}

static int load_table(sqlite3 *db, struct catalog *c, const struct table *t, struct err *e)
{
	_cleanup_(strbuf_done) struct strbuf sql = STRBUF_INIT(4096);
	sqlite3_stmt *q = NULL;
	int r = 0, step = SQLITE_ERROR;

	for (size_t i = 0; i < t->n_columns; i++)
		(void)strbuf_printf(&sql, "%s%s", i ? ", " : "SELECT ", t->columns[i].name);
	(void)strbuf_printf(&sql, " FROM %s ORDER BY rowid", t->name);
	if (strbuf_error(&sql) < 0)
		return err_oom(e);
	if (sqlite3_prepare_v2(db, strbuf_str(&sql), -1, &q, NULL) == SQLITE_OK)
		while (r == 0 && (step = sqlite3_step(q)) == SQLITE_ROW)
			r = load_row(c, t, q);
	if (r == 0 && step != SQLITE_DONE)
		r = err_set(e, -ERR_GPU_TABLE, "reading the table of vGPU releases: %s", sqlite3_errmsg(db));
	else if (r < 0)
		(void)err_oom(e);
	(void)sqlite3_finalize(q);
	return r;
}

int catalog_load(const char *path, struct catalog **ret, struct err *e)
{
	_cleanup_(catalog_freep) struct catalog *c = calloc(1, sizeof(*c));
	_cleanup_free_ char *file = path ? strdup(path) : datadir_path("gpu_info.db");
	sqlite3 *db = NULL;
	int r = libsqlite_require(e);

	if (r < 0)
		return r;
	if (!c || !file)
		return err_oom(e);
	if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
		r = err_set(e, -ERR_GPU_TABLE, "cannot open %s", file);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(tables); i++)
		r = load_table(db, c, &tables[i], e);
	(void)sqlite3_close(db);
	if (r < 0)
		return err_object(e, "%s", file);
	*ret = TAKE_PTR(c);
	return 0;
}

#define FIND(array, n, condition)                                                                            \
	do {                                                                                                 \
		for (size_t i_ = 0; i_ < (n); i_++) {                                                        \
			__typeof__(*(array)) *row = &(array)[i_];                                            \
			if (condition)                                                                       \
				return row;                                                                  \
		}                                                                                            \
		return NULL;                                                                                 \
	} while (0)

const struct catalog_driver *catalog_driver(const struct catalog *c, const char *branch)
{
	FIND(c->drivers, c->n_drivers, strcmp(row->branch, branch) == 0);
}

const struct catalog_driver *catalog_driver_by_file(const struct catalog *c, const char *file)
{
	FIND(c->drivers, c->n_drivers, strcmp(row->file, file) == 0);
}

const struct catalog_driver *catalog_driver_by_version(const struct catalog *c, const char *version)
{
	FIND(c->drivers, c->n_drivers, strcmp(row->version, version) == 0);
}

const struct catalog_driver *catalog_driver_newest(const struct catalog *c, unsigned major)
{
	const struct catalog_driver *best = NULL;

	for (size_t i = 0; i < c->n_drivers; i++)
		if (catalog_major(c->drivers[i].branch) == major &&
		    (!best || catalog_compare(c->drivers[i].branch, best->branch) > 0))
			best = &c->drivers[i];
	return best;
}

const struct catalog_guest *catalog_guest(const struct catalog *c, const char *branch, const char *os)
{
	FIND(c->guests, c->n_guests, strcmp(row->branch, branch) == 0 && strcmp(row->os, os) == 0);
}

const struct catalog_patch *catalog_patch(const struct catalog *c, const char *branch)
{
	FIND(c->patches, c->n_patches, strcmp(row->branch, branch) == 0);
}

const struct catalog_release *catalog_release(const struct catalog *c, const char *branch)
{
	FIND(c->releases, c->n_releases, strcmp(row->branch, branch) == 0);
}

unsigned catalog_major(const char *branch)
{
	uint64_t major = 0;

	(void)parse_u64((struct span){ branch, strspn(branch, "0123456789") }, 9999, &major);
	return (unsigned)major;
}

int catalog_file_version(const char *file, char **ret)
{
	static const char prefix[] = "NVIDIA-Linux-x86_64-";
	static const char *const suffixes[] = { "-vgpu-kvm.run", "-vgpu-kvm-custom.run" };
	struct span s = SPAN(file);

	if (!span_starts(s, prefix))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		_cleanup_free_ char *version = NULL;

		if (!span_ends(s, suffixes[i]) || s.len < strlen(prefix) + strlen(suffixes[i]))
			continue;
		version = strndup(file + strlen(prefix), s.len - strlen(prefix) - strlen(suffixes[i]));
		if (!version)
			return -ENOMEM;
		if (!version_is_valid(version))
			return -EINVAL;
		*ret = TAKE_PTR(version);
		return 0;
	}
	return -EINVAL;
}

static unsigned long group(const char **p)
{
	char *end;
	unsigned long n = strtoul(*p, &end, 10);

	*p = *end == '.' ? end + 1 : "";
	return n;
}

int catalog_compare(const char *version, const char *bound)
{
	while (*bound >= '0' && *bound <= '9') {
		unsigned long b = group(&bound), v = group(&version);

		if (v != b)
			return v < b ? -1 : 1;
	}
	return 0;
}
